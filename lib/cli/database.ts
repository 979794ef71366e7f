/** The database of the keys: named by the environment, never by an argument, for an argument is seen by everybody. */
import type { Command } from 'commander'
import type { ApiKeyStore } from '../api-key/store.js'
import { PostgresApiKeyStore, type PostgresListener, type PostgresPool } from '../postgres/index.js'
import { exit } from './exit-code.js'
import { deepestMessage, Failure, failureOf, usageFailure } from './failure.js'
import type { World } from './world.js'

export interface DatabaseOptions {
  schema?: string
  prefix?: string
}

export interface StoreRequest extends DatabaseOptions {
  /** Makes the tables that are missing; otherwise missing tables are a failure. */
  migrate?: boolean
  /** Listens for changes, as an application does. */
  listen?: boolean
}

export interface OpenStore {
  readonly store: ApiKeyStore
  /** What the server says of itself. */
  facts (): Promise<DatabaseFacts>
  close (): Promise<void>
}

export interface DatabaseFacts {
  /** `15.4` */
  version: string
  /** It follows another server, and what it answers may be old. */
  replica: boolean
}

export const databaseHelp = 'The database is named by DATABASE_URL, or by PGHOST, PGPORT, PGDATABASE, PGUSER, PGPASSWORD and the others that psql reads. It needs the package pg beside this one.'

/** Adds where the tables are. */
export function withDatabase (command: Command): void {
  command
    .option('--schema <name>', 'the schema that holds the tables (default: causeflow_auth)')
    .option('--prefix <prefix>', 'what goes before their names (default: nothing)')
}

/** What the options ask for. */
export function storeRequest ({ schema, prefix }: DatabaseOptions): StoreRequest {
  return { ...schema !== undefined && { schema }, ...prefix !== undefined && { prefix } }
}

/** Whether the environment names a database. */
export function isDatabaseConfigured (env: World['env']): boolean {
  return ['DATABASE_URL', 'PGHOST', 'PGPORT', 'PGDATABASE', 'PGUSER'].some((name) => isSet(env[name]))
}

/** Opens the store of a database that answers and whose tables are there. Rejects with a Failure that says which of both is not so. */
export async function openPostgres (request: StoreRequest, env: World['env'], importPg: () => Promise<unknown> = importOwnPg): Promise<OpenStore> {
  if (!isDatabaseConfigured(env)) throw usageFailure('No database is named', 'Set DATABASE_URL=postgres://user@host/database, or PGHOST and the others')
  const { schema, prefix, migrate = false, listen = false } = request
  const { Pool, Client } = await loadPg(importPg)
  const settings = connectionSettings(env.DATABASE_URL, env)
  const listenSettings = isSet(env.DATABASE_LISTEN_URL) ? connectionSettings(env.DATABASE_LISTEN_URL, env) : settings
  let pool: PoolOfPg | null = null
  let store: PostgresApiKeyStore | null = null
  const close = (): Promise<void> => endWithin(closeLimit, async () => {
    await store?.close()
    await pool?.end()
  })
  try {
    pool = new Pool({ ...settings, max: 2, allowExitOnIdle: true })
    store = new PostgresApiKeyStore({
      pool,
      migrate: migrate ? 'auto' : 'check',
      // Nobody waits for an answer in a request here, and the first one may come over a new connection far away.
      timeLimit: 10,
      ...schema !== undefined && { schema },
      ...prefix !== undefined && { prefix },
      ...listen && { listener: () => new Client(listenSettings) }
    })
    await pool.query({ text: 'select 1' })
  } catch (error) {
    await close()
    throw connectionFailure(error)
  }
  try {
    await store.ready()
  } catch (error) {
    await close()
    throw readyFailure(error)
  }
  const { query } = pool
  return {
    store,
    close,
    async facts () {
      const { rows } = await query.call(pool, { text: "select current_setting('server_version') as version, pg_is_in_recovery() as replica" })
      return rows[0] as DatabaseFacts
    }
  }
}

interface PoolOfPg extends PostgresPool { end (): Promise<void> }

/** What is used of pg. Its own types would have to be installed by whoever compiles against this package. */
interface Pg {
  Pool: new (settings: object) => PoolOfPg
  Client: new (settings: object) => PostgresListener
}

/** Milliseconds in which connections are closed. A server that says nothing would be waited for without end. */
const closeLimit = 3000

/** Waits so long at most, and keeps the process alive meanwhile. What is still open then does not. */
async function endWithin (milliseconds: number, end: () => Promise<void>): Promise<void> {
  let timer: NodeJS.Timeout | undefined
  const limit = new Promise<void>((resolve) => { timer = setTimeout(resolve, milliseconds) })
  try {
    await Promise.race([end(), limit])
  } finally {
    clearTimeout(timer)
  }
}

async function importOwnPg (): Promise<unknown> {
  // A name that the compiler does not see: pg is an optional peer.
  const name: string = 'pg'
  return await import(name)
}

async function loadPg (importPg: () => Promise<unknown>): Promise<Pg> {
  try {
    return (await importPg() as { default: Pg }).default
  } catch (error) {
    if ((error as { code?: unknown } | null)?.code !== 'ERR_MODULE_NOT_FOUND') throw error
    throw new Failure(exit.usage, 'pg_missing', 'PostgreSQL is spoken by the package pg, which is not installed here', 'npm install pg')
  }
}

function connectionSettings (url: string | undefined, env: World['env']): object {
  const common = { application_name: 'causeflow-auth', connectionTimeoutMillis: 5000, query_timeout: 10_000 }
  if (isSet(url)) {
    // pg's own complaint about a bad URL holds the URL, and with it the password.
    if (!URL.canParse(url)) throw usageFailure('DATABASE_URL is no URL', 'Write it as postgres://user:password@host:5432/database, with % encoding in the password')
    return { ...common, connectionString: url }
  }
  // What is not here, PGSSLMODE and PGPASSFILE among it, pg reads by itself.
  return {
    ...common,
    host: env.PGHOST,
    port: isSet(env.PGPORT) ? Number(env.PGPORT) : undefined,
    database: env.PGDATABASE,
    user: env.PGUSER,
    password: env.PGPASSWORD
  }
}

function connectionFailure (error: unknown): Failure {
  const { code } = error as { code?: unknown }
  if (error instanceof Failure || (typeof code === 'string' && code.startsWith('AUTH_CONFIG_'))) return failureOf(error)
  const said = deepestMessage(error) ?? 'no reason is given'
  // 28: not let in; 3D: no such database. Trying again changes neither.
  if (typeof code === 'string' && /^(?:28|3D)/.test(code)) return usageFailure(`The database lets nobody in: ${said}`, 'Look at DATABASE_URL, or at PGHOST, PGUSER, PGPASSWORD and PGDATABASE')
  return new Failure(exit.unavailable, 'database_unavailable', `The database does not answer: ${said}`, 'Look whether it runs and whether this machine may reach it: psql -c "select 1"')
}

function readyFailure (error: unknown): Failure {
  const { code } = error as { code?: unknown }
  const said = deepestMessage(error) ?? 'no reason is given'
  // 42501: insufficient privilege.
  if (code === '42501') return usageFailure(`The database does not permit it: ${said}`, 'Let its owner run causeflow-auth migrate, or the SQL of causeflow-auth migrate --print')
  if (code === 'AUTH_CONFIG_STORE') return new Failure(exit.usage, 'not_migrated', said.replace(/\. Run the SQL.*$/s, ''), 'Run causeflow-auth migrate')
  return new Failure(exit.unavailable, 'database_unavailable', `The database does not do it: ${said}`)
}

function isSet (value: string | undefined): value is string {
  return value !== undefined && value !== ''
}
