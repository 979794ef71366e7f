/**
 * What becomes of a delivery between its claim and the end of its handler: handled, or free for the sender's
 * next try.
 */
import { AsyncLocalStorage } from 'node:async_hooks'
import type { Socket } from 'node:net'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { isPromiseLike } from './webhook/time-limit.js'
import type { AuthError } from './errors.js'
import type { ClaimedDelivery } from './webhook/replay.js'

/**
 * How far the handler has come. `returned` is one that answers by `reply.send()`: nothing but its response
 * says that it has ended. `running` is one whose promise is pending, whatever has been sent meanwhile.
 */
type Phase = 'before' | 'running' | 'returned' | 'resolved' | 'rejected'

/** `unknown`: nothing that is still to come may say how it ended, so the lease is left to end by itself. */
type Outcome = 'open' | 'handled' | 'failed' | 'unknown'

/**
 * A delivery is handled when its handler answers with a status below 400. It is settled only when the
 * handler has ended, not when the connection has: a sender that leaves, and a `handlerTimeout`, end no
 * handler, and a second one must not run next to it.
 *
 * Two facts decide: how far the handler has come, and the status of its answer. The hooks see the answer as
 * long as a response can be sent. After that, the methods of the reply that the handler calls say what it is.
 */
export class DeliveryHandling {
  readonly #request: FastifyRequest
  readonly #reply: FastifyReply
  readonly #claims: readonly ClaimedDelivery[]
  #phase: Phase = 'before'
  /** The status of the answer of the handler, or of a hook in its place; null while there is none. */
  #status: number | null = null
  #payload: 'whole' | 'stream' | 'web-stream' | 'failed-stream' = 'whole'
  /** The response has been sent to its end. */
  #finished = false
  /** The connection was closed before that. */
  #gone: boolean
  /** The response is Fastify's own, because the handler took too long. */
  #timedOut = false
  /** The status that the handler has set, once the status of the response is that of the timeout. */
  #ownStatus = 200
  /** The handler waits for the response, and its promise says nothing more than the response does. */
  #awaitsReply = false
  /** The handler writes the response itself, and only its end says what was written. */
  #hijacked = false
  /** What continues when the response has ended. */
  readonly #waiting: Array<() => void> = []
  /** The event loop has not turned since a handler was continued that had waited for a sender who left. */
  #justContinued = false
  #settled: Exclude<Outcome, 'open'> | null = null

  constructor (claims: readonly ClaimedDelivery[], request: FastifyRequest, reply: FastifyReply) {
    this.#claims = claims
    this.#request = request
    this.#reply = reply
    this.#gone = isGone(reply)
    this.#watchResponse()
    for (const claim of claims) {
      claim.hold(() => {
        quietly(() => { request.log.warn(lost) })
      })
    }
    this.#settle()
  }

  /**
   * Runs the handler, unless the delivery is free already, because its sender has left or an error is being
   * answered: another try may have begun.
   */
  run (handler: () => unknown): unknown {
    // Two registrations of the plugin wrap a handler twice.
    if (this.#phase !== 'before') return handler()
    if (this.#gone || isGone(this.#reply)) {
      this.#gone = true
      this.#settle()
      return giveUp(this.#request, this.#reply)
    }
    if (this.#settled !== null) return undefined
    this.#phase = 'running'
    this.#watchReply()
    let result: unknown
    try {
      result = handler()
    } catch (error) {
      this.#ended('rejected')
      throw error
    }
    // The reply is a promise of its own response.
    if (!isPromiseLike(result) || result === this.#reply as unknown) {
      this.#phase = 'returned'
      this.#settle()
      return result
    }
    // Instead of the handler's own: `then` of a query that has not been sent yet would send it a second time.
    return Promise.resolve(result).then((value) => {
      this.#ended('resolved', value)
      return value
    }, (error: unknown) => {
      this.#ended('rejected')
      throw error
    })
  }

  /** Notes an error, and has it answered by `answer`, which calls the error handler. */
  fail (error: unknown, answer: () => void): void {
    // Of an answer that came too late to be sent. What the handler has said is known already.
    if (this.#timedOut) return answer()
    if (!isTimeout(error) || this.#phase === 'before' || this.#phase === 'rejected') {
      // Which status it gets is not known yet. Released now, and not when the answer has been sent: the
      // sender may be fast.
      this.#status = 500
      this.#settle()
      return answer()
    }
    this.#timedOut = true
    this.#ownStatus = this.#reply.statusCode
    this.#settle()
    answering.run(this, answer)
  }

  /** Notes a response that is about to be sent. */
  sending (payload: unknown): void {
    if (this.#timedOut || this.#isFastifysOwn(payload)) return
    this.#status = this.#statusOf(payload)
    // Of a stream that has no reader from the start it does not matter whether it fails.
    this.#payload = isGone(this.#reply) ? 'whole' : kindOf(payload)
    if (this.#payload === 'stream') {
      const stream = payload as NodeJS.ReadableStream & { readableEnded?: boolean }
      const failed = (): void => {
        this.#payload = 'failed-stream'
        this.#settle()
      }
      stream.once('error', failed)
      // Destroyed in the middle, and not because its reader has left.
      stream.once('close', () => { if (stream.readableEnded === false && !this.#gone) failed() })
    }
    this.#settle()
  }

  #ended (phase: 'resolved' | 'rejected', value?: unknown): void {
    this.#phase = phase
    const saysNothing = value === undefined && this.#awaitsReply
    // Fastify sends nothing then, so that no hook will see it.
    const isUnseen = phase === 'resolved' && (this.#timedOut || (this.#gone && value === undefined))
    if (isUnseen && !saysNothing && !this.#hijacked) this.#status ??= this.#statusOf(value)
    this.#settle()
  }

  #outcome (): Outcome {
    if (this.#phase === 'running') return 'open'
    if (this.#status === null) return this.#unanswered()
    if (this.#status >= 400) return 'failed'
    return this.#phase === 'rejected' ? 'handled' : this.#sent()
  }

  #unanswered (): Outcome {
    if (this.#phase === 'rejected') return 'failed'
    if (this.#phase === 'before') return this.#gone ? 'failed' : 'open'
    if (!this.#gone && !this.#timedOut) return 'open'
    // Fastify is about to send what the promise of the handler has resolved with, unless it was hijacked.
    return this.#phase === 'resolved' && !this.#awaitsReply && !this.#reply.sent ? 'open' : 'unknown'
  }

  /**
   * Of a response with a good status. A hook that follows may still change it, until it has been sent or
   * there is nobody left to send it to.
   */
  #sent (): Outcome {
    if (this.#timedOut) return 'handled'
    if (this.#payload === 'failed-stream') return 'failed'
    if (this.#finished) return 'handled'
    if (!this.#gone) return 'open'
    // Of a web stream that ended early nobody says whether it failed or its reader left.
    return this.#payload === 'web-stream' ? 'unknown' : 'handled'
  }

  #settle (): void {
    const outcome = this.#outcome()
    // What was handled stays so. What was released is remembered all the same where an error handler answers
    // a good status.
    if (outcome === 'open' || outcome === this.#settled || this.#settled === 'handled') return
    this.#settled = outcome
    for (const claim of this.#claims) {
      if (outcome === 'unknown') claim.abandon()
      else report(outcome === 'handled' ? claim.finish() : claim.release(), reports[outcome], this.#request)
    }
  }

  #watchResponse (): void {
    const { raw } = this.#reply
    const leave = (): void => {
      unwatchSocket()
      if (this.#finished || this.#gone) return
      this.#gone = true
      this.#settle()
      for (const resume of this.#waiting) resume()
    }
    const unwatchSocket = this.#gone ? () => {} : watchSocket(this.#request, leave)
    // Not writableFinished: of a response that is no socket's, as those of inject(), it is never true.
    raw.once('finish', () => {
      // Over HTTP/2 a stream that was reset has finished as well.
      if (!raw.writableEnded) return
      unwatchSocket()
      this.#finished = true
      if (!this.#timedOut) this.#status = raw.statusCode
      this.#settle()
    })
    raw.once('close', leave)
  }

  /** Watches what the handler does with its reply, for the time when no hook sees it any more. */
  #watchReply (): void {
    const reply = this.#reply as unknown as Record<Watched, Method>
    const { then, send, code, redirect, callNotFound, hijack } = reply

    // A handler that returns its reply, to send it later, has a promise that ends with the connection, while
    // its work goes on. It is known by its asking the reply, and its end by what it sends.
    reply.then = (fulfilled, rejected) => {
      if (!this.#isErrorHandler()) this.#awaitsReply = true
      let isPending = true
      const resume = (): void => {
        if (!isPending) return
        isPending = false
        if (isGone(this.#reply)) {
          this.#justContinued = true
          setImmediate(() => { this.#justContinued = false })
        }
        ;(fulfilled as () => void)()
      }
      then.call(reply, resume, rejected)
      // Fastify notifies nobody where the stream of HTTP/2 was reset before, nor where the response waits
      // behind another one and the socket closes: the handler would run for ever.
      if (this.#gone) resume()
      else this.#waiting.push(resume)
    }

    reply.send = (payload, ...rest) => {
      const isUnseen = this.#isUnseen()
      const result = send.call(reply, payload, ...rest)
      if (isUnseen) this.#answered(this.#statusOf(payload))
      return result
    }
    reply.hijack = () => {
      this.#hijacked = true
      return hijack.call(reply)
    }
    reply.callNotFound = () => {
      const isUnseen = this.#isUnseen()
      const result = callNotFound.call(reply)
      if (isUnseen) this.#answered(404)
      return result
    }
    reply.code = reply.status = (status) => {
      const result = code.call(reply, status)
      if (this.#isUnseen()) this.#ownStatus = Number(status)
      return result
    }
    // By default it takes the status that the response has, which after a timeout is not the handler's.
    reply.redirect = (url, status) => {
      const own = this.#ownStatus === 200 ? 302 : this.#ownStatus
      return redirect.call(reply, url, status ?? (this.#timedOut && this.#isUnseen() ? own : undefined))
    }
  }

  #answered (status: number): void {
    this.#status ??= status
    this.#settle()
  }

  /** Whether the handler calls its reply and no hook will see it. */
  #isUnseen (): boolean {
    if (this.#timedOut) return !this.#isErrorHandler()
    return this.#gone && this.#reply.sent
  }

  /**
   * Whether the reply is called by what answers the timeout: an error handler, a hook, or Fastify for them.
   */
  #isErrorHandler (): boolean {
    return this.#timedOut && answering.getStore() === this
  }

  /** The status of a response with this payload. Fastify takes that of a web `Response` after all hooks. */
  #statusOf (payload: unknown): number {
    if (payload instanceof Error) return 500
    if (isWebResponse(payload)) return payload.status
    return this.#timedOut ? this.#ownStatus : this.#reply.statusCode
  }

  /**
   * Fastify 5.0 sends nothing as the answer of a handler whose connection was closed while it awaited its
   * reply.
   */
  #isFastifysOwn (payload: unknown): boolean {
    return payload === undefined && this.#justContinued
  }
}

type Watched = 'then' | 'send' | 'code' | 'status' | 'redirect' | 'callNotFound' | 'hijack'
type Method = (...values: unknown[]) => unknown

/**
 * The delivery whose timeout is being answered: tells the calls of an error handler from those of the
 * handler. It follows the error handler, and not the handler, which may answer from a callback that has lost
 * its context.
 */
const answering = new AsyncLocalStorage<DeliveryHandling>()

/** Whether nobody is left to receive the response. */
export function isGone ({ raw, request }: FastifyReply): boolean {
  if (raw.destroyed || (raw as { stream?: { destroyed?: boolean } }).stream?.destroyed === true) return true
  // A response that waits behind another one on its connection has no socket yet; HTTP/2 has none at the end.
  return (request.raw.socket as Socket | null)?.destroyed === true
}

const departures = new WeakMap<Socket, Set<() => void>>()

/**
 * Calls `leave` when the connection is closed: Node emits neither `finish` nor `close` on a response that
 * waits behind another one. Each socket has one listener, however many deliveries it carries. Returns what
 * takes the delivery off again.
 */
function watchSocket ({ raw: { socket, httpVersionMajor } }: FastifyRequest, leave: () => void): () => void {
  // A stream of HTTP/2 waits behind no other one.
  if (httpVersionMajor > 1) return () => {}
  const leaving = departures.get(socket) ?? new Set()
  if (!departures.has(socket)) {
    departures.set(socket, leaving)
    socket.once('close', () => { for (const each of leaving) each() })
  }
  leaving.add(leave)
  return () => { leaving.delete(leave) }
}

/** Leaves a response unsent whose connection is closed; its handler has not been started. */
export function giveUp (request: FastifyRequest, reply: FastifyReply): undefined {
  quietly(() => { request.log.info('the sender left before its delivery was handled') })
  reply.hijack()
  return undefined
}

const lost = 'another try has taken over a delivery whose handler is still running: this process was stopped for longer than its lease'

const reports = {
  handled: 'a delivery was handled and could not be remembered: sent again after its lease, it will be handled again',
  failed: 'a failed delivery could not be released: sent again before its lease ends, it will be answered 409'
} as const

function report (outcome: AuthError | null | Promise<AuthError | null>, message: string, request: FastifyRequest): void {
  const log = (failure: AuthError | null): void => {
    if (failure !== null) quietly(() => { request.log.error({ err: failure }, message) })
  }
  if (outcome instanceof Promise) outcome.then(log, () => {})
  else log(outcome)
}

/** Nobody catches what a logger throws in an event or behind a promise: it would end the process. */
function quietly (log: () => void): void {
  try {
    log()
  } catch {
    // The delivery is settled all the same.
  }
}

function isTimeout (error: unknown): boolean {
  return (error as { code?: unknown } | null | undefined)?.code === 'FST_ERR_HANDLER_TIMEOUT'
}

function isWebResponse (payload: unknown): payload is { status: number } {
  return Object.prototype.toString.call(payload) === '[object Response]' &&
    typeof (payload as { status?: unknown }).status === 'number'
}

function kindOf (payload: unknown): 'whole' | 'stream' | 'web-stream' {
  if (typeof payload !== 'object' || payload === null) return 'whole'
  const { pipe, once } = payload as { pipe?: unknown, once?: unknown }
  if (typeof pipe === 'function' && typeof once === 'function') return 'stream'
  return payload instanceof Uint8Array ? 'whole' : 'web-stream'
}
