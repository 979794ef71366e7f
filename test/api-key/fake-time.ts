import { randomBytes } from 'node:crypto'
import type { ApiKeyTools } from '../../lib/api-key/settings.js'

export interface FakeTime extends ApiKeyTools {
  now: number
  /** Lets time pass; timers that fall due run in order, each at its own time. */
  pass (milliseconds: number): void
  /** Timers that have not run. */
  waiting (): number
  /** Timers that would keep the process alive. */
  holding (): number
}

/** A clock and timers that stand still until told. */
export function fakeTime (start = Date.parse('2026-01-02T03:04:05.000Z')): FakeTime {
  const timers = new Set<{ at: number, callback: () => void, holds: boolean, unref: () => void }>()
  const time: FakeTime = {
    now: start,
    clock: () => time.now,
    randomBytes,
    timers: {
      setTimeout (callback, milliseconds) {
        const timer = { at: time.now + milliseconds, callback, holds: true, unref () { timer.holds = false } }
        timers.add(timer)
        return timer
      },
      clearTimeout (timer) { timers.delete(timer as never) }
    },
    pass (milliseconds) {
      const end = time.now + milliseconds
      for (;;) {
        const due = [...timers].filter(({ at }) => at <= end).sort((one, other) => one.at - other.at)
        if (due.length === 0) break
        for (const timer of due) {
          if (!timers.delete(timer)) continue
          time.now = Math.max(time.now, timer.at)
          timer.callback()
        }
      }
      time.now = end
    },
    waiting: () => timers.size,
    holding: () => [...timers].filter(({ holds }) => holds).length
  }
  return time
}

/** Lets every promise that can settle without time passing settle. */
export async function settle (): Promise<void> {
  await new Promise((resolve) => setImmediate(resolve))
}
