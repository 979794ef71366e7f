import type { KeyObject } from 'node:crypto'

/** A signature algorithm of a token (RFC 7518 §3.1, RFC 8037 §3.1). */
export type Algorithm = 'RS256' | 'RS384' | 'RS512' | 'PS256' | 'PS384' | 'PS512' | 'ES256' | 'ES384' | 'ES512' | 'EdDSA' | 'HS256'

/** Every algorithm that an issuer may be configured with; `none` is not one. */
export const allowedAlgorithms: readonly Algorithm[] =
  ['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512', 'ES256', 'ES384', 'ES512', 'EdDSA', 'HS256']

const rsa: readonly Algorithm[] = ['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512']
const curves: Readonly<Record<string, readonly Algorithm[]>> = { prime256v1: ['ES256'], secp384r1: ['ES384'], secp521r1: ['ES512'] }

/** Bits. A longer modulus makes every verification slow: its cost grows with the square of the length. */
const modulusLengths = { least: 2048, most: 8192 }
/** An exponent has at most this many bits, as OpenSSL demands of moduli over 3,072 bits. */
const maxExponentBits = 64n

/**
 * The algorithms that a public key may verify; none for a weak key, or for one of another kind.
 * HS256 is never among them: a public key taken for an HMAC secret is a secret that everybody has.
 */
export function algorithmsOf (key: KeyObject): readonly Algorithm[] {
  if (weaknessOf(key) !== null) return []
  switch (key.asymmetricKeyType) {
    case 'rsa': return rsa
    case 'ec': return curves[key.asymmetricKeyDetails?.namedCurve ?? ''] ?? []
    case 'ed25519': return ['EdDSA']
    default: return []
  }
}

/**
 * Why signatures under a public key prove nothing, or cost too much to verify; null where neither is known.
 * Not checked: whether an RSA modulus is prime, has close factors or factors above 751, or was made by a bad generator.
 */
export function weaknessOf (key: KeyObject): string | null {
  switch (key.asymmetricKeyType) {
    case 'rsa': return weaknessOfRsa(key)
    case 'ed25519': return hasLowOrder(rawMember(key, 'x')) ? 'it is a point of low order: anyone can sign for it' : null
    default: return null
  }
}

function weaknessOfRsa (key: KeyObject): string | null {
  const length = key.asymmetricKeyDetails?.modulusLength ?? 0
  if (length < modulusLengths.least || length > modulusLengths.most) {
    return `its modulus has ${length} bits: ${modulusLengths.least} to ${modulusLengths.most} are accepted`
  }
  const exponent = key.asymmetricKeyDetails?.publicExponent ?? 0n
  // With an exponent of 1 every message is its own signature; an even one is no RSA at all.
  if (exponent < 3n || exponent % 2n === 0n || exponent >> maxExponentBits !== 0n) {
    return 'its exponent is not an odd number from 3 to 2^64 - 1'
  }
  // With a small factor the private key can be computed (NIST SP 800-56B §6.4.2.2 asks for the same bound).
  const modulus = BigInt(`0x${rawMember(key, 'n').toString('hex')}`)
  return smallPrimes.some((prime) => modulus % prime === 0n) ? 'its modulus has a small factor' : null
}

const smallPrimes: readonly bigint[] = primesBelow(752).map(BigInt)

function primesBelow (end: number): number[] {
  const primes: number[] = []
  for (let candidate = 2; candidate < end; candidate++) {
    if (primes.every((prime) => candidate % prime !== 0)) primes.push(candidate)
  }
  return primes
}

/**
 * The y coordinates of the eight points of low order (RFC 7748 §7 names the attack), and of their non-canonical encodings,
 * little-endian, without the bit for the sign of x. Under such a key a signature of zeros fits one message in eight at least.
 */
const lowOrder: ReadonlySet<string> = new Set([
  // y = 0, of order 4, and p, which encodes the same.
  '0000000000000000000000000000000000000000000000000000000000000000',
  'edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
  // y = 1, the identity, and p + 1.
  '0100000000000000000000000000000000000000000000000000000000000000',
  'eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
  // y = -1, of order 2.
  'ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
  // Of order 8.
  '26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05',
  'c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a'
])

function hasLowOrder (point: Buffer): boolean {
  const y = Buffer.from(point)
  y[31]! &= 0x7f
  return lowOrder.has(y.toString('hex'))
}

function rawMember (key: KeyObject, name: 'n' | 'x'): Buffer {
  return Buffer.from(key.export({ format: 'jwk' })[name] ?? '', 'base64url')
}
