import { createPublicKey, verify } from 'node:crypto'
import t from 'tap'
import type { Algorithm } from '../../lib/jwt/algorithm.js'
import { createKeyJudge, readPem } from '../../lib/jwt/verification-key.js'
import { ec, ed25519, jwkOf, lowOrderPoints, pemOf, rsa } from './fixture.js'
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

t.test('RSA of less than 2048 or more than 8192 bits, or with an exponent that proves nothing, is refused', async (t) => {
  const bits = (length: number): string => `its modulus has ${length} bits: 2048 to 8192 are accepted`
  t.strictSame(await judged(jwkOf(rsa(2048, 3))), ['RS256'])
  t.equal(await judged(jwkOf(rsa(1024))), bits(1024))
  t.equal(await judged(jwkOf(rsa(2040))), bits(2040))
  const exponent = 'its exponent is not an odd number from 3 to 2^64 - 1'
  for (const e of ['AQ', 'Ag', 'BA', 'AQAA']) t.equal(await judged(jwkOf(pair, { e })), exponent, `e = ${e}`)
  t.type(await judged(jwkOf(pair, { e: 'AA' })), 'string', 'e = 0')
  t.strictSame(await judged(jwkOf(pair, { e: Buffer.alloc(8, 0xff).toString('base64url') })), ['RS256'], 'e = 2^64 - 1')
  t.equal(await judged(jwkOf(pair, { e: Buffer.alloc(9, 0xff).toString('base64url') })), 'its e is longer than 11 characters')
  t.equal(await judged(jwkOf(pair, { n: `AA${'A'.repeat(340)}` })) instanceof Array, false, 'zeros do not make a key longer')
  const modulus = (bytes: number): string => Buffer.alloc(bytes, 0xff).fill(0xef, bytes - 1).toString('base64url')
  t.strictSame(await judged(jwkOf(pair, { n: smallestFactorsTried(1024) })), ['RS256'], '8192 bits')
  t.equal(await judged(jwkOf(pair, { n: modulus(1025) })), 'its n is longer than 1366 characters')
})

/** A number of so many bytes that no prime below 752 divides. */
function smallestFactorsTried (bytes: number): string {
  let number = (1n << BigInt(bytes * 8)) - 1n
  const divides = (candidate: bigint): boolean => {
    for (let prime = 2n; prime < 752n; prime++) if (candidate % prime === 0n) return true
    return false
  }
  while (divides(number)) number -= 2n
  return Buffer.from(number.toString(16), 'hex').toString('base64url')
}

t.test('an RSA modulus that is even, or has another small factor, is refused', async (t) => {
  const n = BigInt(`0x${Buffer.from(jwkOf(pair).n as string, 'base64url').toString('hex')}`)
  for (const factor of [2n, 3n, 743n, 751n]) {
    const multiple = Buffer.from((n - n % factor).toString(16), 'hex').toString('base64url')
    t.equal(await judged(jwkOf(pair, { n: multiple })), 'its modulus has a small factor', `${factor}`)
  }
})

t.test('an Ed25519 key of low order is refused, in every encoding, in a key set and as PEM', async (t) => {
  for (const point of lowOrderPoints) {
    const x = Buffer.from(point, 'hex')
    const why = 'it is a point of low order: anyone can sign for it'
    const jwk = { kty: 'OKP', crv: 'Ed25519', kid: 'k1', x: x.toString('base64url') }
    t.equal(await judged(jwk), why, point)
    const pem = createPublicKey({ key: jwk, format: 'jwk' }).export({ type: 'spki', format: 'pem' }) as string
    t.throws(() => readPem(pem, ['EdDSA']), { message: `publicKey is too weak: ${why}` })
    // What the check is for: of a few texts, one has a signature that nobody made.
    t.ok(forgedUnder(jwk), `${point} can be forged`)
  }
  t.strictSame(await judged(jwkOf(ed25519(), { alg: 'EdDSA' })), ['EdDSA'])
})

/** Whether OpenSSL takes a made-up signature: R of low order and S = 0, for one of many texts. */
function forgedUnder (jwk: object): boolean {
  const key = createPublicKey({ key: jwk as never, format: 'jwk' })
  for (let round = 0; round < 200; round++) {
    for (const point of lowOrderPoints) {
      const signature = Buffer.concat([Buffer.from(point, 'hex'), Buffer.alloc(32)])
      if (verify(null, Buffer.from(`text ${round}`), key, signature)) return true
    }
  }
  return false
}

t.test('an EC point that is not on its curve, the point at infinity included, is refused', async (t) => {
  const { x, y } = jwkOf(ec('P-256')) as { x: string, y: string }
  const bytes = (value: string): Buffer => Buffer.from(value, 'base64url')
  const more = (value: string): string => {
    const changed = bytes(value)
    changed[31]! ^= 1
    return changed.toString('base64url')
  }
  for (const coordinates of [{ x, y: more(y) }, { x: more(x), y }, { x: y, y: x }, { x: 'AA', y: 'AA' }, { x, y: 'AA' }, { x: Buffer.alloc(32, 0xff).toString('base64url'), y }]) {
    t.equal(await judged({ kty: 'EC', crv: 'P-256', kid: 'k1', ...coordinates }), 'its numbers are no key of its kind', JSON.stringify(coordinates))
  }
  t.equal(await judged({ kty: 'EC', crv: 'P-256', kid: 'k1', x: Buffer.alloc(67).toString('base64url'), y }), 'its x is longer than 88 characters')
  // SubjectPublicKeyInfo of P-256 with the point at infinity, which is one zero byte.
  const infinity = Buffer.from('3019301306072a8648ce3d020106082a8648ce3d03010703020000', 'hex').toString('base64')
  t.throws(() => readPem(`-----BEGIN PUBLIC KEY-----\n${infinity}\n-----END PUBLIC KEY-----`, ['ES256']), /publicKey is not readable/)
})

t.test('a PEM is measured before it is read, and its key is held to the same bounds', async (t) => {
  t.throws(() => readPem(`-----BEGIN PUBLIC KEY-----\n${'A'.repeat(65_536)}`, ['RS256']), /more than 65536 characters/)
  const long = createPublicKey({ key: jwkOf(pair, { n: smallestFactorsTried(1025) }), format: 'jwk' }).export({ type: 'spki', format: 'pem' }) as string
  t.throws(() => readPem(long, ['RS256']), { message: 'publicKey is too weak: its modulus has 8200 bits: 2048 to 8192 are accepted' })
  for (const e of ['AQ', 'BA', Buffer.alloc(9, 0xff).toString('base64url')]) {
    const pem = createPublicKey({ key: jwkOf(pair, { e }), format: 'jwk' }).export({ type: 'spki', format: 'pem' }) as string
    t.throws(() => readPem(pem, ['RS256']), /its exponent is not an odd number/, e)
  }
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
