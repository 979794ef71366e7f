/** What a new key may be like. Faults here are faults of the calling program: routes have refused a stranger's before. */
import type { ApiKeyEnvironment } from './key.js'

export interface NewKeyInput {
  tenantId: string
  /** For people, 1–100 characters. */
  name: string
  /** Default: none. */
  scopes?: readonly string[] | undefined
  /** Default: live where live keys are accepted. */
  environment?: ApiKeyEnvironment | undefined
  /** Default: it does not expire. */
  expiresAt?: string | Date | null | undefined
  createdBy?: string | null | undefined
  /** Anything that JSON can hold. Default: {}. */
  metadata?: Readonly<Record<string, unknown>> | undefined
}

/** The input, checked and complete. Throws a TypeError that names the mend. */
export function readNewKey (input: NewKeyInput, environments: readonly ApiKeyEnvironment[], now: number) {
  const { name, scopes = [], environment = environments.includes('live') ? 'live' : environments[0], createdBy = null, metadata = {} } = input
  if (typeof name !== 'string' || name.length === 0 || [...name].length > 100 || hasControl(name)) {
    throw new TypeError('name must be 1 to 100 characters, none of them a control character')
  }
  // A scope is written into a challenge between quotes and spaces (RFC 6749 §3.3).
  if (!Array.isArray(scopes) || !scopes.every((scope) => typeof scope === 'string' && /^[\x21\x23-\x5b\x5d-\x7e]+$/.test(scope))) {
    throw new TypeError('scopes must be an array of texts of visible ASCII without a space, " or \\')
  }
  if (environment === undefined || !environments.includes(environment)) {
    throw new TypeError(`environment must be one that is accepted here: ${environments.join(' or ')}`)
  }
  const expiresAt = input.expiresAt == null ? null : readTime('expiresAt', input.expiresAt)
  if (expiresAt !== null && Date.parse(expiresAt) <= now) throw new TypeError('expiresAt must be in the future')
  if (createdBy !== null && typeof createdBy !== 'string') throw new TypeError('createdBy must be a string or null')
  if (typeof metadata !== 'object' || metadata === null || Array.isArray(metadata)) throw new TypeError('metadata must be an object')
  return {
    tenantId: readText('tenantId', input.tenantId),
    name,
    scopes: [...new Set(scopes)],
    environment,
    expiresAt,
    createdBy,
    metadata: JSON.parse(JSON.stringify(metadata)) as Record<string, unknown>
  }
}

/** With `Z` or an offset: what has neither means another time on each machine. */
const isoTime = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}(?::\d{2}(?:\.\d{1,9})?)?(?:Z|[+-]\d{2}:\d{2})$/

/** A time as ISO 8601 in UTC. A text is to be ISO 8601 with its zone. */
export function readTime (name: string, value: string | Date): string {
  const time = new Date(value instanceof Date || (typeof value === 'string' && isoTime.test(value)) ? value : NaN)
  if (Number.isNaN(time.getTime())) throw new TypeError(`${name} must be a Date, or a time in ISO 8601 with Z or an offset`)
  return time.toISOString()
}

/** A tenant or key id. An undefined one must never reach a query, where it may mean "any". */
export function readText (name: string, value: string): string {
  if (typeof value !== 'string' || value === '') throw new TypeError(`${name} must be a text that is not empty`)
  return value
}

function hasControl (text: string): boolean {
  return /\p{Cc}/u.test(text)
}
