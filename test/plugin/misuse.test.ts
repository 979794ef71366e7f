import t from 'tap'
import Fastify, { type FastifyInstance } from 'fastify'
import { auth, causeflowAuth, MemoryApiKeyStore, type AuthRule } from '../../lib/index.js'
import { apiKeySecret } from '../../lib/index.js'
import { authOptions, createApp } from '../fixtures/app.js'
import { watchProcess } from '../fixtures/process-watch.js'

watchProcess(t)

const handler = async (): Promise<object> => ({})

/** What starting says: the code and the sentence, or null where the app starts. */
async function startOf (build: (app: FastifyInstance) => unknown, before?: (app: FastifyInstance) => unknown): Promise<{ code: string, message: string } | null> {
  const app = Fastify()
  try {
    await before?.(app)
    await app.register(causeflowAuth, authOptions())
    await build(app)
    await app.ready()
    return null
  } catch (error) {
    return { code: (error as { code: string }).code, message: (error as Error).message }
  } finally {
    await app.close()
  }
}

interface Misuse {
  title: string
  code: string
  /** The mend that the sentence names. */
  mend: RegExp
  build: (app: FastifyInstance) => unknown
  before?: (app: FastifyInstance) => unknown
}

const misuses: Misuse[] = [
  {
    title: 'two rules on one route, in its config and in a guard',
    code: 'AUTH_CONFIG_ROUTE',
    mend: /GET \/x states two rules: token; and API key\. Keep one; auth\.all\(\) and auth\.any\(\) combine/,
    build: (app) => app.get('/x', { config: { auth: auth.jwt() }, preHandler: app.causeflowAuth.apiKey }, handler)
  },
  {
    title: 'two guards on one route, in one array',
    code: 'AUTH_CONFIG_ROUTE',
    mend: /states two rules: token; and API key\. Keep one/,
    build: (app) => app.get('/x', { preHandler: [app.causeflowAuth.jwt, app.causeflowAuth.apiKey] }, handler)
  },
  {
    title: 'two guards on one route, in two phases',
    code: 'AUTH_CONFIG_ROUTE',
    mend: /Keep one/,
    build: (app) => app.get('/x', { onRequest: app.causeflowAuth.jwt, preValidation: app.causeflowAuth.require(auth.jwt().roles('admin')) }, handler)
  },
  {
    title: 'a rule beside the config',
    code: 'AUTH_CONFIG_ROUTE',
    mend: /GET \/x: the rule in auth is not read\. Write config: \{ auth: … \}/,
    build: (app) => app.get('/x', { auth: auth.deny() } as object, handler)
  },
  {
    title: 'a rule under another name in the config',
    code: 'AUTH_CONFIG_ROUTE',
    mend: /GET \/x: the rule in config\.rule is not read\. Write config: \{ auth: … \}/,
    build: (app) => app.get('/x', { config: { rule: auth.deny() } as object }, handler)
  },
  {
    title: 'a rule for a config',
    code: 'AUTH_CONFIG_ROUTE',
    mend: /GET \/x: its config is a rule\. Write config: \{ auth: … \}/,
    build: (app) => app.get('/x', { config: auth.deny() as object }, handler)
  },
  {
    title: 'a rule that a config inherits',
    code: 'AUTH_CONFIG_ROUTE',
    mend: /GET \/x: config\.auth is inherited or hidden, and copies of the config lose it\. Write it on the route's own config/,
    build: (app) => app.get('/x', { config: Object.create({ auth: auth.deny() }) as object }, handler)
  },
  ...['preSerialization', 'onSend', 'onResponse', 'onError', 'onTimeout', 'onRequestAbort'].flatMap((name) => [false, true].map((inList): Misuse => ({
    title: `a guard in ${name}${inList ? ', in a list' : ''}`,
    code: 'AUTH_CONFIG_ROUTE',
    mend: new RegExp(`GET /x: a rule in ${name} would come after the handler, or not at all\\. Write it in config\\.auth, or in preHandler`),
    build: (app) => app.get('/x', { [name]: inList ? [app.causeflowAuth.jwt] : app.causeflowAuth.jwt }, handler)
  }))),
  {
    title: 'a second rule that a later hook of onRoute adds',
    code: 'AUTH_CONFIG_ROUTE',
    mend: /Keep one/,
    build: (app) => {
      app.addHook('onRoute', (route) => { route.preHandler = app.causeflowAuth.apiKey })
      app.get('/x', { config: { auth: auth.jwt() } }, handler)
    }
  },
  ...['Auth', 'AUTH', 'rawbody', 'rawBODY'].map((key): Misuse => ({
    title: `config.${key}`,
    code: 'AUTH_CONFIG_ROUTE',
    mend: new RegExp(`config\\.${key} is not read\\. Write config\\.${key.toLowerCase() === 'auth' ? 'auth' : 'rawBody'}`),
    build: (app) => app.get('/x', { config: { [key]: auth.public() } as object }, handler)
  })),
  ...['jwt', { type: 'public' }, Object.create(auth.public()) as unknown, true].map((rule): Misuse => ({
    title: `a config.auth that auth has not built (${typeof rule})`,
    code: 'AUTH_CONFIG_ROUTE',
    mend: /config\.auth takes a rule built by auth .*for example auth\.jwt\(\)/,
    build: (app) => app.get('/x', { config: { auth: rule as AuthRule } }, handler)
  })),
  {
    title: 'config.rawBody that is no boolean',
    code: 'AUTH_CONFIG_ROUTE',
    mend: /config\.rawBody is true or false/,
    build: (app) => app.post('/x', { config: { rawBody: 'yes' as unknown as boolean } }, handler)
  },
  {
    title: 'require() with something that auth has not built',
    code: 'AUTH_CONFIG_RULE',
    mend: /require\(\) takes a rule built by auth/,
    build: (app) => app.causeflowAuth.require('jwt' as unknown as AuthRule)
  },
  {
    title: 'require() with a name that is not configured',
    code: 'AUTH_CONFIG_CREDENTIAL',
    mend: /auth\.jwt\('acme'\) names no configured issuer\. Configured: 'default'/,
    build: (app) => app.causeflowAuth.require(auth.jwt('acme'))
  },
  ...(['GET', 'HEAD', 'TRACE'] as const).map((method): Misuse => ({
    title: `a signature on ${method}`,
    code: 'AUTH_CONFIG_ROUTE',
    mend: new RegExp(`${method} /x: a signature is over a body, and ${method} requests have none\\. Sign POST, PUT, PATCH or DELETE`),
    build: (app) => app.route({ method, url: '/x', config: { auth: auth.webhook() }, handler })
  })),
  {
    title: 'a signature on app.all',
    code: 'AUTH_CONFIG_ROUTE',
    mend: /requests have none\. Sign POST, PUT, PATCH or DELETE/,
    build: (app) => app.all('/x', { config: { auth: auth.any(auth.jwt(), auth.webhook()) } }, handler)
  },
  {
    title: 'a signature as the default of a route for GET',
    code: 'AUTH_CONFIG_ROUTE',
    mend: /GET \/x: a signature is over a body/,
    build: (app) => app.register(async (scope) => {
      await scope.register(causeflowAuth, { default: auth.webhook() })
      scope.get('/x', handler)
    })
  },
  {
    title: '.tenant() on a URL without the parameter',
    code: 'AUTH_CONFIG_ROUTE',
    mend: /GET \/x\/:id: \.tenant\('org'\) names no parameter of this URL\. It has 'id': name one of its own, or use \.anyTenant\(\)/,
    build: (app) => app.get('/x/:id', { config: { auth: auth.jwt().tenant('org') } }, handler)
  },
  {
    title: 'the plugin twice in one scope',
    code: 'AUTH_CONFIG_REGISTRATION',
    mend: /registered twice in one scope\. Give all options to one registration, or register again in a child scope/,
    build: (app) => app.register(causeflowAuth, {})
  },
  {
    title: 'the plugin twice in one child scope',
    code: 'AUTH_CONFIG_REGISTRATION',
    mend: /registered twice in one scope/,
    build: (app) => app.register(async (scope) => {
      await scope.register(causeflowAuth, { default: auth.deny() })
      await scope.register(causeflowAuth, {})
    })
  },
  ...['principal', 'rawBody'].map((name): Misuse => ({
    title: `request.${name} decorated by somebody else before`,
    code: 'AUTH_CONFIG_REGISTRATION',
    mend: new RegExp(`request\\.${name} is decorated already.*Give the other decorator another name`),
    before: (app) => app.decorateRequest(name, null),
    build: () => {}
  })),
  {
    title: 'a child scope that takes its parsers away after a signed route',
    code: 'AUTH_CONFIG_ROUTE',
    mend: /POST \/x: its scope has removed the content-type parsers that keep raw bodies\. Call removeAllContentTypeParsers\(\) before the scope's routes, not after/,
    build: (app) => app.register(async (scope) => {
      scope.post('/x', { config: { auth: auth.webhook() } }, handler)
      scope.removeAllContentTypeParsers()
    })
  },
  {
    title: 'a child scope that takes its parsers away after a route with rawBody',
    code: 'AUTH_CONFIG_ROUTE',
    mend: /Call removeAllContentTypeParsers\(\) before the scope's routes/,
    build: (app) => app.register(async (scope) => {
      scope.post('/x', { config: { rawBody: true } }, handler)
      scope.removeAllContentTypeParsers()
    })
  }
]

for (const { title, code, mend, build, before } of misuses) {
  t.test(`${title} does not start, and the sentence names the mend`, async (t) => {
    const start = await startOf(build, before)
    t.equal(start?.code, code)
    t.match(start?.message, mend)
  })
}

t.test('what is wrong with a route is said where the route is written', async (t) => {
  const app = await createApp(t)
  t.throws(() => app.get('/x', { config: { Auth: auth.public() } as object }, handler), { code: 'AUTH_CONFIG_ROUTE' })
  t.throws(() => app.get('/y', { config: { auth: auth.jwt() }, preHandler: app.causeflowAuth.apiKey }, handler), { code: 'AUTH_CONFIG_ROUTE' })
})

t.test('a config may hold the rule that it states under another name as well', async (t) => {
  const rule = auth.jwt()
  t.equal(await startOf((app) => app.get('/x', { config: { auth: rule, access: [rule] } as object }, handler)), null)
  t.equal(await startOf((app) => {
    app.addHook('onRoute', (route) => { route.config = { ...route.config, auth: (route.config as { access?: AuthRule }).access } as object })
    return app.get('/x', { config: { access: auth.jwt() } as object }, handler)
  }), null, 'and a hook may state it')
})

t.test('one and the same rule in config and guard is one rule', async (t) => {
  const rule = auth.jwt()
  t.equal(await startOf((app) => app.get('/x', { config: { auth: rule }, preHandler: app.causeflowAuth.require(rule) }, handler)), null)
  t.equal(await startOf((app) => {
    const guard = app.causeflowAuth.require(rule)
    return app.get('/x', { onRequest: guard, preHandler: [guard, guard] }, handler)
  }), null)
})

t.test('parsers that a scope takes away before its routes are added again', async (t) => {
  const app = await createApp(t, { auth: { default: auth.public() } })
  await app.register(async (scope) => {
    scope.removeAllContentTypeParsers()
    scope.post('/x', { config: { auth: auth.webhook() }, schema: { body: { content: { 'application/xml': { schema: {} } } } } }, async (request) => ({ raw: request.rawBody?.toString() }))
    scope.post('/y', async (request) => request.body ?? {})
  })
  const { signed } = await import('../fixtures/app.js')
  for (const type of ['application/json', 'application/xml', 'text/plain']) {
    t.strictSame((await app.inject({ method: 'POST', url: '/x', payload: '{}', headers: signed('{}', { 'content-type': type }) })).json(), { raw: '{}' }, type)
  }
  t.equal((await app.inject({ method: 'POST', url: '/y', payload: { a: 1 } })).statusCode, 415, 'and nothing else is added')
})

t.test('a child scope may take its parsers away where nothing is signed', async (t) => {
  t.equal(await startOf((app) => app.register(async (scope) => {
    scope.post('/x', handler)
    scope.removeAllContentTypeParsers()
  })), null)
})

t.test('body.content with names that are no media types starts as without the plugin', async (t) => {
  for (const type of ['*/*', 'json', 'application/json; charset=utf-8', 'Application/JSON', '']) {
    t.equal(await startOf((app) => app.post('/x', { schema: { body: { content: { [type]: { schema: { type: 'object' } } } } } }, handler)), null, type)
  }
})

t.test('secrets of keys on a rule without a key, and keys without a store, do not start', async (t) => {
  const starts = async (options: object, rule: AuthRule): Promise<unknown> => {
    const app = Fastify()
    t.teardown(() => app.close())
    try {
      await app.register(causeflowAuth, options)
      app.post('/x', { config: { auth: rule } }, handler)
      await app.ready()
      return null
    } catch (error) {
      return (error as { code: string }).code
    }
  }
  const store = new MemoryApiKeyStore()
  t.equal(await starts({ apiKey: { store }, webhook: { secret: apiKeySecret() } }, auth.webhook()), 'AUTH_CONFIG_CREDENTIAL')
  t.equal(await starts({ apiKey: { store }, webhook: { secret: apiKeySecret() } }, auth.all(auth.apiKey(), auth.webhook())), null)
  t.equal(await starts({}, auth.apiKey()), 'AUTH_CONFIG_CREDENTIAL')
  t.equal(await starts({}, auth.jwt()), 'AUTH_CONFIG_CREDENTIAL')
  t.equal(await starts({}, auth.webhook()), 'AUTH_CONFIG_CREDENTIAL')
})

t.test('apiKeys without a store says what is missing', async (t) => {
  const app = await createApp(t, { auth: { apiKey: undefined } })
  t.throws(() => app.causeflowAuth.apiKeys, { code: 'AUTH_CONFIG_CREDENTIAL', message: /Give the plugin apiKey: \{ store \}/ })
})
