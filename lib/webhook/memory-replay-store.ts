import { configError, refuseUndefined } from '../errors.js'
import type { DeliveryState, DeliveryTry, ReplayStore } from './replay.js'

export interface MemoryReplayStoreOptions {
  /**
   * How many deliveries it remembers at most; about 300 bytes each. Default: 500 000, or 5 each second for a
   * day.
   */
  max?: number
  /** Milliseconds since the epoch. Default: Date.now. */
  clock?: () => number
}

/**
 * A replay store in this process's memory. It knows nothing of other processes and forgets all when it ends: a service that
 * runs twice, or restarts, needs a shared one.
 *
 * When it is full of deliveries that still count, it takes no new one (the answer is 503 and the sender tries
 * again): to make room by forgetting would let the forgotten ones in a second time, and nobody would notice.
 * An owner (a tenant, or a key) that holds a twentieth of `max` gets no more while the store is half full. So
 * one owner never holds more than half, and the other half has room for a twentieth of each of ten others.
 */
export class MemoryReplayStore implements ReplayStore {
  readonly #max: number
  /** How many deliveries an owner may hold whatever one other owner does. */
  readonly #share: number
  readonly #clock: () => number
  readonly #entries = new Map<string, Entry>()
  /** The keys by the slot in which they can be dropped, so that dropping looks at nothing that stays. */
  readonly #slots = new Map<number, Set<string>>()
  /** How many deliveries each owner holds. */
  readonly #held = new Map<string, number>()
  #swept: number

  constructor (options: MemoryReplayStoreOptions = {}) {
    const { max = 500_000, clock = Date.now, ...unknown } = options
    const [stray] = Object.keys(unknown)
    if (stray !== undefined) throw configError('option', `MemoryReplayStore has no option '${stray}'. It has max and clock`)
    refuseUndefined((name) => `MemoryReplayStore({ ${name} })`, options)
    if (!Number.isSafeInteger(max) || max < 1) throw configError('option', 'MemoryReplayStore({ max }) must be a whole number above 0')
    if (typeof clock !== 'function') throw configError('option', 'MemoryReplayStore({ clock }) must be a function that answers milliseconds')
    this.#max = max
    this.#share = Math.max(1, Math.floor(max / 20))
    this.#clock = clock
    this.#swept = slotBefore(this.#now())
  }

  /** How many deliveries are held. */
  get size (): number {
    return this.#entries.size
  }

  begin (attempt: DeliveryTry, lease: number): DeliveryState {
    const now = this.#sweep()
    const known = this.#entries.get(attempt.key)
    if (known !== undefined && known.until > now) {
      if (known.id === null) return 'done'
      if (known.id !== attempt.id) return 'in-progress'
    }
    this.#put(attempt, attempt.id, now, lease)
    return 'new'
  }

  finish (attempt: DeliveryTry, retention: number): void {
    this.#put(attempt, null, this.#sweep(), retention)
  }

  release ({ key, id }: DeliveryTry): void {
    if (this.#entries.get(key)?.id === id) this.#delete(key)
  }

  /** Remembers a key under a try, or as done, in the place of what was known of it. */
  #put ({ key, owner, id: tryId }: DeliveryTry, id: string | null, now: number, duration: number): void {
    // One that is over already would be in a slot that is never dropped.
    if (!(duration > 0 && duration < Infinity)) throw new TypeError('A delivery is remembered for a number of milliseconds above 0')
    // Number and length of what is held are what its bytes are bounded by.
    if (key.length > longest || tryId.length > longest || (owner?.length ?? 0) > longest) {
      throw new TypeError(`A key, a try and an owner have at most ${longest} characters`)
    }
    // What is known has its place already.
    if (!this.#entries.has(key)) this.#requireRoom(owner)
    this.#delete(key)
    const until = now + duration
    this.#entries.set(key, { id, owner, until })
    if (owner !== null) this.#held.set(owner, (this.#held.get(owner) ?? 0) + 1)
    const slot = slotAfter(until)
    const keys = this.#slots.get(slot)
    if (keys === undefined) this.#slots.set(slot, new Set([key]))
    else keys.add(key)
  }

  #requireRoom (owner: string | null): void {
    const free = this.#max - this.#entries.size
    if (free < 1) throw new Error('The replay store is full: raise max, or use a shared store')
    if (owner === null || (this.#held.get(owner) ?? 0) < this.#share || free > this.#max / 2) return
    throw new Error('This owner holds its share of the replay store, which is half full: raise max, or use a shared store')
  }

  #delete (key: string): void {
    const entry = this.#entries.get(key)
    if (entry === undefined) return
    const slot = slotAfter(entry.until)
    const keys = this.#slots.get(slot)
    keys?.delete(key)
    if (keys?.size === 0) this.#slots.delete(slot)
    this.#forget(key)
  }

  #forget (key: string): void {
    const { owner = null } = this.#entries.get(key) ?? {}
    this.#entries.delete(key)
    if (owner === null) return
    const left = (this.#held.get(owner) ?? 0) - 1
    if (left > 0) this.#held.set(owner, left)
    else this.#held.delete(owner)
  }

  /**
   * Drops the slots that are over and returns the time. Each slot is visited once, or none is when none was
   * filled.
   */
  #sweep (): number {
    const now = this.#now()
    const current = slotBefore(now)
    if (current - this.#swept > this.#slots.size) {
      for (const slot of this.#slots.keys()) if (slot <= current) this.#drop(slot)
    } else {
      for (let slot = this.#swept + 1; slot <= current; slot++) this.#drop(slot)
    }
    // Also backwards: when a clock is set back, what is remembered from then on must be swept too.
    this.#swept = current
    return now
  }

  #drop (slot: number): void {
    const keys = this.#slots.get(slot)
    if (keys === undefined) return
    this.#slots.delete(slot)
    for (const key of keys) this.#forget(key)
  }

  /** Every comparison with a time that is no number is false: a delivery would count as forgotten. */
  #now (): number {
    const now = this.#clock()
    if (!Number.isFinite(now)) throw new TypeError('The clock of the replay store returned no number')
    return now
  }
}

interface Entry {
  /** The try that handles it; null: it is done. */
  readonly id: string | null
  readonly owner: string | null
  /** Until when this counts. */
  readonly until: number
}

const longest = 64

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
