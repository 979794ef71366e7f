import t from 'tap'
import Fastify, { type FastifyInstance, type FastifyRequest } from 'fastify'
import { requestHooksOf, routeConfigOf } from '../lib/fastify-internals.js'
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
