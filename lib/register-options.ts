/** Rules and guards in the options of `register`, where Fastify reads none. */
import type { FastifyInstance } from 'fastify'
import { configError } from './errors.js'
import { hooksOf } from './fastify-internals.js'
import { guardHooks, guardRules } from './misplaced.js'
import { nodeOf, type AuthRule } from './rule.js'

/** What `register` was called with for one scope. */
export interface Registered { readonly instance: FastifyInstance, readonly options: object }

/** What a route states, as far as it is asked here. */
interface StatingRoute { readonly instance: FastifyInstance, readonly stated: AuthRule | null }

/**
 * Rejects `register(routes, { preHandler: guard })` and `{ config: { auth: rule } }` unless a route or a hook
 * of that scope has the rule or the guard: a plugin may hand its options on. Throws AUTH_CONFIG_ROUTE.
 */
export function refuseUnread (registered: readonly Registered[], routes: readonly StatingRoute[]): void {
  for (const { instance, options } of registered) {
    const stated = statementsIn(options)
    if (stated.length === 0) continue
    const isWithin = (route: StatingRoute): boolean => route.instance === instance || Object.prototype.isPrototypeOf.call(instance, route.instance)
    const hooks = new Set(hooksOf(instance)?.flatMap(({ phases }) => Object.values(phases).flat()))
    for (const { path, rule, guard } of stated) {
      if (routes.some((route) => route.stated === rule && isWithin(route)) || (guard !== null && hooks.has(guard))) continue
      const what = guard === null ? 'rule' : 'guard'
      throw configError('route', `register() with the prefix '${instance.prefix}': the ${what} in its option ${path} is read by no route and no hook of that scope. Write addHook('preHandler', guard) in the scope, or state the rule on its routes`)
    }
  }
}

function statementsIn (options: object): Array<{ path: string, rule: AuthRule, guard: object | null }> {
  const given = options as Record<string, unknown> & { config?: { auth?: unknown } | null }
  const rules = [['auth', given.auth], ['config.auth', given.config?.auth]] as const
  return [
    ...rules.flatMap(([path, rule]) => nodeOf(rule) === null ? [] : [{ path, rule: rule as AuthRule, guard: null }]),
    ...guardHooks.flatMap((path) => [given[path]].flat().flatMap((guard) => {
      const rule = typeof guard === 'function' ? guardRules.get(guard) : undefined
      return rule === undefined ? [] : [{ path, rule, guard: guard as object }]
    }))
  ]
}
