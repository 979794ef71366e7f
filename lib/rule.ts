/** What a route accepts: immutable trees of credentials and conditions, built by `auth`. */
import { configError } from './errors.js'
import type { PrincipalOf, Role, Scheme, Scope } from './principal.js'

/** A condition of the application's own. Only the answer `true` passes; a throw rejects with AUTH_RULE_UNDECIDABLE, no answer within 2 seconds with AUTH_STORE_UNAVAILABLE. */
export type Check<S extends Scheme = Scheme, R = any> = ( // eslint-disable-line @typescript-eslint/no-explicit-any -- the request type is the application's (its own generics)
  principal: PrincipalOf<S>, request: R) => boolean | Promise<boolean>

/** A rule as it is kept: what `auth` builds and the compiler reads. */
export interface RuleNode {
  readonly type: 'public' | 'deny' | 'jwt' | 'apiKey' | 'webhook' | 'any' | 'all'
  /** The names given to `jwt` or `webhook`; empty: the default one. */
  readonly names: readonly string[]
  readonly children: readonly RuleNode[]
  readonly roles: readonly string[]
  readonly scopes: readonly string[]
  /** The URL parameter that holds the tenant; null: the configured one. */
  readonly tenantParam: string | null
  readonly anyTenant: boolean
  readonly tenantOptional: boolean
  readonly optional: boolean
  readonly checks: readonly NamedCheck[]
}

/** A check with the name that stands for it in descriptions and logs. */
export interface NamedCheck {
  readonly name: string
  readonly check: Check
}

declare const kind: unique symbol

/** Any rule. Only `auth` makes one; a look-alike does not start. */
export interface AuthRule {
  /** Types alone: what the rule is made of. */
  readonly [kind]: { schemes: Scheme, alone: boolean, optional: boolean }
  /** The rule in words. */
  describe (): string
}

/** `public` or `deny`: stands alone, takes no conditions, goes into no other rule. */
export interface StandingRule extends AuthRule {
  readonly [kind]: { schemes: never, alone: true, optional: false }
}

/** A rule that takes conditions; `O` tells whether absence passes. */
export interface CredentialRule<S extends Scheme, O extends boolean = false> extends AuthRule {
  readonly [kind]: { schemes: S, alone: false, optional: O }
  /** Binds the tenant to another URL parameter than the configured one. */
  tenant (param: string): this
  /** Lifts the binding of the tenant to the URL. A tenant is still required. */
  anyTenant (): this
  /** Lets a token without a tenant in. Never lifts the binding to the URL. */
  tenantOptional (): this
  /** A condition of your own, asked after roles and scopes. */
  check (name: string, check: Check<S>): this
}

/** A rule in which somebody with roles and scopes may be proved. */
export interface IdentityRule<S extends Scheme, O extends boolean = false> extends CredentialRule<S, O> {
  /** At least one of these roles. */
  roles (first: Role, ...more: Role[]): this
  /** All of these scopes. */
  scopes (first: Scope, ...more: Scope[]): this
}

/** A rule without a signature: it may be optional. */
export interface TokenOrKeyRule<S extends 'jwt' | 'apiKey', O extends boolean = false> extends IdentityRule<S, O> {
  /** Absent passes with a null principal; present but bad never does. At the top of a rule or directly inside `all`. */
  optional (): TokenOrKeyRule<S, true>
}

type SchemesOf<R extends AuthRule> = R[typeof kind]['schemes']
type Combined<S extends Scheme> = [S] extends ['jwt' | 'apiKey'] ? TokenOrKeyRule<S> : [S] extends ['webhook'] ? CredentialRule<S> : IdentityRule<S>

/** What goes into `any`. */
export interface Alternative extends AuthRule {
  readonly [kind]: { schemes: Scheme, alone: false, optional: false }
}

/** What goes into `all`. */
export interface Part extends AuthRule {
  readonly [kind]: { schemes: Scheme, alone: false, optional: boolean }
}

/** The rule builders. */
export interface AuthBuilders {
  /** Everybody. Examines nothing: the principal is null whatever was presented. */
  public (): StandingRule
  /** Nobody. */
  deny (): StandingRule
  /** A bearer token of the default issuer, or of one of the named ones. */
  jwt (...names: string[]): TokenOrKeyRule<'jwt'>
  /** An API key. */
  apiKey (): TokenOrKeyRule<'apiKey'>
  /** A signature over the body, with a secret of the default webhook or of one of the named ones. */
  webhook (...names: string[]): CredentialRule<'webhook'>
  /** One of these: what was presented chooses; each branch keeps its own conditions. */
  any<R extends [Alternative, Alternative, ...Alternative[]]> (...rules: R): Combined<SchemesOf<R[number]>>
  /** All of these together. Tokens and keys are proved before signatures. */
  all<R extends [Part, Part, ...Part[]]> (...rules: R): Combined<SchemesOf<R[number]>>
}

/** Rule builders: `auth.jwt().roles('admin')`, `auth.any(auth.jwt(), auth.apiKey())`, … */
export const auth: AuthBuilders = Object.freeze({
  public: (...rest: never[]) => standing('public', rest),
  deny: (...rest: never[]) => standing('deny', rest),
  jwt: (...names: string[]) => build('jwt', empty, words('auth.jwt', names)) as unknown as TokenOrKeyRule<'jwt'>,
  apiKey: (...rest: never[]) => {
    if (rest.length > 0) throw configError('rule', 'auth.apiKey() takes no names: there is one store of keys. Remove the argument')
    return build('apiKey', empty) as unknown as TokenOrKeyRule<'apiKey'>
  },
  webhook: (...names: string[]) => build('webhook', empty, words('auth.webhook', names)) as unknown as CredentialRule<'webhook'>,
  any: (...rules: AuthRule[]) => build('any', parts('any', rules)) as never,
  all: (...rules: AuthRule[]) => build('all', parts('all', rules)) as never
})

// A WeakMap and not a property: what is in it was made here, so a look-alike object is never taken for a rule.
const nodes = new WeakMap<object, RuleNode>()

/** The tree of a rule; null for anything that `auth` has not made. */
export function nodeOf (rule: unknown): RuleNode | null {
  // A WeakMap holds nothing for what is no object.
  return nodes.get(rule as object) ?? null
}

/** The kinds of credential that a rule mentions. */
export function schemesOf (node: RuleNode): ReadonlySet<Scheme> {
  const found = new Set<Scheme>()
  if (node.type === 'jwt' || node.type === 'apiKey' || node.type === 'webhook') found.add(node.type)
  for (const child of node.children) for (const scheme of schemesOf(child)) found.add(scheme)
  return found
}

/** A rule in words, for people: `routes()`, messages, logs. */
export function describeRule (node: RuleNode): string {
  const words: string[] = [credentialWords(node)]
  if (node.roles.length > 0) words.push(`with role ${node.roles.join(' or ')}`)
  if (node.scopes.length > 0) words.push(`with scope ${node.scopes.join(' and ')}`)
  if (node.tenantParam !== null) words.push(`of the tenant in :${node.tenantParam}`)
  if (node.anyTenant) words.push('of any tenant')
  if (node.tenantOptional) words.push('with or without a tenant')
  if (node.checks.length > 0) words.push(`checked by ${node.checks.map(({ name }) => name).join(' and ')}`)
  if (node.optional) words.push('or nothing')
  return words.join(' ')
}

function credentialWords ({ type, names, children }: RuleNode): string {
  switch (type) {
    case 'public': return 'public'
    case 'deny': return 'deny'
    case 'jwt': return names.length > 0 ? `token of ${names.join(' or ')}` : 'token'
    case 'apiKey': return 'API key'
    case 'webhook': return names.length > 0 ? `signature of ${names.join(' or ')}` : 'signature'
    case 'any': return `any of (${children.map(describeRule).join(', ')})`
    case 'all': return `all of (${children.map(describeRule).join(', ')})`
  }
}

/**
 * What every rule carries as an own property, whichever copy of this package has made it. It survives a spread or an
 * Object.assign, so that a rule whose content was copied somewhere is still noticed there.
 */
const kRule = Symbol.for('fastify-causeflow-auth.rule')

/** Whether a value is a rule, a copy of one, one of another copy of this package, or a builder that was not called. */
export function isRuleLike (value: unknown): boolean {
  if (nodeOf(value) !== null) return true
  if (typeof value === 'function') return Object.values(auth).includes(value as never)
  return typeof value === 'object' && value !== null && kRule in value
}

const builderMethods = Object.freeze({
  // Fastify takes only plain objects for the options of a route: app.get('/x', auth.jwt(), handler) throws.
  [Symbol.toStringTag]: 'AuthRule',
  roles (this: object, ...roles: string[]) {
    const node = conditionable(this, '.roles()')
    identity(node, '.roles()')
    return derive(node, { roles: union(node.roles, some('.roles()', roles)) })
  },
  scopes (this: object, ...scopes: string[]) {
    const node = conditionable(this, '.scopes()')
    identity(node, '.scopes()')
    const more = some('.scopes()', scopes)
    // RFC 6749 §3.3: a scope goes into the challenge of a refusal, where a quote or a space would end it.
    for (const scope of more) if (!/^[\x21\x23-\x5B\x5D-\x7E]+$/.test(scope)) throw configError('rule', `The scope ${JSON.stringify(scope)} has characters that no scope may have (RFC 6749 §3.3): no spaces, quotes or backslashes`)
    return derive(node, { scopes: union(node.scopes, more) })
  },
  tenant (this: object, param: string, ...rest: unknown[]) {
    const node = conditionable(this, '.tenant()')
    if (rest.length > 0) throw configError('rule', '.tenant() takes one parameter, and got more. A principal has one tenant: name the parameter that holds it')
    if (typeof param !== 'string' || param === '') throw configError('rule', '.tenant() takes the name of a URL parameter, without its colon: .tenant(\'id\')')
    if (param.startsWith(':')) throw configError('rule', `.tenant('${param}') names a parameter with its colon. Write .tenant('${param.slice(1)}')`)
    if (node.anyTenant || (node.tenantParam !== null && node.tenantParam !== param)) throw configError('rule', 'A rule is bound to one parameter or to none. Keep one of .tenant() and .anyTenant()')
    return derive(node, { tenantParam: param })
  },
  anyTenant (this: object, ...rest: unknown[]) {
    takesNothing('.anyTenant()', rest)
    const node = conditionable(this, '.anyTenant()')
    if (node.tenantParam !== null) throw configError('rule', 'A rule is bound to one parameter or to none. Keep one of .tenant() and .anyTenant()')
    return derive(node, { anyTenant: true })
  },
  tenantOptional (this: object, ...rest: unknown[]) {
    takesNothing('.tenantOptional()', rest)
    return derive(conditionable(this, '.tenantOptional()'), { tenantOptional: true })
  },
  optional (this: object, ...rest: unknown[]) {
    takesNothing('.optional()', rest)
    const node = conditionable(this, '.optional()')
    if (schemesOf(node).has('webhook')) throw configError('rule', 'A signature is never optional. Take .optional() off, or serve unsigned requests on a route of their own')
    return derive(node, { optional: true })
  },
  check (this: object, name: string, check: Check, ...rest: unknown[]) {
    const node = conditionable(this, '.check()')
    // One that is ignored would be a condition that nobody checks.
    if (rest.length > 0) throw configError('rule', '.check() takes one name and one function. Write .check() again for the next')
    if (typeof name !== 'string' || name === '' || typeof check !== 'function') throw configError('rule', '.check() takes a name and a function: .check(\'owner\', (principal, request) => …)')
    return derive(node, { checks: Object.freeze([...node.checks, Object.freeze({ name, check })]) })
  },
  describe (this: object) {
    const node = nodes.get(this)
    if (node === undefined) throw configError('rule', 'describe() belongs to a rule that auth has built. Call it on the rule itself')
    return describeRule(node)
  },
  // `preHandler: async () => auth.jwt()` returns a rule and asks for nothing. Without this every request would pass.
  then (this: object, _resolve: unknown, fail?: (error: Error) => void) {
    fail?.(configError('rule', 'A rule was awaited, or returned by a hook or an async function. Write it in config.auth, or give require(rule) to the route; an async function returns it inside an object'))
  }
})

const empty: readonly never[] = Object.freeze([])

/** `.optional(settings.open)` with false, or with a mistyped name, would open the rule all the same. */
function takesNothing (method: string, rest: readonly unknown[]): void {
  if (rest.length > 0) throw configError('rule', `${method} takes no argument. Remove it, or call ${method} only where it applies`)
}

function standing (type: 'public' | 'deny', rest: readonly unknown[]): StandingRule {
  if (rest.length > 0) throw configError('rule', `auth.${type}() stands alone and takes nothing. Remove the argument`)
  return build(type, empty) as unknown as StandingRule
}

function build (type: RuleNode['type'], children: readonly RuleNode[], names: readonly string[] = empty): object {
  return derive({
    type, names, children, roles: empty, scopes: empty, tenantParam: null, anyTenant: false, tenantOptional: false, optional: false, checks: empty
  }, {})
}

function derive (node: RuleNode, change: Partial<RuleNode>): object {
  const rule = Object.freeze(Object.assign(Object.create(builderMethods) as object, { [kRule]: true }))
  nodes.set(rule, Object.freeze({ ...node, ...change }))
  return rule
}

function conditionable (rule: object, method: string): RuleNode {
  const node = nodes.get(rule)
  if (node === undefined) throw configError('rule', `${method} belongs to a rule that auth has built. Call it on the rule itself`)
  if (node.type === 'public' || node.type === 'deny') throw configError('rule', `auth.${node.type}() stands alone. Take ${method} off, or use auth.jwt(), auth.apiKey() or auth.webhook()`)
  return node
}

function identity (node: RuleNode, method: string): void {
  const schemes = schemesOf(node)
  if (schemes.size === 1 && schemes.has('webhook')) throw configError('rule', `A webhook has neither roles nor scopes. Take ${method} off, or add a key: auth.all(auth.apiKey(), auth.webhook())`)
}

function parts (type: 'any' | 'all', rules: readonly unknown[]): readonly RuleNode[] {
  if (rules.length < 2) throw configError('rule', `auth.${type}() combines two rules or more. Use the rule alone, or name another`)
  return Object.freeze(rules.map((rule) => {
    const node = nodeOf(rule)
    if (node === null) throw configError('rule', `auth.${type}() takes rules built by auth (of this very copy of the package), and got ${typeof rule}`)
    if (node.type === 'public' || node.type === 'deny') throw configError('rule', `auth.${node.type}() stands alone and goes into no other rule. ${node.type === 'public' ? 'Use .optional() on the rule' : 'Leave it out'}`)
    if (type === 'any' && asksNothing(node)) throw configError('rule', 'An optional rule inside auth.any() would let everybody in. Put .optional() on the whole: auth.any(a, b).optional()')
    return node
  }))
}

/** Whether a rule lets a request in that presents nothing. */
export function takesAnyone (node: RuleNode): boolean {
  return node.type === 'public' || (node.type !== 'deny' && asksNothing(node))
}

/** Whether nothing at all satisfies a rule: it is optional, or everything in it is. */
function asksNothing (node: RuleNode): boolean {
  return node.optional || (node.type === 'all' && node.children.every(asksNothing))
}

function words (builder: string, names: readonly unknown[]): readonly string[] {
  const list = strings(builder, names)
  if (new Set(list).size !== list.length) throw configError('rule', `${builder}() names ${list.join(', ')}: remove what is there twice`)
  return Object.freeze(list)
}

function some (method: string, values: readonly unknown[]): readonly string[] {
  if (values.length === 0) throw configError('rule', `${method} without a value asks for nothing. Name at least one, or take it off`)
  return strings(method, values)
}

function strings (where: string, values: readonly unknown[]): string[] {
  return values.map((value) => {
    if (typeof value !== 'string' || value === '') throw configError('rule', `${where} takes non-empty strings, one argument each${Array.isArray(value) ? ', not an array' : ''}`)
    return value
  })
}

function union (before: readonly string[], more: readonly string[]): readonly string[] {
  return Object.freeze([...new Set([...before, ...more])])
}
