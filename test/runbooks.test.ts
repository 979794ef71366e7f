// docs/runbooks.md, performed: its commands as they stand on the page, against the plugin, with a clock in the hands of the test.
import t, { type Test } from 'tap'
import { randomBytes } from 'node:crypto'
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import Fastify, { type FastifyInstance, type InjectOptions } from 'fastify'
import { MemoryApiKeyStore, apiKeyPattern, apiKeySecret, auth, causeflow, causeflowAuth, type CauseflowAuthOptions } from '../lib/index.js'
import { bearer, createTestIssuer, signedDelivery, type TestIssuer, type TestIssuerOptions } from '../lib/testing/index.js'
import { ask, type Surroundings } from './cli/fixture.js'
import { createLog } from './fixtures/app.js'
import { watchProcess } from './fixtures/process-watch.js'

watchProcess(t)

const page = readFileSync(join(dirname(import.meta.dirname), 'docs/runbooks.md'), 'utf8')
const minute = 60_000
const sealingKeys = [randomBytes(32)]

/** A server with a log whose reasons can be read, and a clock that moves when the test says so. */
async function createServer (t: Test, options: CauseflowAuthOptions, routes: (app: FastifyInstance) => void) {
  const log = createLog()
  const app = Fastify({ logger: log.logger })
  t.teardown(() => app.close())
  await app.register(causeflowAuth, options)
  routes(app)
  await app.ready()
  return {
    app,
    /** The status of an answer, with the reason that the log has for a refusal. */
    async ask (request: InjectOptions): Promise<string> {
      log.lines.length = 0
      const { statusCode } = await app.inject(request)
      const reason = log.lines.find((line) => line['reason'] !== undefined)?.['reason']
      return reason === undefined ? String(statusCode) : `${statusCode} ${String(reason)}`
    }
  }
}

type Server = Awaited<ReturnType<typeof createServer>>

async function startIssuer (t: Test, options: TestIssuerOptions): Promise<TestIssuer> {
  const issuer = await createTestIssuer(options)
  t.teardown(() => issuer.close())
  return issuer
}

const performed = new Set<string>()

/** Runs a command that the page has, with these values for what is a variable there. */
async function command (text: string, values: Record<string, string>, surroundings: Surroundings) {
  if (!commandsOf(page).includes(text)) throw new Error(`The page has no command "${text}"`)
  performed.add(text)
  const words = text.split(' ').slice(1).map((word) => Object.entries(values).reduce((known, [name, value]) => known.replace(name, value), word))
  return await ask(words, { ...surroundings, env: { DATABASE_URL: 'postgres://db/app', CAUSEFLOW_SEALING_KEYS: sealingKeys.map((key) => key.toString('base64')).join(), ...surroundings.env } })
}

/** Every command line of the program on the page, up to where the next program takes over. */
function commandsOf (text: string): string[] {
  return [...text.matchAll(/causeflow-auth (?:key|doctor|token|sign|verify|migrate)[^`|\n]*/g)].map(([line]) => line.replace(/ {2,}.*$|, or$/, '').trim()).filter((line) => !/^causeflow-auth \w+ *$/.test(line))
}

t.test('a leaked API key', async (t) => {
  let now = Date.parse('2030-01-01T00:00:00Z')
  const clock = () => now
  const store = new MemoryApiKeyStore()
  const server = await createServer(t, { apiKey: { store, sealingKeys }, clock }, (app) => {
    app.get('/report', { config: { auth: auth.apiKey().scopes('report:read') } }, async () => 'in')
  })
  const use = async (key: string): Promise<string> => await server.ask({ url: '/report', headers: { 'x-api-key': key } })
  const { plaintextKey: leaked, keyId } = await server.app.causeflowAuth.apiKeys.create({ tenantId: 'ten_ACME', name: 'Datadog', scopes: ['report:read'] })
  t.equal(await use(leaked), '200')
  t.match(`pasted: ${leaked}`, apiKeyPattern)

  const inspected = await command('causeflow-auth key inspect', {}, { store, clock, stdin: leaked })
  t.match(inspected, { code: 0, answer: { status: 'active', record: { keyId, tenantId: 'ten_ACME' } } })
  t.notOk(JSON.stringify(inspected).includes(leaked), 'the key is not printed')

  // The quiet way: both work for an hour.
  const rotated = await command('causeflow-auth key rotate "$KEY_ID" --tenant ten_ACME --overlap 1h', { '"$KEY_ID"': keyId }, { store, clock })
  t.equal(rotated.code, 0)
  t.strictSame([await use(leaked), await use(rotated.answer.plaintextKey)], ['200', '200'])
  now += 60 * minute
  t.strictSame([await use(leaked), await use(rotated.answer.plaintextKey)], ['401 expired', '200'])

  // The loud way: out with the next request.
  const created = await command('causeflow-auth key create --tenant ten_ACME --name Datadog --scope report:read', {}, { store, clock })
  t.equal(await use(created.answer.plaintextKey), '200')
  const revoke = await command('causeflow-auth key revoke "$KEY_ID" --tenant ten_ACME --by ops@example.com', { '"$KEY_ID"': rotated.answer.keyId }, { store, clock })
  t.equal(revoke.code, 0)
  t.strictSame([await use(rotated.answer.plaintextKey), await use(created.answer.plaintextKey)], ['401 revoked', '200'])
  t.match(await server.app.causeflowAuth.apiKeys.get({ tenantId: 'ten_ACME', keyId: rotated.answer.keyId }), { status: 'revoked', revokedBy: 'ops@example.com' })
})

t.test('a leaked signing secret: both are accepted during the rotation, the old one is refused after it', async (t) => {
  const receiver = async (secret: string[]): Promise<Server> => await createServer(t, { webhook: { secret }, default: auth.deny() }, (app) => {
    app.post('/events', { config: { auth: auth.webhook() } }, async () => 'in')
  })
  const send = async (server: Server, secret: string): Promise<string> => await server.ask(signedDelivery({ url: '/events', body: { n: 1 }, secret }))
  const before = await receiver(['whsec_leaked'])
  t.strictSame([await send(before, 'whsec_leaked'), await send(before, 'whsec_next')], ['200', '401 digest'])
  const during = await receiver(['whsec_next', 'whsec_leaked'])
  t.strictSame([await send(during, 'whsec_leaked'), await send(during, 'whsec_next')], ['200', '200'])
  const after = await receiver(['whsec_next'])
  t.strictSame([await send(after, 'whsec_leaked'), await send(after, 'whsec_next')], ['401 digest', '200'])
})

t.test('the leaked signing secret of a key, with an overlap and without', async (t) => {
  let now = Date.parse('2030-01-01T00:00:00Z')
  const clock = () => now
  const store = new MemoryApiKeyStore()
  const { server, deliver } = await ingest(t, { store, sealingKeys }, clock)
  const key = await server.app.causeflowAuth.apiKeys.create({ tenantId: 'ten_ACME', name: 'Datadog' })
  const send = async (secret: string | null): Promise<string> => await deliver(key.plaintextKey, secret)
  t.equal(await send(key.webhookSecret), '200')

  const renewed = await command('causeflow-auth key rotate "$KEY_ID" --tenant ten_ACME --webhook-secret --overlap 1h', { '"$KEY_ID"': key.keyId }, { store, clock })
  t.equal(renewed.code, 0)
  t.strictSame([await send(key.webhookSecret), await send(renewed.answer.webhookSecret)], ['200', '200'])
  now += 60 * minute
  t.strictSame([await send(key.webhookSecret), await send(renewed.answer.webhookSecret)], ['401 digest', '200'])

  const abused = await command('causeflow-auth key rotate "$KEY_ID" --tenant ten_ACME --webhook-secret', { '"$KEY_ID"': key.keyId }, { store, clock })
  t.strictSame([await send(renewed.answer.webhookSecret), await send(abused.answer.webhookSecret)], ['401 digest', '200'])
})

t.test('a planned rotation of the issuer refuses nobody and needs no restart', async (t) => {
  const { server, issuer, pass } = await tokenServer(t)
  const use = async (token: string): Promise<string> => await server.ask({ url: '/v1/me', headers: bearer(token) })
  const events: string[] = []
  const listener = (message: unknown): void => { events.push((message as { event: string }).event) }
  subscribe('causeflow-auth:key-set', listener)
  t.teardown(() => unsubscribe('causeflow-auth:key-set', listener))

  const old = issuer.token()
  t.equal(await use(old), '200')
  pass(31_000)
  await issuer.rotate({ keepOld: true })
  t.strictSame([await use(issuer.token()), await use(old)], ['200', '200'])
  t.ok(events.includes('rotated'))
})

t.test('who signs with a key that is not published waits a cooldown', async (t) => {
  const { server, issuer, pass } = await tokenServer(t)
  const use = async (): Promise<string> => await server.ask({ url: '/v1/me', headers: bearer(issuer.token()) })
  t.equal(await use(), '200')
  await issuer.rotate()
  t.equal(await use(), '401 key-unknown', 'the set was read a moment ago')
  pass(31_000)
  t.equal(await use(), '200')
})

t.test('a stolen issuer key opens nothing once the process has read the set: by the next token, by a restart, or in the end by age', async (t) => {
  for (const way of ['token', 'restart', 'age'] as const) {
    const { server, issuer, pass, again } = await tokenServer(t)
    const use = async (token: string, at: Server = server): Promise<string> => await at.ask({ url: '/v1/me', headers: bearer(token) })
    const stolen = issuer.token({ exp: 2_000_000_000 })
    t.equal(await use(stolen), '200')
    await issuer.rotate()
    t.equal(await use(stolen), '200', `${way}: nobody has told this process yet`)
    if (way === 'restart') {
      t.equal(await use(stolen, await again()), '401 key-unknown', way)
    } else {
      pass(way === 'token' ? 31_000 : 600_000)
      if (way === 'token') t.equal(await use(issuer.token()), '200', way)
      t.equal(await use(stolen), '401 key-unknown', way)
    }
  }
})

t.test('an issuer that changes its address is two issuers for a while', async (t) => {
  const [old, next] = await Promise.all([startIssuer(t, {}), startIssuer(t, {})])
  const configured = async (jwt: CauseflowAuthOptions['jwt'], names: [string, ...string[]]): Promise<(token: string) => Promise<string>> => {
    const server = await createServer(t, { jwt: jwt as NonNullable<typeof jwt>, default: auth.jwt(...names) }, (app) => { app.get('/v1/me', async () => 'in') })
    return async (token) => await server.ask({ url: '/v1/me', headers: bearer(token) })
  }
  const during = await configured([{ name: 'default', ...next.jwtOptions() }, { name: 'previous', ...old.jwtOptions() }], ['default', 'previous'])
  t.strictSame([await during(old.token()), await during(next.token())], ['200', '200'])
  const after = await configured(next.jwtOptions(), ['default'])
  t.strictSame([await after(old.token()), await after(next.token())], ['401 issuer-unknown', '200'])
})

t.test('a new tenant is there with its first key, and only where it belongs', async (t) => {
  const store = new MemoryApiKeyStore()
  const { server, deliver } = await ingest(t, { store, sealingKeys }, Date.now)
  const { code, answer } = await command('causeflow-auth key create --tenant ten_NEW --name Datadog', {}, { store, clock: Date.now })
  t.equal(code, 0)
  const headers = { 'x-api-key': answer.plaintextKey }
  t.equal(await server.ask({ url: '/v1/tenants/ten_NEW/incidents', headers }), '200')
  t.equal(await server.ask({ url: '/v1/tenants/ten_ACME/incidents', headers }), '403 tenant-other')
  t.equal(await deliver(answer.plaintextKey, answer.webhookSecret, 'ten_NEW'), '200')
  t.equal(await deliver(answer.plaintextKey, answer.webhookSecret, 'ten_ACME'), '403 tenant-other')
})

t.test('a moved clock is told by its reasons, and mended without a restart', async (t) => {
  let now = Date.parse('2030-01-01T00:00:00Z')
  let off = 0
  const issuer = await startIssuer(t, { clock: () => now })
  const server = await createServer(t, {
    jwt: issuer.jwtOptions(),
    webhook: { secret: 'whsec_test', scheme: causeflow({ timestampField: 'timestamp' }) },
    clock: () => now + off
  }, (app) => {
    app.get('/v1/me', async () => 'in')
    app.post('/events', { config: { auth: auth.webhook() } }, async () => 'in')
  })
  const use = async (claims?: Record<string, unknown>): Promise<string> => await server.ask({ url: '/v1/me', headers: bearer(issuer.token(claims)) })
  const deliver = async (): Promise<string> => await server.ask(signedDelivery({ url: '/events', body: { timestamp: new Date(now).toISOString() }, secret: 'whsec_test' }))
  t.strictSame([await use(), await deliver()], ['200', '200'])

  off = 6 * minute
  t.strictSame([await use(), await deliver()], ['401 expired', '401 stale'], 'ahead')
  off = -6 * minute
  t.strictSame([await use(), await use({ iat: undefined, nbf: now / 1000 }), await deliver()], ['401 issued-in-future', '401 not-yet-valid', '401 stale'], 'behind')
  off = 0
  now += 1000
  t.strictSame([await use(), await deliver()], ['200', '200'], 'mended')

  const doctor = async (clock: () => number) => {
    const { code, answer } = await command('causeflow-auth doctor --issuer https://acme.clerk.accounts.dev', { 'https://acme.clerk.accounts.dev': issuer.issuer }, { env: { DATABASE_URL: '' }, clock, fetch })
    return { code, clock: (answer.findings as Array<{ check: string, status: string }>).find(({ check }) => check === 'clock')?.status }
  }
  t.strictSame(await doctor(() => Date.now() - 6 * minute), { code: 1, clock: 'wrong' })
  t.strictSame(await doctor(Date.now), { code: 0, clock: 'well' })
})

t.test('a moved clock cannot make a remembered token outlive its end', async (t) => {
  let now = Date.parse('2030-01-01T00:00:00Z')
  const issuer = await startIssuer(t, { clock: () => now })
  const server = await createServer(t, { jwt: issuer.jwtOptions(), clock: () => now }, (app) => { app.get('/v1/me', async () => 'in') })
  const request = { url: '/v1/me', headers: bearer(issuer.token()) }
  t.equal(await server.ask(request), '200')
  now += 6 * minute
  t.equal(await server.ask(request), '401 expired')
})

t.test('a stolen laptop: every key of the tenant is out, and the tokens of before with them', async (t) => {
  let now = Date.parse('2030-01-01T00:00:00Z')
  const clock = () => now
  let stolenAt = 0
  const store = new MemoryApiKeyStore()
  const issuer = await startIssuer(t, { clock })
  const server = await createServer(t, {
    jwt: { ...issuer.jwtOptions(), isRevoked: ({ subject, claims }) => subject === 'usr_1' && Number(claims['iat']) < stolenAt },
    apiKey: { store, sealingKeys },
    clock,
    default: auth.any(auth.jwt(), auth.apiKey())
  }, (app) => { app.get('/v1/me', async () => 'in') })
  const { apiKeys } = server.app.causeflowAuth
  const use = async (key: string): Promise<string> => await server.ask({ url: '/v1/me', headers: { 'x-api-key': key } })
  const make = async (createdBy: string, tenantId = 'ten_ACME') => await apiKeys.create({ tenantId, name: 'a key', createdBy })
  const [own, other, foreign] = [await make('usr_1'), await make('usr_2'), await make('usr_1', 'ten_GLOBEX')]
  const token = issuer.token({ sub: 'usr_1' })
  t.strictSame(await Promise.all([own, other, foreign].map(({ plaintextKey }) => use(plaintextKey))), ['200', '200', '200'])

  const listed = await command('causeflow-auth key list --tenant ten_ACME --all --json', {}, { store, clock })
  const found = (listed.answer.keys as Array<{ createdBy: string, status: string, keyId: string }>).filter(({ createdBy, status }) => createdBy === 'usr_1' && status === 'active')
  t.strictSame(found.map(({ keyId }) => keyId), [own.keyId])
  t.equal((await command('causeflow-auth key revoke "$KEY_ID" --tenant ten_ACME --by ops@example.com', { '"$KEY_ID"': own.keyId }, { store, clock })).code, 0)
  t.strictSame([await use(own.plaintextKey), await use(other.plaintextKey)], ['401 revoked', '200'])

  now += minute
  const since = await make('usr_3')
  t.strictSame(await apiKeys.revokeAll({ tenantId: 'ten_ACME', createdBefore: new Date(now), revokedBy: 'ops@example.com' }), [other.keyId])
  t.strictSame([await use(other.plaintextKey), await use(since.plaintextKey), await use(foreign.plaintextKey)], ['401 revoked', '200', '200'])
  const all = await command('causeflow-auth key revoke --all --tenant ten_ACME --by ops@example.com', {}, { store, clock })
  t.strictSame(all.answer, { revoked: [since.keyId] })
  t.equal(await use(since.plaintextKey), '401 revoked')
  t.equal(await apiKeys.rotate({ tenantId: 'ten_ACME', keyId: own.keyId }), 'conflict')

  t.equal(await server.ask({ url: '/v1/me', headers: bearer(token) }), '200')
  stolenAt = now / 1000
  t.equal(await server.ask({ url: '/v1/me', headers: bearer(token) }), '401 revoked')
  t.equal(await server.ask({ url: '/v1/me', headers: bearer(issuer.token({ sub: 'usr_1' })) }), '200', 'signed in again')
})

t.test('a lost sealing key: keys work on, their secrets are replaced, and a backup behind the new one loses nothing', async (t) => {
  const store = new MemoryApiKeyStore()
  const lost = randomBytes(32)
  const before = await ingest(t, { store, sealingKeys: [lost] }, Date.now)
  const key = await before.server.app.causeflowAuth.apiKeys.create({ tenantId: 'ten_ACME', name: 'Datadog' })
  t.equal(await before.deliver(key.plaintextKey, key.webhookSecret), '200')

  const unreadable: string[] = []
  const listener = (message: unknown): void => {
    const { event, keyId } = message as { event: string, keyId: string }
    if (event === 'webhook-secret-unreadable') unreadable.push(keyId)
  }
  subscribe('causeflow-auth:api-key', listener)
  t.teardown(() => unsubscribe('causeflow-auth:api-key', listener))

  const after = await ingest(t, { store, sealingKeys }, Date.now)
  t.equal(await after.deliver(key.plaintextKey, key.webhookSecret), '503 unreachable')
  t.strictSame(unreadable, [key.keyId])
  t.equal(await after.server.ask({ url: '/v1/tenants/ten_ACME/incidents', headers: { 'x-api-key': key.plaintextKey } }), '200')

  const rescued = await ingest(t, { store, sealingKeys: [...sealingKeys, lost] }, Date.now)
  t.equal(await rescued.deliver(key.plaintextKey, key.webhookSecret), '200')

  const renewed = await command('causeflow-auth key rotate "$KEY_ID" --tenant ten_ACME --webhook-secret', { '"$KEY_ID"': key.keyId }, { store, clock: Date.now })
  t.equal(renewed.code, 0)
  t.strictSame([await after.deliver(key.plaintextKey, key.webhookSecret), await after.deliver(key.plaintextKey, renewed.answer.webhookSecret)], ['401 digest', '200'])
})

t.test('a leaked sealing key goes once each secret was sealed anew under its successor', async (t) => {
  const store = new MemoryApiKeyStore()
  const [next, leaked] = [randomBytes(32), randomBytes(32)]
  const before = await ingest(t, { store, sealingKeys: [leaked] }, Date.now)
  const key = await before.server.app.causeflowAuth.apiKeys.create({ tenantId: 'ten_ACME', name: 'Datadog' })
  const during = await ingest(t, { store, sealingKeys: [next, leaked] }, Date.now)
  const renewed = await during.server.app.causeflowAuth.apiKeys.rotateWebhookSecret({ tenantId: 'ten_ACME', keyId: key.keyId, overlap: 3600 })
  const secret = typeof renewed === 'object' ? renewed.webhookSecret : null
  t.strictSame([await during.deliver(key.plaintextKey, key.webhookSecret), await during.deliver(key.plaintextKey, secret)], ['200', '200'])
  const after = await ingest(t, { store, sealingKeys: [next] }, Date.now)
  t.strictSame([await after.deliver(key.plaintextKey, key.webhookSecret), await after.deliver(key.plaintextKey, secret)], ['401 digest', '200'])
})

t.test('every command of the page was performed above', async (t) => {
  t.strictSame(commandsOf(page).filter((line) => !performed.has(line)), [])
  t.ok(performed.size >= 8)
})

/** A server whose deliveries want a key and that key's signature. */
async function ingest (t: Test, apiKey: CauseflowAuthOptions['apiKey'], clock: () => number) {
  const server = await createServer(t, { apiKey: apiKey as NonNullable<typeof apiKey>, webhook: { secret: apiKeySecret() }, clock, default: auth.apiKey() }, (app) => {
    app.get('/v1/tenants/:tenantId/incidents', async () => [])
    app.post('/v1/webhooks/:tenantId/:provider', { config: { auth: auth.all(auth.apiKey(), auth.webhook()) } }, async () => 'taken')
  })
  return {
    server,
    deliver: async (key: string, secret: string | null, tenantId = 'ten_ACME'): Promise<string> =>
      await server.ask(signedDelivery({ url: `/v1/webhooks/${tenantId}/datadog`, body: { n: 1 }, secret: secret ?? '', headers: { 'x-api-key': key } }))
  }
}

/** A server that takes an issuer's tokens; `again` starts it once more, as after a restart. */
async function tokenServer (t: Test) {
  let now = Date.parse('2030-01-01T00:00:00Z')
  const clock = (): number => now
  const issuer = await startIssuer(t, { clock })
  const start = async (): Promise<Server> => await createServer(t, { jwt: issuer.jwtOptions(), clock }, (app) => { app.get('/v1/me', async () => 'in') })
  return { server: await start(), issuer, again: start, pass: (milliseconds: number): void => { now += milliseconds } }
}
