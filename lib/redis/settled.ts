/** Calls to a server that may be down: a limit on their time, and on how many wait. */
import { createShares } from '../api-key/shares.js'
import { withinTimeLimit, type Timers } from '../webhook/time-limit.js'

// Drivers keep what they cannot send for when the server is back. Beyond this nothing more is added to that.
const maxUnsettled = 1000

/**
 * Makes a call and waits for it so many seconds at most. The call itself is not stopped: `late` receives what
 * it answers after that. Of the calls that wait an owner, such as a tenant, may have as many as are left
 * free; null: not one of several.
 */
export function createCaller (seconds: number, timers: Timers) {
  const shares = createShares(maxUnsettled)
  return async function call<T> (
    make: () => Promise<T>,
    late?: (value: T) => unknown,
    owner: string | null = null
  ): Promise<T> {
    if (!shares.take(owner)) {
      throw new Error(owner === null
        ? `Redis has left ${maxUnsettled} calls without an answer`
        : `Redis has left as many of ${maxUnsettled} calls without an answer as this owner may have`)
    }
    const settled = (): void => { shares.giveBack(owner) }
    let answer: Promise<T>
    try {
      answer = make()
    } catch (error) {
      settled()
      throw error
    }
    answer.then(settled, settled)
    return withinTimeLimit(answer, seconds * 1000, timers, late)
  }
}
