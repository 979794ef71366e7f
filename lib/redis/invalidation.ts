/** Changes told by publish and subscribe, for a store that does not tell of them by itself. */
import { randomBytes } from 'node:crypto'
import { createChannel, type ClosableChannel } from '../api-key/channel.js'
import type { KeyChange } from '../api-key/invalidation.js'
import type { Timers } from '../api-key/settings.js'
import { redisDriver, type RedisClient } from './driver.js'
import { checkOptions, isFunction, isSeconds, isText, isTimers } from './options.js'
import { createCaller } from './settled.js'

export interface RedisInvalidationOptions {
  /**
   * A client of `ioredis`, `iovalkey` or `redis`, connected or connecting. Changes are published on it; they are received on a
   * duplicate, which this makes and ends. The client itself is not ended.
   */
  client: RedisClient
  /** Where changes are published: one for each store. Default: 'causeflow-auth:api-key'. */
  channel?: string
  /** Seconds that a publication may take. Default: 1. */
  timeLimit?: number
  /** Milliseconds since the epoch. Default: Date.now. */
  clock?: () => number
  /** Default: those of the platform. */
  timers?: Timers
}

/** A channel that publishes. */
export interface RedisInvalidation extends ClosableChannel {
  publish (changes: readonly KeyChange[]): Promise<void>
}

/**
 * A channel over one Redis server, with or without Sentinel. Over Redis Cluster it is not to be used: what was published at one node
 * may overtake what was published at another, and then an echo is no proof.
 *
 * Only changes made by `causeflowAuth.apiKeys` are told, and what your own code publishes; a row that was changed by hand is not.
 */
export function redisInvalidation (options: RedisInvalidationOptions): RedisInvalidation {
  checkOptions('redisInvalidation', options, { client: null, channel: isText, timeLimit: isSeconds, clock: isFunction, timers: isTimers })
  const { client, channel = 'causeflow-auth:api-key', timeLimit = 1, clock = Date.now, timers = globalThis as unknown as Timers } = options
  const driver = redisDriver(client, 'redisInvalidation')
  const call = createCaller(timeLimit, timers)
  // Of this process alone, so that nobody is woken by the echoes of the others.
  const echoChannel = `${channel}:echo:${randomBytes(8).toString('hex')}`

  const inner = createChannel({
    async open ({ changes, echo, lost }, signal) {
      const end = await driver.subscribe([channel, echoChannel], {
        message (from, text) {
          if (from === channel) changes(text)
          else if (from === echoChannel) echo(text)
        },
        lost
      }, signal)
      // On the way that changes take, and with a budget of its own: the calls of `publish` are not counted against it.
      return { end, send: (text) => driver.command('PUBLISH', echoChannel, text) }
    }
  }, { clock, monotonic: () => performance.now(), timers, randomBytes, random: Math.random })

  return {
    get healthy () { return inner.healthy },
    subscribe: inner.subscribe,
    close: inner.close,
    async publish (changes) {
      await call(() => driver.command('PUBLISH', channel, JSON.stringify(changes)))
    }
  }
}
