/** Text that a terminal can be given: names and claims come from strangers. */

// Control characters move the cursor and rename windows; format characters (Cf) reverse what is read; line and
// paragraph separators (Zl, Zp) make lines that were not written. All of them are written as escapes of JSON.
const unprintable = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu

/** The text on one line, with everything escaped that is not to be seen. */
export function printable (text: string): string {
  return text.replace(unprintable, escaped)
}

/**
 * A text of several lines: what is escaped on one line, but for the line feeds. A value inside of it has to
 * be printable before.
 */
export function printableLines (text: string): string {
  return text.split('\n').map(printable).join('\n')
}

/** A value as JSON that is safe on a terminal and still the same JSON: one line, or indented. */
export function printableJson (value: unknown, indent = 0): string {
  // What stands outside of strings is ASCII; the line feeds of indentation are the only controls there.
  return JSON.stringify(value, null, indent).replace(unprintable, (character) => character === '\n' ? character : escaped(character))
}

function escaped (character: string): string {
  let written = ''
  for (let index = 0; index < character.length; index++) written += `\\u${character.charCodeAt(index).toString(16).padStart(4, '0')}`
  return written
}
