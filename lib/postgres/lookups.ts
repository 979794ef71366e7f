/**
 * Look-ups by digest, which anyone can cause with an invented key. They never take all connections of the pool: one is left for
 * changes of keys and for probes, and those that are not known here take no more than half.
 */
import type { Ask, PostgresPool } from './database.js'

export type LookUp = <Row>(text: string, values: unknown[], isKnown: boolean) => Promise<Row[]>

interface Waiting {
  readonly since: number
  start (): Promise<void>
  reject (error: Error): void
}

/** What pg's Pool allows where nothing is said. */
const usualSize = 10
// Those who wait here have been told 503 by their own time limit.
const maxWaiting = 1000

export function createLookups (ask: Ask, connections: number, timeLimit: number, monotonic: () => number): LookUp {
  const most = Math.max(1, connections - 1)
  const mostUnknown = Math.max(1, Math.floor(connections / 2))
  const waiting = { known: [] as Waiting[], unknown: [] as Waiting[] }
  /** What runs, oldest first, and since when. */
  const running = new Map<Waiting, { since: number, isKnown: boolean }>()
  let unknown = 0

  function end (one: Waiting): void {
    const run = running.get(one)
    if (run === undefined) return
    running.delete(one)
    if (!run.isKnown) unknown--
  }

  function startNext (): void {
    const now = monotonic()
    // A call that hangs keeps a connection from others, but not for ever: the pool may have given up on it, too.
    for (const [one, { since }] of running) {
      if (now - since < 2 * timeLimit) break
      end(one)
    }
    while (running.size < most) {
      const isKnown = waiting.known.length > 0
      const next = isKnown ? waiting.known.shift() : unknown < mostUnknown ? waiting.unknown.shift() : undefined
      if (next === undefined) return
      if (now - next.since >= timeLimit) {
        next.reject(new Error(`No connection of the pool was free within ${timeLimit} ms`))
        continue
      }
      running.set(next, { since: now, isKnown })
      if (!isKnown) unknown++
      const over = (): void => {
        end(next)
        startNext()
      }
      next.start().then(over, over)
    }
  }

  return (text, values, isKnown) => new Promise((resolve, reject) => {
    const line = isKnown ? waiting.known : waiting.unknown
    if (line.length >= maxWaiting) throw new Error(`${maxWaiting} look-ups wait for a connection of the pool`)
    line.push({
      since: monotonic(),
      start: () => ask(text, values).then(resolve as (rows: unknown[]) => void, reject),
      reject
    })
    startNext()
  })
}

/** How many connections a pool may have, as far as it says so. `fastify.pg` has its pool as a member. */
export function poolSize (pool: PostgresPool): number {
  const { options, pool: inner } = pool as { options?: { max?: unknown }, pool?: { options?: { max?: unknown } } }
  const max = options?.max ?? inner?.options?.max
  return Number.isInteger(max) && (max as number) > 0 ? max as number : usualSize
}
