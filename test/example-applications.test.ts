// The applications of docs/examples, each started as it stands and asked over HTTP. The compiler reads them with everything else.
import t from 'tap'
import { execFile } from 'node:child_process'
import { dirname, join } from 'node:path'
import { promisify } from 'node:util'
import type { FastifyInstance } from 'fastify'
import { deliverWebhook, signWebhook, type IssuedApiKey } from '../lib/index.js'
import { bearer, createTestIssuer } from '../lib/testing/index.js'

t.setTimeout(180_000)
const examples = join(dirname(import.meta.dirname), 'docs', 'examples')

/** Starts an example with what it takes from the environment, on a free port. */
async function start (t: { teardown (action: () => unknown): void }, file: string, environment: Record<string, string>): Promise<{ app: FastifyInstance, origin: string }> {
  Object.assign(process.env, environment, { PORT: '0', LOG_LEVEL: 'silent' })
  const { app } = await import(join(examples, file)) as { app: FastifyInstance }
  t.teardown(() => app.close())
  return { app, origin: app.listeningOrigin.replace('[::1]', 'localhost') }
}

const ask = async (url: string, init?: RequestInit): Promise<[number, unknown]> => {
  const answer = await fetch(url, init)
  const text = await answer.text()
  return [answer.status, text === '' ? null : JSON.parse(text)]
}
const json = { 'content-type': 'application/json' }

t.test('receiver: a CauseFlow event is received once, tomorrow\'s too, and nothing unsigned, changed or old', async (t) => {
  const secret = 'whsec_of_the_receiver'
  const { origin } = await start(t, 'receiver.ts', { WEBHOOK_SECRET: secret })
  const url = `${origin}/events`
  const event = { event: 'incident.created', timestamp: new Date().toISOString(), tenantId: 'ten_ACME', data: { incidentId: 'inc_1' } }
  const post = (body: string, headers: Record<string, string> = signWebhook(body, secret)): Promise<[number, unknown]> => ask(url, { method: 'POST', headers: { ...json, ...headers }, body })
  const code = async (answer: Promise<[number, unknown]>): Promise<unknown> => (await answer.then(([, body]) => body as { code: string })).code

  const body = JSON.stringify(event)
  t.strictSame(await post(body), [202, { received: 'incident.created', known: true }])
  t.equal(await code(post(body)), 'AUTH_DELIVERY_REPLAYED')
  t.strictSame(await post(JSON.stringify({ ...event, event: 'incident.dreamt' })), [202, { received: 'incident.dreamt', known: false }])
  t.equal(await code(post(body, {})), 'AUTH_SIGNATURE_MISSING')
  t.equal(await code(post(body + ' ', signWebhook(body, secret))), 'AUTH_SIGNATURE_INVALID')
  t.equal(await code(post(JSON.stringify({ ...event, timestamp: '2020-01-01T00:00:00Z' }))), 'AUTH_SIGNATURE_STALE')
  t.equal(await code(post('{"no":"envelope"}')), 'AUTH_SIGNATURE_STALE')
  const { tenantId, ...anonymous } = event
  t.equal(await code(post(JSON.stringify(anonymous))), 'FST_ERR_VALIDATION')
  const { delivered, status, attempts } = await deliverWebhook({ url, allowPrivate: true, secret, event: { ...event, event: 'remediation.proposed', data: { remediationId: 'rem_1' } } })
  t.strictSame([delivered, status, attempts.length], [true, 202, 1])
})

t.test('ingest: an alert of each of the five providers needs its tenant\'s key and that key\'s signature', async (t) => {
  const { app, origin } = await start(t, 'ingest.ts', {})
  const create = async (tenantId: string): Promise<IssuedApiKey> => await app.causeflowAuth.apiKeys.create({ tenantId, name: 'monitoring' })
  const [acme, globex] = [await create('ten_ACME'), await create('ten_GLOBEX')]
  const send = (path: string, alert: object, { key = acme, signedBy = key }: { key?: IssuedApiKey, signedBy?: IssuedApiKey } = {}): Promise<[number, unknown]> => {
    const body = JSON.stringify(alert)
    return ask(`${origin}/v1/webhooks/${path}`, { method: 'POST', headers: { ...json, 'x-api-key': key.plaintextKey, ...signWebhook(body, signedBy.webhookSecret!) }, body })
  }
  const alerts = {
    datadog: { title: '[Triggered] Error rate' },
    grafana: { title: '[FIRING:1] Error rate', alerts: [] },
    cloudwatch: { AlarmName: 'Error rate' },
    sentry: { data: { title: 'TypeError' } },
    custom: { title: 'Error rate' }
  }
  for (const [provider, alert] of Object.entries(alerts)) {
    const [status, answer] = await send(`ten_ACME/${provider}`, alert)
    t.equal(status, 201, provider)
    t.match(answer, { incidentId: /^inc_/ })
  }
  const refusal = async (answer: Promise<[number, unknown]>): Promise<[number, unknown]> => await answer.then(([status, body]) => [status, (body as { error: string }).error])
  t.strictSame(await refusal(send('ten_ACME/custom', alerts.custom)), [409, 'duplicate_delivery'])
  t.equal((await send('ten_GLOBEX/custom', alerts.custom, { key: globex }))[0], 201, 'another tenant\'s alert of the same bytes is another one')
  t.strictSame(await refusal(send('ten_ACME/pagerduty', { title: 'From elsewhere' })), [400, 'validation_error'])
  t.strictSame(await refusal(send('ten_ACME/custom', { none: true })), [400, 'validation_error'])
  t.strictSame(await refusal(send('ten_GLOBEX/custom', alerts.custom)), [403, 'forbidden'])
  t.strictSame(await refusal(send('ten_ACME/custom', alerts.custom, { key: acme, signedBy: globex })), [401, 'invalid_signature'])
  const body = JSON.stringify(alerts.custom)
  const post = (headers: Record<string, string>): Promise<[number, unknown]> => refusal(ask(`${origin}/v1/webhooks/ten_ACME/custom`, { method: 'POST', headers: { ...json, ...headers }, body }))
  t.strictSame(await post({ 'x-api-key': acme.plaintextKey }), [401, 'invalid_signature'])
  t.strictSame(await post(signWebhook(body, acme.webhookSecret!)), [401, 'invalid_api_key'])
  await app.causeflowAuth.apiKeys.revoke({ tenantId: 'ten_ACME', keyId: acme.keyId })
  t.strictSame(await refusal(send('ten_ACME/custom', { title: 'Another' })), [401, 'invalid_api_key'])
})

t.test('clerk: a session is let in with its organisation\'s roles and permissions, and without one where that is said', async (t) => {
  const issuer = await createTestIssuer()
  t.teardown(() => issuer.close())
  const { origin } = await start(t, 'clerk.ts', { CLERK_ISSUER: issuer.issuer, APP_ORIGIN: 'https://app.example.com' })
  const get = async (path: string, token: string): Promise<[number, unknown]> => await ask(`${origin}/v1/${path}`, { headers: bearer(token) })
  const code = async (path: string, token: string): Promise<unknown> => (await get(path, token).then(([, body]) => body as { code: string })).code
  const permissions = ['org:dashboard:read', 'org:dashboard:manage', 'org:teams:read']
  for (const version of [1, 2] as const) {
    const active = issuer.clerkSession(version)
    const [status, me] = await get('me', active)
    const { scopes, ...rest } = me as { scopes: string[] }
    t.strictSame([status, rest, scopes.sort()], [200, { subject: 'user_2EXAMPLE', tenantId: 'org_2EXAMPLE', roles: ['admin'] }, [...permissions].sort()], `version ${version}`)
    t.strictSame(await get('incidents', active), [200, { tenantId: 'org_2EXAMPLE', incidents: [] }])
    t.strictSame([(await get('settings', active))[0], (await get('teams', active))[0]], [200, 200])

    const none = issuer.clerkSession(version, { o: undefined, org_id: undefined, org_role: undefined, org_slug: undefined, org_permissions: undefined })
    t.strictSame(await get('me', none), [200, { subject: 'user_2EXAMPLE', tenantId: null, roles: [], scopes: [] }])
    t.equal(await code('incidents', none), 'AUTH_TENANT_REQUIRED')
    t.equal(await code('me', issuer.clerkSession(version, { sts: 'pending' })), 'AUTH_TOKEN_CLAIMS')
    t.equal(await code('me', issuer.clerkSession(version, { azp: 'https://evil.example.com' })), 'AUTH_TOKEN_CLAIMS')
  }
  t.equal(await code('settings', issuer.clerkSession(2, { o: { id: 'org_2EXAMPLE', rol: 'member' } })), 'AUTH_ROLE_REQUIRED')
  t.equal(await code('teams', issuer.clerkSession(2, { o: { id: 'org_2EXAMPLE', rol: 'admin' } })), 'AUTH_SCOPE_REQUIRED')
})

t.test('self-hosted: a token that the application\'s own @fastify/jwt has minted is let in, another\'s is not', async (t) => {
  const { app, origin } = await start(t, 'self-hosted.ts', { JWT_SECRET: 'a shared secret of more than thirty-two bytes', ADMIN_PASSWORD: 'correct horse' })
  const login = (password: string): Promise<[number, unknown]> => ask(`${origin}/v1/login`, { method: 'POST', headers: json, body: JSON.stringify({ email: 'ada@example.com', password }) })
  t.equal((await login('wrong'))[0], 401)
  const [, { token }] = await login('correct horse') as [number, { token: string }]
  t.strictSame(await ask(`${origin}/v1/me`, { headers: bearer(token) }), [200, { subject: 'usr_1', tenantId: 'ten_ACME' }])
  t.equal((await ask(`${origin}/v1/settings`, { headers: bearer(token) }))[0], 200)
  t.equal((await ask(`${origin}/v1/me`))[0], 401)
  const { jwt } = app as unknown as { jwt: { sign (claims: object, options?: object): string } }
  t.equal((await ask(`${origin}/v1/me`, { headers: bearer(jwt.sign({ sub: 'usr_2' }, { aud: 'another' })) }))[0], 401)
  t.equal((await ask(`${origin}/v1/settings`, { headers: bearer(jwt.sign({ sub: 'usr_2', tenant_id: 'ten_ACME', roles: ['member'] })) }))[0], 403)
})

t.test('testing: the example suite passes as its first line says', async (t) => {
  const { stdout } = await promisify(execFile)(process.execPath, ['--import', 'tsx', '--test', '--test-reporter=tap', join(examples, 'testing', 'app.test.ts')], {
    timeout: 120_000,
    // As a developer starts it: under another test run it would report in that one's protocol.
    env: { ...process.env, NODE_TEST_CONTEXT: undefined }
  })
  t.match(stdout, /^# pass 6$/m)
  t.match(stdout, /^# fail 0$/m)
})
