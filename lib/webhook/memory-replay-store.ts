import { configError } from '../errors.js'
import type { ReplayStore } from './replay.js'

export interface MemoryReplayStoreOptions {
  /** How many deliveries it remembers at most; about 150 bytes each. Default: 500 000, or 5 each second for a day. */
  max?: number
  /** Milliseconds since the epoch. Default: Date.now. */
  clock?: () => number
}

/**
 * A replay store in this process's memory. It knows nothing of other processes and forgets all when it ends: a service that
 * runs twice, or restarts, wants a shared one.
 *
 * When it is full of deliveries that still count, it takes no new one (the answer is 503 and the sender tries again): to make room
 * by forgetting would let the forgotten ones in a second time, and nobody would notice.
 */
export class MemoryReplayStore implements ReplayStore {
  readonly #max: number
  readonly #clock: () => number
  /** Each key with the time until which it counts. */
  readonly #until = new Map<string, number>()
  /** The keys by the slot in which they can be dropped, so that dropping looks at nothing that stays. */
  readonly #slots = new Map<number, Set<string>>()
  #swept: number

  constructor ({ max = 500_000, clock = Date.now }: MemoryReplayStoreOptions = {}) {
    if (!Number.isSafeInteger(max) || max < 1) throw configError('option', 'MemoryReplayStore({ max }) must be a whole number above 0')
    if (typeof clock !== 'function') throw configError('option', 'MemoryReplayStore({ clock }) must be a function that answers milliseconds')
    this.#max = max
    this.#clock = clock
    this.#swept = slotBefore(clock())
  }

  /** How many keys are held. */
  get size (): number {
    return this.#until.size
  }

  remember (key: string, until: number): boolean {
    const now = this.#clock()
    this.#sweep(now)
    const known = this.#until.get(key)
    if (known !== undefined && known > now) return false
    if (known !== undefined) this.forget(key)
    // Past already: no slot that is still to come would ever drop it.
    if (until <= now) return true
    if (this.#until.size >= this.#max) throw new Error('The replay store is full: raise max, or use a shared store')
    this.#until.set(key, until)
    const slot = slotAfter(until)
    const keys = this.#slots.get(slot)
    if (keys === undefined) this.#slots.set(slot, new Set([key]))
    else keys.add(key)
    return true
  }

  forget (key: string): void {
    const until = this.#until.get(key)
    if (until === undefined) return
    this.#until.delete(key)
    const slot = slotAfter(until)
    const keys = this.#slots.get(slot)
    keys?.delete(key)
    if (keys?.size === 0) this.#slots.delete(slot)
  }

  /** Drops the slots that lie behind us. Each slot is visited once, or none is when none was filled. */
  #sweep (now: number): void {
    const current = slotBefore(now)
    if (current - this.#swept > this.#slots.size) {
      for (const slot of this.#slots.keys()) if (slot <= current) this.#drop(slot)
    } else {
      for (let slot = this.#swept + 1; slot <= current; slot++) this.#drop(slot)
    }
    // Also backwards: when a clock is set back, what is remembered from then on must be swept too.
    this.#swept = current
  }

  #drop (slot: number): void {
    const keys = this.#slots.get(slot)
    if (keys === undefined) return
    this.#slots.delete(slot)
    for (const key of keys) this.#until.delete(key)
  }
}

// Seconds are fine enough to give room back and coarse enough to have few of: a day's are 86 400.
const slotLength = 1000

/** The last slot that is over at a time. */
function slotBefore (time: number): number {
  return Math.floor(time / slotLength)
}

/** The slot at whose end a time is past. */
function slotAfter (time: number): number {
  return Math.ceil(time / slotLength)
}
