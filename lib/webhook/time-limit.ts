/** Time limits for secret resolvers, stores and checks. */
import { AuthError } from '../errors.js'

/** The two functions of a clock that can ring. Node's own, or a test's. */
export interface Timers {
  setTimeout (callback: () => void, milliseconds: number): unknown
  clearTimeout (timer: never): void
}

/** Seconds that a timer can wait. One that is set for longer than 2³¹ − 1 ms fires at once. */
export const longestTimer = 2_147_483

/** What came too late. Its message names no credential. */
export class TimeLimitError extends Error {}

/**
 * The answer, or a TimeLimitError when it takes longer than the limit. The work itself is not stopped: `late` receives what it
 * still answers, and a late failure is dropped, one of `late` as well. The timer keeps no process alive.
 */
export function withinTimeLimit<T> (answer: PromiseLike<T>, milliseconds: number, timers: Timers, late?: (value: T) => unknown): Promise<T> {
  return new Promise<T>((resolve, reject) => {
    let passed = false
    const timer = timers.setTimeout(() => {
      passed = true
      reject(new TimeLimitError(`No answer within ${milliseconds} ms`))
    }, milliseconds)
    ;(timer as { unref?: () => void } | null)?.unref?.()
    answer.then((value) => {
      timers.clearTimeout(timer as never)
      if (passed) handOver(value, late)
      else resolve(value)
    }, (error: unknown) => {
      timers.clearTimeout(timer as never)
      reject(error)
    })
  })
}

/** Nobody waits for what `late` throws or rejects with: unhandled, it would end the process. */
function handOver<T> (value: T, late: ((value: T) => unknown) | undefined): void {
  try {
    const done = late?.(value)
    if (isPromiseLike(done)) done.then(undefined, () => {})
  } catch {
    // The same.
  }
}

/**
 * The time of a clock in milliseconds; NaN when it returns anything but a number, so that every comparison
 * with it is false.
 */
export function timeOf (clock: () => number): number {
  const now: unknown = clock()
  return typeof now === 'number' ? now : NaN
}

/** The 503 of a part that failed or did not answer in time. `party` names it in the log. */
export function failureOf (party: string, cause: unknown): AuthError {
  if (isTimeLimit(cause)) return new AuthError('AUTH_STORE_UNAVAILABLE', 'time-limit', { cause, detail: `${party}: ${cause.message.toLowerCase()}` })
  return new AuthError('AUTH_STORE_UNAVAILABLE', 'unreachable', { cause, detail: `${party}: it failed` })
}

function isTimeLimit (cause: unknown): cause is TimeLimitError {
  try {
    return cause instanceof TimeLimitError
  } catch {
    // A revoked proxy throws when it is looked at.
    return false
  }
}

/** Whether a value is a promise or acts like one. */
export function isPromiseLike<T> (value: T | PromiseLike<T>): value is PromiseLike<T> {
  return typeof value === 'object' && value !== null && typeof (value as { then?: unknown }).then === 'function'
}
