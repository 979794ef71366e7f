/** Making, listing, replacing and revoking keys. Who may do so is for the rule of the route that calls this. */
import { AuthError, configError } from '../errors.js'
import { forgetHere, type KeyChange } from './invalidation.js'
import { createApiKey } from './key.js'
import { publishKeyEvent } from './key-event.js'
import { createKeyId } from './key-id.js'
import type { KeyName } from './lifecycle.js'
import { maxCursorLength, maxKeyIdLength, maxPageBytes, maxTenantIdLength, maxTime } from './limits.js'
import { InputError, readActor, readNewKey, readText, readTime, type NewKeyInput } from './new-key.js'
import { publicRecord, type ApiKeyRecord, type SealedSecret, type StoredApiKey } from './record.js'
import { createSealer } from './seal.js'
import type { ApiKeySettings, ApiKeyTools } from './settings.js'
import { readPage, readStoredKey } from './stored-record.js'
import type { Answer } from './store.js'
import { askStore, storeUnavailable } from './time-limit.js'

/** A key as it is shown once, to whoever made it. Neither the key nor the secret can be had again. */
export interface IssuedApiKey extends ApiKeyRecord {
  readonly plaintextKey: string
  /**
   * `whsec_` and 32 random bytes in base64; null where nothing can seal it. The whole text, as it stands here, is the
   * HMAC key of the default signature scheme (of Standard Webhooks: the bytes behind `whsec_`).
   */
  readonly webhookSecret: string | null
}

/** A webhook secret as it is shown once. */
export interface IssuedWebhookSecret {
  readonly keyId: string
  readonly webhookSecret: string
  /** When the secret before it stops verifying, ISO 8601. */
  readonly previousUntil: string
}

/**
 * The keys of the configured store. Every call names a tenant, and a key of another one is 'not-found'.
 *
 * A key that has been revoked or replaced is refused by this process before the promise resolves. Where changes have to
 * be published to the others and that fails, the call rejects although the store has changed: to revoke again publishes
 * again. Every call rejects with AUTH_STORE_UNAVAILABLE when the store fails, passes its time limit or returns what is no record, and
 * with a TypeError for an argument that no caller should send: whatever the store, it is not asked then.
 */
export interface ApiKeys {
  /** Rejects with AUTH_QUOTA_EXCEEDED when the tenant has as many active keys as it may have. */
  create (input: NewKeyInput): Promise<IssuedApiKey>
  /** The key as it may be shown; null: this tenant has none of that id. */
  get (name: KeyName): Promise<ApiKeyRecord | null>
  /**
   * Newest first, revoked and expired ones too, of which stores keep the newest 1,000. `limit` is 1 to 100, 50 where it is not given; a
   * `cursor` that no page has answered is a TypeError. A page ends early before it exceeds 256 kB of JSON: only a cursor of null says
   * that it is the last.
   */
  list (query: { tenantId: string, cursor?: string | null | undefined, limit?: number | undefined }): Promise<{ keys: ApiKeyRecord[], cursor: string | null }>
  revoke (name: KeyName & { revokedBy?: string | null | undefined }): Promise<'revoked' | 'already-revoked' | 'not-found'>
  /**
   * A new key with the name, scopes and environment of the old one, and as long a life. The old key works for
   * `overlap` seconds more (at most 30 days), without one it stops at once. It is a 'conflict' when the old key is
   * not active, is already replaced, or has itself replaced a key that still works: revoke that one first.
   */
  rotate (name: KeyName & { overlap?: number | undefined, rotatedBy?: string | null | undefined }): Promise<IssuedApiKey | 'conflict' | 'not-found'>
  /** A new webhook secret; the one before it verifies for `overlap` seconds more. A 'conflict': the key is not active. */
  rotateWebhookSecret (name: KeyName & { overlap?: number | undefined }): Promise<IssuedWebhookSecret | 'conflict' | 'not-found'>
  /** Revokes every key of a tenant, or those made before a time; answers the ids of those that were not revoked yet. */
  revokeAll (query: { tenantId: string, createdBefore?: string | Date | null | undefined, revokedBy?: string | null | undefined }): Promise<readonly string[]>
}

const maxOverlap = 30 * 24 * 60 * 60

export function createApiKeys (settings: ApiKeySettings, tools: ApiKeyTools): ApiKeys {
  const { store, environments, quota, sealingKeys, timeLimit } = settings
  const { clock, randomBytes, timers } = tools
  const sealer = createSealer(sealingKeys, store.ephemeral === true, randomBytes)

  const ask = <T>(call: () => Answer<T>): Promise<T> => askStore(call, timeLimit, timers)

  /** A change of the store, and one of the words with which it may answer: a store that returns another has said nothing. */
  async function change<T extends string> (changes: readonly KeyChange[], call: () => Answer<T>, ...words: readonly NoInfer<T>[]): Promise<T> {
    const answer = await changeAny(changes, call)
    if (!words.includes(answer)) throw storeUnavailable(new TypeError(`The store returned none of ${words.join(', ')}`))
    return answer
  }

  async function changeAny<T> (changes: readonly KeyChange[], call: () => Answer<T>): Promise<T> {
    try {
      return await ask(call)
    } finally {
      // Also when it failed: a store that was too slow may have done it all the same.
      forgetHere(store, changes)
    }
  }

  async function publish (changes: readonly KeyChange[]): Promise<void> {
    await ask(() => store.invalidation?.publish?.(changes))
  }

  /**
   * Before a change whose answer is shown once: where nobody can be told, the call fails while nothing has changed, and nothing is lost
   * that only its answer would have shown.
   */
  async function publishAhead ({ keyId }: KeyName): Promise<void> {
    await publish([{ keyId }])
  }

  function makeSecret (name: KeyName): { webhookSecret: string, sealed: SealedSecret } | null {
    if (sealer === null) return null
    const webhookSecret = `whsec_${Buffer.from(randomBytes(32)).toString('base64')}`
    return { webhookSecret, sealed: { sealed: sealer.seal(webhookSecret, name), until: null } }
  }

  function issue (fields: ReturnType<typeof readNewKey>, rotatedFrom: string | null, now: number) {
    const { key, digest, prefix } = createApiKey({ environment: fields.environment, randomBytes })
    const keyId = createKeyId(now, randomBytes)
    const secret = makeSecret({ tenantId: fields.tenantId, keyId })
    const record: StoredApiKey = {
      keyId,
      ...fields,
      prefix,
      digest: digest.toString('hex'),
      createdAt: iso(now),
      revokedAt: null,
      revokedBy: null,
      rotatedFrom,
      replacedBy: null,
      lastUsedAt: null,
      sealedSecrets: secret === null ? [] : [secret.sealed]
    }
    const issued: IssuedApiKey = { ...publicRecord(record, now), plaintextKey: key, webhookSecret: secret?.webhookSecret ?? null }
    return { record, issued }
  }

  return {
    async create (input) {
      const now = clock()
      const { record, issued } = issue(readNewKey(input, environments, now), null, now)
      const answer = await change([{ digest: record.digest }], () => store.create(record, quota), 'created', 'quota-exceeded')
      if (answer === 'quota-exceeded') throw new AuthError('AUTH_QUOTA_EXCEEDED', 'quota')
      // Another process may hold for a second that there is no such key. If it is not told, no more than that second is lost.
      await publish([{ keyId: record.keyId, created: true }]).catch(() => {})
      const { tenantId, keyId, name, scopes, createdAt, createdBy } = record
      publishKeyEvent({ event: 'created', tenantId, keyId, name, scopes, at: createdAt, by: createdBy })
      return issued
    },

    async get (input) {
      const name = readName(input)
      const now = clock()
      const record = readStoredKey(await ask(() => store.get(name)), name, now)
      return record === null ? null : publicRecord(record, now)
    },

    async list ({ tenantId, cursor = null, limit = 50 }) {
      readTenantId(tenantId)
      if (cursor !== null) readText('cursor', cursor, maxCursorLength)
      if (!Number.isInteger(limit) || limit < 1 || limit > 100) throw new InputError('limit must be a whole number from 1 to 100')
      const now = clock()
      let query = { tenantId, cursor, limit }
      for (;;) {
        const page = readPage(await ask(() => store.list(query)), query, now)
        if (page === 'invalid-cursor') throw new InputError('cursor must be one that the page before has answered')
        const keys = page.records.map((record) => publicRecord(record, now))
        const fitting = countWithin(keys, maxPageBytes)
        if (fitting === keys.length) return { keys, cursor: page.cursor }
        // Only the store knows the cursor of a page that ends there, so it is asked for the shorter page.
        query = { ...query, limit: fitting }
      }
    },

    async revoke (input) {
      const name = readName(input)
      const by = readActor('revokedBy', input.revokedBy)
      const at = iso(clock())
      const changes = [{ keyId: name.keyId }]
      const answer = await change(changes, () => store.revoke({ ...name, at, by }), 'revoked', 'already-revoked', 'not-found')
      // Also of one that was revoked before: that call may have failed right here.
      if (answer !== 'not-found') await publish(changes)
      if (answer === 'revoked') publishKeyEvent({ event: 'revoked', ...name, at, by })
      return answer
    },

    async rotate (input) {
      const name = readName(input)
      const overlap = readOverlap(input.overlap)
      const by = readActor('rotatedBy', input.rotatedBy)
      const old = readStoredKey(await ask(() => store.get(name)), name, clock())
      if (old === null) return 'not-found'
      await publishAhead(name)
      const now = clock()
      const expiresAt = old.expiresAt === null ? null : isoEnd(now + Date.parse(old.expiresAt) - Date.parse(old.createdAt))
      const { record, issued } = issue({
        tenantId: old.tenantId,
        name: old.name,
        scopes: [...old.scopes],
        environment: old.environment,
        expiresAt,
        createdBy: by ?? readActor('createdBy', old.createdBy),
        metadata: { ...old.metadata }
      }, old.keyId, now)
      const changes = [{ digest: old.digest, keyId: old.keyId }, { digest: record.digest, keyId: record.keyId }]
      const rotation = { ...name, replacement: record, at: iso(now), until: isoEnd(now + overlap * 1000), by }
      const answer = await change(changes, () => store.rotate(rotation), 'rotated', 'conflict', 'not-found')
      if (answer !== 'rotated') return answer
      // Ids alone: whoever else reads what is published there learns no digest.
      await publish([{ keyId: old.keyId }, { keyId: record.keyId, created: true }])
      publishKeyEvent({ event: 'rotated', ...name, replacedBy: record.keyId, at: rotation.at, until: rotation.until, by })
      return issued
    },

    async rotateWebhookSecret (input) {
      const name = readName(input)
      const overlap = readOverlap(input.overlap)
      const secret = makeSecret(name)
      if (secret === null) throw configError('option', 'Webhook secrets are stored sealed: configure a sealing key for this store')
      if (readStoredKey(await ask(() => store.get(name)), name, clock()) === null) return 'not-found'
      await publishAhead(name)
      const now = clock()
      const at = iso(now)
      const until = isoEnd(now + overlap * 1000)
      const changes = [{ keyId: name.keyId }]
      const answer = await change(changes, () => store.replaceSecrets({ ...name, secret: secret.sealed, at, until }), 'replaced', 'conflict', 'not-found')
      if (answer !== 'replaced') return answer
      await publish(changes)
      publishKeyEvent({ event: 'webhook-secret-rotated', ...name, at, until })
      return { keyId: name.keyId, webhookSecret: secret.webhookSecret, previousUntil: until }
    },

    async revokeAll ({ tenantId, createdBefore = null, revokedBy }) {
      readTenantId(tenantId)
      const by = readActor('revokedBy', revokedBy)
      const query = { tenantId, createdBefore: createdBefore === null ? null : readTime('createdBefore', createdBefore), at: iso(clock()), by }
      // The tenant and not the keys: to call it again after a failure tells everybody again.
      const changes = [{ tenantId }]
      const keyIds = await changeAny(changes, () => store.revokeAll(query))
      if (!Array.isArray(keyIds) || !keyIds.every((keyId) => typeof keyId === 'string')) throw storeUnavailable(new TypeError('The store returned no list of key ids'))
      await publish(changes)
      publishKeyEvent({ event: 'all-revoked', tenantId, keyIds, at: query.at, by })
      return keyIds
    }
  }
}

/** How many records fit on a page of so many bytes of JSON; the first one always does. */
function countWithin (records: readonly ApiKeyRecord[], maxBytes: number): number {
  let bytes = 0
  const over = records.findIndex((record, index) => {
    bytes += Buffer.byteLength(JSON.stringify(record)) + 1
    return bytes > maxBytes && index > 0
  })
  return over === -1 ? records.length : over
}

function readName ({ tenantId, keyId }: KeyName): KeyName {
  return { tenantId: readTenantId(tenantId), keyId: readText('keyId', keyId, maxKeyIdLength) }
}

function readTenantId (tenantId: string): string {
  return readText('tenantId', tenantId, maxTenantIdLength)
}

function readOverlap (overlap = 0): number {
  if (!(typeof overlap === 'number' && overlap >= 0 && overlap <= maxOverlap)) throw new InputError(`overlap must be seconds from 0 to ${maxOverlap}, which are 30 days`)
  return overlap
}

/** The time of a clock as ISO 8601 in UTC. Throws a RangeError where the clock returns no number, or one that no store holds. */
function iso (milliseconds: number): string {
  if (!(milliseconds <= Date.parse(maxTime))) throw new RangeError('The clock must return milliseconds since the epoch')
  return new Date(milliseconds).toISOString()
}

/** The end of something that lasts from now. What would end after year 9999 ends with it. */
function isoEnd (milliseconds: number): string {
  return iso(Math.min(milliseconds, Date.parse(maxTime)))
}
