import Fastify, { type FastifyInstance } from 'fastify'
import t from 'tap'
import causeflowAuth, { auth, MemoryApiKeyStore, principalOf } from '../../lib/index.js'
import { injectAs } from '../../lib/testing/inject-as.js'
import { watchProcess } from '../fixtures/process-watch.js'

watchProcess(t)

async function build (): Promise<FastifyInstance> {
  const app = Fastify()
  await app.register(causeflowAuth, {
    jwt: { issuer: 'causeflow', audience: 'causeflow-api', secret: 'a secret of more than thirty-two bytes' },
    apiKey: { store: new MemoryApiKeyStore() },
    webhook: { secret: 'whsec_test' }
  })
  app.get('/v1/tenants/:tenantId/incidents', { config: { auth: auth.jwt().roles('admin') } }, async (request) => principalOf(request, 'jwt').subject)
  app.get('/report', { config: { auth: auth.apiKey().scopes('report:read') } }, async (request) => principalOf(request, 'apiKey').name)
  app.post('/ingest', { config: { auth: auth.all(auth.apiKey(), auth.webhook()) } }, async (request) => ({ by: request.principal?.proofs, body: request.body }))
  return app
}

t.test('a request in the name of a principal is let in without a credential, and its rule is still decided', async (t) => {
  const app = await build()
  const ask = async (principal: Parameters<typeof injectAs>[1]): Promise<[number, string]> => {
    const { statusCode, body } = await injectAs(app, principal, '/v1/tenants/ten_a/incidents')
    return [statusCode, statusCode === 200 ? body : JSON.parse(body).code]
  }
  t.strictSame(await ask({ subject: 'usr_1', tenantId: 'ten_a', roles: ['admin'] }), [200, 'usr_1'])
  t.strictSame(await ask({ tenantId: 'ten_a', roles: ['member'] }), [403, 'AUTH_ROLE_REQUIRED'])
  t.strictSame(await ask({ tenantId: 'ten_b', roles: ['admin'] }), [403, 'AUTH_TENANT_MISMATCH'])
  t.strictSame(await ask({ roles: ['admin'] }), [403, 'AUTH_TENANT_REQUIRED'])
  t.strictSame(await ask({ scheme: 'apiKey', tenantId: 'ten_a' }), [401, 'AUTH_CREDENTIAL_MISSING'])
})

t.test('keys and webhooks are stood in for as well, together where a rule takes both', async (t) => {
  const app = await build()
  t.equal((await injectAs(app, { scheme: 'apiKey', scopes: ['report:read'] }, '/report')).statusCode, 200)
  t.equal((await injectAs(app, { scheme: 'apiKey' }, '/report')).json().code, 'AUTH_SCOPE_REQUIRED')
  const both = await injectAs(app, [{ scheme: 'apiKey' }, { scheme: 'webhook' }], { method: 'POST', url: '/ingest', payload: { a: 1 } })
  t.strictSame(both.json(), { by: ['apiKey', 'webhook'], body: { a: 1 } })
  t.equal((await injectAs(app, [{ scheme: 'apiKey' }, { scheme: 'webhook' }], { method: 'POST', url: '/ingest' })).statusCode, 401)
})

t.test('a stand-in ends with its request, and its header alone opens nothing', async (t) => {
  const app = await build()
  let header: unknown
  app.addHook('onRequest', async (request) => { header = request.headers['x-causeflow-stand-in'] })
  const url = '/v1/tenants/ten_a/incidents'
  t.equal((await injectAs(app, { tenantId: 'ten_a', roles: ['admin'] }, url)).statusCode, 200)
  t.type(header, 'string')
  t.equal((await app.inject({ url, headers: { 'x-causeflow-stand-in': header as string } })).statusCode, 401)
})

t.test('injectAs does not run in production', async (t) => {
  const app = await build()
  const before = process.env.NODE_ENV
  t.teardown(() => { if (before === undefined) delete process.env.NODE_ENV; else process.env.NODE_ENV = before })
  process.env.NODE_ENV = 'production'
  await t.rejects(injectAs(app, {}, '/report'), /NODE_ENV=production/)
})
