/** API keys in the memory of one process: for tests, development, and applications that load their keys at start. */
import { deepFreeze } from '../principal.js'
import { notifyListeners, type InvalidationChannel, type InvalidationListener } from './invalidation.js'
import { countsTowardQuota, keysToPurge, replaceSecrets, revokeRecord, rotateRecord, type KeyName, type Revocation, type Rotation, type SecretReplacement } from './lifecycle.js'
import { maxEndedKeys } from './limits.js'
import type { StoredApiKey } from './record.js'
import type { ApiKeyStore, KeyUse, ListPage, ListQuery, RevokeAllQuery } from './store.js'

/** A store that ends with its process and answers at once. It knows nothing of other processes: do not run two on it. */
export class MemoryApiKeyStore implements ApiKeyStore {
  readonly ephemeral = true
  readonly invalidation: InvalidationChannel
  readonly #byId = new Map<string, StoredApiKey>()
  readonly #idOf = new Map<string, string>()
  /** The ids of each tenant's keys, so that one tenant's creations and lists do not cost what all tenants' keys do. */
  readonly #idsOf = new Map<string, Set<string>>()
  readonly #listeners = new Set<InvalidationListener>()

  constructor () {
    this.invalidation = {
      healthy: true,
      subscribe: (listener) => {
        this.#listeners.add(listener)
        return () => { this.#listeners.delete(listener) }
      }
    }
  }

  findByDigest (digest: string): StoredApiKey | null {
    const keyId = this.#idOf.get(digest)
    return keyId === undefined ? null : this.#byId.get(keyId) ?? null
  }

  create (record: StoredApiKey, quota: number): 'created' | 'quota-exceeded' {
    let counted = 0
    for (const other of this.#ofTenant(record.tenantId)) {
      const replacement = other.replacedBy === null ? null : this.get({ tenantId: record.tenantId, keyId: other.replacedBy })
      if (countsTowardQuota(other, record.createdAt, replacement)) counted++
    }
    // Not `>=`: a quota that is no number lets nothing be added.
    if (!(counted < quota)) return 'quota-exceeded'
    this.#add(record)
    this.#purge(record.tenantId, record.createdAt)
    return 'created'
  }

  get ({ tenantId, keyId }: KeyName): StoredApiKey | null {
    const record = this.#byId.get(keyId)
    return record?.tenantId === tenantId ? record : null
  }

  list ({ tenantId, cursor, limit }: ListQuery): ListPage | 'invalid-cursor' {
    if (cursor !== null && this.get({ tenantId, keyId: cursor }) === null) return 'invalid-cursor'
    const rest = this.#ofTenant(tenantId)
      .filter(({ keyId }) => cursor === null || keyId < cursor)
      .sort((one, other) => one.keyId < other.keyId ? 1 : -1)
    const records = rest.slice(0, limit)
    return { records, cursor: rest.length > limit ? records.at(-1)?.keyId ?? null : null }
  }

  revoke ({ tenantId, keyId, at, by }: Revocation): 'revoked' | 'already-revoked' | 'not-found' {
    const record = this.get({ tenantId, keyId })
    if (record === null) return 'not-found'
    if (record.revokedAt !== null) return 'already-revoked'
    this.#change(revokeRecord(record, { at, by }))
    return 'revoked'
  }

  rotate (rotation: Rotation): 'rotated' | 'conflict' | 'not-found' {
    const { tenantId, keyId, replacement } = rotation
    const record = this.get({ tenantId, keyId })
    if (record === null) return 'not-found'
    const predecessor = record.rotatedFrom === null ? null : this.get({ tenantId, keyId: record.rotatedFrom })
    const replaced = rotateRecord(record, predecessor, rotation)
    if (replaced === 'conflict') return 'conflict'
    this.#add(replacement)
    this.#change(replaced)
    this.#purge(tenantId, rotation.at)
    return 'rotated'
  }

  replaceSecrets (replacement: SecretReplacement): 'replaced' | 'conflict' | 'not-found' {
    const record = this.get(replacement)
    if (record === null) return 'not-found'
    const changed = replaceSecrets(record, replacement)
    if (changed === 'conflict') return 'conflict'
    this.#change(changed)
    return 'replaced'
  }

  revokeAll ({ tenantId, createdBefore, at, by }: RevokeAllQuery): readonly string[] {
    const revoked = this.#ofTenant(tenantId).filter(({ revokedAt, createdAt }) =>
      revokedAt === null && (createdBefore === null || !(Date.parse(createdAt) >= Date.parse(createdBefore))))
    for (const record of revoked) this.#change(revokeRecord(record, { at, by }))
    return revoked.map(({ keyId }) => keyId)
  }

  touch (uses: readonly KeyUse[]): void {
    for (const { keyId, usedAt } of uses) {
      const record = this.#byId.get(keyId)
      if (record === undefined || (record.lastUsedAt !== null && Date.parse(record.lastUsedAt) >= Date.parse(usedAt))) continue
      this.#byId.set(keyId, frozen({ ...record, lastUsedAt: usedAt }))
    }
  }

  #ofTenant (tenantId: string): StoredApiKey[] {
    return Array.from(this.#idsOf.get(tenantId) ?? [], (keyId) => this.#byId.get(keyId) as StoredApiKey)
  }

  #add (record: StoredApiKey): void {
    if (this.#byId.has(record.keyId) || this.#idOf.has(record.digest)) throw new Error('The key id or the digest is already in the store')
    this.#idOf.set(record.digest, record.keyId)
    const ids = this.#idsOf.get(record.tenantId) ?? new Set()
    this.#idsOf.set(record.tenantId, ids.add(record.keyId))
    this.#change(record)
  }

  #purge (tenantId: string, at: string): void {
    const ids = this.#idsOf.get(tenantId) ?? new Set()
    if (ids.size <= maxEndedKeys) return
    for (const keyId of keysToPurge(this.#ofTenant(tenantId), at)) {
      const record = this.#byId.get(keyId) as StoredApiKey
      ids.delete(keyId)
      this.#byId.delete(keyId)
      this.#idOf.delete(record.digest)
      this.#tell(record)
    }
  }

  #change (record: StoredApiKey): void {
    this.#byId.set(record.keyId, frozen(record))
    this.#tell(record)
  }

  #tell ({ digest, keyId }: StoredApiKey): void {
    notifyListeners(this.#listeners, [{ digest, keyId }])
  }
}

// A copy that nobody can change: what a caller does to its own object, or to an answer, is not done to the store.
function frozen (record: StoredApiKey): StoredApiKey {
  return deepFreeze(structuredClone(record))
}
