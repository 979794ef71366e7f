/** Decisions that wait for a body are made again where they have become old. */
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { decide, type Pending, type Proof } from './decide.js'
import { AuthError } from './errors.js'
import { methodsWithBody } from './fastify-internals.js'
import { kProofs } from './principal.js'
import { refuse, settle } from './refusal.js'
import { accept, kDecisions, stateOf, type Decision } from './request-state.js'
import { hasBody } from './webhook/raw-body.js'
import type { Presentation } from './presentation.js'
import type { Registration } from './registration.js'
import type { Plan } from './route.js'

/**
 * Milliseconds for which a decision is still valid when the body has arrived. Who sends a body slowly could otherwise use a
 * credential for as long as the connection lives after it was revoked or has expired.
 */
export const maxDecisionAge = 250

/** The methods whose bodies Fastify does not read by itself, so that their handler does not wait for one. */
const bodyless = new Set(['GET', 'HEAD', 'TRACE'])

/** What stands for the decisions of a request whose body is there: those made from now on do not wait for anything. */
const arrived: readonly Decision[] = Object.freeze([])

/**
 * Whether the handler of such a route may have to wait for a body. `addHttpMethod` may have given one to GET,
 * too.
 */
export function mayTakeBody (method: string | readonly string[], instance: FastifyInstance): boolean {
  const methods = [method].flat().map((one) => one.toUpperCase())
  const known = methodsWithBody(instance)
  return methods.some((one) => known === null ? !bodyless.has(one) : known.has(one))
}

/** Whether a request may have a body to come. HTTP/2 does not have to announce one (RFC 9113 §8.1). */
export function expectsBody (request: FastifyRequest): boolean {
  if (request.raw.httpVersionMajor === 1) return hasBody(request)
  return (request.raw as { stream?: { endAfterHeaders?: boolean } }).stream?.endAfterHeaders !== true
}

/** Milliseconds by the clock of a registration; NaN, which counts as old, where it fails. */
export function decisionTime ({ settings }: Registration): number {
  try {
    return settings.clock()
  } catch {
    return NaN
  }
}

/** Whether a decision is too old. One whose age is not a number or is negative counts as old. */
export function isOld (decidedAt: number, registration: Registration): boolean {
  const age = decisionTime(registration) - decidedAt
  return !(age >= 0 && age <= maxDecisionAge)
}

/**
 * Notes a decision that lets a request in, where a body is still to come. `again` decides it once more: it sets the principal,
 * or throws (or rejects with) the AuthError of the answer, which is already logged.
 */
export function recordDecision (request: FastifyRequest, registration: Registration, again: Decision['again']): void {
  const state = stateOf(request)
  const known = state[kDecisions]
  if (known === arrived || !expectsBody(request)) return
  const decision = { registration, decidedAt: decisionTime(registration), again }
  state[kDecisions] = known === null || known === undefined ? [decision] : [...known, decision]
}

/** A hook of preValidation, when the body is there: decides again where a decision is old. Which ones are old is nearly always none. */
export function recheckDecisions (request: FastifyRequest, reply: FastifyReply, done: (error?: Error) => void): void {
  const state = stateOf(request)
  const decisions = state[kDecisions]
  state[kDecisions] = arrived
  if (decisions === null || decisions === undefined || !decisions.some(isOldDecision)) return done()
  // What a decision that fails has proved before must not be read by an error handler.
  state.principal = null
  state[kProofs] = null
  decideAll(decisions).then(
    () => { settle(done, null, reply) },
    (error: unknown) => { settle(done, error instanceof Error ? error : refuse(error, request, reply, null), reply) }
  )
}

/** Whether a request is about to reach its handler with a decision that is old: a hook has ended preValidation before ours was called. */
export function wasNotRechecked (request: FastifyRequest): boolean {
  return stateOf(request)[kDecisions]?.some(isOldDecision) === true
}

/** Decides the rule of a route again. */
export function decideRouteAgain (plan: Plan, presentation: Presentation, request: FastifyRequest, reply: FastifyReply): void | Promise<void> {
  let decided: Proof | Pending | Promise<Proof | Pending>
  try {
    decided = renew(plan, presentation)
  } catch (error) {
    throw refuse(error, request, reply, plan)
  }
  if (!(decided instanceof Promise)) return acceptAgain(decided, plan, request, reply)
  return decided.then(
    (settled) => { acceptAgain(settled, plan, request, reply) },
    (error: unknown) => { throw refuse(error, request, reply, plan) }
  )
}

/** Decides again all of a rule with a signature that needs no body, the secret included. */
export function openAgain (plan: Plan, presentation: Presentation): Pending | Promise<Pending> {
  const decided = renew(plan, presentation)
  return decided instanceof Promise ? decided.then(requirePending) : requirePending(decided)
}

function renew (plan: Plan, presentation: Presentation): Proof | Pending | Promise<Proof | Pending> {
  presentation.renew()
  return decide(plan.rule, presentation)
}

function acceptAgain (decided: Proof | Pending, plan: Plan, request: FastifyRequest, reply: FastifyReply): void {
  if (decided.pending) throw refuse(new AuthError('AUTH_RULE_UNDECIDABLE', 'not-verified'), request, reply, plan)
  accept(request, plan, decided)
}

function requirePending (decided: Proof | Pending): Pending {
  if (!decided.pending) throw new AuthError('AUTH_RULE_UNDECIDABLE', 'not-verified')
  return decided
}

/** One after the other: the principal of a request comes out as it did the first time. */
async function decideAll (decisions: readonly Decision[]): Promise<void> {
  for (const { again } of decisions) await again()
}

function isOldDecision ({ decidedAt, registration }: Decision): boolean {
  return isOld(decidedAt, registration)
}
