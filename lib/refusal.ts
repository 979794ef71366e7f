/** How a refusal leaves: its challenge on the reply, its reason in the log, the decision on its channel. */
import { channel } from 'node:diagnostics_channel'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { AuthError, challengeHeader, isAuthError, retryAfterHeader, type AuthErrorCode, type AuthErrorReason } from './errors.js'
import { principalBindings, type PrincipalBindings } from './log-bindings.js'
import type { Plan } from './route.js'
import type { Principal, Scheme } from './principal.js'

/** What a subscriber of the diagnostics channel `causeflow-auth:decision` receives. */
export interface DecisionEvent {
  readonly outcome: 'accepted' | 'refused'
  /** Null where the request was accepted, as are the reason and the detail. */
  readonly code: AuthErrorCode | null
  readonly reason: AuthErrorReason | null
  /** Which part failed, and what was expected; null where code and reason say it all. */
  readonly detail: string | null
  /** The scheme of the principal of an accepted request; null where there is none. */
  readonly scheme: Scheme | null
  /** The verified principal, also when the request is denied; null if no credential was verified. */
  readonly principal: PrincipalBindings | null
  /** `POST /v1/alerts`; null for a guard. */
  readonly route: string | null
  /** Milliseconds; for a signature from the last byte of its body. */
  readonly duration: number
}

/** Every decision of a route's rule: published only where somebody has subscribed. */
export const decisions = channel('causeflow-auth:decision')

/** Milliseconds on a monotonic clock; 0, and no call, where nobody wants to know. */
export function decisionStart (): number {
  return decisions.hasSubscribers ? performance.now() : 0
}

/**
 * Makes a failure ready to be answered: an AuthError always, its status and challenge on the reply (where they survive every error
 * handler), its reason in the log and in the decision event. Never throws.
 */
export function refuse (error: unknown, request: FastifyRequest, reply: FastifyReply, plan: Plan | null, started = 0): AuthError {
  const refusal = asRefusal(error)
  challenge(refusal, reply)
  return report(refusal, request, plan, started)
}

/**
 * Puts on the reply what an answer with this error has to say in its status and headers. Never throws: an application may have replaced
 * the methods of its replies.
 */
export function challenge (refusal: AuthError, reply: FastifyReply): void {
  try {
    // An error handler that throws undefined makes Fastify send an empty body with the status that the reply has by then.
    reply.code(refusal.statusCode)
    const challenge = challengeHeader(refusal)
    if (challenge !== null) reply.header('www-authenticate', challenge)
    const retryAfter = retryAfterHeader(refusal)
    if (retryAfter !== null) reply.header('retry-after', retryAfter)
  } catch { /* The rejection is still a rejection, without its header. */ }
}

/**
 * A failure as an AuthError, its reason in the log and in the decision event; the reply is not touched. Never throws: the error exists
 * before the application's logger and its serializers run, and nothing that they throw replaces it.
 */
export function report (error: unknown, request: FastifyRequest, plan: Plan | null, started = 0): AuthError {
  const refusal = asRefusal(error)
  try {
    const { code, reason, statusCode, detail } = refusal
    const facts = { code, reason, detail: detail ?? undefined, rule: plan?.rule.words, ...whose(refusal) }
    if (statusCode >= 500) request.log.error({ ...facts, err: refusal }, 'authentication could not be decided')
    else request.log.info(facts, 'request refused')
  } catch { /* A log line is missing. */ }
  publishDecision(plan, refusal, null, started)
  return refusal
}

/**
 * Calls `done` with a rejection. What answering throws comes out as this rejection: Fastify takes a falsy error that a hook throws for
 * the end of a phase without an error.
 */
export function reject (done: (error: Error) => void, refusal: AuthError): void {
  try {
    done(refusal)
  } catch {
    throw refusal
  }
}

/**
 * Calls `done` where nobody catches what it throws, in a promise or in a parser. What is thrown by the rest of the request becomes its
 * error; a rejection stays a rejection. Never throws: if the second try fails as well, the connection is closed.
 */
export function settle (done: (error?: Error) => unknown, refusal: Error | null, reply: FastifyReply): void {
  try {
    ignoreRejection(refusal === null ? done() : done(refusal))
  } catch (thrown) {
    try {
      ignoreRejection(done(refusal ?? errorOf(thrown)))
    } catch {
      destroy(reply)
    }
  }
}

/**
 * A callback of the application may be an async function. An unhandled rejection of its promise would end the
 * process.
 */
function ignoreRejection (returned: unknown): void {
  if (returned instanceof Promise) returned.catch(() => {})
}

function destroy (reply: FastifyReply): void {
  try {
    reply.raw.destroy()
  } catch { /* What was called with it is no reply. */ }
}

/** What was thrown, or an error in place of a value that Fastify would take for no error. */
export function errorOf (thrown: unknown): Error {
  return thrown ? thrown as Error : new Error('A value that is no error was thrown while a request was handled', { cause: thrown })
}

/** Who was proved and may not, apart from what `bindPrincipalToLog` has put on the line. An error of an older copy of this package does not know. */
function whose ({ principal }: Partial<AuthError>): { principal: PrincipalBindings } | null {
  return principal === null || principal === undefined ? null : { principal: principalBindings(principal) }
}

function asRefusal (error: unknown): AuthError {
  try {
    if (isAuthError(error)) return error
  } catch { /* An error of the application whose members throw. */ }
  return new AuthError('AUTH_RULE_UNDECIDABLE', 'not-verified', { cause: error })
}

/**
 * Publishes a decision. A subscriber that throws does not reach the request: Node raises what it throws as an uncaught exception on the
 * next tick, as on every diagnostics channel.
 */
export function publishDecision (plan: Plan | null, refusal: AuthError | null, principal: Principal | null, started: number): void {
  if (!decisions.hasSubscribers) return
  const proved = principal ?? refusal?.principal ?? null
  const event: DecisionEvent = {
    outcome: refusal === null ? 'accepted' : 'refused',
    code: refusal?.code ?? null,
    reason: refusal?.reason ?? null,
    detail: refusal?.detail ?? null,
    scheme: principal?.scheme ?? null,
    principal: proved === null ? null : principalBindings(proved),
    route: plan?.label ?? null,
    duration: started === 0 ? 0 : performance.now() - started
  }
  decisions.publish(event)
}
