/** When keys were last used, written to the store now and then: a request never waits for it. */
import { eventTime, publishKeyEvent } from './key-event.js'
import type { ApiKeySettings, ApiKeyTools, Timer } from './settings.js'
import { askStore } from './time-limit.js'

/** Milliseconds by which the time of a last use may be behind. */
export const lastUsePrecision = 60_000
const maxPending = 1000

export interface LastUse {
  /** Notes a use. Ask no more often than every lastUsePrecision for one key. */
  note (keyId: string, now: number): void
  /** Writes what is noted and stops. Never rejects: a time that could not be written is lost, and nothing else is. */
  close (): Promise<void>
}

export function createLastUse ({ store, timeLimit }: Pick<ApiKeySettings, 'store' | 'timeLimit'>, { clock, timers }: Pick<ApiKeyTools, 'clock' | 'timers'>): LastUse {
  let pending = new Map<string, number>()
  let timer: Timer | null = null
  let closed = false

  async function write (): Promise<void> {
    if (timer !== null) timers.clearTimeout(timer)
    timer = null
    if (pending.size === 0) return
    const uses = Array.from(pending, ([keyId, at]) => ({ keyId, usedAt: eventTime(at) }))
    pending = new Map()
    await askStore(() => store.touch(uses), timeLimit, timers)
  }

  // Nothing awaits this, so it must not throw.
  function lost (cause: unknown): void {
    let now = NaN
    try {
      now = clock()
    } catch {}
    publishKeyEvent({ event: 'last-use-lost', at: eventTime(now), cause })
  }

  return {
    note (keyId, now) {
      if (closed) return
      pending.set(keyId, now)
      if (pending.size >= maxPending) {
        write().catch(lost)
      } else if (timer === null) {
        timer = timers.setTimeout(() => { write().catch(lost) }, lastUsePrecision)
        timer.unref()
      }
    },
    close () {
      closed = true
      return write().catch(lost)
    }
  }
}
