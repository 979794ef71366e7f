/** What a store of API keys promises. */
import type { InvalidationChannel } from './invalidation.js'
import type { KeyName, Revocation, Rotation, SecretReplacement } from './lifecycle.js'
import type { StoredApiKey } from './record.js'

/** An answer now or later. A store that answers at once is used at once. */
export type Answer<T> = T | Promise<T>

/** The keys of one tenant, from where the last page ended. */
export interface ListQuery {
  tenantId: string
  /** At most 256 characters. */
  cursor: string | null
  /** The most records that the page may have. */
  limit: number
}

export interface ListPage {
  records: readonly StoredApiKey[]
  /** Where the next page begins; null: there is none. Its form is the store's own, at most 256 characters. */
  cursor: string | null
}

export interface RevokeAllQuery {
  tenantId: string
  /** Only keys made before this time, ISO 8601; null: every key. */
  createdBefore: string | null
  at: string
  by: string | null
}

/** What is known of a digest before it is looked up. It changes nothing about the answer. */
export interface LookupHint {
  /**
   * The digest was that of an active key when this process last read it. Anyone can send any number of others: a store whose
   * connections are few does not give all of them to those.
   */
  readonly known: boolean
}

/** A key was used. */
export interface KeyUse {
  keyId: string
  usedAt: string
}

/**
 * Keeps API keys. An implementation is right when it passes the contract tests of this package.
 *
 * It throws when it cannot answer: "not there" and "cannot say" must never look the same, for one is a 401 and the
 * other a 503. Each method is one atomic step, and what it changed is seen by every reading that begins after it has
 * answered (no lagging replica). A tenant is never optional: another tenant's key is not found. Times are ISO 8601
 * in UTC, in the years 1 to 9999, and come from the caller, so that a store needs no clock; what may become of a record is in lifecycle.ts.
 *
 * What it returns is checked where it is read: a record whose types, times or size (64 kB of JSON) are wrong, or that is not
 * the one that was asked for, is AUTH_STORE_UNAVAILABLE. What it is given is bounded: texts hold no control character and no half of a
 * surrogate pair, and are as long as NewKeyInput says at most; metadata is at most 4096 bytes of JSON.
 */
export interface ApiKeyStore {
  /** The key of a digest (64 lowercase hex digits), revoked and expired ones too; null only when there is certainly none. */
  findByDigest (digest: string, hint?: LookupHint): Answer<StoredApiKey | null>
  /**
   * Adds a key unless its tenant already has `quota` keys that count (countsTowardQuota at its `createdAt`). Counting
   * and adding are one step: under parallel calls there are never more. In the same step it deletes the tenant's ended keys beyond
   * the newest 1,000 (keysToPurge), and so does `rotate`. Throws for a key id or digest that is taken.
   */
  create (record: StoredApiKey, quota: number): Answer<'created' | 'quota-exceeded'>
  get (name: KeyName): Answer<StoredApiKey | null>
  /**
   * Newest first: by key id, descending, compared byte by byte. A page may be shorter than `limit`: only a cursor of null says that
   * it is the last. A cursor comes from outside: 'invalid-cursor' for one that no list
   * has answered, never the first page in its place, and never a key of another tenant.
   */
  list (query: ListQuery): Answer<ListPage | 'invalid-cursor'>
  revoke (revocation: Revocation): Answer<'revoked' | 'already-revoked' | 'not-found'>
  /** Adds the replacement, without regard to the quota, and ends or limits the replaced key: both or neither (rotateRecord). */
  rotate (rotation: Rotation): Answer<'rotated' | 'conflict' | 'not-found'>
  /** Puts a new webhook secret before the others (replaceSecrets). */
  replaceSecrets (replacement: SecretReplacement): Answer<'replaced' | 'conflict' | 'not-found'>
  /** Revokes what is not revoked yet; answers the ids of the keys it has revoked. */
  revokeAll (query: RevokeAllQuery): Answer<readonly string[]>
  /**
   * Writes when keys were last used, never backwards; keys that are not there are passed over. This is no change of
   * the key: it must not send a notification, or each minute would empty every cache.
   */
  touch (uses: readonly KeyUse[]): Answer<void>
  /** Tells of every change but `touch`. Without it no positive answer is cached. */
  readonly invalidation?: InvalidationChannel
  /** Says that the records end with the process, so secrets may be sealed with a key that does too. */
  readonly ephemeral?: true
}
