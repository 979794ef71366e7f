// A delivery is in progress until its handler has ended, whatever becomes of the connection, and is handled once.
import { AsyncResource } from 'node:async_hooks'
import t, { type Test } from 'tap'
import { once } from 'node:events'
import { Readable } from 'node:stream'
import http2 from 'node:http2'
import Fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify'
import { auth, causeflowAuth, MemoryReplayStore, type ReplayStore } from '../../lib/index.js'
import { authOptions, createApp, createLog, now, signed, watchProcess, webhookSecret, type Teardown } from '../fixtures/app.js'
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

t.test('a hijacked response whose sender leaves frees its delivery when its lease ends', async (t) => {
  const { store, ends } = createNotingStore()
  const app = await createApp(t, webhook(store))
  let hijacked = false
  app.post('/hook', { config }, async (_request, reply) => {
    reply.hijack()
    hijacked = true
  })
  const port = await listen(app)
  const leases = watchLeases(t)
  await sendAndReset(app, port, () => hijacked)
  await until(() => leases() === 0)
  t.strictSame(ends, [])
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

/** An application over HTTP/2 with one client. */
async function createHttp2App (t: Teardown, store: ReplayStore, fastify: object = {}) {
  watchProcess(t)
  const app = Fastify({ http2: true, ...fastify }) as unknown as FastifyInstance
  let session: http2.ClientHttp2Session | null = null
  t.teardown(async () => {
    session?.destroy()
    await app.close()
  })
  await app.register(causeflowAuth, authOptions(webhook(store).auth))
  const send = (): http2.ClientHttp2Stream => {
    const stream = session!.request({ ':method': 'POST', ':path': '/hook', ...signed(body) })
    stream.on('error', () => {})
    stream.end(body)
    return stream
  }
  return {
    app,
    send,
    start: async (): Promise<void> => { session = http2.connect(`http://127.0.0.1:${await listen(app)}`) },
    status: async (stream = send()): Promise<unknown> => {
      const [headers] = await once(stream, 'response') as [http2.IncomingHttpHeaders]
      return headers[':status']
    },
    reset: async (stream: http2.ClientHttp2Stream): Promise<void> => {
      stream.close(http2.constants.NGHTTP2_CANCEL)
      await once(stream, 'close')
    }
  }
}

t.test('over HTTP/2 a stream that is reset ends no handler, and none is started after it', async (t) => {
  const memory = createStore()
  const { app, start, send, status, reset } = await createHttp2App(t, memory)
  const [handler, hook] = [gate(), gate()]
  let [runs, hooks] = [0, 0]
  app.post('/hook', { config, preHandler: async () => { if (++hooks === 1) await hook.wait } }, async () => { if (++runs === 1) await handler.wait; return {} })
  await start()
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
})

/** A store in memory that notes how each delivery ended. */
function createNotingStore () {
  const memory = createStore()
  const ends: string[] = []
  const store: ReplayStore = {
    begin: (attempt, lease) => memory.begin(attempt, lease),
    finish: (attempt, retention) => { ends.push('finish'); memory.finish(attempt, retention) },
    release: (attempt) => { ends.push('release'); memory.release(attempt) }
  }
  return { memory, store, ends }
}

/** Keeps the timers that extend a lease from now on: how many leases are being extended. */
function watchLeases (t: Teardown): () => number {
  const { setTimeout, clearTimeout } = globalThis
  const extending = new Set<unknown>()
  globalThis.setTimeout = ((callback: () => void, delay: number) => {
    const timer = setTimeout(callback, delay)
    if (delay === 10_000) extending.add(timer)
    return timer
  }) as never
  globalThis.clearTimeout = (timer) => { extending.delete(timer); clearTimeout(timer) }
  t.teardown(() => Object.assign(globalThis, { setTimeout, clearTimeout }))
  return () => extending.size
}

type LateHandler = (reply: FastifyReply, end: Promise<void>) => unknown
const failure = (): Error => new Error('failed')

/** Handlers that answer when their response can no longer be sent, and how their delivery ends. */
const lateHandlers: Record<string, [end: 'finish' | 'release' | 'lease', handler: LateHandler]> = {
  'returns an empty response with status 503': ['release', async (reply, end) => { await end; return reply.code(503).send() }],
  'awaits a response with status 500': ['release', async (reply, end) => { await end; await reply.code(500).send({}) }],
  'sends status 500 and returns nothing': ['release', async (reply, end) => { await end; reply.code(500).send({}) }],
  'sets the property statusCode to 500 and returns a value': ['release', async (reply, end) => { await end; reply.statusCode = 500; return {} }],
  'sets status 404 and returns a value': ['release', async (reply, end) => { await end; reply.status(404); return {} }],
  'sets status 404 before it waits': ['release', async (reply, end) => { reply.code(404); await end; return {} }],
  'sends an error': ['release', async (reply, end) => { await end; reply.send(failure()); return reply }],
  'sends an error and returns nothing': ['release', async (reply, end) => { await end; reply.send(failure()) }],
  'returns an error': ['release', async (_reply, end) => { await end; return failure() }],
  'throws an error': ['release', async (_reply, end) => { await end; throw failure() }],
  'calls the not-found handler': ['release', async (reply, end) => { await end; reply.callNotFound(); return reply }],
  'calls the not-found handler and returns nothing': ['release', async (reply, end) => { await end; reply.callNotFound() }],
  'returns a Response with status 503': ['release', async (_reply, end) => { await end; return new Response('busy', { status: 503 }) }],
  'sends a Response with status 503': ['release', async (reply, end) => { await end; return reply.send(new Response(null, { status: 503 })) }],
  'returns its reply and sends status 500 later': ['release', async (reply, end) => { end.then(() => { reply.code(500).send({}) }, () => {}); return reply }],
  'is no promise and sends status 500 later': ['release', (reply, end) => { end.then(() => { reply.code(500).send({}) }, () => {}) }],
  'is no promise and sends an error later': ['release', (reply, end) => { end.then(() => { reply.send(failure()) }, () => {}) }],
  'returns a value': ['finish', async (_reply, end) => { await end; return {} }],
  'returns nothing': ['finish', async (_reply, end) => { await end }],
  'returns an empty response': ['finish', async (reply, end) => { await end; return reply.code(204).send() }],
  'awaits its response': ['finish', async (reply, end) => { await end; await reply.send({}) }],
  'sets status 202 and returns nothing': ['finish', async (reply, end) => { await end; reply.code(202) }],
  redirects: ['finish', async (reply, end) => { await end; return reply.redirect('/elsewhere') }],
  'returns a Response with status 200': ['finish', async (_reply, end) => { await end; return new Response('done') }],
  'sends a Response with status 202': ['finish', async (reply, end) => { await end; return reply.send(new Response('done', { status: 202 })) }],
  'returns its reply and sends later': ['finish', async (reply, end) => { end.then(() => { reply.send({}) }, () => {}); return reply }],
  'is no promise and sends later': ['finish', (reply, end) => { end.then(() => { reply.send({}) }, () => {}) }],
  'returns its reply and never sends': ['lease', async (reply, end) => { await end; return reply }],
  'is no promise and never sends': ['lease', () => {}],
  'hijacks its reply and writes status 500 itself': ['lease', async (reply, end) => { reply.hijack(); await end; reply.raw.writeHead(500).end() }]
}

for (const [name, [expected, handler]] of Object.entries(lateHandlers)) {
  const ends = expected === 'lease' ? [] : [expected]

  t.test(`over HTTP/2, after the stream was reset, a handler that ${name}: ${expected}`, async (t) => {
    const { store, ends: noted } = createNotingStore()
    const { app, start, send, status, reset } = await createHttp2App(t, store)
    const { wait, open } = gate()
    let [runs, closed] = [0, false]
    app.post('/hook', { config }, ((_request: FastifyRequest, reply: FastifyReply) => {
      if (++runs > 1) return reply.send({})
      reply.raw.once('close', () => { closed = true })
      return handler(reply, wait)
    }) as never)
    await start()
    const leases = watchLeases(t)
    const stream = send()
    await until(() => runs === 1)
    t.equal(leases(), 1)
    await reset(stream)
    await until(() => closed)
    await turn()
    open()
    await until(() => leases() === 0)
    for (let turns = 0; turns < 5; turns++) await turn()
    t.strictSame(noted, ends)
    t.equal(await status(), expected === 'release' ? 200 : 409)
  })

  t.test(`over HTTP/1.1, after the socket of a pipelined delivery was closed, a handler that ${name}: ${expected}`, async (t) => {
    const { store, ends: noted } = createNotingStore()
    const app = await createApp(t, webhook(store))
    const [{ wait, open: end }, slow] = [gate(), gate()]
    let [runs, closed] = [0, false]
    app.get('/slow', { config: { auth: auth.public() } }, async () => { await slow.wait; return {} })
    app.post('/hook', { config }, ((_request: FastifyRequest, reply: FastifyReply) => ++runs > 1 ? reply.send({}) : handler(reply, wait)) as never)
    app.server.once('connection', (socket) => { socket.once('close', () => { closed = true }) })
    const port = await listen(app)
    const leases = watchLeases(t)
    const socket = await open(port)
    socket.write(Buffer.concat([head('GET', '/slow', {}), request]))
    await until(() => runs === 1)
    t.equal(leases(), 1)
    socket.resetAndDestroy()
    await until(() => closed)
    end()
    await until(() => leases() === 0)
    for (let turns = 0; turns < 5; turns++) await turn()
    t.strictSame(noted, ends)
    t.equal((await exchange(port, [request])).status, expected === 'release' ? 200 : 409)
    slow.open()
  })

  // Fastify does not answer the timeout of a hijacked reply.
  if (name.startsWith('hijacks')) continue
  t.test(`after a handlerTimeout a handler that ${name}: ${expected}`, async (t) => {
    const leases = watchLeases(t)
    const variants = [
      { answered: 'at once', aborted: false }, { answered: 'at once', aborted: true },
      { answered: 'later', aborted: false }, { answered: 'later', aborted: true }
    ] as const
    await Promise.all(variants.map(async ({ answered, aborted }) => {
      const { store, ends: noted } = createNotingStore()
      const { app, start, status } = await createHttp2App(t, store, { handlerTimeout: 20 })
      if (answered === 'later') {
        app.addHook('onSend', async (_request, _reply, payload) => payload)
        app.setErrorHandler(async (_error, _request, reply) => {
          await turn()
          await reply.code(503).send({})
          await turn()
          return reply
        })
      }
      const { wait, open } = gate()
      let isLimited = true
      app.post('/hook', { config }, ((request: FastifyRequest, reply: FastifyReply) => {
        const { signal } = request as { signal?: AbortSignal }
        isLimited = signal !== undefined
        if (aborted) signal?.addEventListener('abort', open)
        return isLimited ? handler(reply, wait) : {}
      }) as never)
      await start()
      const first = await status()
      // Older versions have no such option.
      if (!isLimited) return
      if (!aborted) t.equal(first, 503)
      for (let turns = 0; turns < 5; turns++) await turn()
      open()
      await until(() => leases() === 0)
      for (let turns = 0; turns < 5; turns++) await turn()
      t.strictSame(noted, ends, `answered ${answered}${aborted ? ', with a handler that it aborts' : ''}`)
    }))
  })
}

t.test('a pipelined delivery that was handled stays so when its socket closes before its response was sent', async (t) => {
  const { store, ends } = createNotingStore()
  const app = await createApp(t, webhook(store))
  const slow = gate()
  let [runs, sockets, closeListeners] = [0, 0, 0]
  app.get('/slow', { config: { auth: auth.public() } }, async () => { await slow.wait; return {} })
  app.post('/hook', { config }, async (request) => { runs++; closeListeners = request.raw.socket.listenerCount('close'); return {} })
  app.server.once('connection', (socket) => {
    sockets = 1
    socket.once('close', () => { sockets = 0 })
  })
  const port = await listen(app)
  const leases = watchLeases(t)
  const socket = await open(port)
  socket.write(Buffer.concat([head('GET', '/slow', {}), ...Array.from({ length: 20 }, (_, n) => {
    const own = Buffer.from(`{"n":${n}}`)
    return Buffer.concat([head('POST', '/hook', { ...signed(own), 'content-length': own.length }), own])
  })]))
  await until(() => runs === 20)
  t.ok(closeListeners < 10, 'one listener for all deliveries of a socket')
  t.strictSame(ends, [])
  t.equal(leases(), 20)
  socket.resetAndDestroy()
  await until(() => sockets === 0)
  t.strictSame(ends, Array(20).fill('finish'))
  t.equal(leases(), 0)
  slow.open()
})

t.test('a socket that is kept open holds no delivery whose response was sent', async (t) => {
  const { store, ends } = createNotingStore()
  const app = await createApp(t, webhook(store))
  const counts = new Set<number>()
  app.post('/hook', { config }, async (request) => { counts.add(request.raw.socket.listenerCount('close')); return {} })
  const socket = await open(await listen(app))
  for (let n = 0; n < 15; n++) {
    const own = Buffer.from(`{"n":${n}}`)
    socket.write(Buffer.concat([head('POST', '/hook', { ...signed(own), 'content-length': own.length }), own]))
    await until(() => ends.length === n + 1)
  }
  socket.destroy()
  await turn()
  t.equal(counts.size, 1)
  t.strictSame(ends, Array(15).fill('finish'))
})

t.test('a handler is not started for a pipelined delivery whose socket has closed', async (t) => {
  const memory = createStore()
  const app = await createApp(t, webhook(memory))
  const [slow, hook] = [gate(), gate()]
  let [runs, hooks, closed] = [0, 0, false]
  app.get('/slow', { config: { auth: auth.public() } }, async () => { await slow.wait; return {} })
  app.post('/hook', { config, preHandler: async () => { if (++hooks === 1) await hook.wait } }, async () => { runs++; return {} })
  app.server.once('connection', (socket) => { socket.once('close', () => { closed = true }) })
  const port = await listen(app)
  const socket = await open(port)
  socket.write(Buffer.concat([head('GET', '/slow', {}), request]))
  await until(() => hooks === 1)
  socket.resetAndDestroy()
  await until(() => closed)
  t.equal(memory.size, 0)
  hook.open()
  for (let turns = 0; turns < 5; turns++) await turn()
  t.equal(runs, 0)
  t.equal((await exchange(port, [request])).status, 200)
  slow.open()
})

/** Error handlers that call their reply more than once, or when the response has been sent. */
const errorHandlers: Record<string, (reply: FastifyReply, error: Error) => unknown> = {
  'sends and returns what it sent': async (reply) => { reply.code(503).send({}); return {} },
  'sends and returns the error': async (reply, error) => { reply.code(503).send({}); return error },
  'sends twice': async (reply) => { reply.code(503).send({}); await turn(); reply.code(200).send({}); return reply },
  'sets status 200 when it has sent': async (reply) => { reply.code(503).send({}); await turn(); reply.code(200); return reply }
}

for (const [title, answer] of Object.entries(errorHandlers)) {
  t.test(`after a handlerTimeout an error handler that ${title} says nothing of the handler`, async (t) => {
    const leases = watchLeases(t)
    for (const [name, [expected, handler]] of Object.entries(lateHandlers)) {
      if (name.startsWith('hijacks')) continue
      const { store, ends: noted } = createNotingStore()
      const { app, start, status } = await createHttp2App(t, store, { handlerTimeout: 20 })
      const { wait, open } = gate()
      let [isLimited, runs] = [true, 0]
      app.setErrorHandler((async (error: Error, _request: FastifyRequest, reply: FastifyReply) => await answer(reply, error)) as never)
      app.post('/hook', { config }, ((request: FastifyRequest, reply: FastifyReply) => {
        isLimited = 'signal' in request
        return isLimited && ++runs === 1 ? handler(reply, wait) : {}
      }) as never)
      await start()
      const first = await status()
      // Older versions have no such option.
      if (!isLimited) return
      t.equal(first, 503, name)
      for (let turns = 0; turns < 5; turns++) await turn()
      if (expected !== 'lease') t.strictSame(noted, [], `${name}: held while the handler runs`)
      open()
      await until(() => leases() === 0)
      for (let turns = 0; turns < 5; turns++) await turn()
      t.strictSame(noted, expected === 'lease' ? [] : [expected], name)
    }
  })
}

t.test('after a handlerTimeout an answer from outside the context of the handler is the answer of the handler', async (t) => {
  for (const [code, expected] of [[200, 'finish'], [500, 'release']] as const) {
    const { store, ends } = createNotingStore()
    const { app, start, status } = await createHttp2App(t, store, { handlerTimeout: 20 })
    const outside = new AsyncResource('outside')
    const slow = gate()
    let [isLimited, timedOut] = [true, false]
    app.setErrorHandler(async (_error, _request, reply) => { timedOut = true; await slow.wait; return reply })
    app.post('/hook', { config }, ((request: FastifyRequest, reply: FastifyReply) => {
      isLimited = 'signal' in request
      if (!isLimited) return {}
      until(() => timedOut).then(() => { outside.runInAsyncScope(() => { reply.code(code).send({}) }) }, () => {})
    }) as never)
    await start()
    const first = await status()
    if (!isLimited) return
    t.equal(first, code)
    for (let turns = 0; turns < 5; turns++) await turn()
    t.strictSame(ends, [expected])
    slow.open()
  }
})

t.test('a good answer that a slow onSend hook holds back beyond handlerTimeout is the answer of the handler', async (t) => {
  const { store, ends } = createNotingStore()
  const { app, start, status } = await createHttp2App(t, store, { handlerTimeout: 20 })
  const [slow, end] = [gate(), gate()]
  let [isLimited, sends] = [true, 0]
  app.addHook('onSend', async (_request, _reply, payload) => { if (++sends === 1 && isLimited) await slow.wait; return payload })
  app.post('/hook', { config }, async (request, reply) => {
    isLimited = 'signal' in request
    reply.send({})
    if (isLimited) await end.wait
    return reply
  })
  await start()
  const first = await status()
  if (!isLimited) return
  t.equal(first, 503)
  t.strictSame(ends, [], 'the handler still runs')
  end.open()
  slow.open()
  for (let turns = 0; turns < 10; turns++) await turn()
  t.strictSame(ends, ['finish'])
})

t.test('a handlerTimeout before the handler frees the delivery, and the handler is not started', async (t) => {
  const { store, ends } = createNotingStore()
  const { app, start, status } = await createHttp2App(t, store, { handlerTimeout: 20 })
  const answer = gate()
  let [runs, isLimited] = [0, true]
  app.setErrorHandler(async (_error, _request, reply) => { await answer.wait; return await reply.code(503).send({}) })
  app.post('/hook', {
    config,
    preHandler: async (request) => {
      isLimited = 'signal' in request
      if (isLimited) await until(() => ends.length === 1)
    }
  }, async () => { runs++; return {} })
  await start()
  const first = status()
  await until(() => ends.length === 1)
  if (!isLimited) return
  for (let turns = 0; turns < 5; turns++) await turn()
  answer.open()
  t.equal(await first, 503)
  t.equal(runs, 0)
  t.strictSame(ends, ['release'])
})

t.test('a Response is judged by its status, and one that is cut off in the middle by its lease', async (t) => {
  for (const [code, again] of [[200, 409], [503, 503]] as const) {
    const app = await createApp(t, webhook(createStore()))
    app.post('/hook', { config }, async () => new Response('{}', { status: code }))
    const url = `http://127.0.0.1:${await listen(app)}/hook`
    for (const expected of [code, again]) {
      const answer = await fetch(url, { method: 'POST', headers: signed(body), body })
      await answer.text()
      t.equal(answer.status, expected)
    }
  }
  const { store, ends } = createNotingStore()
  const app = await createApp(t, webhook(store))
  let begun = false
  app.post('/hook', { config }, async () => new Response(new ReadableStream({
    pull (controller) {
      if (!begun) controller.enqueue(Buffer.from('some'))
      begun = true
    }
  }) as never))
  const port = await listen(app)
  const leases = watchLeases(t)
  await sendAndReset(app, port, () => begun)
  await until(() => leases() === 0)
  t.strictSame(ends, [], 'whether its source failed or its reader left, nothing says')
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

t.test('a stream that is destroyed in the middle, with an error or without one, is a failure', async (t) => {
  for (const error of [undefined, new Error('failed')]) {
    for (const protocol of ['HTTP/1.1', 'HTTP/2']) {
      const { store, ends } = createNotingStore()
      const answer = (): Readable => {
        const stream = new Readable({ read () {} })
        stream.push('some')
        setImmediate(() => { stream.destroy(error) })
        return stream
      }
      if (protocol === 'HTTP/2') {
        const { app, start, send } = await createHttp2App(t, store)
        app.post('/hook', { config }, (_request, reply) => reply.send(answer()))
        await start()
        send().on('error', () => {})
      } else {
        const app = await createApp(t, webhook(store))
        app.post('/hook', { config }, (_request, reply) => reply.send(answer()))
        const socket = await open(await listen(app))
        socket.on('error', () => {}).write(request)
      }
      await until(() => ends.length > 0)
      t.strictSame(ends, ['release'], `${protocol}, ${error === undefined ? 'without an error' : 'with an error'}`)
    }
  }
})
