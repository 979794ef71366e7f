/** Not-found handlers with a rule: `setNotFoundHandler({ config: { auth } }, handler)`, or with a guard among its hooks. */
import type { FastifyInstance, FastifyReply, FastifyRequest, RouteOptions } from 'fastify'
import { configError } from './errors.js'
import { enforce } from './guard.js'
import { refuseMisplaced } from './misplaced.js'
import { recheckDecisions } from './recheck.js'
import { registrationOf, type Registration } from './registration.js'
import { kProved, stateOf } from './request-state.js'
import { kRoute, planRoute, readStatement, type Plan, type RouteRecord } from './route.js'
import { urlParams } from './url-params.js'
import type { AuthRule } from './rule.js'

/** A not-found handler with a rule, as it was set. */
export interface NotFoundRecord extends Pick<RouteRecord, 'instance' | 'plan'> {
  readonly rule: AuthRule
}

type NotFoundHandler = (this: FastifyInstance, request: FastifyRequest, reply: FastifyReply) => unknown

/**
 * Has every not-found handler that is set from now on, in this scope and within it, obey the rule that it states. `onRoute` hooks do not
 * see these handlers, `onRequest` hooks do not run for `reply.callNotFound()`, and other hooks can be skipped: so the handler itself
 * is wrapped. Throws AUTH_CONFIG_ROUTE where the handler is set, for what can never be decided.
 */
export function guardNotFoundHandlers (instance: FastifyInstance, note: (record: NotFoundRecord) => void): void {
  const original = instance.setNotFoundHandler as (this: FastifyInstance, ...args: unknown[]) => unknown
  instance.setNotFoundHandler = function causeflowAuthNotFound (this: FastifyInstance, ...args: unknown[]): unknown {
    const [first, second] = args
    const label = labelOf(this)
    if (typeof first === 'function' && second !== undefined) throw configError('route', `${label}: its options come after the handler, where nothing reads them. Write them first`)
    const handler = typeof first === 'function' ? first : second
    if (typeof handler !== 'function') return original.apply(this, args)
    const options: Partial<RouteOptions> = typeof first === 'object' && first !== null ? first : {}
    const { stated, rawBody } = readStatement({ method: [label], url: '', options })
    refuseMisplaced(label, options, stated)
    if (rawBody) throw configError('route', `${label}: keeps no raw body. Take config.rawBody off`)
    // A guard of a scope around it may have decided before the body arrived.
    const preValidation = [recheckDecisions, ...[options.preValidation ?? []].flat()]
    if (stated === null) return original.call(this, { ...options, preValidation }, handler)
    const record: NotFoundRecord = { instance: this, rule: stated, plan: null }
    note(record)
    const config = { ...options.config, [kRoute]: record }
    return original.call(this, { ...options, preValidation, config }, wrapNotFound(handler as NotFoundHandler, record))
  } as unknown as FastifyInstance['setNotFoundHandler']
}

/** Compiles the rule of a not-found handler. Throws AUTH_CONFIG_…. */
export function planNotFound ({ instance, rule }: NotFoundRecord): Plan {
  const label = labelOf(instance)
  const plan = planRoute(registrationOf(instance) as Registration, { method: [label], url: '', stated: rule, rawBody: false, declared: new Set(), names: urlParams(instance.prefix), open: true })
  if (plan.signed) throw configError('route', `${label}: cannot check a signature. Take auth.webhook() off, or verify on a route`)
  return plan
}

/** Decides the rule here where the request has come by `reply.callNotFound()`, or past the onRequest hook. */
function wrapNotFound (handler: NotFoundHandler, { instance, rule }: NotFoundRecord): NotFoundHandler {
  return function causeflowAuthNotFoundHandler (request, reply) {
    if (stateOf(request)[kProved]?.authRule === rule) return handler.call(this, request, reply)
    return enforce(rule, registrationOf(instance) as Registration, request).then(() => {
      const answer = handler.call(this, request, reply)
      // A handler that answers later, by reply.send(), returns nothing: Fastify waits for the reply instead.
      return answer === undefined ? reply : answer
    })
  }
}

function labelOf ({ prefix }: FastifyInstance): string {
  return `The not-found handler of ${prefix === '' ? '/' : prefix}`
}
