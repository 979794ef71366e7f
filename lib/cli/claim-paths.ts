/**
 * A claim mapping out of `--claim field=claim`: where the parts of a principal are in an issuer's own claims.
 */
import { Type } from '@sinclair/typebox'
import { AuthError } from '../errors.js'
import type { ClaimMapping } from '../jwt/claims.js'
import { parsed } from './command.js'
import { usageFailure } from './failure.js'

const fields = ['tenant', 'roles', 'scopes', 'email'] as const
type Field = typeof fields[number]

export interface ClaimPath {
  readonly field: Field
  /** The names from the claims inwards. */
  readonly path: readonly string[]
}

export const claimHelp = 'where tenant, roles, scopes or email is: the name of a claim, or a JSON pointer into it (roles=/realm_access/roles); once for each, and then no other claim is read'

/** One `--claim`, after those before it. */
export function readClaim (text: string, before: readonly ClaimPath[] = []): ClaimPath[] {
  const claim = parsed((given) => {
    const [, name, place = ''] = /^([a-z]+)=(.+)$/s.exec(given) ?? []
    const field = fields.find((one) => one === name)
    if (field === undefined) throw usageFailure(`It is to be ${fields.join(', ')}, an equals sign and a claim: tenant=org_id.`)
    if (before.some((other) => other.field === field)) throw usageFailure(`${field} is there twice.`)
    return { field, path: pathOf(place) }
  })(text)
  return [...before, claim]
}

/**
 * The mapping that reads these claims. A tenant and an e-mail address are texts; roles and scopes are lists
 * of texts, or one text with spaces between them (RFC 8693 §4.2). An absent claim gives none; one of another
 * type rejects the token.
 */
export function claimsAt (paths: readonly ClaimPath[]): ClaimMapping {
  return {
    schema: Type.Object({}),
    principal (claims) {
      const at = (field: Field): unknown => {
        const found = paths.find((one) => one.field === field)
        return found === undefined ? undefined : valueAt(claims, found.path)
      }
      return { tenantId: textOf(at('tenant')), roles: textsOf(at('roles')), scopes: textsOf(at('scopes')), email: textOf(at('email')) }
    }
  }
}

/**
 * A JSON pointer (RFC 6901) where it begins with a slash; otherwise the whole text is the name of a claim, as
 * a URL is one.
 */
function pathOf (place: string): readonly string[] {
  return place.startsWith('/') ? place.slice(1).split('/').map((part) => part.replaceAll('~1', '/').replaceAll('~0', '~')) : [place]
}

function valueAt (claims: unknown, path: readonly string[]): unknown {
  return path.reduce<unknown>((value, name) => (
    typeof value === 'object' && value !== null && Object.hasOwn(value, name) ? (value as Record<string, unknown>)[name] : undefined), claims)
}

function textOf (value: unknown): string | null {
  if (value === undefined || value === null) return null
  if (typeof value !== 'string') throw new AuthError('AUTH_TOKEN_CLAIMS', 'claims')
  return value
}

function textsOf (value: unknown): readonly string[] {
  if (value === undefined || value === null) return []
  if (typeof value === 'string') return value.split(' ').filter((one) => one !== '')
  if (!Array.isArray(value) || !value.every((one) => typeof one === 'string')) throw new AuthError('AUTH_TOKEN_CLAIMS', 'claims')
  return value
}
