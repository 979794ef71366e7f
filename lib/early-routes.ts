/** The routes that were there before the plugin: `onRoute` never saw them, the router has. */
import type { FastifyInstance, RouteOptions } from 'fastify'
import { AuthError } from './errors.js'
import { planRoute, readStatement, type Plan } from './route.js'
import type { Registration } from './registration.js'

/**
 * Routes of this scope that are registered already, as `GET /path`; those for OPTIONS alone are left out. The router
 * knows no scopes: in a scope without a prefix of its own nothing is listed.
 */
export function earlyRoutes (instance: FastifyInstance): string[] {
  if (!canListRoutes(instance)) return []
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
    if (methods === '' || methods === 'OPTIONS' || !url.startsWith(instance.prefix)) continue
    found.add(`${methods.replaceAll(', ', '|')} ${url}`)
  }
  return [...found]
}

/** Whether the router can say which routes belong to an instance: to the root, or to a scope with a prefix of its own. */
export function canListRoutes (instance: FastifyInstance): boolean {
  const isRoot = typeof (Object.getPrototypeOf(instance) as { addHook?: unknown } | null)?.addHook !== 'function'
  return isRoot || instance.prefix !== ''
}

/** What to do with the requests of an early route: decide them, refuse them all, or let a preflight through. */
export type EarlyPlan = Plan | AuthError | 'preflight'

/** Plans an early route from its config, at its first request. What cannot be planned is refused. */
export function planEarly (config: Readonly<Record<string, unknown>>, registration: Registration): EarlyPlan {
  const method = config.method as string | string[]
  if (config.auth === undefined && [method].flat().every((one) => one === 'OPTIONS')) return 'preflight'
  const url = config.url as string
  try {
    const { stated } = readStatement({ method, url, options: { config } as Partial<RouteOptions> })
    const plan = planRoute(registration, { method, url, stated, rawBody: false, declared: new Set() })
    // Its scope has no parsers of ours, and its handler is not wrapped.
    return plan.signed ? new AuthError('AUTH_RULE_UNDECIDABLE', 'not-compiled') : plan
  } catch (cause) {
    return new AuthError('AUTH_RULE_UNDECIDABLE', 'not-compiled', { cause })
  }
}
