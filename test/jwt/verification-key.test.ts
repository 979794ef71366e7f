import { createPublicKey } from 'node:crypto'
import t from 'tap'
import type { Algorithm } from '../../lib/jwt/algorithm.js'
import { createKeyJudge, readPem } from '../../lib/jwt/verification-key.js'
import { ec, ed25519, jwkOf, pemOf, rsa } from './fixture.js'
import type { Json } from './fixture.js'

const every: Algorithm[] = ['RS256', 'RS384', 'PS256', 'ES256', 'ES384', 'ES512', 'EdDSA', 'HS256']
const pair = rsa()
async function judged (jwk: unknown, allowed: Algorithm[] = every): Promise<readonly Algorithm[] | string> {
  try {
    return (await createKeyJudge('https://issuer.example.com', allowed)(jwk)).algorithms
  } catch (error) {
    return (error as Error).message
  }
}

t.test('a key is made of the JWK that was judged, and of nothing else', async (t) => {
  const judge = createKeyJudge('https://issuer.example.com', ['RS256'])
  const other = rsa()
  const [first, second] = [await judge(jwkOf(pair)), await judge(jwkOf(other))]
  t.strictSame(first, { keyId: 'k1', pem: pemOf(pair), algorithms: ['RS256'], live: true })
  t.ok(createPublicKey(second.pem).equals(other.publicKey), 'under the same id')
})

t.test('RSA of less than 2048 bits, or with an exponent that proves nothing, is refused', async (t) => {
  const none = 'its kind, size or alg is none that this issuer is configured with'
  t.strictSame(await judged(jwkOf(rsa(2048, 3))), ['RS256'])
  t.equal(await judged(jwkOf(rsa(1024))), none)
  t.equal(await judged(jwkOf(rsa(2040))), none)
  for (const e of ['AQ', 'Ag', 'BA', 'AA', 'AQAA']) t.not(typeof await judged(jwkOf(pair, { e })), 'object', `e = ${e}`)
  t.equal(await judged(jwkOf(pair, { n: `AA${'A'.repeat(340)}` })) instanceof Array, false, 'zeros do not make a key longer')
})

t.test('a key is for those of the issuer\'s algorithms that its kind and its alg allow', async (t) => {
  t.strictSame(await judged(jwkOf(pair, { alg: undefined })), ['RS256', 'RS384', 'PS256'])
  t.strictSame(await judged(jwkOf(pair, { alg: 'PS256' })), ['PS256'])
  t.strictSame(await judged(jwkOf(ec('P-256'), { alg: undefined })), ['ES256'])
  t.strictSame(await judged(jwkOf(ec('P-384'), { alg: 'ES384' })), ['ES384'])
  t.strictSame(await judged(jwkOf(ec('P-521'), { alg: undefined })), ['ES512'])
  t.strictSame(await judged(jwkOf(ed25519(), { alg: 'EdDSA' })), ['EdDSA'])
  t.strictSame(await judged(jwkOf(ed25519(), { alg: 'Ed25519' })), ['EdDSA'])
  t.type(await judged(jwkOf(ed25519(), { alg: 'Ed448' })), 'string')
  t.type(await judged(jwkOf(pair, { alg: 'Ed25519' })), 'string')
  for (const [jwk, allowed] of [
    [jwkOf(pair, { alg: 'RS512' }), every], [jwkOf(pair, { alg: 'HS256' }), every], [jwkOf(pair, { alg: 'RSA-OAEP' }), every], [jwkOf(pair, { alg: '' }), every],
    [jwkOf(ec('P-256'), { alg: 'ES384' }), every], [jwkOf(ec('secp256k1'), { alg: undefined }), every],
    [jwkOf(ec('P-256'), { alg: undefined }), ['RS256']], [jwkOf(ed25519(), { alg: undefined }), ['RS256']], [jwkOf(pair), ['ES256']]
  ] as Array<[Json, Algorithm[]]>) t.type(await judged(jwk, allowed), 'string', JSON.stringify(jwk))
})

t.test('a key that is for encryption, for signing, or private is refused', async (t) => {
  t.strictSame(await judged(jwkOf(pair, { use: undefined, key_ops: ['verify'] })), ['RS256'])
  for (const members of [{ use: 'enc' }, { use: '' }, { use: null }, { key_ops: ['sign'] }, { key_ops: [] }, { key_ops: 'verify' }, { key_ops: ['encrypt'] }]) {
    t.match(await judged(jwkOf(pair, members)), /^it is not for/, JSON.stringify(members))
  }
  t.match(await judged({ ...pair.privateKey.export({ format: 'jwk' }), kid: 'k1' }), /private member/)
  for (const name of ['d', 'p', 'q', 'dp', 'dq', 'qi', 'oth', 'k']) t.match(await judged(jwkOf(pair, { [name]: 'AA' })), /private member/)
})

t.test('what is no key at all is refused, each with a sentence', async (t) => {
  const bad = [null, undefined, 1, 'key', [], {}, { kid: 'k1' }, { kid: 'k1', kty: 'oct', k: 'AAAA' }, { kid: 'k1', kty: 'RSA' }, { kid: 'k1', kty: 'EC', crv: 'P-256' }, { kid: 'k1', kty: 'OKP', crv: 'X25519', x: 'AAAA' },
    jwkOf(pair, { kid: undefined }), jwkOf(pair, { kid: '' }), jwkOf(pair, { kid: 7 }), jwkOf(pair, { kid: 'k'.repeat(257) }), jwkOf(pair, { kid: '\ud800' }),
    jwkOf(pair, { n: 7 }), jwkOf(pair, { n: '' }), jwkOf(pair, { n: '!!!' }), jwkOf(pair, { e: 'AQ AB' }), jwkOf(pair, { alg: 1 }), jwkOf(pair, { kty: 'rsa' }),
    jwkOf(ec('P-256'), { x: 'AAAA', alg: 'ES256' })]
  for (const jwk of bad) t.type(await judged(jwk), 'string', JSON.stringify(jwk))
})

t.test('the sentence says what is wrong with a key', async (t) => {
  for (const jwk of [null, undefined, 1, 'key', []]) t.equal(await judged(jwk), 'it is not an object')
  t.strictSame(await judged(jwkOf(pair, { kid: 'k'.repeat(256) })), ['RS256'])
  t.equal(await judged(jwkOf(pair, { kid: 'k'.repeat(257) })), 'it has no usable kid')
  for (const kty of ['oct', 'rsa', undefined, ['RSA']]) t.equal(await judged(jwkOf(pair, { kty })), 'its kty is none of RSA, EC, OKP')
  for (const alg of [1, null, ['RS256']]) t.equal(await judged(jwkOf(pair, { alg })), 'its alg is not a string')
  for (const name of ['n', 'e', 'x', 'y']) {
    for (const value of [7, '', 'AQ AB', 'AQ==', ['AQAB']]) t.equal(await judged(jwkOf(name === 'n' || name === 'e' ? pair : ec('P-256'), { alg: undefined, [name]: value })), `its ${name} is not base64url`)
  }
})

t.test('nothing is asked of the network while keys are judged, whatever they are', async (t) => {
  const { fetch } = globalThis
  let asked = 0
  globalThis.fetch = (async (_, init) => { if (init?.signal?.aborted !== true) asked++; throw new Error('not here') }) as typeof fetch
  t.teardown(() => { globalThis.fetch = fetch })
  for (const kid of ['k1', '\ud800', '__proto__', ' ']) {
    for (const jwk of [jwkOf(pair, { kid }), jwkOf(pair, { kid, alg: undefined }), jwkOf(pair, { kid, alg: 'PS512' }), { kid, kty: 'RSA' }, { kid, kty: 'OKP', crv: 'Ed25519' }]) await judged(jwk)
  }
  t.equal(asked, 0)
})

t.test('a PEM may be a public key in either form, and never a private or a weak one', async (t) => {
  const pem = pemOf(pair)
  t.strictSame(readPem(pem, ['RS256', 'ES256']), { keyId: '', pem, algorithms: ['RS256'], live: true })
  t.equal(readPem(pair.publicKey.export({ type: 'pkcs1', format: 'pem' }) as string, ['RS256']).pem, pem)
  t.throws(() => readPem(pair.privateKey.export({ type: 'pkcs8', format: 'pem' }) as string, ['RS256']), /is a private key/)
  t.throws(() => readPem(pair.privateKey.export({ type: 'pkcs1', format: 'pem' }) as string, ['RS256']), /is a private key/)
  t.throws(() => readPem(pemOf(rsa(1024)), ['RS256']), /too weak/)
  t.throws(() => readPem(pemOf(ec('P-256')), ['RS256']), /none of the algorithms/)
  t.throws(() => readPem(pem, ['HS256']), /none of the algorithms/)
  for (const text of ['', 'secret', pem.slice(0, 100), JSON.stringify(jwkOf(pair))]) t.throws(() => readPem(text, ['RS256']), /not readable/)
})

t.test('a certificate is read for the key in it', async (t) => {
  const certificate = `-----BEGIN CERTIFICATE-----
MIIBkTCCATegAwIBAgIUYMprbtBPhIyun0tAZ8YXzuXJ4i4wCgYIKoZIzj0EAwIw
HTEbMBkGA1UEAwwSaXNzdWVyLmV4YW1wbGUuY29tMCAXDTI2MTEyNDA4MjkwM1oY
DzIxMjYxMDMxMDgyOTAzWjAdMRswGQYDVQQDDBJpc3N1ZXIuZXhhbXBsZS5jb20w
WTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAARFpXF4P6pJ0hdd/S+04aZynBCpW6VT
ETBFVgYe6t5O+66OYFkTiQNTnP/PjLAL7wnoYSYLOU/EHJHxVB2+3sqLo1MwUTAd
BgNVHQ4EFgQU6xlgIbXsGYKfZ354sJAUYp4wBFMwHwYDVR0jBBgwFoAU6xlgIbXs
GYKfZ354sJAUYp4wBFMwDwYDVR0TAQH/BAUwAwEB/zAKBggqhkjOPQQDAgNIADBF
AiBrNoniHxaEGKlwIarX0Jny4VsIYlOofKeggGdZMpnqAgIhAKuwpwWPl2reNVzS
HSQUVWOyS7kSWHSU3zA16eQBgl75
-----END CERTIFICATE-----`
  const key = readPem(certificate, ['ES256'])
  t.match(key, { algorithms: ['ES256'], pem: /^-----BEGIN PUBLIC KEY-----/ })
  t.ok(createPublicKey(key.pem).equals(createPublicKey(certificate)))
})
