// A request must not end the process: whatever a request starts is awaited on every path.
import { mock } from 'node:test'
import t from 'tap'
import { auth, createApiKey, github, MemoryApiKeyStore } from '../../lib/index.js'
import { bearer, createApp, refusalOf, signed, tokenSecret, watchProcess, webhookSecret } from '../fixtures/app.js'
import { claims, header, jwkOf, listen as listenTo, mint, rsa } from '../jwt/fixture.js'

watchProcess(t)

const ambiguous = { status: 400, code: 'AUTH_CREDENTIAL_AMBIGUOUS' }

/** Turns of the event loop: an unhandled rejection is reported at the end of its own. */
async function turns (): Promise<void> {
  for (let turn = 0; turn < 5; turn++) await new Promise((resolve) => setImmediate(resolve))
}

t.test('a cached token of a revoked session next to two API keys is 400 and does not end the process', async (t) => {
  const faults = watchProcess(t)
  const answers: Record<string, () => unknown> = {
    revoked: async () => true,
    'revoked at once': () => true,
    throws: () => { throw new Error('down') },
    rejects: async () => await Promise.reject(new Error('down')),
    'rejects with undefined': async () => await Promise.reject(), // eslint-disable-line prefer-promise-reject-errors -- the attack
    'never answers': async () => await new Promise(() => {})
  }
  for (const [title, answer] of Object.entries(answers)) {
    let isRevoked: () => unknown = () => false
    let calls = 0
    const app = await createApp(t, { auth: { jwt: { issuer: 'causeflow', audience: false, secret: tokenSecret, isRevoked: (() => { calls++; return isRevoked() }) as never } } })
    app.get('/', { config: { auth: auth.any(auth.jwt(), auth.apiKey()) } }, async () => 'ok')
    t.equal((await app.inject({ url: '/', headers: bearer() })).statusCode, 200, 'cached')
    isRevoked = answer
    for (const keys of ['a, b', 'cflo_a,cflo_b']) {
      t.match(refusalOf(await app.inject({ url: '/', headers: { ...bearer(), 'x-api-key': keys } })), ambiguous, title)
    }
    await turns()
    t.strictSame(faults, [], title)
    t.equal(calls, 1, 'the request is rejected before the token is looked at')
  }
})

t.test('a cached token whose key the issuer has removed next to two API keys is 400 and does not end the process', async (t) => {
  const faults = watchProcess(t)
  const pair = rsa()
  const second = rsa()
  let set: unknown
  let status = 200
  const { url, requests } = await listenTo(t, (_request, response) => { response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(set)) })
  for (const [title, later] of Object.entries({ rotated: { keys: [jwkOf(second, { kid: 'k2' })] }, 'the same key id': { keys: [jwkOf(second)] }, 'no keys': { keys: [] }, unreachable: null })) {
    let time = Date.now()
    status = 200
    set = { keys: [jwkOf(pair)] }
    const app = await createApp(t, { auth: { clock: () => time, jwt: { issuer: url, audience: false, keySet: { maxAge: 600, cooldown: 1, staleFor: 0 } } } })
    app.get('/', { config: { auth: auth.any(auth.jwt(), auth.apiKey()) } }, async () => 'ok')
    const headers = { authorization: `Bearer ${mint(header(), claims({ iss: url, exp: time / 1000 + 86_400 }), pair.privateKey)}` }
    t.equal((await app.inject({ url: '/', headers })).statusCode, 200, 'cached')
    if (later === null) status = 500
    else set = later
    time += 601_000
    const before = requests()
    t.match(refusalOf(await app.inject({ url: '/', headers: { ...headers, 'x-api-key': 'a, b' } })), ambiguous, title)
    await turns()
    t.equal(requests(), before, 'the issuer is not asked for a request that is rejected anyway')
    t.not((await app.inject({ url: '/', headers })).statusCode, 200, 'and the token alone is rejected')
    t.strictSame(faults, [], title)
  }
})

t.test('a check that never answers is 503 after 2 seconds, and what it rejects with later does not end the process', async (t) => {
  mock.timers.enable({ apis: ['setTimeout'] })
  t.teardown(() => { mock.timers.reset() })
  const app = await createApp(t)
  let asked = (): void => {}
  let rejectLate = (): void => {}
  app.get('/', {
    config: {
      auth: auth.jwt().check('silent', () => new Promise((_resolve, reject) => {
        rejectLate = () => { reject(new Error('late')) }
        asked()
      }))
    }
  }, async () => 'reached')
  const isAsked = new Promise<void>((resolve) => { asked = resolve })
  const answer = app.inject({ url: '/', headers: bearer() })
  await isAsked
  mock.timers.tick(2000)
  const { statusCode, headers, body } = await answer
  t.match({ statusCode, headers, code: (JSON.parse(body) as { code: string }).code }, { statusCode: 503, headers: { 'retry-after': '5' }, code: 'AUTH_STORE_UNAVAILABLE' })
  rejectLate()
  await turns()
})

t.test('whatever the application answers after its time limit is dropped: a rejection does not end the process', async (t) => {
  const faults = watchProcess(t)
  mock.timers.enable({ apis: ['setTimeout'] })
  t.teardown(() => { mock.timers.reset() })
  const late: Array<(cause: unknown) => void> = []
  let isAsked = (): void => {}
  /** A promise that is rejected only when the test says so. */
  const silent = (): Promise<never> => new Promise((_resolve, reject) => {
    late.push(reject)
    isAsked()
  })
  const jwt = { issuer: 'causeflow', audience: 'causeflow-api', secret: tokenSecret }
  const store = Object.assign(new MemoryApiKeyStore(), { findByDigest: silent })
  const app = await createApp(t, {
    auth: {
      jwt: [{ ...jwt, isRevoked: silent }, { ...jwt, name: 'plain', issuer: 'plain' }],
      apiKey: { store },
      webhook: [
        { name: 'resolved', secret: silent, scheme: github() },
        { name: 'remembered', secret: webhookSecret, replay: { begin: silent, finish: silent, release: silent } }
      ]
    }
  })
  const rules = { token: auth.jwt('default'), key: auth.apiKey(), secret: auth.webhook('resolved'), replay: auth.webhook('remembered'), check: auth.jwt('plain').check('silent', silent) }
  for (const [name, rule] of Object.entries(rules)) app.post(`/${name}`, { config: { auth: rule } }, async () => 'reached')
  const body = '{}'
  const headers = {
    token: bearer(),
    key: { 'x-api-key': createApiKey().key },
    secret: { 'content-type': 'application/json', 'x-hub-signature-256': `sha256=${'0'.repeat(64)}` },
    replay: signed(body),
    check: bearer({ iss: 'plain' })
  }
  for (const name of Object.keys(rules) as Array<keyof typeof rules>) {
    const asked = new Promise<void>((resolve) => { isAsked = resolve })
    const answer = app.inject({ method: 'POST', url: `/${name}`, payload: body, headers: { 'content-type': 'application/json', ...headers[name] } })
    await Promise.race([asked, answer])
    await turns()
    mock.timers.tick(2000)
    t.match(refusalOf(await answer), { status: 503, code: 'AUTH_STORE_UNAVAILABLE' }, name)
    t.ok(late.length >= 1, name)
    for (const reject of late.splice(0)) reject(name === 'token' ? undefined : new Error('late'))
    await turns()
    t.strictSame(faults, [], name)
  }
})

t.test('authenticate() without a request of Fastify rejects the request, awaited or not', async (t) => {
  const faults = watchProcess(t)
  const calls: Record<string, (app: Awaited<ReturnType<typeof createApp>>, request: object) => unknown> = {
    'arguments exchanged': (app, request) => app.causeflowAuth.authenticate(auth.jwt() as never, request as never),
    'the raw request': (app, request) => app.causeflowAuth.authenticate((request as { raw: never }).raw, auth.jwt()),
    'a copy': (app, request) => app.causeflowAuth.authenticate({ ...request } as never, auth.jwt())
  }
  for (const [title, call] of Object.entries(calls)) {
    const app = await createApp(t, { auth: { default: auth.public() } })
    app.addHook('preHandler', async (request) => { call(app, request) })
    let reached = 0
    app.get('/', async () => { reached++; return 'in' })
    t.match(refusalOf(await app.inject('/')), { status: 500, code: 'AUTH_CONFIG_RULE' }, title)
    await turns()
    t.equal(reached, 0)
  }
  t.strictSame(faults, [])
})

t.test('a callback of a guard that is an async function and throws does not end the process', async (t) => {
  const faults = watchProcess(t)
  const app = await createApp(t, { auth: { default: auth.public() } })
  app.addHook('preHandler', async (request, reply) => {
    app.causeflowAuth.jwt(request, reply, (async (error?: Error) => { if (error) throw error }) as never)
    await turns()
  })
  app.get('/', async () => 'in')
  await app.inject('/')
  await turns()
  t.strictSame(faults, [])
})

t.test('a store that rejects with a revoked proxy is 503 and does not end the process', async (t) => {
  const faults = watchProcess(t)
  const { proxy, revoke } = Proxy.revocable({}, {})
  revoke()
  const { key: plaintextKey } = createApiKey()
  for (const fail of [async () => await Promise.reject(proxy), () => { throw proxy }]) {
    const store = new MemoryApiKeyStore()
    store.findByDigest = fail as never
    const app = await createApp(t, { auth: { apiKey: { store } } })
    app.get('/', { config: { auth: auth.apiKey() } }, async () => 'in')
    t.match(refusalOf(await app.inject({ url: '/', headers: { 'x-api-key': plaintextKey } })), { status: 503, code: 'AUTH_STORE_UNAVAILABLE' })
    await turns()
  }
  t.strictSame(faults, [])
})
