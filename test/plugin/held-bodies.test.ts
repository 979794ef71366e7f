// A credential that is revoked, replaced or expired while the body is held back: the body arrives with the next byte, the decision is old.
import t from 'tap'
import { createHmac } from 'node:crypto'
import { connect } from 'node:http2'
import type { FastifyInstance } from 'fastify'
import { auth, MemoryApiKeyStore, principalOf, type SecretAnswer } from '../../lib/index.js'
import { maxDecisionAge } from '../../lib/recheck.js'
import { bearer, createApp, issueKey, now, tokenSecret, webhookSecret, type AppSetup } from '../fixtures/app.js'
import { head, listen, open, readAnswer, type SocketAnswer } from '../fixtures/socket.js'
import type { Test } from 'tap'

const body = '{"a":1}'
const jwt = { issuer: 'causeflow', audience: 'causeflow-api', secret: tokenSecret }
const signature = (secret = webhookSecret): Record<string, string> => ({ 'x-webhook-signature': `sha256=${createHmac('sha256', secret).update(body).digest('hex')}` })

interface World {
  app: FastifyInstance
  port: number
  time: number
  reached: number
  /** Sends the head and the first byte, does something, moves the clock, and sends the rest. */
  hold (url: string, headers: Record<string, string>, between?: () => unknown, age?: number, method?: string): Promise<{ status: number, code: string | undefined, principal: unknown }>
}

async function world (t: Test, setup: AppSetup & { routes: (app: FastifyInstance, world: World) => unknown }): Promise<World> {
  const world: World = { app: null as never, port: 0, time: now, reached: 0, hold: null as never }
  world.app = await createApp(t, { ...setup, auth: { clock: () => world.time, ...setup.auth } })
  let decided: (() => void) | null = null
  // Its own hook behind the plugin's: the request has been decided when the client goes on.
  world.app.addHook('preParsing', (_request, _reply, payload, done) => {
    done(null, payload)
    decided?.()
  })
  await setup.routes(world.app, world)
  world.port = await listen(world.app)
  world.hold = async (url, headers, between = () => {}, age = maxDecisionAge + 1, method = 'POST') => {
    const socket = await open(world.port)
    t.teardown(() => { socket.destroy() })
    const isDecided = new Promise<void>((resolve) => { decided = resolve })
    const answer = readAnswer(socket)
    socket.write(head(method, url, { 'content-type': 'application/json', 'content-length': body.length, ...headers }))
    socket.write(body.slice(0, 1))
    // Rejected before its body: the answer comes first.
    await Promise.race([isDecided, answer])
    await between()
    world.time += age
    socket.write(body.slice(1))
    return read(await answer)
  }
  return world
}

function read ({ status, body }: SocketAnswer): { status: number, code: string | undefined, principal: unknown } {
  const { code, principal } = JSON.parse(body) as { code?: string, principal?: unknown }
  return { status, code, principal }
}

const accepted = { status: 200, code: undefined }
const handler = (world: World) => async (request: { principal: unknown }) => {
  world.reached++
  return { principal: request.principal }
}

t.test('a key that is revoked while the body is held back is rejected', async (t) => {
  const routes = { config: { auth: auth.apiKey() } }
  const w = await world(t, {
    routes: (app, w) => {
      app.post('/', routes, handler(w))
      app.post('/raw', { config: { auth: auth.apiKey(), rawBody: true } }, handler(w))
      app.route({ method: ['GET', 'DELETE', 'OPTIONS', 'PATCH', 'PUT'], url: '/', ...routes, handler: handler(w) })
    }
  })
  for (const [method, url] of [['POST', '/'], ['PUT', '/'], ['PATCH', '/'], ['DELETE', '/'], ['OPTIONS', '/'], ['POST', '/raw']] as const) {
    const { keyId, plaintextKey } = await issueKey(w.app)
    const headers = { 'x-api-key': plaintextKey }
    t.match(await w.hold(url, headers, undefined, undefined, method), { ...accepted, principal: { keyId } })
    w.reached = 0
    t.match(await w.hold(url, headers, () => w.app.causeflowAuth.apiKeys.revoke({ tenantId: 'ten_a', keyId }), undefined, method), { status: 401, code: 'AUTH_API_KEY_INVALID' }, `${method} ${url}`)
    t.equal(w.reached, 0)
  }
})

t.test('a key that is revoked is rejected after chunks, without a content-length', async (t) => {
  const w = await world(t, { routes: (app, w) => { app.post('/', { config: { auth: auth.apiKey() } }, handler(w)) } })
  const { keyId, plaintextKey } = await issueKey(w.app)
  const socket = await open(w.port)
  t.teardown(() => { socket.destroy() })
  const answer = readAnswer(socket)
  socket.write(head('POST', '/', { 'content-type': 'application/json', 'transfer-encoding': 'chunked', 'x-api-key': plaintextKey }))
  socket.write('1\r\n{\r\n')
  for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setImmediate(resolve))
  await w.app.causeflowAuth.apiKeys.revoke({ tenantId: 'ten_a', keyId })
  w.time += maxDecisionAge + 1
  socket.write('6\r\n"a":1}\r\n0\r\n\r\n')
  t.match(read(await answer), { status: 401, code: 'AUTH_API_KEY_INVALID' })
  t.equal(w.reached, 0)
})

t.test('a token that expires, or whose session is revoked, while the body is held back is rejected', async (t) => {
  let isRevoked: unknown = false
  const w = await world(t, {
    // Made when it is asked for: a promise that is rejected before is nobody's yet.
    auth: { jwt: { ...jwt, isRevoked: async () => { if (isRevoked instanceof Error) throw isRevoked; return isRevoked as boolean } } },
    routes: (app, w) => { app.post('/', { config: { auth: auth.jwt() } }, handler(w)) }
  })
  t.match(await w.hold('/', bearer()), { ...accepted, principal: { subject: 'usr_1' } })
  t.match(await w.hold('/', bearer(), () => { isRevoked = true }), { status: 401, code: 'AUTH_TOKEN_INVALID' })
  isRevoked = false
  t.match(await w.hold('/', bearer(), () => { isRevoked = new Error('down') }), { status: 503, code: 'AUTH_STORE_UNAVAILABLE' })
  isRevoked = false
  t.match(await w.hold('/', bearer({ sub: 'usr_9' }), undefined, 66_000), { status: 401, code: 'AUTH_TOKEN_EXPIRED' }, 'seen for the first time')
  w.time = now
  t.match(await w.hold('/', bearer(), undefined, 66_000), { status: 401, code: 'AUTH_TOKEN_EXPIRED' }, 'cached')
  t.equal(w.reached, 1)
})

t.test('a role, scope, tenant or check that is taken away while the body is held back is rejected', async (t) => {
  const memory = new MemoryApiKeyStore()
  let scopes = ['write']
  let tenantId = 'ten_a'
  let passes: boolean | Promise<boolean> = true
  const store = Object.assign(Object.create(memory) as MemoryApiKeyStore, {
    invalidation: undefined,
    findByDigest: async (digest: string) => {
      const record = await memory.findByDigest(digest)
      return record === null ? null : { ...record, scopes, tenantId }
    },
    create: memory.create.bind(memory)
  })
  const w = await world(t, {
    auth: { apiKey: { store, cache: false } },
    routes: (app, w) => {
      app.post('/:tenantId', { config: { auth: auth.apiKey().scopes('write') } }, handler(w))
      app.post('/check', { config: { auth: auth.apiKey().check('own', () => passes) } }, handler(w))
    }
  })
  const { plaintextKey } = await issueKey(w.app)
  const headers = { 'x-api-key': plaintextKey }
  t.match(await w.hold('/ten_a', headers), accepted)
  t.match(await w.hold('/ten_a', headers, () => { scopes = [] }), { status: 403, code: 'AUTH_SCOPE_REQUIRED' })
  scopes = ['write', 'more']
  t.match(await w.hold('/ten_a', headers, () => { scopes = ['write'] }), { ...accepted, principal: { scopes: ['write'] } }, 'the principal is the one of the second decision')
  t.match(await w.hold('/ten_a', headers, () => { tenantId = 'ten_b' }), { status: 403, code: 'AUTH_TENANT_MISMATCH' })
  t.match(await w.hold('/check', headers, () => { passes = false }), { status: 403, code: 'AUTH_CHECK_FAILED' })
  passes = true
  t.match(await w.hold('/check', headers, () => { passes = Promise.resolve(false) }), { status: 403, code: 'AUTH_CHECK_FAILED' })
  t.equal(w.reached, 2)
})

t.test('a webhook secret that is replaced, a signing key that is revoked, while the body is held back is rejected', async (t) => {
  let secret: SecretAnswer | Promise<SecretAnswer> | Error = webhookSecret
  let asked = 0
  const w = await world(t, {
    auth: { webhook: { secret: () => { asked++; return secret instanceof Error ? Promise.reject(secret) : secret } } },
    routes: (app, w) => {
      app.post('/hook', { config: { auth: auth.webhook() } }, handler(w))
      app.post('/both', { config: { auth: auth.all(auth.apiKey(), auth.webhook()) } }, handler(w))
      app.post('/either', { config: { auth: auth.any(auth.apiKey(), auth.webhook()) } }, handler(w))
    }
  })
  t.match(await w.hold('/hook', signature()), { ...accepted, principal: { scheme: 'webhook' } })
  t.equal(asked, 2)
  t.match(await w.hold('/hook', signature(), undefined, maxDecisionAge), accepted)
  t.equal(asked, 3, 'at the bound the secret is not asked for again')
  t.match(await w.hold('/hook', signature(), () => { secret = 'another' }), { status: 401, code: 'AUTH_SIGNATURE_INVALID' })
  secret = webhookSecret
  t.match(await w.hold('/hook', signature(), () => { secret = Promise.resolve(['another']) }), { status: 401, code: 'AUTH_SIGNATURE_INVALID' })
  secret = webhookSecret
  t.match(await w.hold('/hook', signature(), () => { secret = new Error('down') }), { status: 503, code: 'AUTH_STORE_UNAVAILABLE' })
  secret = 'another'
  t.match(await w.hold('/hook', signature(), () => { secret = webhookSecret }), accepted, 'and one that has come meanwhile counts')
  secret = webhookSecret
  w.reached = 0
  for (const [url, more] of [['/both', signature()], ['/either', {}]] as const) {
    const { keyId, plaintextKey } = await issueKey(w.app)
    t.match(await w.hold(url, { 'x-api-key': plaintextKey, ...more }), { ...accepted, principal: { keyId } })
    t.match(await w.hold(url, { 'x-api-key': plaintextKey, ...more }, () => w.app.causeflowAuth.apiKeys.revoke({ tenantId: 'ten_a', keyId })), { status: 401, code: 'AUTH_API_KEY_INVALID' }, url)
  }
  t.equal(w.reached, 2)
})

t.test('guards in the hooks of a scope, and early routes, decide again as well', async (t) => {
  let isRevoked = false
  const w = await world(t, {
    auth: { default: auth.public(), jwt: { ...jwt, isRevoked: () => isRevoked } },
    before: (app) => { app.post('/early', { config: { auth: auth.jwt() } }, async (request) => ({ principal: request.principal })) },
    routes: async (app, w) => {
      for (const phase of ['onRequest', 'preParsing', 'preValidation', 'preHandler'] as const) {
        await app.register(async (scope) => {
          scope.addHook(phase as 'onRequest', app.causeflowAuth.jwt as never)
          scope.post('/public', handler(w))
          scope.post('/key', { config: { auth: auth.apiKey() } }, handler(w))
        }, { prefix: `/${phase}` })
      }
    }
  })
  const { plaintextKey } = await issueKey(w.app)
  for (const phase of ['onRequest', 'preParsing', 'preValidation', 'preHandler']) {
    for (const [url, headers] of [[`/${phase}/public`, bearer()], [`/${phase}/key`, { ...bearer(), 'x-api-key': plaintextKey }]] as const) {
      t.match(await w.hold(url, headers), { ...accepted, principal: { scheme: url.endsWith('/key') ? 'apiKey' : 'jwt' } }, url)
      w.reached = 0
      t.match(await w.hold(url, headers, () => { isRevoked = true }), { status: 401, code: 'AUTH_TOKEN_INVALID' }, url)
      t.equal(w.reached, 0)
      isRevoked = false
    }
  }
  t.match(await w.hold('/early', bearer()), { ...accepted, principal: { scheme: 'jwt' } })
  t.match(await w.hold('/early', bearer(), () => { isRevoked = true }), { status: 401, code: 'AUTH_TOKEN_INVALID' }, 'an early route')
})

t.test('an early route in a scope whose routes nobody can list decides again as well', async (t) => {
  let isRevoked = false
  const w = await world(t, {
    routes: async (app) => {
      await app.register(async (scope) => {
        scope.post('/child', { config: { auth: auth.jwt() } }, async (request) => ({ principal: request.principal }))
      })
    },
    auth: { jwt: { ...jwt, isRevoked: () => isRevoked } }
  })
  t.match(await w.hold('/child', bearer()), accepted)
  t.match(await w.hold('/child', bearer(), () => { isRevoked = true }), { status: 401, code: 'AUTH_TOKEN_INVALID' })
})

t.test('a body that comes at once causes no second decision', async (t) => {
  const memory = new MemoryApiKeyStore()
  const calls = { store: 0, isRevoked: 0, check: 0, secret: 0, clock: 0 }
  const store = Object.assign(Object.create(memory) as MemoryApiKeyStore, {
    invalidation: undefined,
    findByDigest: (digest: string) => { calls.store++; return memory.findByDigest(digest) },
    create: memory.create.bind(memory)
  })
  const w = await world(t, {
    auth: { apiKey: { store, cache: false }, jwt: { ...jwt, isRevoked: () => { calls.isRevoked++; return false } }, webhook: { secret: () => { calls.secret++; return webhookSecret } } },
    routes: (app, w) => {
      app.post('/', { config: { auth: auth.all(auth.jwt(), auth.apiKey()).check('own', () => { calls.check++; return true }) } }, handler(w))
      app.post('/hook', { config: { auth: auth.webhook() } }, handler(w))
    }
  })
  const { plaintextKey } = await issueKey(w.app)
  const headers = { ...bearer(), 'x-api-key': plaintextKey }
  for (const age of [0, 1, maxDecisionAge]) {
    Object.assign(calls, { store: 0, isRevoked: 0, check: 0, secret: 0 })
    t.match(await w.hold('/', headers, undefined, age), accepted)
    t.match(await w.hold('/hook', signature(), undefined, age), accepted)
    t.match(calls, { store: 1, isRevoked: 1, check: 1, secret: 1 }, `after ${age} ms`)
  }
  Object.assign(calls, { store: 0, isRevoked: 0, check: 0, secret: 0 })
  t.match(await w.hold('/', headers), accepted)
  t.match(await w.hold('/hook', signature()), accepted)
  t.match(calls, { store: 2, isRevoked: 2, check: 2, secret: 2 }, 'and one that comes later one more')
})

t.test('a clock that goes back, or returns no number, makes every decision old', async (t) => {
  let calls = 0
  let broken: unknown = null
  const w = await world(t, { routes: (app, w) => { app.post('/', { config: { auth: auth.jwt().check('own', () => { calls++; return true }) } }, handler(w)) } })
  const moved: { world?: { time: number } } = {}
  const clocked = await world(t, {
    auth: { clock: () => { if (broken instanceof Error) throw broken; return (broken !== null ? broken : moved.world?.time ?? now) as number } },
    routes: (app, world) => { app.post('/', { config: { auth: auth.apiKey().check('own', () => { calls++; return true }) } }, handler(world)) }
  })
  moved.world = clocked
  t.match(await w.hold('/', bearer(), undefined, -1), accepted)
  t.equal(calls, 2)
  const { plaintextKey } = await issueKey(clocked.app)
  for (const value of [NaN, undefined, 'now', new Error('no clock')]) {
    calls = 0
    const { status } = await clocked.hold('/', { 'x-api-key': plaintextKey }, () => { broken = value })
    t.ok(status === 200 ? calls === 2 : status >= 400, `${String(value)}: ${status}`)
    broken = null
  }
})

t.test('a hook of preValidation that ends its phase does not keep an old decision', async (t) => {
  const w = await world(t, {
    routes: (app, w) => {
      app.addHook('preValidation', () => { throw undefined }) // eslint-disable-line no-throw-literal -- the attack
      app.post('/', { config: { auth: auth.jwt() } }, handler(w))
    }
  })
  t.match(await w.hold('/', bearer(), undefined, 0), accepted)
  t.match(await w.hold('/', bearer()), { status: 500, code: 'AUTH_RULE_UNDECIDABLE' })
  t.equal(w.reached, 1)
})

t.test('a rejected second decision shows no principal and no proofs to an error handler', async (t) => {
  let isRevoked = false
  const seen: unknown[] = []
  const w = await world(t, {
    auth: { jwt: { ...jwt, isRevoked: () => isRevoked } },
    routes: (app, w) => {
      app.setErrorHandler((error, request, reply) => {
        seen.push(request.principal)
        try { seen.push(principalOf(request, 'apiKey')) } catch (error) { seen.push((error as { code: string }).code) }
        return reply.send(error)
      })
      app.post('/', { config: { auth: auth.all(auth.jwt(), auth.apiKey()) } }, handler(w))
    }
  })
  const { plaintextKey } = await issueKey(w.app)
  const headers = { ...bearer(), 'x-api-key': plaintextKey }
  t.match(await w.hold('/', headers), { ...accepted, principal: { proofs: ['jwt', 'apiKey'] } })
  t.match(await w.hold('/', headers, () => { isRevoked = true }), { status: 401 })
  t.strictSame(seen, [null, 'AUTH_CREDENTIAL_MISSING'])
})

t.test('a body over HTTP/2, which announces none, is held back in vain', async (t) => {
  let isRevoked = false
  let time = now
  const app = await createApp(t, { fastify: { http2: true } as never, auth: { clock: () => time, jwt: { ...jwt, isRevoked: () => isRevoked } } })
  let decided: () => void = () => {}
  app.addHook('preParsing', (_request, _reply, payload, done) => { done(null, payload); decided() })
  app.post('/', { config: { auth: auth.jwt() } }, async () => 'reached')
  await app.listen({ port: 0, host: '127.0.0.1' })
  const session = connect(`http://127.0.0.1:${(app.server.address() as { port: number }).port}`)
  t.teardown(() => { session.destroy() })
  const hold = async (between: () => void): Promise<unknown> => {
    const isDecided = new Promise<void>((resolve) => { decided = resolve })
    const stream = session.request({ ':method': 'POST', ':path': '/', 'content-type': 'application/json', ...bearer() })
    const status = new Promise((resolve) => stream.on('response', (headers) => { resolve(headers[':status']) }))
    stream.resume().write('{')
    await isDecided
    between()
    time += maxDecisionAge + 1
    stream.end('"a":1}')
    return await status
  }
  t.equal(await hold(() => {}), 200)
  t.equal(await hold(() => { isRevoked = true }), 401)
})

t.test('a GET request that announces a body is not decided again: Fastify reads none', async (t) => {
  let time = now
  const app = await createApp(t, { auth: { clock: () => time } })
  app.get('/', { preHandler: (_request, _reply, done) => { time += 1000; done() } }, async () => 'in')
  t.equal((await app.inject({ url: '/', headers: { ...bearer(), 'transfer-encoding': 'chunked' } })).statusCode, 200)
  t.equal((await app.inject({ method: 'HEAD', url: '/', headers: { ...bearer(), 'content-length': '3' } })).statusCode, 200)
})

t.test('a token that is revoked while the body is held back is rejected by a not-found handler', async (t) => {
  let isRevoked = false
  const places: Record<string, (app: FastifyInstance, w: World) => unknown> = {
    config: (app, w) => { app.setNotFoundHandler({ config: { auth: auth.jwt() } } as object, handler(w) as never) },
    preHandler: (app, w) => { app.setNotFoundHandler({ preHandler: app.causeflowAuth.jwt }, handler(w) as never) },
    preValidation: (app, w) => { app.setNotFoundHandler({ preValidation: app.causeflowAuth.jwt }, handler(w) as never) },
    'a guard of the scope': (app, w) => { app.addHook('onRequest', app.causeflowAuth.jwt); app.setNotFoundHandler(handler(w) as never) },
    'a guard of the scope, in preParsing': (app, w) => { app.addHook('preParsing', app.causeflowAuth.jwt as never); app.setNotFoundHandler({ preHandler: async () => {} }, handler(w) as never) }
  }
  for (const [title, routes] of Object.entries(places)) {
    isRevoked = false
    const w = await world(t, { auth: { default: auth.public(), jwt: { ...jwt, isRevoked: async () => isRevoked } }, routes })
    t.match(await w.hold('/nothing', bearer()), { ...accepted, principal: { scheme: 'jwt' } }, title)
    t.match(await w.hold('/nothing', bearer(), async () => { await new Promise((resolve) => setImmediate(resolve)); isRevoked = true }), { status: 401, code: 'AUTH_TOKEN_INVALID' }, title)
    t.equal(w.reached, 1, title)
  }
})

t.test('a GET that an application has given a body is decided again', async (t) => {
  let isRevoked = false
  const places: Record<string, (app: FastifyInstance, w: World) => unknown> = {
    'a rule': (app, w) => { app.get('/', { config: { auth: auth.jwt() } }, handler(w)) },
    'a guard': (app, w) => { app.addHook('onRequest', app.causeflowAuth.jwt); app.get('/', { config: { auth: auth.public() } }, handler(w)) },
    'a not-found handler': (app, w) => { app.setNotFoundHandler({ config: { auth: auth.jwt() } } as object, handler(w) as never) }
  }
  for (const [title, place] of Object.entries(places)) {
    for (const when of ['before', 'after'] as const) {
      isRevoked = false
      const w = await world(t, {
        auth: { jwt: { ...jwt, isRevoked: async () => isRevoked } },
        routes: (app, w) => {
          app.removeContentTypeParser('application/json')
          // A parser that keeps nothing, as one that counts or stores a stream does.
          app.addContentTypeParser('application/json', (_request, payload, done) => { payload.resume().on('end', () => { done(null) }) })
          if (when === 'before') app.addHttpMethod('GET', { hasBody: true })
          place(app, w)
          if (when === 'after') app.addHttpMethod('GET', { hasBody: true })
        }
      })
      t.match(await w.hold('/', bearer(), undefined, 0, 'GET'), accepted, title)
      if (when === 'before') t.match(await w.hold('/', bearer(), undefined, undefined, 'GET'), accepted, 'a good credential')
      const { reached } = w
      t.not((await w.hold('/', bearer(), () => { isRevoked = true }, undefined, 'GET')).status, 200, `${title}, the method given ${when} the route`)
      t.equal(w.reached, reached)
    }
  }
})

t.test('over HTTP/2 a stream that stays open has a body to come, whatever its content-length says', async (t) => {
  for (const method of ['GET', 'POST']) {
    let isRevoked = false
    let time = now
    let reached = 0
    let decided = (): void => {}
    const app = await createApp(t, { fastify: { http2: true } as never, auth: { clock: () => time, jwt: { ...jwt, isRevoked: async () => isRevoked } } })
    app.addHttpMethod('GET', { hasBody: true })
    app.addHook('preParsing', (_request, _reply, payload, done) => { done(null, payload); decided() })
    app.route({ method, url: '/', config: { auth: auth.jwt() }, handler: async () => { reached++; return 'in' } })
    const port = await listen(app)
    const client = connect(`http://127.0.0.1:${port}`)
    t.teardown(() => { client.destroy() })
    const ask = async (between: () => void): Promise<unknown> => {
      const isDecided = new Promise<void>((resolve) => { decided = resolve })
      const stream = client.request({ ':method': method, ':path': '/', 'content-type': 'text/plain', 'content-length': 0, ...bearer() }, { endStream: false })
      const answer = new Promise((resolve, reject) => { stream.on('response', (headers) => { resolve(headers[':status']) }).on('error', reject) })
      stream.resume()
      await Promise.race([isDecided, answer])
      between()
      time += maxDecisionAge + 1
      stream.end()
      return await answer
    }
    t.equal(await ask(() => {}), 200, method)
    t.equal(await ask(() => { isRevoked = true }), 401, method)
    t.equal(reached, 1)
  }
})
