// The security of an operation is that of its route's rule.
import t from 'tap'
import { auth, causeflow, github, MemoryApiKeyStore } from '../../lib/index.js'
import { documentOf, securities, v30, v31 } from './fixture.js'

const answer = async (): Promise<string> => 'ok'

t.test('each kind of rule is written as OpenAPI has it', async (t) => {
  const rules = {
    public: auth.public(),
    deny: auth.deny(),
    jwt: auth.jwt(),
    key: auth.apiKey(),
    signed: auth.webhook(),
    any: auth.any(auth.jwt(), auth.apiKey()),
    all: auth.all(auth.apiKey(), auth.webhook()),
    optional: auth.jwt().optional(),
    anyOptional: auth.any(auth.jwt(), auth.apiKey()).optional(),
    allWithOptional: auth.all(auth.jwt(), auth.apiKey().optional()),
    anyOfAll: auth.any(auth.jwt(), auth.all(auth.apiKey(), auth.webhook())),
    conditions: auth.jwt().roles('admin').check('owner', () => true)
  }
  const document = await documentOf(t, {
    swagger: v30,
    routes (app) {
      app.get('/default', answer)
      for (const [name, rule] of Object.entries(rules)) app.post(`/${name}`, { config: { auth: rule } }, answer)
    }
  })
  t.strictSame(securities(document), {
    'GET /default': [{ bearer: [] }],
    'POST /public': [],
    'POST /deny': [],
    'POST /jwt': [{ bearer: [] }],
    'POST /key': [{ apiKey: [] }],
    'POST /signed': [{ signature: [] }],
    'POST /any': [{ bearer: [] }, { apiKey: [] }],
    'POST /all': [{ apiKey: [], signature: [] }],
    'POST /optional': [{ bearer: [] }, {}],
    'POST /anyOptional': [{ bearer: [] }, { apiKey: [] }, {}],
    'POST /allWithOptional': [{ bearer: [], apiKey: [] }, { bearer: [] }],
    'POST /anyOfAll': [{ bearer: [] }, { apiKey: [], signature: [] }],
    'POST /conditions': [{ bearer: [] }]
  })
  t.equal(document.paths['/conditions']?.post?.['x-causeflow-rule'], 'token with role admin checked by owner')
  t.equal(document.paths['/default']?.get?.['x-causeflow-rule'], 'token')
})

t.test('roles and scopes stand beside the scheme since 3.1, each of several roles as a way of its own', async (t) => {
  const document = await documentOf(t, {
    swagger: v31,
    routes (app) {
      app.get('/report', { config: { auth: auth.any(auth.jwt().roles('admin', 'owner').scopes('report:read'), auth.apiKey().scopes('report:read', 'report:list')) } }, answer)
      app.post('/both', { config: { auth: auth.all(auth.apiKey().scopes('ingest'), auth.webhook()) } }, answer)
      app.get('/outer', { config: { auth: auth.any(auth.jwt().roles('admin'), auth.jwt().check('owner', () => true)).roles('member') } }, answer)
    }
  })
  t.strictSame(securities(document), {
    'GET /report': [{ bearer: ['admin', 'report:read'] }, { bearer: ['owner', 'report:read'] }, { apiKey: ['report:read', 'report:list'] }],
    'POST /both': [{ apiKey: ['ingest'], signature: [] }],
    'GET /outer': [{ bearer: ['admin', 'member'] }, { bearer: ['member'] }]
  })
})

t.test('a guard in a hook and the rule of a scope\'s own default count as the rule does', async (t) => {
  const document = await documentOf(t, {
    auth: { default: auth.apiKey() },
    routes (app) {
      app.get('/default', answer)
      app.get('/guarded', { preHandler: [app.causeflowAuth.require(auth.any(auth.jwt(), auth.apiKey()))] }, answer)
      app.get('/ready', { onRequest: app.causeflowAuth.jwt }, answer)
    }
  })
  t.strictSame(securities(document), { 'GET /default': [{ apiKey: [] }], 'GET /guarded': [{ bearer: [] }, { apiKey: [] }], 'GET /ready': [{ bearer: [] }] })
})

t.test('security that was written by hand wins, an empty one too, and may name the schemes of this package', async (t) => {
  const document = await documentOf(t, {
    swagger: { openapi: { components: { securitySchemes: { session: { type: 'apiKey', in: 'cookie', name: 'sid' } } } } },
    routes (app) {
      app.get('/a', { schema: { security: [] } }, answer)
      app.get('/b', { schema: { security: [{ session: [] }] } }, answer)
      app.get('/c', { schema: { security: [{ signature: [] }, { apiKey: [] }] } }, answer)
    }
  })
  t.strictSame(securities(document), { 'GET /a': [], 'GET /b': [{ session: [] }], 'GET /c': [{ signature: [] }, { apiKey: [] }] })
  t.strictSame(Object.keys(document.components.securitySchemes).sort(), ['apiKey', 'bearer', 'session', 'signature'])
})

t.test('several issuers and webhooks have a scheme each; a leaf that takes several is as many alternatives', async (t) => {
  const issuer = { audience: 'causeflow-api', secret: 'a secret of the tests alone, 32 bytes and more' }
  const document = await documentOf(t, {
    auth: {
      jwt: [{ ...issuer, issuer: 'one' }, { ...issuer, name: 'self hosted', issuer: 'two' }],
      webhook: [{ secret: 'a' }, { name: 'older', secret: 'b' }, { name: 'github', secret: 'c', scheme: github() }]
    },
    routes (app) {
      app.get('/named', { config: { auth: auth.jwt('self hosted') } }, answer)
      app.get('/either', { config: { auth: auth.jwt('default', 'self hosted') } }, answer)
      app.post('/signed', { config: { auth: auth.webhook('default', 'older') } }, answer)
      app.post('/pushed', { config: { auth: auth.webhook('github') } }, answer)
    }
  })
  t.strictSame(securities(document), {
    'GET /named': [{ bearer_self_hosted: [] }],
    'GET /either': [{ bearer: [] }, { bearer_self_hosted: [] }],
    'POST /signed': [{ signature: [] }, { signature_older: [] }],
    'POST /pushed': [{ signature_github: [] }]
  })
  t.equal(document.components.securitySchemes.bearer_self_hosted?.description, 'A token issued by two')
})

t.test('the schemes are those of the registration, with the headers that it names', async (t) => {
  const { components: { securitySchemes } } = await documentOf(t, {
    auth: { apiKey: { store: new MemoryApiKeyStore(), header: 'X-Acme-Key', query: 'apiKey' }, webhook: { secret: 's', scheme: causeflow({ header: 'X-CauseFlow-Signature' }) } },
    routes: (app) => app.get('/', answer)
  })
  t.strictSame(securitySchemes, {
    bearer: { type: 'http', scheme: 'bearer', bearerFormat: 'JWT', description: 'A token issued by causeflow' },
    apiKey: { type: 'apiKey', in: 'header', name: 'x-acme-key', description: 'An API key: cflo_…. Also taken as a bearer credential and in the query parameter apiKey' },
    signature: {
      type: 'apiKey',
      in: 'header',
      name: 'x-causeflow-signature',
      description: 'A signature: sha256={hex} of HMAC-SHA256 over {body}',
      'x-causeflow-signature': { scheme: 'causeflow', algorithm: 'HMAC-SHA256', key: 'utf8', signed: '{body}', headers: { 'x-causeflow-signature': 'sha256={hex}' }, tolerance: null, timestampInBody: false }
    }
  })
})

t.test('a credential that is not configured has no scheme', async (t) => {
  const { components } = await documentOf(t, { auth: { apiKey: undefined, webhook: undefined }, routes: (app) => app.get('/', answer) })
  t.strictSame(Object.keys(components.securitySchemes), ['bearer'])
})

t.test('a header that carries a credential is not documented a second time as a parameter', async (t) => {
  const { paths } = await documentOf(t, {
    routes (app) {
      app.get('/', { config: { auth: auth.apiKey() }, schema: { headers: { type: 'object', properties: { 'x-api-key': { type: 'string' }, 'x-trace': { type: 'string' } } } } }, answer)
    }
  })
  t.match(paths['/']?.get?.parameters, [{ in: 'header', name: 'x-trace' }])
  t.equal(paths['/']?.get?.parameters?.length, 1)
})
