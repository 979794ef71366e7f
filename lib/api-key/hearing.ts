/**
 * The proof that a process hears of changes: what it sends on the way that changes take comes back to where they
 * arrive. A transport delivers in order, so whoever has heard his own text of a moment has heard every change from before it.
 */
import type { Timer, Timers } from './settings.js'

/** How texts are sent that have to come back. What a promise settles with says only whether the server took the text. */
export interface Senders {
  send (text: string): PromiseLike<unknown>
  /**
   * The same through the connections on which keys are read and changed, where `send` has a connection of its own: that one is not
   * delayed by other work, and this one shows that both lead to the same server.
   */
  probe? (text: string): PromiseLike<unknown>
  /** Calls of `send` that may wait for their answer at once. Default: 8. */
  readonly maxUnsettled?: number
}

export interface HearingSettings {
  /** Milliseconds for which a proof counts, from when its text was sent: no change can be unheard for longer. */
  lease: number
  /** Milliseconds from one text to the next. */
  interval: number
  /** Milliseconds from one probe to the next. */
  probeInterval: number
  /** Milliseconds for which a probe counts while newer ones are not taken: a pool that is busy says nothing about where it leads. */
  probeLease: number
  /** Milliseconds after which a transport is given up on which texts are taken and none comes back. */
  deafAfter: number
  /** Forget everything: called when the first texts come back after a loss, before `healthy` turns true. Must not throw. */
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
  start (senders: Senders): void
  /** A text came back. One that was not sent since the start counts for nothing. */
  echo (text: string): void
  /** The transport is gone, or may have missed something: nothing is proved until a new start. */
  lost (): void
}

// A client or a pool that hangs is asked a few times, not for ever.
const maxUnsettled = 8

interface Sent { readonly monotonic: number, readonly clock: number, readonly probe: boolean }

export function createHearing (settings: HearingSettings, { clock, monotonic, timers, randomBytes }: HearingTools): Hearing {
  const { lease, interval, probeInterval, probeLease, deafAfter, onReset, onDeaf } = settings
  const pending = new Map<string, Sent>()
  let senders: Senders | null = null
  let proved: Sent | null = null
  let probed: Sent | null = null
  let beating: Timer | null = null
  /** Since when texts are taken and none comes back. */
  let silentSince: number | null = null
  /** Since when a probe is taken that has not come back. */
  let missingSince: number | null = null
  let probeDue = 0
  let complete = false
  let overdue = false
  const unsettled = { texts: 0, probes: 0 }

  function beat (): void {
    beating = timers.setTimeout(beat, interval)
    beating.unref()
    const now = monotonic()
    for (const [text, sent] of pending) {
      if (now - sent.monotonic < deafAfter) break
      pending.delete(text)
    }
    if (isSince(silentSince, now, deafAfter) || isSince(missingSince, now, deafAfter)) onDeaf()
    else {
      overdue = unsettled.texts >= (senders?.maxUnsettled ?? maxUnsettled)
      if (!overdue) sendText(now)
      if (senders?.probe !== undefined && now >= probeDue && missingSince === null && unsettled.probes < maxUnsettled) sendProbe(now)
    }
  }

  function sendText (now: number): void {
    const { send } = senders as Senders
    const text = note(now, false)
    unsettled.texts++
    settle(() => send(text), () => {
      if (pending.has(text)) silentSince ??= monotonic()
    }, () => {
      unsettled.texts--
      // One that had to wait for this one is sent at once and not at the next beat.
      if (overdue && beating !== null) {
        overdue = false
        sendText(monotonic())
      }
    })
  }

  function sendProbe (now: number): void {
    const { probe } = senders as Required<Senders>
    const text = note(now, true)
    unsettled.probes++
    // Without any answer: a pool that hangs is not asked more often than a probe is forgotten.
    probeDue = now + deafAfter
    settle(() => probe(text), () => {
      if (pending.has(text)) missingSince ??= monotonic()
    }, () => {
      unsettled.probes--
      // One that failed is sent again with the next text.
      if (pending.has(text) && missingSince === null) probeDue = now + interval
    })
  }

  function note (now: number, probe: boolean): string {
    const text = Buffer.from(randomBytes(16)).toString('hex')
    // The time of sending and not of the echo: what was changed in between is what may be unheard.
    pending.set(text, { monotonic: now, clock: clock(), probe })
    return text
  }

  return {
    get healthy () {
      if (proved === null || !complete) return false
      const now = monotonic()
      if (now - proved.monotonic >= lease) return false
      if (probed !== null && (now - probed.monotonic >= probeLease || isSince(missingSince, now, lease))) return false
      // The steady clock stands still while a machine sleeps; the other one shows that it did.
      return Math.abs(clock() - proved.clock) < lease
    },
    start (own) {
      if (beating !== null) return
      senders = own
      probeDue = monotonic()
      beat()
    },
    echo (text) {
      const sent = pending.get(text)
      if (sent === undefined) return
      pending.delete(text)
      if (sent.probe) {
        missingSince = null
        probed = newer(probed, sent)
        probeDue = sent.monotonic + probeInterval
      } else {
        silentSince = null
        // Two texts may come back in the other order where they went through different connections.
        proved = newer(proved, sent)
      }
      if (complete || proved === null || (probed === null && senders?.probe !== undefined)) return
      onReset()
      complete = true
    },
    lost () {
      if (beating !== null) timers.clearTimeout(beating)
      beating = null
      senders = null
      proved = null
      probed = null
      complete = false
      overdue = false
      silentSince = null
      missingSince = null
      pending.clear()
    }
  }
}

/** Calls, and reports first that the call was taken and then that it is over. A call that throws has failed. */
function settle (call: () => PromiseLike<unknown>, taken: () => void, over: () => void): void {
  try {
    call().then(() => {
      taken()
      over()
    }, over)
  } catch {
    over()
  }
}

function newer (one: Sent | null, other: Sent): Sent {
  return one !== null && one.monotonic >= other.monotonic ? one : other
}

function isSince (time: number | null, now: number, milliseconds: number): boolean {
  return time !== null && now - time >= milliseconds
}
