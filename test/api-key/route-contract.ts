/** What apiKeyRoutes must do over every store. A store's own test file calls this with a way to make one. */
import { createHmac } from 'node:crypto'
import Fastify, { type FastifyInstance } from 'fastify'
import type { Test } from 'tap'
import causeflowAuth, { apiKeyRoutes, auth, type ApiKeyOptions, type ApiKeyStore } from '../../lib/index.js'

const secret = 'a secret of more than thirty-two bytes'
const sealed = { sealingKeys: ['a'.repeat(64)] }
const start = Date.parse('2026-01-01T00:00:00Z')

export function routeContract (t: Test, open: (t: Test) => Promise<ApiKeyStore> | ApiKeyStore): void {
  async function build (t: Test, options: Partial<ApiKeyOptions> = sealed, change?: (app: FastifyInstance) => void) {
    const store = await open(t)
    const time = { now: start }
    const app = Fastify()
    t.teardown(() => app.close())
    change?.(app)
    await app.register(causeflowAuth, { jwt: { issuer: 'causeflow', audience: 'causeflow-api', secret }, apiKey: { store, ...options }, clock: () => time.now })
    await app.register(apiKeyRoutes, { prefix: '/v1', manage: auth.any(auth.jwt().roles('admin'), auth.apiKey().scopes('keys')) })
    app.get('/ingest', { config: { auth: auth.apiKey() } }, async () => 'in')
    const token = (tenantId: string, subject = 'usr_1'): string => {
      const part = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url')
      const signed = `${part({ alg: 'HS256', typ: 'JWT' })}.${part({ iss: 'causeflow', aud: 'causeflow-api', sub: subject, exp: time.now / 1000 + 60, roles: ['admin'], tenant_id: tenantId })}`
      return `Bearer ${signed}.${createHmac('sha256', secret).update(signed).digest('base64url')}`
    }
    const call = async (method: 'GET' | 'POST' | 'DELETE', path: string, payload?: unknown, authorization = token('ten_A')): Promise<{ status: number, body: any, bytes: number, challenge: unknown }> => {
      const answer = await app.inject({ method, url: `/v1/api-keys${path}`, headers: { authorization, ...payload === undefined ? {} : { 'content-type': 'application/json' } }, ...payload === undefined ? {} : { payload: JSON.stringify(payload) } })
      return { status: answer.statusCode, body: answer.body === '' ? null : answer.json(), bytes: answer.rawPayload.length, challenge: answer.headers['www-authenticate'] }
    }
    return { app, store, time, token, call, use: async (key: string) => (await app.inject({ url: '/ingest', headers: { 'x-api-key': key } })).statusCode }
  }

  t.test('what a client may not send is 400 validation_error and makes nothing, whatever the application validates with', async (t) => {
    const bodies: Array<[words: string, body: unknown]> = [
      ['a name with half of a character', { name: 'a\ud800' }], ['a name with NUL', { name: 'a\0' }], ['a name with a C1 control character', { name: 'a\u0085' }],
      ['a name of 101 characters', { name: '🔑'.repeat(101) }], ['a name of a megabyte', { name: 'x'.repeat(900_000) }],
      ['a scope of 129 characters', { name: 'n', scopes: ['x'.repeat(129)] }], ['101 scopes', { name: 'n', scopes: Array.from({ length: 101 }, (_, index) => `${index}`) }],
      ['100 scopes of 10 kB', { name: 'n', scopes: Array.from({ length: 100 }, () => 'x'.repeat(10_000)) }],
      ['a scope with NUL', { name: 'n', scopes: ['a\0'] }], ['a scope with half of a character', { name: 'n', scopes: ['\udc00'] }],
      ['a scope with a quote', { name: 'n', scopes: ['a", Bearer realm="evil'] }],
      ['an expiry beyond year 9999', { name: 'n', expiresAt: '9999-12-31T23:59:59-12:00' }], ['an expiry of six digits', { name: 'n', expiresAt: '+010000-01-01T00:00:00Z' }],
      ['an expiry before year 0', { name: 'n', expiresAt: '-000001-01-01T00:00:00Z' }], ['an expiry in year 0', { name: 'n', expiresAt: '0000-01-01T00:00:00Z' }],
      ['an expiry with NUL', { name: 'n', expiresAt: '2030-01-01T00:00:00Z\0' }], ['an environment with NUL', { name: 'n', environment: 'live\0' }]
    ]
    for (const validates of [true, false]) {
      const { call } = await build(t, sealed, validates ? undefined : (app) => { app.setValidatorCompiler(() => () => true) })
      for (const [words, body] of bodies) t.match(await call('POST', '', body), { status: 400, body: { error: 'validation_error' } }, words)
      for (const tenantId of ['ten\0', 'x'.repeat(257), 'a\nb']) {
        const stranger = (await build(t)).token(tenantId)
        for (const [method, path, body] of [['POST', '', { name: 'n' }], ['GET', ''], ['DELETE', '/key_1'], ['POST', '/key_1/rotate', {}], ['POST', '/key_1/webhook-secret', {}]] as const) {
          t.match(await call(method, path, body, stranger), { status: 400, body: { error: 'validation_error', message: /^tenantId must/ } }, `${method} ${path} of tenant ${JSON.stringify(tenantId.slice(0, 10))}`)
        }
      }
      for (const keyId of ['key_%00', 'key_%C2%85', 'x'.repeat(99)]) {
        const status = keyId.startsWith('x') ? 404 : 400
        for (const [method, path, body] of [['DELETE', ''], ['POST', '/rotate', {}], ['POST', '/webhook-secret', {}]] as const) t.equal((await call(method, `/${keyId}${path}`, body)).status, status, `${method} ${keyId}${path}`)
      }
      for (const query of ['cursor=%00', 'cursor=a%00', `cursor=${'x'.repeat(257)}`, 'cursor=key_1&cursor=key_2', 'limit=0', 'limit=101', 'limit=1.5', 'limit=x', 'limit=', 'limit=%00']) {
        t.match(await call('GET', `?${query}`), { status: 400, body: { error: 'validation_error' } }, query)
      }
      const { body: { keyId } } = await call('POST', '', { name: 'n' })
      for (const overlap of [-1, 2_592_001, 'x', 'Infinity', [1, 2], {}]) t.equal((await call('POST', `/${keyId}/rotate`, { overlap })).status, 400, String(overlap))
      t.equal((await call('GET', '')).body.keys.length, 1, 'nothing was made')
    }
  })

  t.test('an admin whose subject is long or has odd characters makes, rotates and revokes keys, and another one is never named in its place', async (t) => {
    const { app, call, token } = await build(t)
    const seen = new Set<string | null>()
    for (const subject of ['usr\0', 'a\nb', 'x'.repeat(4000), `${'x'.repeat(3999)}y`, '語'.repeat(300), '💥'.repeat(500)]) {
      const who = token('ten_A', subject)
      const made = await call('POST', '', { name: 'n' }, who)
      t.equal(made.status, 201, JSON.stringify(subject.slice(0, 10)))
      const rotated = await call('POST', `/${made.body.keyId}/rotate`, {}, who)
      t.equal(rotated.status, 201)
      t.equal((await call('DELETE', `/${rotated.body.keyId}`, undefined, who)).status, 204)
      const record = await app.causeflowAuth.apiKeys.get({ tenantId: 'ten_A', keyId: rotated.body.keyId })
      t.equal(record?.createdBy, record?.revokedBy)
      t.match(record?.revokedBy, /^.{1,160}…sha256:[0-9a-f]{64}$/u)
      seen.add(record?.revokedBy ?? null)
      t.type(await app.causeflowAuth.apiKeys.revokeAll({ tenantId: 'ten_A', revokedBy: subject }), Array)
    }
    t.equal(seen.size, 6)
    const made = await call('POST', '', { name: 'n' }, token('ten_A', 'x'.repeat(256)))
    t.match(await app.causeflowAuth.apiKeys.get({ tenantId: 'ten_A', keyId: made.body.keyId }), { createdBy: 'x'.repeat(256) })
  })

  t.test('a key that expires at the end of year 9999 can be rotated a day later, and its replacement again', async (t) => {
    const { call, time, use } = await build(t)
    const { body: made } = await call('POST', '', { name: 'n', expiresAt: '9999-12-31T23:59:59Z' })
    time.now += 24 * 60 * 60_000
    const first = await call('POST', `/${made.keyId}/rotate`, { overlap: 60 })
    t.match(first, { status: 201, body: { expiresAt: '9999-12-31T23:59:59.999Z' } })
    time.now += 24 * 60 * 60_000
    const second = await call('POST', `/${first.body.keyId}/rotate`, {})
    t.match(second, { status: 201, body: { expiresAt: '9999-12-31T23:59:59.999Z' } })
    t.strictSame([await use(made.plaintextKey), await use(first.body.plaintextKey), await use(second.body.plaintextKey)], [401, 401, 200])
  })

  t.test('without a sealing key a webhook secret cannot be replaced, which is 404 and no fault of the server', async (t) => {
    const { call, store } = await build(t, {})
    const { body: { keyId, webhookSecret } } = await call('POST', '', { name: 'n' })
    const answer = await call('POST', `/${keyId}/webhook-secret`, {})
    // A store that ends with its process seals with a key of the process.
    if (store.ephemeral === true) return t.match([webhookSecret, answer.status], [/^whsec_/, 201])
    t.match([webhookSecret, answer], [null, { status: 404, body: { error: 'not_found', message: 'API keys of this server have no webhook secrets' } }])
  })

  t.test('a hundred keys as large as a key may be: each page stays below 256 kB, and the pages together show every key once', async (t) => {
    const { call, app } = await build(t)
    const made: string[] = []
    const scopes = (prefix: number): string[] => Array.from({ length: 100 }, (_, index) => `${prefix}:${index}`.padEnd(128, 'x'))
    t.equal((await call('POST', '', { name: 'n', scopes: Array.from({ length: 100 }, () => 'x'.repeat(10_000)) })).status, 400, '100 scopes of 10 kB')
    for (let index = 0; index < 100; index++) {
      const { status, body } = await call('POST', '', { name: '🔑'.repeat(100), scopes: scopes(index) })
      t.equal(status, 201)
      made.push(body.keyId)
      t.equal((await call('DELETE', `/${body.keyId}`)).status, 204)
    }
    const seen: string[] = []
    let cursor: string | null = null
    let pages = 0
    do {
      const page = await call('GET', `?limit=100${cursor === null ? '' : `&cursor=${encodeURIComponent(cursor)}`}`)
      t.equal(page.status, 200)
      t.ok(page.bytes <= 262_144 + 200, `${page.bytes} bytes`)
      seen.push(...page.body.keys.map(({ keyId }: { keyId: string }) => keyId))
      cursor = page.body.cursor
      pages++
    } while (cursor !== null && pages < 100)
    t.strictSame([...seen].sort(), [...made].sort())
    t.ok(pages > 4 && pages < 10, `${pages} pages`)
    const { keys } = await app.causeflowAuth.apiKeys.list({ tenantId: 'ten_A', limit: 100 })
    t.ok(Buffer.byteLength(JSON.stringify(keys)) <= 262_144 + 200)
  })

  t.test('create, rotate with the longest overlap, delete the replacement, again and again: the quota still holds', async (t) => {
    const { call, use } = await build(t, { quota: 2 })
    const keys: string[] = []
    const statuses: number[] = []
    for (let round = 0; round < 10; round++) {
      const made = await call('POST', '', { name: 'n' })
      statuses.push(made.status)
      if (made.status !== 201) continue
      const rotated = await call('POST', `/${made.body.keyId}/rotate`, { overlap: 2_592_000 })
      t.equal(rotated.status, 201)
      t.equal((await call('DELETE', `/${rotated.body.keyId}`)).status, 204)
      t.equal((await call('POST', `/${made.body.keyId}/rotate`, { overlap: 2_592_000 })).status, 409)
      keys.push(made.body.plaintextKey, rotated.body.plaintextKey)
    }
    t.strictSame(statuses, [201, 201, 429, 429, 429, 429, 429, 429, 429, 429])
    const working = (await Promise.all(keys.map(use))).filter((status) => status === 200)
    t.equal(working.length, 2)
  })

  t.test('a challenge names the scopes that the client asked for, and never those of another key', async (t) => {
    for (const validates of [true, false]) {
      const { call } = await build(t, sealed, validates ? undefined : (app) => { app.setValidatorCompiler(() => () => true) })
      const { body: { plaintextKey } } = await call('POST', '', { name: 'manager', scopes: ['keys'] })
      const { body: other } = await call('POST', '', { name: 'other', scopes: ['payroll:read'] })
      const own = `Bearer ${plaintextKey}`
      const many = Array.from({ length: 100 }, (_, index) => `${index}`.padEnd(128, 'x'))
      const asked = await call('POST', '', { name: 'n', scopes: ['keys', 'payroll:read'] }, own)
      t.strictSame([asked.status, asked.challenge], [403, 'ApiKey realm="causeflow", error="insufficient_scope", scope="keys payroll:read"'])
      const long = await call('POST', '', { name: 'n', scopes: many }, own)
      t.equal(long.status, 403)
      t.ok(String(long.challenge).length < 2200, String(String(long.challenge).length))
      for (const path of ['rotate', 'webhook-secret']) {
        const { status, challenge } = await call('POST', `/${other.keyId}/${path}`, {}, own)
        t.strictSame([status, challenge], [403, 'ApiKey realm="causeflow", error="insufficient_scope"'])
      }
      for (const scopes of [['a", Bearer realm="evil'], ['x'.repeat(900_000)], ['a\r\nset-cookie: a=b'], 'keys', { length: 0 }, [['keys']], null]) {
        const { status, challenge } = await call('POST', '', { name: 'n', scopes }, own)
        t.strictSame([status === 201 || status === 400 || status === 403, /evil|cookie|xxx/.test(String(challenge))], [true, false], JSON.stringify(scopes)?.slice(0, 40))
      }
    }
  })
}
