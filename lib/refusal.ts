/** How a refusal leaves: its challenge on the reply, its reason in the log, the decision on its channel. */
import { channel } from 'node:diagnostics_channel'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { AuthError, challengeHeader, isAuthError, retryAfterHeader } from './errors.js'
import { principalBindings, type PrincipalBindings } from './log-bindings.js'
import type { Plan } from './route.js'
import type { Principal } from './principal.js'

/** Every decision of a route's rule: published only where somebody has subscribed. */
export const decisions = channel('causeflow-auth:decision')

/** Milliseconds on a monotonic clock; 0, and no call, where nobody wants to know. */
export function decisionStart (): number {
  return decisions.hasSubscribers ? performance.now() : 0
}

/**
 * Makes a failure ready to be answered: an AuthError always, its challenge on the reply (where it survives every error
 * handler), its reason in the log and in the decision event.
 */
export function refuse (error: unknown, request: FastifyRequest, reply: FastifyReply, plan: Plan | null, started = 0): AuthError {
  const refusal = asRefusal(error)
  challenge(refusal, reply)
  report(refusal, request, plan, started)
  return refusal
}

/** Puts on the reply what an answer with this error has to say in its headers. */
export function challenge (refusal: AuthError, reply: FastifyReply): void {
  const challenge = challengeHeader(refusal)
  if (challenge !== null) reply.header('www-authenticate', challenge)
  const retryAfter = retryAfterHeader(refusal)
  if (retryAfter !== null) reply.header('retry-after', retryAfter)
}

/** A failure as an AuthError, its reason in the log and in the decision event; the reply is not touched. */
export function report (error: unknown, request: FastifyRequest, plan: Plan | null, started = 0): AuthError {
  const refusal = asRefusal(error)
  const { code, reason, statusCode } = refusal
  const facts = { code, reason, rule: plan?.rule.words, ...whose(refusal) }
  if (statusCode >= 500) request.log.error({ ...facts, err: refusal }, 'authentication could not be decided')
  else request.log.info(facts, 'request refused')
  publishDecision(plan, refusal, null, started)
  return refusal
}

/** Who was proved and may not, apart from what `bindPrincipalToLog` has put on the line. An error of an older copy of this package does not know. */
function whose ({ principal }: Partial<AuthError>): { principal: PrincipalBindings } | null {
  return principal === null || principal === undefined ? null : { principal: principalBindings(principal) }
}

function asRefusal (error: unknown): AuthError {
  return isAuthError(error) ? error : new AuthError('AUTH_RULE_UNDECIDABLE', 'not-verified', { cause: error })
}

export function publishDecision (plan: Plan | null, refusal: AuthError | null, principal: Principal | null, started: number): void {
  if (!decisions.hasSubscribers) return
  decisions.publish({
    outcome: refusal === null ? 'accepted' : 'refused',
    code: refusal?.code ?? null,
    reason: refusal?.reason ?? null,
    scheme: principal?.scheme ?? null,
    route: plan?.label ?? null,
    // Milliseconds; for a signature from the last byte of its body.
    duration: started === 0 ? 0 : performance.now() - started
  })
}
