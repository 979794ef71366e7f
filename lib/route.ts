/** What is known of a route: the rule it states, and the plan by which its requests are decided. */
import type { FastifyInstance, RouteOptions } from 'fastify'
import type { CompiledRule } from './compiled-rule.js'
import { configError } from './errors.js'
import { registrationOf, requireNode, type Registration } from './registration.js'
import { nodeOf, type AuthRule } from './rule.js'
import { urlParams } from './url-params.js'

/** The hooks of a route in which a guard protects nothing. */
const lateHooks = ['preSerialization', 'onSend', 'onResponse', 'onError', 'onTimeout', 'onRequestAbort'] as const

/** Under which the config of a route carries what is known of it. */
export const kRoute = Symbol('causeflow-auth.route')

/** The rules of guards that `require` has made. */
export const guardRules = new WeakMap<object, AuthRule>()

/** A compiled rule on a route, with the registration that decides it. */
export interface Plan {
  readonly registration: Registration
  readonly rule: CompiledRule
  readonly authRule: AuthRule
  /** `POST /v1/webhooks/:tenantId/:provider`; a delivery's memory is kept apart by it. */
  readonly label: string
  readonly signed: boolean
  readonly rawBody: boolean
  /** The media types of the route's `body.content`. */
  readonly declared: ReadonlySet<string>
}

/** A route as `onRoute` saw it. */
export interface RouteRecord {
  readonly instance: FastifyInstance
  readonly method: string | string[]
  readonly url: string
  readonly declared: ReadonlySet<string>
  /** The route's own options: what later hooks of `onRoute` and arrays filled later say counts as well. */
  readonly options: RouteOptions
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
  const record = { instance, method: options.method, url: options.url, declared: declaredTypes(options.schema), options, plan: null }
  readStatement(record)
  return record
}

/** Reads what a route says of itself. Throws AUTH_CONFIG_ROUTE. */
export function readStatement ({ method, url, options }: Pick<RouteRecord, 'method' | 'url'> & { options: Partial<RouteOptions> }): Statement {
  const label = labelOf(method, url)
  const config = (options.config ?? {}) as Record<string, unknown>
  if (nodeOf(config) !== null) throw configError('route', `${label}: its config is a rule. Write config: { auth: … }`)
  for (const key of Object.keys(config)) {
    for (const name of ['auth', 'rawBody']) {
      if (key !== name && key.toLowerCase() === name.toLowerCase()) throw configError('route', `${label}: config.${key} is not read. Write config.${name}`)
    }
  }
  // Every copy of a config, Fastify's own too, loses what is inherited: the route would start without its rule.
  if (config.auth !== undefined && !Object.prototype.propertyIsEnumerable.call(config, 'auth')) throw configError('route', `${label}: config.auth is inherited or hidden, and copies of the config lose it. Write it on the route's own config`)
  if (config.rawBody !== undefined && typeof config.rawBody !== 'boolean') throw configError('route', `${label}: config.rawBody is true or false`)
  return { stated: statedRule(label, config, options), rawBody: config.rawBody === true }
}

/** Refuses a rule that stands on a route where nobody reads it, for the route would start under the default. Throws AUTH_CONFIG_ROUTE. */
export function refuseMisplaced ({ method, url, options }: Pick<RouteRecord, 'method' | 'url' | 'options'>): void {
  for (const [where, holder] of [['', options], ['config.', options.config]] as const) {
    const name = Object.entries(holder ?? {}).find(([, value]) => nodeOf(value) !== null)?.[0]
    if (name !== undefined) throw configError('route', `${labelOf(method, url)}: the rule in ${where}${name} is not read. Write config: { auth: … }`)
  }
}

/** What is known of a route, by its options; null where the plugin has not seen it. */
export function recordOf ({ config }: Pick<RouteOptions, 'config'>): RouteRecord | null {
  return ((config ?? {}) as unknown as Record<PropertyKey, unknown>)[kRoute] as RouteRecord | undefined ?? null
}

/** The plan of a route that the plugin has seen. Compiled here, and not kept, where the app is not ready yet. */
export function planOf (record: RouteRecord): Plan {
  return record.plan ?? planRoute(registrationOf(record.instance) as Registration, { ...record, ...readStatement(record) })
}

/** Compiles the rule of a route. Throws AUTH_CONFIG_… for what can never be decided. */
export function planRoute (registration: Registration, { method, url, stated, rawBody, declared }: Statement & Pick<RouteRecord, 'method' | 'url' | 'declared'>): Plan {
  const label = labelOf(method, url)
  const authRule = stated ?? registration.defaultRule
  const rule = registration.compile(requireNode(authRule, (message) => configError('route', `${label} ${message}`)), { label, params: urlParams(url) })
  const signed = rule.webhookKinds.length > 0
  const bodyless = [method].flat().filter((one) => ['GET', 'HEAD', 'TRACE'].includes(one.toUpperCase()))
  if (signed && bodyless.length > 0) throw configError('route', `${label}: a signature is over a body, and ${bodyless.join(' and ')} requests have none. Sign POST, PUT, PATCH or DELETE, or take auth.webhook() off`)
  return { registration, rule, authRule, label, signed, rawBody, declared }
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
  for (const hook of [options.onRequest, options.preParsing, options.preValidation, options.preHandler].flat()) {
    const rule = typeof hook === 'function' ? guardRules.get(hook) : undefined
    if (rule !== undefined) rules.add(rule)
  }
  for (const name of lateHooks) {
    if ([options[name]].flat().some((hook) => typeof hook === 'function' && guardRules.has(hook))) throw configError('route', `${label}: a rule in ${name} would come after the handler, or not at all. Write it in config.auth, or in preHandler`)
  }
  if (rules.size > 1) throw configError('route', `${label} states two rules: ${[...rules].map((rule) => rule.describe()).join('; and ')}. Keep one; auth.all() and auth.any() combine`)
  return [...rules][0] ?? null
}

function declaredTypes (schema: unknown): ReadonlySet<string> {
  const content = (schema as { body?: { content?: Record<string, unknown> } } | undefined)?.body?.content
  const types = typeof content === 'object' && content !== null ? Object.keys(content) : []
  // No request's media type is ever written in another way, and Fastify takes no other name for a parser.
  return new Set(types.filter((type) => /^[\w!#$%&'*+.^`|~-]+\/[\w!#$%&'*+.^`|~-]+$/.test(type)).map((type) => type.toLowerCase()))
}
