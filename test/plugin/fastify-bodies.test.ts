/** Routes without a signature are exactly as without the plugin: each case is asked of two applications, one with it. */
import t from 'tap'
import Fastify, { type FastifyInstance, type FastifyRequest, type FastifyServerOptions } from 'fastify'
import { auth, causeflowAuth } from '../../lib/index.js'
import { authOptions, type Teardown } from '../fixtures/app.js'
import { chunks, exchange, head, listen } from '../fixtures/socket.js'
import { watchProcess } from '../fixtures/process-watch.js'

watchProcess(t)

interface Setup { fastify?: FastifyServerOptions, build?: (app: FastifyInstance) => unknown }

interface Listening { app: FastifyInstance, port: number }

async function pair (t: Teardown, { fastify = {}, build }: Setup): Promise<Listening[]> {
  return await Promise.all([false, true].map(async (withPlugin) => {
    // Older versions write on the object that they are given.
    const app = Fastify({ ...fastify })
    t.teardown(() => app.close())
    if (withPlugin) await app.register(causeflowAuth, authOptions({ default: auth.public() }))
    await build?.(app)
    const echo = async (request: FastifyRequest): Promise<object> => ({
      body: Buffer.isBuffer(request.body) ? request.body.toString('base64') : request.body === undefined ? 'undefined' : request.body,
      keys: typeof request.body === 'object' && request.body !== null ? Object.getOwnPropertyNames(request.body) : null,
      type: request.headers['content-type'] ?? null,
      media: (request as { mediaType?: string }).mediaType ?? null
    })
    app.route({ method: ['POST', 'PUT', 'DELETE', 'OPTIONS'], url: '/', handler: echo })
    app.post('/small', { bodyLimit: 8 }, echo)
    app.post('/schema', { schema: { body: { type: 'object', required: ['a'], properties: { a: { type: 'integer' } } } } }, echo)
    app.post('/content', { schema: { body: { content: { 'application/json': { schema: { type: 'object', required: ['a'] } }, 'text/plain': { schema: { type: 'string', maxLength: 3 } }, 'application/xml': { schema: {} } } } } }, echo)
    app.post('/attached', { attachValidation: true, schema: { body: { type: 'object', required: ['a'] } } }, async (request) => ({ failed: request.validationError?.message ?? null }))
    app.get('/', echo)
    return { app, port: await listen(app) }
  }))
}

interface Answer { status: number, headers: Record<string, unknown>, body: string }
const withoutDate = ({ status, headers: { date, ...headers }, body }: Answer): object => ({ status, headers, body })

const methods = ['POST', 'PUT', 'DELETE', 'OPTIONS', 'GET'] as const
const types = [undefined, 'application/json', 'application/json; charset=utf-8', 'APPLICATION/JSON', ' application/json', 'application/vnd.api+json', 'text/plain', 'text/html', 'application/x-www-form-urlencoded', 'multipart/form-data; boundary=x', 'application/xml', 'nonsense', '%%%', 'application/json, text/plain', 'application/x-causeflow']
const contents = ['', '{}', '{"a":1}', '{"a":"1"}', '[1]', 'null', '"text"', '1', '{', ' ', '{"__proto__":{"x":1}}', '{"a":1,"__proto__":null}', '{"constructor":{"prototype":{"x":1}}}', '\ufeff{"a":1}', 'a=1']

const setups: Record<string, Setup> = {
  defaults: {},
  'poisoning removed': { fastify: { onProtoPoisoning: 'remove', onConstructorPoisoning: 'remove' } },
  'poisoning ignored': { fastify: { onProtoPoisoning: 'ignore', onConstructorPoisoning: 'ignore' } },
  'a small limit': { fastify: { bodyLimit: 6 } },
  'parsers of the application': {
    build: (app) => {
      app.addContentTypeParser('application/json', { parseAs: 'buffer' }, (_request, body, done) => { done(null, { length: body.length }) })
      app.addContentTypeParser(/^application\/.*xml$/, { parseAs: 'string', bodyLimit: 4 }, (_request, body, done) => { done(null, body) })
      app.addContentTypeParser('*', { parseAs: 'string' }, (_request, body, done) => { done(null, `any ${body as string}`) })
    }
  },
  'no parsers at all': { build: (app) => { app.removeAllContentTypeParsers() } },
  'an error handler': { build: (app) => { app.setErrorHandler((error, _request, reply) => { const { code, message, statusCode } = error as { code?: string, message: string, statusCode?: number }; reply.code(statusCode ?? 500).send({ code: code ?? null, message, statusCode: statusCode ?? null }) }) } }
}

for (const [title, setup] of Object.entries(setups)) {
  t.test(`bodies of unsigned routes are as without the plugin: ${title}`, async (t) => {
    const apps = await pair(t, setup)
    const compare = async (label: string, ask: (listening: Listening) => Promise<Answer>): Promise<void> => {
      const [without, withPlugin] = await Promise.all(apps.map(async (listening) => withoutDate(await ask(listening))))
      t.strictSame(withPlugin, without, label)
    }
    const bySocket = (label: string, ...parts: Buffer[]): Promise<void> => compare(label, ({ port }) => exchange(port, parts))
    const byInject = (label: string, method: typeof methods[number], url: string, headers: Record<string, string>, payload: string): Promise<void> => compare(label, async ({ app }) => {
      const { statusCode: status, headers: answered, body } = await app.inject({ method, url, headers: { ...headers, 'content-length': String(Buffer.byteLength(payload)) }, payload })
      return { status, headers: answered, body }
    })
    for (const method of methods) {
      for (const type of types) {
        for (const content of method === 'POST' ? contents : ['', '{"a":1}']) {
          await byInject(`${method} ${type ?? 'no type'} ${content}`, method, '/', type === undefined ? {} : { 'content-type': type }, content)
        }
      }
      await bySocket(`${method} nothing`, head(method, '/', {}))
      await bySocket(`${method} a type alone`, head(method, '/', { 'content-type': 'application/json' }))
      await bySocket(`${method} chunked`, head(method, '/', { 'content-type': 'application/json', 'transfer-encoding': 'chunked' }), ...chunks('{"a"', ':1}'))
      await bySocket(`${method} chunked and empty`, head(method, '/', { 'content-type': 'application/json', 'transfer-encoding': 'chunked' }), ...chunks())
    }
    for (const url of ['/small', '/schema', '/content', '/attached', '/unknown']) {
      for (const type of ['application/json', 'text/plain', 'application/xml', 'image/png', 'application/json; charset=utf-8']) {
        for (const content of ['', '{"a":1}', '{"a":12}', '{"a":"x"}', '{"b":1}', '{']) {
          await byInject(`POST ${url} ${type} ${content}`, 'POST', url, { 'content-type': type }, content)
        }
        await bySocket(`POST ${url} ${type} chunked`, head('POST', url, { 'content-type': type, 'transfer-encoding': 'chunked' }), ...chunks('{"a"', ':"x", "é": "y"}'))
      }
    }
  })
}
