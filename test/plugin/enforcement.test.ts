import t from 'tap'
import Fastify, { type FastifyInstance, type RouteOptions } from 'fastify'
import { auth, causeflowAuth, principalOf, type Guard } from '../../lib/index.js'
import { authOptions, bearer, createApp, issueKey, now, refusalOf, refusals, signed, token, tokenSecret } from '../fixtures/app.js'
import { watchProcess } from '../fixtures/process-watch.js'

watchProcess(t)

const whoami = async (request: { principal: { scheme: string } | null }): Promise<object> => ({ scheme: request.principal?.scheme ?? null })

t.test('a route that states nothing takes the default, a token where issuers are configured', async (t) => {
  const app = await createApp(t)
  app.get('/', whoami)
  t.strictSame(refusalOf(await app.inject('/')), refusals.noToken)
  t.strictSame((await app.inject({ url: '/', headers: bearer() })).json(), { scheme: 'jwt' })
})

t.test('the rule of config.auth stands in place of the default', async (t) => {
  const app = await createApp(t)
  app.get('/open', { config: { auth: auth.public() } }, whoami)
  app.get('/closed', { config: { auth: auth.deny() } }, whoami)
  app.get('/admin', { config: { auth: auth.jwt().roles('admin') } }, whoami)
  app.get('/key', { config: { auth: auth.apiKey() } }, whoami)
  const { plaintextKey } = await app.ready().then(() => issueKey(app))

  t.strictSame((await app.inject({ url: '/open', headers: { authorization: 'Bearer nonsense' } })).json(), { scheme: null }, 'public examines nothing')
  t.strictSame(refusalOf(await app.inject({ url: '/closed', headers: bearer() })), { status: 403, code: 'AUTH_DENIED', challenge: undefined })
  t.strictSame(refusalOf(await app.inject({ url: '/admin', headers: bearer() })), { status: 403, code: 'AUTH_ROLE_REQUIRED', challenge: undefined })
  t.equal((await app.inject({ url: '/admin', headers: bearer({ roles: ['member', 'admin'] }) })).statusCode, 200)
  t.strictSame((await app.inject({ url: '/key', headers: { 'x-api-key': plaintextKey } })).json(), { scheme: 'apiKey' })
  t.strictSame(refusalOf(await app.inject({ url: '/key', headers: bearer() })), refusals.noKey)
})

const phases = ['onRequest', 'preParsing', 'preValidation', 'preHandler'] as const

for (const phase of phases) {
  for (const form of ['alone', 'in an array'] as const) {
    t.test(`a guard in ${phase}, ${form}, is enforced before the body is looked at, and once`, async (t) => {
      const app = await createApp(t)
      let asked = 0
      const guard = app.causeflowAuth.require(auth.apiKey().check('counted', () => { asked++; return true }))
      const other = (_request: unknown, _reply: unknown, ...rest: unknown[]): void => { (rest[rest.length - 1] as () => void)() }
      const hooks = Object.freeze([other, guard])
      const given = form === 'alone' ? guard : hooks
      app.post('/', { [phase]: given, schema: { body: { type: 'object', required: ['name'] } } }, whoami)
      await app.ready()
      const { plaintextKey } = await issueKey(app)

      t.strictSame(refusalOf(await app.inject({ method: 'POST', url: '/', payload: {} })), refusals.noKey, 'a stranger is told nothing of the schema')
      t.strictSame(refusalOf(await app.inject({ method: 'POST', url: '/', payload: 'no JSON', headers: { 'content-type': 'application/json' } })), refusals.noKey)
      t.strictSame(refusalOf(await app.inject({ method: 'POST', url: '/', payload: {}, headers: bearer() })), refusals.noKey, 'it stands in place of the default')
      t.equal(asked, 0)
      const headers = { 'x-api-key': plaintextKey }
      t.equal((await app.inject({ method: 'POST', url: '/', payload: {}, headers })).statusCode, 400)
      asked = 0
      t.strictSame((await app.inject({ method: 'POST', url: '/', payload: { name: 'x' }, headers })).json(), { scheme: 'apiKey' })
      t.equal(asked, 1)
      t.strictSame(hooks, [other, guard], 'the array is as it was')
    })
  }
}

t.test('a stranger who asks a route with the default is told nothing of its body schema, size limit or media types', async (t) => {
  const app = await createApp(t)
  app.post('/', { bodyLimit: 4, schema: { body: { type: 'object', required: ['name'] } } }, whoami)
  for (const [payload, type] of [['{}', 'application/json'], ['{"name":1}', 'application/json'], ['<a/>', 'application/xml'], ['', '%%%']] as const) {
    t.strictSame(refusalOf(await app.inject({ method: 'POST', url: '/', payload, headers: { 'content-type': type } })), refusals.noToken)
  }
})

t.test('the ready hooks put their credential on a route', async (t) => {
  const app = await createApp(t)
  app.get('/jwt', { preHandler: app.causeflowAuth.jwt }, whoami)
  app.get('/key', { onRequest: [app.causeflowAuth.apiKey] }, whoami)
  app.post('/hook', { preHandler: app.causeflowAuth.webhook }, whoami)
  await app.ready()
  const { plaintextKey } = await issueKey(app)
  t.strictSame(refusalOf(await app.inject('/jwt')), refusals.noToken)
  t.strictSame((await app.inject({ url: '/jwt', headers: bearer() })).json(), { scheme: 'jwt' })
  t.strictSame(refusalOf(await app.inject('/key')), refusals.noKey)
  t.strictSame((await app.inject({ url: '/key', headers: { 'x-api-key': plaintextKey } })).json(), { scheme: 'apiKey' })
  t.strictSame(refusalOf(await app.inject({ method: 'POST', url: '/hook', payload: {} })), refusals.noSignature)
  t.strictSame((await app.inject({ method: 'POST', url: '/hook', payload: '{}', headers: signed('{}') })).json(), { scheme: 'webhook' })
})

t.test('HEAD follows GET, whether Fastify adds it, the application does, or it comes by a guard', async (t) => {
  const app = await createApp(t)
  app.get('/open', { config: { auth: auth.public() } }, whoami)
  app.get('/closed', whoami)
  app.get('/guarded', { preHandler: app.causeflowAuth.require(auth.jwt().roles('admin')) }, whoami)
  app.route({ method: ['GET', 'HEAD'], url: '/both', config: { auth: auth.jwt().roles('admin') }, handler: whoami })
  for (const method of ['GET', 'HEAD'] as const) {
    t.equal((await app.inject({ method, url: '/open' })).statusCode, 200)
    t.equal((await app.inject({ method, url: '/closed' })).statusCode, 401)
    t.equal((await app.inject({ method, url: '/closed', headers: bearer() })).statusCode, 200)
    for (const url of ['/guarded', '/both']) {
      t.equal((await app.inject({ method, url })).statusCode, 401)
      t.equal((await app.inject({ method, url, headers: bearer() })).statusCode, 403)
      t.equal((await app.inject({ method, url, headers: bearer({ roles: ['admin'] }) })).statusCode, 200)
    }
  }
})

t.test('the root of a prefixed scope is guarded with and without its slash', async (t) => {
  const app = await createApp(t)
  const styles = ['both', 'slash', 'no-slash'] as const
  for (const prefixTrailingSlash of styles) {
    await app.register(async (scope) => {
      scope.get('/', { prefixTrailingSlash, config: { auth: auth.jwt().roles('admin') } }, whoami)
      scope.get('/deep', whoami)
    }, { prefix: `/${prefixTrailingSlash}` })
  }
  for (const url of ['/both', '/both/', '/slash/', '/no-slash']) {
    for (const method of ['GET', 'HEAD'] as const) {
      t.equal((await app.inject({ method, url })).statusCode, 401, url)
      t.equal((await app.inject({ method, url, headers: bearer() })).statusCode, 403, url)
      t.equal((await app.inject({ method, url, headers: bearer({ roles: ['admin'] }) })).statusCode, 200, url)
    }
  }
  for (const url of ['/slash', '/no-slash/']) t.equal((await app.inject(url)).statusCode, 404)
  for (const style of styles) t.strictSame(refusalOf(await app.inject(`/${style}/deep`)), refusals.noToken)
})

t.test('routes of nested scopes are decided by the innermost registration, those beside by their own', async (t) => {
  const app = await createApp(t, { auth: { default: auth.deny() } })
  app.get('/root', whoami)
  await app.register(async (a) => {
    await a.register(causeflowAuth, { default: auth.jwt() })
    a.get('/a', whoami)
    await a.register(async (deep) => {
      deep.get('/a/before', whoami)
      await deep.register(causeflowAuth, { default: auth.public() })
      deep.get('/a/deep', whoami)
    })
  })
  await app.register(async (b) => {
    b.get('/b', whoami)
    await b.register(causeflowAuth, { default: auth.apiKey() })
    b.get('/b/later', whoami)
  })
  await app.ready()
  const { plaintextKey } = await issueKey(app)
  t.equal((await app.inject({ url: '/root', headers: bearer() })).statusCode, 403)
  t.strictSame(refusalOf(await app.inject('/a')), refusals.noToken)
  t.strictSame((await app.inject({ url: '/a', headers: bearer() })).json(), { scheme: 'jwt' })
  t.strictSame((await app.inject('/a/before')).json(), { scheme: null }, 'a route before its scope\'s registration, too')
  t.strictSame((await app.inject('/a/deep')).json(), { scheme: null })
  for (const url of ['/b', '/b/later']) {
    t.strictSame(refusalOf(await app.inject({ url, headers: bearer() })), refusals.noKey)
    t.strictSame((await app.inject({ url, headers: { 'x-api-key': plaintextKey } })).json(), { scheme: 'apiKey' }, 'the parent\'s store is inherited')
  }
})

t.test('a request is decided once, however many registrations stand around its route', async (t) => {
  let asked = 0
  const counted = (): boolean => { asked++; return true }
  const app = await createApp(t)
  await app.register(async (a) => {
    await a.register(causeflowAuth, { default: auth.jwt().check('counted', counted) })
    await a.register(async (deep) => {
      await deep.register(causeflowAuth, { clock: () => now })
      deep.get('/', whoami)
      deep.post('/hook', { config: { auth: auth.webhook().check('counted', counted) } }, async (request) => ({ type: request.headers['content-type'], raw: request.rawBody?.toString() }))
    })
  })
  t.equal((await app.inject({ url: '/', headers: bearer() })).statusCode, 200)
  t.equal(asked, 1)
  t.strictSame((await app.inject({ method: 'POST', url: '/hook', payload: '{}', headers: signed('{}') })).json(), { type: 'application/json', raw: '{}' })
  t.equal(asked, 2)
})

t.test('a child registration replaces what it names whole, and inherits the rest', async (t) => {
  const app = await createApp(t)
  const other = 'another secret of the tests, 32 bytes and more'
  app.get('/parent', whoami)
  await app.register(async (scope) => {
    await scope.register(causeflowAuth, {
      jwt: [{ issuer: 'other', audience: false, secret: other }],
      webhook: [{ name: 'a', secret: 'whsec_a' }, { name: 'b', secret: 'whsec_b' }],
      tenant: { param: 'org' }
    })
    scope.get('/child/:org', whoami)
    scope.get('/child/:org/:tenantId', whoami)
    scope.post('/child/:org/hook', { config: { auth: auth.webhook('b').anyTenant() } }, whoami)
  })
  const theirs = { authorization: `Bearer ${token({ iss: 'other' }, other)}` }
  t.strictSame(refusalOf(await app.inject({ url: '/child/ten_a', headers: bearer() })), { status: 401, code: 'AUTH_TOKEN_INVALID', challenge: 'Bearer realm="causeflow", error="invalid_token"' }, 'the parent\'s issuer is no issuer here')
  t.strictSame((await app.inject({ url: '/child/ten_a', headers: theirs })).json(), { scheme: 'jwt' })
  t.equal((await app.inject({ url: '/child/ten_b', headers: theirs })).json().code, 'AUTH_TENANT_MISMATCH')
  t.equal((await app.inject({ url: '/child/ten_a/ten_b', headers: theirs })).statusCode, 200, 'the parent\'s parameter binds no longer')
  t.equal((await app.inject({ url: '/parent', headers: theirs })).json().code, 'AUTH_TOKEN_INVALID')
  t.equal((await app.inject({ method: 'POST', url: '/child/x/hook', payload: '{}', headers: signed('{}') })).json().code, 'AUTH_SIGNATURE_INVALID', 'the list is replaced whole')
  t.equal((await app.inject({ method: 'POST', url: '/child/x/hook', payload: '{}', headers: signed('{}', {}, 'whsec_b') })).statusCode, 200)
})

t.test('a registration in a scope leaves the routes outside alone', async (t) => {
  const app = Fastify()
  t.teardown(() => app.close())
  const plain = async (request: object): Promise<object> => ({ principal: 'principal' in request })
  app.get('/outside', plain)
  await app.register(async (scope) => {
    await scope.register(causeflowAuth, authOptions())
    scope.get('/inside', plain)
  })
  await app.register(async (scope) => {
    scope.get('/sibling', plain)
    scope.post('/sibling', async (request) => request.body)
  })
  t.strictSame((await app.inject('/outside')).json(), { principal: false })
  t.strictSame((await app.inject('/sibling')).json(), { principal: false })
  t.strictSame((await app.inject({ method: 'POST', url: '/sibling', payload: { a: 1 } })).json(), { a: 1 })
  t.equal((await app.inject('/inside')).statusCode, 401)
})

t.test('siblings may each have a registration of their own', async (t) => {
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(async (scope) => {
    await scope.register(causeflowAuth, authOptions())
    scope.get('/tokens', whoami)
    scope.post('/hook', { config: { auth: auth.webhook() } }, whoami)
  })
  await app.register(async (scope) => {
    await scope.register(causeflowAuth, authOptions({ jwt: undefined, webhook: { secret: 'whsec_other' }, default: auth.public() }))
    scope.get('/open', whoami)
    scope.post('/hook2', { config: { auth: auth.webhook() } }, whoami)
  })
  t.equal((await app.inject('/tokens')).statusCode, 401)
  t.equal((await app.inject('/open')).statusCode, 200)
  t.equal((await app.inject({ method: 'POST', url: '/hook', payload: '{}', headers: signed('{}') })).statusCode, 200)
  t.strictSame(refusalOf(await app.inject({ method: 'POST', url: '/hook2', payload: '{}', headers: signed('{}') })), refusals.badSignature)
  t.equal((await app.inject({ method: 'POST', url: '/hook2', payload: '{}', headers: signed('{}', {}, 'whsec_other') })).statusCode, 200)
})

t.test('unknown URLs and methods stay 404, with a credential and without', async (t) => {
  const app = await createApp(t)
  app.get('/known', whoami)
  for (const headers of [{}, bearer(), { authorization: 'Bearer nonsense' }]) {
    t.equal((await app.inject({ url: '/unknown', headers })).statusCode, 404)
    t.equal((await app.inject({ method: 'DELETE', url: '/known', headers })).statusCode, 404)
    t.equal((await app.inject({ method: 'POST', url: '/unknown', headers: { ...headers, 'content-type': 'application/json' }, payload: '{}' })).statusCode, 404)
  }
})

t.test('a not-found handler is guarded by require, in each phase that it has', async (t) => {
  for (const phase of ['preValidation', 'preHandler'] as const) {
    const app = await createApp(t)
    app.setNotFoundHandler({ [phase]: app.causeflowAuth.require(auth.jwt().roles('admin')) }, async (request) => ({ nobody: request.principal === null, content: true }))
    t.strictSame(refusalOf(await app.inject('/anything')), refusals.noToken)
    t.equal((await app.inject({ url: '/anything', headers: bearer() })).statusCode, 403)
    t.strictSame((await app.inject({ url: '/anything', headers: bearer({ roles: ['admin'] }) })).json(), { nobody: false, content: true })
  }
})

t.test('routes() tells every route with its rule in words, a child\'s its own', async (t) => {
  const app = await createApp(t)
  app.get('/open', { exposeHeadRoute: false, config: { auth: auth.public() } }, whoami)
  app.post('/guarded', { preHandler: [app.causeflowAuth.require(auth.any(auth.jwt().roles('admin'), auth.apiKey()))] }, whoami)
  let child: FastifyInstance | undefined
  await app.register(async (scope) => {
    scope.delete('/early', whoami)
    await scope.register(causeflowAuth, { default: auth.apiKey().scopes('x') })
    scope.route({ method: ['PUT', 'PATCH'], url: '/:tenantId', handler: whoami })
    child = scope
  }, { prefix: '/v1' })
  const ours = [{ method: ['PUT', 'PATCH'], url: '/v1/:tenantId', rule: 'API key with scope x' }]
  t.strictSame(app.causeflowAuth.routes(), [
    { method: 'GET', url: '/open', rule: 'public' },
    { method: 'POST', url: '/guarded', rule: 'any of (token with role admin, API key)' },
    { method: 'DELETE', url: '/v1/early', rule: 'API key with scope x' },
    ...ours
  ])
  t.strictSame(child?.causeflowAuth.routes(), ours)
})

t.test('hook arrays and config objects that several routes share are neither changed nor mixed up', async (t) => {
  const app = await createApp(t)
  const hooks = Object.freeze([app.causeflowAuth.require(auth.jwt().roles('admin'))])
  const config = Object.freeze({ auth: auth.apiKey(), other: 1 })
  const options = Object.freeze({ config })
  app.get('/a', { preHandler: hooks as Guard[] }, whoami)
  app.get('/b', { preHandler: hooks as Guard[] }, whoami)
  app.get('/c', options, async (request) => Object.keys(request.routeOptions.config).sort())
  app.get('/d', options, whoami)
  app.get('/e', { ...options, config: { ...config, auth: auth.public() } }, whoami)
  await app.ready()
  const { plaintextKey } = await issueKey(app)
  for (const url of ['/a', '/b']) {
    t.equal((await app.inject(url)).statusCode, 401)
    t.equal((await app.inject({ url, headers: bearer({ roles: ['admin'] }) })).statusCode, 200)
  }
  t.strictSame((await app.inject({ url: '/c', headers: { 'x-api-key': plaintextKey } })).json(), ['auth', 'method', 'other', 'url'])
  t.strictSame(refusalOf(await app.inject('/d')), refusals.noKey)
  t.equal((await app.inject('/e')).statusCode, 200)
  t.strictSame(Object.keys(config), ['auth', 'other'])
})

t.test('a route that a hook of onRoute copies to another URL has its own rule there', async (t) => {
  for (const when of ['before', 'after'] as const) {
    const copy = (app: FastifyInstance): void => {
      app.addHook('onRoute', function (route) {
        if (route.url.startsWith('/copy') || route.method === 'HEAD') return
        this.route({ ...route, url: `/copy${route.url}` } as RouteOptions)
        this.route({ ...route, url: `/copy-admin${route.url}`, config: { ...route.config, auth: auth.jwt().roles('admin') } } as RouteOptions)
        this.route({ ...route, url: `/copy-bare${route.url}`, config: {} } as RouteOptions)
      })
    }
    const app = await createApp(t, { before: (app) => { if (when === 'before') copy(app) } })
    if (when === 'after') copy(app)
    app.get('/open', { config: { auth: auth.public() } }, whoami)
    app.get('/plain', whoami)
    t.equal((await app.inject('/open')).statusCode, 200, when)
    t.equal((await app.inject('/copy/open')).statusCode, 200, when)
    t.equal((await app.inject('/copy/plain')).statusCode, 401, when)
    t.equal((await app.inject({ url: '/copy/plain', headers: bearer() })).statusCode, 200, when)
    for (const url of ['/copy-admin/open', '/copy-admin/plain']) {
      t.equal((await app.inject(url)).statusCode, 401, `${when} ${url}`)
      t.equal((await app.inject({ url, headers: bearer() })).statusCode, 403, `${when} ${url}`)
      t.equal((await app.inject({ url, headers: bearer({ roles: ['admin'] }) })).statusCode, 200, `${when} ${url}`)
    }
    t.equal((await app.inject('/copy-bare/open')).statusCode, 401, when)
  }
})

t.test('a copy of a route at the same URL, for another version, has the rule that it states', async (t) => {
  const app = await createApp(t)
  app.addHook('onRoute', function (route) {
    if (route.constraints !== undefined || route.method === 'HEAD') return
    this.route({ ...route, constraints: { version: '2.0.0' }, config: { ...route.config, auth: auth.jwt().roles('admin') } })
  })
  app.get('/', whoami)
  t.equal((await app.inject({ url: '/', headers: bearer() })).statusCode, 200)
  t.equal((await app.inject({ url: '/', headers: { ...bearer(), 'accept-version': '2.0.0' } })).statusCode, 403)
})

t.test('a rule that a later hook of onRoute puts on a route counts', async (t) => {
  const app = await createApp(t)
  app.addHook('onRoute', (route) => {
    if (route.url.startsWith('/admin')) route.config = { ...route.config, auth: auth.jwt().roles('admin') } as NonNullable<RouteOptions['config']>
    if (route.url.startsWith('/keys')) route.preHandler = app.causeflowAuth.apiKey
    if (route.url.startsWith('/replaced')) route.config = { auth: auth.jwt().roles('admin') } as NonNullable<RouteOptions['config']>
  })
  app.get('/admin', whoami)
  app.get('/keys', whoami)
  app.get('/replaced', whoami)
  for (const url of ['/admin', '/replaced']) {
    t.equal((await app.inject({ url, headers: bearer() })).statusCode, 403, url)
    t.equal((await app.inject({ url, headers: bearer({ roles: ['admin'] }) })).statusCode, 200, url)
  }
  t.strictSame(refusalOf(await app.inject({ url: '/keys', headers: bearer() })), refusals.noKey)
  t.equal(app.causeflowAuth.routes().find(({ url }) => url === '/admin')?.rule, 'token with role admin')
})

t.test('a guard that is pushed into a route\'s array after the route was written counts', async (t) => {
  const app = await createApp(t)
  const hooks: Guard[] = []
  app.get('/', { preHandler: hooks }, whoami)
  hooks.push(app.causeflowAuth.apiKey)
  t.strictSame(refusalOf(await app.inject({ url: '/', headers: bearer() })), refusals.noKey)
})

t.test('a handler that is wrapped by another plugin is reached, and never without a proof', async (t) => {
  for (const when of ['before', 'after'] as const) {
    const wrap = (app: FastifyInstance): void => {
      app.addHook('onRoute', (route) => {
        const { handler } = route
        route.handler = function (request, reply) { return handler.call(this, request, reply) }
      })
    }
    const app = await createApp(t, { before: (app) => { if (when === 'before') wrap(app) } })
    if (when === 'after') wrap(app)
    app.get('/', whoami)
    t.equal((await app.inject('/')).statusCode, 401)
    t.equal((await app.inject({ url: '/', headers: bearer() })).statusCode, 200)
  }
})

t.test('this is the instance and the route\'s own options are kept', async (t) => {
  const app = await createApp(t)
  app.decorate('mark', 'mark')
  app.get('/', { config: { auth: auth.public() } }, function (this: FastifyInstance & { mark?: string }) { return { mark: this.mark } } as never)
  t.strictSame((await app.inject('/')).json(), { mark: 'mark' })
})

t.test('principalOf narrows what a combination has proved', async (t) => {
  const app = await createApp(t)
  app.post('/v1/webhooks/:tenantId', { config: { auth: auth.all(auth.webhook(), auth.apiKey()) } }, async (request) => ({
    scheme: request.principal?.scheme,
    proofs: request.principal?.proofs,
    key: principalOf(request, 'apiKey').name,
    source: principalOf(request, 'webhook').source
  }))
  app.get('/', async (request) => principalOf(request, 'apiKey'))
  await app.ready()
  const { plaintextKey } = await issueKey(app)
  t.strictSame((await app.inject({ method: 'POST', url: '/v1/webhooks/ten_a', payload: '{}', headers: signed('{}', { 'x-api-key': plaintextKey }) })).json(),
    { scheme: 'apiKey', proofs: ['apiKey', 'webhook'], key: 'a key of the tests', source: 'default' })
  t.strictSame(refusalOf(await app.inject({ url: '/', headers: bearer() })), { status: 403, code: 'AUTH_DENIED', challenge: undefined }, 'thrown in a handler')
})

t.test('an asynchronous proof is waited for', async (t) => {
  const app = await createApp(t, { auth: { jwt: { issuer: 'causeflow', audience: false, secret: tokenSecret, isRevoked: async ({ subject }) => subject === 'usr_gone' } } })
  let reached = 0
  app.get('/', async () => { reached++ })
  t.equal((await app.inject({ url: '/', headers: bearer() })).statusCode, 200)
  t.equal(reached, 1)
  const answer = await app.inject({ url: '/', headers: bearer({ sub: 'usr_gone' }) })
  t.equal(answer.json().code, 'AUTH_TOKEN_INVALID')
  t.equal(reached, 1)
})
