/** An invalidation channel over any transport that carries text: connected without end, and trusted only while it hears itself. */
import { createHearing, type HearingTools, type Senders } from './hearing.js'
import { notifyListeners, type InvalidationChannel, type InvalidationListener, type KeyChange } from './invalidation.js'
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

/** A connection that receives changes. */
export interface Connection extends Senders {
  /** Ends it. Never rejects, and does not wait long for a server that says nothing. */
  end (): void | Promise<void>
}

export interface Transport {
  /**
   * Connects and subscribes. Rejects when it cannot, and as soon as the signal is aborted, with nothing left open: no socket and
   * nobody who would still open one.
   */
  open (arrivals: Arrivals, signal: AbortSignal): Promise<Connection>
}

export interface ChannelTools extends HearingTools {
  /** From 0 to 1. */
  random: () => number
}

/** A channel that can be ended for good. */
export interface ClosableChannel extends InvalidationChannel {
  /** Whoever still listens hears nothing more, and `healthy` is false. Resolves when no connection is open and none is being opened. */
  close (): Promise<void>
}

/** Milliseconds within which a revocation is heard everywhere, or the cache is not used. */
export const revocationLimit = 250
// Three texts in a lease: one may be late by more than half of it, or be lost, before the cache is not used.
const sendsInLease = 2.5
const probeInterval = 1_000
const probeLease = 5_000
const deafAfter = 2_000
const openLimit = 5_000
const shortestRetry = 100
const longestRetry = 5_000

interface Attempt { readonly controller: AbortController, connection: Connection | null }

export function createChannel (transport: Transport, tools: ChannelTools): ClosableChannel {
  const { timers, random } = tools
  const listeners = new Set<InvalidationListener>()
  /** Openings and endings under way. */
  const underWay = new Set<Promise<void>>()
  let attempt: Attempt | null = null
  let retry: Timer | null = null
  let failures = 0
  let closed = false

  const hearing = createHearing({
    lease: revocationLimit,
    interval: revocationLimit / sendsInLease,
    probeInterval,
    probeLease,
    deafAfter,
    onReset () {
      failures = 0
      notifyListeners(listeners, null)
    },
    onDeaf () { replace(attempt) }
  }, tools)

  function connect (): void {
    retry = null
    const own: Attempt = { controller: new AbortController(), connection: null }
    attempt = own
    const limit = timers.setTimeout(() => { replace(own) }, openLimit)
    limit.unref()
    const arrivals: Arrivals = {
      changes (text) { if (attempt === own) notifyListeners(listeners, readChanges(text)) },
      echo (text) { if (attempt === own) hearing.echo(text) },
      lost () { replace(own) }
    }
    waitFor(async () => {
      try {
        const connection = await transport.open(arrivals, own.controller.signal)
        if (attempt !== own) return await connection.end()
        own.connection = connection
        hearing.start(connection)
      } catch {
        replace(own)
      } finally {
        timers.clearTimeout(limit)
      }
    })
  }

  function replace (own: Attempt | null): void {
    if (own === null || attempt !== own) return
    disconnect()
    if (closed || listeners.size === 0) return
    // Half of it by chance, so that the processes of a service do not all come back at once.
    const wait = Math.min(longestRetry, shortestRetry * 2 ** Math.min(failures++, 10)) * (0.5 + random() / 2)
    retry = timers.setTimeout(connect, wait)
    retry.unref()
  }

  function disconnect (): void {
    if (retry !== null) timers.clearTimeout(retry)
    retry = null
    const own = attempt
    attempt = null
    hearing.lost()
    if (own === null) return
    const { connection } = own
    if (connection === null) own.controller.abort()
    else waitFor(async () => { await connection.end() })
  }

  /** Begins something that `close` waits for. What it fails with is nothing that anyone could act on. */
  function waitFor (begin: () => Promise<void>): void {
    const end = begin().catch(ignore).finally(() => { underWay.delete(end) })
    underWay.add(end)
  }

  return {
    get healthy () { return hearing.healthy },
    subscribe (listener) {
      listeners.add(listener)
      if (!closed && attempt === null && retry === null) connect()
      return () => {
        if (listeners.delete(listener) && listeners.size === 0) disconnect()
      }
    },
    async close () {
      closed = true
      disconnect()
      while (underWay.size > 0) await Promise.all(underWay)
    }
  }
}

/** Settles as the work does, and rejects at once when the signal is aborted. */
export function untilAborted<T> (work: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const abort = (): void => { reject(new Error('The connection was given up on')) }
    if (signal.aborted) abort()
    signal.addEventListener('abort', abort, { once: true })
    work.then(resolve, reject).finally(() => { signal.removeEventListener('abort', abort) })
  })
}

function ignore (): void {}

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
  const { digest, keyId, tenantId, created = true } = value as Record<string, unknown>
  const named = [digest, keyId, tenantId].filter((name) => name !== undefined)
  return named.length > 0 && named.every((name) => typeof name === 'string') && created === true
}
