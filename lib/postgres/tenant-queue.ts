/**
 * Calls that manage keys, queued by tenant before they take a connection. They never take more than half of
 * the pool, so that look-ups and the probe of the channel find a connection whatever a tenant sends and
 * whatever lock it waits for.
 */
import { AuthError } from '../errors.js'
import type { Timers } from '../webhook/time-limit.js'

/**
 * `change`: a transaction under the tenant's lock, one at a time: a second one would only hold a connection
 * while it waits for the first. `revocation`: not behind the tenant's changes. Of these and of `reading` a
 * quarter of the pool each may run.
 */
export type CallKind = 'change' | 'revocation' | 'reading'

/**
 * Runs a call when its turn comes: tenants take turns, and the calls of one kind of a tenant run in their
 * order. `seconds`: what is left of the time limit. A call that has waited for three quarters of it, or finds
 * too many waiting, is rejected with AUTH_STORE_UNAVAILABLE and never runs.
 */
export type TenantQueue =
  <T>(tenantId: string, kind: CallKind, run: (seconds: number) => Promise<T>) => Promise<T>

interface Call {
  readonly since: number
  readonly timer: unknown
  start (seconds: number): Promise<unknown>
  reject (error: AuthError): void
}

/** The calls of one kind of one tenant. */
interface Line {
  readonly name: string
  /** How many of them may run at once. */
  readonly most: number
  readonly waiting: Call[]
  running: number
}

// Of all tenants. One line may be as long as what is left: half of it if it is alone.
const maxWaiting = 1000

/** `timeLimit` in milliseconds, from when a call is made to when it is over. */
export function createTenantQueue (
  connections: number,
  timeLimit: number,
  { monotonic, timers }: { monotonic: () => number, timers: Timers }
): TenantQueue {
  const most = Math.max(1, Math.floor(connections / 2))
  const quarter = Math.max(1, Math.floor(connections / 4))
  const mostOf = { change: 1, revocation: quarter, reading: quarter }
  // The rest is for the call itself: started at the end of its time it would fail, and close its connection.
  const waitLimit = timeLimit * 0.75
  const lines = new Map<string, Line>()
  /** Lines of which a call could run, in the order of their turns. */
  const turns = new Set<Line>()
  /** What runs, oldest first, and since when. */
  const running = new Map<Call, { line: Line, since: number }>()
  let waiting = 0

  function lineOf (tenantId: string, kind: CallKind): Line {
    const name = `${kind} ${tenantId}`
    const line = lines.get(name) ?? { name, most: mostOf[kind], waiting: [], running: 0 }
    lines.set(name, line)
    return line
  }

  /** Puts a line at the end of the turns, unless it is there, nothing waits in it or enough of it runs. */
  function takeTurn (line: Line): void {
    if (line.waiting.length > 0 && line.running < line.most) turns.add(line)
    else turns.delete(line)
    if (line.waiting.length === 0 && line.running === 0) lines.delete(line.name)
  }

  function end (call: Call): void {
    const run = running.get(call)
    if (run === undefined) return
    running.delete(call)
    run.line.running--
    takeTurn(run.line)
  }

  function startNext (): void {
    const now = monotonic()
    // A driver without a time limit: its call keeps a place from others, but not for ever.
    for (const [call, { since }] of running) {
      if (now - since < 2 * timeLimit) break
      end(call)
    }
    for (const line of turns) {
      if (running.size >= most) return
      turns.delete(line)
      const call = line.waiting.shift() as Call
      waiting--
      timers.clearTimeout(call.timer as never)
      const waited = now - call.since
      if (waited >= waitLimit) {
        call.reject(busy())
        takeTurn(line)
        continue
      }
      line.running++
      running.set(call, { line, since: now })
      takeTurn(line)
      const over = (): void => {
        end(call)
        startNext()
      }
      call.start((timeLimit - waited) / 1000).then(over, over)
    }
  }

  function giveUp (line: Line, call: Call): void {
    const place = line.waiting.indexOf(call)
    if (place === -1) return
    line.waiting.splice(place, 1)
    waiting--
    takeTurn(line)
    call.reject(busy())
  }

  return (tenantId, kind, run) => new Promise((resolve, reject) => {
    const line = lineOf(tenantId, kind)
    if (line.waiting.length >= maxWaiting - waiting) {
      takeTurn(line)
      throw busy()
    }
    const timer = timers.setTimeout(() => { giveUp(line, call) }, waitLimit)
    ;(timer as { unref?: () => void } | null)?.unref?.()
    const call: Call = {
      since: monotonic(),
      timer,
      start (seconds) {
        const answer = (async () => run(seconds))()
        resolve(answer)
        return answer
      },
      reject
    }
    line.waiting.push(call)
    waiting++
    takeTurn(line)
    startNext()
  })
}

function busy (): AuthError {
  const cause = new Error('Too many calls that manage keys wait for a connection of the pool')
  return new AuthError('AUTH_STORE_UNAVAILABLE', 'rejected', { retryAfter: 1, cause, detail: 'the API key store: too many calls that manage keys wait for a connection' })
}
