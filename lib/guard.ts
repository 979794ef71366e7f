/** Guards: hooks that carry a rule. A route that recognises one enforces it in onRequest; any other decides where it runs. */
import type { FastifyInstance, FastifyReply, FastifyRequest, RouteOptions } from 'fastify'
import type { AnyReply, AnyRequest } from './any-server.js'
import { decide, type Proof } from './decide.js'
import { AuthError, configError } from './errors.js'
import { contextOf, hooksBeforeHandler, hooksOf, routeConfigOf, type RouteContext } from './fastify-internals.js'
import { Presentation } from './presentation.js'
import { recordDecision } from './recheck.js'
import { errorOf, report, settle } from './refusal.js'
import { registrationOf, requireNode, type Registration } from './registration.js'
import { acceptGuard, kBody, kGuardCalls, kHandled, kProved, noteTenantParams, stateOf, tenantFault, type GuardCall } from './request-state.js'
import { guardRules, labelOf, planRoute, type Plan } from './route.js'
import { auth, type AuthRule } from './rule.js'
import type { Principal } from './principal.js'

/**
 * A hook that carries a rule: for a route's or a scope's onRequest, preParsing, preValidation or preHandler, for a list of @fastify/auth,
 * and for code of your own. Like every hook of Fastify it is called in one of two ways: with a callback, or without one as a promise,
 * which rejects with the AuthError. The promise has to be awaited or returned.
 */
export interface Guard {
  (request: AnyRequest, reply: AnyReply): Promise<void>
  (request: AnyRequest, reply: AnyReply, done: (error?: Error) => void): void
  /** As a preParsing hook. */
  (request: AnyRequest, reply: AnyReply, payload: unknown, done: (error?: Error) => void): void
}

let guardsExist = false

/**
 * Makes the guard of a rule. What is not configured is refused now; what a URL lacks, when its route is known. With `tooLate` it throws:
 * a guard that is made while a request is handled, and not called, would let that request pass.
 */
export function createGuard (rule: AuthRule, registration: Registration, tooLate = false): Guard {
  if (isRequest(rule)) throw configError('rule', 'causeflowAuth.require is used as a hook. Call it with a rule: require(auth.jwt())')
  if (tooLate) throw configError('rule', 'causeflowAuth.require() was called after the app was ready. Make the guard while the app is built, or call await app.causeflowAuth.authenticate(request, rule)')
  const node = requireNode(rule, (message) => configError('rule', `require() ${message}`))
  registration.compile(node, { label: 'require()', params: null })
  guardsExist = true
  const guard = function causeflowAuthGuard (...given: readonly unknown[]): unknown {
    const [request, reply] = given
    const last = given[given.length - 1]
    const done = typeof last === 'function' ? last as (error?: Error) => void : null
    if (!isRequest(request)) return misuse(given.length, done)
    if (done !== null && isDecided(request, rule) && !isLate(request, given)) return proceed(done)
    const call: GuardCall = { guard, settled: false, passed: false, awaited: done !== null }
    note(request, call)
    const deciding = pass(rule, registration, request, given)
    if (done === null) return awaitable(deciding, call, request)
    deciding.then(() => {
      conclude(call, true)
      settle(done, null, reply as FastifyReply)
    }, (refusal: AuthError) => {
      conclude(call, false)
      settle(done, refusal, reply as FastifyReply)
    })
  } as Guard
  // It needs no `this`. Fastify and @fastify/auth bind every hook, and a copy would not be recognized.
  Object.defineProperty(guard, 'bind', { value: (self: unknown, ...bound: unknown[]) => bound.length === 0 ? guard : Function.prototype.bind.call(guard, self, ...bound) as unknown })
  // `await guard` and `async () => guard` forget the call. Without this they would let every request pass.
  Object.defineProperty(guard, 'then', { value: (_resolve: unknown, fail?: (error: Error) => void) => { fail?.(configError('rule', 'A guard was awaited or returned, and not called. Write await guard(request, reply), or give the hook itself to the route')) } })
  guardRules.set(guard, rule)
  return guard
}

/** Whether a value is a request of Fastify, and not one of Node, nor a copy by the spread operator, which lacks the headers. */
function isRequest (value: unknown): value is FastifyRequest {
  return typeof value === 'object' && value !== null && 'headers' in value && 'raw' in value && 'server' in value && 'routeOptions' in value
}

function misuse (given: number, done: ((error: Error) => void) | null): void {
  const error = given === 0
    ? configError('rule', 'A guard was called without a request. Where a hook is expected, write it without (): onRequest: app.causeflowAuth.jwt')
    : configError('rule', 'A guard was called with something that is no request of Fastify. Give it to onRequest, preParsing, preValidation or preHandler, or call await guard(request, reply)')
  if (done === null) throw error
  done(error)
}

/** Whether the route states this very rule: it is proved, or will be with the signature of the body, or no handler is reached. */
function isDecided (request: FastifyRequest, rule: AuthRule): boolean {
  const state = stateOf(request)
  return state[kProved]?.authRule === rule || (state[kBody]?.plan.authRule === rule && state[kBody].signature !== null)
}

/** Decides a guard's rule. Rejects with an AuthError, whatever went wrong. */
async function pass (rule: AuthRule, registration: Registration, request: FastifyRequest, given: readonly unknown[]): Promise<void> {
  try {
    if (isLate(request, given)) throw new AuthError('AUTH_RULE_UNDECIDABLE', 'late')
  } catch (error) {
    throw report(error, request, null)
  }
  await enforce(rule, registration, request)
}

/** Decides a rule and keeps what it proves. Rejects with an AuthError that is logged, whatever went wrong. */
export async function enforce (rule: AuthRule, registration: Registration, request: FastifyRequest): Promise<void> {
  try {
    if (isDecided(request, rule)) return
    const proof = await decideHere(rule, request, registration)
    const innermost = registrationOf(request.server) ?? registration
    acceptGuard(request, proof, innermost.settings.tenant !== null)
    if (proof.principal !== null) recordDecision(request, innermost, () => enforce(rule, registration, request))
  } catch (error) {
    // Without its challenge on the reply: in a composition that tries one guard after the other, the next may let the request in.
    throw report(error, request, null)
  }
}

/**
 * Whether a guard runs where it can protect nothing: once the handler has begun, or in a hook with the form of a later one. `callNotFound()`
 * gives a request a second handler, which has not begun.
 */
function isLate (request: FastifyRequest, given: readonly unknown[]): boolean {
  const [, reply, payload] = given
  const begun = stateOf(request)[kHandled]
  if (begun !== null && begun !== undefined && begun === routeConfigOf(request)) return true
  // onRequestAbort has no reply; of the hooks with four parameters, preParsing alone always has a stream.
  if (typeof reply === 'function' || (reply as Partial<FastifyReply> | undefined)?.sent === true) return true
  return given.length > 3 && typeof (payload as { pipe?: unknown } | null | undefined)?.pipe !== 'function'
}

function note (request: FastifyRequest, call: GuardCall): void {
  const state = stateOf(request)
  const calls = state[kGuardCalls]
  if (calls) calls.push(call)
  else state[kGuardCalls] = [call]
}

function conclude (call: GuardCall, passed: boolean): void {
  call.settled = true
  call.passed = passed
}

function proceed (done: () => void): void {
  try {
    done()
  } catch (error) {
    throw errorOf(error)
  }
}

/**
 * A promise that notes whether something waits for its rejection: `await` does, and so does whoever gives a second function to `then`.
 * `then` with one function and `finally` hand the rejection on, so what they return is watched in its place.
 */
class GuardPromise<T> extends Promise<T> {
  call: GuardCall | null = null

  static override get [Symbol.species] (): PromiseConstructor {
    return Promise
  }

  override then<A = T, B = never> (fulfilled?: ((value: T) => A | PromiseLike<A>) | null, rejected?: ((reason: unknown) => B | PromiseLike<B>) | null): Promise<A | B> {
    if (typeof rejected !== 'function') return this.#follow(super.then(fulfilled))
    if (this.call !== null) this.call.awaited = true
    return super.then(fulfilled, rejected)
  }

  override finally (action?: (() => void) | null): Promise<T> {
    const { call } = this
    // It asks by `then`, with two functions.
    this.call = null
    const next = super.finally(action)
    this.call = call
    return this.#follow(next)
  }

  #follow<A> (next: Promise<A>): Promise<A> {
    const follower = new GuardPromise<A>((resolve, reject) => { next.then(resolve, reject) })
    follower.call = this.call
    // The rejection of a guard must not end the process where nothing waits for it: the request is rejected instead. What the
    // application's own function throws stays its own.
    plainThen.call(this, undefined, () => { plainThen.call(follower, undefined, ignore).catch(ignore) }).catch(ignore)
    return follower
  }
}

const plainThen = Promise.prototype.then

function ignore (): void {}

/**
 * The promise of a guard that was called without a callback. Where nothing waits for it the process does not end: the handler is not
 * reached, and the log says why.
 */
function awaitable<T> (deciding: Promise<T>, call: GuardCall, request: FastifyRequest): Promise<T> {
  const promise = new GuardPromise<T>((resolve, fail) => {
    deciding.then((value) => {
      conclude(call, true)
      resolve(value)
    }, (error: Error) => {
      conclude(call, false)
      fail(error)
      // An await asks for the result a few steps after the call.
      setImmediate(() => { if (!call.awaited) warn(error, request) })
    })
  })
  promise.catch(ignore)
  promise.call = call
  return promise
}

function warn (error: Error, request: FastifyRequest): void {
  try {
    request.log.error({ err: error }, 'nothing waits for the promise of a guard, or of authenticate(), and it was rejected. Write await')
  } catch { /* A log line is missing. */ }
}

/**
 * Notes that a handler begins. Null where it may: every guard that stands before it has let the request in,
 * and the tenant is still that of the parameters. `enforced` is the rule that the handler decides by itself:
 * the guards of that rule need not have run.
 */
export function beginHandler (request: FastifyRequest, context = contextOf(request), enforced: AuthRule | null = null): AuthError | null {
  return guardFault(request, context, enforced) ?? tenantFault(request)
}

/**
 * Why a guard has not let the request in: a hook that throws undefined ends its phase and skips the guards
 * behind it, and a guard that nothing waits for has not decided. The guards are read from the context.
 */
function guardFault (request: FastifyRequest, context: RouteContext | null, enforced: AuthRule | null): AuthError | null {
  if (!guardsExist) return null
  const state = stateOf(request)
  state[kHandled] = routeConfigOf(request) ?? null
  const calls = state[kGuardCalls] ?? []
  if (calls.some(({ settled, awaited }) => !settled || !awaited)) return new AuthError('AUTH_RULE_UNDECIDABLE', 'not-awaited')
  if (context === null) return null
  for (const guard of guardsBefore(context)) {
    const rule = guardRules.get(guard)
    if (rule === enforced || rule === state[kProved]?.authRule) continue
    if (!calls.some((call) => call.guard === guard && call.passed)) return new AuthError('AUTH_RULE_UNDECIDABLE', 'not-verified')
  }
  return null
}

const guardsByContext = new WeakMap<object, readonly object[]>()

function guardsBefore (context: RouteContext): readonly object[] {
  let guards = guardsByContext.get(context)
  if (guards === undefined) {
    guards = (hooksBeforeHandler(context) as object[]).filter((hook) => guardRules.has(hook))
    guardsByContext.set(context, guards)
  }
  return guards
}

const hookNames = ['onRequest', 'preParsing', 'preValidation', 'preHandler', 'preSerialization', 'onSend', 'onResponse', 'onError', 'onTimeout', 'onRequestAbort'] as const
const guardedPhases = new Set<string>(hookNames.slice(0, 4))
const unfinished = new WeakMap<object, string>(Object.entries(auth).map(([name, builder]) => [builder, `auth.${name} is the builder of a rule. Write config: { auth: auth.${name}() }`]))

/** Has `require` be recognized where it is written without a rule. */
export function markRequire (require: CauseflowAuthRequire): void {
  unfinished.set(require, 'causeflowAuth.require needs a rule. Call it with a rule: require(auth.jwt())')
}

type CauseflowAuthRequire = (rule: AuthRule) => Guard

/** Refuses on a route what only makes a guard, or a rule. Throws AUTH_CONFIG_ROUTE. */
export function refuseUnfinished (route: RouteOptions): void {
  for (const name of hookNames) {
    for (const hook of [route[name]].flat()) {
      const problem = typeof hook === 'function' ? unfinished.get(hook) : undefined
      if (problem !== undefined) throw configError('route', `${labelOf(route.method, route.url)}, ${name}: ${problem}`)
    }
  }
}

/**
 * Refuses guards in a scope's hooks that come after the handler, or have no request, and hooks that only make a guard. Does nothing where
 * the hooks cannot be read: such a guard rejects when it runs. Throws AUTH_CONFIG_ROUTE.
 */
export function refuseMisplacedGuards (instance: FastifyInstance): void {
  for (const { prefix, phases } of hooksOf(instance) ?? []) {
    const where = (name: string): string => `addHook('${name}') in the scope ${prefix === '' ? '/' : prefix}`
    for (const [name, hooks] of Object.entries(phases)) {
      for (const hook of Array.isArray(hooks) ? hooks as object[] : []) {
        const problem = unfinished.get(hook)
        if (problem !== undefined) throw configError('route', `${where(name)}: ${problem}`)
        if (guardRules.has(hook) && !guardedPhases.has(name)) throw configError('route', `${where(name)}: a guard there protects nothing, the handler has run by then. Use onRequest, preParsing, preValidation or preHandler`)
      }
    }
  }
}

/** Decides a rule for `authenticate()`: its promise is watched as a guard's is. */
export function authenticateHere (rule: AuthRule, request: FastifyRequest, registration: Registration): Promise<Principal | null> {
  // At once: nothing would watch the promise.
  if (!isRequest(request)) throw configError('rule', 'authenticate() was called with something that is no request of Fastify. Write await authenticate(request, rule)')
  const deciding = decideHere(rule, request, registration).then((proof) => {
    noteTenantParams(request, proof)
    return proof.principal
  })
  guardsExist = true
  const call: GuardCall = { guard: null, settled: false, passed: false, awaited: false }
  note(request, call)
  return awaitable(deciding, call, request)
}

/**
 * Decides a rule wherever the request is. The tenant is bound by the request's own parameters, in a not-found handler too.
 * A rule with a signature is undecidable: the body may have been parsed already.
 */
export async function decideHere (rule: AuthRule, request: FastifyRequest, registration: Registration): Promise<Proof> {
  const innermost = registrationOf(request.server) ?? registration
  let plan: Plan
  try {
    plan = planHere(rule, innermost, request)
  } catch (cause) {
    throw new AuthError('AUTH_RULE_UNDECIDABLE', 'not-compiled', { cause })
  }
  if (plan.signed) throw new AuthError('AUTH_RULE_UNDECIDABLE', 'not-compiled')
  return await decide(plan.rule, new Presentation(plan.rule, innermost.verifiers, request)) as Proof
}

// By registration, rule, URL and the names of its parameters. The application's code has written them; should it write its own
// names into the parameters of requests, what is kept is bounded all the same.
const maxPlans = 1000
const plans = new WeakMap<Registration, WeakMap<AuthRule, Map<string, Plan>>>()

/** The URL that a route states is a copy from before onRoute hooks, and a not-found handler has none: the names are the request's. */
function planHere (rule: AuthRule, registration: Registration, request: FastifyRequest): Plan {
  const { url } = request.routeOptions
  const names = typeof request.params === 'object' && request.params !== null ? Object.keys(request.params) : []
  const key = `${url ?? ''} ${names.join(' ')}`
  const byRule = plans.get(registration) ?? new WeakMap<AuthRule, Map<string, Plan>>()
  plans.set(registration, byRule)
  const byUrl = byRule.get(rule) ?? new Map<string, Plan>()
  byRule.set(rule, byUrl)
  const known = byUrl.get(key)
  if (known !== undefined) return known
  const plan = planRoute(registration, { method: [], url, stated: rule, rawBody: false, declared: new Set(), names, open: url === undefined })
  if (byUrl.size < maxPlans) byUrl.set(key, plan)
  return plan
}
