import t from 'tap'
import Fastify, { type FastifyInstance, type FastifyRequest } from 'fastify'
import { parsedMethodsOf, requestHooksOf, routeConfigOf } from '../lib/fastify-internals.js'

t.test('the hooks that would run before one that is added now are those of the instance, of what is around it and of the scopes within it', async (t) => {
  const app = Fastify()
  const [first, outer, inner, deep] = [async () => {}, async () => {}, async () => {}, async () => {}]
  t.strictSame(requestHooksOf(app), [])
  app.addHook('onRequest', first)
  app.addHook('preParsing', async () => {})
  await app.after()
  t.strictSame(requestHooksOf(app), [first])
  await app.register(async (scope) => {
    scope.addHook('onRequest', outer)
    await scope.register(async (within) => {
      within.addHook('onRequest', inner)
      await within.after()
      t.strictSame(requestHooksOf(within), [first, outer, inner])
      within.register(async (deepest) => { deepest.addHook('onRequest', deep) })
    })
  })
  const before = new Set(requestHooksOf(app))
  t.strictSame([...before], [first, outer, inner, deep])
  await app.close()
})

t.test('the methods whose bodies are parsed are those that Fastify parses, whatever is added later', async (t) => {
  const app = Fastify()
  t.teardown(() => app.close())
  let seen: ReadonlySet<string> | null = null
  await app.register(async (scope) => { seen = parsedMethodsOf(scope) })
  const methods = seen as unknown as ReadonlySet<string>
  t.strictSame(['POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS', 'GET', 'HEAD'].map((method) => methods.has(method)), [true, true, true, true, true, false, false])
  app.addHttpMethod('PROPFIND')
  app.addHttpMethod('REPORT', { hasBody: true })
  t.strictSame([methods.has('PROPFIND'), methods.has('REPORT')], [false, true])
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
  t.equal(parsedMethodsOf(without('fastify.acceptedHTTPMethods')), null)
  t.strictSame([requestHooksOf(without('')), parsedMethodsOf(without(''))?.has('POST')], [[], true])
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
