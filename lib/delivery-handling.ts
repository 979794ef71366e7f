/**
 * What becomes of a delivery between its claim and the end of its handler: handled, or free for the sender's
 * next try.
 */
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
 * A delivery is handled when its response has a status below 400. It is settled only when the handler has
 * ended, not when the connection has: a sender that leaves, and a `handlerTimeout`, end no handler, and a
 * second one must not run next to it.
 */
export class DeliveryHandling {
  readonly #request: FastifyRequest
  readonly #reply: FastifyReply
  readonly #claims: readonly ClaimedDelivery[]
  #phase: Phase = 'before'
  /** The status that the response has, or will have when it is sent; null while there is none. */
  #status: number | null = null
  #payload: 'whole' | 'stream' | 'web-stream' | 'failed-stream' = 'whole'
  /** The response has been sent to its end. */
  #finished = false
  /** The connection was closed before that. */
  #gone: boolean
  /** The event loop has not turned since the connection was closed. */
  #closing = false
  /** The response is Fastify's own, because the handler took too long. */
  #timedOut = false
  /** The handler waits for the response, and its promise says nothing more than the response does. */
  #awaitsReply = false
  #settled: Exclude<Outcome, 'open'> | null = null

  constructor (claims: readonly ClaimedDelivery[], request: FastifyRequest, reply: FastifyReply) {
    this.#claims = claims
    this.#request = request
    this.#reply = reply
    const { raw } = reply
    this.#gone = isGone(reply)
    // Not writableFinished: of a response that is no socket's, as those of inject(), it is never true.
    raw.once('finish', () => {
      // Over HTTP/2 a stream that was reset has finished as well.
      if (!raw.writableEnded) return
      this.#finished = true
      if (!this.#timedOut) this.#status = raw.statusCode
      this.#settle()
    })
    raw.once('close', () => {
      if (this.#finished) return
      this.#gone = true
      this.#closing = true
      setImmediate(() => { this.#closing = false })
      this.#settle()
    })
    for (const claim of claims) {
      claim.hold(() => {
        quietly(() => { request.log.warn(lost) })
      })
    }
    this.#settle()
  }

  /**
   * Runs the handler, unless the sender has left: the delivery is free then, and another try may have begun.
   */
  run (handler: () => unknown): unknown {
    // Two registrations of the plugin wrap a handler twice.
    if (this.#phase !== 'before') return handler()
    if (this.#gone || isGone(this.#reply)) {
      this.#gone = true
      this.#settle()
      return giveUp(this.#request, this.#reply)
    }
    this.#phase = 'running'
    this.#watchThen()
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

  /** Notes an error that will be answered. */
  failing (error: unknown): void {
    if (isTimeout(error) && (this.#phase === 'running' || this.#phase === 'returned')) {
      this.#timedOut = true
    } else {
      // Which status it gets is not known yet. Released now, and not when the answer has been sent: the
      // sender may be fast.
      this.#status = 500
    }
    this.#settle()
  }

  /** Notes a response that is about to be sent. */
  sending (payload: unknown): void {
    if (this.#timedOut || this.#isFastifysOwn(payload)) return
    this.#status = this.#reply.statusCode
    this.#payload = kindOf(payload)
    if (this.#payload === 'stream') {
      (payload as NodeJS.ReadableStream).once('error', () => {
        this.#payload = 'failed-stream'
        this.#settle()
      })
    }
    this.#settle()
  }

  #ended (phase: 'resolved' | 'rejected', value?: unknown): void {
    this.#phase = phase
    // Of a promise that resolves with something Fastify is about to send it, and says then what its status
    // is.
    const sendsNothing = phase === 'resolved' && value === undefined && this.#gone
    if (sendsNothing && !this.#awaitsReply && !this.#timedOut) this.#status ??= this.#reply.statusCode
    this.#settle()
  }

  #outcome (): Outcome {
    const isGood = this.#status !== null && this.#status < 400
    switch (this.#phase) {
      case 'running': return 'open'
      case 'before':
        if (this.#status === null) return this.#gone ? 'failed' : 'open'
        return isGood ? this.#sent() : 'failed'
      case 'rejected': return isGood ? 'handled' : 'failed'
      case 'resolved':
        if (this.#timedOut) return 'handled'
        break
      case 'returned':
        if (this.#timedOut) return 'unknown'
    }
    if (this.#status !== null) return isGood ? this.#sent() : 'failed'
    if (!this.#gone) return 'open'
    return this.#phase === 'resolved' && !this.#awaitsReply ? 'open' : 'unknown'
  }

  /**
   * Of a response with a good status. A hook that follows may still change it, until it has been sent or
   * there is nobody left to send it to.
   */
  #sent (): Outcome {
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

  /**
   * A handler that returns its reply, to send it later, has a promise that ends with the connection, while
   * its work goes on. It is known by its asking the reply, and its end by what it sends.
   */
  #watchThen (): void {
    const reply = this.#reply as unknown as Record<'then' | 'send', (...values: unknown[]) => unknown>
    const { then, send } = reply
    reply.then = (...handlers) => {
      this.#awaitsReply = true
      return then.apply(reply, handlers)
    }
    reply.send = (...values) => {
      const [payload] = values
      const sent = send.apply(reply, values)
      // Where Fastify has sent something of its own no hook sees this any more.
      const isUnseen = this.#gone && this.#awaitsReply && this.#status === null && !this.#timedOut
      if (isUnseen && !this.#isFastifysOwn(payload)) {
        this.#status = payload instanceof Error ? 500 : this.#reply.statusCode
        this.#settle()
      }
      return sent
    }
  }

  /**
   * Fastify 5.0 sends nothing as the answer of a handler whose connection was closed while it awaited its
   * reply.
   */
  #isFastifysOwn (payload: unknown): boolean {
    return payload === undefined && this.#closing && this.#awaitsReply
  }
}

/** Whether nobody is left to receive the response. */
export function isGone ({ raw }: FastifyReply): boolean {
  return raw.destroyed || (raw as { stream?: { destroyed?: boolean } }).stream?.destroyed === true
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

function kindOf (payload: unknown): 'whole' | 'stream' | 'web-stream' {
  if (typeof payload !== 'object' || payload === null) return 'whole'
  const { pipe, once } = payload as { pipe?: unknown, once?: unknown }
  if (typeof pipe === 'function' && typeof once === 'function') return 'stream'
  return payload instanceof Uint8Array ? 'whole' : 'web-stream'
}
