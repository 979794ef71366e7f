import t from 'tap'
import type { FastifyInstance } from 'fastify'
import { apiKeySecret, auth, causeflow, github, MemoryReplayStore, standardWebhooks, signWebhook, type IssuedApiKey, type ReplayStore } from '../../lib/index.js'
import { createApp, createLog, issueKey, now, refusalOf, signed, watchProcess, webhookSecret, type AppSetup, type Teardown } from '../fixtures/app.js'

watchProcess(t)

const replayed = { status: 409, code: 'AUTH_DELIVERY_REPLAYED', challenge: undefined }

type Answer = Awaited<ReturnType<FastifyInstance['inject']>>

function createReplayApp (t: Teardown, replay: ReplayStore, setup: AppSetup = {}): Promise<FastifyInstance> {
  return createApp(t, { ...setup, auth: { webhook: { secret: webhookSecret, replay }, ...setup.auth } })
}

const deliver = async (app: FastifyInstance, url: string, payload = '{"a":1}', headers: Record<string, string> = {}): Promise<Answer> =>
  await app.inject({ method: 'POST', url, payload, headers: signed(payload, headers) })

/** The same store, but every answer has to be waited for. */
function slow (store: ReplayStore): ReplayStore {
  return {
    begin: async (attempt, lease) => store.begin(attempt, lease),
    finish: async (attempt, retention) => store.finish(attempt, retention),
    release: async (attempt) => store.release(attempt)
  }
}

for (const kind of ['synchronous', 'asynchronous'] as const) {
  const createStore = (): ReplayStore => {
    const store = new MemoryReplayStore({ clock: () => now })
    return kind === 'synchronous' ? store : slow(store)
  }

  t.test(`the same delivery is 409 the second time (${kind} store)`, async (t) => {
    const app = await createReplayApp(t, createStore())
    let reached = 0
    app.post('/hook', { config: { auth: auth.webhook() } }, async () => { reached++; return {} })
    app.post('/other', { config: { auth: auth.webhook() } }, async () => { reached++; return {} })
    t.equal((await deliver(app, '/hook')).statusCode, 200)
    t.strictSame(refusalOf(await deliver(app, '/hook')), replayed)
    t.strictSame(refusalOf(await deliver(app, '/hook', '{"a":1}', { 'content-type': 'text/plain' })), replayed, 'whatever its unsigned headers say')
    t.equal((await deliver(app, '/hook', '{"a":2}')).statusCode, 200)
    t.equal((await deliver(app, '/other')).statusCode, 200, 'where no id is signed, another route is another delivery')
    t.equal(reached, 3)
  })

  t.test(`of parallel copies of a delivery one is let in (${kind} store)`, async (t) => {
    const app = await createReplayApp(t, createStore())
    let reached = 0
    app.post('/hook', { config: { auth: auth.webhook() } }, async () => { reached++; await new Promise((resolve) => setImmediate(resolve)); return {} })
    const answers = await Promise.all(Array.from({ length: 10 }, () => deliver(app, '/hook')))
    t.strictSame(answers.map(({ statusCode }) => statusCode).sort(), [200, ...Array.from({ length: 9 }, () => 409)])
    t.equal(reached, 1)
  })

  t.test(`a delivery that was answered 2xx or 3xx is remembered, and one that was answered anything else may come again (${kind} store)`, async (t) => {
    const app = await createReplayApp(t, createStore())
    const failures: Record<string, () => unknown> = {
      '/throws': () => { throw new Error('failed') },
      '/rejects': async () => { throw new Error('failed') },
      '/throws-400': () => { throw Object.assign(new Error('not now'), { statusCode: 400 }) }
    }
    let fail = true
    for (const [url, failure] of Object.entries(failures)) app.post(url, { config: { auth: auth.webhook() } }, async () => fail ? failure() as object : {})
    for (const status of [400, 404, 429]) app.post(`/sends-${status}`, { config: { auth: auth.webhook() } }, async (_request, reply) => await reply.code(fail ? status : 201).send({}))
    app.post('/hook-answers', { config: { auth: auth.webhook() }, preHandler: async (_request, reply) => { if (fail) return await reply.code(429).send({}) } }, async () => ({}))
    app.post('/redirects', { config: { auth: auth.webhook() } }, async (_request, reply) => fail ? await reply.callNotFound() : reply.redirect('/elsewhere'))
    app.post('/sends-500', { config: { auth: auth.webhook() } }, (_request, reply) => { reply.code(fail ? 503 : 200).send({}) })
    app.post('/schema', { config: { auth: auth.webhook() }, schema: { body: { type: 'object', required: ['b'] } } }, async () => ({}))
    app.post('/hook-throws', { config: { auth: auth.webhook() }, preHandler: async () => { if (fail) throw new Error('failed') } }, async () => ({}))
    app.post('/serialize', { config: { auth: auth.webhook() }, schema: { response: { 200: { type: 'object', properties: { a: { type: 'integer' } } } } } }, async () => ({ a: fail ? 'no number' : 1 }))
    for (const url of [...Object.keys(failures), '/sends-400', '/sends-404', '/sends-429', '/hook-answers', '/redirects', '/sends-500', '/hook-throws', '/serialize']) {
      fail = true
      for (const attempt of [1, 2]) t.not((await deliver(app, url)).statusCode, 409, `${url} ${attempt}`)
      fail = false
      t.ok((await deliver(app, url)).statusCode < 400, url)
      t.strictSame(refusalOf(await deliver(app, url)), replayed, url)
    }
    for (const attempt of [1, 2]) t.equal((await deliver(app, '/schema')).statusCode, 400, `a refused schema ${attempt}`)
  })

  t.test(`a refused copy does not release the delivery that is being handled (${kind} store)`, async (t) => {
    const app = await createReplayApp(t, createStore())
    let begun = (): void => {}
    let finish = (): void => {}
    const handling = new Promise<void>((resolve) => { begun = resolve })
    const end = new Promise<void>((resolve) => { finish = resolve })
    app.post('/hook', { config: { auth: auth.webhook() } }, async () => { begun(); await end; return {} })
    const first = deliver(app, '/hook')
    await handling
    for (const attempt of [1, 2]) {
      const answer = await deliver(app, '/hook')
      t.strictSame(refusalOf(answer), replayed, `attempt ${attempt}`)
      t.equal(answer.headers['retry-after'], '10', 'it is in progress, and may be tried again')
    }
    finish()
    t.equal((await first).statusCode, 200)
    const last = await deliver(app, '/hook')
    t.strictSame(refusalOf(last), replayed)
    t.notOk('retry-after' in last.headers, 'it is done, and trying again changes nothing')
  })
}

t.test('nothing that is refused leaves a trace: a bad signature, a failed condition, a bad key', async (t) => {
  const store = new MemoryReplayStore({ clock: () => now })
  const app = await createReplayApp(t, store)
  let pass = false
  app.post('/hook', { config: { auth: auth.webhook().check('pass', () => pass) } }, async () => ({}))
  app.post('/v1/:tenantId', { config: { auth: auth.all(auth.apiKey(), auth.webhook()) } }, async () => ({}))
  await app.ready()
  const { plaintextKey } = await issueKey(app)
  t.equal((await deliver(app, '/hook')).statusCode, 403)
  t.equal((await app.inject({ method: 'POST', url: '/hook', payload: '{"a":1}', headers: signed('{"a":2}') })).statusCode, 401)
  t.equal((await deliver(app, '/v1/ten_b', '{}', { 'x-api-key': plaintextKey })).statusCode, 403)
  t.equal((await deliver(app, '/v1/ten_a', '{}', { 'x-api-key': 'cflo_' })).statusCode, 401)
  t.equal(store.size, 0)
  pass = true
  t.equal((await deliver(app, '/hook')).statusCode, 200)
  t.equal((await deliver(app, '/v1/ten_a', '{}', { 'x-api-key': plaintextKey })).statusCode, 200)
  t.equal(store.size, 2)
})

t.test('without a signed id, the same bytes to two paths of one route are one delivery, because no path is signed', async (t) => {
  const app = await createReplayApp(t, new MemoryReplayStore({ clock: () => now }))
  app.post('/:customer/:provider', { config: { auth: auth.webhook() } }, async () => ({}))
  t.equal((await deliver(app, '/ten_a/github')).statusCode, 200)
  for (const url of ['/ten_a/stripe', '/ten_b/github', '/ten_a/github?again']) t.strictSame(refusalOf(await deliver(app, url)), replayed, url)
  t.equal((await deliver(app, '/ten_a/stripe', '{"to":"/ten_a/stripe","a":1}')).statusCode, 200)
})

t.test('a signed id is what tells deliveries apart where the scheme has one', async (t) => {
  const secret = `whsec_${Buffer.alloc(24, 1).toString('base64')}`
  const app = await createApp(t, { auth: { webhook: { scheme: standardWebhooks(), secret, replay: new MemoryReplayStore({ clock: () => now }) } } })
  app.post('/hook', { config: { auth: auth.webhook() } }, async (request) => ({ id: request.principal?.scheme === 'webhook' ? request.principal.deliveryId : null }))
  app.post('/other', { config: { auth: auth.webhook() } }, async () => ({}))
  const send = async (url: string, id: string, body = '{}'): Promise<Answer> =>
    await app.inject({ method: 'POST', url, payload: body, headers: { 'content-type': 'application/json', ...signWebhook(body, secret, standardWebhooks(), { id, timestamp: now / 1000 }) } })
  t.strictSame((await send('/hook', 'msg_1')).json(), { id: 'msg_1' })
  t.strictSame(refusalOf(await send('/hook', 'msg_1')), replayed)
  t.strictSame(refusalOf(await send('/other', 'msg_1')), replayed)
  t.equal((await send('/hook', 'msg_2')).statusCode, 200)
})

t.test('the same bytes or the same id of two keys are two deliveries: no key uses up another\'s', async (t) => {
  for (const scheme of [causeflow(), standardWebhooks()]) {
    const app = await createApp(t, { auth: { webhook: { scheme, secret: apiKeySecret(), replay: new MemoryReplayStore({ clock: () => now }) } } })
    app.post('/v1/webhooks/:tenantId', { config: { auth: auth.all(auth.apiKey(), auth.webhook()) } }, async () => ({}))
    await app.ready()
    const keys = [await issueKey(app), await issueKey(app), await issueKey(app, { tenantId: 'ten_b' })]
    const send = async ({ tenantId, plaintextKey, webhookSecret }: IssuedApiKey): Promise<Answer> =>
      await app.inject({ method: 'POST', url: `/v1/webhooks/${tenantId}`, payload: '{}', headers: { 'x-api-key': plaintextKey, ...signWebhook('{}', webhookSecret ?? '', scheme, { id: 'msg_1', timestamp: now / 1000 }) } })
    for (const key of keys) t.equal((await send(key)).statusCode, 200, scheme.name)
    for (const key of keys) t.strictSame(refusalOf(await send(key)), replayed, scheme.name)
  }
})

t.test('a tenant that fills its share of a replay store is 503 alone, with as many keys as it has', async (t) => {
  const app = await createApp(t, { auth: { webhook: { secret: apiKeySecret(), replay: new MemoryReplayStore({ clock: () => now, max: 40 }) } } })
  app.post('/v1/webhooks/:tenantId', { config: { auth: auth.all(auth.apiKey(), auth.webhook()) } }, async () => ({}))
  await app.ready()
  const [a1, a2] = [await issueKey(app), await issueKey(app)]
  let number = 0
  const send = async (tenantId: string, { plaintextKey, webhookSecret }: IssuedApiKey): Promise<Answer> => {
    const payload = `{"n":${number++}}`
    return await app.inject({ method: 'POST', url: `/v1/webhooks/${tenantId}`, payload, headers: { 'x-api-key': plaintextKey, ...signed(payload, {}, webhookSecret ?? '') } })
  }
  const statuses = []
  for (let sent = 0; sent < 50; sent++) statuses.push((await send('ten_a', sent % 2 ? a1 : a2)).statusCode)
  t.strictSame(statuses, [...Array<number>(20).fill(200), ...Array<number>(30).fill(503)])
  for (let other = 0; other < 10; other++) {
    const tenantId = `ten_other_${other}`
    const key = await issueKey(app, { tenantId })
    for (const attempt of [1, 2]) t.equal((await send(tenantId, key)).statusCode, 200, `${tenantId} ${attempt}`)
  }
  t.strictSame(refusalOf(await send('ten_a', a1)), { status: 503, code: 'AUTH_STORE_UNAVAILABLE', challenge: undefined })
})

t.test('of two signatures on one delivery, one that cannot be remembered lets the other come again, and leaves no rejection to nobody', async (t) => {
  const faults = watchProcess(t)
  const memory = new MemoryReplayStore({ clock: () => now })
  const full: ReplayStore = { begin: () => { throw new Error('full') }, finish: () => {}, release: () => {} }
  const late: ReplayStore = { begin: async () => { await new Promise((resolve) => setImmediate(resolve)); throw new Error('down') }, finish: () => {}, release: () => {} }
  for (const [first, second] of [[memory, full], [slow(memory), full], [memory, late], [late, full]] as const) {
    const app = await createApp(t, { auth: { webhook: [{ name: 'a', secret: webhookSecret, replay: first }, { name: 'b', scheme: github(), secret: webhookSecret, replay: second }] } })
    app.post('/hook', { config: { auth: auth.all(auth.webhook('a'), auth.webhook('b')) } }, async () => ({}))
    t.equal((await deliver(app, '/hook', '{}', signWebhook('{}', webhookSecret, github()))).statusCode, 503)
    await new Promise((resolve) => setTimeout(resolve, 10))
    t.equal(memory.size, 0)
  }
  t.strictSame(faults, [])
})

t.test('a replay store that fails is 503, and one that cannot release says so in the log', async (t) => {
  const log = createLog()
  let down = true
  const app = await createReplayApp(t, {
    begin: () => { if (down) throw new Error('the store is down'); return 'new' },
    finish: () => {},
    release: () => { throw new Error('the store is down again') }
  }, { fastify: { logger: log.logger } })
  let reached = 0
  app.post('/hook', { config: { auth: auth.webhook() } }, async () => { reached++; throw new Error('failed') })
  t.strictSame(refusalOf(await deliver(app, '/hook')), { status: 503, code: 'AUTH_STORE_UNAVAILABLE', challenge: undefined })
  t.equal(reached, 0)
  down = false
  t.equal((await deliver(app, '/hook')).statusCode, 500)
  t.equal(reached, 1)
  t.equal(log.lines.filter(({ msg }) => msg === 'a failed delivery could not be released: sent again before its lease ends, it will be answered 409').length, 1)
})

t.test('a webhook without a store takes a delivery as often as it comes', async (t) => {
  const app = await createApp(t)
  app.post('/hook', { config: { auth: auth.webhook() } }, async () => ({}))
  for (const attempt of [1, 2]) t.equal((await deliver(app, '/hook')).statusCode, 200, `attempt ${attempt}`)
})

t.test('two applications on one store let a delivery in once', async (t) => {
  const store = new MemoryReplayStore({ clock: () => now })
  const apps = await Promise.all([1, 2].map(async () => {
    const app = await createReplayApp(t, store)
    app.post('/hook', { config: { auth: auth.webhook() } }, async () => ({}))
    return app
  }))
  const answers = await Promise.all(apps.map((app) => deliver(app, '/hook')))
  t.strictSame(answers.map(({ statusCode }) => statusCode).sort(), [200, 409])
})

t.test('the same bytes from the keys of two tenants are two deliveries, and from one key a second time a replay', async (t) => {
  const app = await createApp(t, { auth: { webhook: { secret: apiKeySecret(), replay: new MemoryReplayStore({ clock: () => now }) } } })
  app.post('/ingest/:tenantId', { config: { auth: auth.all(auth.apiKey(), auth.webhook()) } }, async () => ({}))
  const status = async (tenantId: string, { plaintextKey, webhookSecret }: IssuedApiKey): Promise<number> =>
    (await app.inject({ method: 'POST', url: `/ingest/${tenantId}`, payload: '{"alert":"test"}', headers: signed('{"alert":"test"}', { 'x-api-key': plaintextKey }, webhookSecret ?? '') })).statusCode
  const [one, other] = [await issueKey(app, { tenantId: 'ten_a' }), await issueKey(app, { tenantId: 'ten_b' })]
  t.strictSame([await status('ten_a', one), await status('ten_b', other), await status('ten_a', one), await status('ten_b', other)], [200, 200, 409, 409])
})
