import t, { type Test } from 'tap'
import Fastify, { type FastifyInstance, type RouteOptions } from 'fastify'
import { auth, causeflowAuth, type CauseflowAuthOptions } from '../../lib/index.js'
import { authOptions, bearer, createApp, issueKey, refusalOf, signed, tokenSecret, watchProcess } from '../fixtures/app.js'

const mine = bearer()
const theirs = bearer({ tenant_id: 'ten_b' })
const answerTenant = async (request: { params: unknown }): Promise<object> => ({ params: request.params })

const mismatch = { status: 403, code: 'AUTH_TENANT_MISMATCH', challenge: undefined }

/** A request for ten_a: its own member gets in, a member of ten_b does not. */
async function isBound (t: Pick<Test, 'equal' | 'strictSame'>, app: FastifyInstance, url: string): Promise<void> {
  t.equal((await app.inject({ url, headers: mine })).statusCode, 200, `${url} lets its own tenant in`)
  t.strictSame(refusalOf(await app.inject({ url, headers: theirs })), mismatch, `${url} rejects another tenant`)
}

const notFoundRules: Array<[string, (app: FastifyInstance) => object]> = [
  ['a guard in preHandler', (app) => ({ preHandler: app.causeflowAuth.require(auth.jwt()) })],
  ['a guard in onRequest', (app) => ({ onRequest: app.causeflowAuth.require(auth.jwt()) })],
  ['a rule in its config', () => ({ config: { auth: auth.jwt() } })],
  ['a rule with .tenant() in its config', () => ({ config: { auth: auth.jwt().tenant('tenantId') } })],
  ['a guard with .tenant()', (app) => ({ preHandler: app.causeflowAuth.require(auth.jwt().tenant('tenantId')) })]
]

for (const [title, options] of notFoundRules) {
  t.test(`a not-found handler below a tenant's URL is bound to the tenant, with ${title}`, async (t) => {
    const app = await createApp(t, { auth: { default: auth.public() } })
    await app.register(async (scope) => {
      scope.setNotFoundHandler(options(scope) as object, answerTenant)
      scope.get('/gone', { config: { auth: auth.public() } }, (_request, reply) => { reply.callNotFound() })
    }, { prefix: '/v1/tenants/:tenantId' })
    await isBound(t, app, '/v1/tenants/ten_a/unknown')
    await isBound(t, app, '/v1/tenants/ten_a/gone')
    t.equal((await app.inject('/v1/tenants/ten_a/unknown')).statusCode, 401)
    t.equal((await app.inject('/v1/tenants/ten_a/gone')).statusCode, 401)
  })
}

t.test('a guarded not-found handler is bound by the parameters of the route that calls it', async (t) => {
  const app = await createApp(t, { auth: { default: auth.public() } })
  app.setNotFoundHandler({ preHandler: app.causeflowAuth.require(auth.jwt()) }, answerTenant)
  app.get('/v1/tenants/:tenantId/gone', { config: { auth: auth.public() } }, (_request, reply) => { reply.callNotFound() })
  await isBound(t, app, '/v1/tenants/ten_a/gone')
  t.equal((await app.inject({ url: '/unknown', headers: theirs })).statusCode, 200, 'a URL without a tenant is bound to none')
})

t.test('.tenant() on a not-found handler rejects a request without the parameter', async (t) => {
  const app = await createApp(t, { auth: { default: auth.public() } })
  app.setNotFoundHandler({ config: { auth: auth.jwt().tenant('tenantId') } } as object, answerTenant)
  t.strictSame(refusalOf(await app.inject({ url: '/unknown', headers: mine })), mismatch)
})

t.test('a not-found handler with .anyTenant() is bound to none', async (t) => {
  const app = await createApp(t, { auth: { default: auth.public() } })
  await app.register(async (scope) => {
    scope.setNotFoundHandler({ config: { auth: auth.jwt().anyTenant() } } as object, answerTenant)
  }, { prefix: '/:tenantId' })
  t.equal((await app.inject({ url: '/ten_a/x', headers: theirs })).statusCode, 200)
})

t.test('a parameter that only looks like the tenant\'s is rejected on a not-found handler, too', async (t) => {
  const app = await createApp(t, { auth: { default: auth.public() } })
  await app.register(async (scope) => { scope.setNotFoundHandler({ preHandler: scope.causeflowAuth.require(auth.jwt()) }, answerTenant) }, { prefix: '/:tenant_id' })
  await t.rejects(async () => { await app.ready() }, { code: 'AUTH_CONFIG_ROUTE', message: /The not-found handler of \/:tenant_id: :tenant_id is not :tenantId/ })
})

t.test('authenticate() binds the tenant in a not-found handler and behind callNotFound()', async (t) => {
  const app = await createApp(t, { auth: { default: auth.public() } })
  await app.register(async (scope) => {
    scope.setNotFoundHandler(async (request) => {
      const explicit = await app.causeflowAuth.authenticate(request, auth.jwt().tenant('tenantId'))
      return { tenant: explicit?.tenantId, same: (await app.causeflowAuth.authenticate(request, auth.jwt()))?.tenantId }
    })
    scope.get('/gone', { config: { auth: auth.public() } }, (_request, reply) => { reply.callNotFound() })
  }, { prefix: '/v1/tenants/:tenantId' })
  await isBound(t, app, '/v1/tenants/ten_a/unknown')
  await isBound(t, app, '/v1/tenants/ten_a/gone')
})

t.test('a guard in @fastify/auth and in a scope\'s hook is bound in a not-found handler', async (t) => {
  const app = await createApp(t, { auth: { default: auth.public() } })
  await app.register((await import('@fastify/auth')).default)
  await app.register(async (scope) => {
    scope.setNotFoundHandler({ preHandler: scope.auth([scope.causeflowAuth.jwt]) as never }, answerTenant)
  }, { prefix: '/listed/:tenantId' })
  await app.register(async (scope) => {
    scope.addHook('onRequest', scope.causeflowAuth.jwt)
    scope.setNotFoundHandler(answerTenant)
  }, { prefix: '/hooked/:tenantId' })
  await isBound(t, app, '/listed/ten_a/unknown')
  await isBound(t, app, '/hooked/ten_a/unknown')
})

/** Rewrites the URLs of routes, as plugins for prefixes, versions and languages do. */
function rewrite (app: FastifyInstance): void {
  app.addHook('onRoute', (route: RouteOptions) => { route.url = route.url.replace('/here', '/t/:tenantId') })
}

const statements: Array<[string, (app: FastifyInstance) => object]> = [
  ['the default', () => ({})],
  ['a rule in the config', () => ({ config: { auth: auth.jwt() } })],
  ['a guard', (app) => ({ preHandler: app.causeflowAuth.require(auth.jwt()) })],
  ['a rule with .tenant()', () => ({ config: { auth: auth.jwt().tenant('tenantId') } })]
]

for (const order of ['before', 'after'] as const) {
  t.test(`a route whose URL another onRoute hook rewrites ${order} the plugin is bound to the tenant of the URL that is served`, async (t) => {
    const app = await createApp(t, { ...order === 'before' && { before: rewrite } })
    if (order === 'after') rewrite(app)
    for (const [index, [, options]] of statements.entries()) app.get(`/here/${index}`, options(app), answerTenant)
    app.get('/here/authenticate', { config: { auth: auth.public() } }, async (request) => await app.causeflowAuth.authenticate(request, auth.jwt()))
    app.get('/here/tenant', { config: { auth: auth.public() } }, async (request) => await app.causeflowAuth.authenticate(request, auth.jwt().tenant('tenantId')))
    await app.register(async (scope) => {
      scope.addHook('preHandler', scope.causeflowAuth.require(auth.jwt()))
      scope.get('/here/hooked', { config: { auth: auth.public() } }, answerTenant)
    })
    await app.register(async (scope) => { scope.get('/', answerTenant) }, { prefix: '/base/here' })
    for (const [index] of statements.entries()) await isBound(t, app, `/t/ten_a/${index}`)
    for (const url of ['/t/ten_a/authenticate', '/t/ten_a/tenant', '/t/ten_a/hooked', '/base/t/ten_a']) await isBound(t, app, url)
    t.equal((await app.inject({ url: '/base/here', headers: mine })).statusCode, 404)
    t.ok(app.causeflowAuth.routes().some(({ url }) => url === '/t/:tenantId/0'), 'routes() lists the URL that is served')
  })
}

t.test('an early route whose URL is rewritten is bound to the tenant of the URL that is served', async (t) => {
  const app = await createApp(t, {
    before: (app) => {
      rewrite(app)
      app.get('/here/0', answerTenant)
      app.get('/here/1', { config: { auth: auth.jwt().tenant('tenantId') } }, answerTenant)
    }
  })
  for (const url of ['/t/ten_a/0', '/t/ten_a/1']) await isBound(t, app, url)
})

t.test('a URL that loses its tenant to another onRoute hook is bound to none, and .tenant() on it fails at startup', async (t) => {
  const start = async (options: object): Promise<FastifyInstance> => {
    const app = await createApp(t)
    app.addHook('onRoute', (route) => { route.url = route.url.replace('/:tenantId', '') })
    app.get('/x/:tenantId', options, answerTenant)
    await app.ready()
    return app
  }
  t.equal((await (await start({})).inject({ url: '/x', headers: theirs })).statusCode, 200)
  await t.rejects(start({ config: { auth: auth.jwt().tenant('tenantId') } }), { code: 'AUTH_CONFIG_ROUTE', message: /GET \/x: \.tenant\('tenantId'\) names no parameter of this URL/ })
})

t.test('a parameter that only looks like the tenant\'s fails at startup where another onRoute hook has written it', async (t) => {
  for (const order of ['before', 'after'] as const) {
    const add = (app: FastifyInstance): void => { app.addHook('onRoute', (route) => { route.url = route.url.replace('/here', '/:tenant_id') }) }
    const app = await createApp(t, { ...order === 'before' && { before: add } })
    if (order === 'after') add(app)
    app.get('/here', answerTenant)
    await t.rejects(async () => { await app.ready() }, { code: 'AUTH_CONFIG_ROUTE', message: /:tenant_id is not :tenantId/ })
  }
})

t.test('the method and the media types of a route count as another onRoute hook leaves them', async (t) => {
  const change = async (hook: (route: RouteOptions) => void, method: 'POST' | 'PUT' = 'POST'): Promise<FastifyInstance> => {
    const app = await createApp(t)
    app.addHook('onRoute', hook)
    app.route({ method, url: '/x', config: { auth: auth.webhook() }, handler: async (request) => ({ body: request.body, raw: request.rawBody?.toString() }) })
    await app.ready()
    return app
  }
  await t.rejects(change((route) => { route.method = 'GET' }), { code: 'AUTH_CONFIG_ROUTE', message: /GET \/x: a signature is over a body/ })
  const app = await change((route) => { route.schema = { body: { content: { 'application/json': { schema: { type: 'object', required: ['a'] } } } } } })
  const send = (payload: string): Promise<{ statusCode: number }> => app.inject({ method: 'POST', url: '/x', payload, headers: signed(payload) })
  t.equal((await send('{"a":1}')).statusCode, 200)
  t.equal((await send('{}')).statusCode, 400, 'the schema that the hook has written is applied')
})

t.test('an optional parameter that is absent rejects, on a route and in a guard', async (t) => {
  const app = await createApp(t)
  app.get('/opt/:tenantId?', answerTenant)
  app.get('/guarded/:tenantId?', { config: { auth: auth.public() }, preHandler: [] }, async (request) => await app.causeflowAuth.authenticate(request, auth.jwt()))
  for (const url of ['/opt', '/guarded']) {
    t.strictSame(refusalOf(await app.inject({ url, headers: mine })), mismatch, url)
    await isBound(t, app, `${url}/ten_a`)
  }
})

t.test('what is kept of guards is bounded, should the application write its own names into the parameters of requests', async (t) => {
  const faults = watchProcess(t)
  const app = await createApp(t, { auth: { default: auth.public() } })
  app.addHook('onRequest', (request, _reply, done) => { request.params = { [request.url.slice(3)]: 'x', tenantId: 'ten_b' }; done() })
  app.addHook('preHandler', app.causeflowAuth.jwt)
  app.get('/x/*', answerTenant)
  for (let i = 0; i < 1100; i++) t.equal((await app.inject({ url: `/x/${i}`, headers: mine })).statusCode, 403)
  t.strictSame(faults, [])
})

t.test('a child registration with another parameter binds its own, in not-found handlers too', async (t) => {
  const app = await createApp(t, { auth: { default: auth.public() } })
  await app.register(async (scope) => {
    await scope.register(causeflowAuth, { tenant: { param: 'org' } } as CauseflowAuthOptions)
    scope.setNotFoundHandler({ config: { auth: auth.jwt() } } as object, answerTenant)
  }, { prefix: '/v1/:org' })
  await isBound(t, app, '/v1/ten_a/unknown')
})

t.test('without tenants nothing is bound', async (t) => {
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(causeflowAuth, authOptions({ tenant: false, default: auth.public() }))
  await app.register(async (scope) => { scope.setNotFoundHandler({ preHandler: scope.causeflowAuth.require(auth.jwt()) }, answerTenant) }, { prefix: '/:tenantId' })
  t.equal((await app.inject({ url: '/ten_a/x', headers: theirs })).statusCode, 200)
})

const paramsSchema = { params: { type: 'object', properties: { tenantId: { type: 'integer' } } } }
const schemaStatements: Array<[string, (app: FastifyInstance, rule: typeof auth.jwt) => Partial<RouteOptions>]> = [
  ['a rule', (_app, rule) => ({ config: { auth: rule() } })],
  ['a guard on the route', (app, rule) => ({ preHandler: app.causeflowAuth.require(rule()) })],
  ['a guard in the scope', () => ({ config: { auth: auth.public() } })]
]

for (const [title, state] of schemaStatements) {
  t.test(`a schema that changes the parameter does not lead to another tenant, with ${title}`, async (t) => {
    const app = await createApp(t, { auth: { default: auth.public() } })
    const seven = bearer({ tenant_id: '7' })
    const zeroSeven = bearer({ tenant_id: '07' })
    await app.register(async (scope) => {
      if (title === 'a guard in the scope') scope.addHook('onRequest', scope.causeflowAuth.jwt)
      scope.get('/number/:tenantId', { ...state(scope, auth.jwt), schema: paramsSchema }, answerTenant)
      scope.post('/number/:tenantId', { ...state(scope, auth.jwt), schema: paramsSchema }, answerTenant)
      scope.get('/default', { ...state(scope, auth.jwt), schema: { params: { type: 'object', properties: { tenantId: { type: 'string', default: 'ten_b' } } } } }, answerTenant)
      scope.get('/lower/:tenantId', {
        ...state(scope, auth.jwt),
        schema: { params: { type: 'object' } },
        validatorCompiler: () => (value: Record<string, string>) => ({ value: { ...value, tenantId: value.tenantId?.trim().toLowerCase() } })
      }, answerTenant)
      scope.get('/object/:tenantId', {
        ...state(scope, auth.jwt),
        schema: { params: { type: 'object' } },
        validatorCompiler: () => (value: Record<string, string>) => ({ value: { tenantId: { id: value.tenantId } } })
      }, answerTenant)
      scope.get('/hook/:tenantId', { ...state(scope, auth.jwt), preValidation: async (request) => { (request.params as Record<string, string>).tenantId = 'ten_b' } }, answerTenant)
    })
    for (const method of ['GET', 'POST'] as const) {
      t.match((await app.inject({ method, url: '/number/7', headers: seven })).json(), { params: { tenantId: 7 } })
      t.strictSame(refusalOf(await app.inject({ method, url: '/number/07', headers: zeroSeven })), mismatch, 'tenant 07 does not get to tenant 7')
      t.strictSame(refusalOf(await app.inject({ method, url: '/number/07', headers: seven })), mismatch)
    }
    t.strictSame(refusalOf(await app.inject({ url: '/default', headers: mine })), mismatch, 'a default')
    t.equal((await app.inject({ url: '/default', headers: theirs })).statusCode, 200)
    t.equal((await app.inject({ url: '/lower/ten_a', headers: mine })).statusCode, 200)
    t.strictSame(refusalOf(await app.inject({ url: '/lower/TEN_A', headers: bearer({ tenant_id: 'TEN_A' }) })), mismatch, 'another case')
    t.strictSame(refusalOf(await app.inject({ url: '/lower/%20ten_a', headers: bearer({ tenant_id: ' ten_a' }) })), mismatch, 'space')
    t.strictSame(refusalOf(await app.inject({ url: '/object/ten_a', headers: mine })), mismatch, 'what is no text cannot be compared')
    t.strictSame(refusalOf(await app.inject({ url: '/hook/ten_a', headers: mine })), mismatch, 'a hook of the application')
  })
}

t.test('a schema may change the parameter where the tenant is not compared', async (t) => {
  const app = await createApp(t, { auth: { jwt: [{ name: 'staff', issuer: 'staff', audience: 'x', secret: tokenSecret }, { name: 'default', issuer: 'causeflow', audience: 'causeflow-api', secret: tokenSecret }] } })
  const schema = paramsSchema
  app.get('/any/:tenantId', { config: { auth: auth.jwt().anyTenant() }, schema }, answerTenant)
  app.get('/mixed/:tenantId', { config: { auth: auth.any(auth.jwt('default'), auth.jwt('staff').anyTenant()) }, schema }, answerTenant)
  app.get('/optional/:tenantId', { config: { auth: auth.jwt('default').optional() }, schema }, answerTenant)
  t.equal((await app.inject({ url: '/any/07', headers: mine })).statusCode, 200)
  t.equal((await app.inject({ url: '/mixed/07', headers: bearer({ iss: 'staff', aud: 'x' }) })).statusCode, 200)
  t.strictSame(refusalOf(await app.inject({ url: '/mixed/07', headers: bearer({ tenant_id: '07' }) })), mismatch)
  t.equal((await app.inject('/optional/07')).statusCode, 200)
})

t.test('a token without a tenant does not get to one that a schema or a hook has put into the parameters', async (t) => {
  const app = await createApp(t)
  const nobody = bearer({ tenant_id: undefined })
  const config = { auth: auth.jwt().tenantOptional() }
  app.get('/plain', { config }, answerTenant)
  app.get('/default', { config, schema: { params: { type: 'object', properties: { tenantId: { type: 'string', default: 'ten_b' } } } } }, answerTenant)
  app.get('/hook', { config, preValidation: async (request) => { (request.params as Record<string, string>).tenantId = 'ten_b' } }, answerTenant)
  t.equal((await app.inject({ url: '/plain', headers: nobody })).statusCode, 200)
  for (const url of ['/default', '/hook']) t.strictSame(refusalOf(await app.inject({ url, headers: nobody })), mismatch, url)
})

t.test('what authenticate() has compared before the handler is compared again', async (t) => {
  const app = await createApp(t, { auth: { default: auth.public() } })
  app.addHook('onRequest', async (request) => { await app.causeflowAuth.authenticate(request, auth.jwt()) })
  app.get('/:tenantId', { schema: paramsSchema }, answerTenant)
  t.equal((await app.inject({ url: '/7', headers: bearer({ tenant_id: '7' }) })).statusCode, 200)
  t.strictSame(refusalOf(await app.inject({ url: '/07', headers: bearer({ tenant_id: '07' }) })), mismatch)
})

t.test('a URL that names a tenant twice serves a tenant that is both', async (t) => {
  const app = await createApp(t)
  app.get('/t/:tenantId/o/:org', { config: { auth: auth.jwt().tenant('org') } }, answerTenant)
  app.get('/any/:tenantId/o/:org', { config: { auth: auth.jwt().anyTenant() } }, answerTenant)
  t.equal((await app.inject({ url: '/t/ten_a/o/ten_a', headers: mine })).statusCode, 200)
  for (const url of ['/t/ten_b/o/ten_a', '/t/ten_a/o/ten_b']) t.strictSame(refusalOf(await app.inject({ url, headers: mine })), mismatch, url)
  t.equal((await app.inject({ url: '/any/ten_b/o/ten_c', headers: mine })).statusCode, 200)
})

t.test('a guard behind a schema compares the number that the schema has made', async (t) => {
  const app = await createApp(t, { auth: { default: auth.public() } })
  app.addHook('preHandler', app.causeflowAuth.jwt)
  app.get('/:tenantId', { schema: paramsSchema }, answerTenant)
  app.get('/big/:tenantId', { schema: { params: {} }, validatorCompiler: () => (value: Record<string, string>) => ({ value: { tenantId: BigInt(value.tenantId as string) } }) }, async () => 'in')
  for (const url of ['/7', '/07', '/big/7']) t.equal((await app.inject({ url, headers: bearer({ tenant_id: '7' }) })).statusCode, 200, url)
  t.strictSame(refusalOf(await app.inject({ url: '/8', headers: bearer({ tenant_id: '7' }) })), mismatch)
})

t.test('a webhook that names no tenant binds no key that is bound to none', async (t) => {
  const app = await createApp(t)
  app.post('/:tenantId', { config: { auth: auth.all(auth.apiKey().anyTenant(), auth.webhook()) } }, async () => 'in')
  app.post('/bound/:tenantId', { config: { auth: auth.all(auth.apiKey(), auth.webhook()) } }, async () => 'in')
  await app.ready()
  const { plaintextKey } = await issueKey(app)
  const send = async (url: string): Promise<number> => (await app.inject({ method: 'POST', url, payload: '{}', headers: signed('{}', { 'x-api-key': plaintextKey }) })).statusCode
  t.equal(await send('/ten_b'), 200)
  t.equal(await send('/bound/ten_b'), 403)
  t.equal(await send('/bound/ten_a'), 200)
})
