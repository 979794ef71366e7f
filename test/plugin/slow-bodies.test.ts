// How long a client may take for its body is the server's: it bounds how long a request that was accepted waits for its handler. Node takes
// the larger of requestTimeout, which Fastify sets, and headersTimeout, which Fastify leaves at 60 s, and looks every 30 s.
import t from 'tap'
import { once } from 'node:events'
import Fastify, { type FastifyServerOptions } from 'fastify'
import { auth } from '../../lib/index.js'
import { createApp, issueKey, signed, watchProcess } from '../fixtures/app.js'
import { head, listen, open, readAnswer } from '../fixtures/socket.js'

t.test('Fastify sets no limit for a body unless it is configured', async (t) => {
  const app = Fastify()
  t.teardown(() => app.close())
  t.equal(app.server.requestTimeout, 0)
})

t.test('requestTimeout alone leaves headersTimeout at a minute, and Node allows a body the larger of the two', async (t) => {
  const app = await createApp(t, { fastify: { requestTimeout: 30_000 } })
  t.match(app.server, { requestTimeout: 30_000, headersTimeout: 60_000 })
  const limited = await createApp(t, { fastify: { requestTimeout: 30_000, http: { headersTimeout: 30_000 } } as FastifyServerOptions })
  t.match(limited.server, { requestTimeout: 30_000, headersTimeout: 30_000 })
})

t.test('a body that is held back beyond requestTimeout and headersTimeout is 408, its connection is closed, and no handler runs, signed or not', { timeout: 20_000 }, async (t) => {
  const faults = watchProcess(t)
  const app = await createApp(t, { fastify: { requestTimeout: 150, http: { headersTimeout: 150, connectionsCheckingInterval: 20 } } as FastifyServerOptions })
  let reached = 0
  app.post('/key', { config: { auth: auth.apiKey() } }, async () => { reached++ })
  app.post('/signed', { config: { auth: auth.webhook() } }, async () => { reached++ })
  const port = await listen(app)
  const { plaintextKey } = await issueKey(app)
  const requests: Array<[string, Record<string, string | number>]> = [
    ['/key', { 'x-api-key': plaintextKey, 'content-type': 'application/json', 'content-length': 2 }],
    ['/signed', { ...signed('{}'), 'content-length': 2 }]
  ]
  for (const [url, headers] of requests) {
    const socket = await open(port)
    const closed = once(socket, 'close')
    const answer = readAnswer(socket)
    socket.write(head('POST', url, headers))
    socket.write('{')
    t.equal((await answer).status, 408, url)
    await closed
  }
  t.equal(reached, 0)
  t.strictSame(faults, [])
})
