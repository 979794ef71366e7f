// A delivery is in progress until its handler has ended, whatever becomes of the connection, and is handled once.
import t, { type Test } from 'tap'
import { Readable } from 'node:stream'
import http2 from 'node:http2'
import Fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify'
import { auth, causeflowAuth, MemoryReplayStore, type ReplayStore } from '../../lib/index.js'
import { authOptions, createApp, createLog, now, signed, watchProcess, webhookSecret } from '../fixtures/app.js'
import { exchange, head, listen, open } from '../fixtures/socket.js'

const body = Buffer.from('{"a":1}')
const request = Buffer.concat([head('POST', '/hook', { ...signed(body), 'content-length': body.length }), body])
const config = { auth: auth.webhook() }
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

async function until (holds: () => boolean): Promise<void> {
  for (let turns = 0; !holds(); turns++) {
    if (turns > 10_000) throw new Error('It did not come about')
    await turn()
  }
}

/** A gate that a handler waits at. */
function gate (): { wait: Promise<void>, open: () => void } {
  let open = (): void => {}
  const wait = new Promise<void>((resolve) => { open = resolve })
  return { wait, open }
}

const createStore = (): MemoryReplayStore => new MemoryReplayStore({ clock: () => now })
const webhook = (replay: ReplayStore) => ({ auth: { webhook: { secret: webhookSecret, replay } } })

/** Sends the delivery and resets the connection once the server has begun with it, or has answered. */
async function sendAndReset (app: FastifyInstance, port: number, begun: () => boolean): Promise<void> {
  const gone = new Promise<void>((resolve) => { app.server.once('connection', (socket) => { socket.once('close', () => resolve()) }) })
  const socket = await open(port)
  let answered = false
  socket.once('data', () => { answered = true })
  socket.write(request)
  await until(() => begun() || answered)
  socket.resetAndDestroy()
  await gone
  await turn()
}

type Handler = (request: FastifyRequest, reply: FastifyReply, end: Promise<void>, fails: boolean) => unknown
const sendLater: Handler = (_request, reply, end, fails) => { end.then(() => { reply.code(fails ? 500 : 200).send({}) }, () => {}) }

/** Every way in which a handler of Fastify may answer. */
const handlers: Record<string, Handler> = {
  'an async function that returns': async (_request, _reply, end, fails) => { await end; if (fails) throw new Error('failed'); return {} },
  'an async function that returns nothing': async (_request, _reply, end, fails) => { await end; if (fails) throw new Error('failed') },
  'an async function that sets a status': async (_request, reply, end, fails) => { await end; reply.code(fails ? 404 : 202); return {} },
  'an async function that sends': async (_request, reply, end, fails) => { await end; await reply.code(fails ? 429 : 200).send({}) },
  'a function that sends later': sendLater,
  'a function that sends an error later': (_request, reply, end, fails) => { end.then(() => { reply.send(fails ? new Error('failed') : {}) }, () => {}) },
  'a function that returns its reply and sends later': (...given) => { sendLater(...given); return given[1] },
  'an async function that returns its reply and sends later': async (...given) => { sendLater(...given); return given[1] },
  'a thenable that is no promise': (_request, _reply, end, fails) => ({
    then: (resolve: (value: object) => void, reject: (error: Error) => void) => { end.then(() => { if (fails) reject(new Error('failed')); else resolve({}) }, reject) }
  }),
  'an async function with a stream': async (_request, reply, end, fails) => { await end; reply.code(fails ? 500 : 200); return Readable.from(['{}']) }
}

for (const [name, handler] of Object.entries(handlers)) {
  for (const fails of [false, true]) {
    t.test(`${name}, ${fails ? 'which fails' : 'which succeeds'}: one delivery over ten reset connections runs it once`, async (t) => {
      const faults = watchProcess(t)
      const store = createStore()
      const app = await createApp(t, webhook(store))
      const { wait, open } = gate()
      let runs = 0
      app.post('/hook', { config }, (request, reply) => {
        runs++
        return handler(request, reply, runs === 1 ? wait : Promise.resolve(), fails && runs === 1) as never
      })
      const port = await listen(app)
      for (let connection = 0; connection < 10; connection++) await sendAndReset(app, port, () => connection === 0 && runs === 1)
      t.equal(runs, 1)
      t.equal(store.size, 1, 'in progress')
      open()
      for (let turns = 0; turns < 20; turns++) await turn()
      t.equal(store.size, fails ? 0 : 1)
      t.equal((await exchange(port, [request])).status < 400, fails, 'a delivery that was handled is a replay, and one that failed comes again')
      t.equal((await exchange(port, [request])).status, 409)
      t.equal(runs, fails ? 2 : 1)
      t.strictSame(faults, [])
    })
  }
}

t.test('a hijacked response settles its delivery when it has been sent, by its status', async (t) => {
  for (const [status, again] of [[200, 409], [500, 500]] as const) {
    const app = await createApp(t, webhook(createStore()))
    app.post('/hook', { config }, async (_request, reply) => {
      reply.hijack()
      setImmediate(() => { reply.raw.writeHead(status, { 'content-length': 2 }).end('{}') })
    })
    const port = await listen(app)
    t.equal((await exchange(port, [request])).status, status)
    await turn()
    t.equal((await exchange(port, [request])).status, again)
  }
})

t.test('a stream that fails after its head has been sent was no success', async (t) => {
  const faults = watchProcess(t)
  const app = await createApp(t, webhook(createStore()))
  let fails = true
  app.post('/hook', { config }, async (_request, reply) => {
    let read = false
    return await reply.send(new Readable({
      read () {
        if (read && fails) return this.destroy(new Error('failed'))
        this.push(read ? null : 'some')
        read = true
      }
    }))
  })
  const port = await listen(app)
  await t.rejects(fetch(`http://127.0.0.1:${port}/hook`, { method: 'POST', headers: signed(body), body }).then(async (answer) => await answer.text()))
  fails = false
  t.equal((await fetch(`http://127.0.0.1:${port}/hook`, { method: 'POST', headers: signed(body), body }).then(async (answer) => await answer.text())), 'some')
  t.equal((await exchange(port, [request])).status, 409)
  t.strictSame(faults, [])
})

t.test('a sender that leaves while a stream is sent has had its delivery handled', async (t) => {
  const app = await createApp(t, webhook(createStore()))
  let begun = false
  app.post('/hook', { config }, async () => new Readable({
    read () {
      if (begun) return
      begun = true
      this.push('some')
    }
  }))
  const port = await listen(app)
  await sendAndReset(app, port, () => begun)
  t.equal((await exchange(port, [request])).status, 409)
})

t.test('the answer of an error handler is what counts, and an error after a good answer does not', async (t) => {
  const app = await createApp(t, webhook(createStore()))
  app.setErrorHandler((_error, _request, reply) => { reply.code(200).send({}) })
  app.post('/swallowed', { config }, async () => { throw new Error('known already') })
  app.post('/accepted', { config }, async (_request, reply) => { reply.code(202).send({}); throw new Error('later') })
  for (const [url, status] of [['/swallowed', 200], ['/accepted', 202]] as const) {
    const send = async (): Promise<number> => (await app.inject({ method: 'POST', url, payload: body, headers: signed(body) })).statusCode
    t.equal(await send(), status)
    const { headers, statusCode } = await app.inject({ method: 'POST', url: '/swallowed', payload: body, headers: signed(body) })
    t.equal(statusCode, 200, 'of a replay the error is answered by the same handler')
    t.equal(headers['retry-after'], undefined, `${url}: done`)
  }
})

t.test('a handlerTimeout ends no handler: four tries run it once, and how it ended is what counts', async (t) => {
  for (const fails of [false, true]) {
    const app = Fastify({ handlerTimeout: 20 } as object)
    t.teardown(() => app.close())
    await app.register(causeflowAuth, authOptions(webhook(createStore()).auth))
    const { wait, open } = gate()
    let [runs, isLimited] = [0, true]
    app.post('/hook', { config }, async (request) => {
      isLimited = 'handlerTimeout' in request.routeOptions
      if (++runs > 1 || !isLimited) return {}
      await wait
      if (fails) throw new Error('failed')
      return {}
    })
    // Over a socket Fastify 5.12.8 ends the limit together with the body.
    const status = async (): Promise<number> => (await app.inject({ method: 'POST', url: '/hook', payload: body, headers: signed(body) })).statusCode
    const first = await status()
    // Older versions have no such option.
    if (!isLimited) return
    t.equal(first, 503)
    // On a machine that is busy for longer than the limit, any of them may be 503.
    for (let attempt = 0; attempt < 3; attempt++) t.ok([409, 503].includes(await status()))
    t.equal(runs, 1)
    open()
    for (let turns = 0; turns < 20; turns++) await turn()
    let last = 503
    for (let tries = 0; last === 503 && tries < 50; tries++) last = await status()
    t.ok((fails ? [200, 409] : [409]).includes(last))
    t.equal(runs, fails ? 2 : 1)
  }
})

t.test('a handler is not started for a sender that left before it: in the store, or in a hook behind it', async (t) => {
  const faults = watchProcess(t)
  for (const place of ['store', 'hook', 'no store'] as const) {
    const log = createLog()
    const memory = createStore()
    const { wait, open } = gate()
    let waiting = false
    const hold = async (): Promise<void> => {
      if (waiting) return
      waiting = true
      await wait
    }
    const replay: ReplayStore = {
      begin: async (attempt, lease) => { if (place === 'store') await hold(); return memory.begin(attempt, lease) },
      finish: (attempt, retention) => memory.finish(attempt, retention),
      release: (attempt) => memory.release(attempt)
    }
    const app = await createApp(t, { fastify: { logger: log.logger }, auth: { webhook: { secret: webhookSecret, ...place !== 'no store' && { replay } } } })
    let runs = 0
    app.post('/hook', { config, preHandler: async () => { if (place !== 'store') await hold() } }, async () => { runs++; return {} })
    const port = await listen(app)
    await sendAndReset(app, port, () => waiting)
    open()
    for (let turns = 0; turns < 20; turns++) await turn()
    t.equal(runs, 0, place)
    t.equal(memory.size, 0, place)
    t.equal(log.lines.filter(({ msg }) => msg === 'the sender left before its delivery was handled').length, 1)
    t.equal((await exchange(port, [request])).status, 200, place)
    t.equal(runs, 1)
  }
  t.strictSame(faults, [])
})

t.test('over HTTP/2 a stream that is reset ends no handler, and none is started after it', async (t) => {
  const faults = watchProcess(t)
  const app = Fastify({ http2: true }) as unknown as FastifyInstance
  const sessions: http2.ClientHttp2Session[] = []
  t.teardown(async () => {
    for (const session of sessions) session.destroy()
    await app.close()
  })
  const memory = createStore()
  await app.register(causeflowAuth, authOptions(webhook(memory).auth))
  const [handler, hook] = [gate(), gate()]
  let [runs, hooks] = [0, 0]
  app.post('/hook', { config, preHandler: async () => { if (++hooks === 1) await hook.wait } }, async () => { if (++runs === 1) await handler.wait; return {} })
  const port = await listen(app)
  const session = http2.connect(`http://127.0.0.1:${port}`)
  sessions.push(session)
  const send = (): http2.ClientHttp2Stream => {
    const stream = session.request({ ':method': 'POST', ':path': '/hook', ...signed(body) })
    stream.on('error', () => {})
    stream.end(body)
    return stream
  }
  const status = (): Promise<unknown> => new Promise((resolve) => { send().on('response', (headers) => resolve(headers[':status'])) })
  const reset = async (stream: http2.ClientHttp2Stream): Promise<void> => {
    stream.close(http2.constants.NGHTTP2_CANCEL)
    await new Promise((resolve) => stream.once('close', resolve))
  }
  const early = send()
  await until(() => hooks === 1)
  await reset(early)
  await until(() => memory.size === 0)
  hook.open()
  for (let turns = 0; turns < 20; turns++) await turn()
  t.equal(runs, 0)
  const running = send()
  await until(() => runs === 1)
  await reset(running)
  t.equal(await status(), 409)
  handler.open()
  for (let turns = 0; turns < 20; turns++) await turn()
  t.equal(await status(), 409)
  t.equal(runs, 1)
  t.strictSame(faults, [])
})

t.test('a handler behind two registrations of the plugin runs once', async (t) => {
  const app = await createApp(t, webhook(createStore()))
  let runs = 0
  await app.register(async (child) => {
    await child.register(causeflowAuth, { default: auth.deny() })
    child.post('/hook', { config }, async () => { runs++; return {} })
  })
  for (const status of [200, 409]) t.equal((await app.inject({ method: 'POST', url: '/hook', payload: body, headers: signed(body) })).statusCode, status)
  t.equal(runs, 1)
})

t.test('a logger that throws ends neither the process nor the settling of a delivery', async (t: Test) => {
  const faults = watchProcess(t)
  for (const kind of ['synchronous', 'asynchronous'] as const) {
    const memory = createStore()
    const fail = (): never | Promise<never> => {
      if (kind === 'synchronous') throw new Error('down')
      return Promise.reject(new Error('down'))
    }
    const app = await createApp(t, webhook({ begin: (attempt, lease) => memory.begin(attempt, lease), finish: () => {}, release: fail }))
    app.post('/hook', { config }, async (request) => {
      request.log.error = () => { throw undefined } // eslint-disable-line no-throw-literal
      return await Promise.reject(new Error('failed')).catch(async (error: unknown) => { throw error })
    })
    app.setErrorHandler((_error, _request, reply) => { reply.code(500).send({}) })
    const port = await listen(app)
    t.equal((await exchange(port, [request])).status, 500)
    for (let turns = 0; turns < 20; turns++) await turn()
  }
  t.strictSame(faults, [])
})
