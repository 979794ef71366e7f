/** What a new key may be like, and the arguments of the other calls. */
import { hash } from 'node:crypto'
import type { ApiKeyEnvironment } from './key.js'
import { maxActorLength, maxMetadataBytes, maxNameLength, maxScopeLength, maxScopes, maxTenantIdLength } from './limits.js'

export interface NewKeyInput {
  /** 1 to 256 characters. */
  tenantId: string
  /** For people, 1–100 characters. */
  name: string
  /** At most 100, of 1 to 128 characters each. Default: none. */
  scopes?: readonly string[] | undefined
  /** Default: live where live keys are accepted. */
  environment?: ApiKeyEnvironment | undefined
  /** In the future, and in year 9999 at the latest. Default: it does not expire. */
  expiresAt?: string | Date | null | undefined
  /** Longer than 256 characters, or with a control character, it is stored as its beginning and its SHA-256. */
  createdBy?: string | null | undefined
  /** What JSON can hold in 4096 bytes. Default: {}. */
  metadata?: Readonly<Record<string, unknown>> | undefined
}

/** An argument that no store is asked with. The message names the argument and says what it may be, and never repeats it. */
export class InputError extends TypeError {}

/** The input, checked and complete. */
export function readNewKey (input: NewKeyInput, environments: readonly ApiKeyEnvironment[], now: number) {
  const { name, scopes = [], environment = environments.includes('live') ? 'live' : environments[0], metadata = {} } = input
  // The first length is of UTF-16 units: it spares spreading a text of any size.
  if (typeof name !== 'string' || name.length === 0 || name.length > 2 * maxNameLength || [...name].length > maxNameLength || odd.test(name)) {
    throw new InputError('name must be 1 to 100 characters, none of them a control character or half of a surrogate pair')
  }
  const known = readScopes(scopes)
  if (environment === undefined || !environments.includes(environment)) {
    throw new InputError(`environment must be one that is accepted here: ${environments.join(' or ')}`)
  }
  const expiresAt = input.expiresAt == null ? null : readTime('expiresAt', input.expiresAt)
  if (expiresAt !== null && !(Date.parse(expiresAt) > now)) throw new InputError('expiresAt must be in the future')
  return {
    tenantId: readText('tenantId', input.tenantId, maxTenantIdLength),
    name,
    scopes: known,
    environment,
    expiresAt,
    createdBy: readActor('createdBy', input.createdBy),
    metadata: readMetadata(metadata)
  }
}

/** Scopes, each once. A scope is written into a challenge between quotes and spaces (RFC 6749 §3.3). */
export function readScopes (scopes: unknown): string[] {
  // Copied first: `every` skips the holes of an array.
  const given: unknown[] = Array.isArray(scopes) && scopes.length <= maxScopes ? [...scopes] : [null]
  if (!given.every((scope) => typeof scope === 'string' && scope.length <= maxScopeLength && /^[\x21\x23-\x5b\x5d-\x7e]+$/.test(scope))) {
    throw new InputError('scopes must be an array of at most 100 texts, each of 1 to 128 characters of visible ASCII without a space, " or \\')
  }
  return [...new Set(given as string[])]
}

/** With `Z` or an offset: what has neither means another time on each machine. */
const isoTime = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}(?::\d{2}(?:\.\d{1,9})?)?(?:Z|[+-]\d{2}:\d{2})$/

/** A time as ISO 8601 in UTC. A text is to be ISO 8601 with its zone. */
export function readTime (name: string, value: string | Date): string {
  const time = new Date(value instanceof Date || (typeof value === 'string' && isoTime.test(value)) ? value : NaN)
  if (Number.isNaN(time.getTime())) throw new InputError(`${name} must be a Date, or a time in ISO 8601 with Z or an offset`)
  const text = time.toISOString()
  // Other years have a sign and six digits, or are unknown to a database: PostgreSQL has no year 0.
  if (!/^(?!0000)\d{4}-/.test(text)) throw new InputError(`${name} must be a time in the years 1 to 9999, in UTC`)
  return text
}

/** A tenant or key id, or a cursor. An undefined one must never reach a query, where it may mean "any". */
export function readText (name: string, value: unknown, maxLength: number): string {
  if (typeof value !== 'string' || value === '' || value.length > maxLength || odd.test(value)) {
    throw new InputError(`${name} must be a text of 1 to ${maxLength} characters, none of them a control character or half of a surrogate pair`)
  }
  return value
}

/**
 * Who acted, as it is stored. A subject comes from a token and can be any text of some thousand characters, and who has an odd one
 * must still be able to revoke: so a text that is too long, or that some store cannot hold, is kept as its first 160 characters
 * (U+FFFD for each that cannot be held) and the SHA-256 of the whole, which tells two of them apart.
 */
export function readActor (name: string, value: string | null | undefined): string | null {
  if (value === null || value === undefined) return null
  if (typeof value !== 'string') throw new InputError(`${name} must be a string or null`)
  // What ends like a shortened text is shortened too, so that no subject can pass for another.
  if (value.length <= maxActorLength && !odd.test(value) && !shortened.test(value)) return value
  // In UTF-8 all lone surrogates are one; JSON writes each as an escape.
  const whole = /\p{Cs}/u.test(value) ? JSON.stringify(value) : value
  return `${value.slice(0, 160).replace(/[\p{Cc}\p{Cs}]/gu, '\ufffd')}…sha256:${hash('sha256', whole, 'hex')}`
}

const shortened = /…sha256:[0-9a-f]{64}$/

// Control characters and lone surrogates. PostgreSQL holds neither NUL nor a lone surrogate, and the others forge lines of a list.
const odd = /[\p{Cc}\p{Cs}]/u

function readMetadata (metadata: unknown): Record<string, unknown> {
  if (!isObject(metadata)) throw new InputError('metadata must be an object')
  const text = jsonOf(metadata)
  const copy: unknown = text === null || Buffer.byteLength(text) > maxMetadataBytes ? null : JSON.parse(text)
  // JSON writes NUL and lone surrogates as escapes; a backslash before one of these would make it plain text.
  if (text === null || !isObject(copy) || /(?:^|[^\\])(?:\\\\)*\\u(?:0000|d[89a-f])/.test(text)) {
    throw new InputError('metadata must be an object that JSON can hold in 4096 bytes, without NUL or half of a surrogate pair')
  }
  return copy
}

function isObject (value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** null: JSON cannot hold it. */
function jsonOf (value: object): string | null {
  try {
    return JSON.stringify(value) ?? null
  } catch {
    return null
  }
}
