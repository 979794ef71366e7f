import { createHmac } from 'node:crypto'
import Fastify, { type FastifyInstance, type FastifyServerOptions } from 'fastify'
import t from 'tap'
import causeflowAuth, { apiKeyRoutes, auth, MemoryApiKeyStore, signWebhook, type ApiKeyRoutesOptions } from '../lib/index.js'
import { routeContract } from './api-key/route-contract.js'
import { watchProcess } from './fixtures/process-watch.js'

watchProcess(t)

const secret = 'a secret of more than thirty-two bytes'
const now = Date.parse('2026-01-01T00:00:00Z')

function token (tenantId: string | null, ...roles: string[]): string {
  const part = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url')
  const claims = { iss: 'causeflow', aud: 'causeflow-api', sub: 'usr_1', exp: now / 1000 + 60, roles, ...(tenantId === null ? {} : { tenant_id: tenantId }) }
  const signed = `${part({ alg: 'HS256', typ: 'JWT' })}.${part(claims)}`
  return `Bearer ${signed}.${createHmac('sha256', secret).update(signed).digest('base64url')}`
}

async function build (options: ApiKeyRoutesOptions = {}, server: FastifyServerOptions = {}, change?: (app: FastifyInstance) => void): Promise<FastifyInstance> {
  const app = Fastify(server)
  change?.(app)
  await app.register(causeflowAuth, { jwt: { issuer: 'causeflow', audience: 'causeflow-api', secret }, apiKey: { store: new MemoryApiKeyStore() }, clock: () => now })
  await app.register(apiKeyRoutes, { prefix: '/v1', ...options })
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

t.test('a field that the contract does not know is named in a 400 and makes nothing, whatever the application validates with', async (t) => {
  const settings: Array<[words: string, options: FastifyServerOptions, change?: (app: FastifyInstance) => void]> = [
    ['Fastify\'s own Ajv, which takes unknown fields away', {}],
    ['an Ajv that leaves them', { ajv: { customOptions: { removeAdditional: false } } }],
    ['an Ajv that takes all of them away and coerces nothing', { ajv: { customOptions: { removeAdditional: 'all', coerceTypes: false } } }],
    ['a validator of its own that lets everything pass', {}, (app) => { app.setValidatorCompiler(() => () => true) }]
  ]
  for (const [words, options, change] of settings) {
    await t.test(words, async (t) => {
      const app = await build({}, options, change)
      const refused = async (field: string, request: Call): Promise<void> => {
        const answer = await call(app, request)
        t.match(answer, { status: 400, cache: 'no-store', body: { error: 'validation_error' } }, field)
        t.ok(answer.body.message.startsWith(`body has an unknown field ${JSON.stringify(field)}. `), answer.body.message)
      }
      await refused('scope', ['POST', '/v1/api-keys', admin, { name: 'k', scope: ['ingest'] }])
      await refused('expires', ['POST', '/v1/api-keys', admin, { name: 'k', expires: '2027-01-01T00:00:00Z' }])
      await refused('toString', ['POST', '/v1/api-keys', admin, { name: 'k', toString: 1 }])
      await refused('x'.repeat(64), ['POST', '/v1/api-keys', admin, { name: 'k', ['x'.repeat(1000)]: 1 }])
      t.equal((await call(app, ['GET', '/v1/api-keys', admin])).body.keys.length, 0)

      const { body: { keyId } } = await call(app, ['POST', '/v1/api-keys', admin, { name: 'k', scopes: [], environment: 'live', expiresAt: '2027-01-01T00:00:00Z' }])
      await refused('overlapSeconds', ['POST', `/v1/api-keys/${keyId}/rotate`, admin, { overlapSeconds: 60 }])
      await refused('overlaps', ['POST', `/v1/api-keys/${keyId}/webhook-secret`, admin, { overlap: 60, overlaps: 60 }])
      await refused('keyId', ['DELETE', `/v1/api-keys/${keyId}`, admin, { keyId: 'key_other' }])
      t.match((await call(app, ['GET', '/v1/api-keys', admin])).body.keys, [{ keyId, status: 'active' }])
      t.equal((await call(app, ['DELETE', `/v1/api-keys/${keyId}`, admin, {}])).status, 204, 'an empty body says nothing')
    })
  }
})

t.test('a cursor that no page has answered is a validation error and not the first page', async (t) => {
  const app = await build()
  for (const name of ['one', 'two', 'three']) await call(app, ['POST', '/v1/api-keys', admin, { name }])
  const { body: { cursor, keys } } = await call(app, ['GET', '/v1/api-keys?limit=2', admin])
  t.equal((await call(app, ['GET', `/v1/api-keys?limit=2&cursor=${cursor}`, admin])).body.keys.length, 1)
  for (const garbage of ['', 'garbage', '~', '%00', `${cursor}x`, 'x'.repeat(257)]) {
    t.match(await call(app, ['GET', `/v1/api-keys?cursor=${garbage}`, admin]), { status: 400, body: { error: 'validation_error', message: /cursor/ } }, garbage)
  }
  t.match(await call(app, ['GET', `/v1/api-keys?cursor=${keys[0].keyId}`, stranger]), { status: 400, body: { error: 'validation_error' } }, 'another tenant\'s is none')
})

t.test('a key that manages keys hands on no scope that it lacks', async (t) => {
  const app = await build({ manage: auth.any(auth.jwt().roles('admin'), auth.apiKey().scopes('keys')) })
  const issue = async (...scopes: string[]) => (await call(app, ['POST', '/v1/api-keys', admin, { name: 'k', scopes }])).body
  const manager = await issue('keys', 'ingest')
  const own = `Bearer ${manager.plaintextKey}`
  const refused = async (words: string, wanted: string | null, [, url, , payload]: Call): Promise<void> => {
    const answer = await app.inject({ method: 'POST', url, headers: { authorization: own }, payload: payload ?? {} })
    t.strictSame([answer.statusCode, answer.json()], [403, { error: 'insufficient_scope', message: 'A scope is missing' }], words)
    t.equal(answer.headers['www-authenticate'], `ApiKey realm="causeflow", error="insufficient_scope"${wanted === null ? '' : `, scope="${wanted}"`}`, words)
  }
  const names = async (): Promise<string[]> => (await call(app, ['GET', '/v1/api-keys', admin])).body.keys.map(({ keyId }: { keyId: string }) => keyId)

  const stronger = await issue('keys', 'ingest', 'admin')
  const before = await names()
  await refused('a scope that it lacks', 'ingest admin', ['POST', '/v1/api-keys', own, { name: 'k', scopes: ['ingest', 'admin'] }])
  await refused('a scope that begins like its own', 'ingest:all', ['POST', '/v1/api-keys', own, { name: 'k', scopes: ['ingest:all'] }])
  await refused('the place of a key of more scopes', null, ['POST', `/v1/api-keys/${stronger.keyId}/rotate`, own])
  await refused('and with an overlap', null, ['POST', `/v1/api-keys/${stronger.keyId}/rotate`, own, { overlap: 60 }])
  await refused('the secret of a key of more scopes', null, ['POST', `/v1/api-keys/${stronger.keyId}/webhook-secret`, own])
  t.strictSame(await names(), before, 'nothing was made')
  t.equal((await app.inject({ url: '/ingest', headers: { 'x-api-key': stronger.plaintextKey } })).statusCode, 200)

  const weaker = await call(app, ['POST', '/v1/api-keys', own, { name: 'k', scopes: ['ingest'] }])
  t.match(weaker, { status: 201, body: { scopes: ['ingest'] } })
  t.match(await call(app, ['POST', `/v1/api-keys/${weaker.body.keyId}/webhook-secret`, own]), { status: 201 })
  t.match(await call(app, ['POST', `/v1/api-keys/${weaker.body.keyId}/rotate`, own]), { status: 201, body: { scopes: ['ingest'] } })
  t.match(await call(app, ['POST', '/v1/api-keys/key_unknown/rotate', own]), { status: 404 })
  t.match(await call(app, ['POST', `/v1/api-keys/${manager.keyId}/rotate`, own]), { status: 201, body: { scopes: ['keys', 'ingest'] } }, 'itself')
  t.match(await call(app, ['POST', `/v1/api-keys/${stronger.keyId}/rotate`, admin]), { status: 201 }, 'a person is judged by the rule')
})

t.test('a key beside a signature is a key: what it hands on is limited, too', async (t) => {
  const app = Fastify()
  await app.register(causeflowAuth, { apiKey: { store: new MemoryApiKeyStore() }, webhook: { secret }, clock: () => now })
  await app.register(apiKeyRoutes, { manage: auth.all(auth.webhook(), auth.apiKey().scopes('keys')), list: auth.apiKey() })
  const { plaintextKey } = await app.causeflowAuth.apiKeys.create({ tenantId: 'ten_a', name: 'manager', scopes: ['keys'] })
  for (const [scope, status] of [['keys', 201], ['admin', 403]] as const) {
    const payload = JSON.stringify({ name: 'k', scopes: [scope] })
    const answer = await app.inject({ method: 'POST', url: '/api-keys', headers: { 'content-type': 'application/json', 'x-api-key': plaintextKey, ...signWebhook(payload, secret) }, payload })
    t.equal(answer.statusCode, status, scope)
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
  t.equal((await call(app, ['POST', '/v1/api-keys', admin, { name: 'mine', tenantId: 'ten_b', createdBy: 'usr_x' }])).status, 400)
  const { body: mine } = await call(app, ['POST', '/v1/api-keys?tenantId=ten_b', admin, { name: 'mine' }])
  t.equal((await call(app, ['GET', '/v1/api-keys?tenantId=ten_a', stranger])).body.keys.length, 0)
  for (const renewal of ['rotate', 'webhook-secret']) {
    t.equal((await call(app, ['POST', `/v1/api-keys/${mine.keyId}/${renewal}`, stranger, { tenantId: 'ten_a' }])).status, 400)
    t.equal((await call(app, ['POST', `/v1/api-keys/${mine.keyId}/${renewal}?tenantId=ten_a`, stranger])).status, 404)
  }
  t.equal((await call(app, ['DELETE', `/v1/api-keys/${mine.keyId}?tenantId=ten_a`, stranger])).status, 404)
  t.match((await call(app, ['GET', '/v1/api-keys', admin])).body.keys, [{ keyId: mine.keyId, status: 'active' }])

  const prefixed = Fastify()
  await prefixed.register(causeflowAuth, { jwt: { issuer: 'causeflow', audience: 'causeflow-api', secret }, apiKey: { store: new MemoryApiKeyStore() }, clock: () => now, tenant: { param: 'tenant' } })
  await prefixed.register(apiKeyRoutes, { prefix: '/v1/:tenantId', manage: auth.jwt().anyTenant(), list: auth.jwt().anyTenant() })
  const made = await call(prefixed, ['POST', '/v1/ten_a/api-keys', admin, { name: 'mine' }])
  t.equal((await call(prefixed, ['DELETE', `/v1/ten_a/api-keys/${made.body.keyId}`, stranger])).status, 404)
})

t.test('over a store in memory', async (t) => {
  routeContract(t, () => new MemoryApiKeyStore())
})
