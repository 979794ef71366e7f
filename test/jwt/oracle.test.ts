/**
 * jose as an oracle: thousands of generated and mutated tokens, and whatever jose refuses for its form, its signature or its
 * times, the verifier refuses. The other way there are differences, all of them wanted; these are refused here and accepted by jose:
 * - a header with `b64: true`, or with any `typ` but JWT
 * - base64url whose last character has bits that belong to no byte, and JSON that is not UTF-8 or begins with a BOM
 * - more than 8 kB, more than 256 characters of key id, no `sub`, no `exp` (jose asks for them only where told to)
 * - an `aud` array with a member that is no string; an `iat` in the future
 * One thing is accepted here and refused by jose: PS256 and its like with a salt of another length than the digest's.
 * It takes the issuer's private key to make one.
 */
import fc from 'fast-check'
import * as jose from 'jose'
import t from 'tap'
import type { Algorithm } from '../../lib/jwt/algorithm.js'
import { parseToken } from '../../lib/jwt/bearer.js'
import { audience, claims, ec, ed25519, encode, header, issuer, mint, outcome, pemOf, rsa, start, verifierOf } from './fixture.js'
import type { Json } from './fixture.js'

const now = start / 1000
const kinds: Array<{ algorithm: Algorithm, pair: ReturnType<typeof rsa> }> = [
  { algorithm: 'RS256', pair: rsa() }, { algorithm: 'PS256', pair: rsa() }, { algorithm: 'ES256', pair: ec('P-256') }, { algorithm: 'ES512', pair: ec('P-521') }, { algorithm: 'EdDSA', pair: ed25519() }
]
const stranger = rsa()

const json = fc.oneof(fc.constantFrom<unknown>(null, true, false, '', 0, -1, [], {}, 'JWT', 'at+jwt', now, now + 5, now - 5, now + 60, now - 60, `${now}`, 1e308), fc.jsonValue({ maxDepth: 2 }))
const headers = fc.oneof(
  { weight: 4, arbitrary: fc.constant<Json>({}) },
  { weight: 2, arbitrary: fc.dictionary(fc.constantFrom('alg', 'typ', 'kid', 'crit', 'b64', 'zip', 'jwk', 'jku', 'cty', '__proto__'), json, { maxKeys: 2 }) as fc.Arbitrary<Json> },
  { weight: 1, arbitrary: fc.constantFrom<Json>({ alg: 'none' }, { alg: 'HS256' }, { alg: 'RS512' }, { crit: ['exp'] }, { crit: ['b64'], b64: true }, { crit: ['b64'], b64: false }, { b64: false }) }
)
const payloads = fc.oneof(
  { weight: 3, arbitrary: fc.constant<Json>({}) },
  { weight: 3, arbitrary: fc.dictionary(fc.constantFrom('iss', 'sub', 'aud', 'exp', 'nbf', 'iat', 'x'), json, { maxKeys: 3 }) as fc.Arbitrary<Json> },
  { weight: 3, arbitrary: fc.record({ exp: fc.integer({ min: now - 10, max: now + 3 }), nbf: fc.integer({ min: now - 3, max: now + 10 }) }) as fc.Arbitrary<Json> }
)

/** A change of the text of a token. */
type Mutation = (token: string) => string
const at = (position: number, token: string): number => Math.floor(position * token.length)
const mutations: fc.Arbitrary<Mutation> = fc.oneof(
  { weight: 6, arbitrary: fc.constant<Mutation>((token) => token) },
  { weight: 3, arbitrary: fc.tuple(fc.double({ min: 0, max: 0.999, noNaN: true }), fc.constantFrom(...'ABwxyz019-_.=+/ \n%é')).map(([position, character]): Mutation => (token) => token.slice(0, at(position, token)) + character + token.slice(at(position, token) + 1)) },
  { weight: 2, arbitrary: fc.tuple(fc.double({ min: 0, max: 1, noNaN: true }), fc.constantFrom('A', '.', '=', '==', ' ', '\n', 'AA', '..')).map(([position, text]): Mutation => (token) => token.slice(0, at(position, token)) + text + token.slice(at(position, token))) },
  { weight: 2, arbitrary: fc.double({ min: 0, max: 1, noNaN: true }).map((position): Mutation => (token) => token.slice(0, at(position, token))) },
  {
    weight: 1,
    arbitrary: fc.constantFrom<Mutation>(
      (token) => token.split('.').reverse().join('.'), (token) => `${token.split('.').slice(0, 2).join('.')}.`, (token) => token.split('.').slice(0, 2).join('.'), (token) => `${token}.${token}`,
      (token) => token.toUpperCase(), (token) => `${token}=`, (token) => ` ${token}`, (token) => token.replace('.', '..'),
      (token) => [encode({ alg: 'none' }), token.split('.')[1], ''].join('.'), (token) => [token.split('.')[0], encode(claims({ roles: ['owner'] })), token.split('.')[2]].join('.'))
  }
)

for (const { algorithm, pair } of kinds) {
  t.test(`whatever jose refuses for its form, signature or times is refused: ${algorithm}`, async (t) => {
    let [accepted, refused, stricter] = [0, 0, 0]
    const verifier = await verifierOf({ algorithms: [algorithm], keys: { from: 'publicKey', pem: pemOf(pair) }, tokenCache: null })
    const key = await jose.importSPKI(pemOf(pair), algorithm)
    const ours = (token: string): Promise<unknown> => outcome(() => verifier.verify(parseToken(token)))
    const theirs = async (token: string): Promise<string> => {
      try {
        await jose.jwtVerify(token, key, { algorithms: [algorithm], issuer, audience, clockTolerance: 5, currentDate: new Date(start), requiredClaims: ['exp', 'sub'] })
        return 'accepted'
      } catch (error) {
        return (error as Error).message
      }
    }
    await fc.assert(fc.asyncProperty(headers, payloads, fc.boolean(), mutations, async (head, payload, foreign, mutate) => {
      const signer = foreign && algorithm === 'RS256' ? stranger : pair
      const token = mutate(mint(header({ alg: algorithm, ...head }), claims(payload), signer.privateKey, algorithm))
      const [own, jose] = [await ours(token), await theirs(token)]
      if (jose !== 'accepted') {
        refused++
        if (typeof own !== 'string') throw new Error(`accepted, and jose says ${jose}: ${token}`)
        return
      }
      if (typeof own !== 'string') accepted++
      else {
        stricter++
        if (!/ (crit|type|encoding|key-unknown|subject|audience|issued-in-future|claims|form|header|size)$/.test(own)) throw new Error(`${own}, and jose accepts: ${token}`)
      }
    }), { numRuns: 700 })
    t.ok(accepted > 30, `${accepted} accepted by both`)
    t.ok(refused > 200, `${refused} refused by both`)
    t.ok(stricter > 0, `${stricter} refused here alone`)
    t.comment({ accepted, refused, stricter })
  })
}

t.test('whatever jose signs is accepted', async (t) => {
  for (const { algorithm, pair } of kinds) {
    const verifier = await verifierOf({ algorithms: [algorithm], keys: { from: 'publicKey', pem: pemOf(pair) } })
    await fc.assert(fc.asyncProperty(fc.string({ minLength: 1, maxLength: 100, unit: 'grapheme' }), fc.jsonValue({ maxDepth: 3 }), async (sub, x) => {
      fc.pre(JSON.stringify(x).length < 2000)
      const payload = claims({ sub, x })
      const token = await new jose.SignJWT(payload).setProtectedHeader({ alg: algorithm, kid: 'k1' }).sign(pair.privateKey)
      t.match(await outcome(() => verifier.verify(parseToken(token))), { subject: sub })
    }), { numRuns: 60 })
  }
})
