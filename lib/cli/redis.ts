/** The Redis over which processes hear of changes: named by the environment, as the database is, and spoken to by the driver that is installed. */
import type { Command } from 'commander'
import type { KeyChange } from '../api-key/invalidation.js'
import { redisInvalidation, withInvalidation, type IoredisClient, type NodeRedisClient, type RedisClient } from '../redis/index.js'
import type { ApiKeyStore } from '../api-key/store.js'
import type { Timers } from '../api-key/settings.js'
import { withinTimeLimit } from '../webhook/time-limit.js'
import { isSet, readRedisUrl } from './environment.js'
import { exit } from './exit-code.js'
import { deepestMessage, Failure, usageFailure } from './failure.js'
import type { World } from './world.js'

export interface RedisOptions {
  redisChannel?: string
}

export interface OpenRedis {
  readonly client: RedisClient
  /** The package that speaks to it. */
  readonly driver: string
  close (): void
}

/** Tells the other processes what was changed in a store that does not tell of it by itself. */
export interface Teller {
  /** The store, whose changes are told from now on. What fails there fails no change: it is kept for `untold`. */
  tellOf (store: ApiKeyStore): ApiKeyStore
  /** Why a change was not told; null: each was. */
  untold (): string | null
  close (): void
}

export const redisHelp = 'REDIS_URL names the Redis over which the application\'s processes hear of changes, where they do (withInvalidation): they are told there. It needs the package ioredis, iovalkey or redis beside this one.'

/** Milliseconds for a connection that may be far away. */
const connectLimit = 5000

/** Adds on which channel changes are told. */
export function withRedis (command: Command): void {
  command.option('--redis-channel <name>', 'with REDIS_URL: the channel of the application\'s redisInvalidation (default: causeflow-auth:api-key)')
}

/** Whether the environment names a Redis. */
export function isRedisConfigured (env: World['env']): boolean {
  return isSet(env.REDIS_URL)
}

/**
 * Connects. Rejects with a Failure: one of usage where something is configured wrong, one of unavailability where nobody answers.
 * `importPackage` finds a driver by its name.
 */
export async function openRedis (env: World['env'], timers: Timers, importPackage: (name: string) => Promise<unknown> = importOwn): Promise<OpenRedis> {
  const url = readRedisUrl(env)
  const { name, connect } = await findDriver(importPackage)
  const { client, connected, end, fault } = tryOut(() => connect(url))
  try {
    await withinTimeLimit(connected, connectLimit, timers)
  } catch (error) {
    end()
    throw connectionFailure(fault() ?? error)
  }
  return { client, driver: name, close: end }
}

/**
 * Somebody who tells, or null where no Redis is named. A Redis that does not answer is no failure yet: a key is revoked all the same,
 * and then it is said that nobody was told. One that is configured wrong rejects, before anything is changed.
 */
export async function openTeller ({ redisChannel }: RedisOptions, world: Pick<World, 'env' | 'openRedis'>): Promise<Teller | null> {
  if (!isRedisConfigured(world.env)) return null
  let opened: OpenRedis | null = null
  let said: string | null = null
  let unreachable: Failure | null = null
  try {
    opened = await world.openRedis()
  } catch (error) {
    if (!(error instanceof Failure) || error.exitCode !== exit.unavailable) throw error
    unreachable = error
  }
  const channel = opened === null ? null : redisInvalidation({ client: opened.client, ...redisChannel !== undefined && { channel: redisChannel } })
  async function publish (changes: readonly KeyChange[]): Promise<void> {
    try {
      if (unreachable !== null) throw unreachable
      await channel?.publish(changes)
    } catch (error) {
      said = deepestMessage(error) ?? 'no reason is given'
    }
  }
  return {
    // Nothing is cached here, so nothing has to be heard.
    tellOf: (store) => withInvalidation(store, { healthy: false, subscribe: () => () => {}, publish }),
    untold: () => said,
    close () { opened?.close() }
  }
}

/** A driver's own complaint about a URL may hold the URL, and with it the password. */
function tryOut<T> (connect: () => T): T {
  try {
    return connect()
  } catch {
    throw usageFailure('REDIS_URL cannot be read by the driver', 'Write it as redis://user:password@host:6379/0, or rediss:// for TLS, with % encoding in the password')
  }
}

/** A client that is on its way, and what its driver last said of it. */
interface Connecting {
  client: RedisClient
  connected: Promise<unknown>
  end (): void
  fault (): unknown
}

type Connect = (module: unknown) => (url: string) => Connecting

/** In the order in which they are looked for. */
const drivers: ReadonlyArray<readonly [name: string, connect: Connect]> = [['ioredis', likeIoredis], ['iovalkey', likeIoredis], ['redis', likeNodeRedis]]

async function findDriver (importPackage: (name: string) => Promise<unknown>): Promise<{ name: string, connect: (url: string) => Connecting }> {
  for (const [name, connect] of drivers) {
    try {
      return { name, connect: connect(await importPackage(name)) }
    } catch (error) {
      if ((error as { code?: unknown } | null)?.code !== 'ERR_MODULE_NOT_FOUND') throw error
    }
  }
  throw new Failure(exit.usage, 'redis_missing', 'REDIS_URL is set, and none of the packages that speak to Redis is installed here', 'npm install ioredis (or iovalkey, or redis); where no process hears of changes over Redis, unset REDIS_URL')
}

async function importOwn (name: string): Promise<unknown> {
  // A name that the compiler does not see: each of them is an optional peer.
  return await import(name)
}

interface Ended { on (event: 'error', listener: (error: unknown) => void): unknown, connect (): Promise<unknown> }

function likeIoredis (module: unknown): (url: string) => Connecting {
  const { Redis } = module as { Redis: new (url: string, options: object) => IoredisClient & Ended }
  return (url) => {
    // What fails here is said, and not tried again without end.
    const client = new Redis(url, { lazyConnect: true, connectTimeout: connectLimit, retryStrategy: () => null, maxRetriesPerRequest: 0 })
    return begin(client, () => { client.disconnect() })
  }
}

function likeNodeRedis (module: unknown): (url: string) => Connecting {
  const { createClient } = module as { createClient (options: object): NodeRedisClient & Ended }
  return (url) => {
    const client = createClient({ url, socket: { connectTimeout: connectLimit, reconnectStrategy: false } })
    return begin(client, () => {
      try {
        if (client.destroy !== undefined) client.destroy()
        else client.disconnect?.().catch(() => {})
      } catch {
        // It was never open, or is closed already.
      }
    })
  }
}

function begin (client: RedisClient & Ended, end: () => void): Connecting {
  // ioredis says only to its listeners why it could not connect; unheard, an error would end the process.
  let fault: unknown
  client.on('error', (error) => { fault ??= error })
  return { client, connected: client.connect(), end, fault: () => fault }
}

function connectionFailure (error: unknown): Failure {
  const said = deepestMessage(error) ?? 'no reason is given'
  // What Redis itself refuses: trying again does not change it.
  if (/^(?:WRONGPASS|NOAUTH|NOPERM|ERR) /.test(said)) return usageFailure(`Redis does not let this client in: ${said}`, 'Look at the user, the password and the number of the database in REDIS_URL')
  return new Failure(exit.unavailable, 'redis_unavailable', `Redis does not answer: ${said}`, 'Look whether it runs and whether this machine may reach it: redis-cli -u "$REDIS_URL" ping')
}
