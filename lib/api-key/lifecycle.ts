/**
 * What may become of a record, as pure functions. A store reads, applies one of these and writes, all in one
 * transaction; so every store means the same by a quota, a revocation and a rotation.
 */
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
 * Whether a key takes one of its tenant's places. A key that is being replaced does not: otherwise a tenant
 * at its quota could not rotate.
 */
export function countsTowardQuota (record: StoredApiKey, at: string): boolean {
  return record.replacedBy === null && apiKeyStatus(record, Date.parse(at)) === 'active'
}

/** The record, revoked. Of one that already is, who and when stay as they were. */
export function revokeRecord (record: StoredApiKey, { at, by }: Pick<Revocation, 'at' | 'by'>): StoredApiKey {
  return record.revokedAt === null ? { ...record, revokedAt: at, revokedBy: by } : record
}

/**
 * The record after its replacement, or a conflict: it is not active, is already replaced, or the key that
 * it replaced itself (the predecessor) still works. Without the last, rotating again and again with an
 * overlap would give a tenant any number of working keys.
 */
export function rotateRecord (record: StoredApiKey, predecessor: StoredApiKey | null, { replacement, at, until, by }: Rotation): StoredApiKey | 'conflict' {
  const now = Date.parse(at)
  if (record.replacedBy !== null || apiKeyStatus(record, now) !== 'active') return 'conflict'
  if (predecessor !== null && apiKeyStatus(predecessor, now) === 'active') return 'conflict'
  const replaced = { ...record, replacedBy: replacement.keyId }
  return Date.parse(until) <= now ? revokeRecord(replaced, { at, by }) : { ...replaced, expiresAt: earlier(record.expiresAt, until) }
}

/** The record with a new secret before the old ones, or a conflict: it is not active. */
export function replaceSecrets (record: StoredApiKey, { secret, at, until }: SecretReplacement): StoredApiKey | 'conflict' {
  const now = Date.parse(at)
  if (apiKeyStatus(record, now) !== 'active') return 'conflict'
  const kept = record.sealedSecrets
    .map(({ sealed, until: own }) => ({ sealed, until: earlier(own, until) }))
    .filter((old) => Date.parse(old.until) > now)
  return { ...record, sealedSecrets: [secret, ...kept].slice(0, maxSecrets) }
}

function earlier (one: string | null, other: string): string {
  return one !== null && Date.parse(one) < Date.parse(other) ? one : other
}
