import t from 'tap'
import fastifyCors, { type FastifyCorsOptions } from '@fastify/cors'
import Fastify, { type FastifyInstance, type FastifyServerOptions } from 'fastify'
import { auth, causeflowAuth, type CauseflowAuthOptions } from '../../lib/index.js'
import { authOptions, bearer, createLog, refusalOf, refusals, signed, type Teardown } from '../fixtures/app.js'
import { watchProcess } from '../fixtures/process-watch.js'

watchProcess(t)

const whoami = async (request: { principal: { scheme: string } | null }): Promise<object> => ({ scheme: request.principal?.scheme ?? null })

interface Built { app: FastifyInstance, warnings: () => Array<{ msg: string, routes?: string[] }> }

/** An application whose routes stand before the plugin. */
async function build (t: Teardown, early: (app: FastifyInstance) => unknown, { options = {}, fastify = {} }: { options?: CauseflowAuthOptions, fastify?: FastifyServerOptions } = {}): Promise<Built> {
  const log = createLog()
  const app = Fastify({ ...fastify, logger: log.logger })
  t.teardown(() => app.close())
  await early(app)
  await app.register(causeflowAuth, authOptions(options))
  await app.ready()
  return { app, warnings: () => log.lines.filter(({ level }) => (level as number) >= 40) as unknown as ReturnType<Built['warnings']> }
}

t.test('a route that was there before the plugin is decided by the rule in its config, or the default', async (t) => {
  const { app } = await build(t, (app) => {
    app.get('/default', whoami)
    app.get('/open', { config: { auth: auth.public() } }, whoami)
    app.get('/admin', { config: { auth: auth.jwt().roles('admin') } }, whoami)
    app.get('/t/:tenantId', whoami)
  })
  for (const method of ['GET', 'HEAD'] as const) {
    t.equal((await app.inject({ method, url: '/default' })).statusCode, 401)
    t.equal((await app.inject({ method, url: '/default', headers: bearer() })).statusCode, 200)
    t.equal((await app.inject({ method, url: '/open' })).statusCode, 200)
  }
  t.strictSame(refusalOf(await app.inject('/default')), refusals.noToken)
  t.strictSame((await app.inject({ url: '/default', headers: bearer() })).json(), { scheme: 'jwt' })
  t.equal((await app.inject({ url: '/admin', headers: bearer() })).json().code, 'AUTH_ROLE_REQUIRED')
  t.equal((await app.inject({ url: '/t/ten_a', headers: bearer() })).statusCode, 200)
  t.equal((await app.inject({ url: '/t/ten_b', headers: bearer() })).json().code, 'AUTH_TENANT_MISMATCH', 'its tenant is bound, too')
  t.equal((await app.inject('/unknown')).statusCode, 404)
})

t.test('early routes of child scopes are guarded, those with a prefix and those without', async (t) => {
  const { app } = await build(t, (app) => {
    app.register(async (scope) => {
      scope.get('/child', whoami)
      scope.register(async (deep) => { deep.get('/deep', { config: { auth: auth.jwt().roles('admin') } }, whoami) })
    })
    app.register(async (scope) => { scope.get('/', whoami) }, { prefix: '/v1' })
  })
  for (const url of ['/child', '/v1', '/v1/']) {
    t.strictSame(refusalOf(await app.inject(url)), refusals.noToken, url)
    t.strictSame((await app.inject({ url, headers: bearer() })).json(), { scheme: 'jwt' }, url)
  }
  t.equal((await app.inject('/deep')).statusCode, 401)
  t.equal((await app.inject({ url: '/deep', headers: bearer() })).statusCode, 403)
})

t.test('without await, the routes written behind the registration are early as well', async (t) => {
  const log = createLog()
  const app = Fastify({ logger: log.logger })
  t.teardown(() => app.close())
  app.register(causeflowAuth, authOptions())
  app.get('/x', whoami)
  app.post('/body', { schema: { body: { type: 'object', required: ['a'] } } }, whoami)
  await app.ready()
  t.strictSame(refusalOf(await app.inject('/x')), refusals.noToken)
  t.strictSame((await app.inject({ url: '/x', headers: bearer() })).json(), { scheme: 'jwt' })
  t.strictSame(refusalOf(await app.inject({ method: 'POST', url: '/body', payload: {} })), refusals.noToken)
  const warnings = log.lines.filter(({ level }) => level === 40)
  t.equal(warnings.length, 1)
  t.match(warnings[0]?.msg, /await app\.register\(causeflowAuth\)/)
})

t.test('one warning names every early route and the mend', async (t) => {
  const { warnings } = await build(t, (app) => {
    app.get('/', whoami)
    app.get('/a', whoami)
    app.get('/a/:id/b', whoami)
    app.get('/a/:id(^\\d+$)/c', whoami)
    app.post('/ab', whoami)
    app.route({ method: ['PUT', 'DELETE'], url: '/a/x-:id.json', handler: whoami })
    app.get('/files/*', whoami)
    app.options('/only-options', whoami)
    app.options('*', whoami)
    app.register(async (scope) => { scope.get('/in/scope', { exposeHeadRoute: false }, whoami) })
  })
  const [warning, ...others] = warnings()
  t.strictSame(others, [])
  t.strictSame([...warning?.routes ?? []].sort(), [
    'PUT|DELETE /a/x-:id.json',
    'GET /in/scope',
    'GET|HEAD /',
    'GET|HEAD /a',
    'GET|HEAD /a/:id(^\\d+$)/c',
    'GET|HEAD /a/:id/b',
    'GET|HEAD /files/*',
    'OPTIONS *',
    'OPTIONS /only-options',
    'POST /ab'
  ].sort())
  t.match(warning?.msg, /^Routes were registered before causeflowAuth had loaded: .*GET\|HEAD \/a\/:id\/b.*Write await app\.register\(causeflowAuth\) before them; the order is @fastify\/cors, causeflowAuth, then everything with routes/)
})

t.test('early routes with constraints are named and guarded, each by its own rule', async (t) => {
  const { app, warnings } = await build(t, (app) => {
    app.get('/v', { constraints: { version: '1.0.0' }, config: { auth: auth.public() }, exposeHeadRoute: false }, whoami)
    app.get('/v', { constraints: { version: '2.0.0' }, exposeHeadRoute: false }, whoami)
    app.get('/h', { constraints: { host: 'admin.example.com' }, exposeHeadRoute: false }, whoami)
    app.post('/v/deep', whoami)
  })
  t.equal((await app.inject({ url: '/v', headers: { 'accept-version': '1.0.0' } })).statusCode, 200)
  t.equal((await app.inject({ url: '/v', headers: { 'accept-version': '2.0.0' } })).statusCode, 401)
  t.equal((await app.inject({ url: '/h', headers: { host: 'admin.example.com' } })).statusCode, 401)
  t.equal(warnings().length, 1)
  t.strictSame(new Set(warnings()[0]?.routes), new Set(['GET /v', 'GET /h', 'POST /v/deep']))
})

t.test('an early route for OPTIONS takes its rule or the default', async (t) => {
  for (const options of [{}, { default: auth.deny() }]) {
    const { app, warnings } = await build(t, (app) => {
      app.options('*', async () => 'in')
      app.options('/a', async () => 'in')
      app.route({ method: ['OPTIONS'], url: '/list', handler: async () => 'in' })
      app.options('/open', { config: { auth: auth.public() } }, async () => 'in')
    }, { options })
    for (const url of ['/a', '/list', '/anything']) t.not((await app.inject({ method: 'OPTIONS', url })).body, 'in', url)
    t.equal((await app.inject({ method: 'OPTIONS', url: '/open' })).body, 'in')
    t.strictSame([...warnings()[0]?.routes ?? []].sort(), ['OPTIONS *', 'OPTIONS /a', 'OPTIONS /list', 'OPTIONS /open'])
  }
})

for (const cors of [{}, { hook: 'preHandler' }, { preflightContinue: true }, { hideOptionsRoute: false }, { origin: 'https://app.example.com', credentials: true }] as FastifyCorsOptions[]) {
  t.test(`preflights of @fastify/cors before the plugin are answered, ${JSON.stringify(cors)}`, async (t) => {
    for (const prefix of ['', '/v1']) {
      const { app, warnings } = await build(t, async (app) => {
        if (prefix === '') await app.register(fastifyCors, cors)
        else await app.register(async (scope) => { await scope.register(fastifyCors, cors) }, { prefix })
      }, { options: { default: auth.deny() } })
      const headers = { origin: 'https://app.example.com', 'access-control-request-method': 'GET' }
      const answer = await app.inject({ method: 'OPTIONS', url: `${prefix}/anything`, headers })
      t.equal(answer.headers['access-control-allow-origin'], cors.origin ?? '*')
      t.ok(answer.statusCode < 300)
      t.equal(answer.body, '')
      t.strictSame(warnings().flatMap(({ routes }) => routes ?? []).filter((route) => route.startsWith('OPTIONS')), [])
    }
  })
}

t.test('next to @fastify/cors, an OPTIONS route of the application is not taken for its preflight route', async (t) => {
  const { app } = await build(t, async (app) => {
    await app.register(fastifyCors, { preflight: false })
    app.options('/a', async () => 'in')
    app.options('*', { constraints: { host: 'admin.example.com' } }, async () => 'in')
    app.options('/b*', { schema: { hide: true } as object }, async () => 'in')
    await app.register(async (scope) => { scope.options('*', { schema: { hide: true, querystring: {} } as object }, async () => 'in') }, { prefix: '/scope' })
  }, { options: { default: auth.deny() } })
  for (const url of ['/a', '/b/x', '/scope/x']) t.equal((await app.inject({ method: 'OPTIONS', url })).json().code, 'AUTH_DENIED', url)
  t.equal((await app.inject({ method: 'OPTIONS', url: '/x', headers: { host: 'admin.example.com' } })).json().code, 'AUTH_DENIED')
})

t.test('an early route that answers OPTIONS among others, or states a rule, is not let through', async (t) => {
  const { app } = await build(t, (app) => {
    app.route({ method: ['OPTIONS', 'POST'], url: '/a', handler: whoami })
    app.options('/stated', { config: { auth: auth.jwt() } }, whoami)
  })
  t.equal((await app.inject({ method: 'OPTIONS', url: '/a' })).statusCode, 401)
  t.equal((await app.inject({ method: 'OPTIONS', url: '/stated' })).statusCode, 401)
})

t.test('an OPTIONS route that came after the plugin takes the default', async (t) => {
  const { app } = await build(t, () => {})
  const later = Fastify()
  t.teardown(() => later.close())
  await later.register(causeflowAuth, authOptions())
  later.options('/a', whoami)
  t.equal((await later.inject({ method: 'OPTIONS', url: '/a' })).statusCode, 401)
  t.equal((await app.inject({ method: 'OPTIONS', url: '/a' })).statusCode, 404)
})

/** A Fastify that does not show its routes: startup cannot see a slip, and requests are rejected instead. */
function hideRoutes (app: FastifyInstance): void {
  const printRoutes = app.printRoutes.bind(app)
  app.printRoutes = (options) => printRoutes({ commonPrefix: options?.commonPrefix ?? true })
}

const slips: Array<[title: string, build: (app: FastifyInstance) => unknown, code: string, message: RegExp]> = [
  ['a signature', (app) => app.post('/x', { config: { auth: auth.webhook() } }, whoami), 'AUTH_CONFIG_ROUTE', /^POST \/x: cannot check a signature, because it was added before causeflowAuth had loaded\. Write await app\.register\(causeflowAuth\) before it/],
  ['a signature or a token', (app) => app.post('/x', { config: { auth: auth.any(auth.jwt(), auth.webhook()) } }, whoami), 'AUTH_CONFIG_ROUTE', /cannot check a signature/],
  ['rawBody', (app) => app.post('/x', { config: { rawBody: true } }, whoami), 'AUTH_CONFIG_ROUTE', /keeps no raw body/],
  ['an issuer that is not configured', (app) => app.post('/x', { config: { auth: auth.jwt('acme') } }, whoami), 'AUTH_CONFIG_CREDENTIAL', /names no configured issuer/],
  ['a look-alike of a rule', (app) => app.post('/x', { config: { auth: { describe: () => 'public' } as never } }, whoami), 'AUTH_CONFIG_ROUTE', /config\.auth takes a rule/],
  ['null for a rule', (app) => app.post('/x', { config: { auth: null as never } }, whoami), 'AUTH_CONFIG_ROUTE', /config\.auth is null: is the name of the rule mistyped/],
  ['undefined for a rule', (app) => app.post('/x', { config: { auth: undefined as never } }, whoami), 'AUTH_CONFIG_ROUTE', /config\.auth is undefined: is the name of the rule mistyped/],
  ['config.Auth', (app) => app.post('/x', { config: { Auth: auth.deny() } as object }, whoami), 'AUTH_CONFIG_ROUTE', /config\.Auth is not read/],
  ['a rule under another name', (app) => app.post('/x', { config: { rule: auth.deny() } as object }, whoami), 'AUTH_CONFIG_ROUTE', /the rule in config\.rule is not read/],
  ['a stricter rule next to the stated one', (app) => app.post('/x', { config: { auth: auth.public(), rules: [auth.deny()] } as object }, whoami), 'AUTH_CONFIG_ROUTE', /the rule in config\.rules\[0\] is not read/],
  ['a rule in the schema', (app) => app.post('/x', { schema: { auth: auth.deny() } as object }, whoami), 'AUTH_CONFIG_ROUTE', /the rule in schema\.auth is not read/],
  ['.tenant() without its parameter', (app) => app.post('/x', { config: { auth: auth.jwt().tenant('org') } }, whoami), 'AUTH_CONFIG_ROUTE', /names no parameter of this URL/],
  ['a parameter like the tenant\'s', (app) => app.post('/x/:tenant_id', whoami), 'AUTH_CONFIG_ROUTE', /:tenant_id is not :tenantId/]
]

for (const [title, early, code, message] of slips) {
  t.test(`an early route with ${title} fails at startup, or rejects its requests where Fastify does not show it`, async (t) => {
    await t.rejects(build(t, early), { code, message })
    const { app } = await build(t, (app) => { hideRoutes(app); early(app) })
    const url = title.startsWith('a parameter') ? '/x/ten_a' : '/x'
    for (const attempt of [1, 2]) {
      t.strictSame(refusalOf(await app.inject({ method: 'POST', url, payload: '{}', headers: signed('{}', bearer({ roles: ['admin'] })) })), refusals.undecidable, String(attempt))
    }
  })
}

for (const rule of [auth.public(), auth.jwt().optional()]) {
  t.test(`an early route that states nothing in its config is not served under a default that lets everyone in (${rule.describe()})`, async (t) => {
    const early = (app: FastifyInstance): void => {
      app.get('/next-to-config', { auth: auth.deny() } as object, whoami)
      app.get('/meant', { config: { auth: auth.public() } }, whoami)
    }
    await t.rejects(build(t, early, { options: { default: rule } }), { code: 'AUTH_CONFIG_ROUTE', message: /GET \/next-to-config: states no rule in its config and the default lets everyone in.*Write await app\.register\(causeflowAuth\) before it, or say config: \{ auth: auth\.public\(\) \}/ })
    const { app } = await build(t, (app) => { hideRoutes(app); early(app) }, { options: { default: rule } })
    t.strictSame(refusalOf(await app.inject('/next-to-config')), refusals.undecidable)
    t.equal((await app.inject('/meant')).statusCode, 200)
  })
}

t.test('an early route is decided once the app answers at all: a hook that throws undefined cannot skip the decision', async (t) => {
  const { app } = await build(t, (app) => {
    // eslint-disable-next-line no-throw-literal -- the attack
    app.addHook('onRequest', () => { throw undefined })
    app.get('/x', whoami)
  })
  t.strictSame(refusalOf(await app.inject({ url: '/x', headers: bearer() })), refusals.undecidable)
})

for (const where of ['the application', 'a scope without a prefix', 'a scope with a registration above it']) {
  t.test(`no parser sees the body that a stranger sends to an early route of ${where}, though a hook that throws undefined has skipped ours`, async (t) => {
    const seen: unknown[] = []
    const app = Fastify()
    t.teardown(() => app.close())
    app.addContentTypeParser('application/x-probe', { parseAs: 'buffer' }, (_request, body, done) => { seen.push(body); done(null, body) })
    const addRoutes = async (scope: FastifyInstance): Promise<void> => {
      // eslint-disable-next-line no-throw-literal -- the attack
      scope.addHook('onRequest', () => { throw undefined })
      scope.post('/x', async () => 'in')
      scope.route({ method: ['GET', 'DELETE'], url: '/y', handler: async () => 'in' })
      await scope.register(causeflowAuth, authOptions())
    }
    if (where === 'a scope with a registration above it') await app.register(causeflowAuth, authOptions({ default: auth.deny() }))
    if (where === 'the application') await addRoutes(app)
    else await app.register(addRoutes)
    for (const [method, url] of [['POST', '/x'], ['DELETE', '/y']] as const) {
      t.strictSame(refusalOf(await app.inject({ method, url, payload: 'x', headers: { 'content-type': 'application/x-probe', ...bearer() } })), refusals.undecidable)
    }
    t.strictSame(seen, [])
  })
}

t.test('no parser, no schema and no later hook sees a request of an early scope whose own hook throws undefined before ours', async (t) => {
  const seen: unknown[] = []
  const { app } = await build(t, (app) => {
    app.register(async (scope) => {
      scope.register(async (deep) => {
        // eslint-disable-next-line no-throw-literal -- the attack
        deep.addHook('onRequest', () => { throw undefined })
        deep.addHook('preHandler', async (request) => { seen.push(request.url) })
        deep.addContentTypeParser('application/x-probe', { parseAs: 'buffer' }, (_request, body, done) => { seen.push(body); done(null, body) })
        deep.post('/x', { schema: { headers: { type: 'object', required: ['x-wanted'] } } }, async () => { seen.push('handler'); return 'in' })
      })
    })
  })
  for (const headers of [{}, bearer()]) {
    t.strictSame(refusalOf(await app.inject({ method: 'POST', url: '/x', payload: 'x', headers: { 'content-type': 'application/x-probe', ...headers } })), refusals.undecidable)
  }
  t.strictSame(seen, [])
})

t.test('a registration in a child scope decides the routes that came before it there, and names those it can know of', async (t) => {
  const log = createLog()
  const app = Fastify({ logger: log.logger })
  t.teardown(() => app.close())
  app.get('/outside', async () => 'outside')
  await app.register(async (scope) => {
    scope.get('/x', { exposeHeadRoute: false }, whoami)
    await scope.register(causeflowAuth, authOptions())
  }, { prefix: '/v1' })
  t.equal((await app.inject('/outside')).statusCode, 200)
  t.strictSame(refusalOf(await app.inject('/v1/x')), refusals.noToken)
  t.strictSame(log.lines.filter(({ level }) => level === 40).map(({ routes }) => routes), [['GET /v1/x']])
})

t.test('an app with its routes after the plugin is warned of nothing', async (t) => {
  const log = createLog()
  const app = Fastify({ logger: log.logger })
  t.teardown(() => app.close())
  await app.register(causeflowAuth, authOptions())
  app.get('/', whoami)
  await app.ready()
  t.strictSame(log.lines.filter(({ level }) => (level as number) >= 40), [])
})

t.test('a bare registration starts, lets nobody in, and says so once', async (t) => {
  const log = createLog()
  const app = Fastify({ logger: log.logger })
  t.teardown(() => app.close())
  await app.register(causeflowAuth)
  app.get('/', whoami)
  app.get('/open', { config: { auth: auth.public() } }, whoami)
  await app.register(async (scope) => {
    await scope.register(causeflowAuth, { clock: Date.now })
    scope.get('/child', whoami)
  })
  for (const url of ['/', '/child']) t.equal((await app.inject({ url, headers: bearer() })).json().code, 'AUTH_DENIED')
  t.equal((await app.inject('/open')).statusCode, 200)
  const warnings = log.lines.filter(({ level }) => (level as number) >= 40)
  t.equal(warnings.length, 1)
  t.match(warnings[0]?.msg, /neither jwt nor a default rule.*jwt: \{ issuer \}, or default: auth\.public\(\)/)
})

t.test('with a default of deny that was meant, nothing is warned of', async (t) => {
  const log = createLog()
  const app = Fastify({ logger: log.logger })
  t.teardown(() => app.close())
  await app.register(causeflowAuth, { default: auth.deny() })
  await app.ready()
  t.strictSame(log.lines.filter(({ level }) => (level as number) >= 40), [])
})
