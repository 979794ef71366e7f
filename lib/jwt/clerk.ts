/** Clerk's session tokens, versions 1 and 2. */
import { Type } from '@sinclair/typebox'
import type { Static } from '@sinclair/typebox'
import { AuthError, configError, refuseUndefined } from '../errors.js'
import type { ClaimMapping, MappedPrincipal } from './claims.js'

/** What an organisation role becomes: roles by their full names (`org:admin`), or a function of them. */
export type OrganizationRoles = Readonly<Record<string, string | readonly string[]>> | ((organizationRole: string) => string | readonly string[])

export interface ClerkSessionOptions {
  /** Default: `org:admin` is `admin`, every other role is `member`. With a record, a role that is not in it gives none. */
  roles?: OrganizationRoles
  /** Whether a session in which somebody impersonates the user (`act`) is accepted. Default: true; `claims.act` says who it is. */
  impersonation?: boolean
  /**
   * Tokens of the same instance that are no sessions and are accepted all the same: those of OAuth clients and of machines.
   * They have no tenant and no roles; their scopes are those granted. Default: none.
   */
  accept?: ReadonlyArray<'oauth' | 'machine'>
}

/** The claims of Clerk's session tokens. More may be there. */
export const ClerkSessionClaimsSchema = Type.Object({
  sub: Type.String({ minLength: 1, description: 'User id' }),
  iss: Type.String({ minLength: 1 }),
  exp: Type.Number(),
  // Every session token has one; optional here because its absence is told apart: the token is of another class.
  sid: Type.Optional(Type.String({ minLength: 1, description: 'Session id' })),
  sts: Type.Optional(Type.String({ description: 'Session status' })),
  azp: Type.Optional(Type.String({ description: 'The origin that asked for the token' })),
  act: Type.Optional(Type.Object({ sub: Type.String() }, { description: 'Who impersonates the user' })),
  v: Type.Optional(Type.Number({ description: 'Version; absent in version 1' })),
  fea: Type.Optional(Type.String({ description: 'Version 2: features' })),
  o: Type.Optional(Type.Object({
    id: Type.String({ minLength: 1 }),
    rol: Type.Optional(Type.String()),
    slg: Type.Optional(Type.String()),
    per: Type.Optional(Type.String()),
    fpm: Type.Optional(Type.String())
  }, { description: 'Version 2: the active organisation' })),
  org_id: Type.Optional(Type.String({ minLength: 1, description: 'Version 1: the active organisation' })),
  org_role: Type.Optional(Type.String()),
  org_slug: Type.Optional(Type.String()),
  org_permissions: Type.Optional(Type.Array(Type.String()))
}, { title: 'ClerkSessionClaims' })
export type ClerkSessionClaims = Static<typeof ClerkSessionClaimsSchema>

/** The mapping of Clerk's session tokens: the tenant is the active organisation, the scopes are its permissions. */
export function clerkSession (options: ClerkSessionOptions = {}): ClaimMapping<typeof ClerkSessionClaimsSchema> {
  const { roles = defaultRoles, impersonation = true, accept = [], ...unknown } = options
  const [stray] = Object.keys(unknown)
  if (stray !== undefined) throw configError('option', `clerkSession() has no option '${stray}'. It has roles, impersonation and accept`)
  refuseUndefined((name) => `clerkSession({ ${name} })`, options)
  if (typeof impersonation !== 'boolean') throw configError('option', 'clerkSession({ impersonation }) must be true or false')
  if (!Array.isArray(accept) || !accept.every((one) => one === 'oauth' || one === 'machine')) throw configError('option', "clerkSession({ accept }) must be a list of 'oauth' and 'machine'")
  return {
    schema: ClerkSessionClaimsSchema,
    types: accept.includes('oauth') ? ['at+jwt'] : [],
    principal (claims) {
      const { sid, sts, act } = claims
      if (sid === undefined) return readGrant(claims, accept)
      // An OpenID Connect id_token names the session too, and is meant for a client and not for us.
      if (claims.sub.startsWith('mch_') || 'at_hash' in claims || 'client_id' in claims) throw new AuthError('AUTH_TOKEN_CLAIMS', 'token-class')
      // A session with tasks left is pending. A status that is not known yet is no better than that.
      if (sts !== undefined && sts !== 'active') throw new AuthError('AUTH_TOKEN_CLAIMS', 'session-pending')
      if (act !== undefined && !impersonation) throw new AuthError('AUTH_TOKEN_CLAIMS', 'actor')
      const organization = claims.v === undefined || claims.v < 2 ? organizationOfV1(claims) : organizationOfV2(claims)
      const email = (claims as { email?: unknown }).email
      return {
        tenantId: organization?.id ?? null,
        roles: organization?.role === undefined ? [] : rolesOf(organization.role, roles),
        scopes: organization?.permissions ?? [],
        // Not one of Clerk's: whoever customises the session may put anything there.
        email: typeof email === 'string' ? email : null
      }
    }
  }
}

/** What `clerk` answers: the `jwt` option for an instance's session tokens. */
export interface ClerkJwtOptions {
  issuer: string
  audience: false
  claims: ClaimMapping<typeof ClerkSessionClaimsSchema>
  authorizedParties?: string[]
  azp?: 'ifPresent'
}

export interface ClerkOptions extends ClerkSessionOptions {
  /** The instance's Frontend API URL, exactly as its tokens have it in `iss`. */
  issuer?: string
  /** `pk_test_…` or `pk_live_…`, which names the same URL. */
  publishableKey?: string
  /** Origins whose tokens are accepted. Default: not looked at. A token without `azp` is accepted in any case. */
  authorizedParties?: string[]
}

/** The whole `jwt` option for Clerk's session tokens, which carry no audience. Throws AUTH_CONFIG_OPTION. */
export function clerk (options: ClerkOptions): ClerkJwtOptions {
  const { issuer, publishableKey, authorizedParties, ...session } = options
  for (const name of Object.keys(session)) {
    if (name !== 'roles' && name !== 'impersonation' && name !== 'accept') throw configError('option', `clerk() has no option "${name}"`)
  }
  refuseUndefined((name) => `clerk({ ${name} })`, options)
  const bare = authorizedParties?.find((party) => typeof party === 'string' && !party.includes('://'))
  if (bare !== undefined) throw configError('option', `clerk({ authorizedParties }) has '${bare}', which is no origin. Write its scheme too: 'https://${bare}'`)
  if ((issuer === undefined) === (publishableKey === undefined)) throw configError('option', 'clerk() needs either issuer or publishableKey')
  return {
    issuer: issuer === undefined ? issuerOf(publishableKey as string) : checkIssuer(issuer),
    audience: false,
    claims: clerkSession(session),
    ...(authorizedParties === undefined ? {} : { authorizedParties: [...authorizedParties], azp: 'ifPresent' as const })
  }
}

function issuerOf (publishableKey: string): string {
  const encoded = /^pk_(?:test|live)_([A-Za-z0-9+/_-]+)={0,2}$/.exec(publishableKey)?.[1] ?? ''
  const bytes = Buffer.from(encoded, 'base64')
  const host = /^([a-z0-9-]+(?:\.[a-z0-9-]+)+)\$$/i.exec(bytes.toString('latin1'))?.[1]
  // Buffer.from passes over a last digit that is no whole byte.
  if (host === undefined || bytes.toString('base64url') !== encoded.replaceAll('+', '-').replaceAll('/', '_')) throw configError('option', 'publishableKey is not one of Clerk\'s: copy it from the dashboard, it begins with pk_test_ or pk_live_')
  return `https://${host}`
}

function checkIssuer (issuer: string): string {
  if (typeof issuer !== 'string' || !URL.canParse(issuer) || issuer.endsWith('/')) {
    throw configError('option', 'issuer is to be the Frontend API URL as tokens have it: https://…, without a slash at its end')
  }
  return issuer
}

/** A token without a session: only where it was asked for. */
function readGrant (claims: ClerkSessionClaims, accept: ReadonlyArray<'oauth' | 'machine'>): MappedPrincipal {
  const { scope, scp, scopes, client_id: client } = claims as { scope?: unknown, scp?: unknown, scopes?: unknown, client_id?: unknown }
  const machine = claims.sub.startsWith('mch_')
  // A template token has no session either, but no client.
  if (!(machine ? accept.includes('machine') : accept.includes('oauth') && typeof client === 'string')) throw new AuthError('AUTH_TOKEN_CLAIMS', 'token-class')
  const granted = machine ? scopes : scp ?? scope
  return { tenantId: null, roles: [], scopes: scopesOf(granted), email: null }
}

function scopesOf (granted: unknown): readonly string[] {
  if (typeof granted === 'string') return granted.split(' ').filter((scope) => scope !== '')
  return Array.isArray(granted) && granted.every((scope) => typeof scope === 'string') ? granted : []
}

interface Organization { id: string, role: string | undefined, permissions: readonly string[] }

function organizationOfV1 ({ org_id: id, org_role: role, org_permissions: permissions = [] }: ClerkSessionClaims): Organization | null {
  return id === undefined ? null : { id, role, permissions }
}

function organizationOfV2 ({ o, fea }: ClerkSessionClaims): Organization | null {
  if (o === undefined) return null
  return { id: o.id, role: o.rol === undefined ? undefined : `org:${o.rol}`, permissions: decodePermissions(fea, o.per, o.fpm) }
}

/** Characters of all permissions together: one feature of 2 kB with 1,000 permissions would make 2 MB of a token of 8 kB. */
const maxPermissionsLength = 65_536

/**
 * The permissions of a version 2 token. `fea` lists features with their scope (`o:dashboard,u:beta`), `per` the names of
 * permissions, and `fpm` a decimal bit mask for each feature of the organisation, whose lowest bit is the first permission.
 * One part that is not understood voids them all: shifted by one they would be other permissions.
 */
function decodePermissions (fea: string | undefined, per: string | undefined, fpm: string | undefined): readonly string[] {
  if (!fea || !per || !fpm) return []
  const permissions = per.split(',').map((name) => name.trim())
  const features: string[] = []
  for (const entry of fea.split(',')) {
    const [, scope, feature] = /^(u|o|uo|ou):([^:]+)$/.exec(entry.trim()) ?? []
    if (scope === undefined || feature === undefined) return []
    if (scope.includes('o')) features.push(feature)
  }
  const masks = fpm.split(',').map((mask) => mask.trim())
  if (permissions.includes('') || masks.length > features.length || !masks.every((mask) => /^\d{1,1000}$/.test(mask))) return []
  const decoded: string[] = []
  let length = 0
  for (const [index, text] of masks.entries()) {
    // Beyond 53 permissions a number would lose bits. As text, the work follows the length of the mask and not that of `per`.
    const bits = [...BigInt(text).toString(2)].reverse()
    if (bits.length > permissions.length) return []
    for (const [bit, digit] of bits.entries()) {
      if (digit !== '1') continue
      const permission = `org:${features[index]}:${permissions[bit]}`
      length += permission.length
      if (length > maxPermissionsLength) return []
      decoded.push(permission)
    }
  }
  return decoded
}

function defaultRoles (organizationRole: string): string {
  return organizationRole === 'org:admin' ? 'admin' : 'member'
}

function rolesOf (organizationRole: string, roles: OrganizationRoles): readonly string[] {
  const found = typeof roles === 'function' ? roles(organizationRole) : Object.hasOwn(roles, organizationRole) ? roles[organizationRole] : undefined
  if (found === undefined) return []
  return typeof found === 'string' ? [found] : found
}
