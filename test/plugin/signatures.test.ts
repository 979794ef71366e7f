import t from 'tap'
import { createHmac } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { mock } from 'node:test'
import type { FastifyInstance } from 'fastify'
import { apiKeySecret, auth, causeflow, github, hashedSecret, MemoryApiKeyStore, signWebhook, slack, standardWebhooks, stripe, type Secret, type SignatureScheme } from '../../lib/index.js'
import { createApp, issueKey, now, refusalOf, refusals, signed, watchProcess, webhookSecret, type AppSetup, type Teardown } from '../fixtures/app.js'
import { exchange, head, listen } from '../fixtures/socket.js'

watchProcess(t)

const body = '{"event":"incident.created"}'

/** An application with one signed route whose handler counts. */
async function receiver (t: Teardown, setup: AppSetup = {}): Promise<{ app: FastifyInstance, reached: () => number }> {
  const app = await createApp(t, setup)
  let reached = 0
  app.post('/hook', { config: { auth: auth.webhook() } }, async (request) => { reached++; return { principal: request.principal } })
  await app.ready()
  return { app, reached: () => reached }
}

const send = async (app: FastifyInstance, signature: string | undefined, payload = body): Promise<ReturnType<typeof refusalOf>> =>
  refusalOf(await app.inject({ method: 'POST', url: '/hook', payload, headers: { 'content-type': 'application/json', ...signature === undefined ? {} : { 'x-webhook-signature': signature } } }))

const digestOf = (secret: string | Buffer, text: string = body, algorithm = 'sha256'): string => createHmac(algorithm, secret).update(text).digest('hex')

t.test('a delivery with the signature of the wire contract is let in, its principal the sender', async (t) => {
  const { app } = await receiver(t)
  const answer = await app.inject({ method: 'POST', url: '/hook', payload: body, headers: signed(body) })
  t.strictSame([answer.statusCode, answer.json()], [200, { principal: { scheme: 'webhook', source: 'default', deliveryId: null, timestamp: null, tenantId: null, roles: [], scopes: [], proofs: ['webhook'] } }])
})

t.test('known deliveries verify', async (t) => {
  const { webhook } = JSON.parse(readFileSync(new URL('../fixtures/vectors.json', import.meta.url), 'utf8')) as { webhook: Array<{ scheme: string, secret: string, body: string, signature: string, id?: string, timestamp?: number }> }
  for (const { scheme, secret, body, signature, id = '', timestamp = 1_700_000_000 } of webhook) {
    const schemes: Record<string, SignatureScheme> = { causeflow: causeflow(), 'standard-webhooks': standardWebhooks(), github: github() }
    const { app } = await receiver(t, { auth: { webhook: { secret, scheme: schemes[scheme] as SignatureScheme }, clock: () => timestamp * 1000 } })
    const headers = { causeflow: { 'x-webhook-signature': signature }, github: { 'x-hub-signature-256': signature }, 'standard-webhooks': { 'webhook-id': id, 'webhook-timestamp': String(timestamp), 'webhook-signature': signature } }[scheme]
    t.equal((await app.inject({ method: 'POST', url: '/hook', payload: body, headers: { 'content-type': 'application/octet-stream', ...headers } })).statusCode, 200, scheme)
    t.equal((await app.inject({ method: 'POST', url: '/hook', payload: body + ' ', headers: { 'content-type': 'application/octet-stream', ...headers } })).statusCode, 401, scheme)
  }
})

t.test('a signature of any other form is refused: case, length, prefix, junk, spaces, other hashes', async (t) => {
  const { app, reached } = await receiver(t)
  const digits = digestOf(webhookSecret)
  t.strictSame(await send(app, undefined), refusals.noSignature)
  const forms = [
    '', ' ', 'sha256=', digits, `sha256=${digits.toUpperCase()}`, `SHA256=${digits}`, `Sha256=${digits}`, `sha256=${digits.slice(1)}`, `sha256=${digits.slice(0, -1)}`, `sha256=${digits}0`,
    `sha256=${digits};`, `sha256=${digits}zz`, `sha256=${digits},sha256=${digits}`, `sha256=${digits}, sha256=${digits}`, `sha256= ${digits}`, `sha256 =${digits}`, `sha256=${digits.slice(0, 32)} ${digits.slice(32)}`,
    `sha1=${digestOf(webhookSecret, body, 'sha1')}`, `sha512=${digestOf(webhookSecret, body, 'sha512')}`, `sha256=${digestOf(webhookSecret, body, 'sha512')}`, `sha256=${Buffer.from(digits, 'hex').toString('base64')}`,
    `v1=${digits}`, `sha256:${digits}`, `"sha256=${digits}"`, `sha256=${digits}${'0'.repeat(2_000)}`, `sha256=${'g'.repeat(64)}`, `sha256=${'0'.repeat(64)}`, `sha256=${digits.replace(/^./, '０')}`
  ]
  for (const form of forms) t.strictSame(await send(app, form), refusals.badSignature, form.slice(0, 90))
  t.equal(reached(), 0)
  t.equal((await send(app, `sha256=${digits}`)).status, 200)
})

t.test('a doubled signature header is no signature, and what Node trims around a header is no part of it', async (t) => {
  const { app, reached } = await receiver(t)
  const port = await listen(app)
  const good = `sha256=${digestOf(webhookSecret)}`
  const ask = async (...signatures: string[]): Promise<[number, string]> => {
    const answer = await exchange(port, [head('POST', '/hook', [['content-type', 'application/json'], ['content-length', body.length], ...signatures.map((value) => ['x-webhook-signature', value] as const)]), Buffer.from(body)])
    return [answer.status, (JSON.parse(answer.body) as { code: string }).code]
  }
  for (const pair of [[good, good], [good, 'x'], ['x', good], ['', good]]) t.strictSame(await ask(...pair), [401, 'AUTH_SIGNATURE_INVALID'])
  t.equal(reached(), 0)
  t.equal((await ask(`  ${good}\t`))[0], 200)
})

t.test('a changed body, a re-serialised body and another secret do not verify', async (t) => {
  const { app, reached } = await receiver(t)
  const spaced = '{"event": "incident.created"}'
  const signature = `sha256=${digestOf(webhookSecret, spaced)}`
  for (const changed of [JSON.stringify(JSON.parse(spaced)), spaced + '\n', ' ' + spaced, spaced.replace('created', 'deleted')]) t.strictSame(await send(app, signature, changed), refusals.badSignature)
  for (const secret of ['', 'whsec_', webhookSecret.toUpperCase(), webhookSecret + ' ', webhookSecret.slice(6), Buffer.from(digestOf(webhookSecret), 'hex').toString('hex'), hashedSecret(webhookSecret)]) t.strictSame(await send(app, `sha256=${digestOf(secret, spaced)}`, spaced), refusals.badSignature)
  t.equal(reached(), 0)
  t.equal((await send(app, signature, spaced)).status, 200)
})

t.test('a resolver that has no secret is 401, one that fails in any way is 503, and neither verifies anything', async (t) => {
  const faults = watchProcess(t)
  const none: Record<string, () => unknown> = {
    null: () => null,
    undefined: () => undefined,
    'an empty text': () => '',
    'no bytes': () => new Uint8Array(),
    'an empty list': () => [],
    'a list of nothing': () => ['', null],
    'nothing with a tenant': () => ({ secrets: null, tenantId: 'ten_a' }),
    'a promise of null': async () => null,
    'a promise of an empty text': async () => ''
  }
  const failed: Record<string, () => unknown> = {
    'a throw': () => { throw new Error('down') },
    'a throw of undefined': () => { throw undefined }, // eslint-disable-line no-throw-literal -- the attack
    'a throw of null': () => { throw null }, // eslint-disable-line no-throw-literal -- the attack
    'a rejection': async () => { throw new Error('down') },
    'a rejection with undefined': async () => await Promise.reject(), // eslint-disable-line prefer-promise-reject-errors -- the attack
    'a number': () => 1,
    true: () => true,
    'an object': () => ({ secret: 'x' }),
    'a tenant that is none': () => ({ secrets: 'x', tenantId: 1 })
  }
  for (const [expected, group] of [[refusals.badSignature, none], [{ status: 503, code: 'AUTH_STORE_UNAVAILABLE', challenge: undefined }, failed]] as const) {
    for (const [title, secret] of Object.entries(group)) {
      const { app, reached } = await receiver(t, { auth: { webhook: { secret: secret as never } } })
      for (const key of ['', 'null', 'undefined', webhookSecret]) t.strictSame(await send(app, `sha256=${digestOf(key)}`), expected, `${title}, signed with ${JSON.stringify(key)}`)
      t.equal(reached(), 0)
    }
  }
  t.strictSame(faults, [])
})

t.test('of several resolvers for one header, one that throws leaves no rejection of another to nobody', async (t) => {
  const faults = watchProcess(t)
  const rejecting = async (): Promise<null> => { await new Promise((resolve) => setImmediate(resolve)); throw new Error('down') }
  const throwing = (): null => { throw new Error('down as well') }
  for (const secrets of [[rejecting, throwing], [throwing, rejecting], [rejecting, throwing, rejecting]]) {
    const app = await createApp(t, { auth: { webhook: secrets.map((secret, index) => ({ name: `w${index}`, secret })) } })
    app.post('/hook', { config: { auth: auth.webhook(...secrets.map((_, index) => `w${index}`)) } }, async () => ({}))
    t.strictSame(await send(app, `sha256=${digestOf('x')}`), { status: 503, code: 'AUTH_STORE_UNAVAILABLE', challenge: undefined })
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
  t.strictSame(faults, [])
})

t.test('a resolver that hangs is 503 once its time is over', async (t) => {
  const { app, reached } = await receiver(t, { auth: { webhook: { secret: () => { setImmediate(() => { mock.timers.tick(2000) }); return new Promise<null>(() => {}) } } } })
  mock.timers.enable({ apis: ['setTimeout'] })
  t.teardown(() => { mock.timers.reset() })
  t.strictSame(await send(app, `sha256=${digestOf(webhookSecret)}`), { status: 503, code: 'AUTH_STORE_UNAVAILABLE', challenge: undefined })
  t.equal(reached(), 0)
})

t.test('every secret of a rotation verifies, in whatever form it is configured', async (t) => {
  const lists: Array<Secret | Secret[] | (() => Secret[] | Promise<Secret[]>)> = [['old', 'new'], ['new', 'old'], [Buffer.from('old'), 'new'], () => ['new', 'old'], async () => ['old', 'new']]
  for (const secret of lists) {
    const { app } = await receiver(t, { auth: { webhook: { secret } } })
    for (const [key, status] of [['old', 200], ['new', 200], ['older', 401], ['', 401]] as const) t.equal((await send(app, `sha256=${digestOf(key)}`)).status, status)
  }
})

t.test('the secret of the key that was proved verifies, and no other key\'s', async (t) => {
  const app = await createApp(t, { auth: { apiKey: { store: new MemoryApiKeyStore() }, webhook: { secret: apiKeySecret() } } })
  let reached = 0
  app.post('/v1/webhooks/:tenantId', { config: { auth: auth.all(auth.apiKey(), auth.webhook()) } }, async () => { reached++; return {} })
  await app.ready()
  const [a, b] = [await issueKey(app), await issueKey(app, { tenantId: 'ten_b' })]
  const ask = async (key: string, secret: string | null): Promise<unknown> => refusalOf(await app.inject({ method: 'POST', url: '/v1/webhooks/ten_a', payload: body, headers: signed(body, { 'x-api-key': key }, secret ?? '') }))
  t.equal((await ask(a.plaintextKey, a.webhookSecret) as { status: number }).status, 200)
  t.strictSame(await ask(a.plaintextKey, b.webhookSecret), refusals.badSignature)
  t.strictSame(await ask(a.plaintextKey, ''), refusals.badSignature)
  t.equal((await ask(b.plaintextKey, b.webhookSecret) as { code: string }).code, 'AUTH_TENANT_MISMATCH')
  t.equal(reached, 1)
})

t.test('a resolver\'s tenant binds the delivery to the URL', async (t) => {
  const app = await createApp(t, { auth: { webhook: { secret: async (request) => ({ secrets: webhookSecret, tenantId: (request.headers['x-tenant'] as string | undefined) ?? null }) } } })
  app.post('/t/:tenantId', { config: { auth: auth.webhook() } }, async (request) => ({ tenant: request.principal?.tenantId }))
  const ask = async (tenant: string | undefined): Promise<Awaited<ReturnType<typeof app.inject>>> => await app.inject({ method: 'POST', url: '/t/ten_a', payload: body, headers: signed(body, tenant === undefined ? {} : { 'x-tenant': tenant }) })
  t.strictSame((await ask('ten_a')).json(), { tenant: 'ten_a' })
  t.equal((await ask('ten_b')).json().code, 'AUTH_TENANT_MISMATCH')
  t.equal((await ask(undefined)).json().code, 'AUTH_TENANT_MISMATCH')
})

t.test('webhooks that share a header are told apart by their secret, those with headers of their own by these', async (t) => {
  const app = await createApp(t, {
    auth: {
      webhook: [
        { name: 'a', secret: 'whsec_a' }, { name: 'b', secret: 'whsec_b' }, { name: 'github', scheme: github(), secret: 'gh' },
        { name: 'slack', scheme: slack(), secret: 'sl' }, { name: 'stripe', scheme: stripe(), secret: 'whsec_st' }
      ]
    }
  })
  app.post('/any', { config: { auth: auth.webhook('a', 'b', 'github', 'slack', 'stripe') } }, async (request) => ({ source: request.principal?.scheme === 'webhook' ? request.principal.source : null }))
  app.post('/a', { config: { auth: auth.webhook('a') } }, async () => ({}))
  const ask = async (url: string, headers: Record<string, string>): Promise<unknown> => {
    const answer = await app.inject({ method: 'POST', url, payload: body, headers: { 'content-type': 'application/json', ...headers } })
    return answer.statusCode === 200 ? answer.json() : answer.json().code
  }
  const time = { timestamp: now / 1000 }
  t.strictSame(await ask('/any', signWebhook(body, 'whsec_a')), { source: 'a' })
  t.strictSame(await ask('/any', signWebhook(body, 'whsec_b')), { source: 'b' })
  t.strictSame(await ask('/any', signWebhook(body, 'gh', github())), { source: 'github' })
  t.strictSame(await ask('/any', signWebhook(body, 'sl', slack(), time)), { source: 'slack' })
  t.strictSame(await ask('/any', signWebhook(body, 'whsec_st', stripe(), time)), { source: 'stripe' })
  t.equal(await ask('/any', signWebhook(body, 'whsec_c')), 'AUTH_SIGNATURE_INVALID')
  t.equal(await ask('/any', signWebhook(body, 'whsec_a', github())), 'AUTH_SIGNATURE_INVALID')
  t.equal(await ask('/any', { ...signWebhook(body, 'whsec_a'), ...signWebhook(body, 'gh', github()) }), 'AUTH_CREDENTIAL_AMBIGUOUS')
  t.equal(await ask('/a', signWebhook(body, 'whsec_b')), 'AUTH_SIGNATURE_INVALID')
  t.equal(await ask('/a', signWebhook(body, 'gh', github())), 'AUTH_SIGNATURE_MISSING')
})

t.test('timestamped deliveries hold up to the tolerance on either side, and a second past it not', async (t) => {
  for (const [scheme, secret] of [[standardWebhooks(), `whsec_${Buffer.alloc(24).toString('base64')}`], [slack(), 'sl'], [stripe(), 'whsec_st']] as const) {
    const { app, reached } = await receiver(t, { auth: { webhook: { scheme, secret } } })
    for (const [offset, code] of [[0, 200], [300, 200], [-300, 200], [301, 'AUTH_SIGNATURE_STALE'], [-301, 'AUTH_SIGNATURE_STALE']] as const) {
      const answer = await app.inject({ method: 'POST', url: '/hook', payload: body, headers: { 'content-type': 'application/json', ...signWebhook(body, secret, scheme, { timestamp: now / 1000 + offset }) } })
      t.equal(answer.statusCode === 200 ? 200 : answer.json().code, code, `${scheme.name} ${offset}`)
    }
    t.equal(reached(), 3)
  }
})

t.test('no parser and no hook that follows sees the body of a refused delivery', async (t) => {
  const app = await createApp(t)
  const seen: unknown[] = []
  app.addHook('preValidation', async (request) => { seen.push(request.body) })
  app.addHook('onError', async (request) => { if (request.body !== undefined || request.rawBody !== null) seen.push(request.body) })
  app.setErrorHandler((error, request, reply) => {
    if (request.body !== undefined || request.rawBody !== null) seen.push(request.body)
    reply.code((error as { statusCode: number }).statusCode).send({})
  })
  app.post('/hook', { config: { auth: auth.webhook() }, validatorCompiler: () => (data: unknown) => { seen.push(data); return true }, schema: { body: {} } }, async () => ({}))
  t.equal((await send(app, `sha256=${'0'.repeat(64)}`)).status, 401)
  t.strictSame(seen, [])
})

t.test('where two webhooks of one header fail, one at once and one later, the answer is 503 and no rejection is left to nobody', async (t) => {
  const unhandled: unknown[] = []
  const note = (reason: unknown): void => { unhandled.push(reason) }
  process.on('unhandledRejection', note)
  t.teardown(() => process.off('unhandledRejection', note))
  const app = await createApp(t, {
    auth: {
      webhook: [
        { name: 'later', secret: async () => { await new Promise((resolve) => setImmediate(resolve)); throw new Error('later') } },
        { name: 'now', secret: () => { throw new Error('now') } }
      ]
    }
  })
  app.post('/hook', { config: { auth: auth.webhook('later', 'now') } }, async () => 'in')
  const answer = await app.inject({ method: 'POST', url: '/hook', headers: { 'x-webhook-signature': `sha256=${'a'.repeat(64)}` }, payload: { a: 1 } })
  t.equal(answer.statusCode, 503)
  await new Promise((resolve) => setImmediate(resolve))
  await new Promise((resolve) => setImmediate(resolve))
  t.strictSame(unhandled, [])
})

t.test('Slack\'s challenge for a new URL is answered when it is signed, and to nobody else', async (t) => {
  const app = await createApp(t, { auth: { webhook: { scheme: slack(), secret: 'slack-secret' } } })
  app.post('/slack', { config: { auth: auth.webhook() } }, async (request) => {
    const { type, challenge } = request.body as { type: string, challenge?: string }
    return type === 'url_verification' ? { challenge } : {}
  })
  const body = JSON.stringify({ type: 'url_verification', token: 'unused', challenge: '3eZbrw1aBm2rZgRNFdxV2595E9CY3gmdALWMmHkvFXO7tYXAYM8P' })
  const ask = async (headers: Record<string, string>): Promise<[number, unknown]> => {
    const answer = await app.inject({ method: 'POST', url: '/slack', payload: body, headers: { 'content-type': 'application/json', ...headers } })
    return [answer.statusCode, (answer.json() as { challenge?: string, code?: string }).challenge ?? (answer.json() as { code?: string }).code]
  }
  const timestamp = now / 1000
  t.strictSame(await ask(signWebhook(body, 'slack-secret', slack(), { timestamp })), [200, '3eZbrw1aBm2rZgRNFdxV2595E9CY3gmdALWMmHkvFXO7tYXAYM8P'])
  t.strictSame(await ask({}), [401, 'AUTH_SIGNATURE_MISSING'])
  t.strictSame(await ask(signWebhook(body, 'another', slack(), { timestamp })), [401, 'AUTH_SIGNATURE_INVALID'])
  t.strictSame(await ask(signWebhook(body, 'slack-secret', slack(), { timestamp: timestamp - 301 })), [401, 'AUTH_SIGNATURE_STALE'])
})
