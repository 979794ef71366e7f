import t from 'tap'
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { apiKeySecret, auth, causeflowErrorHandler, MemoryApiKeyStore, problemErrorHandler, type ApiKeyStore } from '../../lib/index.js'
import { bearer, createApp, createLog, issueKey, now, signed, token, tokenSecret, watchProcess, webhookSecret } from '../fixtures/app.js'

watchProcess(t)

const handlers = { 'Fastify\'s': null, causeflowErrorHandler: causeflowErrorHandler(), problemErrorHandler: problemErrorHandler() }

for (const [title, handler] of Object.entries(handlers)) {
  t.test(`nothing of a credential is in a log line at trace level, in an answer or in its headers, with ${title} error handler`, async (t) => {
    const faults = watchProcess(t)
    const log = createLog()
    let down = false
    const memory = new MemoryApiKeyStore()
    // A driver's error may quote what it was asked.
    const store: ApiKeyStore = Object.assign(Object.create(memory) as MemoryApiKeyStore, {
      findByDigest: (digest: string) => { if (down) throw new Error('the connection is closed'); return memory.findByDigest(digest) },
      create: memory.create.bind(memory)
    })
    for (const name of ['get', 'list', 'revoke', 'rotate', 'replaceSecrets', 'revokeAll', 'touch'] as const) Object.assign(store, { [name]: (memory[name] as (...args: unknown[]) => unknown).bind(memory) })
    const app = await createApp(t, { fastify: { logger: log.logger }, auth: { apiKey: { store, cache: false }, webhook: { secret: apiKeySecret() } } })
    if (handler !== null) app.setErrorHandler(handler)
    app.get('/jwt', async () => ({}))
    app.get('/key', { config: { auth: auth.apiKey() } }, async () => ({}))
    app.get('/either', { config: { auth: auth.any(auth.jwt().roles('admin'), auth.apiKey().scopes('x')) } }, async () => ({}))
    app.get('/check', { config: { auth: auth.jwt().check('throws', () => { throw new Error('the check is broken') }) } }, async () => ({}))
    app.post('/v1/:tenantId', { config: { auth: auth.all(auth.apiKey(), auth.webhook()) } }, async () => ({}))
    await app.ready()
    const issued = await issueKey(app)
    const foreign = token({ iss: 'somebody-else' })
    const forged = token({}, 'another secret that is 32 bytes and more')
    const expired = token({ exp: now / 1000 - 60 })
    const body = '{"secret-of-the-body":"s3cr3t-payload"}'
    const good = signed(body, { 'x-api-key': issued.plaintextKey }, issued.webhookSecret ?? '')
    const bad = signed(body, { 'x-api-key': issued.plaintextKey }, 'whsec_wrong')
    const requests = [
      ...[token(), foreign, forged, expired, `${token()}x`, 'not-a-token-but-quite-secret', token({ roles: 7 })].flatMap((credential) => ['/jwt', '/either', '/check'].map((url) => ({ url, headers: { authorization: `Bearer ${credential}` } }))),
      ...[issued.plaintextKey, `${issued.plaintextKey}x`, 'cflo_live_sk_not-a-key-but-quite-secret'].flatMap((key) => ['/key', '/either'].map((url) => ({ url, headers: { 'x-api-key': key } }))),
      ...[issued.plaintextKey].map((key) => ({ url: '/either', headers: { ...bearer(), 'x-api-key': key } })),
      ...[good, bad, { ...bad, 'content-encoding': 'gzip' }].map((headers) => ({ method: 'POST' as const, url: '/v1/ten_a', payload: body, headers })),
      { method: 'POST' as const, url: '/v1/ten_b', payload: body, headers: good }
    ]
    const secrets = [
      ...[token(), foreign, forged, expired, token({ roles: 7 })].flatMap((credential) => [credential, ...credential.split('.').slice(1)]),
      issued.plaintextKey, issued.plaintextKey.slice(20), issued.webhookSecret ?? '', issued.webhookSecret?.slice(6) ?? '', 'quite-secret', tokenSecret, webhookSecret, good['x-webhook-signature'] ?? '', bad['x-webhook-signature']?.slice(7) ?? '', 's3cr3t-payload'
    ]
    const statuses = new Set<number>()
    let answers = ''
    for (const round of ['up', 'down']) {
      down = round === 'down'
      for (const request of requests) {
        const answer = await app.inject(request)
        statuses.add(answer.statusCode)
        answers += `${answer.body}\n${JSON.stringify(answer.headers)}\n`
      }
    }
    t.strictSame([...statuses].sort(), [200, 400, 401, 403, 415, 500, 503])
    t.ok(log.lines.length > requests.length)
    for (const secret of secrets) {
      t.ok(secret.length > 5)
      t.notOk(log.text().includes(secret), `the log has ${secret.slice(0, 12)}…`)
      t.notOk(answers.includes(secret), `an answer has ${secret.slice(0, 12)}…`)
    }
    t.notMatch(answers, /audience|issuer-unknown|checksum|not-verified|the check is broken|the connection is closed/, 'nor is a reason in an answer')
    t.strictSame(faults, [])
  })
}

t.test('each refusal is one line: its code, its reason and the rule; a fault of ours is an error with its cause', async (t) => {
  const log = createLog()
  const app = await createApp(t, { fastify: { logger: log.logger } })
  app.setErrorHandler((error, _request, reply) => { reply.code((error as { statusCode: number }).statusCode).send({}) })
  app.get('/', async () => ({}))
  app.get('/check', { config: { auth: auth.jwt().check('broken', () => { throw new Error('the check is broken') }) } }, async () => ({}))
  app.post('/hook', { config: { auth: auth.webhook() } }, async () => ({}))
  await app.inject('/')
  await app.inject({ url: '/', headers: bearer({ aud: 'x' }) })
  await app.inject({ url: '/', headers: bearer() })
  await app.inject({ method: 'POST', url: '/hook', payload: '{}', headers: signed('{ }') })
  await app.inject({ method: 'POST', url: '/hook', headers: signed('') })
  await app.inject({ url: '/check', headers: bearer() })
  t.strictSame(log.lines.filter(({ code }) => code !== undefined).map(({ level, code, reason, rule, msg, err }) => ({ level, code, reason, rule, msg, cause: /the check is broken/.test(JSON.stringify(err) ?? '') })), [
    { level: 30, code: 'AUTH_CREDENTIAL_MISSING', reason: 'absent', rule: 'token', msg: 'request refused', cause: false },
    { level: 30, code: 'AUTH_TOKEN_CLAIMS', reason: 'audience', rule: 'token', msg: 'request refused', cause: false },
    { level: 30, code: 'AUTH_SIGNATURE_INVALID', reason: 'digest', rule: 'signature', msg: 'request refused', cause: false },
    { level: 30, code: 'AUTH_SIGNATURE_INVALID', reason: 'body-absent', rule: 'signature', msg: 'request refused', cause: false },
    { level: 50, code: 'AUTH_RULE_UNDECIDABLE', reason: 'check-threw', rule: 'token checked by broken', msg: 'authentication could not be decided', cause: true }
  ])
})

t.test('a 403 is logged with whose request it was, by ids; nobody is named where nobody was proved', async (t) => {
  const log = createLog()
  const app = await createApp(t, { fastify: { logger: log.logger }, auth: { apiKey: { store: new MemoryApiKeyStore() } } })
  app.get('/jwt', { config: { auth: auth.jwt().roles('admin') } }, async () => ({}))
  app.get('/check', { config: { auth: auth.jwt().check('never', async () => false) } }, async () => ({}))
  app.get('/v1/:tenantId', { config: { auth: auth.apiKey() } }, async () => ({}))
  app.get('/key', { config: { auth: auth.apiKey().scopes('incidents:write') } }, async () => ({}))
  app.post('/v1/:tenantId/hook', { config: { auth: auth.all(auth.apiKey(), auth.webhook()) } }, async () => ({}))
  const { keyId, plaintextKey } = await issueKey(app)
  const key = { 'x-api-key': plaintextKey }
  await app.inject({ url: '/jwt', headers: bearer() })
  await app.inject({ url: '/check', headers: bearer() })
  await app.inject({ url: '/v1/ten_other', headers: key })
  await app.inject({ url: '/key', headers: key })
  await app.inject({ method: 'POST', url: '/v1/ten_other/hook', payload: '{}', headers: signed('{}', key) })
  await app.inject({ url: '/jwt', headers: bearer({ aud: 'x' }) })
  await app.inject({ url: '/key' })
  const lines = log.lines.filter(({ msg }) => msg === 'request refused')
  const user = { scheme: 'jwt', tenantId: 'ten_a', subject: 'usr_1' }
  const machine = { scheme: 'apiKey', tenantId: 'ten_a', keyId }
  t.strictSame(lines.map(({ level, time, pid, hostname, reqId, msg, rule, ...rest }) => rest), [
    { code: 'AUTH_ROLE_REQUIRED', reason: 'role', principal: user },
    { code: 'AUTH_CHECK_FAILED', reason: 'check', principal: user },
    { code: 'AUTH_TENANT_MISMATCH', reason: 'tenant-other', principal: machine },
    { code: 'AUTH_SCOPE_REQUIRED', reason: 'scope', principal: machine },
    { code: 'AUTH_TENANT_MISMATCH', reason: 'tenant-other', principal: machine },
    { code: 'AUTH_TOKEN_CLAIMS', reason: 'audience', detail: 'aud is "x", and must contain one of ["causeflow-api"]' },
    { code: 'AUTH_API_KEY_MISSING', reason: 'absent' }
  ])
})

t.test('a decision is published where somebody listens, with a duration and nothing secret', async (t) => {
  const events: Array<Record<string, unknown>> = []
  const listener = (event: unknown): void => { events.push(event as Record<string, unknown>) }
  subscribe('causeflow-auth:decision', listener)
  t.teardown(() => unsubscribe('causeflow-auth:decision', listener))
  const app = await createApp(t)
  app.get('/', async () => ({}))
  app.get('/admin', { config: { auth: auth.jwt().roles('admin') } }, async () => ({}))
  app.get('/open', { config: { auth: auth.public() } }, async () => ({}))
  app.post('/hook', { config: { auth: auth.webhook() } }, async () => ({}))
  await app.inject('/')
  await app.inject({ url: '/', headers: bearer() })
  await app.inject({ url: '/admin', headers: bearer() })
  await app.inject('/open')
  await app.inject({ method: 'POST', url: '/hook', payload: '{}', headers: signed('{}') })
  await app.inject({ method: 'POST', url: '/hook', payload: '{}', headers: signed('{ }') })
  for (const { duration } of events) t.ok(typeof duration === 'number' && duration > 0 && duration < 10_000)
  t.strictSame(events.map(({ duration, ...event }) => event), [
    { outcome: 'refused', code: 'AUTH_CREDENTIAL_MISSING', reason: 'absent', detail: null, scheme: null, principal: null, route: 'GET /' },
    { outcome: 'accepted', code: null, reason: null, detail: null, scheme: 'jwt', principal: { scheme: 'jwt', tenantId: 'ten_a', subject: 'usr_1' }, route: 'GET /' },
    { outcome: 'refused', code: 'AUTH_ROLE_REQUIRED', reason: 'role', detail: null, scheme: null, principal: { scheme: 'jwt', tenantId: 'ten_a', subject: 'usr_1' }, route: 'GET /admin' },
    { outcome: 'accepted', code: null, reason: null, detail: null, scheme: null, principal: null, route: 'GET /open' },
    { outcome: 'accepted', code: null, reason: null, detail: null, scheme: 'webhook', principal: { scheme: 'webhook', tenantId: null, source: 'default' }, route: 'POST /hook' },
    { outcome: 'refused', code: 'AUTH_SIGNATURE_INVALID', reason: 'digest', detail: null, scheme: null, principal: null, route: 'POST /hook' }
  ])
})
