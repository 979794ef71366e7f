/** The memory of deliveries that were received, so that each counts once. */
import { hash } from 'node:crypto'
import { AuthError } from '../errors.js'
import { isPromiseLike, TimeLimitError, withinTimeLimit, type Timers } from './time-limit.js'

/**
 * Where deliveries are remembered. Of two callers that remember one key at the same time, in one process or in two,
 * exactly one is told that it is new: write it so that asking and storing are one step.
 * A key is 43 characters of base64url and tells nothing of the delivery.
 */
export interface ReplayStore {
  /**
   * Remembers a key until a time (milliseconds since the epoch) and answers whether it is new: true the first time, false while it
   * is remembered. Throws or rejects when it cannot tell. An answer that takes longer than 2 seconds counts as none.
   */
  remember (key: string, until: number): boolean | Promise<boolean>
  /** Forgets a key, so that the delivery may come again. An unknown key is no fault. */
  forget (key: string): void | Promise<void>
}

/** A delivery that is now remembered. */
export interface Remembered {
  /**
   * Lets the delivery come again: for one whose handler failed. Only the first call counts. It never throws or rejects; what
   * went wrong is its answer, for the log, and then the delivery stays remembered.
   */
  forget (): AuthError | null | Promise<AuthError | null>
}

/**
 * Remembers a delivery. Throws AUTH_DELIVERY_REPLAYED when it was received before and AUTH_STORE_UNAVAILABLE when the store
 * cannot tell: what cannot be decided is refused.
 */
export function rememberDelivery (store: ReplayStore, key: string, until: number, timers: Timers): Remembered | Promise<Remembered> {
  let answer
  try {
    answer = store.remember(key, until)
  } catch (error) {
    throw unavailable(error)
  }
  if (!isPromiseLike(answer)) return remembered(answer, store, key, timers)
  // What is remembered too late was refused with 503 and will be sent again: it must not meet its own shadow.
  const late = (isNew: boolean): unknown => isNew === true ? forgetOnce(store, key, timers)() : null
  return withinTimeLimit(answer, timeLimit, timers, late).then((isNew) => remembered(isNew, store, key, timers), (error: unknown) => { throw unavailable(error) })
}

/**
 * The key of a delivery: a digest of everything that tells it from others, each part with its own border, so that two schemes, sources
 * or tenants never share one.
 */
export function replayKey (...parts: ReadonlyArray<string | null>): string {
  return hash('sha256', JSON.stringify(parts), 'base64url')
}

const timeLimit = 2000

function remembered (isNew: boolean, store: ReplayStore, key: string, timers: Timers): Remembered {
  if (isNew === true) return { forget: forgetOnce(store, key, timers) }
  if (isNew === false) throw new AuthError('AUTH_DELIVERY_REPLAYED', 'replayed')
  throw new AuthError('AUTH_STORE_UNAVAILABLE', 'rejected', { cause: new TypeError('The replay store answered neither true nor false') })
}

function forgetOnce (store: ReplayStore, key: string, timers: Timers): Remembered['forget'] {
  // A second call could release the delivery that was sent again meanwhile and is being handled.
  let done = false
  return () => {
    if (done) return null
    done = true
    try {
      const answer = store.forget(key)
      if (!isPromiseLike(answer)) return null
      return withinTimeLimit(answer, timeLimit, timers).then(() => null, unavailable)
    } catch (error) {
      return unavailable(error)
    }
  }
}

function unavailable (cause: unknown): AuthError {
  return new AuthError('AUTH_STORE_UNAVAILABLE', cause instanceof TimeLimitError ? 'time-limit' : 'unreachable', { cause })
}
