import type { KeyObject } from 'node:crypto'

/** A signature algorithm of a token (RFC 7518 §3.1, RFC 8037 §3.1). */
export type Algorithm = 'RS256' | 'RS384' | 'RS512' | 'PS256' | 'PS384' | 'PS512' | 'ES256' | 'ES384' | 'ES512' | 'EdDSA' | 'HS256'

/** Every algorithm that an issuer may be configured with; `none` is not one. */
export const allowedAlgorithms: readonly Algorithm[] =
  ['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512', 'ES256', 'ES384', 'ES512', 'EdDSA', 'HS256']

const rsa: readonly Algorithm[] = ['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512']
const curves: Readonly<Record<string, readonly Algorithm[]>> = { prime256v1: ['ES256'], secp384r1: ['ES384'], secp521r1: ['ES512'] }

/**
 * The algorithms that a public key may verify; none for a key that is too weak or of no use here.
 * HS256 is never among them: a public key taken for an HMAC secret is a secret that everybody has.
 */
export function algorithmsOf (key: KeyObject): readonly Algorithm[] {
  const details = key.asymmetricKeyDetails
  switch (key.asymmetricKeyType) {
    case 'rsa': {
      const exponent = details?.publicExponent ?? 0n
      // With an exponent of 1 every message is its own signature; an even one is no RSA at all.
      const sound = (details?.modulusLength ?? 0) >= 2048 && exponent >= 3n && exponent % 2n === 1n
      return sound ? rsa : []
    }
    case 'ec': return curves[details?.namedCurve ?? ''] ?? []
    case 'ed25519': return ['EdDSA']
    default: return []
  }
}
