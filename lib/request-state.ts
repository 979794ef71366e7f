/** What was decided for a request, kept on the request itself. */
import type { FastifyReply, FastifyRequest } from 'fastify'
import { AuthError } from './errors.js'
import type { DeliveryHandling } from './delivery-handling.js'
import { joinProofs, kProofs, type Principal, type Proved } from './principal.js'
import type { Pending, Proof } from './decide.js'
import type { Plan } from './route.js'
import type { Registration } from './registration.js'
import type { Presentation } from './presentation.js'
import type { Relabelled } from './webhook/raw-body.js'

export const kProved = Symbol('causeflow-auth.proved')
export const kBody = Symbol('causeflow-auth.body')
export const kGuardCalls = Symbol('causeflow-auth.guard-calls')
export const kHandled = Symbol('causeflow-auth.handled')
export const kDecisions = Symbol('causeflow-auth.decisions')
export const kCompared = Symbol('causeflow-auth.compared')

/**
 * What the plugin adds to a request. The symbols are no decorators: they come when they are needed, which costs less than a place in every
 * request, and a route that was there before the plugin lacks the others as well. So undefined counts as null.
 */
export interface RequestState {
  principal: Principal | null
  rawBody: Buffer | null
  [kProofs]: readonly Principal[] | null
  /** The plan whose rule is proved. */
  [kProved]: Plan | null
  [kBody]: BodyState | null
  /** The guards that were called for this request. */
  [kGuardCalls]: GuardCall[] | null
  /** The config of the route, or not-found handler, whose handler has begun; noted only where guards exist. */
  [kHandled]: object | null
  /** The decisions that were made while the body was still to come. */
  [kDecisions]: readonly Decision[] | null
  /** The proofs whose tenants were compared with parameters. */
  [kCompared]: readonly Proof[] | null
}

/** One call of a guard. */
export interface GuardCall {
  /** The guard itself; null for `authenticate()`. */
  readonly guard: object | null
  settled: boolean
  passed: boolean
  /** Whether something waits for the result: a callback, or whoever has asked the promise for it. */
  awaited: boolean
}

/** A decision that lets a request in before its body has arrived. */
export interface Decision {
  readonly registration: Registration
  /** Milliseconds, by the clock of the registration. */
  readonly decidedAt: number
  again (): void | Promise<void>
}

/** A body that is still to come, under a label of ours. */
export interface BodyState {
  readonly plan: Plan
  readonly reply: FastifyReply
  readonly relabelled: Relabelled
  /** `decidedAt`: milliseconds, by the clock of the plan's registration. */
  readonly signature: { readonly pending: Pending, readonly presentation: Presentation, readonly decidedAt: number } | null
  /** The bytes were read to the end and refused, so the connection may live on. */
  failed: boolean
  /** The delivery's claim in the replay store; null where there is none. */
  handling: DeliveryHandling | null
}

export function stateOf (request: FastifyRequest): RequestState {
  return request as unknown as RequestState
}

/**
 * Notes that the rule of the request's route is proved. Its principal counts before that of a guard, which may have run earlier; where
 * their tenants differ, throws AUTH_TENANT_MISMATCH.
 */
export function accept (request: FastifyRequest, plan: Plan, proof: Proof): void {
  const state = stateOf(request)
  const { principal, proofs } = state[kProofs] ? joinProofs(proof, provedSoFar(state), plan.registration.settings.tenant !== null) : proof
  state.principal = principal
  if (proofs !== null) state[kProofs] = proofs
  state[kProved] = plan
  noteTenantParams(request, proof)
}

/** Adds what a guard has proved: its principal fills only an empty `request.principal`. Throws AUTH_TENANT_MISMATCH. */
export function acceptGuard (request: FastifyRequest, proof: Proof, comparesTenants: boolean): void {
  if (proof.principal === null) return
  const state = stateOf(request)
  const { principal, proofs } = joinProofs(provedSoFar(state), proof, comparesTenants)
  state.principal = principal
  state[kProofs] = proofs ?? [principal ?? proof.principal]
  noteTenantParams(request, proof)
}

/** Notes a proof whose tenant was compared with parameters. */
export function noteTenantParams (request: FastifyRequest, proof: Proof): void {
  if (proof.tenantParams === null) return
  const state = stateOf(request)
  const known = state[kCompared]
  state[kCompared] = known ? [...known, proof] : [proof]
}

/**
 * Compares tenants with the parameters once more, as the handler will read them: a schema or a hook may have
 * changed them after the decision (`'07'` to 7, a default, another case). Null where they are still those of
 * the tenant, or are gone.
 */
export function tenantFault (request: FastifyRequest): AuthError | null {
  const compared = stateOf(request)[kCompared]
  const params = request.params as Readonly<Record<string, unknown>> | null | undefined
  if (!compared || typeof params !== 'object' || params === null) return null
  for (const { principal, proofs, tenantParams } of compared) {
    if (principal === null || tenantParams === null) continue
    const tenantId = principal.tenantId ?? proofs?.find((proof) => proof.tenantId !== null)?.tenantId ?? null
    for (const name of tenantParams) {
      const served = params[name]
      if (served === undefined || served === tenantId) continue
      if (tenantId !== null && (typeof served === 'number' || typeof served === 'bigint') && String(served) === tenantId) continue
      return new AuthError('AUTH_TENANT_MISMATCH', 'tenant-other', { schemes: [principal.scheme], principal })
    }
  }
  return null
}

function provedSoFar (state: RequestState): Proved {
  return { principal: state.principal ?? null, proofs: state[kProofs] ?? null }
}
