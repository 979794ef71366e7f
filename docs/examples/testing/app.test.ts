// The tests of app.ts: `node --import tsx --test app.test.ts`.
import assert from 'node:assert/strict'
import { after, beforeEach, test } from 'node:test'
import type { FastifyInstance } from 'fastify'
// In an application: from 'fastify-causeflow-auth/testing'.
import { bearer, createTestIssuer, injectAs, signedDelivery } from '../../../lib/testing/index.js'
import { buildApp } from './app.js'

let now = Date.parse('2026-01-01T00:00:00Z')
const clock = (): number => now
const secret = 'whsec_of_the_tests'
const issuer = await createTestIssuer({ clock })
let app: FastifyInstance

beforeEach(async () => {
  await app?.close()
  app = await buildApp({ jwt: issuer.jwtOptions(), webhook: { secret }, clock })
})
after(async () => {
  await app.close()
  await issuer.close()
})

// Most tests are about what somebody may do: they name him and need no token.
const incidents = '/v1/tenants/ten_ACME/incidents'
const ada = { subject: 'usr_ada', tenantId: 'ten_ACME', roles: ['admin'] }

test('a member reads the incidents of his tenant and no other\'s', async () => {
  const answer = await injectAs(app, ada, incidents)
  assert.deepEqual([answer.statusCode, answer.json()], [200, { readBy: 'usr_ada', incidents: [] }])
  assert.equal((await injectAs(app, ada, '/v1/tenants/ten_GLOBEX/incidents')).json().code, 'AUTH_TENANT_MISMATCH')
})

test('only an administrator deletes a tenant', async () => {
  const request = { method: 'DELETE', url: '/v1/tenants/ten_ACME' } as const
  assert.equal((await injectAs(app, { ...ada, roles: ['member'] }, request)).json().code, 'AUTH_ROLE_REQUIRED')
  assert.equal((await injectAs(app, ada, request)).statusCode, 204)
})

// A few go the whole way, with real tokens, real keys and a key set over HTTP.
const status = async (token: string): Promise<number> => (await app.inject({ url: incidents, headers: bearer(token) })).statusCode
const member = { tenant_id: 'ten_ACME' }

test('a good token is let in; a forged, an expired and a foreign one, and none, are not', async () => {
  assert.equal(await status(issuer.token(member)), 200)
  assert.equal(await status(issuer.forged(member)), 401)
  assert.equal(await status(issuer.expired(member)), 401)
  assert.equal(await status(issuer.token({ ...member, aud: 'https://another.example.com' })), 401)
  assert.equal((await app.inject(incidents)).statusCode, 401)
})

test('a token lasts until it expires, when the clock says so', async () => {
  const token = issuer.token(member)
  assert.equal(await status(token), 200)
  now += 305_000
  assert.equal(await status(token), 401)
})

test('while the issuer is down, known keys serve; after a rotation the new one does', async () => {
  assert.equal(await status(issuer.token(member)), 200)
  issuer.outage(true)
  now += 700_000
  assert.equal(await status(issuer.token(member)), 200)
  issuer.outage(false)
  await issuer.rotate()
  now += 60_000
  assert.equal(await status(issuer.token(member)), 200)
})

test('a delivery counts when it is signed, and not when anything of it is changed', async () => {
  const body = { event: 'incident.created', timestamp: '2026-01-01T00:00:00Z', tenantId: 'ten_ACME', data: { incidentId: 'inc_1' } }
  const delivery = { url: '/events', body, secret }
  assert.deepEqual((await app.inject(signedDelivery(delivery))).json(), { received: 'incident.created' })
  for (const tamper of ['body', 'signature', 'removed'] as const) {
    assert.equal((await app.inject(signedDelivery({ ...delivery, tamper }))).statusCode, 401, tamper)
  }
})
