/** API keys in PostgreSQL, shared by any number of processes. */
import { randomBytes } from 'node:crypto'
import { createChannel, type ClosableChannel } from '../api-key/channel.js'
import { configError, refuseUndefined } from '../errors.js'
import { createDatabase, type Ask, type Database, type PostgresPool } from './database.js'
import { listeningTransport, type PostgresListener } from './listening.js'
import { createLookups, poolSize, type LookUp } from './lookups.js'
import { checkMigrations, migrate } from './migrations.js'
import { readNotificationSecret } from './notification.js'
import { readNames, type NameOptions, type Names } from './names.js'
import { isStorable, recordOf, rowValues, type RecordRow } from './row.js'
import { statementsOn, type Statements } from './statements.js'
import { createTenantQueue, type CallKind, type TenantQueue } from './tenant-queue.js'
import type { InvalidationChannel } from '../api-key/invalidation.js'
import { replaceSecrets, rotateRecord, type KeyName, type Revocation, type Rotation, type SecretReplacement } from '../api-key/lifecycle.js'
import type { StoredApiKey } from '../api-key/record.js'
import type { Timers } from '../api-key/settings.js'
import type { Answer, ApiKeyStore, KeyUse, ListPage, ListQuery, LookupHint, RevokeAllQuery } from '../api-key/store.js'

export interface PostgresApiKeyStoreOptions extends NameOptions {
  /** A Pool of `pg`, or anything shaped like it, such as `fastify.pg`. It is not ended by this store. */
  pool: PostgresPool
  /**
   * Makes a client that is not connected yet: `() => new pg.Client(config)`. It is called twice for each attempt to connect, for one connection
   * that receives changes and one that proves it, so it must reach the database itself and not a pooler in transaction mode.
   * Default: none; then every request asks the database.
   */
  listener?: () => PostgresListener | Promise<PostgresListener>
  /**
   * What becomes of tables that are missing or older. Default: 'auto', they are made at the first use; 'check': every call
   * fails until somebody has run `migrationsSql()`; 'off': nobody looks.
   */
  migrate?: 'auto' | 'check' | 'off'
  /** Seconds that a call may take in the database. Default: 2. */
  timeLimit?: number
  /** Milliseconds since the epoch. Default: Date.now. */
  clock?: () => number
  /** Default: those of the platform. */
  timers?: Timers
}

/**
 * A store in PostgreSQL 12 or newer. A change is told by a trigger, so one that an operator makes by hand counts as well,
 * and one that was rolled back does not. Read and write the same primary: a replica lags behind.
 */
export class PostgresApiKeyStore implements ApiKeyStore {
  /** Only where there is a `listener`. */
  readonly invalidation?: InvalidationChannel
  readonly #channel: ClosableChannel | null
  readonly #database: Database
  readonly #lookUp: LookUp
  readonly #inTurn: TenantQueue
  readonly #names: Names
  readonly #statements: Statements
  readonly #migrate: 'auto' | 'check' | 'off'
  #ready: Promise<void> | true | null
  #rejectedNotifications = 0

  constructor (options: PostgresApiKeyStoreOptions) {
    checkOptions(options)
    const { pool, listener, migrate: migration = 'auto', timeLimit = 2, clock = Date.now, timers = globalThis as unknown as Timers } = options
    const tools = { clock, monotonic: () => performance.now(), timers, randomBytes, random: Math.random }
    this.#names = readNames(options)
    this.#statements = statementsOn(this.#names)
    this.#database = createDatabase(pool, timeLimit, tools)
    this.#lookUp = createLookups(this.#database.ownBudget(), poolSize(pool), timeLimit * 1000, tools.monotonic)
    this.#inTurn = createTenantQueue(poolSize(pool), timeLimit * 1000, tools)
    this.#migrate = migration
    this.#ready = migration === 'off' ? true : null
    this.#channel = null
    if (listener !== undefined) {
      const ask = this.#database.ownBudget()
      this.#channel = createChannel(listeningTransport({
        makeListener: listener,
        readSecret: async () => {
          await this.ready()
          const [row] = await ask<{ channel: unknown, secret: unknown }>(this.#statements.notificationSecret)
          return readNotificationSecret(row)
        },
        probe: (echoChannel, text, { channel, secret }) => ask(this.#statements.probe, [echoChannel, text, channel, secret]),
        onRejected: () => { this.#rejectedNotifications++ },
        timers
      }), tools)
      this.invalidation = this.#channel
    }
  }

  /**
   * Notifications on the channel of this store that none of its triggers sent, or that were sent a second time. They change nothing. More than 0:
   * someone who knows the name of that channel, and so can read `pg_stat_activity` or the log of the server, sends there.
   */
  get rejectedNotifications (): number {
    return this.#rejectedNotifications
  }

  /**
   * Makes or checks the tables, once; every other call does so too. Await it before `listen`, so that a database that is
   * not as it should be is met at the start.
   */
  async ready (): Promise<void> {
    if (this.#ready === true) return
    this.#ready ??= (this.#migrate === 'auto' ? migrate(this.#database, this.#names) : checkMigrations(this.#database, this.#names)).then(
      () => { this.#ready = true },
      (error: unknown) => {
        // Not remembered: a database that was down is asked again.
        this.#ready = null
        throw error
      })
    await this.#ready
  }

  /** Stops listening, and resolves when its connections are closed. The pool stays open. An application that is closed has done this already. */
  async close (): Promise<void> {
    await this.#channel?.close()
  }

  findByDigest (digest: string, { known = true }: Partial<LookupHint> = {}): Answer<StoredApiKey | null> {
    // Hex is read leniently by the database: upper case would find a key, and other text is an error.
    return /^[0-9a-f]{64}$/.test(digest) ? this.#one((text, values = []) => this.#lookUp(text, values, known), this.#statements.findByDigest, [digest]) : null
  }

  async create (record: StoredApiKey, quota: number): Promise<'created' | 'quota-exceeded'> {
    mustBeStorable(record)
    return this.#locked(record.tenantId, 'change', async (ask) => {
      const created = await ask(this.#statements.insertWithinQuota, [...rowValues(record), quota])
      if (created.length === 0) return 'quota-exceeded'
      await this.#purge(ask, record.tenantId, record.createdAt)
      return 'created'
    })
  }

  get ({ tenantId, keyId }: KeyName): Answer<StoredApiKey | null> {
    return isStorable(tenantId + keyId) ? this.#one(this.#askInTurn(tenantId, 'reading'), this.#statements.get, [tenantId, keyId]) : null
  }

  async list ({ tenantId, cursor, limit }: ListQuery): Promise<ListPage | 'invalid-cursor'> {
    if (cursor !== null && !(isStorable(cursor) && isStorable(tenantId))) return 'invalid-cursor'
    if (!isStorable(tenantId)) return { records: [], cursor: null }
    await this.ready()
    const ask = this.#askInTurn(tenantId, 'reading')
    // One more than is wanted tells whether there is a next page. The key that the cursor names comes along: no key, no cursor.
    const rows = await ask<RecordRow & { found: number }>(this.#statements.list, [tenantId, cursor, limit + (cursor === null ? 1 : 2)])
    const read = rows.map(recordOf)
    if (cursor !== null && read.shift()?.keyId !== cursor) return 'invalid-cursor'
    const records = read.slice(0, limit)
    const found = (rows[0]?.found ?? 0) - (cursor === null ? 0 : 1)
    return { records, cursor: found > records.length ? records.at(-1)?.keyId ?? null : null }
  }

  async revoke ({ tenantId, keyId, at, by }: Revocation): Promise<'revoked' | 'already-revoked' | 'not-found'> {
    if (!isStorable(tenantId + keyId)) return 'not-found'
    await this.ready()
    const ask = this.#askInTurn(tenantId, 'revocation')
    const [row] = await ask<{ revoked: boolean, known: boolean }>(this.#statements.revoke, [tenantId, keyId, at, by])
    if (row?.revoked === true) return 'revoked'
    return row?.known === true ? 'already-revoked' : 'not-found'
  }

  async rotate (rotation: Rotation): Promise<'rotated' | 'conflict' | 'not-found'> {
    const { tenantId, keyId, replacement } = rotation
    if (!isStorable(tenantId + keyId)) return 'not-found'
    mustBeStorable(replacement)
    return this.#locked(tenantId, 'change', async (ask) => {
      const [row] = await ask<RecordRow>(this.#statements.getForChange, [tenantId, keyId])
      if (row === undefined) return 'not-found'
      const record = recordOf(row)
      const [predecessor] = record.rotatedFrom === null ? [] : await ask<RecordRow>(this.#statements.get, [tenantId, record.rotatedFrom])
      const replaced = rotateRecord(record, predecessor === undefined ? null : recordOf(predecessor), rotation)
      if (replaced === 'conflict') return 'conflict'
      await ask(this.#statements.insert, rowValues(replacement))
      await ask(this.#statements.replace, [tenantId, keyId, replaced.replacedBy, replaced.expiresAt, replaced.revokedAt, replaced.revokedBy])
      await this.#purge(ask, tenantId, rotation.at)
      return 'rotated'
    })
  }

  async replaceSecrets (replacement: SecretReplacement): Promise<'replaced' | 'conflict' | 'not-found'> {
    const { tenantId, keyId } = replacement
    if (!isStorable(tenantId + keyId)) return 'not-found'
    return this.#locked(tenantId, 'change', async (ask) => {
      const [row] = await ask<RecordRow>(this.#statements.getForChange, [tenantId, keyId])
      if (row === undefined) return 'not-found'
      const changed = replaceSecrets(recordOf(row), replacement)
      if (changed === 'conflict') return 'conflict'
      await ask(this.#statements.setSecrets, [tenantId, keyId, JSON.stringify(changed.sealedSecrets)])
      return 'replaced'
    })
  }

  async revokeAll ({ tenantId, createdBefore, at, by }: RevokeAllQuery): Promise<readonly string[]> {
    if (!isStorable(tenantId)) return []
    // Under the lock: a key that is being made right now is there when it is revoked, or is made afterwards.
    const rows = await this.#locked(tenantId, 'revocation', (ask) => ask<{ key_id: string }>(this.#statements.revokeAll, [tenantId, createdBefore, at, by]))
    return rows.map(({ key_id: keyId }) => keyId)
  }

  async touch (uses: readonly KeyUse[]): Promise<void> {
    if (uses.length === 0) return
    await this.ready()
    // For keys of any tenants at once, so in the turn of none.
    const ask = this.#askInTurn('', 'change')
    await ask(this.#statements.touch, [JSON.stringify(uses.map(({ keyId, usedAt }) => ({ key_id: keyId, used_at: usedAt })))])
  }

  /** Deletes ended keys beyond those that are kept. */
  async #purge (ask: Ask, tenantId: string, at: string): Promise<void> {
    const [row] = await ask<{ due: boolean }>(this.#statements.purgeDue, [tenantId, at])
    if (row?.due === true) await ask(this.#statements.purge, [tenantId, at])
  }

  async #one (ask: Ask, text: string, values: unknown[]): Promise<StoredApiKey | null> {
    if (this.#ready !== true) await this.ready()
    const [row] = await ask<RecordRow>(text, values)
    return row === undefined ? null : recordOf(row)
  }

  #askInTurn (tenantId: string, kind: CallKind): Ask {
    return <Row>(text: string, values: unknown[] = []) =>
      this.#inTurn(tenantId, kind, () => this.#database.ask<Row>(text, values))
  }

  /**
   * A transaction that is alone among those on this tenant's keys. It takes a connection when its turn comes.
   */
  async #locked<T> (tenantId: string, kind: CallKind, work: (ask: Ask) => Promise<T>): Promise<T> {
    await this.ready()
    return this.#inTurn(tenantId, kind, (seconds) => this.#database.transact(async (ask) => {
      // Other processes have a queue of their own, so the lock is still needed.
      const lock = `causeflow-auth:tenant:${this.#names.lock}:${tenantId}`
      await ask(this.#statements.lockTenant, [lock, `${Math.ceil(seconds * 1000)}`])
      return work(ask)
    }, seconds))
  }
}

function mustBeStorable (record: StoredApiKey): void {
  for (const [field, value] of Object.entries(record)) {
    if (typeof value === 'string' && !isStorable(value)) throw new TypeError(`PostgreSQL cannot hold the characters of ${field}`)
  }
}

function checkOptions (options: PostgresApiKeyStoreOptions): void {
  const known = ['pool', 'listener', 'schema', 'prefix', 'migrate', 'timeLimit', 'clock', 'timers']
  if (typeof options !== 'object' || options === null) throw configError('option', 'PostgresApiKeyStore takes an object of options: { pool }')
  const unknown = Object.keys(options).find((name) => !known.includes(name))
  if (unknown !== undefined) throw configError('option', `PostgresApiKeyStore has no option '${unknown}'. It has ${known.join(', ')}`)
  refuseUndefined((name) => `PostgresApiKeyStore({ ${name} })`, options)
  const { pool, listener, migrate, timeLimit = 2, clock, timers } = options
  if (typeof pool?.query !== 'function' || typeof pool.connect !== 'function') throw configError('option', 'PostgresApiKeyStore({ pool }) must be a Pool of pg, or what has its query() and connect()')
  if (listener !== undefined && typeof listener !== 'function') throw configError('option', 'PostgresApiKeyStore({ listener }) must be a function that makes a client: () => new pg.Client(config)')
  if (migrate !== undefined && !['auto', 'check', 'off'].includes(migrate)) throw configError('option', "PostgresApiKeyStore({ migrate }) must be 'auto', 'check' or 'off'")
  if (!(typeof timeLimit === 'number' && timeLimit > 0 && timeLimit <= 60)) throw configError('option', 'PostgresApiKeyStore({ timeLimit }) must be seconds, more than 0 and 60 at most')
  if (clock !== undefined && typeof clock !== 'function') throw configError('option', 'PostgresApiKeyStore({ clock }) must be a function that answers milliseconds')
  if (timers !== undefined && (typeof timers.setTimeout !== 'function' || typeof timers.clearTimeout !== 'function')) throw configError('option', 'PostgresApiKeyStore({ timers }) must have setTimeout and clearTimeout')
}
