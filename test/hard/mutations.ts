/** Changes of a text, as an attacker or a broken client makes them. */
import fc from 'fast-check'

export type Mutation = (text: string) => string

const place = fc.double({ min: 0, max: 1, noNaN: true })
const at = (position: number, text: string): number => Math.min(text.length, Math.floor(position * (text.length + 1)))

const characters = [...'AaBbFfgGzZ019-_.=+/,:;"\'\\%{}[]()!~ \t\n\r\0\x7f\x80ÿé€𝕏']
const pieces = ['', ' ', '  ', '\t', '\r\n', '=', '==', '.', '..', ',', ', ', ',,', '%00', '%2e', '\ufeff', '\u2028', 'sha256=', 'SHA256=', 'v1=', 'v1,', 'Bearer ', 'cflo_', 'null', '__proto__', 'A'.repeat(64), 'x'.repeat(9000)]

const edit: fc.Arbitrary<Mutation> = fc.oneof(
  { weight: 6, arbitrary: fc.tuple(place, fc.constantFrom(...characters)).map(([position, character]): Mutation => (text) => text.slice(0, at(position, text)) + character + text.slice(at(position, text) + 1)) },
  { weight: 3, arbitrary: fc.tuple(place, fc.constantFrom(...pieces)).map(([position, piece]): Mutation => (text) => text.slice(0, at(position, text)) + piece + text.slice(at(position, text))) },
  { weight: 2, arbitrary: fc.tuple(place, fc.integer({ min: 1, max: 8 })).map(([position, count]): Mutation => (text) => text.slice(0, at(position, text)) + text.slice(at(position, text) + count)) },
  { weight: 2, arbitrary: place.map((position): Mutation => (text) => text.slice(0, at(position, text))) },
  { weight: 1, arbitrary: place.map((position): Mutation => (text) => text.slice(at(position, text))) },
  // One bit of one character: what a fault on the line does.
  {
    weight: 3,
    arbitrary: fc.tuple(place, fc.integer({ min: 0, max: 7 })).map(([position, bit]): Mutation => (text) => {
      const index = Math.min(text.length - 1, at(position, text))
      return index < 0 ? text : text.slice(0, index) + String.fromCharCode(text.charCodeAt(index) ^ (1 << bit)) + text.slice(index + 1)
    })
  },
  {
    weight: 1,
    arbitrary: fc.constantFrom<Mutation>(
      (text) => text.toUpperCase(), (text) => text.toLowerCase(), (text) => `${text},${text}`, (text) => `${text}, ${text}`, (text) => `${text} ${text}`, (text) => text + text,
      (text) => [...text].reverse().join(''), (text) => text.split('.').reverse().join('.'), (text) => text.split('=').reverse().join('='), (text) => encodeURIComponent(Buffer.from(text).toString()), () => '')
  }
)

/** Mostly one change, sometimes none, sometimes several. */
export const mutation: fc.Arbitrary<Mutation> = fc.oneof(
  { weight: 2, arbitrary: fc.constant<Mutation>((text) => text) },
  { weight: 6, arbitrary: edit },
  { weight: 2, arbitrary: fc.array(edit, { minLength: 2, maxLength: 4 }).map((edits): Mutation => (text) => edits.reduce((changed, one) => one(changed), text)) }
)

/** Text of any kind. */
export const anyText = fc.oneof(
  { weight: 3, arbitrary: fc.string({ maxLength: 120 }) },
  { weight: 2, arbitrary: fc.string({ unit: 'binary', maxLength: 80 }) },
  { weight: 1, arbitrary: fc.string({ unit: 'grapheme', maxLength: 40 }) },
  { weight: 1, arbitrary: fc.array(fc.constantFrom(...pieces, ...characters), { maxLength: 12 }).map((parts) => parts.join('')) }
)
