import t from 'tap'
import { once } from 'node:events'
import { connect } from 'node:http2'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import Fastify, { type FastifyInstance, type FastifyRequest } from 'fastify'
import fastifyAutoload from '@fastify/autoload'
import fastifyCors from '@fastify/cors'
import fastifyFormbody from '@fastify/formbody'
import fastifyJwt from '@fastify/jwt'
import fastifyRateLimit from '@fastify/rate-limit'
import fastifySwagger from '@fastify/swagger'
import fastifySwaggerUi from '@fastify/swagger-ui'
import { MemoryApiKeyStore, auth, causeflowAuth, createApiKey, principalOf } from '../../lib/index.js'
import { authOptions, bearer, createApp, createLog, issueKey, refusalOf, refusals, signed, watchProcess, type Teardown } from '../fixtures/app.js'

watchProcess(t)

const whoami = async (request: { principal: { scheme: string } | null }): Promise<object> => ({ scheme: request.principal?.scheme ?? null })
const orders = ['before', 'after'] as const

/** An application in which something stands before the plugin or after it. */
async function withOther (t: Teardown, order: 'before' | 'after', other: (app: FastifyInstance) => unknown, own: Parameters<typeof authOptions>[0] = {}): Promise<FastifyInstance> {
  const app = await createApp(t, { auth: own, before: (app) => order === 'before' ? other(app) : undefined })
  if (order === 'after') await other(app)
  return app
}

for (const order of orders) {
  for (const namespace of [undefined, 'app']) {
    t.test(`the application's own @fastify/jwt ${order} us, ${namespace ?? 'without'} namespace, works and proves nothing to us`, async (t) => {
      const own = 'the application\'s own secret, 32 bytes and more'
      const app = await withOther(t, order, (app) => app.register(fastifyJwt, namespace === undefined ? { secret: own } : { secret: own, namespace }))
      const verify = namespace === undefined ? 'jwtVerify' : 'appJwtVerify'
      app.get('/theirs', { config: { auth: auth.public() } }, async (request) => {
        await (request as unknown as Record<string, () => Promise<unknown>>)[verify]?.()
        return { user: request.user, principal: request.principal }
      })
      app.get('/ours', whoami)
      app.post('/hook', { config: { auth: auth.webhook() } }, whoami)
      await app.ready()
      const jwt = (app as unknown as { jwt: Record<string, { sign (payload: object): string }> & { sign (payload: object): string } }).jwt
      const signer = namespace === undefined ? jwt : jwt[namespace]
      const theirs = { authorization: `Bearer ${signer?.sign({ sub: 'x', iat: 1 })}` }
      t.strictSame((await app.inject({ url: '/theirs', headers: theirs })).json(), { user: { sub: 'x', iat: 1 }, principal: null })
      t.equal((await app.inject({ url: '/ours', headers: theirs })).json().code, 'AUTH_TOKEN_INVALID')
      t.strictSame((await app.inject({ url: '/ours', headers: bearer() })).json(), { scheme: 'jwt' })
      t.equal((await app.inject({ url: '/theirs', headers: bearer() })).statusCode, 401)
      t.equal((await app.inject({ method: 'POST', url: '/hook', payload: '{}', headers: signed('{}') })).statusCode, 200)
    })
  }

  t.test(`@fastify/formbody ${order} us parses unsigned forms, and a signed form is bytes`, async (t) => {
    const app = await withOther(t, order, (app) => app.register(fastifyFormbody))
    app.post('/form', async (request) => request.body)
    app.post('/hook', { config: { auth: auth.webhook() } }, async (request) => ({ bytes: Buffer.isBuffer(request.body), same: request.body === request.rawBody, type: request.headers['content-type'] }))
    const form = { 'content-type': 'application/x-www-form-urlencoded' }
    t.strictSame((await app.inject({ method: 'POST', url: '/form', payload: 'a=1&b=2', headers: { ...form, ...bearer() } })).json(), { a: '1', b: '2' })
    t.strictSame((await app.inject({ method: 'POST', url: '/hook', payload: 'a=1', headers: signed('a=1', form) })).json(), { bytes: true, same: true, type: form['content-type'] })
    t.strictSame(refusalOf(await app.inject({ method: 'POST', url: '/hook', payload: 'a=2', headers: signed('a=1', form) })), refusals.badSignature)
  })

  t.test(`the application's own parsers ${order} us see what is unsigned as ever, and of what is signed nothing`, async (t) => {
    const seen: string[] = []
    const app = await withOther(t, order, (app) => {
      app.addContentTypeParser('application/json', { parseAs: 'string' }, (_request, body, done) => { seen.push(`json ${body as string}`); done(null, { parsed: 'by the application' }) })
      app.addContentTypeParser('text/plain', { parseAs: 'buffer' }, (_request, body, done) => { seen.push(`text ${String(body)}`); done(null, 'by the application') })
      app.addContentTypeParser(/^application\/.*xml$/, { parseAs: 'string' }, (_request, body, done) => { seen.push(`xml ${body as string}`); done(null, 'xml') })
      app.addContentTypeParser('*', (_request, payload, done) => { seen.push('any'); payload.resume(); payload.on('end', () => { done(null, 'any') }) })
    })
    app.post('/unsigned', async (request) => ({ body: request.body }))
    app.post('/signed', { config: { auth: auth.webhook() } }, async (request) => ({ body: request.body }))
    app.post('/raw', { config: { auth: auth.public(), rawBody: true } }, async (request) => ({ body: request.body }))
    for (const [type, parsed] of [['application/json', { parsed: 'by the application' }], ['text/plain', 'by the application'], ['application/soap+xml', 'xml'], ['image/png', 'any'], [undefined, 'any']] as const) {
      const headers = type === undefined ? {} : { 'content-type': type }
      seen.length = 0
      t.strictSame((await app.inject({ method: 'POST', url: '/unsigned', payload: '{"a":1}', headers: { ...headers, ...bearer() } })).json(), { body: parsed })
      t.equal(seen.length, 1, `unsigned ${type}`)
      seen.length = 0
      const { 'x-webhook-signature': signature = '' } = signed('{"a":1}')
      t.equal((await app.inject({ method: 'POST', url: '/signed', payload: '{"a":1}', headers: { ...headers, 'x-webhook-signature': signature } })).statusCode, 200)
      t.equal((await app.inject({ method: 'POST', url: '/signed', payload: '{"a":2}', headers: { ...headers, 'x-webhook-signature': signature } })).statusCode, 401)
      t.equal((await app.inject({ method: 'POST', url: '/signed', payload: '{"a":2}', headers })).statusCode, 401)
      t.equal((await app.inject({ method: 'POST', url: '/raw', payload: '{"a":2}', headers })).statusCode, 200)
      t.strictSame(seen, [], `signed ${type}`)
    }
  })

  t.test(`the application's error handler ${order} us sees the AuthError, and the challenge survives it`, async (t) => {
    const app = await withOther(t, order, (app) => app.setErrorHandler((error, request, reply) => {
      const { code, statusCode } = error as unknown as { code: string, statusCode: number }
      reply.code(statusCode).send({ mine: code, type: request.headers['content-type'] ?? null })
    }))
    app.get('/', whoami)
    app.post('/hook', { config: { auth: auth.webhook() }, bodyLimit: 16 }, whoami)
    const answer = await app.inject('/')
    t.strictSame(answer.json(), { mine: 'AUTH_CREDENTIAL_MISSING', type: null })
    t.equal(answer.headers['www-authenticate'], 'Bearer realm="causeflow"')
    const bad = await app.inject({ method: 'POST', url: '/hook', payload: '{}', headers: signed('{ }', { 'content-type': 'application/json; charset=utf-8' }) })
    t.strictSame(bad.json(), { mine: 'AUTH_SIGNATURE_INVALID', type: 'application/json; charset=utf-8' }, 'it sees the client\'s content type')
    t.equal(bad.headers['www-authenticate'], 'Signature realm="causeflow", error="invalid_signature"')
    const large = await app.inject({ method: 'POST', url: '/hook', payload: '{"a":"longer than 16 bytes"}', headers: signed('{"a":"longer than 16 bytes"}', { 'content-type': 'application/json; charset=utf-8' }) })
    t.strictSame(large.json(), { mine: 'FST_ERR_CTP_BODY_TOO_LARGE', type: 'application/json; charset=utf-8' })
    t.equal(large.statusCode, 413)
  })

  for (const phase of ['onRequest', 'preParsing', 'preValidation', 'preHandler'] as const) {
    t.test(`a hook ${order} us that throws undefined in ${phase} opens nothing`, async (t) => {
      const faults = watchProcess(t)
      const reached: string[] = []
      const app = await withOther(t, order, (app) => app.addHook(phase as 'onRequest', () => { throw undefined })) // eslint-disable-line no-throw-literal -- the attack
      app.get('/get', async (request) => { reached.push(request.url); return {} })
      app.post('/post', async (request) => { reached.push(request.url); return {} })
      app.post('/hook', { config: { auth: auth.webhook() } }, async (request) => { reached.push(request.url); return {} })
      app.post('/both', { config: { auth: auth.all(auth.apiKey(), auth.webhook()) } }, async (request) => { reached.push(request.url); return {} })
      await app.ready()
      const skipped = order === 'before' && phase === 'onRequest'
      for (const request of [
        { url: '/get' },
        { url: '/get', headers: { authorization: 'Bearer nonsense' } },
        { method: 'POST', url: '/post', payload: {} },
        { method: 'POST', url: '/post' },
        { method: 'POST', url: '/hook' },
        { method: 'POST', url: '/hook', payload: '{}', headers: signed('{ }') },
        { method: 'POST', url: '/hook', payload: '{}', headers: { 'content-type': 'application/json' } },
        { method: 'POST', url: '/hook', headers: signed('') },
        { method: 'POST', url: '/both', payload: '{}', headers: signed('{}') }
      ] as const) {
        const { statusCode } = await app.inject(request as never)
        t.ok(statusCode === 401 || statusCode === 500, `${'method' in request ? request.method : 'GET'} ${request.url} ${statusCode}`)
      }
      t.strictSame(reached, [])
      // Where our own hook is skipped, those who may enter cannot; where it is not, they can.
      t.equal((await app.inject({ url: '/get', headers: bearer() })).statusCode, skipped ? 500 : 200)
      t.equal((await app.inject({ method: 'POST', url: '/hook', payload: '{}', headers: signed('{}') })).statusCode, skipped ? 500 : 200)
      t.strictSame(reached, skipped ? [] : ['/get', '/hook'])
      t.strictSame(faults, [])
    })
  }

  t.test(`no parser sees the body of a stranger where a hook ${order} us throws undefined in onRequest`, async (t) => {
    const seen: unknown[] = []
    const app = await withOther(t, order, (app) => app.addHook('onRequest', () => { throw undefined })) // eslint-disable-line no-throw-literal -- the attack
    app.removeAllContentTypeParsers()
    app.addContentTypeParser('*', { parseAs: 'buffer' }, (_request, body, done) => { seen.push(body); done(null, {}) })
    await app.register(async (scope) => {
      scope.post('/post', async () => ({}))
      scope.post('/hook', { config: { auth: auth.webhook() } }, async () => ({}))
    })
    for (const url of ['/post', '/hook']) {
      t.equal((await app.inject({ method: 'POST', url, payload: '{}', headers: signed('{ }') })).statusCode, order === 'before' ? 500 : 401)
    }
    t.strictSame(seen, [])
  })

  t.test(`hooks ${order} us that throw undefined in every phase at once open nothing`, async (t) => {
    let reached = 0
    const app = await withOther(t, order, (app) => {
      for (const phase of ['onRequest', 'preParsing', 'preValidation', 'preHandler']) app.addHook(phase as 'onRequest', () => { throw undefined }) // eslint-disable-line no-throw-literal -- the attack
    })
    app.get('/', async () => { reached++ })
    app.post('/hook', { config: { auth: auth.webhook() } }, async () => { reached++ })
    const skipped = order === 'before'
    t.equal((await app.inject('/')).statusCode, skipped ? 500 : 401)
    t.equal((await app.inject({ method: 'POST', url: '/hook', payload: '{}', headers: signed('{ }') })).statusCode, skipped ? 500 : 401)
    t.equal(reached, 0)
  })

  t.test(`@fastify/swagger ${order} us describes the routes`, async (t) => {
    const app = await withOther(t, order, (app) => app.register(fastifySwagger, { openapi: { info: { title: 'x', version: '1' } } }))
    app.get('/described', { schema: { summary: 'described' } }, whoami)
    await app.ready()
    t.equal((app.swagger() as { paths: Record<string, { get: { summary: string } }> }).paths['/described']?.get.summary, 'described')
    t.equal((await app.inject('/described')).statusCode, 401)
  })

  t.test(`a limiter by address, as a hook ${order} us, counts ${order === 'before' ? 'failed attempts as well' : 'only those who are let in'}`, async (t) => {
    const app = await withOther(t, order, async (app) => {
      await app.register(fastifyRateLimit, { global: false })
      app.addHook('onRequest', app.rateLimit({ max: 2, timeWindow: 60_000 }))
    })
    app.get('/', whoami)
    const statuses: number[] = []
    for (let i = 0; i < 4; i++) statuses.push((await app.inject('/')).statusCode)
    for (let i = 0; i < 3; i++) statuses.push((await app.inject({ url: '/', headers: bearer() })).statusCode)
    t.strictSame(statuses, order === 'before' ? [401, 401, 429, 429, 429, 429, 429] : [401, 401, 401, 401, 200, 200, 429])
  })
}

t.test('a limiter by tenant in preHandler counts each tenant over all of its keys, and no failed attempt; by key it counts each key', async (t) => {
  for (const [by, expected] of [['tenantId', [200, 200, 429, 429, 200, 401, 200]], ['keyId', [200, 200, 200, 200, 200, 401, 200]]] as const) {
    const app = Fastify()
    t.teardown(() => app.close())
    await app.register(fastifyRateLimit, { global: false })
    await app.register(causeflowAuth, { apiKey: { store: new MemoryApiKeyStore() }, default: auth.apiKey() })
    app.addHook('preHandler', app.rateLimit({ max: 2, timeWindow: 60_000, keyGenerator: (request) => principalOf(request, 'apiKey')[by] }))
    app.get('/', async () => 'in')
    const make = async (tenantId: string) => (await app.causeflowAuth.apiKeys.create({ tenantId, name: 'k' })).plaintextKey
    const [one, two, foreign] = [await make('ten_A'), await make('ten_A'), await make('ten_B')]
    const statuses: number[] = []
    for (const key of [one, one, two, two, foreign, 'guessed', foreign]) statuses.push((await app.inject({ url: '/', headers: { 'x-api-key': key } })).statusCode)
    t.strictSame(statuses, expected, by)
    t.equal((await app.inject({ url: '/', headers: { 'x-api-key': one } })).statusCode, 429)
  }
})

t.test('failed attempts are limited by address, before any key is looked at; requests that are let in are not counted', async (t) => {
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(fastifyRateLimit, { global: false })
  const failures = app.createRateLimit({ max: 3, timeWindow: 60_000 })
  app.addHook('onRequest', async (request, reply) => {
    const limit = await failures(request, { increment: false })
    if (!limit.isAllowed && limit.remaining === 0) return reply.code(429).send()
  })
  app.addHook('onSend', async (request, reply) => { if (reply.statusCode === 401) await failures(request) })
  let searches = 0
  class Counting extends MemoryApiKeyStore {
    override findByDigest (digest: string) {
      searches++
      return super.findByDigest(digest)
    }
  }
  await app.register(causeflowAuth, { apiKey: { store: new Counting() }, default: auth.apiKey() })
  app.get('/', async () => 'in')
  const { plaintextKey: good } = await app.causeflowAuth.apiKeys.create({ tenantId: 'ten_A', name: 'k' })
  const ask = async (key: string, remoteAddress = '203.0.113.1') => (await app.inject({ url: '/', headers: { 'x-api-key': key }, remoteAddress })).statusCode
  const statuses: number[] = []
  for (const key of [good, good, good, good, 'guessed', createApiKey().key, 'guessed']) statuses.push(await ask(key))
  t.strictSame(statuses, [200, 200, 200, 200, 401, 401, 401])
  const before = searches
  for (const key of [createApiKey().key, good, 'guessed']) t.equal(await ask(key), 429)
  t.equal(searches, before, 'nobody is asked any more')
  t.equal(await ask(good, '203.0.113.2'), 200, 'another address is another client')
})

t.test('of two limiters of @fastify/rate-limit a request passes the first alone', async (t) => {
  const app = await createApp(t, {
    before: async (app) => {
      await app.register(fastifyRateLimit, { global: false })
      app.addHook('onRequest', app.rateLimit({ max: 100, timeWindow: 60_000 }))
      app.addHook('preHandler', app.rateLimit({ max: 1, timeWindow: 60_000 }))
    }
  })
  app.get('/', whoami)
  for (let i = 0; i < 3; i++) t.equal((await app.inject({ url: '/', headers: bearer() })).statusCode, 200)
})

t.test('where a hook that throws undefined skips our first hook, a stranger is still told nothing of the schema', async (t) => {
  const app = await createApp(t, { before: (app) => app.addHook('onRequest', () => { throw undefined }) }) // eslint-disable-line no-throw-literal -- the attack
  app.post('/', { schema: { body: { type: 'object', required: ['name'] } } }, whoami)
  app.get('/:id', { schema: { params: { type: 'object', properties: { id: { type: 'integer' } } } } }, whoami)
  t.strictSame(refusalOf(await app.inject({ method: 'POST', url: '/', payload: {} })), refusals.undecidable)
  t.strictSame(refusalOf(await app.inject('/x')), refusals.undecidable)
})

t.test('a request goes through our later hooks where another hook stands before our first, or signatures are checked, and only there', async (t) => {
  const later = async (before?: (app: FastifyInstance) => unknown, child?: (app: FastifyInstance) => unknown, own: Parameters<typeof authOptions>[0] = { webhook: undefined }): Promise<string[]> => {
    const app = await createApp(t, before === undefined ? { auth: own } : { auth: own, before })
    await app.register(async (scope) => {
      await child?.(scope)
      scope.get('/x', whoami)
    })
    await app.ready()
    t.strictSame(refusalOf(await app.inject('/x')), refusals.noToken)
    return [...new Set(app.printRoutes({ includeHooks: true }).match(/causeflowAuth(?:Request|Unparsed|Unproved)/g))].sort()
  }
  const alone = ['causeflowAuthRequest']
  const guarded = ['causeflowAuthRequest', 'causeflowAuthUnparsed', 'causeflowAuthUnproved']
  const hook = (app: FastifyInstance): unknown => app.addHook('onRequest', async () => {})
  t.strictSame(await later(), alone)
  t.strictSame(await later((app) => app.addHook('preParsing', async () => {})), alone)
  t.strictSame(await later(hook), guarded)
  t.strictSame(await later((app) => { app.register(async (scope) => { hook(scope) }) }), guarded, 'in an early scope')
  t.strictSame(await later(undefined, hook), alone, 'a hook in a scope comes behind ours')
  t.strictSame(await later(undefined, (scope) => scope.register(causeflowAuth, { default: auth.jwt() })), alone, 'ours of another registration is ours')
  t.strictSame(await later(undefined, async (scope) => { hook(scope); await scope.register(causeflowAuth, { default: auth.jwt() }) }), guarded)
  t.strictSame(await later(undefined, undefined, {}), ['causeflowAuthRequest', 'causeflowAuthUnproved'])
})

for (const [what, change] of Object.entries({
  'sets the content type': (request) => { request.headers['content-type'] = 'application/json' },
  'sets new headers': (request) => { request.headers = { ...request.headers, 'content-type': 'application/json' } },
  'takes the content type away': (request) => { delete request.headers['content-type'] },
  'changes the method': (request) => { request.raw.method = 'GET' }
} satisfies Record<string, (request: FastifyRequest) => void>)) {
  t.test(`behind us a hook that ${what} leads no unsigned request past the check, and nobody sees a label of ours`, async (t) => {
    for (const phase of ['onRequest', 'preParsing'] as const) {
      const app = await createApp(t)
      const seen: unknown[] = []
      app.addHook(phase as 'onRequest', async (request) => { change(request) })
      app.addHook('preHandler', async (request) => { seen.push(request.headers['content-type'], request.raw.headers['content-type']) })
      app.addContentTypeParser('*', { parseAs: 'buffer' }, (_request, body, done) => { done(null, body) })
      await app.register(async (scope) => {
        scope.post('/hook', { config: { auth: auth.webhook() }, schema: { body: { type: 'object', required: ['name'] } } }, async () => 'in')
        scope.post('/kept', { config: { rawBody: true } }, async (request) => { seen.push(request.headers['content-type'], request.raw.headers['content-type']) })
      })
      const payload = '{"a":1}'
      t.strictSame(refusalOf(await app.inject({ method: 'POST', url: '/hook', payload, headers: signed('{ }', { 'content-type': 'text/plain' }) })).code, 'AUTH_SIGNATURE_INVALID', phase)
      t.strictSame(seen, [])
      t.equal((await app.inject({ method: 'POST', url: '/kept', payload, headers: { ...bearer(), 'content-type': 'text/plain' } })).statusCode, 200)
      t.ok(seen.length > 0 && seen.every((type) => type === undefined || !String(type).includes('causeflow')), String(seen))
    }
  })
}

t.test('a hook that is queued while the options are read stands before ours, and skips nothing', async (t) => {
  const app = Fastify()
  t.teardown(() => app.close())
  app.post('/early', async () => 'in')
  await app.register(causeflowAuth, (instance) => {
    instance.addHook('onRequest', () => { throw undefined }) // eslint-disable-line no-throw-literal -- the attack
    return { apiKey: { store: new MemoryApiKeyStore() }, default: auth.apiKey() }
  })
  await app.register(async (scope) => { scope.post('/late', async () => 'in') })
  for (const url of ['/early', '/late']) t.strictSame(refusalOf(await app.inject({ method: 'POST', url, payload: {} })), refusals.undecidable)
})

t.test('an application in which a hook got before ours unseen does not start', async (t) => {
  for (const where of ['the application', 'a scope']) {
    const app = await createApp(t, { auth: { webhook: undefined } })
    let within = app
    await app.register(async (scope) => { within = scope })
    const hooks = (instance: FastifyInstance): { onRequest: unknown[] } => {
      const symbol = Object.getOwnPropertySymbols(instance).find(({ description }) => description === 'fastify.hooks') as symbol
      return (instance as unknown as Record<symbol, { onRequest: unknown[] }>)[symbol] as { onRequest: unknown[] }
    }
    hooks(where === 'a scope' ? within : app).onRequest.unshift(() => { throw undefined }) // eslint-disable-line no-throw-literal -- the attack
    await t.rejects(async () => await app.ready(), { code: 'AUTH_CONFIG_REGISTRATION', message: /await app\.register\(causeflowAuth\)/ }, where)
  }
})

t.test('a signed OPTIONS request over HTTP/2 needs no length', async (t) => {
  const app = await createApp(t, { fastify: { http2: true } as never })
  app.route({ method: 'OPTIONS', url: '/hook', config: { auth: auth.webhook() }, handler: async ({ rawBody }) => rawBody?.toString() })
  await app.listen({ port: 0, host: '127.0.0.1' })
  const client = connect(`http://127.0.0.1:${(app.server.address() as AddressInfo).port}`)
  t.teardown(() => { client.close() })
  const answer = async (signature: Record<string, string>): Promise<[unknown, string]> => {
    const stream = client.request({ ':method': 'OPTIONS', ':path': '/hook', 'content-type': 'application/json', ...signature })
    stream.end('{"a":1}')
    const [[headers], body] = await Promise.all([once(stream, 'response'), text(stream)])
    return [(headers as Record<string, unknown>)[':status'], body]
  }
  const [status, body] = await answer(signed('{"a":1}'))
  // Some versions of Fastify parse no OPTIONS without a length, and what nobody has read is refused.
  t.ok(status === 200 ? body === '{"a":1}' : body.includes('AUTH_SIGNATURE_INVALID'), `${status} ${body}`)
  t.equal((await answer(signed('{ }')))[0], 401)
})

t.test('where the registration is not waited for, a hook written behind it that throws undefined opens nothing', async (t) => {
  const seen: unknown[] = []
  const app = Fastify()
  t.teardown(() => app.close())
  app.register(causeflowAuth, authOptions())
  app.addHook('onRequest', () => { throw undefined }) // eslint-disable-line no-throw-literal -- the attack
  app.addHook('preHandler', async (request) => { seen.push(request.url) })
  app.addContentTypeParser('application/x-probe', { parseAs: 'buffer' }, (_request, body, done) => { seen.push(body); done(null, body) })
  app.register(async (scope) => { scope.post('/x', async () => 'in') })
  t.strictSame(refusalOf(await app.inject({ method: 'POST', url: '/x', payload: 'x', headers: { 'content-type': 'application/x-probe' } })), refusals.noToken)
  t.strictSame(seen, [])
  t.equal((await app.inject({ method: 'POST', url: '/x', payload: 'x', headers: { 'content-type': 'application/x-probe', ...bearer() } })).body, 'in')
})

t.test('@fastify/cors before us answers preflights', async (t) => {
  const app = await createApp(t, { before: (app) => app.register(fastifyCors, { origin: 'https://app.example' }) })
  app.get('/x', whoami)
  const preflight = await app.inject({ method: 'OPTIONS', url: '/x', headers: { origin: 'https://app.example', 'access-control-request-method': 'GET', 'access-control-request-headers': 'authorization' } })
  t.equal(preflight.statusCode, 204)
  t.equal(preflight.headers['access-control-allow-origin'], 'https://app.example')
  const refused = await app.inject({ url: '/x', headers: { origin: 'https://app.example' } })
  t.equal(refused.statusCode, 401)
  t.equal(refused.headers['access-control-allow-origin'], 'https://app.example', 'a page can read the refusal')
})

t.test('@fastify/cors after us: its preflight route takes the default and is refused, which the order of registration mends', async (t) => {
  const app = await createApp(t)
  await app.register(fastifyCors, { origin: 'https://app.example' })
  app.get('/x', whoami)
  t.equal((await app.inject({ method: 'OPTIONS', url: '/x', headers: { origin: 'https://app.example', 'access-control-request-method': 'GET' } })).statusCode, 401)
  t.equal((await app.inject({ url: '/x', headers: bearer() })).statusCode, 200)
})

t.test('a documentation page is opened by a registration with default: auth.public() around it, and by nothing else', async (t) => {
  const app = await createApp(t)
  await app.register(fastifySwagger)
  await app.register(async (docs) => {
    await docs.register(causeflowAuth, { default: auth.public() })
    await docs.register(fastifySwaggerUi, { routePrefix: '/open' })
  })
  await app.register(fastifySwaggerUi, { routePrefix: '/closed' })
  app.get('/x', whoami)
  for (const path of ['', '/', '/json', '/static/index.html', '/static/swagger-ui.css']) {
    t.ok([200, 302].includes((await app.inject(`/open${path}`)).statusCode), `/open${path}`)
    t.equal((await app.inject(`/closed${path}`)).statusCode, 401, `/closed${path}`)
  }
  t.equal((await app.inject('/x')).statusCode, 401)
})

t.test('a documentation page that came before us is guarded by the default', async (t) => {
  const app = await createApp(t, {
    before: async (app) => {
      await app.register(fastifySwagger)
      await app.register(fastifySwaggerUi, { routePrefix: '/docs' })
    }
  })
  for (const path of ['', '/json', '/static/index.html']) {
    t.equal((await app.inject(`/docs${path}`)).statusCode, 401)
    t.ok([200, 302].includes((await app.inject({ url: `/docs${path}`, headers: bearer() })).statusCode))
  }
})

t.test('a limiter by principal, after us, counts each principal for itself', async (t) => {
  const app = await createApp(t)
  await app.register(fastifyRateLimit, { max: 1, timeWindow: 60_000, keyGenerator: (request) => request.principal?.scheme === 'jwt' ? request.principal.subject : 'nobody' })
  app.get('/', whoami)
  const asked = async (sub: string): Promise<number> => (await app.inject({ url: '/', headers: bearer({ sub }) })).statusCode
  t.strictSame([await asked('a'), await asked('a'), await asked('b'), await asked('b')], [200, 429, 200, 429])
})

t.test('@fastify/autoload loads the plugin before the routes, without a wrapper of ours', async (t) => {
  const app = Fastify()
  t.teardown(() => app.close())
  const folder = join(import.meta.dirname, 'fixtures', 'autoload')
  const options = { causeflowAuth, authOptions: authOptions(), auth }
  await app.register(fastifyAutoload, { dir: join(folder, 'plugins'), forceESM: true, options })
  await app.register(fastifyAutoload, { dir: join(folder, 'routes'), forceESM: true, options })
  t.equal((await app.inject('/open')).body, 'open')
  t.strictSame(refusalOf(await app.inject('/v1/me')), refusals.noToken)
  t.strictSame((await app.inject({ url: '/v1/me', headers: bearer() })).json(), { scheme: 'jwt' })
  t.strictSame((await app.inject({ method: 'POST', url: '/v1/hook', payload: '{}', headers: signed('{}') })).json(), { raw: '{}' })
  t.strictSame(refusalOf(await app.inject({ method: 'POST', url: '/v1/hook', payload: '{}', headers: bearer() })), refusals.noSignature)
})

t.test('a hook that answers by itself before us is not answered again', async (t) => {
  const app = await createApp(t, { before: (app) => { app.addHook('onRequest', async (request, reply) => { if (request.url === '/teapot') return reply.code(418).send('teapot') }) } })
  app.get('/teapot', whoami)
  app.get('/x', whoami)
  t.equal((await app.inject('/teapot')).statusCode, 418)
  t.equal((await app.inject('/x')).statusCode, 401)
})

t.test('an application may decorate its own instance and requests beside ours', async (t) => {
  const app = await createApp(t)
  // Their types are those of plugins that this file imports, and this application is without.
  app.decorate('auth', 'theirs' as never)
  app.decorateRequest('user', null as never)
  app.decorateRequest('auth', null as never)
  app.get('/', async (request) => ({ user: request.user, principal: request.principal?.scheme }))
  await app.ready()
  await issueKey(app)
  t.strictSame((await app.inject({ url: '/', headers: bearer() })).json(), { user: null, principal: 'jwt' })
})

t.test('@fastify/cors after the plugin is a warning that names the order, where its preflights are rejected', async (t) => {
  for (const [title, options, warned] of [['a default that asks for a token', {}, true], ['a public default', { default: auth.public() }, false]] as const) {
    for (const order of ['before', 'after'] as const) {
      const log = createLog()
      const app = Fastify({ logger: log.logger })
      t.teardown(() => app.close())
      if (order === 'before') await app.register(fastifyCors)
      await app.register(causeflowAuth, authOptions(options))
      if (order === 'after') await app.register(fastifyCors)
      app.get('/x', async () => 'in')
      await app.ready()
      t.equal(/Register @fastify\/cors first/.test(log.text()), warned && order === 'after', `${title}, ${order}`)
      const preflight = await app.inject({ method: 'OPTIONS', url: '/x', headers: { origin: 'https://app.example.com', 'access-control-request-method': 'GET' } })
      t.equal(preflight.statusCode, warned && order === 'after' ? 401 : 204)
    }
  }
})
