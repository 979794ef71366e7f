/**
 * What Fastify has no public name for, or none that is cheap. It only saves work: where it cannot be read, in a version to come, the
 * answer is null or comes by the public way, and the caller does what it does without knowing.
 */
import type { FastifyInstance, FastifyRequest } from 'fastify'

/** What an instance, and each scope within it, runs in onRequest so far: a list of functions each; null where they cannot be read. */
export function requestHooksOf (instance: FastifyInstance): ReadonlyArray<readonly unknown[]> | null {
  const hooks = (hidden(instance, 'fastify.hooks') as { onRequest?: unknown } | undefined)?.onRequest
  const scopes = hidden(instance, 'fastify.children')
  if (!Array.isArray(hooks) || !Array.isArray(scopes)) return null
  // A hook is handed on to the scopes that are there already, behind their own.
  const within = scopes.map((scope) => requestHooksOf(scope as FastifyInstance))
  return within.some((lists) => lists === null) ? null : [hooks as unknown[], ...within.flatMap((lists) => lists ?? [])]
}

/** The value under a symbol that is known by its description, of an instance or of the scopes around it. */
function hidden (instance: object, description: string): unknown {
  for (let scope: object | null = instance; scope !== null; scope = Object.getPrototypeOf(scope) as object | null) {
    const symbol = Object.getOwnPropertySymbols(scope).find((candidate) => candidate.description === description)
    if (symbol !== undefined) return (scope as Record<symbol, unknown>)[symbol]
  }
  return undefined
}

let contextSymbol: symbol | undefined

/**
 * The config of a request's route. The getter of `routeOptions` makes an object of twelve members at every access, of which this is one:
 * 0.6 of some 35 µs.
 */
export function routeConfigOf (request: FastifyRequest): Readonly<Record<PropertyKey, unknown>> | undefined {
  contextSymbol ??= Object.getOwnPropertySymbols(request).find(({ description }) => description === 'fastify.context')
  const context = contextSymbol === undefined ? undefined : (request as unknown as Record<symbol, { config?: unknown } | undefined>)[contextSymbol]
  // Undefined, too, where the process has a second copy of Fastify, with symbols of its own.
  return (context?.config ?? request.routeOptions.config) as unknown as Readonly<Record<PropertyKey, unknown>> | undefined
}
