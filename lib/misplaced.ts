/** Rules and guards in the options of a route where nothing reads them. */
import { configError } from './errors.js'
import { isRuleLike, type AuthRule } from './rule.js'
import { isNear } from './spelling.js'

/** The rules of guards that `require` has made. */
export const guardRules = new WeakMap<object, AuthRule>()

/** The hooks of a route in which a guard states the rule of the route. */
export const guardHooks = ['onRequest', 'preParsing', 'preValidation', 'preHandler'] as const

/** How many containers deep a rule is looked for: in `{ config: { guards: [rule] } }` it is three deep. */
const maxDepth = 5

/**
 * Rejects a route with a rule or a guard where nothing reads it: under another name, next to the config, in a list or an object. The
 * route would be served under the default, or under a weaker rule. The very rule that the route states may be anywhere.
 * Throws AUTH_CONFIG_ROUTE.
 */
export function refuseMisplaced (label: string, options: object, stated: AuthRule | null): void {
  for (const [key, value] of entriesOf(options)) {
    const letters = lettersOf(key)
    // `auth: 'jwt'` is how other frameworks state it. `auth: false` opens nothing that was meant to be shut, and a rule is found below.
    const isMisplaced = letters === 'auth' && stated === null && value !== false && !isRuleLike(value) && !holdsRule(value)
    if (letters === 'rawbody' || isMisplaced) throw configError('route', `${label}: ${String(key)} is not read. Write config: { ${letters === 'auth' ? 'auth: …' : 'rawBody: true'} }`)
  }
  const where = findIn(options, '', stated, maxDepth, new Set())
  if (where !== null) throw configError('route', `${label}: the ${where.what} in ${where.path} is not read. Write config: { auth: … }${where.what === 'guard' ? ', or put the guard in preHandler' : ''}`)
  refuseMistypedHooks(label, options)
}

const routeHooks = new Set<PropertyKey>([...guardHooks, 'preSerialization', 'onSend', 'onResponse', 'onError', 'onTimeout', 'onRequestAbort'])
/** Names under which Fastify has no hooks and other frameworks have. */
const hookLike = /^(?:pre|on|before)[-_a-z]+$|^(?:middleware|guard|hook|use|before|auth|authenticate|authorize)s?$/i

/**
 * A function under a name that Fastify does not read may be a guard inside another function: `preHandlers:
 * app.auth([guard])`.
 */
function refuseMistypedHooks (label: string, options: object): void {
  const { config } = options as { config?: unknown }
  for (const [holder, path] of [[options, ''], [config, 'config.']] as const) {
    if (typeof holder !== 'object' || holder === null) continue
    for (const [key, value] of entriesOf(holder)) {
      if (typeof key !== 'string' || (path === '' && routeHooks.has(key)) || !holdsFunction(value)) continue
      const meant = guardHooks.find((name) => isNear(key, name)) ?? (path === '' && hookLike.test(key) ? 'preHandler' : undefined)
      if (meant !== undefined) throw configError('route', `${label}: ${path}${key} is not a hook of a route, and its functions never run. Write ${meant}${path === '' ? '' : ' next to config'}`)
    }
  }
}

function holdsFunction (value: unknown): boolean {
  if (typeof value === 'function') return true
  const entries: unknown[] = Array.isArray(value) ? value.flat(2) : isContainer(value) ? Object.values(value) : []
  return entries.some((entry) => typeof entry === 'function')
}

/** A name without case and punctuation, and without the s of a plural: what a typo leaves of it. */
export function lettersOf (key: PropertyKey): string {
  return String(key).toLowerCase().replace(/[^a-z]/g, '').replace(/s$/, '')
}

/** Prototypes that hold nothing of the application's. */
const builtIn = new Set<object>([Object.prototype, Array.prototype, Set.prototype, Map.prototype])

function holdsRule (value: unknown): boolean {
  return isContainer(value) && findIn(value, '', null, maxDepth, new Set()) !== null
}

interface Found { readonly what: 'rule' | 'guard', readonly path: string }

function findIn (holder: object, path: string, stated: AuthRule | null, depth: number, seen: Set<object>): Found | null {
  if (seen.has(holder)) return null
  seen.add(holder)
  // A copy of a rule's own content: `{ ...auth.jwt() }`.
  if (isRuleLike(holder)) return { what: 'rule', path: path === '' ? 'the options' : path }
  for (const [key, value] of entriesOf(holder)) {
    if (isRead(path, key, value)) continue
    const at = pathOf(path, key)
    const what = kindOf(value, stated)
    if (what !== null) return { what, path: at }
    if (isRuleLike(value)) continue
    if (depth > 0 && (isContainer(value) || (at === 'config' && typeof value === 'object' && value !== null))) {
      const found = findIn(value, at, stated, depth - 1, seen)
      if (found !== null) return found
    }
  }
  return null
}

/** Whether a value is at a place that is read: config.auth, and the guards among the hooks. */
function isRead (path: string, key: PropertyKey, value: unknown): boolean {
  // What this package itself keeps in a config, whichever copy of it.
  if (typeof key === 'symbol' && key.description === 'causeflow-auth.route') return true
  if (path === 'config') return key === 'auth'
  if (path !== '' || !(guardHooks as readonly PropertyKey[]).includes(key)) return false
  // Fastify takes nothing but functions here, alone or in a list.
  return typeof value === 'function' || Array.isArray(value)
}

/** What a value would state if it were read; null for the rule that is stated anyway, and for anything else. */
export function kindOf (value: unknown, stated: AuthRule | null): Found['what'] | null {
  if (value === stated) return null
  if (isRuleLike(value)) return 'rule'
  const rule = typeof value === 'function' ? guardRules.get(value) : undefined
  return rule === undefined || rule === stated ? null : 'guard'
}

/**
 * Lists, sets, maps and plain objects. Buffers, streams, servers and other instances of a class are not
 * walked through.
 */
function isContainer (value: unknown): value is object {
  if (typeof value !== 'object' || value === null) return false
  const { constructor } = value as { constructor?: unknown }
  return Array.isArray(value) || value instanceof Set || value instanceof Map || constructor === undefined || (typeof constructor === 'function' && constructor.name === 'Object')
}

/** What a holder has, inherited names and symbols included. A getter is called, as Fastify's copy of the options calls it. */
function * entriesOf (holder: object): Generator<[PropertyKey, unknown]> {
  if (holder instanceof Set || holder instanceof Map) {
    let index = 0
    for (const value of holder.values()) yield [index++, value]
  }
  for (let level: object | null = holder; level !== null && !builtIn.has(level); level = Object.getPrototypeOf(level) as object | null) {
    for (const key of Reflect.ownKeys(level)) {
      let value: unknown
      try {
        value = (holder as Record<PropertyKey, unknown>)[key]
      } catch {
        continue
      }
      yield [key, value]
    }
  }
}

function pathOf (path: string, key: PropertyKey): string {
  if (path === '') return String(key)
  return /^\d+$/.test(String(key)) ? `${path}[${String(key)}]` : `${path}.${String(key)}`
}
