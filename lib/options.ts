/** Every option of the plugin: its type, its default, and the refusal of a bad one. Nothing else knows a default. */
import { checkedClock } from './clock.js'
import { configError, refuseUndefined } from './errors.js'
import { nodeOf, type AuthRule } from './rule.js'
import { causeflow } from './webhook/schemes/causeflow.js'
import { causeflowClaims, type ClaimMapping } from './jwt/claims.js'
import { allowedAlgorithms, type Algorithm } from './jwt/algorithm.js'
import { apiKeySecret, isKeySecret } from './webhook/key-secret.js'
import { isNear } from './spelling.js'
import { longestTimer } from './webhook/time-limit.js'
import type { FastifyRequest } from 'fastify'
import type { ApiKeySettings } from './api-key/settings.js'
import type { ApiKeyStore } from './api-key/store.js'
import type { JwtPrincipal, Principal } from './principal.js'
import type { ReplayStore } from './webhook/replay.js'
import type { SealingKey } from './api-key/seal.js'
import type { Secret, SecretAnswer } from './webhook/secret.js'
import type { WebhookSettings } from './webhook/verify.js'
import { isHeaderName, type SignatureScheme } from './webhook/signature.js'
import type { TokenIssuerSettings } from './jwt/verify.js'

export interface CauseflowAuthOptions {
  /**
   * The rule of routes that state none. Default: `auth.jwt()` where `jwt` is configured; otherwise `auth.deny()`, with a
   * warning at start.
   */
  default?: AuthRule
  /** Issuers of bearer tokens. Default: none. */
  jwt?: JwtOptions | JwtOptions[]
  /** API keys. Default: none. */
  apiKey?: ApiKeyOptions
  /** Senders of signed webhooks. Default: none. */
  webhook?: WebhookOptions | WebhookOptions[]
  /** How routes are bound to tenants. Default: `{ param: 'tenantId', required: true }`; false: an application without tenants. */
  tenant?: TenantOptions | false
  /** Milliseconds since the epoch, as a number. Read once at startup, which fails for another answer, such as seconds. Default: Date.now. */
  clock?: () => number
}

export interface TenantOptions {
  /** The URL parameter that names a tenant: a route that has it is bound to the principal's tenant. Default: 'tenantId'. */
  param?: string
  /** Whether a token without a tenant is refused. Default: true. */
  required?: boolean
}

export interface JwtOptions {
  /** The name for `auth.jwt(name)`. Default: 'default'. */
  name?: string
  /** Compared exactly with `iss`. https, or http on a loopback address; free text where `secret` or `publicKey` is given. */
  issuer: string
  /** At least one of these must be in `aud`. Default: 'https://api.causeflow.ai'; false: the tokens carry none. */
  audience?: string | string[] | false
  /** Algorithms that may sign. Default: ['RS256'], or ['HS256'] with `secret`. */
  algorithms?: Algorithm[]
  /** The path of the key set below the issuer. Default: '/.well-known/jwks.json'. */
  jwksPath?: string
  /** Finds the key set through the issuer's OpenID configuration instead. Default: false. */
  discovery?: boolean
  /** A public key in PEM: no network is used. */
  publicKey?: string
  /** A shared secret of 32 bytes or more, for tokens that an installation signs itself (HS256). */
  secret?: string
  /** The schema of the claims and how they become a principal. Default: causeflowClaims(). */
  claims?: ClaimMapping
  /** The values of `azp` that are accepted. Default: all. */
  authorizedParties?: string[]
  /** Whether `azp` must be there. Default: 'ifPresent' where parties are listed, otherwise 'off'. */
  azp?: 'require' | 'ifPresent' | 'off'
  /** Seconds by which clocks may differ. Default: 5. */
  clockTolerance?: number
  /** Whether the issuer's keys are read when the app gets ready; 'require' does not start without them. Default: 'warn'. */
  warmup?: 'require' | 'warn' | false
  /** Verified tokens that are remembered: how many, and how much memory they may take (about, in bytes). Default: `{ max: 10_000, maxBytes: 67_108_864 }` (64 MiB); false: every request verifies. */
  tokenCache?: { max?: number, maxBytes?: number } | false
  /** Seconds. `maxAge` 600: after which the set is read again; `cooldown` 30: between attempts; `timeLimit` 5: of one attempt; `staleFor` 3600: known keys serve beyond maxAge while the issuer fails. */
  keySet?: { maxAge?: number, cooldown?: number, timeLimit?: number, staleFor?: number }
  /** Asked for every request with a valid token; 2 seconds at most. Default: none. */
  isRevoked?: (principal: JwtPrincipal) => boolean | Promise<boolean>
}

export interface ApiKeyOptions {
  /** Where keys are kept. */
  store: ApiKeyStore
  /** The header that carries a key. Default: 'x-api-key'. */
  header?: string
  /** Whether a bearer credential that begins with cflo_ is an API key. Default: true. */
  bearer?: boolean
  /** A query parameter that may carry a key. It ends up in access logs and browser histories. Default: false. */
  query?: string | false
  /** Environments whose keys are accepted. Default: both. */
  environments?: Array<'live' | 'test'>
  /** Whether keys of the older form, cflo_ and 64 hex digits, are accepted. Default: true. */
  legacyKeys?: boolean
  /** Keys that are remembered, and for how many seconds; used only where the store tells of revocations. Default: `{ max: 10_000, ttl: 30 }`. */
  cache?: { max?: number, ttl?: number } | false
  /** Active keys that a tenant may have. Default: 5. */
  quota?: number
  /** Keys that seal the webhook secrets at rest: the first seals, all open. Default: a key of the process for MemoryApiKeyStore; otherwise none, and keys have no webhook secret. */
  sealingKeys?: SealingKey[]
}

export interface WebhookOptions {
  /** The name for `auth.webhook(name)`. Default: 'default'. */
  name?: string
  /** Default: causeflow(). */
  scheme?: SignatureScheme
  /** A secret (text: its UTF-8 bytes), several during a rotation, or a function that finds them; 2 seconds at most. */
  secret: Secret | Secret[] | SecretFinder
  /** Where deliveries are remembered, so that a second one answers 409. Default: none. */
  replay?: ReplayStore
}

/** Declared as a method, so that a function may name the generics of its own route: `FastifyRequest<{ Params: { tenantId: string } }>`. */
export type SecretFinder = { find (request: FastifyRequest, proved: Principal | null): SecretAnswer | Promise<SecretAnswer> }['find']

/** The options with everything filled in. */
export interface Settings {
  readonly default: AuthRule | null
  readonly jwt: ReadonlyArray<TokenIssuerSettings & { warmup: 'require' | 'warn' | false }>
  readonly apiKey: (ApiKeySettings & { header: string, bearer: boolean, query: string | null }) | null
  readonly webhook: ReadonlyArray<WebhookSettings<FastifyRequest>>
  readonly tenant: { readonly param: string, readonly required: boolean } | null
  readonly clock: () => number
}

/** Checks every option and fills in the defaults. Throws AUTH_CONFIG_OPTION. The caller's object is not changed. */
export function readOptions (options: CauseflowAuthOptions): Settings {
  check('', options, {
    default: [(value) => nodeOf(value) !== null, 'a rule built by auth, for example auth.jwt()'],
    jwt: [isObject, 'an object or an array of objects'],
    apiKey: [isObject, 'an object: { store }'],
    webhook: [isObject, 'an object or an array of objects: { secret }'],
    tenant: [(value) => value === false || isObject(value), '{ param, required } or false'],
    clock: [isFunction, 'a function that returns milliseconds since the epoch']
  })
  const jwt = several(options.jwt).map((one, index) => readIssuer(one, Array.isArray(options.jwt) ? `jwt[${index}]` : 'jwt'))
  const webhook = several(options.webhook).map((one, index) => readWebhook(one, Array.isArray(options.webhook) ? `webhook[${index}]` : 'webhook'))
  unique('jwt', 'name', jwt.map(({ name }) => name))
  unique('jwt', 'issuer', jwt.map(({ issuer }) => issuer))
  unique('webhook', 'name', webhook.map(({ name }) => name))
  return {
    default: options.default ?? null,
    jwt,
    apiKey: options.apiKey === undefined ? null : readApiKey(options.apiKey),
    webhook,
    tenant: readTenant(options.tenant),
    clock: options.clock === undefined || options.clock === Date.now ? Date.now : checkedClock(options.clock)
  }
}

/**
 * Rejects options that cannot be read: a promise, or an object whose options are inherited, of which every
 * copy loses them. A child registration needs an option of its own: without one its options are a name that
 * was mistyped. Throws AUTH_CONFIG_OPTION.
 */
export function requireOptions (options: object, isChild: boolean): void {
  if (typeof (options as { then?: unknown }).then === 'function') throw bad('', 'are a promise. Await it')
  for (const name in options) if (!Object.hasOwn(options, name)) throw bad('', `inherit '${name}', and copies lose it. Write them in a plain object`)
  const prototype = Object.getPrototypeOf(options) as object | null
  // By its name: the Object of another realm, as in a vm context, is another object.
  const isPlain = prototype === null || (prototype.constructor as { name?: unknown } | undefined)?.name === 'Object'
  if (!isPlain && Object.getOwnPropertyNames(prototype).length > 1) throw bad('', 'are an instance of a class. Write a plain object')
  if (isChild && !Object.keys(options).some((name) => !registerOptions.has(name))) throw configError('option', 'causeflowAuth is registered in a child scope without options, where it would change nothing: is their name mistyped? Name at least one, or leave this registration out')
}

function readTenant (tenant: CauseflowAuthOptions['tenant']): Settings['tenant'] {
  if (tenant === false) return null
  if (tenant !== undefined) check('tenant', tenant, { param: [(value) => isText(value) && !/[:/]/.test(value), 'the name of a URL parameter, without its colon'], required: isBoolean })
  return { param: tenant?.param ?? 'tenantId', required: tenant?.required ?? true }
}

function readIssuer (options: JwtOptions, at: string): Settings['jwt'][number] {
  check(at, options, {
    name: isName,
    issuer: [isText, 'the issuer, exactly as in the iss claim', 'required'],
    audience: [(value) => value === false || isText(value) || isListOf(value, isText), 'a non-empty string, a list of them, or false'],
    algorithms: [(value) => isListOf(value, (one) => allowedAlgorithms.includes(one as Algorithm)), `a list of ${allowedAlgorithms.join(', ')}`],
    jwksPath: [(value) => typeof value === 'string' && /^\/(?!\/)[^\s\\?#]*$/.test(value), 'a path that begins with one slash'],
    discovery: isBoolean,
    publicKey: [(value) => typeof value === 'string' && /^-----BEGIN (RSA )?PUBLIC KEY-----/.test(value.trim()), 'a public key in PEM (-----BEGIN PUBLIC KEY-----)'],
    secret: [(value) => typeof value === 'string' && Buffer.byteLength(value) >= 32, 'a string of 32 bytes or more: a shorter secret can be guessed from one token (RFC 7518 §3.2)'],
    claims: [(value) => isObject(value) && isObject(value.schema) && isFunction(value.principal) && (value.types === undefined ? !Object.hasOwn(value, 'types') : Array.isArray(value.types) && value.types.every(isText)), 'a claim mapping: causeflowClaims(), clerkSession() or { schema, principal, types } with types, if any, a list'],
    authorizedParties: [(value) => isListOf(value, isText), 'a list of non-empty strings'],
    azp: [(value) => value === 'require' || value === 'ifPresent' || value === 'off', '\'require\', \'ifPresent\' or \'off\''],
    clockTolerance: [(value) => isNumber(value) && value >= 0 && value <= 300, 'seconds, from 0 to 300'],
    warmup: [(value) => value === 'require' || value === 'warn' || value === false, '\'require\', \'warn\' or false'],
    tokenCache: [(value) => value === false || isObject(value), '{ max, maxBytes } or false'],
    keySet: [isObject, '{ maxAge, cooldown, timeLimit, staleFor }'],
    isRevoked: [isFunction, 'a function of the principal']
  })
  const sources = (['jwksPath', 'discovery', 'publicKey', 'secret'] as const).filter((name) => options[name] !== undefined && options[name] !== false)
  if (sources.length > 1) throw bad(at, `takes one source of keys, and has ${sources.join(' and ')}. Keep one`)
  const algorithms = options.algorithms ?? (options.secret !== undefined ? ['HS256'] : ['RS256'])
  const symmetric = algorithms.filter((algorithm) => algorithm.startsWith('HS'))
  if (options.secret !== undefined && symmetric.length < algorithms.length) throw bad(at, `has a secret, which verifies HS256 alone. Take ${algorithms.filter((algorithm) => !algorithm.startsWith('HS')).join(', ')} out of algorithms`)
  if (options.secret === undefined && symmetric.length > 0) throw bad(at, 'lists HS256 and has no secret: a public key is no secret. Take HS256 out of algorithms, or give a secret instead of keys')
  const offline = options.secret !== undefined || options.publicKey !== undefined
  if (!offline) checkIssuerUrl(options.issuer, at)
  if ((options.azp === 'require' || options.azp === 'ifPresent') && options.authorizedParties === undefined) throw bad(at, `has azp: '${options.azp}' and no authorizedParties to compare with. List them`)
  for (const party of options.authorizedParties ?? []) checkParty(party, at)
  if (options.tokenCache !== undefined && options.tokenCache !== false) check(`${at}.tokenCache`, options.tokenCache, { max: isCount, maxBytes: isCount })
  if (options.keySet !== undefined) check(`${at}.keySet`, options.keySet, { maxAge: isSeconds, cooldown: isSeconds, timeLimit: isSeconds, staleFor: [(value) => isNumber(value) && value >= 0, 'seconds, 0 or more'] })
  const base = options.issuer.endsWith('/') ? options.issuer.slice(0, -1) : options.issuer
  const { audience = 'https://api.causeflow.ai' } = options
  return {
    name: options.name ?? 'default',
    issuer: options.issuer,
    audience: audience === false ? null : Array.isArray(audience) ? [...audience] : [audience],
    algorithms: [...algorithms],
    keys: options.secret !== undefined
      ? { from: 'secret', secret: options.secret }
      : options.publicKey !== undefined
        ? { from: 'publicKey', pem: options.publicKey }
        : options.discovery === true
          ? { from: 'discovery', url: `${base}/.well-known/openid-configuration` }
          : { from: 'jwks', url: base + (options.jwksPath ?? '/.well-known/jwks.json') },
    claims: options.claims ?? causeflowClaims(),
    authorizedParties: options.authorizedParties === undefined ? null : [...options.authorizedParties],
    azp: options.azp ?? (options.authorizedParties === undefined ? 'off' : 'ifPresent'),
    clockTolerance: options.clockTolerance ?? 5,
    warmup: options.warmup ?? 'warn',
    tokenCache: options.tokenCache === false ? null : { max: options.tokenCache?.max ?? 10_000, maxBytes: options.tokenCache?.maxBytes ?? 64 * 1024 * 1024 },
    keySet: {
      maxAge: options.keySet?.maxAge ?? 600,
      cooldown: options.keySet?.cooldown ?? 30,
      timeLimit: options.keySet?.timeLimit ?? 5,
      staleFor: options.keySet?.staleFor ?? 3600
    },
    isRevoked: options.isRevoked ?? null
  }
}

/**
 * A party is compared exactly with `azp`: a browser's origin has a scheme, and no path, slash or capital
 * letter (RFC 6454 §6.2). Ids of clients are anything else. Throws AUTH_CONFIG_OPTION.
 */
function checkParty (party: string, at: string): void {
  const given = /^https?:/i.test(party) ? party : /^[a-z0-9.-]+(?::\d+\/?|\/)$/i.test(party) ? `https://${party}` : null
  if (given === null) return
  const { origin } = URL.canParse(given) ? new URL(given) : { origin: '' }
  if (origin !== party) throw bad(at, `has '${party}' in authorizedParties, which no azp equals. An origin has a scheme, and no path, slash or capital letter${origin === '' ? '' : `: '${origin}'`}`)
}

/** https, or http on this very machine: keys fetched over an open line are anybody's keys. */
function checkIssuerUrl (issuer: string, at: string): void {
  // A URL is read without the white space around it, and a token's iss is compared with it.
  if (/\s/.test(issuer)) throw bad(at, 'has an issuer with white space in it. Take it off: the issuer is compared exactly')
  const url = URL.canParse(issuer) ? new URL(issuer) : null
  if (url === null) throw bad(at, 'has an issuer that is no URL, and its keys are fetched from there. Write it with https://, or give publicKey or secret')
  if (url.username !== '' || url.password !== '' || /[?#]/.test(issuer)) throw bad(at, 'has an issuer with user information, a query or a fragment. Give scheme, host and path alone')
  if (url.protocol === 'https:') return
  const loopback = url.hostname === 'localhost' || url.hostname === '[::1]' || /^127(\.\d{1,3}){3}$/.test(url.hostname)
  if (url.protocol !== 'http:' || !loopback) throw bad(at, 'has an issuer that is neither https nor http on a loopback address. Use https')
}

function readApiKey (options: ApiKeyOptions): NonNullable<Settings['apiKey']> {
  check('apiKey', options, {
    store: [(value) => isObject(value) && isFunction(value.findByDigest), 'an ApiKeyStore, for example new MemoryApiKeyStore()', 'required'],
    header: [isHeaderName, 'the name of a header'],
    bearer: isBoolean,
    query: [(value) => value === false || isText(value), 'the name of a query parameter, or false'],
    environments: [(value) => isListOf(value, (one) => one === 'live' || one === 'test'), 'a list of \'live\' and \'test\''],
    legacyKeys: isBoolean,
    cache: [(value) => value === false || isObject(value), '{ max, ttl } or false'],
    quota: [(value) => Number.isSafeInteger(value) && (value as number) >= 0, 'a whole number'],
    sealingKeys: [(value) => isListOf(value, (one) => isText(one) || (one instanceof Uint8Array && one.length === 32)), 'a list of keys of 32 bytes, each a Uint8Array or its text in hex or base64: openssl rand -base64 32']
  })
  if (options.cache !== undefined && options.cache !== false) check('apiKey.cache', options.cache, { max: isCount, ttl: isSeconds })
  const header = (options.header ?? 'x-api-key').toLowerCase()
  if (header === 'authorization') throw bad('apiKey', 'has the header authorization. Keys in there are read already: take header off, and leave bearer: true')
  return {
    store: options.store,
    header,
    bearer: options.bearer ?? true,
    query: options.query === undefined || options.query === false ? null : options.query,
    environments: options.environments === undefined ? ['live', 'test'] : [...options.environments],
    legacyKeys: options.legacyKeys ?? true,
    cache: options.cache === false ? null : { max: options.cache?.max ?? 10_000, ttl: options.cache?.ttl ?? 30 },
    quota: options.quota ?? 5,
    sealingKeys: options.sealingKeys === undefined ? [] : [...options.sealingKeys],
    timeLimit: 2
  }
}

function readWebhook (options: WebhookOptions, at: string): Settings['webhook'][number] {
  check(at, options, {
    name: isName,
    scheme: [(value) => isObject(value) && isListOf(value.headers, isText) && isFunction(value.read) && isFunction(value.sign), 'a signature scheme, for example causeflow() or github()'],
    secret: [(value) => isSecret(value) || isListOf(value, isSecret) || isFunction(value), 'a non-empty secret (a string or bytes), a list of them, or a function that finds them', 'required'],
    replay: [(value) => isObject(value) && isFunction(value.begin) && isFunction(value.finish) && isFunction(value.release), 'a ReplayStore (begin, finish and release), for example new MemoryReplayStore()']
  })
  if ((options.secret as unknown) === apiKeySecret) throw bad(at, 'has apiKeySecret itself as its secret. Call it: secret: apiKeySecret()')
  // Node knows headers by their lower-case names: any other would never be found.
  const header = options.scheme?.headers.find((name) => name !== name.toLowerCase())
  if (header !== undefined) throw bad(at, `has a scheme whose header '${header}' is not in lower case. Write '${header.toLowerCase()}'`)
  return { name: options.name ?? 'default', scheme: options.scheme ?? causeflow(), secret: options.secret, replay: options.replay ?? null }
}

/** Whether the secrets of a webhook are those of API keys. */
export function needsKey ({ secret }: WebhookSettings<FastifyRequest>): boolean {
  return isKeySecret(secret)
}

type Test = (value: unknown) => boolean
/** A test, what it wants in words, and whether the option has to be there. */
type Expectation = readonly [test: Test, words: string, required?: 'required']

const isBoolean: Expectation = [(value) => typeof value === 'boolean', 'true or false']
const isName: Expectation = [isText, 'a non-empty string']
const isCount: Expectation = [(value) => Number.isSafeInteger(value) && (value as number) > 0, 'a whole number, 1 or more']
const isSeconds: Expectation = [(value) => isNumber(value) && value > 0 && value <= longestTimer, `seconds, more than 0 and ${longestTimer} at most`]

/** What `register` itself reads. The plugin has no scope of its own, so these change nothing. */
const registerOptions = new Set(['prefix', 'logLevel', 'logSerializers'])

/** Rejects what an object should not have, what has the wrong form, and what is there and undefined. Throws AUTH_CONFIG_OPTION. */
function check (at: string, value: unknown, expectations: Record<string, Expectation>): void {
  const where = at === '' ? 'causeflowAuth' : at
  if (!isObject(value) || Array.isArray(value)) throw bad(at, 'must be an object')
  for (const name of Object.keys(value)) {
    if (Object.hasOwn(expectations, name) || (at === '' && registerOptions.has(name))) continue
    const nearest = Object.keys(expectations).find((known) => isNear(name, known))
    throw configError('option', `${where} has no option '${name}'. ${nearest === undefined ? `It has ${Object.keys(expectations).join(', ')}` : `Did you mean '${nearest}'?`}`)
  }
  for (const [name, [test, words, required]] of Object.entries(expectations)) {
    const given = value[name]
    const path = at === '' ? name : `${at}.${name}`
    if (given === undefined) {
      if (required !== undefined) throw configError('option', `${path} is missing. Give ${words}`)
      refuseUndefined(() => path, Object.hasOwn(value, name) ? { [name]: given } : {})
    } else if (!test(given)) {
      throw configError('option', `${path} is not right. Give ${words}`)
    }
  }
}

function bad (at: string, what: string): Error {
  return configError('option', `${at === '' ? 'The options of causeflowAuth' : at} ${what}`)
}

function unique (at: string, field: string, values: readonly string[]): void {
  const twice = values.find((value, index) => values.indexOf(value) !== index)
  if (twice !== undefined) throw configError('option', `${at}: two entries have the ${field} '${twice}'. Give each its own`)
}

function several<T> (value: T | T[] | undefined): T[] {
  return value === undefined ? [] : Array.isArray(value) ? value : [value]
}

function isObject (value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null
}

function isFunction (value: unknown): boolean {
  return typeof value === 'function'
}

function isText (value: unknown): value is string {
  return typeof value === 'string' && value !== ''
}

function isNumber (value: unknown): value is number {
  return typeof value === 'number' && Number.isFinite(value)
}

function isListOf (value: unknown, test: Test): boolean {
  return Array.isArray(value) && value.length > 0 && value.every(test)
}

function isSecret (value: unknown): boolean {
  return (typeof value === 'string' || value instanceof Uint8Array) && value.length > 0
}
