/** Key sets as a hostile issuer would write them, from a real server on this machine. */
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { setTimeout as pause } from 'node:timers/promises'
import t from 'tap'
import type { Algorithm } from '../../lib/jwt/algorithm.js'
import { createKeyReader } from '../../lib/jwt/key-reader.js'
import { ec, ed25519, jwkOf, listen, rsa } from './fixture.js'
import type { Json } from './fixture.js'

const every: Algorithm[] = ['RS256', 'PS256', 'ES256', 'ES384', 'ES512', 'EdDSA']
const pair = rsa()
const good = jwkOf(pair)
const number = (bytes: number): string => Buffer.alloc(bytes, 0xff).toString('base64url')
const repeated = (count: number, make: (index: number) => unknown): unknown[] => Array.from({ length: count }, (_, index) => make(index))

/** Reads the document from a server, and tells the longest time for which the process did nothing else. */
async function readFrom (t: Parameters<typeof listen>[0], document: string | Json, algorithms = every) {
  const text = typeof document === 'string' ? document : JSON.stringify(document)
  const { url } = await listen(t, (_, response) => { response.end(text) })
  const read = createKeyReader(url, { from: 'jwks', url: `${url}/keys` }, algorithms, fetch)
  const delay = monitorEventLoopDelay({ resolution: 5 })
  delay.enable()
  // It measures from its first sample on.
  await pause(20)
  const none = { keys: [], refused: [] }
  const { keys, refused, why } = await read(AbortSignal.timeout(60_000)).then((reading) => ({ ...reading, why: null }), (error: Error) => ({ ...none, why: error.message }))
  await pause(20)
  delay.disable()
  return { keys, refused, why, blocked: delay.max / 1e6 }
}

t.test('no key set stops the process, whatever numbers are in it', async (t) => {
  const p521 = [ec('P-521'), ec('P-521')].map((one) => jwkOf(one, { alg: undefined }))
  const documents: Record<string, string | Json> = {
    'a modulus of 50 kB': { keys: [{ ...good, n: number(50_000) }] },
    'a modulus of 100 kB': { keys: [{ ...good, n: number(100_000) }] },
    '100 moduli of 7 kB': { keys: repeated(100, (index) => ({ ...good, kid: `k${index}`, n: number(7_000) })) },
    'an exponent of 384 bytes': { keys: [{ ...good, e: number(384) }] },
    'an exponent of 100 kB': { keys: [{ ...good, e: number(100_000) }] },
    '100 moduli of 8192 bits': { keys: repeated(100, (index) => ({ ...good, kid: `k${index}`, n: number(1024) })) },
    '100 keys on P-521': { keys: repeated(100, (index) => ({ ...p521[index % 2], kid: `k${index}` })) },
    'coordinates of 300 kB': { keys: [{ ...p521[0], x: number(300_000), y: number(300_000) }] },
    'an Ed25519 point of 700 kB': { keys: [{ ...jwkOf(ed25519(), { alg: 'EdDSA' }), x: number(700_000) }] },
    '200,000 members': { keys: repeated(200_000, () => null) },
    'members nested 500,000 deep': `{"keys":[${'['.repeat(500_000)}${']'.repeat(500_000)}]}`,
    'a key id of 1 MB': { keys: [{ ...good, kid: 'k'.repeat(1_000_000) }] },
    'key operations of 1 MB': { keys: [{ ...good, key_ops: repeated(100_000, () => 'sign') }] },
    'certificates of 1 MB': { keys: [{ ...good, x5c: repeated(10, () => 'A'.repeat(100_000)) }] },
    'a modulus of 700 kB': { keys: [{ ...good, n: number(700_000) }] }
  }
  for (const [name, document] of Object.entries(documents)) {
    const { blocked } = await readFrom(t, document)
    // Keys that were not measured before they were read stopped it for 0.7 s to many minutes. What is left is for busy machines.
    t.ok(blocked < 400, `${name}: ${Math.round(blocked)} ms`)
  }
})

t.test('nesting is counted outside of strings', async (t) => {
  const { kid: _kid, ...rest } = good
  const nested = (levels: number): string => `{"keys":[{"kid":"[[{{\\\\\\"[{${'['.repeat(50)}",${JSON.stringify(rest).slice(1, -1)},"x5c":${'['.repeat(levels)}${']'.repeat(levels)}}]}`
  const held = await readFrom(t, nested(29))
  t.equal(held.why, null)
  t.equal(held.keys.length, 1)
  t.match((await readFrom(t, nested(30))).why, /is nested deeper than 32 levels$/)
})

t.test('a key that is too large harms only itself', async (t) => {
  const { keys, refused } = await readFrom(t, { keys: [{ ...good, kid: 'large', n: number(100_000) }, good] })
  t.strictSame([keys.map(({ keyId }) => keyId), refused], [['k1'], [{ keyId: 'large', why: 'its n is longer than 1366 characters' }]])
})

t.test('of a set the first hundred members are checked, and those that are left out are named', async (t) => {
  const few = await readFrom(t, { keys: repeated(103, (index) => ({ ...good, kid: `k${index}` })) })
  t.equal(few.keys.length, 100)
  t.strictSame(few.refused, [100, 101, 102].map((index) => ({ keyId: `k${index}`, why: 'it comes after the first 100 keys' })))
  const many = await readFrom(t, { keys: [...repeated(100, () => good), ...repeated(5_000, (index) => ({ kid: index === 0 ? 'x'.repeat(300) : { toString: 1 } }))] })
  t.equal(many.keys.length, 1, 'the same key is one key')
  t.equal(many.refused.length, 101)
  t.strictSame(many.refused.slice(0, 2), [{ keyId: `${'x'.repeat(256)}…`, why: 'it comes after the first 100 keys' }, { keyId: null, why: 'it comes after the first 100 keys' }])
  t.strictSame(many.refused.at(-1), { keyId: null, why: '4900 more come after the first 100 keys' })
})

t.test('a fifth key of one id is left out, and said to be', async (t) => {
  const pairs = repeated(5, () => rsa()) as Array<ReturnType<typeof rsa>>
  const { keys, refused } = await readFrom(t, { keys: [...pairs, pairs[0]!].map((one) => jwkOf(one)) })
  t.equal(keys.length, 4)
  t.strictSame(refused, [{ keyId: 'k1', why: '4 keys have this id already' }])
})

t.test('what is said of a key repeats nothing that the issuer wrote but its id, and that no further than its longest form', async (t) => {
  const text = 'TEXT'.repeat(200)
  const members = [
    { ...good, kid: text }, { ...good, alg: text }, { ...good, kty: text }, { ...good, use: text }, { ...good, key_ops: [text] }, { ...good, crv: text },
    { kid: 'k1', kty: 'EC', crv: text, x: 'AA', y: 'AA' }, { kid: 'k1', kty: 'OKP', crv: text, x: 'AA' }, { kid: 'k1', kty: 'EC', crv: { toString: text }, x: 'AA', y: 'AA' },
    { ...good, n: text }, { ...good, n: { toString: text } }, { kid: { toString: 1 }, kty: 'RSA' }, { kid: [text] }
  ]
  const { refused } = await readFrom(t, { keys: members })
  for (const { keyId, why } of refused) {
    t.notMatch(why, /TEXT/)
    t.ok(keyId === null || keyId.length <= 257)
  }
})

t.test('a reading that is given up ends between two keys', async (t) => {
  const { url } = await listen(t, (_, response) => { response.end(JSON.stringify({ keys: repeated(100, () => good) })) })
  const end = new AbortController()
  const reason = new Error('given up')
  let answered: () => void = () => {}
  const answer = new Promise<void>((resolve) => { answered = resolve })
  const read = createKeyReader(url, { from: 'jwks', url }, every, async (...request) => {
    const response = await fetch(...request)
    const text = await response.text()
    answered()
    return new Response(text)
  })
  const reading = read(end.signal)
  await answer
  await new Promise(setImmediate)
  end.abort(reason)
  await t.rejects(reading, reason)
})
