import t from 'tap'
import fc from 'fast-check'
import { randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { crc32 } from 'node:zlib'
import { apiKeyDigest, apiKeyPattern, createApiKey, parseApiKey, readApiKey } from '../../lib/api-key/key.js'

interface Vectors { apiKey: { valid: Known[], legacy: Known[], refusedWithoutLookup: string[] } }
interface Known { key: string, sha256: string }
const vectors = (JSON.parse(readFileSync(new URL('../fixtures/vectors.json', import.meta.url), 'utf8')) as Vectors).apiKey

const digits = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz'

t.test('known keys have their parts and their digest', async (t) => {
  t.strictSame(vectors.valid.map(({ key }) => parseApiKey(key)), [
    { environment: 'live', legacy: false, prefix: 'cflo_live_sk_012345' },
    { environment: 'test', legacy: false, prefix: 'cflo_test_sk_012345' },
    { environment: 'live', legacy: false, prefix: 'cflo_live_sk_000000' }
  ])
  t.strictSame(vectors.legacy.map(({ key }) => parseApiKey(key)), [{ environment: 'live', legacy: true, prefix: 'cflo_01234567' }])
  for (const { key, sha256 } of [...vectors.valid, ...vectors.legacy]) t.equal(apiKeyDigest(key).toString('hex'), sha256)
})

t.test('texts of other forms, of a wrong checksum or over 128 characters are no keys', async (t) => {
  const [{ key } = { key: '' }] = vectors.valid
  const [{ key: legacy } = { key: '' }] = vectors.legacy
  const others = [
    ...vectors.refusedWithoutLookup, '', `${key} `, ` ${key}`, `${key}\n`, `${key}\0`, `${key}0`, key.slice(0, -1), key.toUpperCase(), key.toLowerCase(),
    key.replace('live', 'prod'), key.replace('_sk_', '_pk_'), key.replace('0', '０'), legacy.toUpperCase(), `${legacy}0`, legacy.slice(0, -1),
    legacy.replace('a', 'g'), `${legacy}\n`, 'x'.repeat(129), key + 'x'.repeat(1e6)
  ]
  for (const text of others) t.equal(parseApiKey(text), null, JSON.stringify(text.slice(0, 140)))
  for (const value of [undefined, null, 1, {}, [key], Buffer.from(key)]) {
    t.equal(parseApiKey(value as string), null)
    t.equal(readApiKey(value as string), 'form')
  }
  // As long as a key, and with a checksum that is right, yet of another form.
  for (const beginning of ['cflo_prod_sk_', 'xflo_live_sk_', 'cflo_live_pk_', 'cflo-live_sk_']) {
    const text = beginning + '0'.repeat(32)
    let [rest, sum] = [crc32(text), '']
    for (let place = 0; place < 6; place++) [sum, rest] = [digits.charAt(rest % 62) + sum, Math.floor(rest / 62)]
    t.equal(readApiKey(text + sum), 'form', beginning)
  }
  t.equal(readApiKey('x'.repeat(129)), 'size')
  t.equal(readApiKey('x'.repeat(128)), 'form')
  t.equal(readApiKey(vectors.refusedWithoutLookup[1] ?? ''), 'checksum')
})

t.test('a key that was made is read again, and its prefix shows six of its random digits and none of its checksum', async (t) => {
  for (const environment of ['live', 'test'] as const) {
    const made = createApiKey({ environment })
    t.strictSame(parseApiKey(made.key), { environment, legacy: false, prefix: made.prefix })
    t.strictSame(made, { key: made.key, digest: apiKeyDigest(made.key), prefix: made.key.slice(0, 19), environment })
    t.equal(made.digest.length, 32)
  }
  t.equal(createApiKey().environment, 'live')
  t.equal(new Set(Array.from({ length: 1000 }, () => createApiKey().key)).size, 1000)
})

t.test('any randomness gives a key that is read again', async () => {
  fc.assert(fc.property(fc.infiniteStream(fc.integer({ min: 0, max: 255 })), fc.constantFrom('live' as const, 'test' as const), (stream, environment) => {
    const iterator = stream[Symbol.iterator]()
    const { key } = createApiKey({ environment, randomBytes: (size) => Uint8Array.from({ length: size }, () => iterator.next().value as number) })
    return parseApiKey(key)?.environment === environment
  }))
})

t.test('every slip of one character is noticed', async () => {
  fc.assert(fc.property(fc.nat(37), fc.nat(61), (place, digit) => {
    const { key } = createApiKey()
    const slipped = key.slice(0, 13 + place) + digits.charAt(digit) + key.slice(14 + place)
    return slipped === key || readApiKey(slipped) === 'checksum'
  }), { numRuns: 500 })
})

t.test('whatever a text is, reading it neither throws nor takes it for another one', async () => {
  const [{ key } = { key: '' }] = vectors.valid
  fc.assert(fc.property(fc.oneof(fc.string(), fc.string().map((text) => key + text), fc.string().map((text) => `cflo_live_sk_${text}`)), (text) => {
    return parseApiKey(text) === null || text === key
  }))
})

t.test('a random byte favours no digit: each of the 62 has four of the 248 bytes that count, and the other eight are dropped', async (t) => {
  const drawn = new Map<string, number>()
  for (let byte = 0; byte < 256; byte++) {
    // The byte in question comes first; bytes that are dropped leave the place to the next, which is a 9: no dropped byte would be one.
    const { key } = createApiKey({ randomBytes: (size) => Uint8Array.from({ length: size }, (_, index) => index === 0 ? byte : 9) })
    const digit = byte < 248 ? key.charAt(13) : 'dropped'
    if (byte >= 248) t.equal(key.charAt(13), '9')
    drawn.set(digit, (drawn.get(digit) ?? 0) + 1)
  }
  t.strictSame(drawn, new Map([...digits].map((digit): [string, number] => [digit, 4]).concat([['dropped', 8]])))
})

t.test('the published pattern finds a key in a log line and nothing in a line without one', async (t) => {
  const found = (line: string) => apiKeyPattern.exec(line)?.[0] ?? null
  for (const { key } of [...vectors.valid, ...vectors.legacy]) {
    for (const line of [key, `key=${key}`, `KEY_${key}`, `{"apiKey":"${key}"}`, `/v1?apiKey=${key}&x=1`, `Bearer ${key},`]) t.equal(found(line), key)
  }
  for (const line of ['cflo_', 'cflo_live_sk_EXAMPLE_01HX9VTPQR3KF8MZ', `cflo_${randomBytes(31).toString('hex')}`, 'key_01HX9VTPQR3KF8MZWBYD5N6JCE']) t.equal(found(line), null)
  t.equal(apiKeyPattern.flags, '')
})
