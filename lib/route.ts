/** What is known of a route: the rule it states, and the plan by which its requests are decided. */
import type { FastifyInstance, RouteOptions } from 'fastify'
import type { CompiledRule } from './compiled-rule.js'
import { configError } from './errors.js'
import { guardHooks, guardRules, kindOf, lettersOf, refuseMisplaced } from './misplaced.js'
import { registrationOf, requireNode, type Registration } from './registration.js'
import { nodeOf, takesAnyone, type AuthRule, type RuleNode } from './rule.js'
import { urlParams } from './url-params.js'

/** The hooks of a route in which a guard protects nothing. */
const lateHooks = ['preSerialization', 'onSend', 'onResponse', 'onError', 'onTimeout', 'onRequestAbort'] as const

/** Under which the config of a route carries what is known of it. */
export const kRoute = Symbol('causeflow-auth.route')

export { guardRules } from './misplaced.js'

/** A compiled rule on a route, with the registration that decides it. */
export interface Plan {
  readonly registration: Registration
  readonly rule: CompiledRule
  readonly authRule: AuthRule
  /** Whether the route states no rule, so that this is the default. */
  readonly isDefault: boolean
  /** `POST /v1/webhooks/:tenantId/:provider`; a delivery's memory is kept apart by it. */
  readonly label: string
  readonly signed: boolean
  readonly rawBody: boolean
  /** The media types of the route's `body.content`. */
  readonly declared: ReadonlySet<string>
}

/** A route as `onRoute` saw it. What is served is in `options`, which later hooks may still change. */
export interface RouteRecord {
  readonly instance: FastifyInstance
  /** The route's own options: what later hooks of `onRoute` and arrays filled later say counts as well. */
  readonly options: RouteOptions
  /** The URL when the route was seen. */
  readonly seenUrl: string
  /** What the route stated when it was seen. It may state more later, and never less. */
  readonly seen: Statement
  /** The config that the route was added with: it is copied then, so what is written into it later is lost. */
  readonly given: object | undefined
  /** The media types of `body.content` when the route was seen. */
  readonly declared: ReadonlySet<string>
  /** Null until the app gets ready. */
  plan: Plan | null
}

/** What a route says of itself. */
export interface Statement {
  /** The rule in `config.auth` or in a guard; null: the default. */
  readonly stated: AuthRule | null
  readonly rawBody: boolean
}

/** Notes a route. Throws AUTH_CONFIG_ROUTE for what cannot be meant, where the route is written. */
export function recordRoute (instance: FastifyInstance, options: RouteOptions): RouteRecord {
  const { method, url } = options
  if (guardRules.has(options.handler)) throw configError('route', `${labelOf(method, url)}: its handler is a guard. Write { preHandler: guard } before the handler`)
  return { instance, options, seenUrl: url, seen: readStatement({ method, url, options }), given: options.config, declared: declaredTypes(options.schema), plan: null }
}

/** The URL that a route is served at. */
export function urlOf ({ seenUrl, options }: Pick<RouteRecord, 'seenUrl' | 'options'>): string {
  const { url, prefix, routePath } = options as RouteOptions & { prefix?: string, routePath?: string }
  // The root of a prefix is served with and without its slash, from one object of options, and the second was written last.
  return routePath === '/' && url === `${prefix ?? ''}/` ? seenUrl : url
}

/** What planning needs to know of a route. */
export interface RouteFacts {
  readonly method: string | readonly string[]
  readonly url: string | undefined
  readonly declared: ReadonlySet<string>
  /** Parameters that the URL does not show. */
  readonly names?: readonly string[]
  /** Whether requests come by other URLs too: see Place. */
  readonly open?: boolean
}

/** The facts of a route, as they are now. */
export function factsOf (record: RouteRecord): RouteFacts {
  const { method, schema, url } = record.options
  return { method, url: urlOf(record), names: urlParams(url), declared: declaredTypes(schema) }
}

/** Reads what a route says of itself. Throws AUTH_CONFIG_ROUTE. */
export function readStatement ({ method, url, options }: { method: string | readonly string[] | undefined, url: string | undefined, options: Partial<RouteOptions> }): Statement {
  const label = labelOf(method, url)
  const config = (options.config ?? {}) as Record<string, unknown>
  if (nodeOf(config) !== null) throw configError('route', `${label}: its config is a rule. Write config: { auth: … }`)
  if (typeof config !== 'object' || config instanceof Map || typeof config.then === 'function') {
    throw configError('route', `${label}: its config is a ${typeof config === 'object' ? 'promise or a Map' : typeof config} and must be a plain object. Call the function, or await the promise`)
  }
  for (const name of ['auth', 'rawBody']) {
    for (const key of Object.keys(config)) {
      if (key !== name && lettersOf(key) === name.toLowerCase()) throw configError('route', `${label}: config.${key} is not read. Write config.${name}`)
    }
    // `config: { auth: rules.adnim }` would otherwise take the default.
    if (Object.hasOwn(config, name) && (config[name] === undefined || config[name] === null)) throw configError('route', `${label}: config.${name} is ${String(config[name])}: is the name of the ${name === 'auth' ? 'rule' : 'value'} mistyped? Leave config.${name} out for the default`)
  }
  // Every copy of a config, Fastify's own too, loses what is inherited: the route would start without its rule.
  if (config.auth !== undefined && !Object.prototype.propertyIsEnumerable.call(config, 'auth')) throw configError('route', `${label}: config.auth is inherited or hidden, and copies of the config lose it. Write it on the route's own config`)
  for (const key in config) if (!Object.hasOwn(config, key) && kindOf(config[key], null) !== null) throw configError('route', `${label}: the rule in config.${key} is inherited, and nothing reads it. Write config: { auth: … }`)
  if (config.rawBody !== undefined && typeof config.rawBody !== 'boolean') throw configError('route', `${label}: config.rawBody is true or false`)
  const stated = statedRule(label, config, options)
  // Next to a rule that asks for something, a hook that is missing takes nothing away that was stated.
  if (stated === null || takesAnyone(nodeOf(stated) as RuleNode)) refuseUndefined(label, options)
  return { stated, rawBody: config.rawBody === true }
}

/**
 * What a route states, once all hooks have had their say. Throws AUTH_CONFIG_ROUTE for a rule or a guard that nobody reads, and
 * where the route has stated something that is gone or is another now.
 */
export function readFinalStatement (record: RouteRecord): Statement {
  const { options, seen } = record
  const { method } = options
  const url = urlOf(record)
  const label = labelOf(method, url)
  const statement = readStatement({ method, url, options })
  const fix = 'Another onRoute hook, or code that ran after it, has changed the config or the hooks of the route. Have it keep them: routeOptions.config = { ...routeOptions.config, … }'
  if (seen.stated !== null && statement.stated !== seen.stated) {
    throw configError('route', `${label}: stated the rule "${seen.stated.describe()}" when it was added, and states ${statement.stated === null ? 'none' : `"${statement.stated.describe()}"`} now. ${fix}`)
  }
  if (seen.rawBody && !statement.rawBody) throw configError('route', `${label}: had rawBody: true when it was added, and has it no more. ${fix}`)
  const late = (record.given as { auth?: unknown } | undefined)?.auth
  if (late !== undefined && late !== (options.config as { auth?: unknown } | undefined)?.auth) {
    throw configError('route', `${label}: config.auth was written after the route had been added, when the config had been copied. Write it before`)
  }
  refuseMisplaced(label, options, statement.stated)
  return statement
}

/** What is known of a route, by its options; null where the plugin has not seen it. */
export function recordOf ({ config }: Pick<RouteOptions, 'config'>): RouteRecord | null {
  return ((config ?? {}) as unknown as Record<PropertyKey, unknown>)[kRoute] as RouteRecord | undefined ?? null
}

/** The plan of a route that the plugin has seen. Compiled here, and not kept, where the app is not ready yet. */
export function planOf (record: RouteRecord): Plan {
  const { options, options: { method } } = record
  return record.plan ?? planRoute(registrationOf(record.instance) as Registration, { ...factsOf(record), ...readStatement({ method, url: urlOf(record), options }) })
}

/** The rule that a route states as of now; null where it takes the default. */
export function statedBy (record: RouteRecord): AuthRule | null {
  const { options, options: { method } } = record
  return readStatement({ method, url: urlOf(record), options }).stated
}

/** Compiles the rule of a route. Throws AUTH_CONFIG_… for what can never be decided. */
export function planRoute (registration: Registration, { method, url, stated, rawBody, declared, names = [], open = false }: Statement & RouteFacts): Plan {
  const label = labelOf(method, url)
  const authRule = stated ?? registration.defaultRule
  const params = [...new Set([...url === undefined ? [] : urlParams(url), ...names])]
  const rule = registration.compile(requireNode(authRule, (message) => configError('route', `${label} ${message}`)), { label, params, open })
  const signed = rule.webhookKinds.length > 0
  const bodyless = [method].flat().filter((one) => ['GET', 'HEAD', 'TRACE'].includes(one.toUpperCase()))
  if (signed && bodyless.length > 0) throw configError('route', `${label}: a signature is over a body, and ${bodyless.join(' and ')} requests have none. Sign POST, PUT, PATCH or DELETE, or take auth.webhook() off`)
  return { registration, rule, authRule, isDefault: stated === null, label, signed, rawBody, declared }
}

/** A method and URL for people. */
export function labelOf (method: string | readonly string[] | undefined, url: string | undefined): string {
  return `${[method ?? []].flat().join('|')} ${url ?? '(no route)'}`.trim()
}

function statedRule (label: string, config: Record<string, unknown>, options: Partial<RouteOptions>): AuthRule | null {
  const rules = new Set<AuthRule>()
  if (config.auth !== undefined) {
    requireNode(config.auth, (message) => configError('route', `${label}: config.auth ${message}`))
    rules.add(config.auth as AuthRule)
  }
  for (const hook of guardHooks.flatMap((name) => options[name] ?? [])) {
    const rule = typeof hook === 'function' ? guardRules.get(hook) : undefined
    if (rule !== undefined) rules.add(rule)
  }
  for (const name of lateHooks) {
    if ([options[name]].flat().some((hook) => typeof hook === 'function' && guardRules.has(hook))) throw configError('route', `${label}: a rule in ${name} would come after the handler, or not at all. Write it in config.auth, or in preHandler`)
  }
  if (rules.size > 1) throw configError('route', `${label} states two rules: ${[...rules].map((rule) => rule.describe()).join('; and ')}. Keep one; auth.all() and auth.any() combine`)
  return [...rules][0] ?? null
}

/** Fastify passes over an undefined hook, so `preHandler: guards.adnim` would leave the route without its guard, and an undefined config without its rule. */
function refuseUndefined (label: string, options: Partial<RouteOptions>): void {
  for (const name of [...guardHooks, 'config'] as const) {
    if (!Object.hasOwn(options, name) || (options[name] !== undefined && options[name] !== null)) continue
    const empty = name === 'config' ? '{}' : '[]'
    throw configError('route', `${label}: states no rule that asks for a credential, and its ${name} is ${String(options[name])}: is the name of the ${name === 'config' ? 'config' : 'guard'} mistyped? Leave ${name} out, or write ${name}: ${empty}`)
  }
}

function declaredTypes (schema: unknown): ReadonlySet<string> {
  const content = (schema as { body?: { content?: Record<string, unknown> } } | undefined)?.body?.content
  const types = typeof content === 'object' && content !== null ? Object.keys(content) : []
  // No request's media type is ever written in another way, and Fastify takes no other name for a parser.
  return new Set(types.filter((type) => /^[\w!#$%&'*+.^`|~-]+\/[\w!#$%&'*+.^`|~-]+$/.test(type)).map((type) => type.toLowerCase()))
}
