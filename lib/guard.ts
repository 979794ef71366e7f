/** Guards: hooks that carry a rule. A route that recognises one enforces it in onRequest; any other decides where it runs. */
import type { FastifyReply, FastifyRequest } from 'fastify'
import { decide, type Proof } from './decide.js'
import { AuthError, configError } from './errors.js'
import { Presentation } from './presentation.js'
import { report, settle } from './refusal.js'
import { registrationOf, requireNode, type Registration } from './registration.js'
import { acceptGuard, kProved, stateOf } from './request-state.js'
import { guardRules, planRoute, type Plan } from './route.js'
import type { AuthRule } from './rule.js'

/** A hook that carries a rule: for a route's onRequest, preParsing, preValidation or preHandler. */
export type Guard = (request: unknown, reply: unknown, ...rest: unknown[]) => void

/** Makes the guard of a rule. What is not configured is refused now; what a URL lacks, when its route is known. */
export function createGuard (rule: AuthRule, registration: Registration): Guard {
  const node = requireNode(rule, (message) => configError('rule', `require() ${message}`))
  registration.compile(node, { label: 'require()', params: null })
  const guard: Guard = (request, reply, ...rest) => {
    // The last argument: a preParsing hook has the payload before it.
    const done = rest[rest.length - 1] as (error?: Error) => void
    if (stateOf(request as FastifyRequest)[kProved]?.authRule === rule) return done()
    enforce(rule, registration, request as FastifyRequest).then(
      () => { settle(done, null, reply as FastifyReply) },
      (refusal: AuthError) => { settle(done, refusal, reply as FastifyReply) }
    )
  }
  guardRules.set(guard, rule)
  return guard
}

/**
 * Decides a rule wherever the request is. Its URL is the route's, so a tenant is bound here too. A rule with a signature
 * is undecidable: the body may have been parsed already.
 */
export async function decideHere (rule: AuthRule, request: FastifyRequest, registration: Registration): Promise<Proof> {
  const innermost = registrationOf(request.server) ?? registration
  let plan: Plan
  try {
    plan = planHere(rule, innermost, request.routeOptions.url ?? '')
  } catch (cause) {
    throw new AuthError('AUTH_RULE_UNDECIDABLE', 'not-compiled', { cause })
  }
  if (plan.signed) throw new AuthError('AUTH_RULE_UNDECIDABLE', 'not-compiled')
  return await decide(plan.rule, new Presentation(plan.rule, innermost.verifiers, request)) as Proof
}

async function enforce (rule: AuthRule, registration: Registration, request: FastifyRequest): Promise<void> {
  try {
    const proof = await decideHere(rule, request, registration)
    acceptGuard(request, proof, (registrationOf(request.server) ?? registration).settings.tenant !== null)
  } catch (error) {
    // Without its challenge on the reply: in a composition that tries one guard after the other, the next may let the request in.
    throw report(error, request, null)
  }
}

// By registration, rule and URL, each of which the application's code has written: as bounded as that is.
const plans = new WeakMap<Registration, WeakMap<AuthRule, Map<string, Plan>>>()

function planHere (rule: AuthRule, registration: Registration, url: string): Plan {
  const byRule = plans.get(registration) ?? new WeakMap<AuthRule, Map<string, Plan>>()
  plans.set(registration, byRule)
  const byUrl = byRule.get(rule) ?? new Map<string, Plan>()
  byRule.set(rule, byUrl)
  const plan = byUrl.get(url) ?? planRoute(registration, { method: [], url, stated: rule, rawBody: false, declared: new Set() })
  byUrl.set(url, plan)
  return plan
}
