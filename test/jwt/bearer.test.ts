import t from 'tap'
import { parseToken, readBearer } from '../../lib/jwt/bearer.js'
import { claims, encode, header, issuer, outcome } from './fixture.js'

const good = `${encode(header())}.${encode(claims())}.c2ln`

t.test('a header of another scheme is no bearer credential', async (t) => {
  for (const value of ['', 'Basic dXNlcjpwYXNz', 'Bearerish abc', 'Bearer-x abc', 'bear er', 'DPoP abc', 'x Bearer abc']) t.equal(readBearer(value), null, value)
})

t.test('the scheme is compared without regard to case, and what follows its spaces is the credential', async (t) => {
  for (const scheme of ['Bearer', 'bearer', 'BEARER', 'bEaReR']) t.equal(readBearer(`${scheme} ${good}`), good)
  t.equal(readBearer('Bearer cflo_live_sk_EXAMPLE_01HX9VTPQR3KF8MZ'), 'cflo_live_sk_EXAMPLE_01HX9VTPQR3KF8MZ')
  t.equal(readBearer('Bearer abc+/=='), 'abc+/==')
  for (const spaces of [2, 3, 5000]) t.equal(readBearer(`Bearer${' '.repeat(spaces)}${good}`), good)
})

t.test('a bearer header that is not one token after spaces is malformed', async (t) => {
  const read = (value: string): unknown => parseToken(readBearer(value) as string)
  const bad = ['Bearer', 'Bearer ', 'Bearer  abc', 'bearer  abc', 'Bearer\tabc', 'Bearer abc def', 'Bearer abc ', 'Bearer abc, Bearer def', 'Bearer, abc', 'Bearer a=b', 'Bearer =', 'Bearer "abc"', 'Bearer abc\n', 'Bearer abé']
  for (const value of bad) t.equal(await outcome(() => read(value)), 'AUTH_TOKEN_MALFORMED form', JSON.stringify(value))
  for (const value of ['Bearer', 'bearer', 'Bearer,abc', 'Bearer\tabc', 'Bearer"abc"']) t.equal(await outcome(() => readBearer(value)), 'AUTH_TOKEN_MALFORMED form', JSON.stringify(value))
  for (const value of [`Bearer ${good} `, `Bearer ${good},${good}`, `Bearer "${good}"`]) t.match(await outcome(() => read(value)), /^AUTH_TOKEN_MALFORMED/, value)
})

t.test('a credential of 8 kB is read and one of a character more is not', async (t) => {
  t.equal(readBearer(`Bearer ${'a'.repeat(8192)}`)?.length, 8192)
  t.equal(await outcome(() => readBearer(`Bearer ${'a'.repeat(8193)}`)), 'AUTH_TOKEN_MALFORMED size')
  const rest = `${encode(header())}..c2ln`
  const padding = (length: number): string => `${encode(header())}.${'A'.repeat(length - rest.length)}.c2ln`
  t.equal(await outcome(() => parseToken(padding(8193))), 'AUTH_TOKEN_MALFORMED size')
  t.not(await outcome(() => parseToken(padding(8192))), 'AUTH_TOKEN_MALFORMED size')
})

t.test('a token is taken apart and nothing in it is believed', async (t) => {
  t.strictSame(parseToken(good), { raw: good, header: header(), payload: claims(), issuer })
  for (const iss of [undefined, null, 7, ['https://issuer.example.com'], {}]) {
    t.equal(parseToken(`${encode(header())}.${encode(claims({ iss }))}.c2ln`).issuer, '')
  }
})

t.test('tokens that alternate have each their own header', async (t) => {
  const of = (members: object): string => `${encode(header({ ...members }))}.${encode(claims())}.c2ln`
  for (const kid of ['k1', 'k2', 'k2', 'k1']) t.strictSame(parseToken(of({ kid })).header, header({ kid }))
  await outcome(() => parseToken(`${encode('x')}.${encode(claims())}.c2ln`))
  t.equal(await outcome(() => parseToken(`${encode('x')}.${encode(claims())}.c2ln`)), 'AUTH_TOKEN_MALFORMED header')
  t.equal(parseToken(of({ kid: 'k1' })).header, parseToken(of({ kid: 'k1' })).header, 'one object for one text, which nobody can change')
  t.throws(() => { (parseToken(of({})).header as { alg: string }).alg = 'none' }, TypeError)
})

t.test('a token that is not three parts is malformed', async (t) => {
  const [head, body] = good.split('.') as [string, string]
  for (const value of ['', '.', '..', '...', head, `${head}.${body}`, `${good}.c2ln`, `${good}.`, `.${good}`]) {
    t.match(await outcome(() => parseToken(value)), /^AUTH_TOKEN_MALFORMED/, value)
  }
})

t.test('an empty part, an unsigned token among them, is malformed', async (t) => {
  const [head, body] = good.split('.') as [string, string]
  for (const value of [`${head}.${body}.`, `${head}..c2ln`, `.${body}.c2ln`]) t.equal(await outcome(() => parseToken(value)), 'AUTH_TOKEN_MALFORMED encoding', value)
})

t.test('padding, spaces and characters outside base64url are malformed in every part', async (t) => {
  for (const junk of ['=', '==', '===', '====', '    ', ' ', '\n', '+', '/', '%', 'é', '\u0000', '\u{1F600}']) {
    for (const part of [0, 1, 2]) {
      const parts = good.split('.')
      parts[part] += junk
      t.equal(await outcome(() => parseToken(parts.join('.'))), 'AUTH_TOKEN_MALFORMED encoding', JSON.stringify(junk))
    }
  }
})

t.test('base64url with bits that belong to no byte is malformed, so that a signature has one text only', async (t) => {
  const [head, body] = good.split('.') as [string, string]
  for (const text of ['AA', 'AQ', 'Ag', 'Aw', 'AAA', 'AAE', 'AA4', 'AAAA', 'AAAB']) t.equal(parseToken(`${head}.${body}.${text}`).raw, `${head}.${body}.${text}`)
  for (const text of ['A', 'AB', 'AC', 'AE', 'AI', 'A4', 'AP', 'A_', 'AAB', 'AAC', 'AAD', 'AA_', 'AAAAA']) {
    t.equal(await outcome(() => parseToken(`${head}.${body}.${text}`)), 'AUTH_TOKEN_MALFORMED encoding', text)
  }
  // The same bytes, written with a bit to spare.
  for (const spaces of [1, 2]) {
    const [plain, json] = [header(), claims()].map((part) => { const text = JSON.stringify(part); return text + ' '.repeat((3 - text.length % 3) % 3 + spaces) }) as [string, string]
    const odd = (text: string): string => encode(text).replace(/.$/, (last) => String.fromCharCode(last.charCodeAt(0) + 1))
    t.strictSame(parseToken(`${encode(plain)}.${encode(json)}.c2ln`).payload, claims())
    t.strictSame(Buffer.from(odd(json), 'base64url').toString(), json)
    t.equal(await outcome(() => parseToken(`${odd(plain)}.${encode(json)}.c2ln`)), 'AUTH_TOKEN_MALFORMED encoding')
    t.equal(await outcome(() => parseToken(`${encode(plain)}.${odd(json)}.c2ln`)), 'AUTH_TOKEN_MALFORMED encoding')
  }
})

t.test('a header or payload that is not a JSON object in UTF-8 is malformed', async (t) => {
  const bad = ['', 'x', 'null', '1', '"{}"', '[]', '[{}]', '{', '{"a":1', '{}{}', '\ufeff{}', "{'a':1}"]
  for (const text of bad) {
    if (text !== '') t.equal(await outcome(() => parseToken(`${encode(text)}.${encode(claims())}.c2ln`)), 'AUTH_TOKEN_MALFORMED header', text)
    if (text !== '') t.equal(await outcome(() => parseToken(`${encode(header())}.${encode(text)}.c2ln`)), 'AUTH_TOKEN_MALFORMED form', text)
  }
  const invalid = Buffer.concat([Buffer.from('{"sub":"'), Buffer.from([0xff, 0xc0]), Buffer.from('"}')]).toString('base64url')
  t.equal(await outcome(() => parseToken(`${encode(header())}.${invalid}.c2ln`)), 'AUTH_TOKEN_MALFORMED form')
})

t.test('a malformed token is not quoted in its error', async (t) => {
  const secret = encode('{"sub":"someone"')
  t.plan(2)
  try {
    parseToken(`${encode(header())}.${secret}.c2ln`)
  } catch (error) {
    t.notOk(JSON.stringify(error, Object.getOwnPropertyNames(error)).includes('someone'))
    t.notOk((error as Error).cause)
  }
})
