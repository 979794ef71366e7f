/** The list of survivors that are known, each with its reason, and how a run compares with it. */
import { readFileSync } from 'node:fs'

const oneLine = (text) => text.replace(/\s+/g, ' ').trim()

/** A mutant as it is written in the list: the line where it begins, what was there, and what stood in its place. */
export function entryOf ({ fileName, location: { start, end }, replacement }, source) {
  // Stryker counts lines and columns from one.
  const lines = source.split('\n')
  const piece = lines.slice(start.line - 1, end.line)
  piece[piece.length - 1] = piece.at(-1).slice(0, end.column - 1)
  piece[0] = piece[0].slice(start.column - 1)
  return { file: fileName, text: `  ${oneLine(lines[start.line - 1])}\n- ${oneLine(piece.join('\n'))}\n+ ${oneLine(replacement)}` }
}

/** The entries of survivors.md, by file. */
export function knownSurvivors () {
  const entries = []
  let file = ''
  const page = readFileSync(`${import.meta.dirname}/survivors.md`, 'utf8')
  for (const [, heading, block] of page.matchAll(/^## (lib\/\S+)$|^```diff\n([\s\S]*?)^```$/gm)) {
    if (heading !== undefined) file = heading
    else for (const text of block.trimEnd().split(/\n(?= )/)) entries.push({ file, text: text.split('\n').map((line) => line.trimEnd()).join('\n') })
  }
  return entries
}

/** What of `entries` is not in `others`; an entry that is there twice has to be there twice. */
export function missingFrom (others, entries) {
  const left = others.map(({ file, text }) => `${file}\n${text}`)
  return entries.filter(({ file, text }) => {
    const at = left.indexOf(`${file}\n${text}`)
    if (at >= 0) left.splice(at, 1)
    return at < 0
  })
}
