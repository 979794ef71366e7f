/** The verified party that a rule let in. */
import { AuthError } from './errors.js'

/** The kind of a credential. */
export type Scheme = 'jwt' | 'apiKey' | 'webhook'

/**
 * Types of your application, by declaration merging:
 *
 * ```ts
 * declare module 'fastify-causeflow-auth' {
 *   interface CauseflowAuthTypes { role: 'admin' | 'member', scope: 'report:read', claims: MyClaims }
 * }
 * ```
 */
// eslint-disable-next-line @typescript-eslint/no-empty-object-type -- filled by the application
export interface CauseflowAuthTypes {}

/** A role: any string, or those that the application has named in CauseflowAuthTypes. */
export type Role = CauseflowAuthTypes extends { role: infer R extends string } ? R : string
/** A scope: any string, or those that the application has named in CauseflowAuthTypes. */
export type Scope = CauseflowAuthTypes extends { scope: infer S extends string } ? S : string
/** The verified claims: a record, or the type that the application has named in CauseflowAuthTypes. */
export type Claims = CauseflowAuthTypes extends { claims: infer C } ? C : Readonly<Record<string, unknown>>

interface Party {
  /** The tenant; null for a credential that belongs to none. */
  readonly tenantId: string | null
  /** Roles; empty for API keys and webhooks. */
  readonly roles: readonly Role[]
  readonly scopes: readonly Scope[]
  /** Every kind of credential that was proved for this request. */
  readonly proofs: readonly Scheme[]
}

/** Who a bearer token speaks for. */
export interface JwtPrincipal extends Party {
  readonly scheme: 'jwt'
  readonly subject: string
  readonly email: string | null
  readonly issuer: string
  /** Seconds since the epoch, as `exp`. */
  readonly expiresAt: number
  readonly claims: Claims
}

/** The holder of an API key. */
export interface ApiKeyPrincipal extends Party {
  readonly scheme: 'apiKey'
  readonly tenantId: string
  readonly keyId: string
  readonly name: string
  readonly environment: 'live' | 'test'
  readonly createdBy: string | null
}

/** The sender of a signed delivery. */
export interface WebhookPrincipal extends Party {
  readonly scheme: 'webhook'
  /** The configured name of the webhook whose secret verified. */
  readonly source: string
  readonly deliveryId: string | null
  /** Seconds since the epoch; null where the scheme signs no time. */
  readonly timestamp: number | null
}

/** The verified party of a request, discriminated by `scheme`. */
export type Principal = JwtPrincipal | ApiKeyPrincipal | WebhookPrincipal

/** The principal of one scheme. */
export type PrincipalOf<S extends Scheme> = Extract<Principal, { scheme: S }>

/** Under a private symbol, so that no application can take the name: what each credential of an `all` proved. */
export const kProofs = Symbol('causeflow-auth.proofs')

/** What principalOf reads of a request. */
export interface Proven {
  principal: Principal | null
}

/**
 * The principal of a request, narrowed to the given schemes (none: any scheme). Under `all` it is
 * that scheme's own proof. This verifies nothing: the route's rule has.
 * Throws AUTH_CREDENTIAL_MISSING when nothing was proved, AUTH_DENIED when another scheme was.
 */
export function principalOf<S extends Scheme = Scheme> (request: Proven, ...schemes: S[]): PrincipalOf<S> {
  const { principal } = request
  if (principal === null || principal === undefined) throw new AuthError('AUTH_CREDENTIAL_MISSING', 'absent', { schemes })
  if (schemes.length === 0 || schemes.includes(principal.scheme as S)) return principal as PrincipalOf<S>
  const proofs = (request as { [kProofs]?: readonly Principal[] | null })[kProofs]
  const proof = proofs?.find((candidate) => schemes.includes(candidate.scheme as S))
  if (proof === undefined) throw new AuthError('AUTH_DENIED', 'scheme', { schemes })
  return proof as PrincipalOf<S>
}

/** Whose request it is, and what each credential proved; the list is null where it would hold the principal alone. */
export interface Proved {
  readonly principal: Principal | null
  readonly proofs: readonly Principal[] | null
}

/**
 * What two rules of one request proved, as one. The principal is the first's, or the second's where the first has none; its `proofs` name
 * every credential of both. Where tenants are compared, throws AUTH_TENANT_MISMATCH if they differ, as within one rule.
 */
export function joinProofs (first: Proved, second: Proved, comparesTenants: boolean): Proved {
  const known = proofsOf(first)
  const added = proofsOf(second).filter((proof) => !known.some((other) => isSame(other, proof)))
  const principal = first.principal ?? second.principal
  if (principal === null || added.length === 0) return first
  const proofs = [...known, ...added]
  const tenants = new Set(proofs.map(({ tenantId }) => tenantId).filter((tenantId) => tenantId !== null && tenantId !== undefined))
  if (comparesTenants && tenants.size > 1) {
    const [other = principal] = added
    throw new AuthError('AUTH_TENANT_MISMATCH', 'tenant-other', { schemes: [other.scheme], principal: other })
  }
  if (proofs.length === 1) return { principal, proofs: null }
  const schemes = (['jwt', 'apiKey', 'webhook'] as const).filter((scheme) => proofs.some((proof) => proof.scheme === scheme))
  return { principal: Object.freeze({ ...principal, proofs: Object.freeze(schemes) }), proofs }
}

function proofsOf ({ principal, proofs }: Proved): readonly Principal[] {
  return proofs ?? (principal === null ? [] : [principal])
}

/** Whether two proofs are of one credential, which two rules have asked for. */
function isSame (one: Principal, other: Principal): boolean {
  return one === other || (one.scheme === other.scheme && one.tenantId === other.tenantId && nameOf(one) === nameOf(other))
}

function nameOf (principal: Principal): string {
  switch (principal.scheme) {
    case 'jwt': return JSON.stringify([principal.issuer, principal.subject])
    case 'apiKey': return principal.keyId
    case 'webhook': return JSON.stringify([principal.source, principal.deliveryId])
  }
}

/** A copy that nobody can change, so that one request cannot alter what the next one sees. */
export function freezePrincipal<P extends Principal> (principal: P): P {
  Object.freeze(principal.roles)
  Object.freeze(principal.scopes)
  Object.freeze(principal.proofs)
  if (principal.scheme === 'jwt') deepFreeze(principal.claims)
  return Object.freeze(principal)
}

/** Freezes a value and all that is in it; answers the value itself. */
export function deepFreeze<T> (value: T): T {
  if (typeof value !== 'object' || value === null || Object.isFrozen(value)) return value
  Object.freeze(value)
  for (const key of Object.keys(value)) {
    const member = (value as Record<string, unknown>)[key]
    if (typeof member === 'object' && member !== null) deepFreeze(member)
  }
  return value
}
