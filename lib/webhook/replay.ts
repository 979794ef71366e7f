/** The memory of deliveries that were received, so that each is handled once. */
import { hash, randomBytes } from 'node:crypto'
import { AuthError } from '../errors.js'
import { failureOf, isPromiseLike, withinTimeLimit, type Timers } from './time-limit.js'

/**
 * What a store answers to a try: `new`, the delivery is this try's; `in-progress`, another try is handling
 * it; `done`, it was handled.
 */
export type DeliveryState = 'new' | 'in-progress' | 'done'

/** One try to handle one delivery. */
export interface DeliveryTry {
  /** Which delivery: 43 characters of base64url that reveal nothing of it. The same for every try. */
  readonly key: string
  /** Which try: 16 random characters of base64url. */
  readonly id: string
  /**
   * Whose delivery, so that a store can bound what one tenant fills: 43 characters of base64url; null for a
   * configured secret.
   */
  readonly owner: string | null
}

/**
 * Where deliveries are remembered. A delivery is in progress from `begin` until `finish` or `release`, or
 * until its lease ends, and done from `finish` on. Times are durations in milliseconds, so that a store may
 * use a clock of its own.
 *
 * Each method is one step: of two tries that begin one delivery at the same time, in one process or in two,
 * exactly one is told `new`. A method that cannot answer throws or rejects; an answer that takes longer than
 * 2 seconds counts as none.
 */
export interface ReplayStore {
  /**
   * Gives the delivery to the try for as long as the lease, and answers `new`, unless another try holds it
   * (`in-progress`) or it was handled (`done`). The try that holds it begins again to extend its lease, and
   * is told `new`.
   */
  begin (attempt: DeliveryTry, lease: number): DeliveryState | Promise<DeliveryState>
  /** Remembers the delivery as done for this time, whoever holds it: its handler has succeeded. */
  finish (attempt: DeliveryTry, retention: number): void | Promise<void>
  /** Forgets the delivery if this try holds it. Does nothing if another try holds it or it is done. */
  release (attempt: DeliveryTry): void | Promise<void>
}

/** What a claim needs beside its store. */
export interface ClaimTools {
  readonly timers: Timers
  /** What the store is called in a log line. */
  readonly name: string
}

/** Milliseconds for which a try holds a delivery. A process that dies frees its deliveries after this. */
export const lease = 30_000
/** Milliseconds after which a lease is extended, or a `finish` that failed is tried again. */
const renewal = 10_000
/** How often `finish` is tried: for longer than the lease lasts. */
const finishTries = 6
/** Seconds after which a sender may try a delivery that is in progress again. */
const retryInProgress = 10
/** Milliseconds that a call of the store may take. */
const timeLimit = 2000

type Claims = ClaimedDelivery[]

/** An outcome of a call that never throws or rejects: what went wrong, for the log, or null. */
type Outcome = AuthError | null | Promise<AuthError | null>

/**
 * Claims a delivery under each of its keys; all of them, or none. Throws AUTH_DELIVERY_REPLAYED where it is
 * in progress or done, and AUTH_STORE_UNAVAILABLE when the store cannot tell: what cannot be decided is
 * rejected.
 */
export function claimDelivery (
  store: ReplayStore, keys: readonly string[], owner: string | null, retention: number, tools: ClaimTools
): Claims | Promise<Claims> {
  return claimFrom(0, [])

  function claimFrom (index: number, claims: Claims): Claims | Promise<Claims> {
    for (let i = index; i < keys.length; i++) {
      const attempt = { key: keys[i]!, id: randomBytes(12).toString('base64url'), owner }
      const before = claims
      claims = [...before, new ClaimedDelivery(store, attempt, retention, tools)]
      try {
        const begun = begin(store, attempt, tools)
        if (isPromiseLike(begun)) {
          const after = claims
          return begun.then(() => claimFrom(i + 1, after), (error: unknown) => {
            releaseAll(before)
            throw error
          })
        }
      } catch (error) {
        releaseAll(before)
        throw error
      }
    }
    return claims
  }
}

/**
 * Releases what was claimed before something else failed. What a store cannot release ends with its lease.
 */
export function releaseAll (claims: readonly ClaimedDelivery[]): void {
  for (const claim of claims) {
    const outcome = claim.release()
    if (outcome instanceof Promise) outcome.catch(() => {})
  }
}

/** A delivery that this try holds in the store. */
export class ClaimedDelivery {
  readonly #store: ReplayStore
  readonly #attempt: DeliveryTry
  readonly #retention: number
  readonly #tools: ClaimTools
  #timer: unknown = null
  #renewing: Promise<void> | null = null
  #held = false

  constructor (store: ReplayStore, attempt: DeliveryTry, retention: number, tools: ClaimTools) {
    this.#store = store
    this.#attempt = attempt
    this.#retention = retention
    this.#tools = tools
  }

  /**
   * Extends the lease again and again, until the delivery is finished, released or abandoned, or another try
   * holds it: then `lost` is called.
   */
  hold (lost: () => void): void {
    this.#held = true
    this.#timer = this.#tools.timers.setTimeout(() => { this.#renew(lost) }, renewal)
    ;(this.#timer as { unref?: () => void } | null)?.unref?.()
  }

  /** Extends the lease no longer: nobody will say how the delivery ended. */
  abandon (): void {
    if (this.#held) this.#tools.timers.clearTimeout(this.#timer as never)
    this.#held = false
  }

  /**
   * Remembers the delivery as handled. Tries again for a minute where the store fails. Never throws or
   * rejects.
   */
  finish (): Outcome {
    const first = this.#end(() => this.#store.finish(this.#attempt, this.#retention))
    return first === null ? null : this.#finishAgain(first)
  }

  /** Lets the delivery come again. Never throws or rejects; where it fails, the lease ends by itself. */
  release (): Outcome {
    return this.#end(() => this.#store.release(this.#attempt))
  }

  #end (action: () => unknown): Outcome {
    this.abandon()
    // An extension that is under way must not arrive after the end.
    if (this.#renewing === null) return call(action, this.#tools)
    return this.#renewing.then(() => call(action, this.#tools))
  }

  async #finishAgain (first: AuthError | Promise<AuthError | null>): Promise<AuthError | null> {
    let failure = await first
    for (let tries = 1; failure !== null && tries < finishTries; tries++) {
      await new Promise<void>((resolve) => {
        const timer = this.#tools.timers.setTimeout(resolve, renewal)
        ;(timer as { unref?: () => void } | null)?.unref?.()
      })
      failure = await call(() => this.#store.finish(this.#attempt, this.#retention), this.#tools)
    }
    return failure
  }

  #renew (lost: () => void): void {
    let answer: unknown
    try {
      answer = this.#store.begin(this.#attempt, lease)
    } catch {
      // A store that cannot answer now is asked again before the lease ends.
      return this.#renewed(null, lost)
    }
    if (!isPromiseLike(answer)) return this.#renewed(answer, lost)
    const state = withinTimeLimit(answer, timeLimit, this.#tools.timers).then((value) => value, () => null)
    this.#renewing = state.then((state) => {
      this.#renewing = null
      this.#renewed(state, lost)
    })
  }

  #renewed (state: unknown, lost: () => void): void {
    if (!this.#held) return
    if (state !== 'in-progress' && state !== 'done') return this.hold(lost)
    this.abandon()
    lost()
  }
}

/**
 * The key of a delivery: a digest of everything that tells it from others, each part with its own border, so that two schemes, sources
 * or tenants never share one.
 */
export function replayKey (...parts: ReadonlyArray<string | null>): string {
  return hash('sha256', JSON.stringify(parts), 'base64url')
}

/** Begins a try. Throws or rejects unless the delivery is this try's. */
function begin (store: ReplayStore, attempt: DeliveryTry, { timers, name }: ClaimTools): void | Promise<void> {
  let answer
  try {
    answer = store.begin(attempt, lease)
  } catch (error) {
    throw failureOf(name, error)
  }
  if (!isPromiseLike(answer)) return requireNew(answer, name)
  const asked = answer
  let isSettled = false
  const settle = (): void => { isSettled = true }
  asked.then(settle, settle)
  return withinTimeLimit(asked, timeLimit, timers).then((state) => { requireNew(state, name) }, (error: unknown) => {
    // The store may have given the delivery to this try all the same, or may still do so. The request is
    // answered 503, so nobody will handle it: it is released now, and once more when a late answer says that
    // it was given.
    const release = (): void => { releaseAll([new ClaimedDelivery(store, attempt, 0, { timers, name })]) }
    release()
    if (!isSettled) asked.then((state) => { if (state === 'new') release() }, release)
    throw failureOf(name, error)
  })
}

function requireNew (state: unknown, name: string): void {
  if (state === 'new') return
  if (state === 'done') throw new AuthError('AUTH_DELIVERY_REPLAYED', 'replayed')
  if (state === 'in-progress') {
    throw new AuthError('AUTH_DELIVERY_REPLAYED', 'in-progress', { retryAfter: retryInProgress })
  }
  const cause = new TypeError('The replay store answered neither new, in-progress nor done')
  throw new AuthError('AUTH_STORE_UNAVAILABLE', 'rejected', { cause, detail: `${name}: ${cause.message}` })
}

function call (action: () => unknown, { timers, name }: ClaimTools): Outcome {
  const unavailable = (cause: unknown): AuthError => failureOf(name, cause)
  try {
    const answer = action()
    return isPromiseLike(answer) ? withinTimeLimit(answer, timeLimit, timers).then(() => null, unavailable) : null
  } catch (error) {
    return unavailable(error)
  }
}
