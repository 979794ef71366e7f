import t from 'tap'
import Fastify, { type FastifyInstance } from 'fastify'
import { AuthError, errorCatalogue, type AuthErrorCode } from '../lib/errors.js'
import { causeflowErrorHandler, logRedactPaths, problemErrorHandler, type ErrorHandler } from '../lib/error-handlers.js'
import { principalOf, type Proven } from '../lib/principal.js'
import { watchProcess } from './fixtures/process-watch.js'

watchProcess(t)

const problemType = 'application/problem+json'
const plainType = 'application/json; charset=utf-8'
type Line = Record<string, unknown> & { level: number, msg: string, err?: { type: string, message: string, code?: string } }

/** An application with this handler and nothing of ours beside it. */
function application (handler: ErrorHandler, log: Line[] = []): FastifyInstance {
  const app = Fastify({ bodyLimit: 100, logger: { level: 'info', stream: { write: (line: string) => { log.push(JSON.parse(line)) } } } })
  app.setErrorHandler(handler)
  return app
}

/** The whole answer to what a route throws. */
async function answerTo (handler: ErrorHandler, thrown: unknown, log: Line[] = []) {
  const app = application(handler, log)
  app.get('/', async () => { throw thrown })
  return answerOf(await app.inject('/'))
}

type Injected = Awaited<ReturnType<FastifyInstance['inject']>>
function answerOf ({ statusCode, headers, body }: Injected) {
  const { 'content-type': type, 'www-authenticate': challenge, 'retry-after': retryAfter } = headers
  return { status: statusCode, type, body: body === '' ? null : JSON.parse(body), ...(challenge === undefined ? {} : { challenge }), ...(retryAfter === undefined ? {} : { retryAfter }) }
}

const plain = (status: number, error: string, message: string, more = {}) => ({ status, type: plainType, body: { error, message }, ...more })
const problem = (status: number, title: string, detail: string, more: { code?: string, challenge?: string, retryAfter?: string } = {}) => {
  const { code, ...headers } = more
  return { status, type: problemType, body: { type: 'about:blank', title, status, detail, ...(code === undefined ? {} : { code }) }, ...headers }
}
const hidden = 'Something went wrong on our side'
const failure = (statusCode: number, message: string) => Object.assign(new Error(message), { statusCode })

t.test('every refusal is answered with its word, its sentence and its challenge', async (t) => {
  for (const { code, status, error, message } of errorCatalogue()) {
    const refusal = () => new AuthError(code, 'absent', { retryAfter: 1.2 })
    const headers = { ...(refusal().challenge === null ? {} : { challenge: refusal().challenge as string }), ...(refusal().retryAfter === null ? {} : { retryAfter: '2' }) }
    t.strictSame(await answerTo(causeflowErrorHandler(), refusal()), plain(status, error, message, headers), code)
    const title = error.charAt(0).toUpperCase() + error.slice(1).replaceAll('_', ' ')
    t.strictSame(await answerTo(problemErrorHandler(), refusal()), problem(status, title, message, { code, ...headers }), code)
  }
})

t.test('no answer tells the reason or the cause', async (t) => {
  for (const handler of [causeflowErrorHandler(), problemErrorHandler()]) {
    const answer = JSON.stringify(await answerTo(handler, new AuthError('AUTH_TOKEN_CLAIMS', 'session-pending', { cause: new Error('the cause') })))
    t.notMatch(answer, 'session-pending')
    t.notMatch(answer, 'the cause')
  }
})

t.test('what principalOf throws keeps its challenge, though no hook has set it', async (t) => {
  const throwing = (principal: unknown, handler: ErrorHandler) => {
    const app = application(handler)
    app.get('/', async () => principalOf({ principal } as Proven, 'apiKey'))
    return app.inject('/').then(answerOf)
  }
  t.strictSame(await throwing(null, causeflowErrorHandler()), plain(401, 'unauthorized', 'A credential is required', { challenge: 'ApiKey realm="causeflow"' }))
  t.strictSame(await throwing({ scheme: 'jwt' }, problemErrorHandler()), problem(403, 'Forbidden', 'This route lets nobody in', { code: 'AUTH_DENIED' }))
})

t.test('a challenge and a waiting time that are on the reply already stay as they are', async (t) => {
  const app = application(causeflowErrorHandler())
  app.addHook('onRequest', async (_request, reply) => { reply.header('www-authenticate', 'Bearer realm="theirs"').header('retry-after', '60') })
  app.get('/:code', async (request) => { throw new AuthError((request.params as { code: AuthErrorCode }).code, 'absent') })
  t.equal((await app.inject('/AUTH_TOKEN_INVALID')).headers['www-authenticate'], 'Bearer realm="theirs"')
  t.equal((await app.inject('/AUTH_STORE_UNAVAILABLE')).headers['retry-after'], '60')
})

t.test('a refused schema is 400 validation_error and says what is wrong', async (t) => {
  for (const [handler, expected] of [
    [causeflowErrorHandler(), (message: string) => plain(400, 'validation_error', message)],
    [problemErrorHandler(), (message: string) => problem(400, 'Validation error', message)]
  ] as const) {
    const app = application(handler)
    const schema = {
      body: { type: 'object', required: ['name'], properties: { name: { type: 'string', maxLength: 2 } } },
      querystring: { type: 'object', properties: { page: { type: 'integer' } } }
    }
    app.post('/', { schema }, async () => 'ok')
    t.strictSame(answerOf(await app.inject({ method: 'POST', url: '/', payload: {} })), expected('body must have required property \'name\''))
    t.strictSame(answerOf(await app.inject({ method: 'POST', url: '/', payload: { name: 'long' } })), expected('body/name must NOT have more than 2 characters'))
    t.strictSame(answerOf(await app.inject({ method: 'POST', url: '/?page=x', payload: { name: 'a' } })), expected('querystring/page must be integer'))
  }
})

t.test('what was not expected is 500 and its message stays here', async (t) => {
  const unexpected: unknown[] = [new Error('password=hunter2'), new TypeError('x is not a function'), Object.assign(new Error('ECONNREFUSED 10.0.0.1'), { code: 'ECONNREFUSED' }), failure(500, 'inner'), failure(502, 'upstream at 10.0.0.1'),
    failure(200, 'no error status'), failure(302, 'nor this'), failure(999, 'nor this'), failure(404.5, 'nor this'), Object.assign(new Error('nor text'), { statusCode: '404' })]
  for (const thrown of unexpected) {
    const status = (thrown as { statusCode?: number }).statusCode === 502 ? 502 : 500
    t.strictSame(await answerTo(causeflowErrorHandler(), thrown), plain(status, 'internal_error', hidden), String(thrown))
    t.strictSame(await answerTo(problemErrorHandler(), thrown), problem(status, 'Internal error', hidden), String(thrown))
  }
})

t.test('anything may be thrown: undefined, null, text, an object that looks like an error', async (t) => {
  for (const thrown of [undefined, null, '', 'hunter2', 404, false, {}, { statusCode: 404, message: 'hunter2' }, { name: 'AuthError', code: 'AUTH_DENIED', statusCode: 403 }, Symbol('hunter2'), Object.create(null)]) {
    t.strictSame(await answerTo(causeflowErrorHandler(), thrown), plain(500, 'internal_error', hidden))
    t.strictSame(await answerTo(problemErrorHandler(), thrown), problem(500, 'Internal error', hidden))
  }
})

t.test('what a hook throws is answered like what a handler throws', async (t) => {
  for (const thrown of [null, 'text', new AuthError('AUTH_DENIED', 'denied')]) {
    const app = application(causeflowErrorHandler())
    app.addHook('preHandler', async () => { throw thrown })
    app.get('/', async () => 'let in')
    t.equal((await app.inject('/')).statusCode, thrown instanceof AuthError ? 403 : 500)
  }
})

t.test('an error of the application keeps its status and its message below 500', async (t) => {
  const words: ReadonlyArray<readonly [number, string]> = [[400, 'bad_request'], [401, 'unauthorized'], [402, 'bad_request'], [403, 'forbidden'], [404, 'not_found'], [405, 'method_not_allowed'], [409, 'conflict'], [413, 'payload_too_large'], [415, 'unsupported_media_type'], [422, 'unprocessable_entity'], [429, 'too_many_requests']]
  for (const [status, word] of words) {
    t.strictSame(await answerTo(causeflowErrorHandler(), failure(status, 'No such incident')), plain(status, word, 'No such incident'))
  }
  t.strictSame(await answerTo(problemErrorHandler(), failure(404, 'No such incident')), problem(404, 'Not found', 'No such incident'))
  t.strictSame(await answerTo(causeflowErrorHandler(), failure(503, 'pool at 10.0.0.1 is empty')), plain(503, 'service_unavailable', hidden))
})

t.test('Fastify\'s own refusals of a body have their words', async (t) => {
  const refusedBodies = [
    [{ payload: '{', headers: { 'content-type': 'application/json' } }, 400, 'bad_request', 'Bad request'],
    [{ payload: JSON.stringify('x'.repeat(200)), headers: { 'content-type': 'application/json' } }, 413, 'payload_too_large', 'Payload too large'],
    [{ payload: '<a/>', headers: { 'content-type': 'application/xml' } }, 415, 'unsupported_media_type', 'Unsupported media type']
  ] as const
  for (const [request, status, word, title] of refusedBodies) {
    const answers = await Promise.all([causeflowErrorHandler(), problemErrorHandler()].map((handler) => {
      const app = application(handler)
      app.post('/', async () => 'ok')
      return app.inject({ method: 'POST', url: '/', ...request }).then(answerOf)
    }))
    t.match(answers, [{ status, type: plainType, body: { error: word } }, { status, type: problemType, body: { title, status } }])
    t.notMatch(answers[0]?.body.message, '<a/>')
  }
})

const strange = { type: 'object', required: ['code'], properties: { code: { type: 'integer' } }, additionalProperties: false }

t.test('a response schema of the route garbles neither answer', async (t) => {
  for (const [handler, expected] of [
    [causeflowErrorHandler(), plain(403, 'forbidden', 'A role is missing')],
    [problemErrorHandler(), problem(403, 'Forbidden', 'A role is missing', { code: 'AUTH_ROLE_REQUIRED' })]
  ] as const) {
    const app = application(handler)
    app.get('/', { schema: { response: { '4xx': strange, default: strange } } }, async () => { throw new AuthError('AUTH_ROLE_REQUIRED', 'role') })
    app.get('/by-content', { schema: { response: { '4xx': { content: { 'application/problem+json': { schema: strange }, 'application/json': { schema: strange } } } } } }, async () => { throw new AuthError('AUTH_ROLE_REQUIRED', 'role') })
    t.strictSame(answerOf(await app.inject('/')), expected)
    t.strictSame(answerOf(await app.inject('/by-content')), expected)
  }
})

t.test('nor does what the route has set for its own answer', async (t) => {
  for (const [handler, expected] of [[causeflowErrorHandler(), plain(404, 'not_found', 'No such export')], [problemErrorHandler(), problem(404, 'Not found', 'No such export')]] as const) {
    const app = application(handler)
    app.setReplySerializer(() => 'garbled')
    app.get('/', async (_request, reply) => {
      reply.code(201).type('text/csv').serializer(() => 'a;b').header('content-length', '3')
      throw failure(404, 'No such export')
    })
    t.strictSame(answerOf(await app.inject('/')), expected)
  }
})

t.test('a message that is not ASCII arrives whole', async (t) => {
  t.strictSame(await answerTo(causeflowErrorHandler(), failure(404, '“Größe” 🙂')), plain(404, 'not_found', '“Größe” 🙂'))
})

t.test('every error is logged: refusals and refused requests as information, our own faults as errors', async (t) => {
  for (const handler of [causeflowErrorHandler(), problemErrorHandler()]) {
    const logged = async (thrown: unknown) => {
      const log: Line[] = []
      await answerTo(handler, thrown, log)
      return log.filter(({ err }) => err !== undefined).map(({ level, msg, err }) => ({ level, msg, type: err?.type, message: err?.message }))
    }
    t.strictSame(await logged(new Error('inner')), [{ level: 50, msg: 'inner', type: 'Error', message: 'inner' }])
    t.strictSame(await logged(failure(404, 'No such incident')), [{ level: 30, msg: 'No such incident', type: 'Error', message: 'No such incident' }])
    t.match(await logged(new AuthError('AUTH_TOKEN_EXPIRED', 'expired')), [{ level: 30, msg: 'The token has expired' }])
    t.match(await logged(new AuthError('AUTH_STORE_UNAVAILABLE', 'unreachable', { cause: new Error('connection refused') })), [{ level: 50, message: /connection refused/ }])
    t.match(await logged('text'), [{ level: 50, msg: 'Something that is no Error was thrown' }])
    t.match(await logged(undefined), [{ level: 50, msg: 'Something that is no Error was thrown' }])
  }
})

t.test('an AuthError of another copy of the package is one', async (t) => {
  class AuthErrorOfAnotherCopy extends Error {
    code = 'AUTH_DENIED'
    statusCode = 403
    challenge = 'Bearer realm="causeflow"'
    retryAfter = null
    override name = 'AuthError'
  }
  t.strictSame(await answerTo(causeflowErrorHandler(), new AuthErrorOfAnotherCopy('This route lets nobody in')), plain(403, 'forbidden', 'This route lets nobody in'))
})

t.test('logRedactPaths hides credentials in what an application logs of requests and replies', async (t) => {
  const log: string[] = []
  const app = Fastify({
    logger: {
      redact: [...logRedactPaths],
      stream: { write: (line: string) => { log.push(line) } },
      serializers: { req: ({ headers }) => ({ headers }), res: (reply) => ({ headers: (reply as { getHeaders?: () => object }).getHeaders?.() ?? {} }) }
    }
  })
  app.get('/', async (_request, reply) => reply.header('set-cookie', 'hunter2').send('ok'))
  const names = ['authorization', 'cookie', 'x-api-key', 'x-webhook-signature', 'webhook-signature', 'svix-signature', 'stripe-signature', 'x-slack-signature', 'x-hub-signature-256', 'sentry-hook-signature']
  await app.inject({ url: '/', headers: { ...Object.fromEntries(names.map((name) => [name, 'hunter2'])), accept: 'seen' } })
  t.match(log.join(''), 'seen')
  t.match(log.join(''), '[Redacted]')
  t.notMatch(log.join(''), 'hunter2')
  t.ok(Object.isFrozen(logRedactPaths))
})
