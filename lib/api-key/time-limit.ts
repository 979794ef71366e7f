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
    const timer = timers.setTimeout(() => { reject(new AuthError('AUTH_STORE_UNAVAILABLE', 'time-limit', { detail: `the API key store: no answer within ${seconds * 1000} ms` })) }, seconds * 1000)
    timer.unref()
    const failed = (cause: unknown): void => {
      timers.clearTimeout(timer)
      reject(storeUnavailable(cause))
    }
    try {
      later.then((answer) => {
        timers.clearTimeout(timer)
        resolve(answer)
      }, failed)
    } catch (cause) {
      // The `then` of a query builder is code of the store.
      failed(cause)
    }
  })
}

/** Asks the store and waits for it no longer than so many seconds. */
export async function askStore<T> (call: () => T | PromiseLike<T>, seconds: number, timers: Timers): Promise<T> {
  let answer: T | PromiseLike<T>
  try {
    answer = call()
    if (!isLater(answer)) return answer
  } catch (cause) {
    throw storeUnavailable(cause)
  }
  return await withinTimeLimit(answer, seconds, timers)
}

/** The refusal for a store that failed with this cause: a 503, for nothing is known of the key. */
export function storeUnavailable (cause: unknown): AuthError {
  try {
    // It says already what is wrong with what the store returned.
    if (cause instanceof AuthError && cause.code === 'AUTH_STORE_UNAVAILABLE') return cause
  } catch { /* A revoked proxy, which throws when it is looked at. */ }
  return new AuthError('AUTH_STORE_UNAVAILABLE', 'unreachable', { cause, detail: 'the API key store: it failed' })
}
