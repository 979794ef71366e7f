/** What may be wrong with a token, for each reason for which one is rejected. */
import type { AuthErrorReason } from '../errors.js'
import type { TokenIssuerSettings } from '../jwt/verify.js'

export interface RejectedToken {
  readonly header: Readonly<Record<string, unknown>> | null
  readonly claims: Readonly<Record<string, unknown>> | null
  /** null: no issuer was named. */
  readonly settings: TokenIssuerSettings | null
}

/**
 * What may fix it, from what the token says and what was asked for; null for a reason that no token is
 * rejected for.
 */
export function hintFor (reason: AuthErrorReason, token: RejectedToken): string | null {
  const hint = Object.hasOwn(hints, reason) ? hints[reason as keyof typeof hints] : null
  return typeof hint === 'function' ? hint(token) : hint
}

type Hint = string | ((token: RejectedToken) => string)

const fromTheFuture = 'It is from the future: compare this clock with the issuer\'s (causeflow-auth doctor --issuer <url>), or see --clock-tolerance'

const hints = {
  size: 'It is longer than any token that is looked at',
  form: 'A token has three parts with full stops between them, and nothing around them',
  encoding: 'A part is no base64url: a character was lost or changed',
  header: 'Its first part is no JSON object',
  algorithm: ({ header, settings }) => `It is signed with ${shown(header?.alg, 'no algorithm')}, and ${settings?.algorithms.join(', ')} is accepted: see --algorithm`,
  type: ({ header }) => `Its typ is ${shown(header?.typ)}, and JWT is accepted: see --type, or --clerk-accept for tokens of Clerk's OAuth clients`,
  crit: 'Its header has crit or b64, and asks for an extension that is not supported here (RFC 7515 §4.1.11)',
  'key-id-absent': 'It names no key (kid), and the issuer has a set of them: it is not one of this issuer\'s tokens',
  'key-unknown': ({ header }) => `The issuer publishes no key ${shown(header?.kid)}: the token is another issuer's, or its key was withdrawn`,
  'issuer-unknown': ({ claims }) => `It names the issuer ${shown(claims?.iss)}, which is not configured: name it with --issuer`,
  signature: 'It was changed, or another key signed it: the token of another environment is the usual case',
  'sender-constrained': 'It is bound to a key of its sender (DPoP or a client certificate, see cnf), and is no bearer token',
  issuer: ({ claims, settings }) => `It names the issuer ${shown(claims?.iss)}, and ${shown(settings?.issuer)} is expected: they are compared character by character`,
  audience: ({ claims, settings }) => claims?.sid !== undefined && claims.aud === undefined
    ? 'It has no audience and looks like a session token of Clerk: see --clerk-session'
    : `It is for ${shown(claims?.aud)}, and ${settings?.audience?.join(' or ')} is expected: see --audience and --no-audience`,
  subject: ({ claims }) => `Its sub is ${shown(claims?.sub)}, and must be a text in Unicode that is not empty: the issuer says whose token it is`,
  azp: ({ claims }) => `It was asked for by ${shown(claims?.azp)}: see --authorized-party and --azp`,
  claims: ({ settings }) => settings?.claims.schema.title === undefined
    ? 'A claim has another type than --claim wants: tenant and email are texts, roles and scopes are lists of texts or texts with spaces between, exp is a number'
    : 'A claim has another type than the mapping wants, or is missing: tenant_id and email are texts, roles is a list of them, exp is a number. For other claims see --claim',
  'session-pending': 'The user has not finished signing in: the session is pending',
  'token-class': 'It is a token of another class of the same issuer (a machine\'s, an OAuth client\'s, an id_token): see --clerk-accept',
  actor: 'An actor impersonates the user (act), and --no-impersonation rejects that',
  expired: 'Ask for a new one. Session tokens of Clerk live for 60 seconds; see --at for one that was kept',
  'not-yet-valid': fromTheFuture,
  'issued-in-future': fromTheFuture,
  revoked: 'The application has revoked it: isRevoked returned true',
  unreachable: 'The issuer cannot be reached: causeflow-auth doctor --issuer <url> looks closer',
  'time-limit': 'The issuer took too long: causeflow-auth doctor --issuer <url> looks closer',
  rejected: 'The issuer responded with no keys: causeflow-auth doctor --issuer <url> looks closer'
} as const satisfies Partial<Record<AuthErrorReason, Hint>>

function shown (value: unknown, absent = 'absent'): string {
  return JSON.stringify(value) ?? absent
}
