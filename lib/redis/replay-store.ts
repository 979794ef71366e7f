/** Deliveries remembered in Redis, by any number of processes. */
import type { Timers } from '../webhook/time-limit.js'
import type { DeliveryState, DeliveryTry, ReplayStore } from '../webhook/replay.js'
import { redisDriver, type RedisClient, type RedisDriver } from './driver.js'
import { createCaller } from './settled.js'
import { checkOptions, isSeconds, isText, isTimers } from './options.js'

export interface RedisReplayStoreOptions {
  /** A client of `ioredis`, `iovalkey` or `redis`, connected or connecting. It is not ended by this store. */
  client: RedisClient
  /** What the keys in Redis begin with. Default: 'causeflow-auth:delivery:'. */
  prefix?: string
  /** Seconds that a call may take. Default: 1. */
  timeLimit?: number
  /** Default: those of the platform. */
  timers?: Timers
}

/**
 * Each delivery is one key in Redis: the try that handles it for as long as its lease, then `done` for as
 * long as it is remembered. Only durations are sent, so that Redis may have another time of day than the
 * processes have.
 *
 * A Redis that evicts keys to make room (any `maxmemory-policy` but `noeviction`) forgets deliveries before their time, and one
 * that restarts without persistence forgets them all.
 */
export class RedisReplayStore implements ReplayStore {
  readonly #driver: RedisDriver
  readonly #prefix: string
  readonly #begin: ReturnType<typeof createCaller>
  /**
   * Of their own: a thousand tries that wait for a Redis that hangs must not keep the end of any of them from
   * being sent.
   */
  readonly #end: ReturnType<typeof createCaller>
  /** The tries that hold their delivery: a late answer to the extension of a lease must not free it. */
  readonly #holding = new WeakSet<DeliveryTry>()

  constructor (options: RedisReplayStoreOptions) {
    checkOptions('RedisReplayStore', options, { client: null, prefix: isText, timeLimit: isSeconds, timers: isTimers })
    const { client, prefix = 'causeflow-auth:delivery:', timeLimit = 1, timers = globalThis as unknown as Timers } = options
    this.#driver = redisDriver(client, 'RedisReplayStore')
    this.#prefix = prefix
    this.#begin = createCaller(timeLimit, timers)
    this.#end = createCaller(timeLimit, timers)
  }

  async begin (attempt: DeliveryTry, lease: number): Promise<DeliveryState> {
    const words = ['EVAL', beginScript, '1', this.#prefix + attempt.key, attempt.id, milliseconds(lease)]
    // What is stored after the time limit was answered 503, and nobody handles it.
    const answer = await this.#begin(() => this.#driver.command(...words), (late) => {
      if (textOf(late) === attempt.id && !this.#holding.has(attempt)) this.release(attempt).catch(() => {})
    }, attempt.owner)
    const holder = textOf(answer)
    if (holder === attempt.id) {
      this.#holding.add(attempt)
      return 'new'
    }
    return holder === done ? 'done' : 'in-progress'
  }

  async finish ({ key, owner }: DeliveryTry, retention: number): Promise<void> {
    const words = ['SET', this.#prefix + key, done, 'PX', milliseconds(retention)]
    const answer = await this.#end(() => this.#driver.command(...words), undefined, owner)
    if (textOf(answer) !== 'OK') throw new TypeError('Redis answered SET with something else than OK')
  }

  async release ({ key, id, owner }: DeliveryTry): Promise<void> {
    const words = ['EVAL', releaseScript, '1', this.#prefix + key, id]
    await this.#end(() => this.#driver.command(...words), undefined, owner)
  }
}

/** No try has this id: theirs are 16 characters. */
const done = 'done'

// One step each. A driver may send a command a second time when the first answer was lost with its
// connection: the try that meets itself is told that the delivery is its own.
const beginScript = `local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then return holder end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return ARGV[1]`

const releaseScript = `if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0`

/** A duration as Redis takes it: whole, and above 0. */
function milliseconds (duration: number): string {
  const whole = Math.ceil(duration)
  if (!(whole > 0)) throw new TypeError('A delivery is remembered for a number of milliseconds above 0')
  return `${Math.min(whole, Number.MAX_SAFE_INTEGER)}`
}

/** The text of an answer. A driver that was asked for buffers gives bytes. */
function textOf (answer: unknown): string {
  if (typeof answer === 'string' && answer !== '') return answer
  if (answer instanceof Uint8Array && answer.length > 0) return Buffer.from(answer).toString()
  throw new TypeError('Redis answered with something else than a text')
}
