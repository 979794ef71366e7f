// Refusals are documented where they can happen, and the answers of routes stay what they are.
import t from 'tap'
import { Type } from '@sinclair/typebox'
import { auth, MemoryReplayStore } from '../../lib/index.js'
import { bearer, createApp } from '../fixtures/app.js'
import { documentedApp, documented, documentOf, type Documented, type Operation } from './fixture.js'
import { watchProcess } from '../fixtures/process-watch.js'

watchProcess(t)

const answer = async (): Promise<object> => ({ id: 'a', secret: 'never sent' })
const statuses = ({ paths }: Documented): Record<string, string[]> => Object.fromEntries(Object.entries(paths).flatMap(([url, path]) => Object.values(path).map(({ responses }) => [url, Object.keys(responses)])))

t.test('401, 403 and 503 where a credential is asked for, 415 where it is a signature, 409 where deliveries are remembered, 403 alone where nobody gets in', async (t) => {
  const replay = new MemoryReplayStore()
  t.strictSame(statuses(await documentOf(t, {
    auth: { webhook: [{ secret: 's' }, { name: 'remembered', secret: 's', replay }] },
    routes (app) {
      app.post('/public', { config: { auth: auth.public() } }, answer)
      app.post('/deny', { config: { auth: auth.deny() }, schema: { response: { 200: Type.Object({}) } } }, answer)
      app.post('/token', answer)
      app.post('/optional', { config: { auth: auth.apiKey().optional() } }, answer)
      app.post('/signed', { config: { auth: auth.webhook() } }, answer)
      app.post('/remembered', { config: { auth: auth.webhook('remembered') } }, answer)
      app.post('/created', { schema: { response: { 201: Type.Object({ id: Type.String() }) } } }, answer)
    }
  })), {
    '/public': ['200'],
    '/deny': ['403'],
    '/token': ['200', '401', '403', '503'],
    '/optional': ['200', '401', '403', '503'],
    '/signed': ['200', '401', '403', '415', '503'],
    '/remembered': ['200', '401', '403', '409', '415', '503'],
    '/created': ['201', '401', '403', '503']
  })
})

t.test('a refusal has its description, its headers and the body of the wire contract', async (t) => {
  const { paths } = await documentOf(t, { routes: (app) => app.get('/', answer) })
  const content = { 'application/json': { schema: { type: 'object', required: ['error', 'message'], properties: { error: { type: 'string', description: 'For programs' }, message: { type: 'string', description: 'For people' } } } } }
  const challenge = { 'www-authenticate': { description: 'The credential that is wanted, and what was wrong with the one presented', schema: { type: 'string' } } }
  t.strictSame(JSON.parse(JSON.stringify(paths['/']?.get?.responses)), {
    200: { description: 'Default Response' },
    401: { description: 'A credential is absent or is not accepted', headers: challenge, content },
    403: { description: 'The credential is good, and not enough for this', headers: challenge, content },
    503: { description: 'The credential cannot be verified at the moment', headers: { 'retry-after': { description: 'Seconds after which to ask again', schema: { type: 'integer' } } }, content }
  })
})

t.test('a route that came before the plugin has the same responses as one that came after', async (t) => {
  const { default: Fastify } = await import('fastify')
  const { default: swagger } = await import('@fastify/swagger')
  const { withCauseflowOpenApi } = await import('../../lib/openapi/index.js')
  const { causeflowAuth } = await import('../../lib/index.js')
  const { authOptions } = await import('../fixtures/app.js')
  for (const own of [{}, { error: { content: { 'application/problem+json': { schema: { type: 'object' } } } } }]) {
    const app = Fastify()
    t.teardown(() => app.close())
    await app.register(swagger, withCauseflowOpenApi({ openapi: {} }, own))
    app.get('/early', answer)
    app.get('/early/deny', { config: { auth: auth.deny() } }, answer)
    await app.register(causeflowAuth, authOptions())
    app.get('/late', answer)
    app.get('/late/deny', { config: { auth: auth.deny() } }, answer)
    await app.ready()
    const { paths } = JSON.parse(JSON.stringify(app.swagger())) as Documented
    t.strictSame(paths['/early'], paths['/late'])
    t.strictSame(paths['/early/deny'], paths['/late/deny'])
  }
})

t.test('responses that were written by hand stay: a status, a range, and the shape of the default', async (t) => {
  const own = Type.Object({ mine: Type.String() }, { description: 'Mine' })
  const { paths } = await documentOf(t, {
    routes (app) {
      app.get('/status', { schema: { response: { 200: Type.Object({}), 401: own } } }, answer)
      app.get('/range', { schema: { response: { 200: Type.Object({}), '4xx': own } } }, answer)
      app.get('/default', { schema: { response: { default: own } } }, answer)
    }
  })
  const described = (operation: Operation | undefined): object => Object.fromEntries(Object.entries(operation?.responses ?? {}).map(([status, { description, content }]) => [status, [description, 'mine' in ((content?.['application/json']?.schema as { properties?: object } | undefined)?.properties ?? {})]]))
  const unavailable = 'The credential cannot be verified at the moment'
  t.strictSame(described(paths['/status']?.get), { 200: ['Default Response', false], 401: ['Mine', true], 403: ['The credential is good, and not enough for this', false], 503: [unavailable, false] })
  t.strictSame(described(paths['/range']?.get), { 200: ['Default Response', false], '4XX': ['Mine', true], 503: [unavailable, false] })
  t.strictSame(described(paths['/default']?.get), { 401: ['A credential is absent or is not accepted', true], 403: ['The credential is good, and not enough for this', true], 503: [unavailable, true], default: ['Mine', true] })
})

t.test('a body of one\'s own for refusals, by reference too', async (t) => {
  const { paths } = await documentOf(t, {
    openapi: { error: { $ref: 'problem#' } },
    routes (app) {
      app.addSchema({ $id: 'problem', type: 'object', properties: { title: { type: 'string' } } })
      app.get('/', answer)
    }
  })
  t.match(paths['/']?.get?.responses['401'], { description: 'A credential is absent or is not accepted', content: { 'application/json': { schema: { $ref: '#/components/schemas/def-0' } } } })
})

t.test('nothing is serialised otherwise than without a document, answers and refusals alike', async (t) => {
  const routes = (app: Awaited<ReturnType<typeof createApp>>): void => {
    app.get('/shaped', { schema: { response: { 200: Type.Object({ id: Type.String() }) } } }, answer)
    app.get('/bare', answer)
    app.get('/throws', async () => { throw Object.assign(new Error('teapot'), { statusCode: 403, extra: 'x' }) })
  }
  const plain = await createApp(t)
  routes(plain)
  const ours = await documentedApp(t, { routes })
  const schema = JSON.stringify(documented(ours))
  for (const url of ['/shaped', '/bare', '/throws']) {
    for (const headers of [{}, bearer()]) {
      const [expected, got] = [await plain.inject({ url, headers }), await ours.inject({ url, headers })]
      t.strictSame([got.statusCode, got.body], [expected.statusCode, expected.body], url)
    }
  }
  t.equal((await ours.inject({ url: '/shaped', headers: bearer() })).body, '{"id":"a"}')
  t.match(schema, '"401"')
})
