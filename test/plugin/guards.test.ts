import t from 'tap'
import fastifyAuth from '@fastify/auth'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { auth, causeflowAuth } from '../../lib/index.js'
import { bearer, createApp, createLog, issueKey, refusalOf, refusals, signed, token } from '../fixtures/app.js'
import { watchProcess } from '../fixtures/process-watch.js'

watchProcess(t)

const whoami = async (request: { principal: { scheme: string } | null }): Promise<object> => ({ scheme: request.principal?.scheme ?? null })

t.test('a guard in a scope\'s addHook decides where it runs, in addition to the route\'s rule', async (t) => {
  const app = await createApp(t)
  for (const phase of ['onRequest', 'preParsing', 'preValidation', 'preHandler'] as const) {
    await app.register(async (scope) => {
      scope.addHook(phase as 'preHandler', scope.causeflowAuth.require(auth.jwt().roles('admin')))
      scope.get('/', whoami)
      scope.get('/open', { config: { auth: auth.public() } }, whoami)
      scope.get('/t/:tenantId', { config: { auth: auth.public() } }, whoami)
    }, { prefix: `/${phase}` })
  }
  for (const phase of ['onRequest', 'preParsing', 'preValidation', 'preHandler'] as const) {
    for (const url of [`/${phase}`, `/${phase}/open`]) {
      t.strictSame(refusalOf(await app.inject(url)), refusals.noToken, url)
      t.equal((await app.inject({ url, headers: bearer() })).json().code, 'AUTH_ROLE_REQUIRED', url)
      t.strictSame((await app.inject({ url, headers: bearer({ roles: ['admin'] }) })).json(), { scheme: 'jwt' }, url)
    }
    t.equal((await app.inject({ url: `/${phase}/t/ten_b`, headers: bearer({ roles: ['admin'] }) })).json().code, 'AUTH_TENANT_MISMATCH', 'a guard binds the tenant of the URL as well')
    t.equal((await app.inject({ url: `/${phase}/t/ten_a`, headers: bearer({ roles: ['admin'] }) })).statusCode, 200)
  }
})

t.test('a guard in a scope\'s addHook decides by the innermost registration', async (t) => {
  const app = await createApp(t, { auth: { default: auth.public() } })
  app.addHook('onRequest', app.causeflowAuth.require(auth.jwt()))
  await app.register(async (scope) => {
    await scope.register(causeflowAuth, { jwt: { issuer: 'inner', audience: false, secret: 'a secret of an inner scope, 32 bytes and more' } })
    scope.get('/inner', { config: { auth: auth.public() } }, whoami)
  })
  const inner = { authorization: `Bearer ${token({ iss: 'inner' }, 'a secret of an inner scope, 32 bytes and more')}` }
  t.equal((await app.inject({ url: '/inner', headers: bearer() })).json().code, 'AUTH_TOKEN_INVALID')
  t.equal((await app.inject({ url: '/inner', headers: inner })).statusCode, 200)
})

t.test('a guard in a scope whose rule lacks its URL parameter is undecidable', async (t) => {
  const app = await createApp(t)
  app.addHook('onRequest', app.causeflowAuth.require(auth.jwt().tenant('org')))
  app.get('/no-parameter', { config: { auth: auth.public() } }, whoami)
  app.get('/org/:org', { config: { auth: auth.public() } }, whoami)
  t.strictSame(refusalOf(await app.inject({ url: '/no-parameter', headers: bearer() })), refusals.undecidable)
  t.equal((await app.inject({ url: '/org/ten_a', headers: bearer() })).statusCode, 200)
})

t.test('a guard with a signature that no route has recognised is undecidable, also where a token would do', async (t) => {
  const app = await createApp(t, { auth: { default: auth.public() } })
  let reached = 0
  for (const [prefix, rule] of [['/signed', auth.webhook()], ['/either', auth.any(auth.jwt(), auth.webhook())]] as const) {
    await app.register(async (scope) => {
      scope.addHook('preHandler', scope.causeflowAuth.require(rule))
      scope.post('/', async () => { reached++ })
    }, { prefix })
  }
  for (const url of ['/signed', '/either']) {
    t.strictSame(refusalOf(await app.inject({ method: 'POST', url, payload: '{}', headers: signed('{}') })), refusals.undecidable)
    t.strictSame(refusalOf(await app.inject({ method: 'POST', url, payload: '{}', headers: { 'content-type': 'application/json', ...bearer() } })), refusals.undecidable)
  }
  t.equal(reached, 0)
})

t.test('inside @fastify/auth with "or", either guard lets in, and no challenge is left on the answer', async (t) => {
  const app = await createApp(t, { auth: { default: auth.public() } })
  await app.register(fastifyAuth)
  const { jwt, apiKey } = app.causeflowAuth
  const never = (_request: FastifyRequest, _reply: FastifyReply, done: (error?: Error) => void): void => { done(new Error('never')) }
  const always = (_request: FastifyRequest, _reply: FastifyReply, done: (error?: Error) => void): void => { done() }
  app.get('/or', { preHandler: app.auth([jwt, apiKey]) }, whoami)
  app.get('/or-other', { preHandler: app.auth([jwt, always]) }, whoami)
  app.get('/or-all', { preHandler: app.auth([apiKey, jwt, never], { run: 'all' }) }, whoami)
  await app.ready()
  const { plaintextKey } = await issueKey(app)
  const tokens = await app.inject({ url: '/or', headers: bearer() })
  t.strictSame(tokens.json(), { scheme: 'jwt' })
  const keys = await app.inject({ url: '/or', headers: { 'x-api-key': plaintextKey } })
  t.strictSame(keys.json(), { scheme: 'apiKey' })
  const other = await app.inject('/or-other')
  t.strictSame(other.json(), { scheme: null })
  const all = await app.inject({ url: '/or-all', headers: bearer() })
  t.strictSame(all.json(), { scheme: 'jwt' })
  for (const { headers } of [tokens, keys, other, all]) t.equal(headers['www-authenticate'], undefined)
  t.strictSame(refusalOf(await app.inject('/or')), refusals.noKey, 'the last refusal is the answer, with its challenge')
})

t.test('inside @fastify/auth with "and", both have to let in', async (t) => {
  const app = await createApp(t, { auth: { default: auth.public() } })
  await app.register(fastifyAuth)
  const { jwt, apiKey } = app.causeflowAuth
  app.get('/and', { preHandler: app.auth([jwt, apiKey], { relation: 'and' }) }, whoami)
  await app.ready()
  const { plaintextKey } = await issueKey(app)
  t.strictSame(refusalOf(await app.inject({ url: '/and', headers: { 'x-api-key': plaintextKey } })), refusals.noToken)
  t.strictSame(refusalOf(await app.inject({ url: '/and', headers: bearer() })), refusals.noKey)
  t.equal((await app.inject({ url: '/and', headers: { ...bearer(), 'x-api-key': plaintextKey } })).statusCode, 200)
})

t.test('a guard inside @fastify/auth is in addition to the default', async (t) => {
  const app = await createApp(t)
  await app.register(fastifyAuth)
  app.get('/', { preHandler: app.auth([app.causeflowAuth.apiKey]) }, whoami)
  await app.ready()
  const { plaintextKey } = await issueKey(app)
  t.strictSame(refusalOf(await app.inject({ url: '/', headers: { 'x-api-key': plaintextKey } })), refusals.noToken)
  t.strictSame(refusalOf(await app.inject({ url: '/', headers: bearer() })), refusals.noKey)
})

t.test('a guard that refuses says so once in the log, and a guard\'s 503 says when to come back', async (t) => {
  const log = createLog()
  const app = await createApp(t, {
    fastify: { logger: log.logger },
    auth: { default: auth.public(), apiKey: { store: { findByDigest: () => { throw new Error('down') } } as never } }
  })
  app.addHook('preHandler', app.causeflowAuth.apiKey)
  app.get('/', whoami)
  t.strictSame(refusalOf(await app.inject('/')), refusals.noKey)
  t.equal(log.lines.filter(({ msg }) => msg === 'request refused').length, 1)
  const answer = await app.inject({ url: '/', headers: { 'x-api-key': 'cflo_' + '0'.repeat(64) } })
  t.strictSame(refusalOf(answer), { status: 503, code: 'AUTH_STORE_UNAVAILABLE', challenge: undefined })
  t.match(answer.headers['retry-after'], /^\d+$/)
})

t.test('a guard never has its hook go on twice: what a handler throws is answered once', async (t) => {
  const app = await createApp(t, { auth: { default: auth.public() } })
  app.addHook('preHandler', app.causeflowAuth.jwt)
  app.setErrorHandler((error, _request, reply) => { reply.code(418).send({ message: (error as Error).message }) })
  let reached = 0
  app.get('/throws', () => { reached++; throw new Error('thrown') })
  app.get('/odd', (_request, reply) => { reached++; reply.type('text/plain'); return { not: 'text' } as never })
  t.strictSame((await app.inject({ url: '/throws', headers: bearer() })).json(), { message: 'thrown' })
  t.equal((await app.inject({ url: '/odd', headers: bearer() })).statusCode, 418)
  t.equal(reached, 2)
})

t.test('authenticate() answers the principal, null where nothing was asked for, and touches nothing', async (t) => {
  const app = await createApp(t, { auth: { default: auth.public() } })
  app.get('/t/:tenantId', async (request, reply) => ({
    jwt: (await app.causeflowAuth.authenticate(request, auth.jwt()))?.scheme,
    optional: await app.causeflowAuth.authenticate(request, auth.apiKey().optional()),
    open: await app.causeflowAuth.authenticate(request, auth.public()),
    principal: request.principal,
    challenge: reply.getHeader('www-authenticate') ?? null
  }))
  t.strictSame((await app.inject({ url: '/t/ten_a', headers: bearer() })).json(), { jwt: 'jwt', optional: null, open: null, principal: null, challenge: null })
  t.equal((await app.inject({ url: '/t/ten_b', headers: bearer() })).json().code, 'AUTH_TENANT_MISMATCH')
  t.strictSame(refusalOf(await app.inject('/t/ten_a')), refusals.noToken, 'its refusal has a challenge when it is the answer')
})

t.test('authenticate() rejects with an AuthError that a handler may swallow', async (t) => {
  const app = await createApp(t, { auth: { default: auth.public() } })
  app.post('/', async (request) => {
    const codes: string[] = []
    for (const rule of [auth.jwt(), auth.deny(), auth.webhook(), auth.jwt('acme'), auth.jwt().tenant('nowhere'), 'jwt' as never]) {
      codes.push(await app.causeflowAuth.authenticate(request, rule).then(() => 'in', ({ code }: { code: string }) => code))
    }
    return codes
  })
  const answer = await app.inject({ method: 'POST', url: '/', payload: '{}', headers: signed('{}') })
  t.strictSame(answer.json(), ['AUTH_CREDENTIAL_MISSING', 'AUTH_DENIED', 'AUTH_RULE_UNDECIDABLE', 'AUTH_RULE_UNDECIDABLE', 'AUTH_RULE_UNDECIDABLE', 'AUTH_RULE_UNDECIDABLE'])
  t.equal(answer.headers['www-authenticate'], undefined)
})

t.test('a route that states a scope guard\'s very rule is decided once', async (t) => {
  const app = await createApp(t)
  let asked = 0
  const rule = auth.jwt().check('counted', () => { asked++; return true })
  app.addHook('preHandler', app.causeflowAuth.require(rule))
  app.get('/', { config: { auth: rule } }, whoami)
  t.equal((await app.inject({ url: '/', headers: bearer() })).statusCode, 200)
  t.equal(asked, 1)
})
