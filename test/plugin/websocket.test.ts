// @fastify/websocket before the plugin, as docs/security.md says, and after it: over real sockets.
import t from 'tap'
import { once } from 'node:events'
import { request } from 'node:http'
import type { AddressInfo } from 'node:net'
import { promisify } from 'node:util'
import websocket from '@fastify/websocket'
import Fastify, { type FastifyInstance, type RouteOptions } from 'fastify'
import { WebSocket } from 'ws'
import { auth, causeflowAuth } from '../../lib/index.js'
import { authOptions, bearer, type Teardown } from '../fixtures/app.js'
import { watchProcess } from '../fixtures/process-watch.js'

watchProcess(t)

t.setTimeout(60_000)

interface Setup { readonly app: FastifyInstance, readonly asked: string[], readonly logged: string[] }

async function start (t: Teardown): Promise<Setup> {
  const [asked, logged]: [string[], string[]] = [[], []]
  const app = Fastify({ logger: { level: 'error', stream: { write: (line: string) => { logged.push(line) } } } })
  t.teardown(() => app.close())
  await app.register(websocket)
  await app.register(causeflowAuth, authOptions())
  app.get('/socket', { websocket: true }, (socket, { principal }) => {
    asked.push('socket')
    socket.send(JSON.stringify({ tenantId: principal?.tenantId, scheme: principal?.scheme }))
  })
  // Both at one address: a page for browsers, a socket for the rest.
  app.route({
    method: 'GET',
    url: '/both',
    handler: async ({ principal }) => ({ tenantId: principal?.tenantId }),
    wsHandler: (socket, { principal }) => {
      asked.push('both')
      socket.send(JSON.stringify({ tenantId: principal?.tenantId }))
    }
  })
  app.get('/page', async () => 'a page')
  await app.listen({ host: '127.0.0.1', port: 0 })
  return { app, asked, logged }
}

const portOf = (app: FastifyInstance): number => (app.server.address() as AddressInfo).port

/** The status of an upgrade; 101 when there is a socket. */
async function statusOf (app: FastifyInstance, path: string, headers: Record<string, string>): Promise<number> {
  const upgrading = { connection: 'Upgrade', upgrade: 'websocket', 'sec-websocket-version': '13', 'sec-websocket-key': 'MTIzNDU2Nzg5MDEyMzQ1Ng==' }
  const asking = request({ host: '127.0.0.1', port: portOf(app), agent: false, path, headers: { ...headers, ...upgrading } }).end()
  const answer = await Promise.race([
    once(asking, 'upgrade').then(([, socket]) => { socket.destroy(); return 101 }),
    once(asking, 'response').then(([response]) => { response.resume(); return response.statusCode as number })
  ])
  return answer
}

/** What a socket says before it is closed: its first message, or the code of the closing. */
async function firstOf (t: Teardown, app: FastifyInstance, path: string, headers: Record<string, string> = bearer()): Promise<unknown> {
  const socket = new WebSocket(`ws://127.0.0.1:${portOf(app)}${path}`, { headers })
  t.teardown(() => { socket.terminate() })
  return await Promise.race([
    once(socket, 'message').then(([bytes]) => JSON.parse(String(bytes))),
    once(socket, 'close').then(([code]) => code)
  ])
}

t.test('before the plugin: who is refused gets 401 and no socket, who is let in is known to the handler', async (t) => {
  const { app, asked, logged } = await start(t)
  for (const path of ['/socket', '/both']) {
    t.equal(await statusOf(app, path, {}), 401, path)
    t.equal(await statusOf(app, path, bearer({ exp: 1 })), 401, path)
    t.equal(await statusOf(app, path, bearer({ tenant_id: undefined })), 403, path)
  }
  t.strictSame(asked, [])
  t.strictSame(await firstOf(t, app, '/socket'), { tenantId: 'ten_a', scheme: 'jwt' })
  t.strictSame(await firstOf(t, app, '/both'), { tenantId: 'ten_a' })
  t.strictSame([asked, logged], [['socket', 'both'], []])
})

t.test('before the plugin: a socket\'s address without an upgrade, and an upgrade of a page, are decided by the rule, too', async (t) => {
  const { app } = await start(t)
  t.strictSame([(await app.inject('/socket')).statusCode, (await app.inject({ url: '/socket', headers: bearer() })).statusCode], [401, 404])
  t.strictSame([(await app.inject('/both')).statusCode, (await app.inject({ url: '/both', headers: bearer() })).json()], [401, { tenantId: 'ten_a' }])
  t.equal(await statusOf(app, '/page', {}), 401)
  t.equal(await firstOf(t, app, '/page'), 1005, 'closed, for a page has no socket')
})

t.test('before the plugin: an upgrade that is refused leaves no connection open', async (t) => {
  const { app } = await start(t)
  for (const path of ['/socket', '/both', '/page', '/nowhere']) t.ok(await statusOf(app, path, {}) >= 401)
  const connections = promisify(app.server.getConnections.bind(app.server))
  while (await connections() > 0) await new Promise((resolve) => setImmediate(resolve))
  t.equal(await connections(), 0)
})

t.test('after the plugin: the route of a socket does not start, and the error names the mend', async (t) => {
  for (const inChild of [false, true]) {
    for (const route of [{ websocket: true, handler: () => {} }, { handler: async () => 'a page', wsHandler: () => {} }]) {
      const app = Fastify()
      t.teardown(() => app.close())
      await app.register(causeflowAuth, authOptions())
      if (!inChild) await app.register(websocket)
      await t.rejects(async () => await app.register(async (scope) => {
        if (inChild) await scope.register(websocket)
        scope.get('/page', async () => 'a page')
        scope.route({ method: 'GET', url: '/socket', ...route } as RouteOptions)
      }), { code: 'AUTH_CONFIG_REGISTRATION', message: 'GET /socket: @fastify/websocket is registered after causeflowAuth, where it cannot close the connections that are refused. Register @fastify/websocket first' })
    }
  }
})

t.test('after the plugin, and no route of a socket: it does not start either, for refused upgrades of other routes would stay open', async (t) => {
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(causeflowAuth, authOptions())
  await app.register(websocket)
  app.get('/page', async () => 'a page')
  await t.rejects(async () => { await app.ready() }, { code: 'AUTH_CONFIG_REGISTRATION', message: '@fastify/websocket is registered after causeflowAuth, where it cannot close the connections that are refused. Register @fastify/websocket first' })
})

t.test('before the plugin, and the plugin once more in a child scope: the child\'s sockets are decided by the child\'s default', async (t) => {
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(websocket)
  await app.register(causeflowAuth, authOptions())
  await app.register(async (scope) => {
    await scope.register(causeflowAuth, { default: auth.jwt().roles('admin') })
    scope.get('/admin', { websocket: true }, (socket, { principal }) => { socket.send(JSON.stringify(principal?.roles)) })
  })
  await app.listen({ host: '127.0.0.1', port: 0 })
  t.strictSame([await statusOf(app, '/admin', {}), await statusOf(app, '/admin', bearer())], [401, 403])
  t.strictSame(await firstOf(t, app, '/admin', bearer({ roles: ['admin'] })), ['admin'])
})
