/**
 * What may become of a record, as pure functions. A store reads, applies one of these and writes, all in one
 * transaction; so every store means the same by a quota, a revocation and a rotation.
 */
import { maxEndedKeys } from './limits.js'
import { apiKeyStatus, type SealedSecret, type StoredApiKey } from './record.js'

/** Names one key of one tenant. The key of another tenant is not found. */
export interface KeyName {
  tenantId: string
  keyId: string
}

export interface Revocation extends KeyName {
  /** When, ISO 8601. */
  at: string
  by: string | null
}

export interface Rotation extends KeyName {
  replacement: StoredApiKey
  at: string
  /** When the replaced key stops working; not after `at`: at once. */
  until: string
  by: string | null
}

export interface SecretReplacement extends KeyName {
  secret: SealedSecret
  at: string
  /** When the secrets before it stop verifying; not after `at`: at once. */
  until: string
}

/** Secrets that a key has at most. Each of them is tried on a delivery, so their number is the cost of a forged one. */
export const maxSecrets = 3

/**
 * Whether a key takes one of its tenant's places: it works, and no replacement has taken its place. `replacement` is the tenant's key
 * that `replacedBy` names; null where there is none. A key in its overlap does not count, or a tenant at its quota could not rotate; but
 * it counts again when its replacement has ended, or is replaced itself. So a tenant never has more than two working keys for each place.
 */
export function countsTowardQuota (record: StoredApiKey, at: string, replacement: StoredApiKey | null): boolean {
  const now = Date.parse(at)
  if (hasEnded(record, now)) return false
  const replaces = replacement != null && replacement.keyId === record.replacedBy && replacement.tenantId === record.tenantId
  return !(replaces && replacement.replacedBy === null && apiKeyStatus(replacement, now) === 'active')
}

/**
 * The ids of the keys that a store deletes when it adds one: of all keys of one tenant the revoked and expired ones beyond the newest
 * 1,000. Without this, a tenant that creates and revokes keys fills the store.
 */
export function keysToPurge (records: readonly StoredApiKey[], at: string): string[] {
  const now = Date.parse(at)
  const ended = records.filter((record) => hasEnded(record, now)).map(({ keyId }) => keyId)
  return ended.length <= maxEndedKeys ? [] : ended.sort().slice(0, ended.length - maxEndedKeys)
}

/** Certainly revoked or expired: where a time cannot be read, the key takes its place and is kept. */
function hasEnded ({ revokedAt, expiresAt }: StoredApiKey, now: number): boolean {
  return typeof revokedAt === 'string' || (expiresAt !== null && Date.parse(expiresAt) <= now)
}

/** The record, revoked. Of one that already is, who and when stay as they were. */
export function revokeRecord (record: StoredApiKey, { at, by }: Pick<Revocation, 'at' | 'by'>): StoredApiKey {
  return typeof record.revokedAt === 'string' ? record : { ...record, revokedAt: at, revokedBy: by }
}

/**
 * The record after its replacement, or a conflict: it is not active, is already replaced, or the key that
 * it replaced itself (the predecessor) still works. Without the last, rotating again and again with an
 * overlap would give a tenant any number of working keys.
 */
export function rotateRecord (record: StoredApiKey, predecessor: StoredApiKey | null, { replacement, at, until, by }: Rotation): StoredApiKey | 'conflict' {
  const now = readAt(at)
  const end = readAt(until)
  if (record.replacedBy !== null || apiKeyStatus(record, now) !== 'active') return 'conflict'
  if (predecessor !== null && apiKeyStatus(predecessor, now) === 'active') return 'conflict'
  const replaced = { ...record, replacedBy: replacement.keyId }
  return end <= now ? revokeRecord(replaced, { at, by }) : { ...replaced, expiresAt: earlier(record.expiresAt, until) }
}

/** The record with a new secret before the old ones, or a conflict: it is not active. */
export function replaceSecrets (record: StoredApiKey, { secret, at, until }: SecretReplacement): StoredApiKey | 'conflict' {
  const now = readAt(at)
  readAt(until)
  if (apiKeyStatus(record, now) !== 'active') return 'conflict'
  const kept = record.sealedSecrets
    .map(({ sealed, until: own }) => ({ sealed, until: earlier(own, until) }))
    .filter((old) => Date.parse(old.until) > now)
  return { ...record, sealedSecrets: [secret, ...kept].slice(0, maxSecrets) }
}

/** A time that cannot be read would compare as neither before nor after. */
function readAt (time: string): number {
  const milliseconds = Date.parse(time)
  if (Number.isNaN(milliseconds)) throw new TypeError('at and until must be times in ISO 8601')
  return milliseconds
}

function earlier (one: string | null, other: string): string {
  return one !== null && Date.parse(one) < Date.parse(other) ? one : other
}
