import t from 'tap'
import Fastify, { type FastifyInstance, type FastifyRequest } from 'fastify'
import { contextOf, hooksBeforeHandler, hooksOf, knownContext, notFoundContextOf, notFoundContextsOf, requestHooksOf, routeConfigOf, routeContextsOf, wrapContextHandler, type RouteContext } from '../lib/fastify-internals.js'
import { watchProcess } from './fixtures/process-watch.js'

watchProcess(t)

t.test('the hooks that would run before one that is added now are those of the instance and of the scopes within it, with what they inherit', async (t) => {
  const app = Fastify()
  const [first, outer, inner, deep] = [async () => {}, async () => {}, async () => {}, async () => {}]
  t.strictSame(requestHooksOf(app), [[]])
  app.addHook('onRequest', first)
  app.addHook('preParsing', async () => {})
  await app.after()
  t.strictSame(requestHooksOf(app), [[first]])
  await app.register(async (scope) => {
    scope.addHook('onRequest', outer)
    await scope.register(async (within) => {
      within.addHook('onRequest', inner)
      await within.after()
      t.strictSame(requestHooksOf(within), [[first, outer, inner]])
      within.register(async (deepest) => { deepest.addHook('onRequest', deep) })
    })
  })
  t.strictSame(requestHooksOf(app), [[first], [first, outer], [first, outer, inner], [first, outer, inner, deep]])
  await app.close()
})

t.test('where Fastify keeps them elsewhere, nobody knows', async (t) => {
  const app = Fastify()
  t.teardown(() => app.close())
  const without = (description: string): FastifyInstance => {
    const copy = Object.create(null) as Record<symbol, unknown>
    for (const symbol of Object.getOwnPropertySymbols(app)) if (symbol.description !== description) copy[symbol] = (app as unknown as Record<symbol, unknown>)[symbol]
    return copy as unknown as FastifyInstance
  }
  t.equal(requestHooksOf(without('fastify.hooks')), null)
  t.equal(requestHooksOf(without('fastify.children')), null)
  t.strictSame(requestHooksOf(without('')), [[]])
  const scope = without('fastify.children') as unknown as Record<symbol, unknown>
  scope[Symbol('fastify.children')] = [without('fastify.hooks')]
  t.equal(requestHooksOf(scope as unknown as FastifyInstance), null, 'nor where those of a scope within are elsewhere')
})

t.test('the config of a request\'s route is the one that routeOptions names', async (t) => {
  const app = Fastify()
  t.teardown(() => app.close())
  const same = async (request: FastifyRequest): Promise<boolean> => routeConfigOf(request) === request.routeOptions.config as unknown
  app.get('/a', { config: { rawBody: true } }, same)
  app.get('/b', same)
  app.setNotFoundHandler(same)
  for (const url of ['/a', '/b', '/c']) t.equal((await app.inject(url)).body, 'true', url)
  const config = {}
  t.equal(routeConfigOf({ routeOptions: { config } } as unknown as FastifyRequest), config, 'a request of another copy of Fastify has it under another symbol')
})

t.test('the hooks of every phase of an instance and of the scopes within it are listed with the prefix of their routes', async (t) => {
  const app = Fastify()
  t.teardown(() => app.close())
  const [send, inner] = [async () => {}, async () => {}]
  app.addHook('onSend', send)
  await app.register(async (scope) => { scope.addHook('onTimeout', inner) }, { prefix: '/v1' })
  await app.ready()
  t.match(hooksOf(app), [{ prefix: '', phases: { onSend: [send], onTimeout: [] } }, { prefix: '/v1', phases: { onSend: [send], onTimeout: [inner] } }])
})

t.test('the context of a request has the hooks before its handler, and is replaced by callNotFound()', async (t) => {
  const app = Fastify()
  t.teardown(() => app.close())
  const names = (request: FastifyRequest): string[] => hooksBeforeHandler(contextOf(request) as RouteContext).map((hook) => (hook as { name: string }).name)
  app.addHook('onRequest', async function first () {})
  app.addHook('onSend', async function last () {})
  app.setNotFoundHandler({ preValidation: async function third () {} }, async (request) => names(request))
  app.get('/', { preHandler: [async function second () {}] }, async (request) => names(request))
  app.get('/asks', (_request, reply) => { reply.callNotFound() })
  t.strictSame((await app.inject('/')).json(), ['bound first', 'bound second'])
  for (const url of ['/nothing', '/asks']) t.match((await app.inject(url)).json(), ['bound first', /third/], url)
  t.equal(contextOf({} as FastifyRequest), null, 'nor where it is elsewhere')
  t.strictSame(hooksBeforeHandler({}), [])
})

t.test('the handler of a context is wrapped once, of a route and of each not-found handler', async (t) => {
  const app = Fastify()
  t.teardown(() => app.close())
  let calls = 0
  const wrap = (context: RouteContext | null): void => {
    wrapContextHandler(context, (handler) => (request, reply) => { calls++; return handler(request, reply) })
  }
  app.setNotFoundHandler(async () => 'outer')
  app.addHook('onRequest', async (request) => {
    wrap(contextOf(request))
    wrap(notFoundContextOf(contextOf(request) as RouteContext))
  })
  app.get('/', async () => 'route')
  app.get('/asks', (_request, reply) => { reply.callNotFound() })
  await app.register(async (scope) => { scope.setNotFoundHandler(async () => 'inner') }, { prefix: '/v1' })
  await app.ready()
  const contexts = notFoundContextsOf(app)
  t.equal(contexts.length, 2)
  for (const context of [...contexts, ...contexts]) wrap(context)
  for (const [url, text, wraps] of [['/', 'route', 1], ['/', 'route', 1], ['/nothing', 'outer', 1], ['/v1/nothing', 'inner', 1], ['/asks', 'outer', 2]] as const) {
    calls = 0
    t.equal((await app.inject(url)).body, text, url)
    t.equal(calls, wraps, url)
  }
  wrap(null)
  wrap({})
  t.strictSame(notFoundContextsOf(Object.create(null) as FastifyInstance), [])
  t.equal(notFoundContextOf({}), null)
})

t.test('every route of the router is listed with its config, its schema, its instance and the path that it serves', async (t) => {
  const app = Fastify()
  t.teardown(() => app.close())
  app.addHook('onRoute', (route) => { route.url = route.url.replace('/old', '/:id') })
  const schema = { querystring: { type: 'object' } }
  app.get('/old/a', { config: { rawBody: true }, schema, exposeHeadRoute: false }, async () => '')
  app.get('/v', { constraints: { version: '1.0.0' }, exposeHeadRoute: false }, async () => '')
  app.get('/v', { constraints: { version: '2.0.0' }, exposeHeadRoute: false }, async () => '')
  app.route({ method: ['PUT', 'POST'], url: '/many/*', handler: async () => '' })
  await app.register(async (scope) => { scope.get('/', async () => '') }, { prefix: '/p/:q' })
  const listed = routeContextsOf(app) ?? []
  t.strictSame(listed.map(({ config, url }) => `${[config.method].flat().join('|')} ${String(url)}`).sort(), [
    'GET /:id/a', 'GET /p/:q', 'GET /p/:q/', 'GET /v', 'GET /v', 'HEAD /p/:q', 'HEAD /p/:q/', 'PUT|POST /many/*'
  ])
  t.equal(listed.filter(({ config }) => config.url === '/v').length, 2)
  t.match(listed.find(({ config }) => config.rawBody === true), { schema, server: app })
  t.equal(listed.filter(({ server }) => server !== app).length, 4)
  t.strictSame(routeContextsOf(Fastify()), [])
})

t.test('where routes cannot be listed, nobody knows', async (t) => {
  t.equal(routeContextsOf({ printRoutes: () => { throw new Error('gone') } } as unknown as FastifyInstance), null)
  t.equal(routeContextsOf({ printRoutes: (options: { buildPrettyMeta: (route: object) => object }) => { options.buildPrettyMeta({ store: {} }) } } as unknown as FastifyInstance), null)
})

t.test('not-found handlers are listed with their config, those of scopes too', async (t) => {
  const app = Fastify()
  t.teardown(() => app.close())
  app.setNotFoundHandler({ config: { a: 1 } } as object, async () => '')
  await app.register(async (scope) => { scope.setNotFoundHandler({ config: { b: 1 } } as object, async () => '') }, { prefix: '/b' })
  await app.ready()
  t.strictSame(notFoundContextsOf(app).map(knownContext).map((context) => [context?.config, context?.url]), [[{ a: 1 }, undefined], [{ b: 1 }, undefined]])
  t.equal(knownContext({ config: {} }), null)
  t.equal(knownContext({}), null)
})
