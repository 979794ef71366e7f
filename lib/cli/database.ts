/** The database of the keys: named by the environment, never by an argument, for an argument is seen by everybody. */
import type { Command } from 'commander'
import type { ApiKeyStore } from '../api-key/store.js'
import { PostgresApiKeyStore, type PostgresListener, type PostgresPool } from '../postgres/index.js'
import { withinTimeLimit } from '../webhook/time-limit.js'
import { checkPostgresVariables, connectLimitOf, isPort, isPostgresHost, isSet, readPostgresUrl } from './environment.js'
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

export const databaseHelp = 'The database is named by DATABASE_URL, or by PGHOST, PGPORT, PGDATABASE, PGUSER, PGPASSWORD and the others that pg reads. It needs the package pg beside this one.'

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

/**
 * Opens the store of a database that answers and whose tables are there. Rejects with a Failure that says
 * which of both is not so. Each step has a time limit of its own, whatever the driver and the URL say.
 */
export async function openPostgres (request: StoreRequest, env: World['env'], importPg: () => Promise<unknown> = importOwnPg): Promise<OpenStore> {
  if (!isDatabaseConfigured(env)) throw usageFailure('No database is named', 'Set DATABASE_URL=postgres://user@host/database, or PGHOST and the others')
  const { schema, prefix, migrate = false, listen = false } = request
  checkPostgresVariables(env)
  const { Pool, Client } = await loadPg(importPg)
  const settings = connectionSettings('DATABASE_URL', env, Client)
  const listenSettings = isSet(env.DATABASE_LISTEN_URL) ? connectionSettings('DATABASE_LISTEN_URL', env, Client) : settings
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
      timeLimit: answerLimit / 1000,
      ...schema !== undefined && { schema },
      ...prefix !== undefined && { prefix },
      ...listen && { listener: () => new Client(listenSettings) }
    })
    await inTime(pool.query({ text: 'select 1', query_timeout: answerLimit }), connectLimitOf(env) + answerLimit)
  } catch (error) {
    await close()
    throw connectionFailure(error, env)
  }
  try {
    await inTime(store.ready(), readyLimit)
  } catch (error) {
    await close()
    throw readyFailure(error)
  }
  const { query } = pool
  return {
    store,
    close,
    async facts () {
      const text = "select current_setting('server_version') as version, pg_is_in_recovery() as replica"
      const { rows } = await inTime(query.call(pool, { text, query_timeout: answerLimit }), answerLimit)
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

/** Milliseconds for one answer of the database. */
const answerLimit = 10_000
/** Milliseconds for all statements that check or make the tables. */
const readyLimit = 25_000
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

/**
 * Milliseconds: pg's own limits may be taken away by a URL, and do not cover a connection that it waits for.
 */
function inTime<T> (answer: Promise<T>, milliseconds: number): Promise<T> {
  return withinTimeLimit(answer, milliseconds, globalThis)
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
    const code = (error as { code?: unknown } | null)?.code
    // Required by pg itself, and so by the older name.
    if (code === 'MODULE_NOT_FOUND') throw usageFailure('NODE_PG_FORCE_NATIVE is set, and pg-native is not installed here', 'Unset it')
    if (code !== 'ERR_MODULE_NOT_FOUND') throw error
    throw new Failure(exit.usage, 'pg_missing', 'PostgreSQL is spoken by the package pg, which is not installed here', 'npm install pg')
  }
}

/**
 * The settings of a connection: those of the URL in this variable, otherwise those of PGHOST and the others.
 */
function connectionSettings (name: string, env: World['env'], Client: Pg['Client']): object {
  const common = { application_name: 'causeflow-auth', connectionTimeoutMillis: connectLimitOf(env), query_timeout: answerLimit }
  const url = env[name]
  if (isSet(url)) {
    const settings = { ...common, connectionString: readPostgresUrl(name, url) }
    tryOut(settings, name, Client)
    return settings
  }
  // What is not here, PGSSLMODE and PGPASSFILE among it, pg reads by itself.
  const settings = {
    ...common,
    host: env.PGHOST,
    port: isSet(env.PGPORT) ? Number(env.PGPORT) : undefined,
    database: env.PGDATABASE,
    user: env.PGUSER,
    password: env.PGPASSWORD
  }
  tryOut(settings, 'PGSSLMODE or PGSSLNEGOTIATION', Client)
  return settings
}

/**
 * Has pg read the settings, before a pool does: what fails inside a pool looks like a server that does not
 * answer.
 */
function tryOut (settings: object, name: string, Client: Pg['Client']): void {
  let client: { host?: unknown, port?: unknown }
  try {
    client = new Client(settings) as object
  } catch (error) {
    // A file that is named and missing, or options that exclude each other. A URL that is none has no more
    // than `Invalid URL` in its message.
    throw usageFailure(`${name} cannot be used: ${deepestMessage(error) ?? 'no reason is given'}`)
  }
  const { host, port } = client
  if (typeof port === 'number' && !isPort(String(port))) throw usageFailure(`${name} names no port from 1 to 65535`)
  if (typeof host === 'string' && host !== '' && !isPostgresHost(host)) throw usageFailure(`${name} does not name one host`)
}

function connectionFailure (error: unknown, env: World['env']): Failure {
  const { code } = error as { code?: unknown }
  if (error instanceof Failure || (typeof code === 'string' && code.startsWith('AUTH_CONFIG_'))) return failureOf(error)
  const said = deepestMessage(error) ?? 'no reason is given'
  // Trying again changes none of these.
  const rejected = rejectedVariables(typeof code === 'string' ? code : '', said)
  if (rejected !== null) {
    const names = isSet(env.DATABASE_URL) ? `DATABASE_URL, or ${rejected} where it leaves that out` : rejected
    return usageFailure(`The database cannot be used as configured: ${said}`, `Look at ${names}`)
  }
  return new Failure(exit.unavailable, 'database_unavailable', `The database does not answer: ${said}`, 'Look whether it runs and whether this machine may reach it: psql "$DATABASE_URL" -c "select 1"')
}

/** The variables behind what the server, or pg on the way to it, rejects; null where another try may help. */
function rejectedVariables (code: string, said: string): string | null {
  if (/^28/.test(code)) return 'PGUSER and PGPASSWORD'
  if (/^3D/.test(code)) return 'PGDATABASE'
  // Nothing but the parameters of the connection has been sent so far.
  if (/^(?:22|42)/.test(code)) return 'PGOPTIONS'
  if (/client password must be a/.test(said)) return 'PGPASSWORD or PGPASSFILE: a password is asked for'
  if (/does not support SSL/.test(said) || /CERT|SELF_SIGNED|UNABLE_TO_/.test(code)) return 'PGSSLMODE'
  return null
}

function readyFailure (error: unknown): Failure {
  const { code } = error as { code?: unknown }
  const said = deepestMessage(error) ?? 'no reason is given'
  // 42501: insufficient privilege.
  if (code === '42501') return usageFailure(`The database does not permit it: ${said}`, 'Let its owner run causeflow-auth migrate, or the SQL of causeflow-auth migrate --print')
  if (code === 'AUTH_CONFIG_STORE') return new Failure(exit.usage, 'not_migrated', said.replace(/\. Run the SQL.*$/s, ''), 'Run causeflow-auth migrate')
  return new Failure(exit.unavailable, 'database_unavailable', `The database does not do it: ${said}`)
}
