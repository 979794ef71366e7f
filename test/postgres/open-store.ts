import pg from 'pg'
import type { Test } from 'tap'
import { randomBytes } from 'node:crypto'
import { PostgresApiKeyStore, type PostgresApiKeyStoreOptions } from '../../lib/postgres/index.js'
import { postgres } from '../fixtures/services.js'

/** A schema of this test alone, dropped when the test ends. */
export function ownSchema (t: Test): string {
  const schema = `cf_test_${randomBytes(6).toString('hex')}`
  t.teardown(async () => {
    const client = new pg.Client(postgres)
    await client.connect()
    await client.query(`drop schema if exists ${schema} cascade`)
    await client.end()
  })
  return schema
}

/** A pool that ends with the test. */
export function ownPool (t: Test, config: pg.PoolConfig = {}): pg.Pool {
  const pool = new pg.Pool({ ...postgres, max: 5, ...config })
  pool.on('error', () => {})
  t.teardown(() => pool.end())
  return pool
}

/** A store that listens, on a pool of its own, as a process has it. */
export function openStore (t: Test, schema: string, options: Partial<PostgresApiKeyStoreOptions> & { config?: pg.PoolConfig } = {}): PostgresApiKeyStore & { pool: pg.Pool } {
  const { config = {}, ...rest } = options
  const pool = ownPool(t, config)
  const store = new PostgresApiKeyStore({ pool, listener: () => new pg.Client({ ...postgres, ...config }), schema, ...rest })
  t.teardown(() => store.close())
  return Object.assign(store, { pool })
}

/** Waits until something holds. Nothing that the tests assert depends on how long it takes. */
export async function until (holds: () => boolean | Promise<boolean>, what: string, limit = 15_000): Promise<void> {
  const end = performance.now() + limit
  while (!await holds()) {
    if (performance.now() > end) throw new Error(`Not within ${limit} ms: ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
}
