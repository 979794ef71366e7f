/** A route's rule and guards, each of which proves somebody: whose request it is, and which tenants agree. */
import t from 'tap'
import fastifyAuth from '@fastify/auth'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { auth, causeflowAuth, principalOf, type AuthRule, type CauseflowAuthOptions } from '../../lib/index.js'
import { bearer, createApp, issueKey, refusalOf, signed } from '../fixtures/app.js'

const phases = ['onRequest', 'preParsing', 'preValidation', 'preHandler'] as const
const mismatch = { status: 403, code: 'AUTH_TENANT_MISMATCH' }

/** Who a request is of, and what each scheme proved for it. */
async function whoami (request: FastifyRequest): Promise<object> {
  const tenantOf = (scheme: 'jwt' | 'apiKey' | 'webhook'): string | null => {
    try {
      return principalOf(request, scheme).tenantId
    } catch {
      return 'none'
    }
  }
  return { scheme: request.principal?.scheme ?? null, proofs: request.principal?.proofs ?? null, jwt: tenantOf('jwt'), apiKey: tenantOf('apiKey'), webhook: tenantOf('webhook') }
}

/** An application with a scope for each phase, whose guards carry the rules. */
async function createSite (t: Parameters<typeof createApp>[0], rule: AuthRule, guards: readonly AuthRule[], own: Partial<CauseflowAuthOptions> = {}): Promise<{ app: FastifyInstance, key: { 'x-api-key': string } }> {
  const app = await createApp(t, { auth: own })
  for (const phase of phases) {
    await app.register(async (scope) => {
      for (const guard of guards) scope.addHook(phase as 'preHandler', app.causeflowAuth.require(guard))
      scope.post('/', { config: { auth: rule } }, whoami)
    }, { prefix: `/${phase}` })
  }
  await app.ready()
  return { app, key: { 'x-api-key': (await issueKey(app)).plaintextKey } }
}

const json = { 'content-type': 'application/json' }

t.test('the principal of the route\'s rule stays, and the proof of a guard is kept beside it', async (t) => {
  const { app, key } = await createSite(t, auth.apiKey(), [auth.jwt()])
  for (const phase of phases) {
    const answer = await app.inject({ method: 'POST', url: `/${phase}`, payload: '{}', headers: { ...json, ...key, ...bearer() } })
    t.strictSame(answer.json(), { scheme: 'apiKey', proofs: ['jwt', 'apiKey'], jwt: 'ten_a', apiKey: 'ten_a', webhook: 'none' }, phase)
    t.strictSame((await app.inject({ method: 'POST', url: `/${phase}`, payload: '{}', headers: { ...json, ...key } })).statusCode, 401, phase)
  }
})

t.test('a key of one tenant and a token of another are rejected, also where both rules say anyTenant()', async (t) => {
  for (const [rule, guard] of [[auth.apiKey(), auth.jwt()], [auth.apiKey().anyTenant(), auth.jwt().anyTenant()]] as const) {
    const { app, key } = await createSite(t, rule, [guard])
    for (const phase of phases) {
      t.match(refusalOf(await app.inject({ method: 'POST', url: `/${phase}`, payload: '{}', headers: { ...json, ...key, ...bearer({ tenant_id: 'ten_b' }) } })), mismatch, phase)
    }
  }
})

t.test('two guards agree on the tenant, and the first that proves somebody names the principal', async (t) => {
  const { app, key } = await createSite(t, auth.public(), [auth.jwt().optional(), auth.apiKey()])
  for (const phase of phases) {
    const url = `/${phase}`
    t.match(refusalOf(await app.inject({ method: 'POST', url, payload: '{}', headers: { ...json, ...key, ...bearer({ tenant_id: 'ten_b' }) } })), mismatch, phase)
    t.match((await app.inject({ method: 'POST', url, payload: '{}', headers: { ...json, ...key, ...bearer() } })).json(), { scheme: 'jwt', proofs: ['jwt', 'apiKey'], apiKey: 'ten_a' }, phase)
    t.match((await app.inject({ method: 'POST', url, payload: '{}', headers: { ...json, ...key } })).json(), { scheme: 'apiKey', proofs: ['apiKey'], jwt: 'none' }, phase)
  }
})

t.test('a signature that the route asks for is proved after a guard in onRequest, and its principal counts', async (t) => {
  const sender = { name: 'default', secret: async () => ({ secrets: 'whsec_of_the_tests', tenantId: 'ten_a' }) }
  const { app } = await createSite(t, auth.webhook(), [auth.jwt()], { webhook: sender })
  for (const phase of phases) {
    const post = (headers: Record<string, string>) => app.inject({ method: 'POST', url: `/${phase}`, payload: '{}', headers: signed('{}', headers) })
    t.strictSame((await post(bearer())).json(), { scheme: 'webhook', proofs: ['jwt', 'webhook'], jwt: 'ten_a', apiKey: 'none', webhook: 'ten_a' }, phase)
    t.match(refusalOf(await post(bearer({ tenant_id: 'ten_b' }))), mismatch, phase)
    t.equal((await post({})).statusCode, 401, phase)
  }
})

t.test('a rule of several credentials keeps its proofs next to those of a guard', async (t) => {
  const { app, key } = await createSite(t, auth.all(auth.webhook(), auth.apiKey()), [auth.jwt()])
  for (const phase of phases) {
    const post = (claims: object) => app.inject({ method: 'POST', url: `/${phase}`, payload: '{}', headers: signed('{}', { ...key, ...bearer(claims as Record<string, unknown>) }) })
    t.strictSame((await post({})).json(), { scheme: 'apiKey', proofs: ['jwt', 'apiKey', 'webhook'], jwt: 'ten_a', apiKey: 'ten_a', webhook: null }, phase)
    t.match(refusalOf(await post({ tenant_id: 'ten_b' })), mismatch, phase)
  }
})

t.test('a guard that asks for the credential of the route again adds nothing', async (t) => {
  const { app } = await createSite(t, auth.jwt(), [auth.jwt().roles('member'), auth.any(auth.jwt(), auth.apiKey())])
  for (const phase of phases) {
    t.strictSame((await app.inject({ method: 'POST', url: `/${phase}`, payload: '{}', headers: { ...json, ...bearer() } })).json(), { scheme: 'jwt', proofs: ['jwt'], jwt: 'ten_a', apiKey: 'none', webhook: 'none' }, phase)
  }
})

t.test('a principal without a tenant disagrees with nobody, and without tenants nothing is compared', async (t) => {
  const loose = await createSite(t, auth.apiKey(), [auth.jwt()], { tenant: { required: false } })
  const none = await createSite(t, auth.apiKey(), [auth.jwt()], { tenant: false })
  const post = ({ app, key }: typeof loose, claims: Record<string, unknown>) => app.inject({ method: 'POST', url: '/preHandler', payload: '{}', headers: { ...json, ...key, ...bearer(claims) } })
  t.match((await post(loose, { tenant_id: undefined })).json(), { scheme: 'apiKey', jwt: null, apiKey: 'ten_a' })
  t.match(refusalOf(await post(loose, { tenant_id: 'ten_b' })), mismatch)
  t.match((await post(none, { tenant_id: 'ten_b' })).json(), { scheme: 'apiKey', jwt: 'ten_b', apiKey: 'ten_a' })
})

t.test('the principal with the proofs of a guard is frozen, and of this request alone', async (t) => {
  const seen: unknown[] = []
  const app = await createApp(t)
  await app.register(async (scope) => {
    scope.addHook('preHandler', app.causeflowAuth.apiKey.bind(scope))
    scope.get('/both', async ({ principal }) => { seen.push(principal); return Object.isFrozen(principal) && Object.isFrozen(principal?.proofs) })
  })
  app.get('/one', async ({ principal }) => principal?.proofs)
  await app.ready()
  const { plaintextKey } = await issueKey(app)
  const headers = { ...bearer(), 'x-api-key': plaintextKey }
  t.equal((await app.inject({ url: '/both', headers })).json(), true)
  t.strictSame((await app.inject({ url: '/one', headers: bearer() })).json(), ['jwt'], 'the remembered principal of the token is as it was')
})

t.test('in app.auth() a guard of another tenant is passed over where one guard is enough, and rejects where all have to let in', async (t) => {
  const app = await createApp(t, { auth: { default: auth.public() } })
  await app.register(fastifyAuth)
  const { jwt, apiKey } = app.causeflowAuth
  app.get('/or', { preHandler: app.auth([apiKey, jwt], { run: 'all' }) }, whoami)
  app.get('/and', { preHandler: app.auth([apiKey, jwt], { relation: 'and' }) }, whoami)
  await app.ready()
  const headers = { 'x-api-key': (await issueKey(app)).plaintextKey, ...bearer({ tenant_id: 'ten_b' }) }
  t.match((await app.inject({ url: '/or', headers })).json(), { scheme: 'apiKey', proofs: ['apiKey'], jwt: 'none' })
  t.match(refusalOf(await app.inject({ url: '/and', headers })), mismatch)
})

t.test('a guard of an outer registration runs before the rule of an inner one, whose principal counts', async (t) => {
  const app = await createApp(t, { auth: { default: auth.public() } })
  await app.register(async (outer) => {
    outer.addHook('onRequest', app.causeflowAuth.jwt)
    await outer.register(async (inner) => {
      await inner.register(causeflowAuth, { default: auth.apiKey() })
      inner.get('/', whoami)
      inner.get('/open', { config: { auth: auth.public() } }, whoami)
    })
  })
  await app.ready()
  const key = { 'x-api-key': (await issueKey(app)).plaintextKey }
  t.match((await app.inject({ url: '/', headers: { ...key, ...bearer() } })).json(), { scheme: 'apiKey', proofs: ['jwt', 'apiKey'], jwt: 'ten_a' })
  t.match(refusalOf(await app.inject({ url: '/', headers: { ...key, ...bearer({ tenant_id: 'ten_b' }) } })), mismatch)
  t.match((await app.inject({ url: '/open', headers: bearer() })).json(), { scheme: 'jwt', proofs: ['jwt'] }, 'a public rule proves nobody, so the guard\'s principal stays')
})
