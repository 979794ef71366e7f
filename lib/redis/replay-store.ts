/** Deliveries remembered in Redis, by any number of processes. */
import { configError } from '../errors.js'
import type { Timers } from '../webhook/time-limit.js'
import type { ReplayStore } from '../webhook/replay.js'
import { redisDriver, type RedisClient, type RedisDriver } from './driver.js'
import { createCaller } from './settled.js'
import { checkOptions, isSeconds, isText, isFunction, isTimers } from './options.js'

export interface RedisReplayStoreOptions {
  /** A client of `ioredis`, `iovalkey` or `redis`, connected or connecting. It is not ended by this store. */
  client: RedisClient
  /** What the keys in Redis begin with. Default: 'causeflow-auth:delivery:'. */
  prefix?: string
  /** Seconds that a call may take. Default: 1. */
  timeLimit?: number
  /** Milliseconds since the epoch. Default: Date.now. */
  clock?: () => number
  /** Default: those of the platform. */
  timers?: Timers
}

/**
 * Each delivery is one key that Redis sets if it is not there and drops when its time is past. Only durations are sent, so
 * that Redis may have another time of day than the processes have.
 *
 * A Redis that evicts keys to make room (any `maxmemory-policy` but `noeviction`) forgets deliveries before their time, and one
 * that restarts without persistence forgets them all.
 */
export class RedisReplayStore implements ReplayStore {
  readonly #driver: RedisDriver
  readonly #prefix: string
  readonly #clock: () => number
  readonly #call: ReturnType<typeof createCaller>

  constructor (options: RedisReplayStoreOptions) {
    checkOptions('RedisReplayStore', options, { client: null, prefix: isText, timeLimit: isSeconds, clock: isFunction, timers: isTimers })
    const { client, prefix = 'causeflow-auth:delivery:', timeLimit = 1, clock = Date.now, timers = globalThis as unknown as Timers } = options
    this.#driver = redisDriver(client, 'RedisReplayStore')
    this.#prefix = prefix
    this.#clock = clock
    this.#call = createCaller(timeLimit, timers)
  }

  async remember (key: string, until: number): Promise<boolean> {
    const left = Math.ceil(until - this.#clock())
    if (Number.isNaN(left)) throw configError('option', 'RedisReplayStore: the clock answers no number')
    // Past already: Redis refuses a duration that is not positive.
    if (left <= 0) return true
    const name = this.#prefix + key
    const set = (): Promise<unknown> => this.#driver.command('SET', name, '1', 'PX', `${Math.min(left, Number.MAX_SAFE_INTEGER)}`, 'NX')
    // What is stored too late was refused with 503 and comes again: it must not meet its own shadow.
    const answer = await this.#call(set, (late) => { if (isOk(late)) this.forget(key).catch(() => {}) })
    if (answer !== null && !isOk(answer)) throw new TypeError('Redis answered SET with something else than OK or nothing')
    return answer !== null
  }

  async forget (key: string): Promise<void> {
    await this.#call(() => this.#driver.command('DEL', this.#prefix + key))
  }
}

function isOk (answer: unknown): boolean {
  return String(answer) === 'OK'
}
