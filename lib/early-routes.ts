/** The routes that were there before the plugin: `onRoute` never saw them, the router has. */
import type { FastifyInstance, RouteOptions } from 'fastify'
import { AuthError, configError } from './errors.js'
import { routeContextsOf } from './fastify-internals.js'
import { refuseMisplaced } from './misplaced.js'
import { labelOf, planRoute, readStatement, type Plan } from './route.js'
import { nodeOf, takesAnyone, type RuleNode } from './rule.js'
import type { Registration } from './registration.js'

/**
 * Routes of this scope that are registered already, as `GET /path`; the preflight route of @fastify/cors is left out. The router
 * knows no scopes: in a scope without a prefix of its own nothing is listed.
 */
export function earlyRoutes (instance: FastifyInstance): string[] {
  if (!canListRoutes(instance)) return []
  const preflights = new Set(routeContextsOf(instance)?.filter(isCorsPreflight).map(({ url }) => url))
  const path: string[] = []
  const found = new Set<string>()
  // The printed tree is the only public list of routes: one line a node, four columns a level, the node's part of the path, its methods.
  // Without common prefixes it would lose what stands before a wildcard.
  for (const line of instance.printRoutes({ commonPrefix: true }).split('\n')) {
    const match = /^((?:│ {3}| {4})*)(├── |└── )?(.*)$/.exec(line)
    const [, indent = '', branch, node = ''] = match ?? []
    const [, part = node, methods = ''] = /^(.*?) \(([A-Z, -]+)\)(?: \{.*\})?$/.exec(node) ?? []
    path.length = Math.max(indent.length / 4 + (branch === undefined ? 0 : 1) - 1, 0)
    path.push(part === '(empty root node)' ? '' : part)
    const url = path.join('')
    if (methods === '' || !url.startsWith(instance.prefix)) continue
    if (methods === 'OPTIONS' && preflights.has(url)) continue
    found.add(`${methods.replaceAll(', ', '|')} ${url}`)
  }
  return [...found]
}

/** Whether the router can say which routes belong to an instance: to the root, or to a scope with a prefix of its own. */
export function canListRoutes (instance: FastifyInstance): boolean {
  const isRoot = typeof (Object.getPrototypeOf(instance) as { addHook?: unknown } | null)?.addHook !== 'function'
  return isRoot || instance.prefix !== ''
}

/** What is known of a route, or of a not-found handler, that the plugin has not seen: what Fastify has kept of it. */
export interface EarlyContext {
  /** Fastify's copy of the route's config, with its `url` and `method`; the very config of a not-found handler. */
  readonly config: Readonly<Record<string, unknown>>
  readonly schema?: unknown
  readonly server?: FastifyInstance | undefined
  /** The URL that is served, where it is known: `config.url` is from before onRoute hooks. */
  readonly url?: string | undefined
}

/** What to do with the requests of an early route: decide them, reject them all, or (null) leave them alone. */
export type EarlyPlan = Plan | AuthError | null

/** Plans an early route at its first request. What cannot be planned is rejected. */
export function planEarly (context: EarlyContext, registration: Registration): EarlyPlan {
  try {
    return requireEarlyPlan(context, registration)
  } catch (cause) {
    return new AuthError('AUTH_RULE_UNDECIDABLE', 'not-compiled', { cause })
  }
}

/** Plans an early route, from its config alone: what it said next to it is lost. Throws AUTH_CONFIG_… for what cannot be planned. */
export function requireEarlyPlan (context: EarlyContext, registration: Registration): Plan | null {
  const { config, schema } = context
  const method = config.method as string | string[] | undefined
  const isRoute = config.url !== undefined
  if (isRoute && isCorsPreflight(context)) return null
  const url = isRoute ? context.url ?? config.url as string : undefined
  const label = isRoute ? labelOf(method, url) : 'A not-found handler'
  const options = { config, schema } as Partial<RouteOptions>
  const { stated, rawBody } = readStatement({ method: isRoute ? method : [label], url: isRoute ? url : '', options })
  refuseMisplaced(label, options, stated)
  const fix = 'was added before causeflowAuth had loaded. Write await app.register(causeflowAuth) before it'
  if (rawBody) throw configError('route', `${label}: keeps no raw body, because it ${fix}`)
  if (!isRoute && stated === null) return null
  if (stated === null && takesAnyone(nodeOf(registration.defaultRule) as RuleNode)) {
    throw configError('route', `${label}: states no rule in its config and the default lets everyone in. Whether it states one elsewhere cannot be seen, because it ${fix}, or say config: { auth: auth.public() }`)
  }
  const plan = planRoute(registration, { method: method ?? [], url, stated, rawBody: false, declared: new Set(), open: !isRoute })
  // Its scope has no parsers of ours, and its handler is not wrapped.
  if (plan.signed) throw configError('route', `${label}: cannot check a signature, because it ${fix}`)
  return plan
}

/**
 * The route by which @fastify/cors has Fastify run hooks for preflights: `OPTIONS *` in the scope where it is registered, with nothing
 * but `hide` in its schema, in a scope that has its decorator. It answers without a body, or as a URL that does not exist. Any other
 * route for OPTIONS takes its rule or the default.
 */
export function isCorsPreflight ({ config, schema, server }: EarlyContext): boolean {
  const { url, method, auth } = config
  if (auth !== undefined || method !== 'OPTIONS' || server === undefined || !server.hasRequestDecorator('corsPreflightEnabled')) return false
  return url === `${server.prefix}*` && typeof schema === 'object' && schema !== null && Object.keys(schema).join() === 'hide'
}
