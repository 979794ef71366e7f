/**
 * What Fastify has no public name for, or none that is cheap. Where it cannot be read, in a version to come, the answer is null or comes
 * by the public way, and the caller goes on without it: slower, or without the second check that it makes possible.
 */
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'

/** The hooks of one scope so far, those that it inherits included. */
export interface ScopeHooks {
  /** The prefix of its routes; empty where it has none. */
  readonly prefix: string
  /** The functions of each phase, by its name. */
  readonly phases: Readonly<Record<string, readonly unknown[]>>
}

/** The hooks of an instance and of each scope within it; null where they cannot be read. */
export function hooksOf (instance: FastifyInstance): readonly ScopeHooks[] | null {
  const phases = hidden(instance, 'fastify.hooks') as Readonly<Record<string, readonly unknown[]>> | undefined
  const scopes = hidden(instance, 'fastify.children')
  if (!Array.isArray(phases?.onRequest) || !Array.isArray(scopes)) return null
  // A hook is handed on to the scopes that are there already, behind their own.
  const within = scopes.map((scope) => hooksOf(scope as FastifyInstance))
  if (within.some((lists) => lists === null)) return null
  return [{ prefix: instance.prefix, phases: phases as ScopeHooks['phases'] }, ...within.flatMap((lists) => lists ?? [])]
}

/** What an instance, and each scope within it, runs in onRequest so far: a list of functions each; null where they cannot be read. */
export function requestHooksOf (instance: FastifyInstance): ReadonlyArray<readonly unknown[]> | null {
  return hooksOf(instance)?.map(({ phases }) => phases.onRequest ?? []) ?? null
}

/** What Fastify keeps of a route or of a not-found handler, as far as it is read here. */
export interface KnownContext {
  readonly config: Readonly<Record<PropertyKey, unknown>>
  readonly schema: unknown
  readonly server: FastifyInstance
  /** The path that the router serves; undefined for a not-found handler. */
  readonly url: string | undefined
}

/**
 * Every route that the router has, early ones included, with the path that it serves; null where they cannot be read. The public list
 * is a text without configs. While it is written, the router hands each route to a function that it looks up in the options.
 */
export function routeContextsOf (instance: FastifyInstance): KnownContext[] | null {
  const found = new Map<unknown, KnownContext>()
  let readable = true
  const note = (route: unknown): object => {
    const { store, path } = route as { store?: Partial<KnownContext>, path?: unknown }
    if (isContext(store)) found.set(store, { config: store.config, schema: store.schema, server: store.server, url: typeof path === 'string' ? path : undefined })
    else readable = false
    return {}
  }
  const options = Object.defineProperty({ includeMeta: true }, 'buildPrettyMeta', { get: () => note, set: () => {}, enumerable: true })
  try {
    instance.printRoutes(options as unknown as { includeMeta: boolean })
  } catch {
    return null
  }
  return readable ? [...found.values()] : null
}

/** What is known of a not-found handler; null where it cannot be read. */
export function knownContext (context: RouteContext): KnownContext | null {
  return isContext(context) ? { config: context.config, schema: context.schema, server: context.server, url: undefined } : null
}

function isContext (context: object | undefined): context is KnownContext {
  const { config, server } = (context ?? {}) as Partial<KnownContext>
  return typeof config === 'object' && config !== null && typeof server?.addHook === 'function'
}

/** The value under a symbol that is known by its description, of an instance or of the scopes around it. */
function hidden (instance: object, description: string): unknown {
  for (let scope: object | null = instance; scope !== null; scope = Object.getPrototypeOf(scope) as object | null) {
    const symbol = symbolOf(scope, description)
    if (symbol !== undefined) return (scope as Record<symbol, unknown>)[symbol]
  }
  return undefined
}

/** The methods whose bodies an instance reads; null where they cannot be read. */
export function methodsWithBody (instance: FastifyInstance): ReadonlySet<string> | null {
  const methods = hidden(instance, 'fastify.acceptedHTTPMethods') as { bodywith?: unknown } | undefined
  return methods?.bodywith instanceof Set ? methods.bodywith as Set<string> : null
}

function symbolOf (holder: object, description: string): symbol | undefined {
  return Object.getOwnPropertySymbols(holder).find((candidate) => candidate.description === description)
}

/** What Fastify keeps of a route, or of a not-found handler, for its requests. */
export interface RouteContext {
  readonly config?: unknown
  /** Read at each request. */
  handler?: unknown
  readonly onRequest?: unknown
  readonly preParsing?: unknown
  readonly preValidation?: unknown
  readonly preHandler?: unknown
}

let contextSymbol: symbol | undefined

/** The context of a request; null where it cannot be read. `reply.callNotFound()` replaces it. */
export function contextOf (request: FastifyRequest): RouteContext | null {
  const holder = request as unknown as Record<symbol, RouteContext | undefined>
  const known = contextSymbol === undefined ? undefined : holder[contextSymbol]
  if (known !== undefined) return known
  // A second copy of Fastify in this process has a symbol of its own.
  const symbol = symbolOf(request, 'fastify.context')
  if (symbol === undefined) return null
  contextSymbol = symbol
  return holder[symbol] ?? null
}

/**
 * The config of a request's route. The getter of `routeOptions` makes an object of twelve members at every access, of which this is one:
 * 0.6 of some 35 µs.
 */
export function routeConfigOf (request: FastifyRequest): Readonly<Record<PropertyKey, unknown>> | undefined {
  return (contextOf(request)?.config ?? request.routeOptions.config) as Readonly<Record<PropertyKey, unknown>> | undefined
}

const phasesBeforeTheHandler = ['onRequest', 'preParsing', 'preValidation', 'preHandler'] as const

/** The hooks that run before the handler of a context, those of its scopes included. Fastify has bound each to its instance. */
export function hooksBeforeHandler (context: RouteContext): readonly unknown[] {
  return phasesBeforeTheHandler.flatMap((phase) => Array.isArray(context[phase]) ? context[phase] as unknown[] : [])
}

/** The contexts of the not-found handlers of an instance and of the scopes within it. */
export function notFoundContextsOf (instance: FastifyInstance): readonly RouteContext[] {
  const own = hidden(instance, 'fastify.404ContextKey') as RouteContext | null | undefined
  const scopes = hidden(instance, 'fastify.children')
  return [...new Set([...(own ? [own] : []), ...(Array.isArray(scopes) ? scopes.flatMap((scope) => notFoundContextsOf(scope as FastifyInstance)) : [])])]
}

/** The context to which `reply.callNotFound()` changes a request of this one; null where there is none or it cannot be read. */
export function notFoundContextOf (context: RouteContext): RouteContext | null {
  return hidden(context, 'fastify.404ContextKey') as RouteContext | undefined ?? null
}

type ContextHandler = (request: FastifyRequest, reply: FastifyReply) => unknown

const wrapped = new WeakSet()

/** Puts a handler around the one of a context, once. Does nothing where there is none. */
export function wrapContextHandler (context: RouteContext | null, wrap: (handler: ContextHandler) => ContextHandler): void {
  const handler = context?.handler
  // Contexts of 404 inherit from one another, so the handler is what is known, and not the context.
  if (context === null || typeof handler !== 'function' || wrapped.has(handler)) return
  const outer = wrap(handler as ContextHandler)
  wrapped.add(outer)
  context.handler = outer
}
