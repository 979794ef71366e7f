/** A limit on the time that a store may take. */
import { AuthError } from '../errors.js'
import type { Timers } from './settings.js'

/** Whether an answer comes later. Any thenable does: query builders are not always promises. */
export function isLater<T> (answer: T | PromiseLike<T>): answer is PromiseLike<T> {
  return typeof (answer as { then?: unknown } | null | undefined)?.then === 'function'
}

/**
 * The answer, or AUTH_STORE_UNAVAILABLE: it failed, or took more than so many seconds. The call itself is not
 * stopped, a store has no way to be told; what comes of it later is dropped here.
 */
export function withinTimeLimit<T> (later: PromiseLike<T>, seconds: number, timers: Timers): Promise<T> {
  return new Promise((resolve, reject) => {
    const timer = timers.setTimeout(() => { reject(new AuthError('AUTH_STORE_UNAVAILABLE', 'time-limit')) }, seconds * 1000)
    timer.unref()
    later.then((answer) => {
      timers.clearTimeout(timer)
      resolve(answer)
    }, (cause: unknown) => {
      timers.clearTimeout(timer)
      reject(storeUnavailable(cause))
    })
  })
}

/** Asks the store and waits for it no longer than so many seconds. */
export async function askStore<T> (call: () => T | PromiseLike<T>, seconds: number, timers: Timers): Promise<T> {
  let answer: T | PromiseLike<T>
  try {
    answer = call()
  } catch (cause) {
    throw storeUnavailable(cause)
  }
  return isLater(answer) ? await withinTimeLimit(answer, seconds, timers) : answer
}

/** The refusal for a store that failed with this cause: a 503, for nothing is known of the key. */
export function storeUnavailable (cause: unknown): AuthError {
  // It says already what is wrong with what the store returned.
  if (cause instanceof AuthError && cause.code === 'AUTH_STORE_UNAVAILABLE') return cause
  return new AuthError('AUTH_STORE_UNAVAILABLE', 'unreachable', { cause })
}
