/** Where the demo keeps keys and deliveries: in memory, or on servers that several processes share. */
import { randomBytes } from 'node:crypto'
import { MemoryApiKeyStore, MemoryReplayStore, type ApiKeyStore, type ReplayStore } from '../../../lib/index.js'
import { PostgresApiKeyStore } from '../../../lib/postgres/index.js'
import { RedisReplayStore, redisInvalidation, withInvalidation } from '../../../lib/redis/index.js'

export interface StoreChoice {
  readonly store: 'memory' | 'postgres'
  /** How processes hear of revocations: `store` leaves that to the store itself. */
  readonly channel: 'store' | 'redis'
}

export interface Stores {
  readonly keys: ApiKeyStore
  readonly replay: ReplayStore
  /** Seal the signing secrets of the keys at rest. In production they come from a secret manager. */
  readonly sealingKeys: readonly Uint8Array[]
  close (): Promise<void>
}

/** Opens what was chosen. The tables stand in a schema of this run, which ends with it. */
export async function openStores ({ store, channel }: StoreChoice, clock: () => number): Promise<Stores> {
  const redis = channel === 'redis' ? await openRedis(clock) : null
  const postgres = store === 'postgres' ? await openPostgres(channel === 'store') : null
  const keys = postgres?.keys ?? new MemoryApiKeyStore()
  return {
    // Keys in memory are this process's alone: there is nobody to tell.
    keys: redis === null || postgres === null ? keys : withInvalidation(keys, redis.invalidation),
    replay: redis?.replay ?? new MemoryReplayStore({ clock }),
    sealingKeys: [randomBytes(32)],
    async close () {
      await postgres?.close()
      redis?.close()
    }
  }
}

/** By the usual variables (PGHOST, …), or on this machine. */
async function openPostgres (listens: boolean): Promise<{ keys: PostgresApiKeyStore, close (): Promise<void> }> {
  const { default: pg } = await import('pg')
  const config = {
    host: process.env['PGHOST'] ?? '127.0.0.1',
    user: process.env['PGUSER'] ?? 'postgres',
    database: process.env['PGDATABASE'] ?? 'postgres',
    connectionTimeoutMillis: 2000
  }
  const schema = `causeflow_demo_${randomBytes(4).toString('hex')}`
  const pool = new pg.Pool(config)
  // A connection that dies while it idles is replaced; without a listener it would end the process.
  pool.on('error', () => {})
  const keys = new PostgresApiKeyStore({ pool, schema, ...(listens ? { listener: () => new pg.Client(config) } : {}) })
  await keys.ready()
  return {
    keys,
    async close () {
      await keys.close()
      await pool.query(`drop schema ${schema} cascade`)
      await pool.end()
    }
  }
}

/** At REDIS_URL, or on this machine. */
async function openRedis (clock: () => number): Promise<{ invalidation: ReturnType<typeof redisInvalidation>, replay: RedisReplayStore, close (): void }> {
  const { Redis } = await import('ioredis')
  const client = new Redis(process.env['REDIS_URL'] ?? 'redis://127.0.0.1:6379', { lazyConnect: true, maxRetriesPerRequest: 1 })
  client.on('error', (error) => { console.error(error.message) })
  await client.connect()
  const channel = `causeflow-demo-${randomBytes(4).toString('hex')}`
  return {
    invalidation: redisInvalidation({ client, channel }),
    replay: new RedisReplayStore({ client, prefix: `${channel}:` }),
    close () { client.disconnect() }
  }
}
