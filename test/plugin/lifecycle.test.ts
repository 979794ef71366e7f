import t from 'tap'
import { spawn } from 'node:child_process'
import { createServer, type Server } from 'node:http'
import { once } from 'node:events'
import Fastify from 'fastify'
import { auth, causeflowAuth } from '../../lib/index.js'
import { authOptions, bearer, createApp, createLog, signed, watchProcess, webhookSecret } from '../fixtures/app.js'
import { exchange, head, listen, open } from '../fixtures/socket.js'

watchProcess(t)

t.test('an application that is ready, and neither listens nor is closed, lets its process end', async (t) => {
  const script = `
    import Fastify from 'fastify'
    import { causeflowAuth, MemoryApiKeyStore, MemoryReplayStore } from '${new URL('../../lib/index.ts', import.meta.url).href}'
    const app = Fastify()
    await app.register(causeflowAuth, {
      jwt: { issuer: 'http://127.0.0.1:1', warmup: 'warn' },
      apiKey: { store: new MemoryApiKeyStore() },
      webhook: { secret: 'whsec_x', replay: new MemoryReplayStore() }
    })
    app.get('/', async () => ({}))
    const { plaintextKey } = await app.ready().then(() => app.causeflowAuth.apiKeys.create({ tenantId: 'ten_a', name: 'x' }))
    console.log((await app.inject({ url: '/', headers: { 'x-api-key': plaintextKey } })).statusCode)
  `
  const child = spawn(process.execPath, ['--import', 'tsx', '--input-type=module', '--eval', script], { stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, NODE_OPTIONS: '' } })
  let output = ''
  let errors = ''
  child.stdout.on('data', (data: Buffer) => { output += data.toString() })
  child.stderr.on('data', (data: Buffer) => { errors += data.toString() })
  const [code] = await once(child, 'exit') as [number]
  t.strictSame([code, output.trim(), errors], [0, '401', ''])
})

async function listening (t: { teardown (action: () => unknown): void }, answer: (server: Server) => void = () => {}): Promise<{ server: Server, issuer: string }> {
  const server = createServer()
  answer(server)
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => { server.closeAllConnections(); server.close() })
  return { server, issuer: `http://127.0.0.1:${(server.address() as { port: number }).port}` }
}

t.test('warmup: an issuer that cannot be read is warned of by default, ends the start with require, and is not asked with false', async (t) => {
  let asked = 0
  const { issuer } = await listening(t, (server) => server.on('request', (_request, response) => { asked++; response.writeHead(500).end() }))
  const start = async (warmup?: 'require' | 'warn' | false): Promise<{ code: string | null, warnings: number }> => {
    const log = createLog()
    const app = Fastify({ logger: log.logger })
    t.teardown(() => app.close())
    await app.register(causeflowAuth, authOptions({ jwt: { issuer, ...warmup === undefined ? {} : { warmup } } }))
    const code = await app.ready().then(() => null, (error: { code: string }) => error.code)
    return { code, warnings: log.lines.filter(({ level }) => level === 40).length }
  }
  t.strictSame(await start(), { code: null, warnings: 1 })
  t.ok(asked > 0)
  t.strictSame(await start('warn'), { code: null, warnings: 1 })
  t.strictSame(await start('require'), { code: 'AUTH_CONFIG_ISSUER', warnings: 0 })
  asked = 0
  t.strictSame(await start(false), { code: null, warnings: 0 })
  t.equal(asked, 0)
})

t.test('a child that inherits issuers does not warm them a second time, and does not close them', async (t) => {
  let asked = 0
  const { issuer } = await listening(t, (server) => server.on('request', (_request, response) => { asked++; response.end('{"keys":[]}') }))
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(causeflowAuth, authOptions({ jwt: { issuer } }))
  await app.register(async (scope) => { await scope.register(causeflowAuth, { default: auth.public() }) })
  await app.ready()
  t.equal(asked, 1)
})

t.test('a hanging issuer does not keep a closing application', async (t) => {
  const { issuer } = await listening(t, (server) => server.on('request', () => {}))
  const app = Fastify()
  await app.register(causeflowAuth, authOptions({ jwt: { issuer, warmup: false, keySet: { timeLimit: 300 } } }))
  app.get('/', async () => ({}))
  await app.ready()
  const [, payload = ''] = bearer({ iss: issuer }).authorization.split('.')
  const header = Buffer.from(JSON.stringify({ alg: 'RS256', kid: 'x', typ: 'JWT' })).toString('base64url')
  const asking = app.inject({ url: '/', headers: { authorization: `Bearer ${header}.${payload}.AAAA` } })
  await new Promise((resolve) => setImmediate(resolve))
  await app.close()
  const answer = await asking
  t.strictSame([answer.statusCode, answer.json().code], [503, 'AUTH_KEY_SET_UNAVAILABLE'])
})

t.test('a storm of odd requests ends nothing, and the application still answers', async (t) => {
  const faults = watchProcess(t)
  const app = await createApp(t, { auth: { webhook: { secret: async () => webhookSecret } } })
  app.get('/', async () => ({}))
  app.get('/t/:tenantId', async () => ({}))
  app.post('/hook', { config: { auth: auth.webhook() } }, async () => ({}))
  const port = await listen(app)
  const values = ['', ' ', '\u00ff', '"', '%', ',', 'Bearer', 'Bearer .', 'Bearer ..', 'bearer \u00e9', 'sha256=', '[object Object]', '__proto__', 'constructor', 'x'.repeat(8_000)]
  const names = ['authorization', 'x-api-key', 'x-webhook-signature', 'content-type', 'content-encoding', '__proto__', 'constructor', 'cookie']
  for (const [method, url] of [['GET', '/'], ['GET', '/t/__proto__'], ['GET', '/t/%00'], ['GET', '/t/%ff'], ['POST', '/hook'], ['POST', '/hook?apiKey[]=x&__proto__[x]=1']] as const) {
    await Promise.all(names.flatMap((name) => values.map(async (value) => {
      const body = method === 'POST' ? Buffer.from('{}') : Buffer.alloc(0)
      const { status } = await exchange(port, [head(method, url, { [name]: value, ...body.length > 0 ? { 'content-length': body.length } : {} }), body])
      if (status === 200 || status >= 500) t.fail(`${method} ${url} ${name}: ${value.slice(0, 20)} is ${status}`)
    })))
  }
  const socket = await open(port)
  socket.end('GET / HTTP/1.1\r\nauthorization: Bearer')
  await once(socket.resume(), 'close')
  t.equal((await exchange(port, [head('GET', '/', bearer())])).status, 200)
  const body = Buffer.from('{}')
  t.equal((await exchange(port, [head('POST', '/hook', { ...signed(body), 'content-length': 2 }), body])).status, 200)
  t.strictSame(faults, [])
})

t.test('a reply that is already sent when the proof arrives is left alone', async (t) => {
  const faults = watchProcess(t)
  let admit = (): void => {}
  const app = await createApp(t, {
    auth: { apiKey: undefined, webhook: { secret: () => new Promise((resolve) => { admit = () => { resolve(webhookSecret) } }) } },
    before: (app) => {
      app.addHook('onRequest', async (_request, reply) => {
        setImmediate(() => {
          reply.code(418).send('too late')
          admit()
        })
      })
    }
  })
  let reached = 0
  app.post('/hook', { config: { auth: auth.webhook() } }, async () => { reached++ })
  const answer = await app.inject({ method: 'POST', url: '/hook', payload: '{}', headers: signed('{}') })
  t.equal(answer.statusCode, 418)
  await new Promise((resolve) => setImmediate(resolve))
  t.equal(reached, 0)
  t.strictSame(faults, [])
})
