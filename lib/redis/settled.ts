/** Calls to a server that may be down: a limit on their time, and on how many wait. */
import { withinTimeLimit, type Timers } from '../webhook/time-limit.js'

// Drivers keep what they cannot send for when the server is back. Beyond this nothing more is added to that.
const maxUnsettled = 1000

/**
 * Makes a call and waits for it so many seconds at most. The call itself is not stopped: `late` receives what it answers
 * after that.
 */
export function createCaller (seconds: number, timers: Timers) {
  let unsettled = 0
  return async function call<T> (make: () => Promise<T>, late?: (value: T) => unknown): Promise<T> {
    if (unsettled >= maxUnsettled) throw new Error(`Redis has left ${maxUnsettled} calls without an answer`)
    const answer = make()
    unsettled++
    const settled = (): void => { unsettled-- }
    answer.then(settled, settled)
    return withinTimeLimit(answer, seconds * 1000, timers, late)
  }
}
