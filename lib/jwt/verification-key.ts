import { createPublicKey, type JsonWebKey } from 'node:crypto'
import buildGetJwks from 'get-jwks'
import { algorithmsOf } from './algorithm.js'
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
    const { kid, alg, kty } = readJwk(jwk)
    let pem: string
    try {
      source.cache.set(source.generateCacheKey('', kid, domain), jwk as buildGetJwks.JWK)
      pem = kty === 'OKP'
        // jwk-to-pem, below get-jwks, knows no OKP keys.
        ? exportPem(await source.getJwk({ domain, alg: '', kid }))
        : await source.getPublicKey({ domain, alg: '', kid })
    } finally {
      // The second clear is for the first: disposing moves keys to the stale cache, from which a removed key was served.
      for (const cache of caches) cache.clear()
    }
    const algorithms = algorithmsOf(createPublicKey(pem)).filter((one) => allowed.includes(one) && (alg === undefined || sameAlgorithm(alg, one)))
    if (algorithms.length === 0) throw new TypeError('its kind, size or alg is none that this issuer is configured with')
    return { keyId: kid, pem, algorithms, live: true }
  }
}

/**
 * The one key of an issuer that is configured with a PEM: a public key or a certificate.
 * Throws a sentence that names the mend.
 */
export function readPem (pem: string, allowed: readonly Algorithm[]): VerificationKey {
  // createPublicKey takes a private key too, and one that lies in a configuration for verifying has leaked.
  if (/PRIVATE KEY/.test(pem)) throw new TypeError('publicKey is a private key: give the public part (openssl pkey -pubout)')
  let algorithms: readonly Algorithm[]
  let spki: string
  try {
    const key = createPublicKey(pem)
    algorithms = algorithmsOf(key).filter((one) => allowed.includes(one))
    spki = key.export({ type: 'spki', format: 'pem' }) as string
  } catch {
    throw new TypeError('publicKey is not readable: give a PEM that begins with -----BEGIN PUBLIC KEY-----')
  }
  if (algorithms.length === 0) throw new TypeError('publicKey is too weak or fits none of the algorithms: give an RSA key of at least 2048 bits, or name its algorithm')
  return { keyId: '', pem: spki, algorithms, live: true }
}

const publicMembers = ['n', 'e', 'x', 'y']
const privateMembers = ['d', 'p', 'q', 'dp', 'dq', 'qi', 'oth', 'k']

function readJwk (jwk: unknown): { kid: string, alg: string | undefined, kty: string } {
  if (typeof jwk !== 'object' || jwk === null || Array.isArray(jwk)) throw new TypeError('it is not an object')
  const members = jwk as Record<string, unknown>
  const { kid, alg, kty, use, key_ops: operations } = members
  if (typeof kid !== 'string' || kid === '' || kid.length > maxKeyIdLength) throw new TypeError('it has no usable kid')
  if (kty !== 'RSA' && kty !== 'EC' && kty !== 'OKP') throw new TypeError('its kty is none of RSA, EC, OKP')
  if (alg !== undefined && typeof alg !== 'string') throw new TypeError('its alg is not a string')
  if (use !== undefined && use !== 'sig') throw new TypeError('it is not for signatures')
  if (operations !== undefined && !(Array.isArray(operations) && operations.includes('verify'))) throw new TypeError('it is not for verifying')
  for (const name of privateMembers) {
    if (Object.hasOwn(members, name)) throw new TypeError('it has a private member: whoever read it can sign')
  }
  for (const name of publicMembers) {
    const value = members[name]
    // jwk-to-pem skips what is no base64, and would make another key of it.
    if (value !== undefined && (typeof value !== 'string' || !/^[\w-]+$/.test(value))) throw new TypeError(`its ${name} is not base64url`)
  }
  return { kid, alg, kty }
}

function sameAlgorithm (alg: string, one: Algorithm): boolean {
  // RFC 9864 names the curve where RFC 8037 named the family.
  return alg === one || (alg === 'Ed25519' && one === 'EdDSA')
}

function exportPem (jwk: object): string {
  return createPublicKey({ key: jwk as JsonWebKey, format: 'jwk' }).export({ type: 'spki', format: 'pem' }) as string
}
