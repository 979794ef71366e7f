/** The verifier of one issuer's tokens: form, header, key, signature, claims, time, revocation, in this order. */
import { AuthError, configError } from '../errors.js'
import { freezePrincipal } from '../principal.js'
import type { Claims, JwtPrincipal, Role, Scope } from '../principal.js'
import type { Algorithm } from './algorithm.js'
import { parseToken } from './bearer.js'
import type { UnverifiedToken } from './bearer.js'
import { compileMapping } from './claims.js'
import type { ClaimMapping } from './claims.js'
import { checkHeader, plainType } from './header.js'
import { createFixedKey, createKeySet } from './key-set.js'
import type { KeySetTimes, KeySetTools, KeySource } from './key-set.js'
import type { KeyLocation } from './key-document.js'
import { checkConfirmation, checkRegistered, checkTimes, deadlineOf, expired } from './registered-claims.js'
import { checkRevocation } from './revocation.js'
import type { RevocationCheck } from './revocation.js'
import { createTokenCache } from './token-cache.js'
import type { VerifiedToken } from './token-cache.js'
import { readPem } from './verification-key.js'
import type { VerificationKey } from './verification-key.js'

/** Whether a token's signature is right under a key in PEM or an HMAC secret. Nothing else of the token is checked. Never throws. */
export type SignatureCheck = (token: string, key: string) => boolean

/** The settings of one issuer, complete: no defaults are known here. */
export interface TokenIssuerSettings {
  /** For events; never compared with anything of a token. */
  readonly name: string
  /** What `iss` must be, exactly. */
  readonly issuer: string
  readonly audience: readonly string[] | null
  /** The same as those of the signature check. */
  readonly algorithms: readonly Algorithm[]
  readonly keys: KeyLocation | { readonly from: 'publicKey', readonly pem: string } | { readonly from: 'secret', readonly secret: string }
  readonly claims: ClaimMapping
  readonly authorizedParties: readonly string[] | null
  readonly azp: 'require' | 'ifPresent' | 'off'
  /** Seconds. */
  readonly clockTolerance: number
  readonly tokenCache: { readonly max: number, readonly maxBytes: number } | null
  readonly keySet: KeySetTimes
  readonly isRevoked: RevocationCheck | null
}

/** The verifier of one issuer's tokens. Synchronous while the keys are held. */
export interface TokenVerifier {
  readonly name: string
  readonly issuer: string
  /**
   * What is remembered of a token that was verified before; null where nothing is. It is not checked whether the token is
   * still valid. A look-up in memory: no clock, key set or application code is called, so a caller may drop the result.
   */
  fromCache (token: string): VerifiedToken | null
  /**
   * The principal of a remembered token, after its expiry, its key and its revocation are checked again.
   * Throws, or rejects with, an AuthError where it is no longer valid.
   */
  confirm (verified: VerifiedToken): JwtPrincipal | Promise<JwtPrincipal>
  /** The principal of a token. Throws, or rejects with, an AuthError. */
  verify (token: UnverifiedToken): JwtPrincipal | Promise<JwtPrincipal>
  /** Reads the issuer's keys, if there are none yet. Rejects with AUTH_KEY_SET_UNAVAILABLE. */
  warm (): Promise<void>
  /** Ends what is under way; the issuer is not asked afterwards. */
  close (): void
}

export interface TokenVerifierTools extends KeySetTools { readonly check: SignatureCheck }

/** Throws AUTH_CONFIG_OPTION for a PEM, an address or a claim schema that cannot be used. */
export function createTokenVerifier (settings: TokenIssuerSettings, tools: TokenVerifierTools): TokenVerifier {
  const { name, issuer, clockTolerance, isRevoked } = settings
  const { check, clock } = tools
  const source = createKeySource(settings, tools)
  const readClaims = compileMapping(settings.claims)
  const headerSettings = { algorithms: settings.algorithms, types: (settings.claims.types ?? []).map(plainType), named: source.named }
  const cache = settings.tokenCache === null ? null : createTokenCache(settings.tokenCache)

  return { name, issuer, fromCache, confirm, verify, warm: source.warm, close: source.close }

  function fromCache (token: string): VerifiedToken | null {
    return cache?.get(token) ?? null
  }

  function confirm (verified: VerifiedToken): JwtPrincipal | Promise<JwtPrincipal> {
    const now = clock()
    // Written so that a clock that returns no number ends in a rejection.
    if (!(now < verified.deadline)) {
      cache?.delete(verified.token)
      throw expired()
    }
    const confirmed = source.confirm(verified.key, now)
    if (typeof confirmed !== 'boolean') return confirmed.then((stands) => stands ? admit(verified.principal) : verifyAgain(verified))
    return confirmed ? admit(verified.principal) : verifyAgain(verified)
  }

  /** The key of a remembered token is gone; another key may have taken its id. */
  function verifyAgain ({ token }: VerifiedToken): JwtPrincipal | Promise<JwtPrincipal> {
    cache?.delete(token)
    return verify(parseToken(token))
  }

  function verify (token: UnverifiedToken): JwtPrincipal | Promise<JwtPrincipal> {
    const { algorithm, keyId } = checkHeader(token.header, headerSettings)
    const keys = source.find(keyId)
    return keys instanceof Promise ? keys.then((found) => prove(token, algorithm, keyId, found)) : prove(token, algorithm, keyId, keys)
  }

  function prove (token: UnverifiedToken, algorithm: Algorithm, keyId: string, keys: readonly VerificationKey[]): JwtPrincipal | Promise<JwtPrincipal> {
    if (!keys.some((key) => key.algorithms.includes(algorithm))) throw new AuthError('AUTH_TOKEN_INVALID', 'algorithm')
    const key = signerOf(token.raw, algorithm, keys)
    if (key !== null) return accept(token, key)
    // Clerk reuses its key id: the token may be signed by a key that came under it since the set was read.
    const news = source.doubt(keyId, keys)
    if (news === null) throw new AuthError('AUTH_TOKEN_INVALID', 'signature')
    return news.then((found) => {
      const key = signerOf(token.raw, algorithm, found)
      if (key === null) throw new AuthError('AUTH_TOKEN_INVALID', 'signature')
      return accept(token, key)
    })
  }

  function signerOf (token: string, algorithm: Algorithm, keys: readonly VerificationKey[]): VerificationKey | null {
    for (const key of keys) {
      if (key.algorithms.includes(algorithm) && check(token, key.pem)) return key
    }
    return null
  }

  /** Everything behind the signature. */
  function accept (token: UnverifiedToken, key: VerificationKey): JwtPrincipal | Promise<JwtPrincipal> {
    const claims = token.payload
    removeProto(claims)
    checkConfirmation(claims)
    const { iss, sub, exp } = checkRegistered(claims, settings)
    const { tenantId, roles, scopes, email } = readClaims(claims)
    checkTimes(claims, clock(), clockTolerance)
    const principal = freezePrincipal<JwtPrincipal>({
      scheme: 'jwt',
      tenantId,
      // Copied, because they are about to be frozen and a mapping may answer an array of its own.
      roles: [...roles] as Role[],
      scopes: [...scopes] as Scope[],
      proofs: ['jwt'],
      subject: sub,
      email,
      issuer: iss,
      expiresAt: exp,
      claims: claims as Claims
    })
    cache?.set({ token: token.raw, principal, key, deadline: deadlineOf(exp, clockTolerance) })
    return admit(principal)
  }

  function admit (principal: JwtPrincipal): JwtPrincipal | Promise<JwtPrincipal> {
    return isRevoked === null ? principal : checkRevocation(principal, isRevoked)
  }
}

function createKeySource (settings: TokenIssuerSettings, tools: KeySetTools): KeySource {
  const { name, issuer, keys, algorithms, keySet: times } = settings
  switch (keys.from) {
    case 'jwks':
    case 'discovery': return createKeySet({ name, issuer, location: keys, algorithms, times }, tools)
    case 'secret': return createFixedKey({ keyId: '', pem: keys.secret, algorithms: algorithms.filter((one) => one === 'HS256'), live: true })
    case 'publicKey': try {
      return createFixedKey(readPem(keys.pem, algorithms))
    } catch (error) {
      throw configError('option', (error as Error).message)
    }
  }
}

/**
 * JSON.parse makes `__proto__` a property like any other, and nothing here is misled by it; but an application that
 * copies claims with Object.assign or a merge would take it for the prototype.
 */
function removeProto (value: object): void {
  for (const name in value) {
    const member: unknown = (value as Record<string, unknown>)[name]
    if (name === '__proto__') Reflect.deleteProperty(value, name)
    else if (typeof member === 'object' && member !== null) removeProto(member)
  }
}
