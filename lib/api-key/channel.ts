/** An invalidation channel over any transport that carries text: connected without end, and trusted only while it hears itself. */
import { createHearing, type HearingTools } from './hearing.js'
import type { InvalidationChannel, InvalidationListener, KeyChange } from './invalidation.js'
import type { Timer } from './settings.js'

/** What arrives on a connection. */
export interface Arrivals {
  /** A change, or several. */
  changes (text: string): void
  /** A text that was sent to find out whether it comes back. */
  echo (text: string): void
  /** The connection is broken or being replaced; more than once is once. */
  lost (): void
}

export interface Transport {
  /**
   * Connects and subscribes, and answers how the connection is ended; that must never throw or wait for the server.
   * Rejects when it cannot, with nothing left open.
   */
  open (arrivals: Arrivals): Promise<() => void | Promise<void>>
  /** Sends a text on the way that changes take, to come back as an echo. */
  send (text: string): PromiseLike<unknown>
}

export interface ChannelTools extends HearingTools {
  /** From 0 to 1. */
  random: () => number
}

/** A channel that can be ended for good. */
export interface ClosableChannel extends InvalidationChannel {
  /** Whoever still listens hears nothing more, and `healthy` is false. */
  close (): Promise<void>
}

/** Milliseconds within which a revocation is heard everywhere, or the cache is not used. */
export const revocationLimit = 250
// Three texts in a lease: one may be late by more than half of it, or be lost, before the cache is not used.
const sendsInLease = 2.5
const deafAfter = 2_000
const openLimit = 5_000
const shortestRetry = 100
const longestRetry = 5_000

export function createChannel (transport: Transport, tools: ChannelTools): ClosableChannel {
  const { timers, random } = tools
  const listeners = new Set<InvalidationListener>()
  let attempt: { end: (() => void | Promise<void>) | null } | null = null
  let retry: Timer | null = null
  let failures = 0
  let closed = false

  const hearing = createHearing({
    send: transport.send,
    lease: revocationLimit,
    interval: revocationLimit / sendsInLease,
    deafAfter,
    onReset () {
      failures = 0
      for (const listener of listeners) listener.onReset()
    },
    onDeaf () { replace(attempt) }
  }, tools)

  function connect (): void {
    retry = null
    const own: NonNullable<typeof attempt> = { end: null }
    attempt = own
    const limit = timers.setTimeout(() => { replace(own) }, openLimit)
    limit.unref()
    let opening
    try {
      opening = transport.open({
        changes (text) { if (attempt === own) tell(text) },
        echo (text) { if (attempt === own) hearing.echo(text) },
        lost () { replace(own) }
      })
    } catch (error) {
      opening = Promise.reject(error as Error)
    }
    opening.then((end) => {
      timers.clearTimeout(limit)
      if (attempt !== own) return end()
      own.end = end
      hearing.start()
    }).catch(() => {
      timers.clearTimeout(limit)
      replace(own)
    })
  }

  function replace (own: typeof attempt): void {
    if (own === null || attempt !== own) return
    void disconnect()
    if (closed || listeners.size === 0) return
    // Half of it by chance, so that the processes of a service do not all come back at once.
    const wait = Math.min(longestRetry, shortestRetry * 2 ** Math.min(failures++, 10)) * (0.5 + random() / 2)
    retry = timers.setTimeout(connect, wait)
    retry.unref()
  }

  async function disconnect (): Promise<void> {
    if (retry !== null) timers.clearTimeout(retry)
    retry = null
    const end = attempt?.end
    attempt = null
    hearing.lost()
    await end?.()
  }

  function tell (text: string): void {
    const changes = readChanges(text)
    for (const listener of listeners) {
      if (changes === null) listener.onReset()
      else for (const change of changes) listener.onInvalidated(change)
    }
  }

  return {
    get healthy () { return hearing.healthy },
    subscribe (listener) {
      listeners.add(listener)
      if (!closed && attempt === null && retry === null) connect()
      return () => {
        if (listeners.delete(listener) && listeners.size === 0) void disconnect()
      }
    },
    async close () {
      closed = true
      await disconnect()
    }
  }
}

/** The changes of a text; null for anything else, which means everything: what cannot be read may have named any key. */
function readChanges (text: string): readonly KeyChange[] | null {
  let parsed: unknown
  try {
    parsed = JSON.parse(text)
  } catch {
    return null
  }
  const changes: unknown[] = Array.isArray(parsed) ? parsed : [parsed]
  return changes.every(isChange) ? changes : null
}

function isChange (value: unknown): value is KeyChange {
  if (typeof value !== 'object' || value === null) return false
  const { digest, keyId, tenantId } = value as Record<string, unknown>
  const named = [digest, keyId, tenantId].filter((name) => name !== undefined)
  return named.length > 0 && named.every((name) => typeof name === 'string')
}
