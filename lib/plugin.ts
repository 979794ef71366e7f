/**
 * The rim: the only file that adds anything to Fastify. An `onRequest` hook decides all that needs no body, private
 * content-type parsers verify a signature before anything parses its body, and the wrapped handler refuses whatever reached
 * it undecided; so do hooks of `preParsing` and `preValidation` where another hook stands before ours, and that of
 * `preValidation` where signatures are checked.
 */
import fp from 'fastify-plugin'
import type { FastifyInstance, FastifyReply, FastifyRequest, onRequestHookHandler, RouteOptions } from 'fastify'
import type { AnyRequest } from './any-server.js'
import { canListRoutes, earlyRoutes, isCorsPreflight, planEarly, requireEarlyPlan, type EarlyPlan } from './early-routes.js'
import { AuthError, configError, isAuthError } from './errors.js'
import { registerSignatureCheck } from './fastify-jwt.js'
import { contextOf, knownContext, notFoundContextOf, notFoundContextsOf, requestHooksOf, routeConfigOf, routeContextsOf, wrapContextHandler, type RouteContext } from './fastify-internals.js'
import { authenticateHere, beginHandler, createGuard, markRequire, refuseMisplacedGuards, refuseUnfinished, type Guard } from './guard.js'
import { guardNotFoundHandlers, planNotFound, type NotFoundRecord } from './not-found.js'
import type { Principal } from './principal.js'
import { mayTakeBody, recheckDecisions, wasNotRechecked } from './recheck.js'
import { challenge, refuse, reject } from './refusal.js'
import { requireOptions } from './options.js'
import { refuseUnread, type Registered } from './register-options.js'
import { createRegistration, keepRegistration, registrationOf, type Registration } from './registration.js'
import { decideRequest, type Done } from './request-decision.js'
import { kBody, kProved, stateOf } from './request-state.js'
import { factsOf, kRoute, labelOf, planRoute, readFinalStatement, recordOf, recordRoute, statedBy, urlOf, type Plan, type RouteRecord } from './route.js'
import { auth, nodeOf, takesAnyone, type AuthRule, type RuleNode } from './rule.js'
import { withSpellingCheck } from './spelling.js'
import { parseLabelled, startHandler, type JsonParser, type ParserDone } from './signed-body.js'
import type { ApiKeys } from './api-key/manage.js'
import type { CauseflowAuthOptions } from './options.js'

declare module 'fastify' {
  interface FastifyInstance {
    causeflowAuth: CauseflowAuth
  }
  interface FastifyRequest {
    /** The verified party; null where the route's rule asks for nobody, or nobody came. */
    principal: Principal | null
    /** The body's bytes as they were received, on routes that check a signature and on those with `config: { rawBody: true }`. */
    rawBody: Buffer | null
  }
  interface FastifyContextConfig {
    /** Which credential the route takes. Default: the `default` option of the plugin. */
    auth?: AuthRule
    /** Keeps the received bytes in `request.rawBody`. Default: false; signed routes keep them anyway. */
    rawBody?: boolean
  }
}

/** A route and its rule in words. */
export interface RouteDescription {
  method: string | string[]
  url: string
  rule: string
}

/** `fastify.causeflowAuth`. */
export interface CauseflowAuth {
  /** A hook that puts a rule on a route: `preHandler: app.causeflowAuth.require(auth.jwt())`. It is enforced in onRequest. */
  require (rule: AuthRule): Guard
  /** `require(auth.jwt())`. */
  readonly jwt: Guard
  /** `require(auth.apiKey())`. */
  readonly apiKey: Guard
  /** `require(auth.webhook())`. */
  readonly webhook: Guard
  /**
   * Decides a rule for a request, here and now, without touching the request. Rejects with an AuthError. A rule with a
   * signature is undecidable here: the body may have been read already.
   */
  authenticate (request: AnyRequest, rule: AuthRule): Promise<Principal | null>
  /** Every route that was registered after the plugin, with its rule in words. */
  routes (): RouteDescription[]
  /** The API keys of the configured store. */
  readonly apiKeys: ApiKeys
}

/** The onRequest hooks of all registrations: none of them ends its phase unasked. */
const requestHooks = new WeakSet<object>()

async function plugin (fastify: FastifyInstance, options: CauseflowAuthOptions): Promise<void> {
  if (Object.hasOwn(fastify, 'causeflowAuth')) {
    throw configError('registration', 'causeflowAuth is registered twice in one scope. Give all options to one registration, or register again in a child scope')
  }
  const parent = registrationOf(fastify)
  requireOptions(options, parent !== null)
  const early = parent === null ? earlyRoutes(fastify) : []
  const registration = await createRegistration(options, parent, (algorithms) => registerSignatureCheck(fastify, algorithms))
  const records: RouteRecord[] = []
  const notFound: NotFoundRecord[] = []
  const earlyPlans = new WeakMap<object, EarlyPlan>()
  const wrappedEarly = new WeakSet<object>()
  const socketsCameFirst = fastify.hasDecorator('websocketServer')

  const { api, seal } = createApi(registration, records)
  keepRegistration(api, registration)
  fastify.decorate('causeflowAuth', api)
  if (parent === null) decorateRequest(fastify)
  addLabels(fastify, registration)

  fastify.addHook('onRoute', function (this: FastifyInstance, route) {
    refuseUnfinished(route)
    const record = recordRoute(this, route)
    refuseLostRule(record)
    const { websocket, wsHandler } = route as { websocket?: boolean, wsHandler?: unknown }
    if (websocket === true || wsHandler !== undefined) refuseLateSockets(this, `${labelOf(route.method, route.url)}: `)
    records.push(record)
    // A parent's registration has been here, and a config copied from another route brings that route's record along: this one stands over both.
    route.config = { ...route.config, [kRoute]: record } as NonNullable<RouteOptions['config']>
    route.handler = wrapHandler(route.handler, record)
    if (mayTakeBody(route.method, this)) addFirst(route, recheckDecisions)
    if (record.options.config?.rawBody === true) addFirst(route, restoreContentType)
    addLabels(this, registration, record.declared)
  })

  const registered: Registered[] = []
  if (parent === null) {
    guardNotFoundHandlers(fastify, (record) => { notFound.push(record) })
    fastify.addHook('onRegister', (instance, options) => { registered.push({ instance, options }) })
  }

  fastify.addHook('onReady', async function () {
    refuseLateSockets(fastify)
    requireFirst()
    refuseMisplacedGuards(fastify)
    for (const record of records) compileRecord(record)
    refuseUnread(registered, records.map(({ instance, plan }) => ({ instance, stated: plan?.isDefault === false ? plan.authRule : null })))
    checkNotFoundHandlers(fastify)
    for (const record of notFound) record.plan = planNotFound(record)
    planEarlyRoutes()
    if (registration.bare && parent === null) {
      fastify.log.warn('causeflowAuth has neither jwt nor a default rule: routes that state no rule let nobody in. Give it jwt: { issuer }, or default: auth.public()')
    }
    if (records.some(isRejectedPreflight)) {
      fastify.log.warn('@fastify/cors is registered after causeflowAuth, so its preflight requests take the default rule, and browsers that send no credential with them are rejected. Register @fastify/cors first, then causeflowAuth, then everything with routes')
    }
    if (records.length + notFound.length + early.length === 0 && (routeContextsOf(fastify)?.length ?? 0) > 0) {
      fastify.log.warn('causeflowAuth guards no route: the scope that it is registered in has none. If routes stand beside or above it, wrap the plugin that registers it with fastify-plugin')
    }
    if (early.length > 0) {
      fastify.log.warn({ routes: early }, `Routes were registered before causeflowAuth had loaded: ${early.join(', ')}. They are guarded all the same, by the rule in their config or the default: a rule next to the config is not seen. Write await app.register(causeflowAuth) before them; the order is @fastify/cors, causeflowAuth, then everything with routes`)
    }
    await warmUp(registration, fastify)
    seal()
  })
  fastify.addHook('onClose', () => registration.close())

  const decideFirst: onRequestHookHandler = function causeflowAuthRequest (request, reply, done) {
    const plan = planOf(request)
    if (plan === null) return done()
    if (isAuthError(plan)) return reject(done, refuse(plan, request, reply, null))
    decideRequest(plan, request, reply, done)
  }
  requestHooks.add(decideFirst)
  let mayBeSkipped = true
  // In the queue, right before ours: what was queued before is in place.
  fastify.after(() => {
    mayBeSkipped = requestHooksOf(fastify)?.flat().every((hook) => requestHooks.has(hook as object)) !== true
    if (mayBeSkipped) addUnparsedRefusal()
    if (mayBeSkipped || registration.verifiers.webhooks.size > 0) addUnprovedRefusal()
    if (mayBeSkipped && early.length > 0) addUnhandledRefusal()
    // An early route cannot be given a hook of its own any more.
    if (parent === null && (early.length > 0 || !canListRoutes(fastify))) fastify.addHook('preValidation', recheckDecisions)
  })
  fastify.addHook('onRequest', decideFirst)
  fastify.addHook('onError', function causeflowAuthError (request, reply, error, done) {
    // Those of guards and of principalOf() come without.
    if (isAuthError(error)) challenge(error, reply)
    const body = stateOf(request)[kBody]
    if (body?.plan.registration === registration) {
      body.relabelled.restore()
      // Fastify closes after a parser's error, for the client might go on sending. Here nothing is left to send.
      if (body.failed && livesOn(request)) reply.removeHeader('connection')
      if (body.handling !== null) return body.handling.fail(error, done)
    }
    done()
  })

  // Only where deliveries are remembered: no other application pays for the hook.
  if (registration.settings.webhook.some(({ replay }) => replay !== null)) {
    fastify.addHook('onSend', function causeflowAuthSend (request, _reply, payload, done) {
      const body = stateOf(request)[kBody]
      if (body?.plan.registration === registration) body.handling?.sending(payload)
      done(null, payload)
    })
  }

  /**
   * Behind us @fastify/websocket would hand our handler a socket in place of a request, and leave the connection of each upgrade that
   * we refuse open for ever, on routes without a socket too.
   */
  function refuseLateSockets (instance: FastifyInstance, where = ''): void {
    if (socketsCameFirst || !instance.hasDecorator('websocketServer')) return
    throw configError('registration', `${where}@fastify/websocket is registered after causeflowAuth, where it cannot close the connections that are refused. Register @fastify/websocket first`)
  }

  /**
   * A hook that throws undefined ends its phase without an error, and ours, behind it, with it: then no parser gets to see what a stranger
   * sent. Where none stands before ours it cannot happen, and a request is spared this phase and the next, 1.3 of some 35 µs.
   */
  function addUnparsedRefusal (): void {
    // For every route, a GET too: which methods have bodies the application may change at any time.
    fastify.addHook('preParsing', function causeflowAuthUnparsed (request, reply, _payload, done) {
      const state = stateOf(request)
      if (state[kProved] || state[kBody]) return done()
      refuseUndecided(request, reply, done)
    })
  }

  /** Where signatures are checked there is a second way: a hook behind ours that changes the method or the content type leads past our parser. */
  function addUnprovedRefusal (): void {
    fastify.addHook('preValidation', function causeflowAuthUnproved (request, reply, done) {
      const state = stateOf(request)
      state[kBody]?.relabelled.restore()
      if (state[kProved]) return done()
      refuseUndecided(request, reply, done)
    })
  }

  /** The handler of an early route is wrapped at its first request, which is too late for one that has skipped all of the above. */
  function addUnhandledRefusal (): void {
    fastify.addHook('preHandler', function causeflowAuthUnhandled (request, reply, done) {
      if (stateOf(request)[kProved]) return done()
      refuseUndecided(request, reply, done)
    })
  }

  /** Plans what was there before the plugin, so that a slip fails at startup. Where Fastify does not show it, the first request is rejected. */
  function planEarlyRoutes (): void {
    const early = [...routeContextsOf(fastify) ?? [], ...notFoundContextsOf(fastify).map(knownContext).filter((context) => context !== null)]
    for (const context of early) {
      const known = context.config[kRoute] as RouteRecord | NotFoundRecord | undefined
      // A config that is copied from another route brings that route's record along.
      if (known !== undefined && known.instance === context.server) continue
      const closest = registrationOf(context.server)
      if (closest === null && nodeOf(context.config.auth) !== null) {
        const where = context.config.url === undefined ? 'A not-found handler' : labelOf(context.config.method as string | string[], context.config.url as string)
        throw configError('route', `${where} states a rule in a scope that no registration of causeflowAuth covers, and is open. Register causeflowAuth in a scope around it, or wrap the plugin that registers it with fastify-plugin`)
      }
      if (closest !== registration) continue
      const plan = requireEarlyPlan(context, registration)
      if (plan !== null && context.config.url === undefined) throw configError('route', 'A not-found handler states a rule and was set before causeflowAuth had loaded, where reply.callNotFound() would reach it without a decision. Write await app.register(causeflowAuth) before it')
      earlyPlans.set(context.config, plan)
    }
  }

  /** A hook that got before ours unseen could skip it. */
  function requireFirst (): void {
    if (mayBeSkipped) return
    const overtaken = requestHooksOf(fastify)?.some((hooks) => hooks.slice(0, Math.max(0, hooks.indexOf(decideFirst))).some((hook) => !requestHooks.has(hook as object)))
    if (overtaken === true) throw configError('registration', 'An onRequest hook was added while causeflowAuth was loading, and runs before it. Add it before the registration or, after await app.register(causeflowAuth), behind it')
  }

  /** Refuses a request that should have been decided by now; one that is another registration's goes on. */
  function refuseUndecided (request: FastifyRequest, reply: FastifyReply, done: Done): void {
    const plan = planOf(request)
    if (plan === null) return done()
    reject(done, isAuthError(plan) ? refuse(plan, request, reply, null) : refuse(undecided(request, plan), request, reply, plan))
  }

  /** The plan by which a request is decided; null where there is no route, or another registration decides it. */
  function planOf (request: FastifyRequest): Plan | AuthError | null {
    const config = routeConfigOf(request)
    const record = config?.[kRoute] as RouteRecord | undefined
    if (record !== undefined) {
      if (record.plan !== null) return record.plan.registration === registration ? record.plan : null
      return registrationOf(record.instance) === registration ? new AuthError('AUTH_RULE_UNDECIDABLE', 'not-compiled') : null
    }
    if (config === undefined || registrationOf(request.server) !== registration) return null
    let plan = earlyPlans.get(config)
    if (plan === undefined) {
      plan = planEarly({ config, schema: request.routeOptions.schema, server: request.server }, registration)
      earlyPlans.set(config, plan)
    }
    if (config.url !== undefined && !wrappedEarly.has(config)) {
      wrappedEarly.add(config)
      wrapEarly(contextOf(request))
    }
    if (plan === null) return null
    // Each request its own error: an error handler may write on it.
    return isAuthError(plan) ? new AuthError(plan.code, plan.reason, { cause: plan.cause }) : plan
  }

  /** Wraps the handler of an early route like those that `onRoute` has seen. */
  function wrapEarly (context: RouteContext | null): void {
    wrapContextHandler(context, (handler) => (request, reply) => {
      const plan = stateOf(request)[kProved] ? null : planOf(request)
      const fault = plan === null ? beginHandler(request) : isAuthError(plan) ? plan : undecided(request, plan)
      if (fault !== null) throw refuse(fault, request, reply, null)
      return handler(request, reply)
    })
    if (context !== null) guardNotFound(notFoundContextOf(context))
  }
}

/** The not-found context of each handler before it was wrapped; null where several share one, as Fastify's own. */
const notFoundContexts = new WeakMap<object, RouteContext | null>()

/**
 * Has a not-found handler ask whether the guards before it were passed: `callNotFound()` runs its preHandler hooks alone. Older versions of
 * Fastify copy the context for each route, with the handler and perhaps without the hooks, so the guards are those of the original.
 */
function guardNotFound (context: RouteContext | null): void {
  wrapContextHandler(context, (handler) => {
    const origin = notFoundContexts.get(handler) ?? undefined
    const config = (origin ?? context)?.config as Readonly<Record<PropertyKey, unknown>> | undefined
    const enforced = (config?.[kRoute] as NotFoundRecord | undefined)?.rule ?? null
    return (request, reply) => {
      const fault = beginHandler(request, origin, enforced) ?? (wasNotRechecked(request) ? new AuthError('AUTH_RULE_UNDECIDABLE', 'not-verified') : null)
      if (fault !== null) throw refuse(fault, request, reply, null)
      return handler(request, reply)
    }
  })
}

function checkNotFoundHandlers (fastify: FastifyInstance): void {
  const contexts = notFoundContextsOf(fastify)
  for (const context of contexts) {
    const { handler } = context
    if (typeof handler !== 'function') continue
    const known = notFoundContexts.get(handler)
    notFoundContexts.set(handler, known === undefined || known === context ? context : null)
  }
  for (const context of contexts) guardNotFound(context)
}

function decorateRequest (fastify: FastifyInstance): void {
  for (const name of ['principal', 'rawBody']) {
    if (fastify.hasRequestDecorator(name)) throw configError('registration', `request.${name} is decorated already, and the plugin keeps what it has verified there. Give the other decorator another name`)
    fastify.decorateRequest(name, null)
  }
}

function compileRecord (record: RouteRecord): void {
  const registration = registrationOf(record.instance) as Registration
  const statement = readFinalStatement(record)
  const plan = planRoute(registration, { ...factsOf(record), ...statement })
  // Without our record the route is decided by its config alone, and without its body.
  const { stated } = statement
  if (recordOf(record.options) === null && (plan.signed || plan.rawBody || (stated !== null && record.options.config?.auth !== stated))) {
    throw configError('route', `${plan.label}: another onRoute hook has replaced its config. Have it keep what is there: routeOptions.config = { ...routeOptions.config, … }`)
  }
  if ((plan.signed || plan.rawBody) && !labelsOf(registration, record.declared).every((label) => record.instance.hasContentTypeParser(label))) {
    throw configError('route', `${plan.label}: its scope has removed the content-type parsers that keep raw bodies. Call removeAllContentTypeParsers() before the scope's routes, not after`)
  }
  // Media types that a later onRoute hook has declared.
  if (plan.signed || plan.rawBody) addLabels(record.instance, registration, plan.declared)
  record.plan = plan
}

/**
 * Whether a route is the one of @fastify/cors for preflights, and takes a rule that no preflight satisfies.
 */
function isRejectedPreflight ({ instance, options: { method, schema, url }, plan, seen: { stated } }: RouteRecord): boolean {
  if (plan === null || stated !== null || takesAnyone(nodeOf(plan.authRule) as RuleNode)) return false
  return isCorsPreflight({ config: { method, url }, schema, server: instance })
}

/**
 * Adds a preValidation hook before all others, in the route's own list: Fastify reads it when the app gets
 * ready, and it may be filled until then.
 */
function addFirst (route: RouteOptions, hook: typeof recheckDecisions): void {
  const hooks = route.preValidation as Array<typeof hook> | typeof hook | undefined
  if (Array.isArray(hooks) && hooks.includes(hook)) return
  if (Array.isArray(hooks) && Object.isExtensible(hooks)) hooks.unshift(hook)
  else route.preValidation = [hook, ...[hooks ?? []].flat()]
}

/** A hook for routes that keep the raw body: a GET may have one, and no parser has come by to take the label off. */
function restoreContentType (request: FastifyRequest, _reply: FastifyReply, done: Done): void {
  stateOf(request)[kBody]?.relabelled.restore()
  done()
}

/** Whether the client has left its connection open for more (RFC 9112 §9.3). */
function livesOn ({ raw: { httpVersion, headers } }: FastifyRequest): boolean {
  return httpVersion === '1.1' && !/\bclose\b/i.test(headers.connection ?? '')
}

/** Why a request came this far without a proof. */
function undecided (request: FastifyRequest, plan: Plan): AuthError {
  // No parser ran, for there is no body; or somebody's hook ended its phase before ours was asked.
  return plan.signed && stateOf(request)[kBody] ? new AuthError('AUTH_SIGNATURE_INVALID', 'body-absent') : new AuthError('AUTH_RULE_UNDECIDABLE', 'not-verified')
}

type Handler = RouteOptions['handler']

/** The routes whose handlers are wrapped. */
const wrapped = new WeakMap<Handler, RouteRecord>()

/** An onRoute hook that adds the route once more with its handler alone has left its rule behind. */
function refuseLostRule ({ options: { method, url, handler }, seen }: RouteRecord): void {
  const origin = wrapped.get(handler)
  const lost = origin?.seen.stated ?? null
  if (origin === undefined || lost === null || seen.stated !== null || takesAnyone(nodeOf(lost) as RuleNode)) return
  throw configError('route', `${labelOf(method, url)}: has the handler of ${labelOf(origin.options.method, urlOf(origin))}, which states the rule "${lost.describe()}", and states none. Copy its config and hooks too: { ...routeOptions, url: … }`)
}

/** The one place that no hook of the application can skip. */
function wrapHandler (handler: Handler, record: RouteRecord): Handler {
  let alone = true
  let takesBody: boolean | null = null
  const own: Handler = function causeflowAuthHandler (request, reply) {
    if (alone) {
      alone = false
      const context = contextOf(request)
      if (context !== null) guardNotFound(notFoundContextOf(context))
    }
    const state = stateOf(request)
    const proved = state[kProved]
    const { plan } = record
    if (!proved) throw refuse(plan === null ? new AuthError('AUTH_RULE_UNDECIDABLE', 'not-compiled') : undecided(request, plan), request, reply, plan)
    if (proved !== plan && plan !== null && hasLostRule(proved, plan, record)) throw refuse(new AuthError('AUTH_RULE_UNDECIDABLE', 'not-verified'), request, reply, plan)
    const fault = beginHandler(request)
    if (fault !== null) throw refuse(fault, request, reply, plan)
    takesBody ??= mayTakeBody(record.options.method, record.instance)
    if (takesBody && wasNotRechecked(request)) throw refuse(new AuthError('AUTH_RULE_UNDECIDABLE', 'not-verified'), request, reply, plan)
    if (!state[kBody]?.signature) return handler.call(this, request, reply)
    return startHandler(request, reply, () => handler.call(this, request, reply))
  }
  wrapped.set(own, record)
  return own
}

/**
 * Whether a handler is reached by a route that states no rule, where its own route does: a function of
 * another onRoute hook calls it.
 */
function hasLostRule (proved: Plan, plan: Plan, { seen: { stated } }: RouteRecord): boolean {
  return proved.isDefault && proved.authRule !== plan.authRule && stated !== null && !takesAnyone(nodeOf(stated) as RuleNode)
}

function labelsOf ({ labels }: Registration, declared: ReadonlySet<string>): string[] {
  return [labels.json, labels.other, ...[...declared].map((type) => labels.of(type))]
}

/** Registers the private parsers where they are not inherited: in the plugin's own scope, and where a child has removed its parsers. */
function addLabels (instance: FastifyInstance, registration: Registration, declared: ReadonlySet<string> = new Set()): void {
  const { onProtoPoisoning, onConstructorPoisoning } = instance.initialConfig
  const parseJson = instance.getDefaultJsonParser(onProtoPoisoning ?? 'error', onConstructorPoisoning ?? 'error') as unknown as JsonParser
  for (const label of labelsOf(registration, declared)) {
    if (instance.hasContentTypeParser(label)) continue
    instance.addContentTypeParser(label, { parseAs: 'buffer' }, function causeflowAuthBody (request, bytes, done) {
      parseLabelled(parseJson, request, bytes as Buffer, done as ParserDone)
    })
  }
}

async function warmUp ({ owned }: Registration, fastify: FastifyInstance): Promise<void> {
  await Promise.all(owned.map(async ({ verifier, warmup }) => {
    if (warmup === false) return
    try {
      await verifier.warm()
    } catch (error) {
      if (warmup === 'require') throw configError('issuer', `The keys of the issuer ${verifier.issuer} cannot be read${isAuthError(error) && error.cause instanceof Error ? ` (${error.cause.message})` : ''}. Mend its address or its availability, or start without its keys: warmup: 'warn'`)
      fastify.log.warn({ err: error, issuer: verifier.issuer }, 'The keys of a token issuer cannot be read. Its tokens are answered 503 until they can')
    }
  }))
}

function createApi (registration: Registration, records: readonly RouteRecord[]): { api: CauseflowAuth, seal: () => void } {
  let sealed = false
  const require = (rule: AuthRule, ...rest: unknown[]): Guard => {
    // A second rule that is passed over would be a condition that nothing checks.
    if (rest.length > 0 && nodeOf(rule) !== null) throw configError('rule', 'require() takes one rule. Combine several with auth.all() or auth.any()')
    return createGuard(rule, registration, sealed)
  }
  markRequire(require)
  // Made once, and at any time: `await app.causeflowAuth.jwt(request, reply)` in a request is no new guard for each.
  const made = new Map<string, Guard>()
  const ready = (name: 'jwt' | 'apiKey' | 'webhook'): Guard => {
    const guard = made.get(name) ?? createGuard(auth[name](), registration)
    made.set(name, guard)
    return guard
  }
  const api: CauseflowAuth = withSpellingCheck('causeflowAuth', {
    require,
    get jwt () { return ready('jwt') },
    get apiKey () { return ready('apiKey') },
    get webhook () { return ready('webhook') },
    authenticate: (request, rule) => authenticateHere(rule, request as FastifyRequest, registration),
    routes: () => records.map((record) => ({
      method: record.options.method,
      url: urlOf(record),
      rule: (statedBy(record) ?? registrationOf(record.instance)?.defaultRule ?? registration.defaultRule).describe()
    })),
    get apiKeys () {
      if (registration.apiKeys === null) throw configError('credential', 'causeflowAuth.apiKeys needs a store. Give the plugin apiKey: { store }')
      return registration.apiKeys
    }
  })
  return { api, seal: () => { sealed = true } }
}

/** The plugin. `await app.register(causeflowAuth, options)`; a bare registration lets nobody in. */
export const causeflowAuth = fp(plugin, { fastify: '5.x', name: 'fastify-causeflow-auth' })
