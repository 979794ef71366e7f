/** The routes that were there before the plugin: `onRoute` never saw them, the router has. */
import type { FastifyInstance } from 'fastify'
import { AuthError } from './errors.js'
import { planRoute, type Plan } from './route.js'
import type { AuthRule } from './rule.js'
import type { Registration } from './registration.js'

/**
 * Routes of this scope that are registered already, as `GET /path`; those for OPTIONS alone are left out. The router
 * knows no scopes: in a scope without a prefix of its own nothing is listed.
 */
export function earlyRoutes (instance: FastifyInstance): string[] {
  const isRoot = typeof (Object.getPrototypeOf(instance) as { addHook?: unknown } | null)?.addHook !== 'function'
  if (!isRoot && instance.prefix === '') return []
  const path: string[] = []
  const found: string[] = []
  // The printed tree is the only public list of routes: one line a node, four columns a level, the node's part of the path, its methods.
  for (const line of instance.printRoutes({ commonPrefix: false }).split('\n')) {
    const match = /^((?:│ {3}| {4})*)(├── |└── )?(.*?) \(([A-Z, -]+)\)(?: \{.*\})?$/.exec(line)
    if (match === null) continue
    const [, indent = '', branch, part = '', methods = ''] = match
    const depth = indent.length / 4 + (branch === undefined ? 0 : 1)
    path.length = Math.max(depth - 1, 0)
    path.push(part)
    const url = path.join('')
    if (methods === 'OPTIONS' || !url.startsWith(instance.prefix)) continue
    found.push(`${methods.replaceAll(', ', '|')} ${url}`)
  }
  return found
}

/** What to do with the requests of an early route: decide them, refuse them all, or let a preflight through. */
export type EarlyPlan = Plan | AuthError | 'preflight'

/** Plans an early route from its config, at its first request. What cannot be planned is refused. */
export function planEarly (config: Readonly<Record<string, unknown>>, registration: Registration): EarlyPlan {
  const method = config.method as string | string[]
  if ([method].flat().every((one) => one === 'OPTIONS')) return 'preflight'
  try {
    const plan = planRoute(registration, { method, url: config.url as string, stated: (config.auth ?? null) as AuthRule | null, rawBody: false, declared: new Set() })
    // Its scope has no parsers of ours, and its handler is not wrapped.
    return plan.signed ? new AuthError('AUTH_RULE_UNDECIDABLE', 'not-compiled') : plan
  } catch (cause) {
    return new AuthError('AUTH_RULE_UNDECIDABLE', 'not-compiled', { cause })
  }
}
