import { AuthError } from '../errors.js'
import type { Algorithm } from './algorithm.js'
import { maxKeyIdLength } from './verification-key.js'

/** What a header may say at one issuer. */
export interface HeaderSettings {
  readonly algorithms: readonly Algorithm[]
  /** Accepted values of `typ` beside JWT, each a plainType. */
  readonly types: readonly string[]
  /** Whether a key id is needed to find the key. */
  readonly named: boolean
}

/**
 * What a token's header asks for. It is not verified: it chooses among what is configured and leads nowhere.
 * `jku`, `jwk`, `x5u` and `x5c` are never read. Throws AUTH_TOKEN_INVALID.
 */
export function checkHeader (header: Readonly<Record<string, unknown>>, settings: HeaderSettings): { algorithm: Algorithm, keyId: string } {
  const { alg, typ, kid } = header
  if (!settings.algorithms.includes(alg as Algorithm)) throw new AuthError('AUTH_TOKEN_INVALID', 'algorithm')
  // What a token calls critical is to be refused where it is not understood (RFC 7515 §4.1.11), and nothing here is.
  // `b64: false` would change which bytes are signed (RFC 7797), so it is refused without `crit` as well.
  if (Object.hasOwn(header, 'crit') || Object.hasOwn(header, 'b64')) throw new AuthError('AUTH_TOKEN_INVALID', 'crit')
  // One issuer signs tokens of many classes with one key (RFC 8725 §3.11).
  if (typ !== undefined && !isType(typ, settings.types)) throw new AuthError('AUTH_TOKEN_INVALID', 'type')
  if (!settings.named) return { algorithm: alg as Algorithm, keyId: '' }
  if (kid === undefined) throw new AuthError('AUTH_TOKEN_INVALID', 'key-id-absent')
  if (typeof kid !== 'string' || kid === '' || kid.length > maxKeyIdLength) throw new AuthError('AUTH_TOKEN_INVALID', 'key-unknown')
  return { algorithm: alg as Algorithm, keyId: kid }
}

function isType (typ: unknown, types: readonly string[]): boolean {
  if (typ === 'JWT') return true
  if (typeof typ !== 'string') return false
  const type = plainType(typ)
  return type === 'jwt' || types.includes(type)
}

/** A `typ` as it is compared: without regard to case, and to the `application/` that may be left out (RFC 7515 §4.1.9). */
export function plainType (typ: string): string {
  return typ.toLowerCase().replace(/^application\//, '')
}
