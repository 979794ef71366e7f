// The tenant is compared with the decoded parameter. A handler that forwards the URL as it was received forwards other text than the one
// that was compared: these tests state what the plugin compares, and what is left to the handler.
import t, { type Test } from 'tap'
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { createApp, bearer, watchProcess } from '../fixtures/app.js'
import { exchange, head, listen } from '../fixtures/socket.js'

/** A request as text on a socket: clients that parse URLs, inject() among them, resolve dot segments before they send. */
async function ask (port: number, target: string, method = 'GET'): Promise<{ status: number, body: string }> {
  const { status, body } = await exchange(port, [head(method, target, { ...bearer(), connection: 'close' })])
  return { status, body }
}

/** A server behind the app, which answers the path that it was asked for. */
async function listenUpstream (t: Test): Promise<string> {
  const server = createServer((request, response) => { response.end(request.url) })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => { server.close(); server.closeAllConnections() })
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

const echo = async (request: FastifyRequest): Promise<object> => ({ params: request.params })

// What of a token for ten_a: each text stands in the place of :tenantId.
const others = [
  'ten_b', 'TEN_A', 'Ten_a',
  '%2e%2e', '..', '%2e', '.',
  'ten_b%2F..%2Ften_a', 'ten_a%2F..%2Ften_b', 'ten_a%2f', '%2Ften_a', 'ten_b%5C..%5Cten_a',
  'ten%255Fa', '%2574en_a', 'ten_a%252F..%252Ften_b', '%252e%252e',
  'ten_a;x=ten_b', 'ten_a%3Fx', 'ten_a%23', 'ten_a%00', 'ten_a%0d%0a', '%EF%BB%BFten_a', 'te%CC%81n_a', 'ten_a%20', 'ten_a+'
]
const same = ['ten_a', 'ten%5Fa', 'ten%5fa', '%74%65%6e_a']

const routers = {
  'the defaults': {},
  'caseSensitive: false': { caseSensitive: false },
  'ignoreTrailingSlash and ignoreDuplicateSlashes': { ignoreTrailingSlash: true, ignoreDuplicateSlashes: true },
  useSemicolonDelimiter: { useSemicolonDelimiter: true }
}

for (const [title, options] of Object.entries(routers)) {
  t.test(`:tenantId is compared once decoded, as the handler sees it, never twice decoded and never without its case: ${title}`, async (t) => {
    const faults = watchProcess(t)
    const app = await createApp(t, { fastify: options })
    app.get('/v1/tenants/:tenantId', echo)
    app.get('/v1/tenants/:tenantId/incidents', echo)
    const port = await listen(app)
    for (const text of others) {
      for (const rest of ['/incidents', '']) {
        const { status } = await ask(port, `/v1/tenants/${text}${rest}`)
        // With a semicolon for a question mark the URL ends there: another route, or none, and the tenant before it is compared.
        const cut = title === 'useSemicolonDelimiter' && text.includes(';')
        t.equal(status, cut ? 200 : 403, `${text}${rest}`)
      }
    }
    for (const text of same) {
      t.strictSame(await ask(port, `/v1/tenants/${text}/incidents`), { status: 200, body: '{"params":{"tenantId":"ten_a"}}' }, text)
    }
    t.equal((await ask(port, '/v1/tenants/ten_b/%2e%2e/ten_a/incidents')).status, 404, 'no path is resolved before it is routed')
    t.equal((await ask(port, '/v1/tenants/ten_a%/incidents')).status, 400, 'an escape that is none')
    t.equal((await ask(port, '/v1/tenants/ten_a%ff/incidents')).status, 400, 'bytes that are no UTF-8')
    t.strictSame(faults, [])
  })
}

t.test('a wildcard below :tenantId may hold dot segments: a handler that forwards the received URL reaches another tenant (not protected)', async (t) => {
  const upstream = await listenUpstream(t)
  const app = await createApp(t)
  app.get('/v1/tenants/:tenantId/*', async (request) => await (await fetch(new URL(request.url, upstream))).text())
  const port = await listen(app)
  t.strictSame(await ask(port, '/v1/tenants/ten_a/incidents'), { status: 200, body: '/v1/tenants/ten_a/incidents' })
  for (const rest of ['../ten_b/incidents', '%2e%2e/ten_b/incidents', '.%2E/ten_b/incidents', 'x/../../ten_b/incidents', '..\\ten_b/incidents']) {
    t.strictSame(await ask(port, `/v1/tenants/ten_a/${rest}`), { status: 200, body: '/v1/tenants/ten_b/incidents' }, rest)
  }
})

t.test('a request target with a host is routed by its path: a handler that resolves the received URL goes to the host of the client (not protected)', async (t) => {
  const [upstream, foreign] = [await listenUpstream(t), await listenUpstream(t)]
  const app = await createApp(t)
  app.get('/v1/tenants/:tenantId/*', async (request) => new URL(request.url, upstream).origin)
  const port = await listen(app)
  t.strictSame(await ask(port, '/v1/tenants/ten_a/incidents'), { status: 200, body: upstream })
  t.strictSame(await ask(port, `${foreign}/v1/tenants/ten_a/incidents`), { status: 200, body: foreign })
  t.equal((await ask(port, `${foreign}/v1/tenants/ten_b/incidents`)).status, 403)
})

t.test('a handler that builds the URL from the parameters, and rejects dot segments, stays with the tenant that was compared', async (t) => {
  const upstream = await listenUpstream(t)
  const app: FastifyInstance = await createApp(t)
  app.get<{ Params: { tenantId: string, '*': string } }>('/v1/tenants/:tenantId/*', async (request, reply) => {
    const segments = [request.params.tenantId, ...request.params['*'].split('/')]
    if (segments.some((segment) => ['', '.', '..'].includes(segment))) return await reply.code(400).send()
    return await (await fetch(`${upstream}/v1/tenants/${segments.map(encodeURIComponent).join('/')}`)).text()
  })
  const port = await listen(app)
  t.strictSame(await ask(port, '/v1/tenants/ten%5Fa/a%20b/c'), { status: 200, body: '/v1/tenants/ten_a/a%20b/c' })
  for (const rest of ['../ten_b/incidents', '%2e%2e/ten_b', '.%2E/ten_b', 'x/../../ten_b', '%2e%2e%2Ften_b', '.', '/']) {
    t.equal((await ask(port, `/v1/tenants/ten_a/${rest}`)).status, 400, rest)
  }
  for (const [rest, forwarded] of [['..\\ten_b', '..%5Cten_b'], ['%252e%252e/ten_b', '%252e%252e/ten_b'], ['..%252Ften_b', '..%252Ften_b'], ['%3F..%23', '%3F..%23']] as const) {
    t.strictSame(await ask(port, `/v1/tenants/ten_a/${rest}`), { status: 200, body: `/v1/tenants/ten_a/${forwarded}` }, rest)
  }
  t.strictSame(await ask(port, 'http://127.0.0.1:9/v1/tenants/ten_a/incidents'), { status: 200, body: '/v1/tenants/ten_a/incidents' })
})
