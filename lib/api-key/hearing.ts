/**
 * The proof that a process hears of changes: what it sends on the way that changes take comes back to where they
 * arrive. A transport delivers in order, so whoever has heard his own text of a moment has heard every change from before it.
 */
import type { Timer, Timers } from './settings.js'

export interface HearingSettings {
  /** Sends a text on the way that changes take. What it settles with says only whether the server took it. */
  send (text: string): PromiseLike<unknown>
  /** Milliseconds for which a proof counts, from when its text was sent: no change can be unheard for longer. */
  lease: number
  /** Milliseconds from one text to the next. */
  interval: number
  /** Milliseconds after which a transport is given up on which texts are taken and none comes back. */
  deafAfter: number
  /** Forget everything: called when the first text comes back after a loss, before `healthy` turns true. */
  onReset (): void
  /** The transport is to be replaced. */
  onDeaf (): void
}

export interface HearingTools {
  /** Milliseconds since the epoch. */
  clock: () => number
  /** Milliseconds that never go backwards. */
  monotonic: () => number
  timers: Timers
  randomBytes: (size: number) => Uint8Array
}

export interface Hearing {
  readonly healthy: boolean
  /** The transport receives: begins to send. */
  start (): void
  /** A text came back. One that was not sent since the start counts for nothing. */
  echo (text: string): void
  /** The transport is gone, or may have missed something: nothing is proved until a new start. */
  lost (): void
}

// A pool that hangs is asked a few times, not for ever.
const maxUnsettled = 8

export function createHearing ({ send, lease, interval, deafAfter, onReset, onDeaf }: HearingSettings, { clock, monotonic, timers, randomBytes }: HearingTools): Hearing {
  const pending = new Map<string, { monotonic: number, clock: number }>()
  let proved: { monotonic: number, clock: number } | null = null
  let beating: Timer | null = null
  /** Since when texts are taken and none comes back. */
  let silentSince: number | null = null
  let complete = false
  let unsettled = 0

  function beat (): void {
    beating = timers.setTimeout(beat, interval)
    beating.unref()
    const now = monotonic()
    for (const [text, sent] of pending) {
      if (now - sent.monotonic < deafAfter) break
      pending.delete(text)
    }
    if (silentSince !== null && now - silentSince >= deafAfter) onDeaf()
    else if (unsettled < maxUnsettled) sendOne(now)
  }

  function sendOne (now: number): void {
    const text = Buffer.from(randomBytes(16)).toString('hex')
    // The time of sending and not of the echo: what was changed in between is what may be unheard.
    pending.set(text, { monotonic: now, clock: clock() })
    const taken = (): void => {
      unsettled--
      if (pending.has(text)) silentSince ??= monotonic()
    }
    const failed = (): void => { unsettled-- }
    unsettled++
    try {
      send(text).then(taken, failed)
    } catch {
      failed()
    }
  }

  return {
    get healthy () {
      if (proved === null || monotonic() - proved.monotonic >= lease) return false
      // The steady clock stands still while a machine sleeps; the other one shows that it did.
      return Math.abs(clock() - proved.clock) < lease
    },
    start () {
      if (beating === null) beat()
    },
    echo (text) {
      const sent = pending.get(text)
      if (sent === undefined) return
      pending.delete(text)
      silentSince = null
      if (!complete) {
        complete = true
        onReset()
      }
      // Two texts may come back in the other order: they went through different connections of a pool.
      if (proved === null || sent.monotonic > proved.monotonic) proved = sent
    },
    lost () {
      if (beating !== null) timers.clearTimeout(beating)
      beating = null
      proved = null
      complete = false
      silentSince = null
      pending.clear()
    }
  }
}
