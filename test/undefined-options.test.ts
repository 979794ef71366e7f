/** Every place where a mistyped constant, which is undefined, or an empty list could pass for "not given", and what becomes of it. */
import t from 'tap'
import Fastify, { type FastifyInstance } from 'fastify'
import {
  apiKeyRoutes, apiKeySecret, auth, causeflow, causeflowAuth, clerk, clerkSession, deliverWebhook, MemoryApiKeyStore, MemoryReplayStore,
  principalOf, slack, standardWebhooks, stripe, type AuthRule
} from '../lib/index.js'
import { PostgresApiKeyStore } from '../lib/postgres/index.js'
import { redisInvalidation, RedisReplayStore } from '../lib/redis/index.js'
import { authOptions, bearer, createApp, refusalOf, refusals, tokenSecret } from './fixtures/app.js'

const typo = undefined as never
const handler = async (): Promise<string> => 'in'

async function startWith (t: { teardown (action: () => unknown): void }, options: object): Promise<FastifyInstance> {
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(causeflowAuth, options)
  return app
}

const jwt = { issuer: 'causeflow', audience: 'causeflow-api', secret: tokenSecret }
const apiKey = { store: new MemoryApiKeyStore() }
const webhook = { secret: 'whsec_of_the_tests' }

/** Each option of the plugin, by its path, in options that are right but for it. */
const optionPaths: Array<[path: string, options: object]> = [
  ...['default', 'jwt', 'apiKey', 'webhook', 'tenant', 'clock'].map((name): [string, object] => [name, { ...authOptions(), [name]: undefined }]),
  ...['param', 'required'].map((name): [string, object] => [`tenant.${name}`, { jwt, tenant: { [name]: undefined } }]),
  ...['name', 'issuer', 'audience', 'algorithms', 'jwksPath', 'discovery', 'publicKey', 'secret', 'claims', 'authorizedParties', 'azp', 'clockTolerance', 'warmup', 'tokenCache', 'keySet', 'isRevoked']
    .flatMap((name): Array<[string, object]> => [[`jwt.${name}`, { jwt: { ...jwt, [name]: undefined } }], [`jwt[0].${name}`, { jwt: [{ ...jwt, [name]: undefined }] }]]),
  ['jwt.tokenCache.max', { jwt: { ...jwt, tokenCache: { max: undefined } } }],
  ...['maxAge', 'cooldown', 'timeLimit', 'staleFor'].map((name): [string, object] => [`jwt.keySet.${name}`, { jwt: { ...jwt, keySet: { [name]: undefined } } }]),
  ...['store', 'header', 'bearer', 'query', 'environments', 'legacyKeys', 'cache', 'quota', 'sealingKeys'].map((name): [string, object] => [`apiKey.${name}`, { apiKey: { ...apiKey, [name]: undefined } }]),
  ...['max', 'ttl'].map((name): [string, object] => [`apiKey.cache.${name}`, { apiKey: { ...apiKey, cache: { [name]: undefined } } }]),
  ...['name', 'scheme', 'secret', 'replay'].flatMap((name): Array<[string, object]> => [[`webhook.${name}`, { webhook: { ...webhook, [name]: undefined } }], [`webhook[0].${name}`, { webhook: [{ ...webhook, [name]: undefined }] }]])
]

for (const [path, options] of optionPaths) {
  t.test(`${path}: undefined fails at startup, also in a child scope`, async (t) => {
    const required = ['issuer', 'store', 'secret'].includes(path.split('.')[1] ?? '') && path !== 'jwt.secret' && path !== 'jwt[0].secret'
    const error = { code: 'AUTH_CONFIG_OPTION', message: required ? new RegExp(`^${path.replaceAll(/[[\]]/g, '\\$&')} is missing\\. Give `) : `${path} is undefined: is its name mistyped? Leave the option out to use the default` }
    await t.rejects(startWith(t, options), error)
    const app = await createApp(t)
    await t.rejects(async () => { await app.register(async (scope) => { await scope.register(causeflowAuth, options) }) }, error)
  })
}

/** Lists that would take nothing, or everything, when they are empty. */
const emptyLists: Array<[path: string, options: object]> = [
  ['jwt.audience', { jwt: { ...jwt, audience: [] } }],
  ['jwt.algorithms', { jwt: { ...jwt, algorithms: [] } }],
  ['jwt.authorizedParties', { jwt: { ...jwt, authorizedParties: [] } }],
  ['apiKey.environments', { apiKey: { ...apiKey, environments: [] } }],
  ['apiKey.sealingKeys', { apiKey: { ...apiKey, sealingKeys: [] } }],
  ['webhook.secret', { webhook: { secret: [] } }],
  ['jwt.authorizedParties', { jwt: { ...jwt, authorizedParties: [undefined] } }],
  ['jwt.audience', { jwt: { ...jwt, audience: ['a', undefined] } }],
  ['webhook.secret', { webhook: { secret: ['a', undefined] } }],
  ['jwt.claims', { jwt: { ...jwt, claims: { ...clerkSession(), types: undefined } } }]
]

for (const [path, options] of emptyLists) {
  t.test(`${path}: an empty list, or one with undefined in it, fails at startup (${JSON.stringify(options).length})`, async (t) => {
    await t.rejects(startWith(t, options), { code: 'AUTH_CONFIG_OPTION', message: new RegExp(`^${path} is not right`) })
  })
}

t.test('an empty list of issuers or webhooks lets nobody in', async (t) => {
  const app = await createApp(t, { auth: { jwt: [], webhook: [] } })
  app.get('/x', handler)
  t.equal((await app.inject({ url: '/x', headers: bearer() })).json().code, 'AUTH_DENIED')
  const parent = await createApp(t, { auth: { default: auth.jwt() } })
  await parent.register(async (scope) => {
    await scope.register(causeflowAuth, { jwt: [] })
    scope.get('/x', handler)
  })
  await t.rejects(async () => { await parent.ready() }, { code: 'AUTH_CONFIG_CREDENTIAL' }, 'the default that is inherited takes a token, and no issuer is left')
})

const pool = { query: async () => ({ rows: [] }), connect: async () => ({}) }
const client = { call: async () => 'OK', duplicate: () => client, subscribe: async () => 1, connect: async () => {}, disconnect () {}, on () {} }

/** What else takes options: with one that is undefined it is not made. */
const makers: Array<[owner: string, names: string[], make: (options: never) => unknown]> = [
  ['MemoryReplayStore', ['max', 'clock'], (options: never) => new MemoryReplayStore(options)],
  ['RedisReplayStore', ['client', 'prefix', 'timeLimit', 'clock', 'timers'], (options: never) => new RedisReplayStore({ client, ...options as object } as never)],
  ['redisInvalidation', ['client', 'channel', 'timeLimit', 'clock', 'timers'], (options: never) => redisInvalidation({ client, ...options as object } as never)],
  ['PostgresApiKeyStore', ['pool', 'listener', 'schema', 'prefix', 'migrate', 'timeLimit', 'clock', 'timers'], (options: never) => new PostgresApiKeyStore({ pool, ...options as object } as never)],
  ['clerk', ['issuer', 'publishableKey', 'authorizedParties', 'roles', 'impersonation', 'accept'], (options: never) => clerk({ issuer: 'https://clerk.example.com', ...options as object })],
  ['clerkSession', ['roles', 'impersonation', 'accept'], (options: never) => clerkSession(options)],
  ['causeflow', ['header', 'bareHex', 'timestampField', 'tolerance'], (options: never) => causeflow(options)],
  ['slack', ['tolerance'], (options: never) => slack(options)],
  ['stripe', ['tolerance'], (options: never) => stripe(options)],
  ['standardWebhooks', ['tolerance'], (options: never) => standardWebhooks(options)]
]

for (const [owner, names, make] of makers) {
  t.test(`${owner}: an option that is undefined is rejected`, async (t) => {
    for (const name of names) {
      t.throws(() => make({ [name]: undefined } as never), { code: 'AUTH_CONFIG_OPTION', message: new RegExp(`^${owner}\\({ ${name} }\\) is undefined: is its name mistyped\\? Leave the option out`) }, name)
    }
    t.throws(() => make({ [`${names[0]}s`]: 1 } as never), { code: 'AUTH_CONFIG_OPTION' }, 'and so is one that it does not have')
  })
}

t.test('clerkSession: options of a wrong form are rejected', async (t) => {
  for (const options of [{ impersonation: 'false' }, { impersonation: null }, { accept: 'oauth' }, { accept: ['OAuth'] }]) t.throws(() => clerkSession(options as never), { code: 'AUTH_CONFIG_OPTION' })
})

t.test('deliverWebhook: a fetch that is undefined is rejected, for the global one looks at no address', async (t) => {
  await t.rejects(deliverWebhook({ url: 'http://127.0.0.1:1', secret: 's', body: '{}', fetch: typo }), { code: 'AUTH_CONFIG_OPTION', message: /deliverWebhook\(\{ fetch \}\) is undefined/ })
})

for (const [options, message] of [
  [{ list: typo }, /apiKeyRoutes\(\{ list \}\) is undefined: is the name of the rule mistyped\?/],
  [{ manage: typo }, /apiKeyRoutes\(\{ manage \}\) is undefined/],
  [{ list: null }, /apiKeyRoutes\(\{ list \}\) is no rule/],
  [{ manage: 'admin' }, /apiKeyRoutes\(\{ manage \}\) is no rule/],
  [{ lists: auth.deny() }, /apiKeyRoutes has no option 'lists'\. It has manage and list/],
  [{ Manage: undefined }, /apiKeyRoutes has no option 'Manage'/],
  [{ auth: auth.deny() }, /apiKeyRoutes has no option 'auth'/]
] as Array<[object, RegExp]>) {
  t.test(`apiKeyRoutes: ${String(message)}`, async (t) => {
    const app = await createApp(t)
    await t.rejects(async () => { await app.register(apiKeyRoutes, { prefix: '/v1', ...options } as object) }, { code: 'AUTH_CONFIG_OPTION', message })
  })
}

t.test('apiKeyRoutes: Fastify\'s own options of register, and those of a loader, are left alone', async (t) => {
  const app = await createApp(t)
  await app.register(apiKeyRoutes, { prefix: '/v1', logLevel: 'warn', greeting: 'hi', list: auth.deny() } as object)
  t.equal((await app.inject({ url: '/v1/api-keys', headers: bearer() })).json().error, 'forbidden')
})

/** Rules: undefined never means that a condition is left out. */
const rules: Array<[title: string, build: () => unknown]> = [
  ['auth.jwt(undefined)', () => auth.jwt(typo)],
  ['auth.jwt(a, undefined)', () => auth.jwt('a', typo)],
  ['auth.webhook(undefined)', () => auth.webhook(typo)],
  ['auth.apiKey(undefined)', () => (auth.apiKey as (scope: unknown) => unknown)(undefined)],
  ['auth.public(undefined)', () => (auth.public as (rule: unknown) => unknown)(undefined)],
  ['auth.any(rule, undefined)', () => auth.any(auth.jwt(), typo)],
  ['auth.all(rule, undefined)', () => auth.all(auth.jwt(), typo)],
  ['auth.any()', () => (auth.any as () => unknown)()],
  ['auth.all(rule)', () => (auth.all as (rule: unknown) => unknown)(auth.jwt())],
  ['.roles()', () => (auth.jwt().roles as () => unknown)()],
  ['.roles(undefined)', () => auth.jwt().roles(typo)],
  ['.roles(a, undefined)', () => auth.jwt().roles('a', typo)],
  ['.roles([])', () => auth.jwt().roles([] as never)],
  ['.scopes()', () => (auth.jwt().scopes as () => unknown)()],
  ['.scopes(undefined)', () => auth.jwt().scopes(typo)],
  ['.tenant(undefined)', () => auth.jwt().tenant(typo)],
  ['.tenant(a, b)', () => (auth.jwt().tenant as (...names: string[]) => unknown)('a', 'b')],
  ['.check(name, undefined)', () => auth.jwt().check('own', typo)],
  ['.check(undefined)', () => auth.jwt().check(typo, () => true)],
  ['.check(name, one, another)', () => (auth.jwt().check as (...all: unknown[]) => unknown)('own', () => true, () => false)],
  ['.optional(undefined)', () => (auth.jwt().optional as (open: unknown) => unknown)(undefined)],
  ['.optional(false)', () => (auth.jwt().optional as (open: unknown) => unknown)(false)],
  ['.anyTenant(false)', () => (auth.jwt().anyTenant as (open: unknown) => unknown)(false)],
  ['.tenantOptional(undefined)', () => (auth.jwt().tenantOptional as (open: unknown) => unknown)(undefined)]
]

for (const [title, build] of rules) {
  t.test(`${title} is no rule`, async (t) => {
    t.throws(build, { code: 'AUTH_CONFIG_RULE' })
  })
}

t.test('a list of names that is empty takes the default issuer, and still a token', async (t) => {
  const app = await createApp(t, { auth: { default: auth.public() } })
  const names: string[] = []
  app.get('/x', { config: { auth: auth.jwt(...names) } }, handler)
  t.strictSame(refusalOf(await app.inject('/x')), refusals.noToken)
})

t.test('principalOf and authenticate with undefined reject', async (t) => {
  const app = await createApp(t)
  app.get('/scheme', (request) => Promise.resolve(principalOf(request, typo)))
  app.get('/rule', async (request) => await app.causeflowAuth.authenticate(request, undefined as unknown as AuthRule))
  for (const [url, code] of [['/scheme', 'AUTH_DENIED'], ['/rule', 'AUTH_RULE_UNDECIDABLE']]) t.equal((await app.inject({ url: url as string, headers: bearer() })).json().code, code)
})

t.test('the default of a parent is not lost by a child that names none', async (t) => {
  const app = await createApp(t, { auth: { default: auth.deny() } })
  await app.register(async (scope) => {
    await scope.register(causeflowAuth, { webhook: { secret: apiKeySecret() } })
    scope.get('/x', handler)
  })
  t.equal((await app.inject({ url: '/x', headers: bearer() })).json().code, 'AUTH_DENIED')
})
