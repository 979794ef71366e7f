// Rules belong to routes. Whatever answers a request without a route, or before the plugin's hook, is not covered by a rule: these tests
// state what is open, and that the ways to close it that docs/security.md shows do close it.
import t, { type Test } from 'tap'
import { request as httpRequest } from 'node:http'
import type { FastifyInstance, FastifyPluginCallback } from 'fastify'
import fastifyExpress from '@fastify/express'
import fastifyMiddie from '@fastify/middie'
import fastifyStatic from '@fastify/static'
import { auth, type AuthRule } from '../../lib/index.js'
import { bearer, createApp, refusalOf, refusals, watchProcess } from '../fixtures/app.js'
import { listen } from '../fixtures/socket.js'

const plugins = { '@fastify/middie': fastifyMiddie, '@fastify/express': fastifyExpress } as unknown as Record<string, FastifyPluginCallback>
const orders = ['before', 'after'] as const

type Middleware = (request: { url: string }, response: { end (body: string): void }, next: () => void) => void
type WithUse = FastifyInstance & { use (path: string, middleware: Middleware): void }

const serve: Middleware = (_request, response) => { response.end('content') }
const known = { method: 'GET', url: '/files/known' } as const
const unknown = { method: 'GET', url: '/files/unknown' } as const

/** An app that serves /files by middleware, and has a route below it. */
async function createMiddlewareApp (t: Test, plugin: FastifyPluginCallback, order: 'before' | 'after', rule: AuthRule, between: (app: FastifyInstance) => void = () => {}): Promise<FastifyInstance> {
  const mount = async (app: FastifyInstance): Promise<void> => {
    await app.register(plugin)
    ;(app as WithUse).use('/files', serve)
  }
  const app = await createApp(t, { auth: { default: rule }, before: (app) => order === 'before' ? mount(app) : undefined })
  between(app)
  if (order === 'after') await mount(app)
  app.get('/files/known', async () => 'handler')
  return app
}

/** The status over a socket: inject() does not send methods that Fastify does not route. */
async function statusOf (port: number, method: string, path: string, headers: Record<string, string> = {}): Promise<number> {
  return await new Promise((resolve, reject) => {
    httpRequest({ host: '127.0.0.1', port, method, path, headers, agent: false }, (response) => {
      response.resume()
      resolve(response.statusCode ?? 0)
    }).on('error', reject).end()
  })
}

for (const [name, plugin] of Object.entries(plugins)) {
  for (const order of orders) {
    t.test(`${name} ${order} the plugin: an unknown URL is answered by middleware without a rule, under auth.deny() too`, async (t) => {
      const faults = watchProcess(t)
      for (const rule of [auth.deny(), auth.jwt(), auth.public()]) {
        const app = await createMiddlewareApp(t, plugin, order, rule)
        t.equal((await app.inject(unknown)).statusCode, 200, rule.describe())
        t.equal((await app.inject({ url: '/other' })).statusCode, 404)
      }
      t.strictSame(faults, [])
    })
  }

  t.test(`${name} before the plugin answers a known URL before its rule is evaluated`, async (t) => {
    const app = await createMiddlewareApp(t, plugin, 'before', auth.deny())
    const answer = await app.inject(known)
    t.equal(answer.statusCode, 200)
    t.not(answer.body, 'handler', 'the handler is not reached')
  })

  t.test(`${name} after the plugin: the rule of a known URL is evaluated before its middleware runs`, async (t) => {
    const denied = await createMiddlewareApp(t, plugin, 'after', auth.deny())
    t.equal((await denied.inject({ ...known, headers: bearer() })).statusCode, 403)
    const app = await createMiddlewareApp(t, plugin, 'after', auth.jwt())
    t.strictSame(refusalOf(await app.inject(known)), refusals.noToken)
    t.equal((await app.inject({ ...known, headers: bearer() })).statusCode, 200)
    t.equal((await app.inject(unknown)).statusCode, 200, 'the URL next to it stays open')
  })

  t.test(`${name} after the plugin: a catch-all route puts its rule before the middleware, for the methods that Fastify routes`, async (t) => {
    const app = await createMiddlewareApp(t, plugin, 'after', auth.deny())
    app.all('/*', { config: { auth: auth.jwt() } }, async (_request, reply) => { reply.callNotFound() })
    const port = await listen(app)
    for (const method of ['GET', 'HEAD', 'POST', 'PUT', 'DELETE', 'OPTIONS']) {
      t.equal(await statusOf(port, method, '/files/unknown'), 401, method)
      t.equal(await statusOf(port, method, '/files/unknown', bearer()), 200, method)
      t.equal(await statusOf(port, method, '/other'), 401, 'an unknown URL is no longer 404 for a client without a credential')
    }
    t.equal(await statusOf(port, 'PROPFIND', '/files/unknown'), 200, 'a method that Fastify does not route has no route')
  })

  t.test(`${name} after a hook that calls authenticate() for URLs without a route: nothing is open, whatever the method and the spelling of the URL`, async (t) => {
    const faults = watchProcess(t)
    const app = await createMiddlewareApp(t, plugin, 'after', auth.deny(), (app) => {
      app.addHook('onRequest', async (request) => { if (request.is404) await app.causeflowAuth.authenticate(request, auth.jwt()) })
    })
    const port = await listen(app)
    for (const method of ['GET', 'HEAD', 'POST', 'OPTIONS', 'PROPFIND']) {
      for (const path of ['/files/unknown', '/files', '//files/unknown', '/files/known/', '/fil%65s/unknown', '/x/../files/unknown', '/files;a=b', '/files?x']) {
        t.equal(await statusOf(port, method, path), 401, `${method} ${path}`)
      }
      t.equal(await statusOf(port, method, '/files/unknown', bearer()), 200, method)
    }
    t.equal(await statusOf(port, 'GET', '/files/known', bearer()), 403, 'a route keeps its own rule')
    t.strictSame(faults, [])
  })
}

t.test('an onRequest hook before the plugin that responds serves every client, on routes and on unknown URLs', async (t) => {
  const app = await createApp(t, {
    auth: { default: auth.deny() },
    before: (app) => { app.addHook('onRequest', async (request, reply) => { if (request.url.startsWith('/files')) return reply.send('content') }) }
  })
  app.get('/files/known', async () => 'handler')
  t.strictSame([(await app.inject(known)).body, (await app.inject(unknown)).body], ['content', 'content'])
})

t.test('an onRequest hook after the plugin that responds is reached on a route only after its rule, and on unknown URLs by every client', async (t) => {
  const app = await createApp(t, { auth: { default: auth.deny() } })
  app.addHook('onRequest', async (request, reply) => { if (request.url.startsWith('/files')) return reply.send('content') })
  app.get('/files/known', async () => 'handler')
  t.equal((await app.inject(known)).statusCode, 403)
  t.equal((await app.inject(unknown)).body, 'content')
})

t.test('a listener on the raw server responds to every client: no hook of Fastify runs before it', async (t) => {
  const app = await createApp(t, { auth: { default: auth.deny() } })
  app.get('/x', async () => 'handler')
  app.server.prependListener('request', (request, response) => { if (request.url === '/raw') response.end('content') })
  const port = await listen(app)
  t.equal(await statusOf(port, 'GET', '/raw'), 200)
  t.equal(await statusOf(port, 'GET', '/x'), 403)
})

for (const order of orders) {
  t.test(`@fastify/static ${order} the plugin: its routes take the default, for files that are absent too`, async (t) => {
    const files = t.testdir({ 'known.txt': 'content', deeper: { 'known.txt': 'content' } })
    for (const [prefix, wildcard] of [['/wild', true], ['/each', false]] as const) {
      const mount = async (app: FastifyInstance): Promise<void> => { await app.register(fastifyStatic, { root: files, prefix, wildcard }) }
      const app = await createApp(t, { auth: { default: auth.jwt() }, before: (app) => order === 'before' ? mount(app) : undefined })
      if (order === 'after') await mount(app)
      for (const path of ['/known.txt', '/deeper/known.txt']) {
        t.strictSame(refusalOf(await app.inject(`${prefix}${path}`)), refusals.noToken, `${prefix}${path}`)
        t.equal((await app.inject({ url: `${prefix}${path}`, headers: bearer() })).body, 'content')
      }
      t.equal((await app.inject(`${prefix}/absent.txt`)).statusCode, wildcard ? 401 : 404)
      t.equal((await app.inject({ url: `${prefix}/absent.txt`, headers: bearer() })).statusCode, 404)
    }
  })
}

t.test('a file that @fastify/static sends from a not-found handler without a rule is sent to every client', async (t) => {
  const files = t.testdir({ 'index.html': 'content' })
  const app = await createApp(t, { auth: { default: auth.deny() } })
  await app.register(fastifyStatic, { root: files, serve: false })
  app.setNotFoundHandler(async (_request, reply) => await reply.sendFile('index.html'))
  t.equal((await app.inject('/any/page')).body, 'content')
})

t.test('a not-found handler without a rule answers every client, and reply.callNotFound() reaches it after the rule of the route', async (t) => {
  const app = await createApp(t, { auth: { default: auth.deny() } })
  app.setNotFoundHandler(async () => 'content')
  app.get('/open', { config: { auth: auth.public() } }, (_request, reply) => { reply.callNotFound() })
  app.get('/guarded', { config: { auth: auth.jwt() } }, (_request, reply) => { reply.callNotFound() })
  t.equal((await app.inject('/unknown')).body, 'content')
  t.equal((await app.inject('/open')).body, 'content')
  t.strictSame(refusalOf(await app.inject('/guarded')), refusals.noToken)
  t.equal((await app.inject({ url: '/guarded', headers: bearer() })).body, 'content')
})

t.test('a guard in preHandler of a not-found handler is enforced for unknown URLs and for reply.callNotFound()', async (t) => {
  const app = await createApp(t, { auth: { default: auth.deny() } })
  app.setNotFoundHandler({ preHandler: app.causeflowAuth.require(auth.jwt()) }, async () => 'content')
  app.get('/open', { config: { auth: auth.public() } }, (_request, reply) => { reply.callNotFound() })
  for (const url of ['/unknown', '/open']) {
    t.strictSame(refusalOf(await app.inject(url)), refusals.noToken, url)
    t.equal((await app.inject({ url, headers: bearer() })).body, 'content', url)
  }
})

t.test('a URL that Fastify rewrites is decided by the route that serves it', async (t) => {
  const app = await createApp(t, { auth: { default: auth.deny() }, fastify: { rewriteUrl: (request) => request.url?.replace(/^\/public/, '/guarded') ?? '/' } })
  app.get('/guarded/x', { config: { auth: auth.jwt() } }, async () => 'handler')
  app.get('/public/x', { config: { auth: auth.public() } }, async () => 'never routed')
  const port = await listen(app)
  t.equal(await statusOf(port, 'GET', '/public/x'), 401)
  t.equal(await statusOf(port, 'GET', '/public/x', bearer()), 200)
})
