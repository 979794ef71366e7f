/**
 * An issuer's key set: when to ask for it, what to believe, and for how long.
 *
 * The set is read as a whole and replaced at once. Requests drive it: whoever asks for a key also sees to it that the
 * set is young enough, so nothing runs while nobody asks, and no timer is left behind but a time limit.
 */
import { channel } from 'node:diagnostics_channel'
import { AuthError } from '../errors.js'
import type { Algorithm } from './algorithm.js'
import { KeyDocumentError } from './key-document.js'
import type { KeyLocation } from './key-document.js'
import { createKeyReader } from './key-reader.js'
import type { KeySetReading, RefusedKey } from './key-reader.js'
import { sameKey } from './verification-key.js'
import type { VerificationKey } from './verification-key.js'

/** The keys of one issuer. */
export interface KeySource {
  /** Whether keys are told apart by their ids; without, every token's key id is ignored. */
  readonly named: boolean
  /** The keys under an id, never none. Throws, or rejects with, AUTH_TOKEN_INVALID or AUTH_KEY_SET_UNAVAILABLE. */
  find (keyId: string): readonly VerificationKey[] | Promise<readonly VerificationKey[]>
  /**
   * For a signature that none of `tried` verifies: the keys that meanwhile came under their id, or none. Asks the issuer
   * at most once a cooldown; null when nothing can be learned now. Never rejects.
   */
  doubt (keyId: string, tried: readonly VerificationKey[]): Promise<readonly VerificationKey[]> | null
  /** Whether what the key once verified still stands. `now`: milliseconds by the same clock, which its caller has just read. */
  confirm (key: VerificationKey, now: number): boolean | Promise<boolean>
  /** Reads the keys if there are none; rejects with AUTH_KEY_SET_UNAVAILABLE. */
  warm (): Promise<void>
  /** Ends what is under way; nothing is asked afterwards. */
  close (): void
}

/** Seconds. */
export interface KeySetTimes {
  /** The age at which a set must be read again. */
  readonly maxAge: number
  /** The least time between two attempts to read it, whatever the first gave. */
  readonly cooldown: number
  /** For one attempt, from the first byte sent to the last received. */
  readonly timeLimit: number
  /** How long after maxAge the keys serve while the issuer fails. */
  readonly staleFor: number
}

/** What a subscriber of the diagnostics channel `causeflow-auth:key-set` receives. It holds no key and no token. */
export type KeySetEvent = { readonly issuer: string } & KeySetNews
type KeySetNews =
  | { readonly event: 'fetched', readonly keyIds: readonly string[], readonly refused: readonly RefusedKey[] }
  | { readonly event: 'failed', readonly reason: string, readonly cause: unknown, readonly failures: number, readonly retryIn: number }
  | { readonly event: 'stale', readonly age: number }
  | { readonly event: 'rotated', readonly added: readonly string[], readonly removed: readonly string[] }

export interface KeySetTools { readonly clock: () => number, readonly fetch: typeof fetch, readonly random: () => number }

const events = channel('causeflow-auth:key-set')
/** Failures make the cooldown grow up to this, in milliseconds, jitter included: a recovery is found soon. */
const maxBackoff = 300_000
/** How much of a wait is added to it by chance, so that processes do not all ask at once. */
const jitter = 0.25

/** The key set of an issuer that publishes one. `name` is for events only. */
export function createKeySet (
  settings: { name: string, issuer: string, location: KeyLocation, algorithms: readonly Algorithm[], times: KeySetTimes },
  { clock, fetch, random }: KeySetTools
): KeySource {
  const read = createKeyReader(settings.issuer, settings.location, settings.algorithms, fetch)
  const maxAge = settings.times.maxAge * 1000
  const cooldown = settings.times.cooldown * 1000
  const timeLimit = settings.times.timeLimit * 1000
  const staleFor = settings.times.staleFor * 1000

  let keys: Map<string, readonly VerificationKey[]> | null = null
  let readAt = 0
  let refreshAfter = 0
  let attemptedAt = -Infinity
  let wait = 0
  let failures = 0
  let failure: unknown
  let flight: Promise<void> | null = null
  let toldStale = false
  const closing = new AbortController()

  return { named: true, find, doubt, confirm, warm, close: () => closing.abort(new KeyDocumentError('unreachable', 'The application is closing')) }

  function find (keyId: string): readonly VerificationKey[] | Promise<readonly VerificationKey[]> {
    const young = tend(clock())
    if (young !== null) return young.then(() => settle(keyId))
    const held = look(keyId)
    if (held !== null) return held
    const asked = attempt()
    if (asked !== null) return asked.then(() => settle(keyId))
    throw unknown(keyId)
  }

  function doubt (keyId: string, tried: readonly VerificationKey[]): Promise<readonly VerificationKey[]> | null {
    // While the issuer fails a forger could make every request wait for it.
    const asked = flight !== null && failures > 0 ? null : attempt()
    return asked?.then(() => (look(keyId) ?? []).filter((key) => !tried.includes(key))) ?? null
  }

  function confirm (key: VerificationKey, now: number): boolean | Promise<boolean> {
    const young = tend(now)
    return young === null ? stands(key, now) : young.then(() => stands(key, clock()))
  }

  async function warm (): Promise<void> {
    if (keys === null) await attempt()
    if (keys === null || keys.size === 0) throw unavailable()
  }

  /** Sees to it that what is held is young enough: null when it can be used at once. */
  function tend (now: number): Promise<void> | null {
    const age = now - readAt
    // A clock that was set back makes the age negative: better asked once too often than never.
    if (keys !== null && age >= 0 && age < refreshAfter) return null
    const refresh = attempt()
    if (keys !== null && age >= 0 && age < maxAge) return null
    if (failures === 0) return refresh
    // The issuer fails: known keys serve while it is asked again behind the request's back.
    if (keys !== null && !toldStale && events.hasSubscribers) publish({ event: 'stale', age: age / 1000 })
    toldStale = keys !== null
    return null
  }

  /** The attempt under way, or a new one where the cooldown allows it; otherwise null. */
  function attempt (): Promise<void> | null {
    if (flight !== null || closing.signal.aborted) return flight
    const now = clock()
    const since = now - attemptedAt
    // Not written as "within the cooldown": where the clock gives no number, nothing is asked.
    if (!(since < 0 || since >= wait)) return null
    attemptedAt = now
    wait = cooldown
    // Never rejects: a refresh in the background is awaited by nobody.
    flight = limited(timeLimit, closing.signal, read).then(adopt).catch(fail).finally(() => { flight = null })
    return flight
  }

  function adopt ({ keys: read, refused }: KeySetReading): void {
    const before = keys ?? new Map<string, readonly VerificationKey[]>()
    const next = new Map<string, VerificationKey[]>()
    const added: string[] = []
    for (const key of read) {
      const known = before.get(key.keyId)?.find((candidate) => sameKey(candidate, key))
      const list = next.get(key.keyId) ?? []
      // The same object for the same key: tokens verified by it stay verified.
      list.push(known ?? key)
      next.set(key.keyId, list)
      if (known === undefined) added.push(key.keyId)
    }
    const removed: string[] = []
    for (const key of [...before.values()].flat()) {
      if (next.get(key.keyId)?.includes(key)) continue
      key.live = false
      removed.push(key.keyId)
    }
    const first = keys === null
    keys = next
    readAt = clock()
    // Before the end, so that no request waits; not at one moment for all processes.
    refreshAfter = maxAge * (0.75 + 0.15 * random())
    toldStale = false
    if (events.hasSubscribers) {
      publish({ event: 'fetched', keyIds: [...next.keys()], refused })
      if (!first && added.length + removed.length > 0) publish({ event: 'rotated', added, removed })
    }
    // It was an answer, so the keys that it lacks are dead; but nobody's token can be judged by it.
    if (next.size === 0) return fail(new KeyDocumentError('rejected', 'None of the keys can be used'))
    failures = 0
    failure = undefined
  }

  function fail (error: unknown): void {
    failure = error
    failures++
    if (failures > 1) {
      const backoff = Math.min(cooldown * 2 ** (failures - 1), maxBackoff / (1 + jitter))
      wait = Math.max(cooldown, backoff * (1 + jitter * random()))
    }
    if (events.hasSubscribers) publish({ event: 'failed', reason: reasonOf(error), cause: error, failures, retryIn: wait / 1000 })
  }

  function settle (keyId: string): readonly VerificationKey[] {
    const held = look(keyId)
    if (held === null) throw unknown(keyId)
    return held
  }

  function look (keyId: string): readonly VerificationKey[] | null {
    return outdated(clock()) ? null : keys?.get(keyId) ?? null
  }

  function stands (key: VerificationKey, now: number): boolean {
    return key.live && !outdated(now)
  }

  function outdated (now: number): boolean {
    // Without its sign: a clock that was set back does not make keys younger while the issuer fails.
    return !(Math.abs(now - readAt) < maxAge + staleFor)
  }

  function unknown (keyId: string): AuthError {
    const sure = keys !== null && failures === 0 && !outdated(clock()) && !closing.signal.aborted
    return sure && !keys?.has(keyId) ? new AuthError('AUTH_TOKEN_INVALID', 'key-unknown') : unavailable()
  }

  function unavailable (): AuthError {
    const left = attemptedAt + wait - clock()
    const retryAfter = Number.isFinite(left) ? Math.max(1, Math.ceil(Math.min(left, wait) / 1000)) : 1
    return new AuthError('AUTH_KEY_SET_UNAVAILABLE', reasonOf(failure), { cause: failure, retryAfter, detail: `the key set of the issuer ${settings.issuer} cannot be read` })
  }

  function publish (news: KeySetNews): void {
    const event: KeySetEvent = { issuer: settings.name, ...news }
    events.publish(event)
  }
}

/** The one key, or secret, of an issuer that publishes none. */
export function createFixedKey (key: VerificationKey): KeySource {
  const keys = [key]
  // Where the clock gives no number, a token is verified anew, and its times reject it.
  const confirm = (_key: VerificationKey, now: number): boolean => Number.isFinite(now)
  return { named: false, find: () => keys, doubt: () => null, confirm, warm: async () => {}, close: () => {} }
}

function reasonOf (error: unknown): KeyDocumentError['reason'] {
  return error instanceof KeyDocumentError ? error.reason : 'unreachable'
}

/**
 * Ends the work when the time is over or the end is signaled, even where the work does not listen to its signal. Its late
 * answer, or failure, is dropped. Nothing is left behind: neither the timer nor the listener.
 */
function limited<T> (milliseconds: number, end: AbortSignal, work: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const controller = new AbortController()
  return new Promise((resolve, reject) => {
    const leave = (): void => {
      clearTimeout(timer)
      end.removeEventListener('abort', onEnd)
    }
    const stop = (error: KeyDocumentError): void => {
      leave()
      reject(error)
      controller.abort(error)
    }
    const onEnd = (): void => { stop(end.reason as KeyDocumentError) }
    const timer = setTimeout(() => { stop(new KeyDocumentError('time-limit', `No answer within ${milliseconds} ms`)) }, milliseconds)
    timer.unref()
    end.addEventListener('abort', onEnd)
    work(controller.signal).finally(leave).then(resolve, reject)
  })
}
