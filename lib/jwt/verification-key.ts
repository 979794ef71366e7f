import { createPublicKey, type JsonWebKey } from 'node:crypto'
import buildGetJwks from 'get-jwks'
import { algorithmsOf, weaknessOf } from './algorithm.js'
import type { Algorithm } from './algorithm.js'

/** A public key that tokens of one issuer may be signed with. */
export interface VerificationKey {
  readonly keyId: string
  readonly pem: string
  /** Those of the issuer's algorithms that this key may verify; never empty. */
  readonly algorithms: readonly Algorithm[]
  /** Turns false when the issuer no longer has the key; whatever it verified is then void. */
  live: boolean
}

/** The longest key id that is looked at; Clerk's have 31 characters. */
export const maxKeyIdLength = 256

/** Makes one member of a key set a verification key, or throws a sentence that says why it is none. */
export type KeyJudge = (jwk: unknown) => Promise<VerificationKey>

/**
 * A judge for one issuer's keys. get-jwks picks each key out of its cache and makes the PEM; what is judged
 * at last is that PEM, because it is what will verify. Nothing is asked of the network here.
 */
export function createKeyJudge (issuer: string, allowed: readonly Algorithm[]): KeyJudge {
  // Aborted before it begins: whatever get-jwks misses in its cache, it cannot fetch.
  const source = buildGetJwks({ fetchOptions: { signal: AbortSignal.abort() } })
  const domain = `${issuer}/`
  // Typed without clear, which the lru-cache beneath has.
  const caches = [source.cache, source.staleCache] as unknown as ReadonlyArray<{ clear (): void }>

  return async function judge (jwk) {
    const { kid, alg } = readJwk(jwk)
    let pem: string
    try {
      source.cache.set(source.generateCacheKey('', kid, domain), jwk as buildGetJwks.JWK)
      // By Node and not by getPublicKey: jwk-to-pem below it knows no OKP keys, and takes 34 ms for a key on P-521.
      pem = exportPem(await source.getJwk({ domain, alg: '', kid }))
    } finally {
      // The second clear is for the first: disposing moves keys to the stale cache, from which a removed key was served.
      for (const cache of caches) cache.clear()
    }
    const key = createPublicKey(pem)
    const weakness = weaknessOf(key)
    if (weakness !== null) throw new TypeError(weakness)
    const algorithms = algorithmsOf(key).filter((one) => allowed.includes(one) && (alg === undefined || sameAlgorithm(alg, one)))
    if (algorithms.length === 0) throw new TypeError('its kind or alg is none that this issuer is configured with')
    return { keyId: kid, pem, algorithms, live: true }
  }
}

/** Whether two keys verify the same tokens. */
export function sameKey (one: VerificationKey, other: VerificationKey): boolean {
  return one.pem === other.pem && one.algorithms.length === other.algorithms.length && one.algorithms.every((algorithm, index) => algorithm === other.algorithms[index])
}

/** Characters. A certificate of an RSA key of 8,192 bits has about 3,000. */
const maxPemLength = 65_536

/**
 * The one key of an issuer that is configured with a PEM: a public key or a certificate.
 * Throws a sentence that names the mend.
 */
export function readPem (pem: string, allowed: readonly Algorithm[]): VerificationKey {
  // createPublicKey takes a private key too, and one that lies in a configuration for verifying has leaked.
  if (/PRIVATE KEY/.test(pem)) throw new TypeError('publicKey is a private key: give the public part (openssl pkey -pubout)')
  if (pem.length > maxPemLength) throw new TypeError(`publicKey has more than ${maxPemLength} characters: give one key in PEM`)
  let algorithms: readonly Algorithm[]
  let spki: string
  let weakness: string | null
  try {
    const key = createPublicKey(pem)
    // First: Node reads an EC key without a point, refuses to export it, and ends the process when asked for its details.
    spki = key.export({ type: 'spki', format: 'pem' }) as string
    weakness = weaknessOf(key)
    algorithms = algorithmsOf(key).filter((one) => allowed.includes(one))
  } catch {
    throw new TypeError('publicKey is not readable: give a PEM that begins with -----BEGIN PUBLIC KEY-----')
  }
  if (weakness !== null) throw new TypeError(`publicKey is too weak: ${weakness}`)
  if (algorithms.length === 0) throw new TypeError('publicKey fits none of the algorithms: name its own in algorithms')
  return { keyId: '', pem: spki, algorithms, live: true }
}

/** The longest value of each public member, in characters of base64url: of 1,024, 8 and 66 bytes. */
const maxMemberLengths: Readonly<Record<string, number>> = { n: 1366, e: 11, x: 88, y: 88 }
const privateMembers = ['d', 'p', 'q', 'dp', 'dq', 'qi', 'oth', 'k']
/** What a key of each kind has to have. */
const kinds: Readonly<Record<string, { members: readonly string[], curves: readonly string[] | null }>> = {
  RSA: { members: ['n', 'e'], curves: null },
  EC: { members: ['x', 'y'], curves: ['P-256', 'P-384', 'P-521'] },
  OKP: { members: ['x'], curves: ['Ed25519'] }
}

/**
 * Checks the form of a member of a key set. Lengths come first: whatever reads a number from outside may take
 * time that grows with the square of its length, and no time limit can interrupt it.
 */
function readJwk (jwk: unknown): { kid: string, alg: string | undefined } {
  if (typeof jwk !== 'object' || jwk === null || Array.isArray(jwk)) throw new TypeError('it is not an object')
  const members = jwk as Record<string, unknown>
  const { kid, alg, kty, crv, use, key_ops: operations } = members
  if (typeof kid !== 'string' || kid === '' || kid.length > maxKeyIdLength) throw new TypeError('it has no usable kid')
  const kind = typeof kty === 'string' && Object.hasOwn(kinds, kty) ? kinds[kty] : undefined
  if (kind === undefined) throw new TypeError('its kty is none of RSA, EC, OKP')
  if (kind.curves?.includes(crv as string) === false) throw new TypeError(`its crv is none of ${kind.curves.join(', ')}`)
  if (alg !== undefined && typeof alg !== 'string') throw new TypeError('its alg is not a string')
  if (use !== undefined && use !== 'sig') throw new TypeError('it is not for signatures')
  if (operations !== undefined && !(Array.isArray(operations) && operations.includes('verify'))) throw new TypeError('it is not for verifying')
  for (const name of privateMembers) {
    if (Object.hasOwn(members, name)) throw new TypeError('it has a private member: whoever read it can sign')
  }
  for (const [name, maxLength] of Object.entries(maxMemberLengths)) {
    const value = members[name]
    if (typeof value === 'string' && value.length > maxLength) throw new TypeError(`its ${name} is longer than ${maxLength} characters`)
    // Decoders skip what is no base64url, and would make another key of it.
    if (value !== undefined && (typeof value !== 'string' || !/^[\w-]+$/.test(value))) throw new TypeError(`its ${name} is not base64url`)
  }
  const missing = kind.members.find((name) => members[name] === undefined)
  if (missing !== undefined) throw new TypeError(`its ${missing} is missing`)
  return { kid, alg }
}

function sameAlgorithm (alg: string, one: Algorithm): boolean {
  // RFC 9864 names the curve where RFC 8037 named the family.
  return alg === one || (alg === 'Ed25519' && one === 'EdDSA')
}

function exportPem (jwk: object): string {
  try {
    return createPublicKey({ key: jwk as JsonWebKey, format: 'jwk' }).export({ type: 'spki', format: 'pem' }) as string
  } catch {
    // Without its cause: it may quote what it read.
    throw new TypeError('its numbers are no key of its kind')
  }
}
