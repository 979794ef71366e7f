/** A rejection stays one, whatever the application's own code throws while it is logged, published and answered. */
import t from 'tap'
import fastifyAuth from '@fastify/auth'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { channel } from 'node:diagnostics_channel'
import { setImmediate } from 'node:timers/promises'
import { auth } from '../../lib/index.js'
import { bearer, createApp, signed, tokenSecret, watchProcess } from '../fixtures/app.js'
import { expectFaults } from '../fixtures/process-watch.js'

const nothing: unknown = undefined
const thrown: Record<string, unknown> = { undefined, null: null, false: false, 'an empty string': '', zero: 0, 'an error': new Error('of the application'), 'an error of status 200': Object.assign(new Error('fine'), { statusCode: 200 }) }

interface Fault {
  /** Log lines of the plugin run the serializer of `reason`. */
  serializer?: boolean
  install? (app: FastifyInstance, fail: () => never): void
}

const faultsOf: Record<string, Fault> = {
  'a serializer of the log': { serializer: true },
  'the error handler': { install: (app, fail) => { app.setErrorHandler(() => { fail() }) } },
  'an async error handler': { install: (app, fail) => { app.setErrorHandler(async () => { fail() }) } },
  'a serializer of the answer': { install: (app, fail) => { app.setErrorHandler((_error, _request, reply) => { reply.serializer(() => fail()).send({ error: true }) }) } },
  'an onError hook': { install: (app, fail) => { app.addHook('onError', (_request, _reply, _error, _done) => { fail() }) } },
  'reply.header': { install: (app, fail) => { app.addHook('onRequest', async (_request, reply) => { reply.header = () => fail() }) } },
  'reply.code': { install: (app, fail) => { app.addHook('onRequest', async (_request, reply) => { reply.code = () => fail() }) } },
  'request.log': { install: (app, fail) => { app.addHook('onRequest', async (request) => { request.log = Object.create(request.log, { info: { value: fail }, error: { value: fail } }) as typeof request.log }) } }
}

/** The answer; null where Fastify cannot even answer, for it needs what the application has broken, and the connection is closed. */
async function ask (app: FastifyInstance, request: { method?: 'POST', url: string, payload?: string, headers: Record<string, string> }): Promise<{ statusCode: number, body: string } | null> {
  return await app.inject(request as { url: string }).then((answer) => answer, () => null)
}

function isRejected (answer: { statusCode: number, body: string } | null): boolean {
  return answer === null || (answer.statusCode >= 400 && !answer.body.includes('content'))
}

for (const [words, fault] of Object.entries(faultsOf)) {
  t.test(`what ${words} throws never lets a rejected request in`, async (t) => {
    const faults = watchProcess(t)
    for (const [name, value] of Object.entries(thrown)) {
      const fail = (): never => { throw value }
      let reached = 0
      const handler = async (): Promise<object> => { reached++; return { content: true } }
      const app = await createApp(t, {
        auth: {
          default: auth.public(),
          jwt: { issuer: 'causeflow', audience: 'causeflow-api', secret: tokenSecret, isRevoked: async () => true },
          webhook: [{ name: 'default', secret: 'whsec_of_the_tests' }, { name: 'slow', secret: async () => ({ secrets: 'whsec_of_the_tests', tenantId: 'ten_a' }) }]
        },
        ...(fault.serializer === true ? { fastify: { logger: { level: 'trace', serializers: { reason: fail }, stream: { write () {} } } as never } } : {}),
        before: async (app) => {
          fault.install?.(app, fail)
          await app.register(fastifyAuth)
          app.get('/early', { config: { auth: auth.jwt() } }, handler)
          app.post('/early-signed', { config: { auth: auth.webhook() } }, handler)
        }
      })
      const { jwt } = app.causeflowAuth
      app.get('/route', { config: { auth: auth.jwt() } }, handler)
      app.get('/deny', { config: { auth: auth.deny() } }, handler)
      app.post('/signed', { config: { auth: auth.webhook() } }, handler)
      app.post('/signed-later', { config: { auth: auth.webhook('slow') } }, handler)
      app.post('/body', { config: { auth: auth.jwt(), rawBody: true } }, handler)
      app.get('/auth', { preHandler: app.auth([jwt]) }, handler)
      app.get('/awaited', { preHandler: async (request: FastifyRequest, reply: FastifyReply) => { await jwt(request, reply) } }, handler)
      await app.register(async (scope) => {
        for (const phase of ['onRequest', 'preParsing', 'preValidation', 'preHandler'] as const) {
          await scope.register(async (inner) => {
            inner.addHook(phase as 'preHandler', jwt)
            inner.get(`/${phase}`, handler)
          })
        }
        scope.setNotFoundHandler({ preHandler: jwt }, handler)
      }, { prefix: '/scope' })
      const urls = ['/early', '/route', '/deny', '/auth', '/awaited', '/scope/onRequest', '/scope/preParsing', '/scope/preValidation', '/scope/preHandler', '/scope/nothing']
      for (const url of urls) {
        for (const headers of [{} as Record<string, string>, bearer()]) {
          t.ok(isRejected(await ask(app, { url, headers })), `${name} ${url}`)
        }
      }
      for (const url of ['/early-signed', '/signed', '/signed-later', '/body']) {
        for (const headers of [{ 'content-type': 'application/json' }, signed('[]'), { 'content-type': 'application/json', ...bearer() }] as Array<Record<string, string>>) {
          t.ok(isRejected(await ask(app, { method: 'POST', url, payload: '{}', headers })), `${name} ${url}`)
        }
      }
      t.equal(reached, 0, name)
    }
    await setImmediate()
    t.strictSame(faults, [])
  })
}

t.test('a log that throws does not change the status or the challenge of a rejection', async (t) => {
  const app = await createApp(t, { fastify: { logger: { level: 'trace', serializers: { reason: () => { throw nothing } }, stream: { write () {} } } as never } })
  app.get('/', async () => 'in')
  const answer = await app.inject('/')
  t.equal(answer.statusCode, 401)
  t.equal(answer.headers['www-authenticate'], 'Bearer realm="causeflow"')
  t.equal(answer.json().code, 'AUTH_CREDENTIAL_MISSING')
})

t.test('an error handler that throws undefined leaves a rejection its status', async (t) => {
  const app = await createApp(t, { auth: { default: auth.public() } })
  app.setErrorHandler(() => { throw nothing })
  app.get('/route', { config: { auth: auth.jwt() } }, async () => 'in')
  app.get('/guard', { preHandler: (request, reply) => app.causeflowAuth.jwt(request, reply) }, async () => 'in')
  for (const url of ['/route', '/guard']) t.equal((await app.inject(url)).statusCode, 401, url)
})

t.test('a subscriber that throws changes no decision, and Node raises its error in the process', async (t) => {
  const faults = expectFaults(t)
  const fault = new Error('of a subscriber')
  const subscriber = (): never => { throw fault }
  const decisions = channel('causeflow-auth:decision')
  decisions.subscribe(subscriber)
  t.teardown(() => decisions.unsubscribe(subscriber))
  let reached = 0
  const app = await createApp(t)
  app.get('/', async () => { reached++ })
  app.post('/', { config: { auth: auth.webhook() } }, async () => { reached++ })
  t.equal((await app.inject('/')).statusCode, 401)
  t.equal(reached, 0)
  t.equal((await app.inject({ url: '/', headers: bearer() })).statusCode, 200)
  t.equal((await app.inject({ method: 'POST', url: '/', payload: '{}', headers: signed('{}') })).statusCode, 200)
  t.equal(reached, 2, 'each accepted request reaches its handler once')
  await setImmediate()
  t.strictSame(faults, [fault, fault, fault])
})

t.test('what the rest of an accepted request throws is an error of that request, undefined too', async (t) => {
  const faults = watchProcess(t)
  const app = await createApp(t, { auth: { jwt: { issuer: 'causeflow', audience: 'causeflow-api', secret: tokenSecret, isRevoked: async () => false }, default: auth.public() } })
  const handler = (_request: FastifyRequest, reply: FastifyReply): string => {
    // Fastify sends what a handler returns outside of every try block.
    reply.send = () => { reply.send = Object.getPrototypeOf(reply).send; throw nothing }
    return 'in'
  }
  app.get('/later', { config: { auth: auth.jwt() } }, handler)
  app.get('/now', { config: { auth: auth.apiKey().optional() } }, handler)
  app.post('/signed', { config: { auth: auth.webhook() } }, handler)
  await app.register(async (scope) => {
    scope.addHook('preHandler', app.causeflowAuth.jwt)
    scope.get('/scope', handler)
  })
  t.equal((await app.inject({ url: '/later', headers: bearer() })).statusCode, 500)
  t.equal((await app.inject('/now')).statusCode, 500)
  t.equal((await app.inject({ method: 'POST', url: '/signed', payload: '{}', headers: signed('{}') })).statusCode, 500)
  t.equal((await app.inject({ url: '/scope', headers: bearer() })).statusCode, 500)
  t.strictSame(faults, [])
})
