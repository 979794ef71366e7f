/** Guards where they can protect nothing, and guards that something in front of them has skipped. */
import t from 'tap'
import fastifyAuth from '@fastify/auth'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { once } from 'node:events'
import { connect } from 'node:net'
import { setImmediate } from 'node:timers/promises'
import { auth, causeflowAuth, type Guard } from '../../lib/index.js'
import { bearer, createApp, createLog, issueKey, refusalOf, refusals, watchProcess } from '../fixtures/app.js'

const before = ['onRequest', 'preParsing', 'preValidation', 'preHandler'] as const
const after = ['preSerialization', 'onSend', 'onResponse', 'onError', 'onTimeout', 'onRequestAbort'] as const
const neither = ['onReady', 'onListen'] as const
const nothing: unknown = undefined

for (const phase of [...after, ...neither]) {
  for (const [where, install] of [
    ['of the root', async (app: FastifyInstance, hook: Guard) => { app.addHook(phase as 'preHandler', hook) }],
    ['of a scope', async (app: FastifyInstance, hook: Guard) => { await app.register(async (scope) => { await scope.register(async (inner) => { inner.addHook(phase as 'preHandler', hook) }) }, { prefix: '/v1' }) }],
    ['of a scope with a registration of its own', async (app: FastifyInstance, hook: Guard) => { await app.register(async (scope) => { await scope.register(causeflowAuth, { clock: Date.now }); scope.addHook(phase as 'preHandler', hook) }, { prefix: '/v1' }) }]
  ] as const) {
    t.test(`the app fails to start with a guard in ${phase} ${where}`, async (t) => {
      const app = await createApp(t)
      await install(app, app.causeflowAuth.jwt)
      await t.rejects(async () => { await app.ready() }, { code: 'AUTH_CONFIG_ROUTE', message: new RegExp(`addHook\\('${phase}'\\) in the scope ${where === 'of the root' ? '/' : '/v1'}: .*Use onRequest, preParsing, preValidation or preHandler`) })
    })
  }
}

t.test('the app fails to start with require, or a builder of rules, in place of a hook', async (t) => {
  for (const phase of [...before, ...after]) {
    for (const [hook, mend] of [['require', 'Call it with a rule'], ['builder', 'Write config: { auth: auth.apiKey() }']] as const) {
      const pick = (app: FastifyInstance): Guard => (hook === 'require' ? app.causeflowAuth.require : auth.apiKey) as unknown as Guard
      const onRoute = await createApp(t, { auth: { default: auth.public() } })
      t.throws(() => onRoute.get('/', { [phase]: [pick(onRoute)] }, async () => 'in'), { code: 'AUTH_CONFIG_ROUTE', message: mend }, `${hook} in ${phase} of a route`)
      const inScope = await createApp(t, { auth: { default: auth.public() } })
      inScope.addHook(phase as 'preHandler', pick(inScope))
      await t.rejects(async () => { await inScope.ready() }, { code: 'AUTH_CONFIG_ROUTE', message: mend }, `${hook} in ${phase} of a scope`)
    }
  }
})

t.test('the app fails to start with a guard that is called in place of being given', async (t) => {
  const app = await createApp(t, { auth: { default: auth.public() } })
  for (const name of ['jwt', 'apiKey', 'webhook'] as const) {
    t.throws(() => (app.causeflowAuth[name] as unknown as () => void)(), { code: 'AUTH_CONFIG_RULE', message: 'write it without ()' })
  }
  t.throws(() => { app.addHook('onRoute', app.causeflowAuth.jwt as never); app.get('/', async () => 'in') }, { code: 'AUTH_CONFIG_RULE', message: 'no request of Fastify' })
})

t.test('require as a hook of a not-found handler rejects everyone', async (t) => {
  const app = await createApp(t, { auth: { default: auth.public() } })
  app.setNotFoundHandler({ preHandler: app.causeflowAuth.require as never }, async () => 'in')
  const answer = await app.inject({ url: '/nothing', headers: bearer() })
  t.match(answer.json(), { statusCode: 500, code: 'AUTH_CONFIG_RULE', message: 'Call it with a rule' })
})

t.test('a guard that is made once the app is ready is a fault, for nothing says that it is called', async (t) => {
  const app = await createApp(t)
  await app.ready()
  t.throws(() => app.causeflowAuth.require(auth.jwt()), { code: 'AUTH_CONFIG_RULE', message: 'authenticate(request, rule)' })
  t.equal(app.causeflowAuth.jwt, app.causeflowAuth.jwt, 'the ready ones are made once')
})

t.test('a guard that a function calls after the handler rejects, and asks no store', async (t) => {
  const faults = watchProcess(t)
  const log = createLog()
  let asked = 0
  const store = { findByDigest: () => { asked++; return null } }
  const app = await createApp(t, { fastify: { logger: log.logger, connectionTimeout: 50 }, auth: { default: auth.public(), apiKey: { store: store as never } } })
  const { apiKey } = app.causeflowAuth
  const key = { 'x-api-key': 'cflo_' + 'a'.repeat(40) }
  const late: string[] = []
  const call = async (phase: string, request: FastifyRequest, reply: FastifyReply): Promise<void> => {
    await apiKey(request, reply).catch((error: { code: string }) => { late.push(`${phase} ${error.code}`); throw error })
  }
  await app.register(async (scope) => {
    scope.addHook('preSerialization', async (request, reply) => { await call('preSerialization', request, reply) })
    scope.get('/preSerialization', async () => ({ content: true }))
  })
  await app.register(async (scope) => {
    scope.addHook('onSend', async (request, reply) => { await call('onSend', request, reply) })
    scope.get('/onSend', async () => 'content')
  })
  await app.register(async (scope) => {
    scope.addHook('onSend', (request, reply, _payload, done) => { apiKey(request, reply, done as never) })
    scope.get('/onSend-callback', async () => 'content')
  })
  await app.register(async (scope) => {
    scope.addHook('onResponse', async (request, reply) => { await call('onResponse', request, reply) })
    scope.get('/onResponse', async () => 'content')
  })
  await app.register(async (scope) => {
    scope.addHook('onError', async (request, reply) => { await call('onError', request, reply) })
    scope.get('/onError', async () => { throw new Error('of the handler') })
  })
  await app.register(async (scope) => {
    scope.addHook('onTimeout', async (request, reply) => { await call('onTimeout', request, reply) })
    scope.get('/onTimeout', async (_request, reply) => reply)
  })
  for (const [url, status] of [['/preSerialization', 500], ['/onSend', 500], ['/onSend-callback', 500], ['/onResponse', 200], ['/onError', 500]] as const) {
    const answer = await app.inject({ url, headers: key })
    t.equal(answer.statusCode, status, url)
    if (status === 500) t.notMatch(answer.body, 'content', url)
  }
  await app.listen({ port: 0, host: '127.0.0.1' })
  const socket = connect((app.server.address() as { port: number }).port, '127.0.0.1')
  socket.on('error', () => {})
  socket.write(`GET /onTimeout HTTP/1.1\r\nhost: a\r\nx-api-key: ${key['x-api-key']}\r\n\r\n`)
  await once(socket, 'close')
  await setImmediate()
  t.strictSame([...new Set(late)].sort(), ['onError', 'onResponse', 'onSend', 'onTimeout', 'preSerialization'].map((phase) => `${phase} AUTH_RULE_UNDECIDABLE`))
  t.equal(asked, 0)
  t.ok(log.lines.some(({ reason }) => reason === 'late'))
  t.strictSame(faults, [])
})

t.test('a guard with the form of a later hook rejects, whatever has begun', async (t) => {
  const app = await createApp(t, { auth: { default: auth.public() } })
  const codes: string[] = []
  const note = (error?: { code?: string }): void => { codes.push(error?.code ?? 'in') }
  const guard = app.causeflowAuth.jwt as unknown as (...given: unknown[]) => void
  app.addHook('preHandler', async (request, reply) => {
    await new Promise<void>((resolve) => { guard(request, (error: { code: string }) => { note(error); resolve() }) })
    for (const payload of ['text', Buffer.alloc(1), null, undefined, new Error('of onError'), {}]) {
      await new Promise<void>((resolve) => { guard(request, reply, payload, (error: { code: string }) => { note(error); resolve() }) })
    }
  })
  app.get('/', async () => 'in')
  await app.inject({ url: '/', headers: bearer() })
  t.strictSame(codes, new Array(7).fill('AUTH_RULE_UNDECIDABLE'))
})

/** A hook that ends its phase without an error, so that those behind it do not run. */
function thrower (app: FastifyInstance, phases: readonly string[]): void {
  for (const phase of phases) app.addHook(phase as 'preHandler', function (request, _reply, ...rest: unknown[]) { if (request.headers['x-skip'] === undefined) return (rest[rest.length - 1] as () => void)(); throw nothing })
}

for (const phase of before) {
  t.test(`a guard in a scope's ${phase} that an earlier hook has skipped keeps the handler closed`, async (t) => {
    let reached = 0
    const app = await createApp(t, { auth: { default: auth.public() } })
    await app.register(async (scope) => {
      thrower(scope, [phase])
      scope.addHook(phase as 'preHandler', app.causeflowAuth.jwt)
      scope.get('/', async () => { reached++ })
      scope.post('/', async () => { reached++ })
      await scope.register(async (inner) => { inner.get('/inner', async () => { reached++ }) })
      await scope.register(async (inner) => {
        await inner.register(causeflowAuth, { clock: Date.now })
        inner.get('/child', async () => { reached++ })
      })
    })
    for (const url of ['/', '/inner', '/child']) {
      t.strictSame(refusalOf(await app.inject({ url, headers: { 'x-skip': '1' } })), refusals.undecidable, url)
      t.strictSame(refusalOf(await app.inject({ url })), refusals.noToken, url)
    }
    t.strictSame(refusalOf(await app.inject({ method: 'POST', url: '/', payload: {}, headers: { 'x-skip': '1' } })), refusals.undecidable)
    t.equal(reached, 0)
    t.equal((await app.inject({ url: '/', headers: bearer() })).statusCode, 200)
  })
}

t.test('a guard on a not-found handler that an earlier hook has skipped keeps it closed', async (t) => {
  for (const phase of ['preValidation', 'preHandler'] as const) {
    let reached = 0
    const app = await createApp(t, { auth: { default: auth.public() }, before: (app) => { thrower(app, [phase]) } })
    app.setNotFoundHandler({ [phase]: app.causeflowAuth.jwt }, async () => { reached++ })
    app.get('/asks', async (_request, reply) => { reply.callNotFound() })
    await app.register(async (scope) => {
      thrower(scope, [phase])
      scope.addHook(phase as 'preHandler', app.causeflowAuth.jwt)
      scope.setNotFoundHandler({ [phase]: [async () => {}] }, async () => { reached++ })
    }, { prefix: '/scope' })
    for (const url of ['/nothing', '/scope/nothing']) {
      // The handler that states a rule decides it by itself; the other one finds that a guard before it was skipped.
      t.strictSame(refusalOf(await app.inject({ url, headers: { 'x-skip': '1' } })), url === '/nothing' ? refusals.noToken : refusals.undecidable, `${phase} ${url}`)
      t.strictSame(refusalOf(await app.inject(url)), refusals.noToken, `${phase} ${url}`)
    }
    t.equal(reached, 0)
    t.equal((await app.inject({ url: '/nothing', headers: bearer() })).statusCode, 200)
    t.equal(reached, 1)
  }
})

t.test('callNotFound(), which runs the preHandler hooks alone, does not lead past a guard', async (t) => {
  for (const phase of ['preValidation', 'preHandler'] as const) {
    for (const when of ['late', 'early'] as const) {
      let reached = 0
      const routes = (app: FastifyInstance): void => { app.get('/asks', { config: { auth: auth.public() } }, (_request, reply) => { reply.callNotFound() }) }
      const app = await createApp(t, { auth: { default: auth.public() }, before: (app) => { if (when === 'early') routes(app) } })
      if (when === 'late') routes(app)
      app.setNotFoundHandler({ [phase]: app.causeflowAuth.jwt }, async () => { reached++; return 'content' })
      t.strictSame(refusalOf(await app.inject('/asks')), refusals.noToken, `${phase} ${when}`)
      t.equal(reached, 0)
      const answer = await app.inject({ url: '/asks', headers: bearer() })
      t.equal(answer.body, 'content', `${phase} ${when}`)
    }
  }
})

t.test('a route from before the plugin is not reached where three phases are skipped, nor once it has been asked for', async (t) => {
  const log = createLog()
  let reached = 0
  const app = await createApp(t, {
    fastify: { logger: log.logger },
    before: (app) => {
      thrower(app, before.slice(0, 3))
      app.get('/', async () => { reached++ })
      app.post('/', async () => { reached++ })
    }
  })
  for (const method of ['GET', 'POST'] as const) {
    const payload = method === 'POST' ? { payload: {} } : {}
    t.strictSame(refusalOf(await app.inject({ method, url: '/', headers: { 'x-skip': '1' }, ...payload })), refusals.undecidable, method)
    t.strictSame(refusalOf(await app.inject({ method, url: '/', ...payload })), refusals.noToken, method)
    t.equal(reached, 0)
    t.equal((await app.inject({ method, url: '/', headers: bearer(), ...payload })).statusCode, 200)
    reached = 0
  }
})

t.test('a route from before the plugin that was asked for once is not reached where all phases are skipped', async (t) => {
  let reached = 0
  const app = await createApp(t, {
    before: (app) => {
      thrower(app, before)
      app.get('/', async () => { reached++ })
      app.get('/open', { config: { auth: auth.public() } }, async () => { reached++ })
      app.options('/', async () => 'preflight')
    }
  })
  await app.register(async (scope) => {
    scope.addHook('preHandler', app.causeflowAuth.jwt)
    scope.get('/scope', { config: { auth: auth.public() } }, async () => { reached++ })
  })
  t.strictSame(refusalOf(await app.inject('/')), refusals.noToken)
  t.strictSame(refusalOf(await app.inject({ url: '/', headers: { 'x-skip': '1' } })), refusals.undecidable)
  t.strictSame(refusalOf(await app.inject({ url: '/scope', headers: { 'x-skip': '1' } })), refusals.undecidable)
  t.equal(reached, 0)
  t.equal((await app.inject({ url: '/', headers: bearer() })).statusCode, 200)
  t.equal((await app.inject('/open')).statusCode, 200)
})

t.test('a guard in a scope around a route from before the plugin is asked for by its handler', async (t) => {
  let reached = 0
  const app = await createApp(t, {
    auth: { default: auth.public() },
    before: (app) => { thrower(app, ['preHandler']); app.get('/', { config: { auth: auth.public() } }, async () => { reached++ }) }
  })
  app.addHook('preHandler', app.causeflowAuth.jwt)
  t.strictSame(refusalOf(await app.inject({ url: '/', headers: { 'x-skip': '1' } })), refusals.undecidable)
  t.strictSame(refusalOf(await app.inject('/')), refusals.noToken)
  t.equal(reached, 0)
  t.equal((await app.inject({ url: '/', headers: bearer() })).statusCode, 200)
})

t.test('a guard that nothing waits for keeps the handler closed, says why in the log, and lets the process live', async (t) => {
  const faults = watchProcess(t)
  const log = createLog()
  let reached = 0
  const app = await createApp(t, { fastify: { logger: log.logger }, auth: { default: auth.public() } })
  await app.register(async (scope) => {
    scope.addHook('preHandler', async (request, reply) => { scope.causeflowAuth.jwt(request, reply) })
    scope.get('/guard', async () => { reached++ })
  })
  await app.register(async (scope) => {
    scope.addHook('preHandler', async (request) => { scope.causeflowAuth.authenticate(request, auth.jwt()) })
    scope.get('/authenticate', async () => { reached++ })
  })
  for (const url of ['/guard', '/authenticate']) {
    for (const headers of [{}, bearer()]) t.strictSame(refusalOf(await app.inject({ url, headers })), refusals.undecidable, url)
  }
  await setImmediate()
  t.equal(reached, 0)
  t.equal(log.lines.filter(({ reason }) => reason === 'not-awaited').length, 4)
  t.equal(log.lines.filter(({ msg }) => String(msg).includes('nothing waits for the promise')).length, 2)
  t.strictSame(faults, [])
})

t.test('authenticate() in a handler that does not wait for it leaves the process alive', async (t) => {
  const faults = watchProcess(t)
  const log = createLog()
  const app = await createApp(t, { fastify: { logger: log.logger }, auth: { default: auth.public() } })
  app.get('/', async (request) => { app.causeflowAuth.authenticate(request, auth.jwt()); return 'public' })
  t.equal((await app.inject('/')).body, 'public')
  await setImmediate()
  t.equal(log.lines.filter(({ msg }) => String(msg).includes('nothing waits for the promise')).length, 1)
  t.strictSame(faults, [])
})

t.test('a guard that is still deciding when the handler would begin keeps it closed', async (t) => {
  const faults = watchProcess(t)
  let reached = 0
  let release = (): void => {}
  const waiting = new Promise<void>((resolve) => { release = resolve })
  const app = await createApp(t, { auth: { default: auth.public() } })
  const slow = app.causeflowAuth.require(auth.jwt().check('slow', async () => { await waiting; return true }))
  app.get('/race', { preHandler: async (request: FastifyRequest, reply: FastifyReply) => { await Promise.race([slow(request, reply), Promise.resolve()]) } }, async () => { reached++ })
  app.get('/own-callback', { preHandler: (request: FastifyRequest, reply: FastifyReply, done: () => void) => { slow(request, reply, () => {}); done() } }, async () => { reached++ })
  for (const url of ['/race', '/own-callback']) t.strictSame(refusalOf(await app.inject({ url, headers: bearer() })), refusals.undecidable, url)
  release()
  await setImmediate()
  t.equal(reached, 0)
  t.strictSame(faults, [])
})

t.test('a guard that rejects is passed over where another in app.auth() lets the request in', async (t) => {
  const app = await createApp(t, { auth: { default: auth.public() } })
  await app.register(fastifyAuth)
  const { jwt, apiKey } = app.causeflowAuth
  app.get('/', { preHandler: app.auth([async (request: FastifyRequest, reply: FastifyReply) => { await jwt(request, reply) }, apiKey]) }, async ({ principal }) => principal?.scheme)
  await app.ready()
  const { plaintextKey } = await issueKey(app)
  t.equal((await app.inject({ url: '/', headers: { 'x-api-key': plaintextKey } })).body, 'apiKey')
  t.equal((await app.inject({ url: '/', headers: bearer() })).body, 'jwt')
  t.equal((await app.inject('/')).statusCode, 401)
})
