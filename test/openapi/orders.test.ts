// Whatever was registered first, the document says what the plugin does.
import t from 'tap'
import swagger from '@fastify/swagger'
import Fastify, { type FastifyInstance } from 'fastify'
import { auth, causeflowAuth } from '../../lib/index.js'
import { withCauseflowOpenApi } from '../../lib/openapi/index.js'
import { authOptions, type Teardown } from '../fixtures/app.js'
import { documented, securities } from './fixture.js'
import { watchProcess } from '../fixtures/process-watch.js'

watchProcess(t)

const answer = async (): Promise<string> => 'ok'

function bare (t: Teardown): FastifyInstance {
  const app = Fastify()
  t.teardown(() => app.close())
  return app
}

const steps = {
  swagger: (app: FastifyInstance) => app.register(swagger, withCauseflowOpenApi({ openapi: { openapi: '3.0.3', info: { title: 'T', version: '1' }, components: { securitySchemes: { session: { type: 'apiKey', in: 'cookie', name: 'sid' } } } } })),
  auth: (app: FastifyInstance) => app.register(causeflowAuth, authOptions()),
  routes (app: FastifyInstance) {
    app.get('/default', answer)
    app.get('/public', { config: { auth: auth.public() } }, answer)
    app.get('/keyed', { config: { auth: auth.apiKey().scopes('x') }, schema: { operationId: 'keyed' } }, answer)
  },
  scope (app: FastifyInstance) {
    return app.register(async (child) => {
      child.get('/:tenantId', { config: { auth: auth.any(auth.jwt(), auth.apiKey()) } }, answer)
      await child.register(async (grandchild) => { grandchild.get('/deep', answer) })
    }, { prefix: '/nested' })
  }
}

const expected = {
  'GET /default': [{ bearer: [] }],
  'GET /public': [],
  'GET /keyed': [{ apiKey: [] }],
  'GET /nested/{tenantId}': [{ bearer: [] }, { apiKey: [] }],
  'GET /nested/deep': [{ bearer: [] }]
}

for (const order of ['swagger auth routes scope', 'auth swagger routes scope', 'swagger routes auth scope', 'swagger scope auth routes'] as const) {
  t.test(`in the order ${order}, JSON and YAML`, async (t) => {
    const app = bare(t)
    for (const step of order.split(' ') as Array<keyof typeof steps>) await steps[step](app)
    await app.ready()
    t.strictSame(securities(documented(app)), expected)
    t.strictSame(Object.keys(documented(app).components.securitySchemes).sort(), ['apiKey', 'bearer', 'session', 'signature'])
    const yaml = app.swagger({ yaml: true })
    t.equal(yaml.match(/^ {6}security:/gm)?.length, 5)
    t.match(yaml, /security:\n +- bearer: \[\]\n +- apiKey: \[\]\n/)
    t.notMatch(JSON.stringify(app.swagger()), 'x-causeflow-waiting')
    t.strictSame(Object.keys(documented(app).paths['/keyed']?.get?.responses ?? {}), ['200', '401', '403', '503'])
  })
}

t.test('registered without await, and only those routes that stand in a plugin', async (t) => {
  const app = bare(t)
  steps.swagger(app)
  steps.auth(app)
  steps.scope(app)
  await app.ready()
  t.strictSame(securities(documented(app)), { 'GET /nested/{tenantId}': expected['GET /nested/{tenantId}'], 'GET /nested/deep': expected['GET /nested/deep'] })
})

t.test('a child\'s own registration decides its routes, and its issuer of the same name has a scheme of its own', async (t) => {
  const app = bare(t)
  await steps.swagger(app)
  await steps.auth(app)
  app.get('/outer', answer)
  await app.register(async (child) => {
    child.get('/before', answer)
    await child.register(causeflowAuth, { default: auth.any(auth.jwt(), auth.apiKey()), jwt: { issuer: 'relay', audience: false, secret: 'another secret of the tests, 32 bytes and more' } })
    child.get('/after', answer)
  }, { prefix: '/inner' })
  await app.ready()
  const document = documented(app)
  t.strictSame(securities(document), {
    'GET /outer': [{ bearer: [] }],
    'GET /inner/before': [{ bearer_2: [] }, { apiKey: [] }],
    'GET /inner/after': [{ bearer_2: [] }, { apiKey: [] }]
  })
  t.equal(document.components.securitySchemes.bearer_2?.description, 'A token issued by relay')
})

t.test('routes that nothing guards are documented as without this package', async (t) => {
  const app = bare(t)
  await steps.swagger(app)
  app.get('/open', answer)
  await app.register(async (child) => {
    await child.register(causeflowAuth, authOptions())
    child.get('/guarded', answer)
  })
  await app.ready()
  t.strictSame(documented(app).paths['/open'], { get: { responses: { 200: { description: 'Default Response' } } } })
  t.strictSame(securities(documented(app)), { 'GET /open': undefined, 'GET /guarded': [{ bearer: [] }] })
})

t.test('without causeflowAuth the document is the one of @fastify/swagger', async (t) => {
  const [plain, ours] = [bare(t), bare(t)]
  const options = { openapi: { info: { title: 'T', version: '1' }, components: {} }, hideUntagged: false }
  await plain.register(swagger, options)
  await ours.register(swagger, withCauseflowOpenApi(options))
  for (const app of [plain, ours]) {
    app.get('/a', { schema: { tags: ['x'], querystring: { type: 'object', properties: { q: { type: 'string' } } } } }, answer)
    await app.ready()
  }
  const { components: { securitySchemes, ...components }, ...rest } = documented(ours)
  t.strictSame({ ...rest, components }, plain.swagger())
  t.strictSame(securitySchemes, {})
})

t.test('a document that is asked for before the plugin is ready is right as well', async (t) => {
  const app = bare(t)
  await steps.swagger(app)
  let early: unknown
  app.addHook('onReady', async () => { early = securities(documented(app)) })
  await steps.auth(app)
  steps.routes(app)
  await app.ready()
  t.strictSame(early, { 'GET /default': [{ bearer: [] }], 'GET /public': [], 'GET /keyed': [{ apiKey: [] }] })
})

t.test('the HEAD routes that @fastify/swagger is told to show have the security of their GET', async (t) => {
  for (const order of ['swagger auth', 'auth swagger']) {
    const app = bare(t)
    for (const step of order.split(' ')) {
      if (step === 'auth') await steps.auth(app)
      else await app.register(swagger, withCauseflowOpenApi({ openapi: {}, exposeHeadRoutes: true }))
    }
    steps.routes(app)
    await app.ready()
    t.match(securities(documented(app)), { 'HEAD /default': [{ bearer: [] }], 'HEAD /public': [], 'HEAD /keyed': [{ apiKey: [] }] }, order)
  }
})
