import t from 'tap'
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

t.test('a route that answers only OPTIONS is let through when it came early, and warned of by nobody', async (t) => {
  const { app, warnings } = await build(t, (app) => {
    app.options('*', async () => 'preflight')
    app.options('/a', async () => 'preflight')
    app.route({ method: ['OPTIONS'], url: '/list', handler: async () => 'preflight' })
  })
  for (const url of ['/a', '/list', '/anything']) t.equal((await app.inject({ method: 'OPTIONS', url })).body, 'preflight')
  t.strictSame(warnings(), [])
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

t.test('an early route with a signature in its rule is refused as undecidable, whatever is presented', async (t) => {
  const reached: string[] = []
  const { app } = await build(t, (app) => {
    app.post('/signed', { config: { auth: auth.webhook() } }, async (request) => { reached.push(request.url) })
    app.post('/either', { config: { auth: auth.any(auth.jwt(), auth.webhook()) } }, async (request) => { reached.push(request.url) })
    app.get('/get', { config: { auth: auth.webhook() } }, async (request) => { reached.push(request.url) })
  })
  t.strictSame(refusalOf(await app.inject({ method: 'POST', url: '/signed', payload: '{}', headers: signed('{}') })), refusals.undecidable)
  t.strictSame(refusalOf(await app.inject({ method: 'POST', url: '/either', payload: '{}', headers: { ...bearer(), 'content-type': 'application/json' } })), refusals.undecidable)
  t.strictSame(refusalOf(await app.inject('/get')), refusals.undecidable)
  t.strictSame(reached, [])
})

t.test('an early route whose rule cannot be compiled, or whose config is misspelt, is refused as undecidable', async (t) => {
  const { app } = await build(t, (app) => {
    app.get('/unknown-issuer', { config: { auth: auth.jwt('acme') } }, whoami)
    app.get('/look-alike', { config: { auth: { describe: () => 'public' } as never } }, whoami)
    app.get('/null', { config: { auth: null as never } }, whoami)
    app.get('/misspelt', { config: { Auth: auth.jwt().roles('admin') } as object }, whoami)
    app.get('/no-parameter', { config: { auth: auth.jwt().tenant('org') } }, whoami)
  })
  for (const url of ['/unknown-issuer', '/look-alike', '/null', '/misspelt', '/no-parameter']) {
    for (const attempt of [1, 2]) t.strictSame(refusalOf(await app.inject({ url, headers: bearer({ roles: ['admin'] }) })), refusals.undecidable, `${url} ${attempt}`)
  }
})

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
    await scope.register(causeflowAuth, {})
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
