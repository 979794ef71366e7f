/** The claims that RFC 7519 registers, and `azp`: the checks that are the same whatever the token is for. */
import { AuthError, quoted } from '../errors.js'
import type { AuthErrorReason } from '../errors.js'

export interface RegisteredClaimsSettings {
  readonly issuer: string
  /** null: the tokens carry none, and one that is there is not looked at. */
  readonly audience: readonly string[] | null
  readonly authorizedParties: readonly string[] | null
  readonly azp: 'require' | 'ifPresent' | 'off'
  /** Seconds. */
  readonly clockTolerance: number
}

/** The last second that a Date can hold (ECMA-262 §21.4.1.1). */
const latestDate = 8.64e12

/** The registered claims of a token once they are checked. */
export interface RegisteredClaims { readonly iss: string, readonly sub: string, readonly exp: number }

/**
 * Checks the types and values of the registered claims. Times are looked at by checkTimes, after the issuer's own claims.
 * Throws AUTH_TOKEN_CLAIMS.
 */
export function checkRegistered (claims: Record<string, unknown>, settings: RegisteredClaimsSettings): RegisteredClaims {
  const { iss, sub, aud, exp, nbf, iat, azp } = claims
  if (iss !== settings.issuer || typeof iss !== 'string') throw refused('issuer', `iss is ${quoted(iss)}, and must be ${quoted(settings.issuer)}`)
  if (typeof sub !== 'string' || sub === '' || !isWellFormed(sub)) throw refused('subject', 'sub: expected a string that is not empty')
  // JSON has no NaN, but 1e999 is Infinity. A time that no Date can hold would throw in the application.
  if (!Number.isFinite(exp) || Math.abs(exp as number) > latestDate) throw refused('claims', 'exp: expected seconds since the epoch')
  if ((nbf !== undefined && !Number.isFinite(nbf)) || (iat !== undefined && !Number.isFinite(iat))) throw refused('claims', 'nbf, iat: expected seconds since the epoch')
  if (settings.audience !== null && !isFor(aud, settings.audience)) throw refused('audience', `aud is ${quoted(aud)}, and must contain one of ${quoted(settings.audience)}`)
  if (!isParty(azp, settings)) throw refused('azp', `azp is ${quoted(azp)}, and must be one of ${quoted(settings.authorizedParties)}`)
  return { iss, sub, exp: exp as number }
}

/**
 * Rejects a token that is bound to a key of its sender (RFC 7800): `cnf` with `jkt` (DPoP, RFC 9449 §6.1) or `x5t#S256`
 * (a client certificate, RFC 8705 §3.1). Presented as a plain bearer token it proves no possession of that key, and
 * RFC 9449 §7.1 has it rejected. Other members of `cnf` are ignored; a `cnf` that is no object is rejected.
 * Throws AUTH_TOKEN_INVALID.
 */
export function checkConfirmation ({ cnf }: Record<string, unknown>): void {
  if (cnf === undefined) return
  const isObject = typeof cnf === 'object' && cnf !== null && !Array.isArray(cnf)
  if (!isObject || Object.hasOwn(cnf, 'jkt') || Object.hasOwn(cnf, 'x5t#S256')) throw new AuthError('AUTH_TOKEN_INVALID', 'sender-constrained')
}

/** Checks the times of claims that checkRegistered accepted. `now` is in milliseconds. Throws AUTH_TOKEN_EXPIRED or AUTH_TOKEN_CLAIMS. */
export function checkTimes (claims: Record<string, unknown>, now: number, tolerance: number): void {
  const { exp, nbf, iat } = claims as { exp: number, nbf?: number, iat?: number }
  // Each comparison is written so that it rejects where `now` is no number.
  if (!(now < deadlineOf(exp, tolerance))) throw expired()
  const latest = now / 1000 + tolerance
  if (nbf !== undefined && !(nbf <= latest)) throw refused('not-yet-valid', `nbf is ${Math.ceil(nbf - latest)} s ahead of this clock and its tolerance`)
  if (iat !== undefined && !(iat <= latest)) throw refused('issued-in-future', `iat is ${Math.ceil(iat - latest)} s ahead of this clock and its tolerance`)
}

/** The first millisecond at which a token is expired. */
export function deadlineOf (exp: number, tolerance: number): number {
  return (exp + tolerance) * 1000
}

/**
 * Whether a text is Unicode. JSON can write half of a surrogate pair (`\ud800`), which becomes U+FFFD wherever the text is stored
 * or logged as UTF-8: two subjects, or two tenants, would be one there.
 */
export function isWellFormed (text: string): boolean {
  return !/\p{Surrogate}/u.test(text)
}

/** The refusal of a token that was good once. */
export function expired (): AuthError {
  return new AuthError('AUTH_TOKEN_EXPIRED', 'expired')
}

function isFor (aud: unknown, audience: readonly string[]): boolean {
  if (typeof aud === 'string') return audience.includes(aud)
  // One member that is no string makes the whole claim another thing than RFC 7519 §4.1.3 describes.
  return Array.isArray(aud) && aud.every((one) => typeof one === 'string') && aud.some((one) => audience.includes(one as string))
}

function isParty (azp: unknown, { authorizedParties, azp: mode }: RegisteredClaimsSettings): boolean {
  if (mode === 'off') return true
  if (azp === undefined) return mode === 'ifPresent'
  return typeof azp === 'string' && azp !== '' && (authorizedParties === null || authorizedParties.includes(azp))
}

function refused (reason: AuthErrorReason, detail: string): AuthError {
  return new AuthError('AUTH_TOKEN_CLAIMS', reason, { detail })
}
