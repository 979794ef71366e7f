/** From an issuer's own claims to a principal. */
import { Type } from '@sinclair/typebox'
import type { Static, TSchema } from '@sinclair/typebox'
import { TypeCompiler } from '@sinclair/typebox/compiler'
import { AuthError, configError, isAuthError, quoted } from '../errors.js'
import { isWellFormed } from './registered-claims.js'

/** What a mapping reads out of claims. The subject, issuer, expiry and the claims themselves are filled in for it. */
export interface MappedPrincipal {
  readonly tenantId: string | null
  readonly roles: readonly string[]
  readonly scopes: readonly string[]
  readonly email: string | null
}

/**
 * How an issuer's claims become a principal:
 *
 * ```ts
 * const schema = Type.Object({ org: Type.String(), groups: Type.Array(Type.String()) })
 * const claims: ClaimMapping<typeof schema> = {
 *   schema,
 *   principal: ({ org, groups }) => ({ tenantId: org, roles: groups, scopes: [], email: null })
 * }
 * ```
 */
export interface ClaimMapping<S extends TSchema = TSchema> {
  /**
   * The shape of the claims; a token of another shape is refused with AUTH_TOKEN_CLAIMS. Compiled once. `iss`, `sub`, `exp`,
   * `aud` and the times are checked apart and need not be in it. Without `format`: no format is known to the checker.
   */
  readonly schema: S
  /** Values of the header's `typ` that are accepted beside JWT, such as `at+jwt`. Default: none. */
  readonly types?: readonly string[]
  /**
   * Reads the principal out of claims whose signature, issuer, audience and shape are right; their times are checked
   * afterwards. Synchronous. May throw an AuthError with AUTH_TOKEN_CLAIMS; anything else thrown refuses the token, too.
   */
  principal (claims: Static<S>): MappedPrincipal
}

/** The claims of CauseFlow's tokens. More claims may be there. */
export const CauseflowClaimsSchema = Type.Object({
  sub: Type.String({ minLength: 1, description: 'User id' }),
  email: Type.Optional(Type.String({ description: 'The user\'s e-mail address' })),
  tenant_id: Type.Optional(Type.String({ minLength: 1, description: 'The tenant that the user belongs to' })),
  roles: Type.Optional(Type.Array(Type.String(), { description: 'admin, member, or others' })),
  iss: Type.String({ minLength: 1 }),
  aud: Type.Optional(Type.Union([Type.String(), Type.Array(Type.String())])),
  exp: Type.Number({ description: 'Expiry, seconds since the epoch' })
}, { title: 'CauseflowClaims' })
export type CauseflowClaims = Static<typeof CauseflowClaimsSchema>

/** The mapping of CauseFlow's own claims: Clerk template tokens, and what a self-hosted CauseFlow signs. */
export function causeflowClaims (): ClaimMapping<typeof CauseflowClaimsSchema> {
  return {
    schema: CauseflowClaimsSchema,
    principal ({ sub, tenant_id: tenantId = null, roles = [], email = null }) {
      // Clerk signs its machines' tokens with the same key, and their holder chooses the other claims.
      if (sub.startsWith('mch_')) throw new AuthError('AUTH_TOKEN_CLAIMS', 'token-class')
      return { tenantId, roles, scopes: [], email }
    }
  }
}

/**
 * Compiles a mapping: from claims to what it reads of them, or AUTH_TOKEN_CLAIMS. Of what it answers only the
 * types are checked. Throws AUTH_CONFIG_OPTION for a schema that would refuse every token or that its checker cannot read.
 */
export function compileMapping (mapping: ClaimMapping): (claims: Record<string, unknown>) => MappedPrincipal {
  if (usesFormat(mapping.schema)) throw configError('option', 'The schema of a claim mapping cannot use "format": no format is known to its checker. Use "pattern"')
  const shape = compiled(mapping.schema)
  return function read (claims) {
    if (!shape.Check(claims)) throw new AuthError('AUTH_TOKEN_CLAIMS', 'claims', { detail: firstFault(shape, claims) })
    let mapped: MappedPrincipal
    try {
      mapped = mapping.principal(claims)
    } catch (cause) {
      throw isAuthError(cause) ? cause : new AuthError('AUTH_TOKEN_CLAIMS', 'claims', { cause, detail: 'the claim mapping threw an error' })
    }
    // Nobody awaits it, and a rejection that nobody handles ends the process.
    if ((mapped as unknown) instanceof Promise) (mapped as unknown as Promise<unknown>).catch(() => {})
    const fault = faultOf(mapped)
    if (fault !== null) throw new AuthError('AUTH_TOKEN_CLAIMS', 'claims', { detail: `the claim mapping ${fault}` })
    return mapped
  }
}

/** Plain JSON schemas and those of `typebox` 1 look alike to the eye, and the compiler's own words name no package. */
function compiled (schema: TSchema): ReturnType<typeof TypeCompiler.Compile> {
  try {
    return TypeCompiler.Compile(schema)
  } catch (cause) {
    throw configError('option', `The schema of a claim mapping is none of @sinclair/typebox 0.34 (${cause instanceof Error ? cause.message : 'it cannot be compiled'}). Build it with the Type of that package`)
  }
}

/** What is wrong with an answer of a mapping; null where nothing is. */
function faultOf (value: unknown): string | null {
  if (typeof (value as { then?: unknown } | null | undefined)?.then === 'function') return 'has to be synchronous, and returned a promise'
  if (typeof value !== 'object' || value === null) return 'returned no object: { tenantId, roles, scopes, email }'
  const { tenantId, roles, scopes, email } = value as Record<string, unknown>
  if (tenantId !== null && !(isText(tenantId) && tenantId !== '')) return 'returned no tenantId: a string that is not empty, or null'
  if (!areTexts(roles)) return 'returned no roles: a list of strings'
  if (!areTexts(scopes)) return 'returned no scopes: a list of strings'
  return email === null || isText(email) ? null : 'returned no email: a string, or null'
}

/** Where claims differ from their schema first, and what the schema wants there: `/groups: required`. */
function firstFault (shape: ReturnType<typeof TypeCompiler.Compile>, claims: unknown): string {
  const fault = shape.Errors(claims).First()
  if (fault === undefined) return 'another shape than the schema of the claim mapping'
  const wanted = fault.message === 'Expected required property' ? 'required' : fault.message.charAt(0).toLowerCase() + fault.message.slice(1)
  return `${quoted(fault.path).slice(1, -1)}: ${wanted}`
}

function areTexts (value: unknown): boolean {
  return Array.isArray(value) && value.every(isText)
}

function isText (value: unknown): boolean {
  return typeof value === 'string' && isWellFormed(value)
}

function usesFormat (schema: unknown): boolean {
  if (typeof schema !== 'object' || schema === null) return false
  if (typeof (schema as { format?: unknown }).format === 'string' && (schema as { type?: unknown }).type === 'string') return true
  return Object.values(schema).some(usesFormat)
}
