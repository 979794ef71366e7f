/**
 * The error catalogue: every code with its status, its public sentence and its challenge.
 * Nothing else in this package knows a status code or the form of a `WWW-Authenticate` value.
 */
import createError, { type FastifyErrorConstructor } from '@fastify/error'
import type { Principal, Scheme } from './principal.js'

interface Entry {
  /** The HTTP status. */
  status: 400 | 401 | 403 | 409 | 415 | 429 | 500 | 503
  /** What causeflowErrorHandler answers as `error`. */
  error: string
  /** The sentence for people. Fixed, so that an answer never tells more than its code. */
  message: string
  /** Whose credential was at fault; null where the rule decides. */
  scheme?: Scheme
  /** The `error` parameter of the challenge (RFC 6750 §3.1); absent when nothing was presented. */
  challenge?: string
}

const catalogue = {
  AUTH_CREDENTIAL_MISSING: { status: 401, error: 'unauthorized', message: 'A credential is required' },
  AUTH_CREDENTIAL_AMBIGUOUS: { status: 400, error: 'invalid_request', message: 'More credentials were presented than this route takes', challenge: 'invalid_request' },
  AUTH_TOKEN_MALFORMED: { status: 401, error: 'unauthorized', message: 'The token is malformed', scheme: 'jwt', challenge: 'invalid_token' },
  AUTH_TOKEN_INVALID: { status: 401, error: 'unauthorized', message: 'The token is invalid', scheme: 'jwt', challenge: 'invalid_token' },
  AUTH_TOKEN_EXPIRED: { status: 401, error: 'unauthorized', message: 'The token has expired', scheme: 'jwt', challenge: 'invalid_token' },
  AUTH_TOKEN_CLAIMS: { status: 401, error: 'unauthorized', message: 'The claims of the token are not accepted', scheme: 'jwt', challenge: 'invalid_token' },
  AUTH_KEY_SET_UNAVAILABLE: { status: 503, error: 'service_unavailable', message: 'The keys of the token issuer cannot be read at the moment' },
  AUTH_API_KEY_MISSING: { status: 401, error: 'invalid_api_key', message: 'An API key is required', scheme: 'apiKey' },
  AUTH_API_KEY_INVALID: { status: 401, error: 'invalid_api_key', message: 'The API key is invalid', scheme: 'apiKey', challenge: 'invalid_api_key' },
  AUTH_STORE_UNAVAILABLE: { status: 503, error: 'service_unavailable', message: 'The credential cannot be looked up at the moment' },
  AUTH_SIGNATURE_MISSING: { status: 401, error: 'invalid_signature', message: 'A webhook signature is required', scheme: 'webhook' },
  AUTH_SIGNATURE_INVALID: { status: 401, error: 'invalid_signature', message: 'The webhook signature is invalid', scheme: 'webhook', challenge: 'invalid_signature' },
  AUTH_SIGNATURE_STALE: { status: 401, error: 'invalid_signature', message: 'The webhook timestamp is outside the tolerance', scheme: 'webhook', challenge: 'invalid_signature' },
  AUTH_DELIVERY_REPLAYED: { status: 409, error: 'duplicate_delivery', message: 'This delivery was already received' },
  AUTH_CONTENT_ENCODING: { status: 415, error: 'unsupported_media_type', message: 'A signed body cannot be compressed' },
  AUTH_ROLE_REQUIRED: { status: 403, error: 'forbidden', message: 'A role is missing' },
  AUTH_SCOPE_REQUIRED: { status: 403, error: 'insufficient_scope', message: 'A scope is missing', challenge: 'insufficient_scope' },
  AUTH_TENANT_REQUIRED: { status: 403, error: 'forbidden', message: 'The credential belongs to no tenant' },
  AUTH_TENANT_MISMATCH: { status: 403, error: 'forbidden', message: 'The credential does not belong to this tenant' },
  AUTH_CHECK_FAILED: { status: 403, error: 'forbidden', message: 'The credential is not accepted here' },
  AUTH_DENIED: { status: 403, error: 'forbidden', message: 'This route lets nobody in' },
  AUTH_QUOTA_EXCEEDED: { status: 429, error: 'quota_exceeded', message: 'The tenant has as many active API keys as it may have' },
  AUTH_RULE_UNDECIDABLE: { status: 500, error: 'internal_error', message: 'The authentication rule could not be decided' }
} as const satisfies Record<string, Entry>

/** A code of the error catalogue. */
export type AuthErrorCode = keyof typeof catalogue

/**
 * Why a request was refused, for logs and the decision event. Never part of an answer:
 * what helps an operator to mend helps an attacker to guess.
 */
export type AuthErrorReason = typeof reasons[number]

/** Every reason, in the order of the reference. */
export const reasons = [
  // nothing, or too much, was presented
  'absent', 'issuer-not-accepted', 'duplicate', 'ambiguous',
  // tokens: form and header
  'form', 'size', 'encoding', 'header', 'algorithm', 'type', 'crit', 'key-id-absent', 'key-unknown', 'issuer-unknown',
  // tokens: signature, claims, time
  'signature', 'sender-constrained', 'issuer', 'audience', 'subject', 'claims', 'azp', 'session-pending', 'token-class', 'actor', 'not-yet-valid', 'issued-in-future', 'expired', 'revoked',
  // keys
  'checksum', 'environment', 'unknown',
  // signatures
  'digest', 'secret-absent', 'body-absent', 'timestamp', 'stale', 'replayed', 'in-progress', 'content-encoding',
  // principals
  'role', 'scope', 'tenant-absent', 'tenant-other', 'tenant-parameter', 'check', 'denied', 'scheme',
  // ours and the issuer's
  'quota', 'unreachable', 'time-limit', 'rejected', 'record', 'not-compiled', 'check-threw', 'not-verified', 'parser', 'late', 'not-awaited'
] as const

/** What an error knows beside its code. */
export interface AuthErrorOptions {
  /** The failure below, for logs. Never a credential. */
  cause?: unknown
  /** Seconds after which asking again makes sense; answered as `Retry-After`. */
  retryAfter?: number
  /** The schemes whose challenges to send where the code alone does not tell. */
  schemes?: readonly Scheme[]
  /** The scopes that would have been enough (RFC 6750 §3). */
  scopes?: readonly string[]
  /** Who was proved and may not: for logs. */
  principal?: Principal
  /**
   * Which part failed, and what was expected: for logs. Never a credential; a value from outside is quoted
   * and cut (`quoted`).
   */
  detail?: string
}

/**
 * A refused request: a code for programs, a fixed sentence for people, a reason for logs.
 * It never holds the credential. It has no stack: a refusal is an answer and not a fault, and
 * collecting one for each request of a flood would cost more than refusing.
 */
export class AuthError extends Error {
  readonly code: AuthErrorCode
  readonly statusCode: number
  readonly reason: AuthErrorReason
  /** The `WWW-Authenticate` value; null where the status has none. */
  declare readonly challenge: string | null
  /** Seconds, for `Retry-After`; null where the status has none. */
  declare readonly retryAfter: number | null
  /** Who was proved and may not; null where nobody was, or where it is not known. */
  declare readonly principal: Principal | null
  /** Which part failed, and what was expected; null where code and reason say it all. Never in an answer. */
  declare readonly detail: string | null

  constructor (code: AuthErrorCode, reason: AuthErrorReason, options: AuthErrorOptions = {}) {
    const entry: Entry = catalogue[code]
    const limit = Error.stackTraceLimit
    Error.stackTraceLimit = 0
    super(entry.message, 'cause' in options ? { cause: options.cause } : undefined)
    Error.stackTraceLimit = limit
    this.code = code
    this.statusCode = entry.status
    this.reason = reason
    // Not enumerable: loggers print what is, and these are for the answer.
    Object.defineProperty(this, 'challenge', { value: challengeOf(entry, options) })
    Object.defineProperty(this, 'retryAfter', { value: retryAfterOf(entry, options) })
    Object.defineProperty(this, 'principal', { value: options.principal ?? null })
    Object.defineProperty(this, 'detail', { value: options.detail ?? null })
  }

  /**
   * `statusCode` under its other name: with `expose`, the form of http-errors, which NestJS and other error
   * handlers read.
   */
  get status (): number {
    return this.statusCode
  }

  /** Whether the message may be sent to the client: true for 4xx. */
  get expose (): boolean {
    return this.statusCode < 500
  }
}
AuthError.prototype.name = 'AuthError'

/**
 * A value from outside, for a detail: as JSON, so that it cannot forge a log line, and cut at 256 characters.
 */
export function quoted (value: unknown): string {
  const text = JSON.stringify(value) ?? 'undefined'
  return text.length > 256 ? `${text.slice(0, 256)}…` : text
}

/** Whether a value is an AuthError, also one of another copy of this package. */
export function isAuthError (value: unknown): value is AuthError {
  return value instanceof Error && value.name === 'AuthError' && 'code' in value && Object.hasOwn(catalogue, value.code as string)
}

/** The `error` word of the wire contract for a code. */
export function errorWord (code: AuthErrorCode): string {
  return catalogue[code].error
}

/** Every code with its status and its word, for error handlers and the reference. */
export function errorCatalogue (): ReadonlyArray<{ code: AuthErrorCode, status: number, error: string, message: string }> {
  return Object.entries(catalogue).map(([code, { status, error, message }]) => ({ code: code as AuthErrorCode, status, error, message }))
}

const schemeNames: Record<Scheme, string> = { jwt: 'Bearer', apiKey: 'ApiKey', webhook: 'Signature' }

/**
 * Of the 403s only a missing scope has one: a client that starts a new authorization would get no other role
 * or tenant by it.
 */
function hasChallenge ({ status, challenge }: Entry): boolean {
  return status === 401 || challenge === 'insufficient_scope'
}

function challengeOf (entry: Entry, options: AuthErrorOptions): string | null {
  if (!hasChallenge(entry)) return null
  const schemes = entry.scheme ? [entry.scheme] : options.schemes?.length ? options.schemes : ['jwt' as const]
  let parameters = ' realm="causeflow"'
  if (entry.challenge) parameters += `, error="${entry.challenge}"`
  const scope = entry.challenge === 'insufficient_scope' ? scopeParameter(options.scopes ?? []) : ''
  if (scope !== '') parameters += `, scope="${scope}"`
  return schemes.map((scheme) => schemeNames[scheme] + parameters).join(', ')
}

// Characters. Proxies reject a response whose headers are larger than 4 to 8 kB.
const maxScopeParameter = 2048
const maxChallenge = 4096
// Seconds: a day.
const maxRetryAfter = 86_400

/**
 * The scopes that go between the quotes of a challenge, as many of them as fit. What is no scope-token (RFC 6749 §3.3) is left out:
 * a quote would end the parameter and begin a challenge of the client's own.
 */
function scopeParameter (scopes: readonly string[]): string {
  let text = ''
  for (const scope of scopes) {
    if (text.length + scope.length >= maxScopeParameter) break
    if (/^[\x21\x23-\x5b\x5d-\x7e]+$/.test(scope)) text += text === '' ? scope : ` ${scope}`
  }
  return text
}

/** The value of `WWW-Authenticate`; null where there is none. An error of another copy of this package may hold anything. */
export function challengeHeader ({ code, challenge }: Pick<AuthError, 'code' | 'challenge'>): string | null {
  if (!hasChallenge(catalogue[code])) return null
  if (typeof challenge === 'string' && challenge.length <= maxChallenge && /^[\x20-\x7e]+$/.test(challenge)) return challenge
  return challengeOf(catalogue[code], {})
}

/** The value of `Retry-After`, whole seconds from 1 to a day; null where there is none. */
export function retryAfterHeader ({ code, retryAfter }: Pick<AuthError, 'code' | 'retryAfter'>): string | null {
  const { status } = catalogue[code]
  const seconds = typeof retryAfter === 'number' && retryAfter <= maxRetryAfter ? retryAfter : retryAfterOf({ status }, {})
  return seconds === null || (status !== 503 && status !== 409) ? null : String(Math.max(1, Math.ceil(seconds)))
}

function retryAfterOf ({ status }: Pick<Entry, 'status'>, { retryAfter }: AuthErrorOptions): number | null {
  if (status === 503) return retryAfter ?? 5
  // A delivery that is in progress may be tried again, one that is done may not.
  return status === 409 ? retryAfter ?? null : null
}

/** The faults of configuration: thrown at registration or when the app gets ready, never for a request. */
export const configErrors: Record<'option' | 'rule' | 'route' | 'credential' | 'registration' | 'issuer' | 'store', FastifyErrorConstructor> = {
  /** An option is unknown, missing or of a wrong type. */
  option: createError('AUTH_CONFIG_OPTION', '%s'),
  /** A rule is built or used in a way that has no meaning. */
  rule: createError('AUTH_CONFIG_RULE', '%s'),
  /** A route cannot carry its rule. */
  route: createError('AUTH_CONFIG_ROUTE', '%s'),
  /** A rule needs a credential that is not configured. */
  credential: createError('AUTH_CONFIG_CREDENTIAL', '%s'),
  /** The plugin is registered twice in one scope. */
  registration: createError('AUTH_CONFIG_REGISTRATION', '%s'),
  /** The issuer could not be reached at start and `warmup` is `require`. */
  issuer: createError('AUTH_CONFIG_ISSUER', '%s'),
  /** A store lacks what it needs to work, and may not make it. */
  store: createError('AUTH_CONFIG_STORE', '%s')
}

/** A fault of configuration whose message names the mend. */
export function configError (kind: keyof typeof configErrors, message: string): Error {
  return new configErrors[kind](message)
}

/**
 * Rejects an option that is there and undefined: its value is a name that was mistyped, and the default may protect less. A caller
 * that means the default leaves the option out. Throws AUTH_CONFIG_OPTION.
 */
export function refuseUndefined (path: (name: string) => string, options: object): void {
  for (const name of Object.keys(options)) {
    if ((options as Record<string, unknown>)[name] === undefined) throw configError('option', `${path(name)} is undefined: is its name mistyped? Leave the option out to use the default`)
  }
}
