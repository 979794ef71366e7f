/** Sending signed deliveries: the same bytes and the same id at every try. */
import { randomUUID } from 'node:crypto'
import { isUint8Array } from 'node:util/types'
import { configError } from '../errors.js'
import { isLoopbackHost, isPrivateHost } from './address.js'
import type { WebhookEnvelope } from './events.js'
import type { Mac } from './hmac.js'
import { causeflow } from './schemes/causeflow.js'
import { signingMac, type Secret } from './secret.js'
import { requireId, signatureHeaders, type SignatureScheme } from './signature.js'
import { longestTimer, timeOf, type Timers } from './time-limit.js'

export interface DeliverWebhookOptions {
  /** Where to: https, at a public address or a name. No credentials in it. */
  url: string | URL
  /** The secret to sign with. */
  secret: Secret
  /** The event to send, serialised once. Either this or `body`. */
  event?: WebhookEnvelope
  /** The very bytes to send. Either this or `event`. */
  body?: string | Uint8Array
  /** Default: causeflow(). */
  scheme?: SignatureScheme
  /**
   * The delivery's id, the same at every try: 256 visible ASCII characters at most. Default: `msg_` and a
   * random UUID.
   */
  id?: string
  /** Further headers. The scheme's own win. Default: `content-type: application/json`. */
  headers?: Record<string, string>
  /** Seconds that one attempt may take, its answer included: 2 147 483 at most. Default: 10. */
  timeLimit?: number
  /** How often to try again. Default: 5. */
  retries?: number
  /** The longest wait between two attempts in seconds, also when Retry-After asks for more. Default: 60. */
  maxDelay?: number
  /** Send over http: anyone on the way reads the body. Default: false. */
  allowHttp?: boolean
  /**
   * Send to addresses of this machine and of private networks, over http to this machine: for tests, and for
   * URLs of your own. Never for a URL that a customer gives. Default: false.
   */
  allowPrivate?: boolean
  /** Ends the delivery; an attempt under way counts as aborted. */
  signal?: AbortSignal
  /**
   * Default: the global fetch. Hand in one that rejects private addresses when the url is a customer's: this
   * function does not look up where a name leads.
   */
  fetch?: typeof fetch
  /** Milliseconds since the epoch. Default: Date.now. */
  clock?: () => number
  /** A number from 0 to below 1, for the jitter. Default: Math.random. */
  random?: () => number
  /** Waits for so many milliseconds, or until the signal. Default: a timer. */
  delay?: (milliseconds: number, signal?: AbortSignal) => Promise<void>
  /** Default: Node's. */
  timers?: Timers
}

/** One attempt. */
export interface DeliveryAttempt {
  /** When it began, in milliseconds since the epoch. */
  readonly startedAt: number
  /** Milliseconds it took. */
  readonly duration: number
  /** The status answered; null when nothing was. */
  readonly status: number | null
  /** Why it was no success: the status (redirects included), the network, the time limit, or the caller's signal; null for a success. */
  readonly failure: 'status' | 'redirect' | 'network' | 'time-limit' | 'aborted' | null
  /** What the network failure was; null for every other end. */
  readonly error: unknown
}

export interface DeliveryResult {
  /** Whether an attempt was answered with 2xx. */
  readonly delivered: boolean
  readonly id: string
  /**
   * The last status answered; null when nothing ever was. 409 after an attempt that got no answer often means
   * that it had arrived.
   */
  readonly status: number | null
  readonly attempts: readonly DeliveryAttempt[]
}

/**
 * Signs and sends a delivery. Network failures, 408, 429, 5xx, and a 409 with Retry-After (another try is
 * being handled) are tried again, after a wait that doubles from one second with jitter, or as long as
 * Retry-After asks; every other answer is final, a redirect too, which is never followed: it would carry the
 * body to a place that nobody configured. Each attempt is signed with its own time.
 *
 * A failed delivery is a result and not an error; what is thrown is a fault of configuration, or what `delay` failed with. Of an
 * answer's body at most 16 kB are read, and none is kept.
 */
export async function deliverWebhook (options: DeliverWebhookOptions): Promise<DeliveryResult> {
  const delivery = prepare(options)
  const attempts: DeliveryAttempt[] = []
  for (let failures = 1; !isAborted(delivery); failures++) {
    const { attempt, retryAfter } = await tryOnce(delivery)
    attempts.push(attempt)
    if (failures > delivery.retries || !isWorthAnother(attempt, retryAfter)) break
    try {
      await delivery.delay(waitAfter(failures, retryAfter, delivery), delivery.signal)
    } catch (fault) {
      // A wait that its signal ends may say so by rejecting.
      if (!isAborted(delivery)) throw fault
    }
  }
  const last = attempts.at(-1)
  return {
    delivered: last?.failure === null,
    id: delivery.id,
    status: attempts.findLast(({ status }) => status !== null)?.status ?? null,
    attempts
  }
}

type Prepared = Required<Pick<DeliverWebhookOptions, 'id' | 'scheme' | 'timeLimit' | 'retries' | 'maxDelay' | 'fetch' | 'clock' | 'random' | 'delay' | 'timers'>> & {
  url: URL
  body: Buffer
  headers: Headers
  mac: Mac
  signal: AbortSignal | undefined
}

function isAborted ({ signal }: Prepared): boolean {
  return signal?.aborted === true
}

const firstDelay = 1000
const answerLimit = 16_384

function prepare (options: DeliverWebhookOptions): Prepared {
  const {
    secret, event, body, scheme = causeflow(), id = `msg_${randomUUID()}`, timeLimit = 10, retries = 5, maxDelay = 60,
    fetch = globalThis.fetch, clock = Date.now, random = Math.random, timers = globalThis, signal
  } = options
  for (const [name, value] of Object.entries({ timeLimit, maxDelay })) {
    if (typeof value !== 'number' || !(value > 0 && value <= longestTimer)) throw configError('option', `deliverWebhook({ ${name} }) must be a number of seconds above 0, and ${longestTimer} at most`)
  }
  if (!Number.isSafeInteger(retries) || retries < 0) throw configError('option', 'deliverWebhook({ retries }) must be a whole number, 0 or more')
  // In its place would be the global fetch, which looks at no address.
  if (Object.hasOwn(options, 'fetch') && options.fetch === undefined) throw configError('option', 'deliverWebhook({ fetch }) is undefined: is its name mistyped? Leave the option out to use the global fetch')
  if ((event === undefined) === (body === undefined)) throw configError('option', 'deliverWebhook needs either event or body')
  if (body !== undefined && typeof body !== 'string' && !isUint8Array(body)) throw configError('option', 'deliverWebhook({ body }) takes the very bytes to send, as a string or a Uint8Array. Give an object as event')
  requireId(id, 'deliverWebhook')
  const bytes = Buffer.from(event === undefined ? body! : JSON.stringify(event))
  if (bytes.length === 0) throw configError('option', 'An empty body cannot be signed: it would never verify')
  const headers = readHeaders(options.headers)
  if (!headers.has('content-type')) headers.set('content-type', 'application/json')
  return {
    url: target(options),
    body: bytes,
    headers,
    mac: signingMac(secret, scheme),
    delay: options.delay ?? ((milliseconds, ended) => wait(milliseconds, ended, timers)),
    id,
    scheme,
    timeLimit,
    retries,
    maxDelay,
    fetch,
    clock,
    random,
    timers,
    signal
  }
}

/** Throws AUTH_CONFIG_OPTION, without the value: it may be a credential. */
function readHeaders (given: DeliverWebhookOptions['headers']): Headers {
  try {
    return new Headers(given)
  } catch {
    throw configError('option', 'deliverWebhook({ headers }) has a name or a value that no header can have')
  }
}

function target ({ url, allowHttp = false, allowPrivate = false }: DeliverWebhookOptions): URL {
  // Parsed anew: the caller's object may change between two attempts.
  const parsed = URL.canParse(String(url)) ? new URL(String(url)) : null
  if (parsed === null) throw configError('option', 'deliverWebhook({ url }) must be an absolute URL')
  if (parsed.username !== '' || parsed.password !== '') throw configError('option', 'deliverWebhook({ url }) must not carry credentials')
  const { protocol, hostname } = parsed
  if (isPrivateHost(hostname) && allowPrivate !== true) throw configError('option', 'deliverWebhook({ url }) is an address of this machine or of a private network. If you chose it, and no customer did, set allowPrivate: true')
  const mayBeHttp = allowHttp === true || (allowPrivate === true && isLoopbackHost(hostname))
  if (protocol !== 'https:' && !(protocol === 'http:' && mayBeHttp)) throw configError('option', 'deliverWebhook({ url }) must be https. allowHttp: true sends over http as well')
  return parsed
}

async function tryOnce (delivery: Prepared): Promise<{ attempt: DeliveryAttempt, retryAfter: number | null }> {
  const { url, body, id, scheme, mac, clock, timers, signal } = delivery
  const startedAt = now(clock)
  const headers = new Headers(delivery.headers)
  const signed = signatureHeaders(scheme, mac, body, { id, timestamp: Math.floor(startedAt / 1000) })
  for (const [name, value] of Object.entries(signed)) headers.set(name, value)

  const ended = (status: number | null, failure: DeliveryAttempt['failure'], error: unknown = null): DeliveryAttempt =>
    ({ startedAt, duration: now(clock) - startedAt, status, failure, error })

  const limit = new AbortController()
  const stop = (): void => limit.abort()
  const stopped = new Promise<never>((_resolve, reject) => {
    limit.signal.addEventListener('abort', () => { reject(limit.signal.reason) }, { once: true })
  })
  stopped.catch(() => {})
  let timedOut = false
  const timer = timers.setTimeout(() => {
    timedOut = true
    stop()
  }, delivery.timeLimit * 1000)
  signal?.addEventListener('abort', stop, { once: true })
  if (signal?.aborted) stop()
  let status: number | null = null
  try {
    // A fetch that is handed in may not heed its signal: the limit holds all the same.
    const answer = Promise.resolve(delivery.fetch(url, { method: 'POST', headers, body, redirect: 'manual', signal: limit.signal }))
    answer.then((given) => { cancelAfter(limit.signal, given) }).catch(() => {})
    const response = await Promise.race([answer, stopped])
    status = response.status
    const retryAfter = secondsOf(response.headers.get('retry-after'), now(clock))
    // What the answer says beside its status changes nothing; it is read so that the connection can be used again.
    await Promise.race([drain(response, limit.signal), stopped]).catch(() => {})
    if (response.ok) return { attempt: ended(status, null), retryAfter: null }
    return { attempt: ended(status, response.type === 'opaqueredirect' || (status >= 300 && status < 400) ? 'redirect' : 'status'), retryAfter }
  } catch (error) {
    if (timedOut) return { attempt: ended(null, 'time-limit'), retryAfter: null }
    if (signal?.aborted) return { attempt: ended(null, 'aborted'), retryAfter: null }
    return { attempt: ended(null, 'network', error), retryAfter: null }
  } finally {
    timers.clearTimeout(timer as never)
    signal?.removeEventListener('abort', stop)
    // Whatever is left of the answer is not wanted.
    stop()
  }
}

/** The time of the clock. One that returns no number would sign no time, and wait for none. */
function now (clock: () => number): number {
  const time = timeOf(clock)
  if (!Number.isFinite(time)) throw configError('option', 'deliverWebhook({ clock }) must return milliseconds since the epoch')
  return time
}

/**
 * Ends an answer that comes when its attempt has been given up: nobody would read it, and its connection
 * would stay open.
 */
function cancelAfter (signal: AbortSignal, response: Response): void {
  if (signal.aborted && response.body?.locked === false) response.body.cancel().catch(() => {})
}

async function drain (response: Response, signal: AbortSignal): Promise<void> {
  if (response.body === null) return
  const reader = response.body.getReader()
  // A fetch that is handed in may not heed its signal.
  signal.addEventListener('abort', () => { reader.cancel().catch(() => {}) }, { once: true })
  let read = 0
  for (;;) {
    const { done, value } = await reader.read()
    if (done) return
    read += value.length
    if (read > answerLimit) {
      await reader.cancel()
      return
    }
  }
}

function isWorthAnother ({ status, failure }: DeliveryAttempt, retryAfter: number | null): boolean {
  if (failure === 'network' || failure === 'time-limit') return true
  // Another try is being handled, perhaps one of ours that got no answer. Without Retry-After it has been.
  if (status === 409) return retryAfter !== null
  return failure === 'status' && (status === 408 || status === 429 || (status !== null && status >= 500))
}

/** Milliseconds before the next attempt: at least half of the doubled delay, at least what the receiver asked for, at most maxDelay. */
function waitAfter (failures: number, retryAfter: number | null, { random, maxDelay }: Prepared): number {
  const longest = maxDelay * 1000
  const backoff = Math.min(firstDelay * 2 ** (failures - 1), longest)
  const jitter = random()
  return Math.min(Math.max(backoff * (jitter >= 0 && jitter < 1 ? 0.5 + jitter / 2 : 1), (retryAfter ?? 0) * 1000), longest)
}

/** Retry-After (RFC 9110 §10.2.3): seconds or a date; null when absent or neither. */
function secondsOf (retryAfter: string | null, now: number): number | null {
  if (retryAfter === null) return null
  if (/^\d{1,9}$/.test(retryAfter)) return Number(retryAfter)
  const date = Date.parse(retryAfter)
  return Number.isNaN(date) ? null : Math.max(0, (date - now) / 1000)
}

/** The timer keeps the process alive, unlike those of the verifier: a delivery that somebody awaits is work under way. */
function wait (milliseconds: number, signal: AbortSignal | undefined, timers: Timers): Promise<void> {
  return new Promise((resolve) => {
    if (signal?.aborted) return resolve()
    const timer = timers.setTimeout(done, milliseconds)
    signal?.addEventListener('abort', done, { once: true })
    function done (): void {
      timers.clearTimeout(timer as never)
      signal?.removeEventListener('abort', done)
      resolve()
    }
  })
}
