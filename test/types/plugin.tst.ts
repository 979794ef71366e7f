import Fastify from 'fastify'
import type { FastifyInstance, FastifyReply, FastifyRequest, LightMyRequestResponse, preHandlerHookHandler, preParsingHookHandler, preValidationHookHandler, onRequestHookHandler } from 'fastify'
import type { FastifyAuthFunction } from '@fastify/auth'
import type * as Https from 'node:https'
import type { Http2SecureServer, Http2ServerRequest, Http2ServerResponse } from 'node:http2'
import { Type } from '@sinclair/typebox'
import type { TypeBoxTypeProvider } from '@fastify/type-provider-typebox'
import { describe, expect, test } from 'tstyche'
import { injectAs } from '../../lib/testing/index.js'
import causeflowAuth, { PrincipalSchema, apiKeyRoutes, auth, bindPrincipalToLog, causeflowErrorHandler, principalOf, problemErrorHandler, type ApiKeyPrincipal, type ApiKeys, type Guard, type JwtPrincipal, type Principal, type WebhookPrincipal } from '../../lib/index.js'

declare const app: FastifyInstance
declare const request: FastifyRequest
const handler = async () => 'ok'

describe('config.auth', () => {
  test('takes a rule', () => {
    app.get('/a', { config: { auth: auth.public() } }, handler)
    app.post('/b', { config: { auth: auth.all(auth.apiKey(), auth.webhook()), rawBody: true } }, handler)
    app.route({ method: 'GET', url: '/c', config: { auth: auth.jwt('staff').optional() }, handler })
  })

  test('takes no name, no builder, no look-alike and no list', () => {
    type Config = NonNullable<FastifyRequest['routeOptions']['config']>
    expect<'public'>().type.not.toBeAssignableTo<Config['auth']>()
    expect<true>().type.not.toBeAssignableTo<Config['auth']>()
    expect<null>().type.not.toBeAssignableTo<Config['auth']>()
    expect<typeof auth.jwt>().type.not.toBeAssignableTo<Config['auth']>()
    expect<typeof auth>().type.not.toBeAssignableTo<Config['auth']>()
    expect<{ roles: string[] }>().type.not.toBeAssignableTo<Config['auth']>()
    expect<Array<ReturnType<typeof auth.jwt>>>().type.not.toBeAssignableTo<Config['auth']>()
    expect(app.get).type.not.toBeCallableWith('/', { config: { auth: 'jwt' } }, handler)
    expect(app.get).type.not.toBeCallableWith('/', { config: { rawBody: 'yes' } }, handler)
  })
})

describe('request.principal', () => {
  test('may be nobody', () => {
    expect(request.principal).type.toBe<Principal | null>()
    expect(request.rawBody).type.toBe<Buffer | null>()
  })

  test('is narrowed by its scheme', () => {
    const { principal } = request
    switch (principal?.scheme) {
      case 'jwt': expect(principal).type.toBe<JwtPrincipal>(); break
      case 'apiKey': expect(principal).type.toBe<ApiKeyPrincipal>(); break
      case 'webhook': expect(principal).type.toBe<WebhookPrincipal>(); break
      default: expect(principal).type.toBe<null>()
    }
    if (request.principal?.scheme === 'jwt') expect(request.principal.subject).type.toBe<string>()
  })

  test('knows of claims and roles no more than that', () => {
    const { claims, roles } = principalOf(request, 'jwt')
    expect(claims).type.toBe<Readonly<Record<string, unknown>>>()
    expect(roles).type.toBe<readonly string[]>()
  })
})

describe('principalOf', () => {
  test('takes a request of any kind', () => {
    app.get<{ Params: { id: string } }>('/:id', async (request) => principalOf(request, 'jwt').subject)
    expect(principalOf(request, 'jwt')).type.toBe<JwtPrincipal>()
    expect(principalOf(request, 'jwt', 'apiKey')).type.toBe<JwtPrincipal | ApiKeyPrincipal>()
    expect(principalOf(request)).type.toBe<Principal>()
    expect(principalOf).type.not.toBeCallableWith(request, 'bearer')
    expect(principalOf).type.not.toBeCallableWith(app)
  })
})

describe('a guard', () => {
  const guard = app.causeflowAuth.require(auth.jwt().roles('admin'))

  test('is what require makes and what stands ready', () => {
    expect(guard).type.toBe<Guard>()
    expect(app.causeflowAuth.jwt).type.toBe<Guard>()
    expect(app.causeflowAuth.apiKey).type.toBe<Guard>()
    expect(app.causeflowAuth.webhook).type.toBe<Guard>()
    expect(app.causeflowAuth.require).type.not.toBeCallableWith('jwt')
    expect(app.causeflowAuth.require).type.not.toBeCallableWith(auth.jwt)
    expect(app.causeflowAuth.require).type.not.toBeCallableWith()
  })

  test('is a hook of every phase before the handler, alone and in a list', () => {
    expect(guard).type.toBeAssignableTo<onRequestHookHandler>()
    expect(guard).type.toBeAssignableTo<preHandlerHookHandler>()
    app.get('/a', { onRequest: guard }, handler)
    app.get('/b', { preParsing: guard }, handler)
    app.get('/c', { preValidation: [guard] }, handler)
    app.get('/d', { preHandler: [guard, async (request: FastifyRequest, reply: FastifyReply) => { reply.header('x', request.id) }] }, handler)
    app.addHook('onRequest', guard)
    app.addHook('preHandler', guard)
  })

  test('is a hook of every phase, of @fastify/auth and of a scope, on every server', () => {
    expect(guard).type.toBeAssignableTo<preParsingHookHandler>()
    expect(guard).type.toBeAssignableTo<preValidationHookHandler>()
    expect(guard).type.toBeAssignableTo<FastifyAuthFunction>()
    app.addHook('preParsing', guard)
    app.addHook('preValidation', guard)
    app.get('/auth', { preHandler: app.auth([guard, [guard, app.causeflowAuth.jwt]], { relation: 'and' }) }, handler)
    app.setNotFoundHandler({ preValidation: guard, preHandler: guard }, handler)
    for (const secure of [Fastify({ https: {} }), Fastify<Https.Server>({ https: {} })]) {
      secure.get('/', { onRequest: guard, preParsing: guard, preValidation: guard, preHandler: [guard] }, handler)
      secure.addHook('onRequest', guard)
      secure.addHook('preHandler', async (request, reply) => { await guard(request, reply) })
    }
    const http2 = Fastify<Http2SecureServer, Http2ServerRequest, Http2ServerResponse>({ http2: true, https: {} })
    http2.get('/', { onRequest: guard, preParsing: guard, preValidation: guard, preHandler: [guard] }, handler)
    http2.addHook('onRequest', guard)
    http2.addHook('preParsing', guard)
    http2.addHook('preHandler', async (request, reply) => { await guard(request, reply) })
  })

  test('is a promise without a callback, and nothing with one', () => {
    app.addHook('preHandler', async (request, reply) => {
      expect(guard(request, reply)).type.toBe<Promise<void>>()
      await guard(request, reply)
    })
    app.addHook('preHandler', (request, reply) => guard(request, reply))
    app.addHook('preHandler', (request, reply, done) => { expect(guard(request, reply, done)).type.toBe<void>() })
    app.addHook('preParsing', (request, reply, payload, done) => { expect(guard(request, reply, payload, done)).type.toBe<void>() })
    app.auth([async (request, reply) => { await guard(request, reply) }, (request, reply, done) => { guard(request, reply, done) }])
    app.get<{ Params: { id: string }, Body: { name: string } }>('/:id', { preHandler: async (request, reply) => { await guard(request, reply) } }, handler)
    app.withTypeProvider<TypeBoxTypeProvider>().get('/typebox', { preHandler: async (request, reply) => { await guard(request, reply) }, schema: { querystring: Type.Object({ page: Type.Number() }) } }, handler)
  })

  test('is not called without a request and a reply', () => {
    expect(guard).type.not.toBeCallableWith()
    expect(guard).type.not.toBeCallableWith(request)
    expect(guard).type.not.toBeCallableWith(undefined, undefined)
    expect(guard).type.not.toBeCallableWith(request.raw, {})
    expect(guard).type.not.toBeCallableWith(() => {})
  })

  test('goes with the types of a route', () => {
    app.get<{ Params: { id: string }, Querystring: { page: number }, Reply: { id: string } }>('/:id', { preHandler: guard }, async (request) => {
      expect(request.params.id).type.toBe<string>()
      return { id: request.params.id }
    })
    app.withTypeProvider<TypeBoxTypeProvider>().post('/e', { preHandler: guard, onRequest: [app.causeflowAuth.jwt], config: { auth: auth.jwt() }, schema: { body: Type.Object({ name: Type.String() }) } }, async (request) => {
      expect(request.body.name).type.toBe<string>()
      expect(request.principal).type.toBe<Principal | null>()
      return principalOf(request).scheme
    })
  })

  test('answers with a principal where its schema is the answer\'s', () => {
    app.withTypeProvider<TypeBoxTypeProvider>().get('/f', { schema: { response: { 200: PrincipalSchema } } }, async (request) => principalOf(request))
  })
})

describe('the plugin', () => {
  test('is registered with options, as a promise or in a chain, on any server', () => {
    app.register(causeflowAuth, { jwt: { issuer: 'https://acme.clerk.accounts.dev' } }).after(() => {})
    app.register(causeflowAuth)
    const http2 = Fastify<Http2SecureServer, Http2ServerRequest, Http2ServerResponse>({ http2: true, https: {} })
    http2.register(causeflowAuth, { default: auth.deny() })
    http2.get('/', { config: { auth: auth.jwt() }, preHandler: http2.causeflowAuth.jwt }, async (request) => principalOf(request).scheme)
    expect(app.register).type.not.toBeCallableWith(causeflowAuth, { jwt: { isuer: 'https://acme.clerk.accounts.dev' } })
    expect(app.register).type.not.toBeCallableWith(causeflowAuth, { jwt: { issuer: 'https://a.example' }, apikey: {} })
  })

  test('has every helper on every server', () => {
    const clear = Fastify({ http2: true })
    clear.setErrorHandler(causeflowErrorHandler())
    clear.setErrorHandler(problemErrorHandler())
    clear.addHook('preValidation', bindPrincipalToLog)
    clear.register(apiKeyRoutes, { prefix: '/api-keys', manage: auth.jwt() })
    clear.post('/', { config: { auth: auth.jwt().check('itself', (_principal, request) => request.url === '/') } }, async (request) => [await clear.causeflowAuth.authenticate(request, auth.jwt()), principalOf(request).scheme, request.rawBody])
    expect(injectAs(clear, { scheme: 'jwt' }, '/')).type.toBe<Promise<LightMyRequestResponse>>()
    const http2 = Fastify({ http2: true, https: {} })
    http2.setErrorHandler(causeflowErrorHandler())
    http2.setErrorHandler(problemErrorHandler())
    http2.addHook('preValidation', bindPrincipalToLog)
    http2.register(apiKeyRoutes, { prefix: '/api-keys', manage: auth.jwt() })
    http2.get('/', async (request) => await http2.causeflowAuth.authenticate(request, auth.jwt()))
    expect(injectAs(http2, { scheme: 'jwt' }, '/')).type.toBe<Promise<LightMyRequestResponse>>()
    const https = Fastify({ https: {} })
    https.setErrorHandler(causeflowErrorHandler())
    https.addHook('preValidation', bindPrincipalToLog)
    https.get('/', async (request) => await https.causeflowAuth.authenticate(request, auth.jwt()))
    expect(injectAs(https, { scheme: 'jwt' }, '/')).type.toBe<Promise<LightMyRequestResponse>>()
  })

  test('says what it decides', () => {
    expect(app.causeflowAuth.authenticate(request, auth.jwt())).type.toBe<Promise<Principal | null>>()
    expect(app.causeflowAuth.routes()).type.toBe<Array<{ method: string | string[], url: string, rule: string }>>()
    expect(app.causeflowAuth.apiKeys).type.toBe<ApiKeys>()
  })

  test('has error handlers for setErrorHandler', () => {
    app.setErrorHandler(causeflowErrorHandler())
    app.setErrorHandler(problemErrorHandler())
    app.withTypeProvider<TypeBoxTypeProvider>().setErrorHandler(causeflowErrorHandler())
  })
})
