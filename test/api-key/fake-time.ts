import { randomBytes } from 'node:crypto'
import type { ApiKeyTools } from '../../lib/api-key/settings.js'

export interface FakeTime extends ApiKeyTools {
  now: number
  /** Lets time pass; timers that fall due run in order, each at its own time. */
  pass (milliseconds: number): void
  /** Timers that have not run. */
  waiting (): number
}

/** A clock and timers that stand still until told. */
export function fakeTime (start = Date.parse('2026-01-02T03:04:05.000Z')): FakeTime {
  const timers = new Set<{ at: number, callback: () => void, unref: () => void }>()
  const time: FakeTime = {
    now: start,
    clock: () => time.now,
    randomBytes,
    timers: {
      setTimeout (callback, milliseconds) {
        const timer = { at: time.now + milliseconds, callback, unref () {} }
        timers.add(timer)
        return timer
      },
      clearTimeout (timer) { timers.delete(timer as never) }
    },
    pass (milliseconds) {
      const end = time.now + milliseconds
      for (;;) {
        let next: { at: number, callback: () => void } | null = null
        for (const timer of timers) if (timer.at <= end && (next === null || timer.at < next.at)) next = timer
        if (next === null) break
        timers.delete(next as never)
        time.now = next.at
        next.callback()
      }
      time.now = end
    },
    waiting: () => timers.size
  }
  return time
}

/** Lets every promise that can settle without time passing settle. */
export async function settle (): Promise<void> {
  await new Promise((resolve) => setImmediate(resolve))
}
