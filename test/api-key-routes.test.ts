import { createHmac } from 'node:crypto'
import Fastify, { type FastifyInstance } from 'fastify'
import t from 'tap'
import causeflowAuth, { apiKeyRoutes, auth, MemoryApiKeyStore } from '../lib/index.js'

const secret = 'a secret of more than thirty-two bytes'
const now = Date.parse('2026-01-01T00:00:00Z')

function token (tenantId: string | null, ...roles: string[]): string {
  const part = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url')
  const claims = { iss: 'causeflow', aud: 'causeflow-api', sub: 'usr_1', exp: now / 1000 + 60, roles, ...(tenantId === null ? {} : { tenant_id: tenantId }) }
  const signed = `${part({ alg: 'HS256', typ: 'JWT' })}.${part(claims)}`
  return `Bearer ${signed}.${createHmac('sha256', secret).update(signed).digest('base64url')}`
}

async function build (): Promise<FastifyInstance> {
  const app = Fastify()
  await app.register(causeflowAuth, { jwt: { issuer: 'causeflow', audience: 'causeflow-api', secret }, apiKey: { store: new MemoryApiKeyStore() }, clock: () => now })
  await app.register(apiKeyRoutes, { prefix: '/v1' })
  app.get('/ingest', { config: { auth: auth.apiKey() } }, async () => 'in')
  return app
}

type Call = [method: 'GET' | 'POST' | 'DELETE', url: string, authorization?: string, payload?: object]
async function call (app: FastifyInstance, [method, url, authorization, payload]: Call): Promise<{ status: number, body: any, cache: unknown }> {
  const answer = await app.inject({ method, url, headers: authorization === undefined ? {} : { authorization }, ...(payload === undefined ? {} : { payload }) })
  return { status: answer.statusCode, body: answer.body === '' ? null : answer.json(), cache: answer.headers['cache-control'] }
}

const admin = token('ten_a', 'admin')
const member = token('ten_a', 'member')
const stranger = token('ten_b', 'admin')

t.test('an admin makes a key, which is shown once and works; a member only lists', async (t) => {
  const app = await build()
  const made = await call(app, ['POST', '/v1/api-keys', admin, { name: 'Datadog', scopes: ['ingest'] }])
  t.match(made, { status: 201, cache: 'no-store', body: { keyId: /^key_[0-9A-HJKMNP-TV-Z]{26}$/, name: 'Datadog', plaintextKey: /^cflo_live_sk_/, webhookSecret: /^whsec_/ } })
  t.equal((await app.inject({ url: '/ingest', headers: { 'x-api-key': made.body.plaintextKey } })).statusCode, 200)
  t.match(await call(app, ['POST', '/v1/api-keys', member, { name: 'x' }]), { status: 403, body: { error: 'forbidden' } })
  t.match(await call(app, ['DELETE', `/v1/api-keys/${made.body.keyId}`, member]), { status: 403, body: { error: 'forbidden' } })
  const listed = await call(app, ['GET', '/v1/api-keys', member])
  t.strictSame(listed.body, {
    keys: [{
      keyId: made.body.keyId, name: 'Datadog', prefix: made.body.prefix, status: 'active', createdAt: '2026-01-01T00:00:00.000Z', environment: 'live', scopes: ['ingest'], expiresAt: null, lastUsedAt: null
    }],
    cursor: null
  })
})

t.test('a revoked key is refused at once, and revoking it again is a conflict', async (t) => {
  const app = await build()
  const { body } = await call(app, ['POST', '/v1/api-keys', admin, { name: 'k' }])
  const url = `/v1/api-keys/${body.keyId}`
  t.match(await call(app, ['DELETE', url, stranger]), { status: 404, body: { error: 'not_found' } }, 'another tenant finds nothing')
  t.strictSame(await call(app, ['DELETE', url, admin]), { status: 204, body: null, cache: 'no-store' })
  t.equal((await app.inject({ url: '/ingest', headers: { 'x-api-key': body.plaintextKey } })).statusCode, 401)
  t.match(await call(app, ['DELETE', url, admin]), { status: 409, body: { error: 'conflict' } })
  t.match(await call(app, ['DELETE', '/v1/api-keys/key_unknown', admin]), { status: 404, body: { error: 'not_found' } })
})

t.test('the sixth active key is one too many', async (t) => {
  const app = await build()
  for (let i = 0; i < 5; i++) t.equal((await call(app, ['POST', '/v1/api-keys', admin, { name: `k${i}` }])).status, 201)
  t.match(await call(app, ['POST', '/v1/api-keys', admin, { name: 'k6' }]), { status: 429, body: { error: 'quota_exceeded' } })
  t.equal((await call(app, ['POST', '/v1/api-keys', stranger, { name: 'other' }])).status, 201, 'another tenant has a quota of its own')
})

t.test('a body that the contract does not know is a validation error', async (t) => {
  const app = await build()
  for (const payload of [{}, { name: '' }, { name: 'x'.repeat(101) }, { name: 'a\nb' }, { name: 'x', expiresAt: '2020-01-01T00:00:00Z' }, { name: 'x', expiresAt: 'soon' }, { name: 'x', scopes: ['a b'] }, { name: 5 }]) {
    const answer = await call(app, ['POST', '/v1/api-keys', admin, payload])
    // Ajv coerces the number to a string, as Fastify has it do everywhere.
    if (payload.name === 5) t.equal(answer.status, 201)
    else t.match(answer, { status: 400, body: { error: 'validation_error' } }, JSON.stringify(payload))
  }
})

t.test('what rotates needs no body: everything in it may be left out', async (t) => {
  const app = await build()
  const { body: { keyId } } = await call(app, ['POST', '/v1/api-keys', admin, { name: 'k' }])
  t.match(await call(app, ['POST', `/v1/api-keys/${keyId}/webhook-secret`, admin]), { status: 201, body: { keyId, previousUntil: '2026-01-01T00:00:00.000Z' } })
  t.match(await call(app, ['POST', `/v1/api-keys/${keyId}/rotate`, admin]), { status: 201, body: { name: 'k' } })
})

t.test('rotation answers the new key once and ends the old one, or lets it overlap', async (t) => {
  const app = await build()
  const { body: old } = await call(app, ['POST', '/v1/api-keys', admin, { name: 'k' }])
  const rotated = await call(app, ['POST', `/v1/api-keys/${old.keyId}/rotate`, admin, { overlap: 60 }])
  t.equal(rotated.status, 201)
  for (const key of [old.plaintextKey, rotated.body.plaintextKey]) t.equal((await app.inject({ url: '/ingest', headers: { 'x-api-key': key } })).statusCode, 200)
  const again = await call(app, ['POST', `/v1/api-keys/${rotated.body.keyId}/rotate`, admin, {}])
  t.match(again, { status: 409, body: { error: 'conflict' } })
  t.match(await call(app, ['POST', `/v1/api-keys/${old.keyId}/rotate`, stranger, {}]), { status: 404 })
  const secretRotated = await call(app, ['POST', `/v1/api-keys/${rotated.body.keyId}/webhook-secret`, admin, { overlap: 5 }])
  t.match(secretRotated, { status: 201, body: { keyId: rotated.body.keyId, webhookSecret: /^whsec_/, previousUntil: '2026-01-01T00:00:05.000Z' } })
})

t.test('without a tenant, and without a token, there are no keys to manage', async (t) => {
  const app = await build()
  t.match(await call(app, ['GET', '/v1/api-keys', token(null, 'admin')]), { status: 403, body: { error: 'forbidden' } })
  t.match(await call(app, ['GET', '/v1/api-keys']), { status: 401, body: { error: 'unauthorized' } })
})

t.test('registered before causeflowAuth the routes do not start', async (t) => {
  const app = Fastify()
  app.register(apiKeyRoutes)
  await t.rejects(async () => await app.ready(), { code: 'AUTH_CONFIG_REGISTRATION', message: /Register it first/ })
})

t.test('no query, body or prefix speaks for another tenant than the principal\'s', async (t) => {
  const app = await build()
  const { body: mine } = await call(app, ['POST', '/v1/api-keys', admin, { name: 'mine', tenantId: 'ten_b', createdBy: 'usr_x' }])
  t.equal((await call(app, ['GET', '/v1/api-keys?tenantId=ten_a', stranger])).body.keys.length, 0)
  t.equal((await call(app, ['POST', `/v1/api-keys/${mine.keyId}/rotate`, stranger, { tenantId: 'ten_a' }])).status, 404)
  t.equal((await call(app, ['POST', `/v1/api-keys/${mine.keyId}/webhook-secret`, stranger, { tenantId: 'ten_a' }])).status, 404)
  t.equal((await call(app, ['DELETE', `/v1/api-keys/${mine.keyId}?tenantId=ten_a`, stranger])).status, 404)
  t.match((await call(app, ['GET', '/v1/api-keys', admin])).body.keys, [{ keyId: mine.keyId, status: 'active' }])

  const prefixed = Fastify()
  await prefixed.register(causeflowAuth, { jwt: { issuer: 'causeflow', audience: 'causeflow-api', secret }, apiKey: { store: new MemoryApiKeyStore() }, clock: () => now, tenant: { param: 'tenant' } })
  await prefixed.register(apiKeyRoutes, { prefix: '/v1/:tenantId', manage: auth.jwt().anyTenant(), list: auth.jwt().anyTenant() })
  const made = await call(prefixed, ['POST', '/v1/ten_a/api-keys', admin, { name: 'mine' }])
  t.equal((await call(prefixed, ['DELETE', `/v1/ten_a/api-keys/${made.body.keyId}`, stranger])).status, 404)
})
