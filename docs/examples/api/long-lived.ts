/**
 * Streams and sockets that go on after their request was let in. A rule is decided once, at the beginning: what ends them when the
 * token expires, or when somebody is shut out, has to be said here.
 */
import type { JwtPrincipal } from '../../../lib/index.js'
import type { Settings } from './settings.js'

type End = (reason: 'expired' | 'revoked' | 'closing') => void
type Forget = () => void

/** What setTimeout can wait for; with more it would not wait at all. */
const longestWait = 2 ** 31 - 1

export class LongLived {
  readonly #open = new Map<object, { principal: JwtPrincipal, end: End, forget: Forget }>()
  readonly #clock: Settings['clock']
  readonly #schedule: Settings['schedule']

  constructor ({ clock, schedule }: Pick<Settings, 'clock' | 'schedule'>) {
    this.#clock = clock
    this.#schedule = schedule
  }

  get size (): number {
    return this.#open.size
  }

  /** Calls `end` once, when the principal's token expires or `endWhere` says so. Call the answer when it has ended by itself. */
  begin (principal: JwtPrincipal, end: End): Forget {
    const key = {}
    let cancel: Forget = () => {}
    const forget = (): void => {
      cancel()
      this.#open.delete(key)
    }
    this.#open.set(key, { principal, end, forget })
    const wait = (): void => {
      const remaining = principal.expiresAt * 1000 - this.#clock()
      if (remaining > 0) {
        cancel = this.#schedule(wait, Math.min(remaining, longestWait))
      } else {
        forget()
        end('expired')
      }
    }
    wait()
    return forget
  }

  /** Ends everything whose principal is such a one. */
  endWhere (reason: 'revoked' | 'closing', matches: (principal: JwtPrincipal) => boolean): void {
    for (const { principal, end, forget } of [...this.#open.values()]) {
      if (!matches(principal)) continue
      forget()
      end(reason)
    }
  }
}
