import t from 'tap'
import { randomBytes } from 'node:crypto'
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { readFileSync } from 'node:fs'
import type { AuthError } from '../../lib/errors.js'
import { apiKeyPrincipal } from '../../lib/api-key/record.js'
import { createApiKey, digestText } from '../../lib/api-key/key.js'
import { MemoryApiKeyStore } from '../../lib/api-key/memory-store.js'
import { createSealer } from '../../lib/api-key/seal.js'
import { createKeyVerifier } from '../../lib/api-key/verify.js'
import type { StoredApiKey } from '../../lib/api-key/record.js'
import type { ApiKeyPrincipal } from '../../lib/principal.js'
import { fakeTime, settle } from './fake-time.js'
import { newRecord } from './record-fixture.js'
import { scriptedStore, settingsFor } from './scripted-store.js'

const invalid = { code: 'AUTH_API_KEY_INVALID', statusCode: 401, message: 'The API key is invalid', challenge: 'ApiKey realm="causeflow", error="invalid_api_key"' }
const unavailable = { code: 'AUTH_STORE_UNAVAILABLE', statusCode: 503 }

const nothing: unknown = undefined

function refusalOf (act: () => unknown): AuthError {
  try {
    act()
  } catch (error) {
    return error as AuthError
  }
  throw new Error('It was not refused')
}

function memoryWith (...records: StoredApiKey[]): MemoryApiKeyStore {
  const store = new MemoryApiKeyStore()
  for (const record of records) store.create(record, Infinity)
  return store
}

t.test('threat 13: a malformed, too long, misspelt, foreign or unaccepted key is refused without touching cache or store', async (t) => {
  const vectors = JSON.parse(readFileSync(new URL('../fixtures/vectors.json', import.meta.url), 'utf8')).apiKey
  const { store, readings } = scriptedStore()
  const verifier = createKeyVerifier(settingsFor(store, { environments: ['live'], legacyKeys: false }), fakeTime())
  const reasons = (text: string) => {
    const error = refusalOf(() => verifier.verify(text))
    t.match(error, invalid)
    t.notOk(JSON.stringify(error).includes(text.slice(0, 200) || 'nothing'))
    return error.reason
  }
  t.strictSame(vectors.refusedWithoutLookup.map(reasons), ['form', 'checksum', 'form', 'form', 'form'])
  t.equal(reasons('x'.repeat(129)), 'size')
  t.equal(reasons('x'.repeat(128)), 'form')
  for (const value of [undefined, null, 7, {}, Buffer.from('cflo_')]) t.match(refusalOf(() => verifier.verify(value as unknown as string)), { ...invalid, reason: 'form' }, 'what is no text is no key')
  t.equal(reasons(vectors.valid[1].key), 'environment')
  t.equal(reasons(vectors.legacy[0].key), 'form')
  t.equal(reasons(''), 'form')
  t.equal(readings.length, 0)
  t.strictSame(verifier.size(), { proved: 0, refused: 0, loads: 0 })
})

t.test('threat 14: unknown, revoked and expired keys get one public answer, each after a search for its digest', async (t) => {
  const time = fakeTime()
  const at = new Date(time.now).toISOString()
  const revoked = newRecord({ revokedAt: at })
  const expired = newRecord({ expiresAt: at })
  const { store, memory, readings } = scriptedStore()
  for (const { record } of [revoked, expired]) memory.create(record, Infinity)
  const verifier = createKeyVerifier(settingsFor(store), time)
  const keys = [createApiKey().key, revoked.key, expired.key]
  const answers = await Promise.all(keys.map(async (key) => await (verifier.verify(key) as Promise<unknown>).catch((error: AuthError) => error))) as AuthError[]
  t.strictSame(answers.map(({ reason }) => reason), ['unknown', 'revoked', 'expired'])
  const shown = answers.map(({ code, statusCode, message, challenge, retryAfter, cause }) => ({ code, statusCode, message, challenge, retryAfter, cause }))
  for (const one of shown) t.strictSame(one, { ...invalid, retryAfter: null, cause: undefined })
  t.strictSame(readings.map(({ digest }) => digest), keys.map(digestText))
})

t.test('a key of a store that answers at once is verified at once, and so is its refusal', async (t) => {
  const { key, record } = newRecord()
  const verifier = createKeyVerifier(settingsFor(memoryWith(record)), fakeTime())
  t.strictSame(verifier.verify(key), apiKeyPrincipal(record))
  t.equal(verifier.verify(key), verifier.verify(key), 'the same principal, held')
  t.match(refusalOf(() => verifier.verify(createApiKey().key)), invalid)
})

t.test('a key of a store that answers later is verified later the first time and at once from then on', async (t) => {
  const { key, record } = newRecord()
  const { store, memory, readings } = scriptedStore()
  memory.create(record, Infinity)
  const verifier = createKeyVerifier(settingsFor(store), fakeTime())
  const first = verifier.verify(key)
  t.type(first, Promise)
  t.strictSame(await first, apiKeyPrincipal(record))
  t.equal(verifier.verify(key), await first)
  t.equal(readings.length, 1)
})

t.test('a legacy key is verified where legacy keys are accepted, in the environment of its record', async (t) => {
  const key = `cflo_${randomBytes(32).toString('hex')}`
  const { record } = newRecord({ digest: digestText(key), prefix: key.slice(0, 13), environment: 'test' })
  t.match(createKeyVerifier(settingsFor(memoryWith(record)), fakeTime()).verify(key), { keyId: record.keyId, environment: 'test' })
  const live = createKeyVerifier(settingsFor(memoryWith(record), { environments: ['live'] }), fakeTime())
  t.equal(refusalOf(() => live.verify(key)).reason, 'environment')
})

t.test('threat 16: a store that never answers is a 503 after its time limit, for everybody who waits, and it recovers by itself', async (t) => {
  const time = fakeTime()
  const { key, record } = newRecord()
  const { store, readings } = scriptedStore({ manual: true })
  const verifier = createKeyVerifier(settingsFor(store), time)
  const waiting = [verifier.verify(key), verifier.verify(key)]
  const refused = waiting.map(async (one) => { await t.rejects(one as Promise<unknown>, { ...unavailable, reason: 'time-limit', retryAfter: 5 }) })
  time.pass(1999)
  await settle()
  t.equal(verifier.size().loads, 1)
  time.pass(1)
  await Promise.all(refused)
  t.equal(verifier.size().loads, 0)

  const again = verifier.verify(key)
  t.equal(readings.length, 2)
  readings[1]?.answer(record)
  t.strictSame(await again, apiKeyPrincipal(record))
  t.equal(time.waiting(), 2, 'no timer is left of the readings: one of the cache, one of the last use')
})

t.test('threat 16: a store that fails, in whatever way, is a 503 and never a 401, and nothing is held of it', async (t) => {
  const { key, record } = newRecord()
  const failures: Array<() => unknown> = [
    () => { throw new Error('down') },
    () => { throw nothing },
    async () => { throw new Error('down') },
    async () => { throw nothing },
    () => undefined,
    async () => undefined,
    () => ({ ...record, digest: '0'.repeat(64) }),
    async () => ({ ...record, digest: record.digest.toUpperCase() }),
    () => 'yes',
    () => true
  ]
  for (const failure of failures) {
    const { store } = scriptedStore()
    const verifier = createKeyVerifier(settingsFor({ ...store, findByDigest: failure as never }), fakeTime())
    await t.rejects(async () => await verifier.verify(key), { ...unavailable, reason: 'unreachable' }, String(failure))
    t.strictSame(verifier.size(), { proved: 0, refused: 0, loads: 0 })
  }
})

t.test('threat 16: a key that was held is not held on to when its time is over and the store is down', async (t) => {
  const time = fakeTime()
  const { key, record } = newRecord()
  const { store, readings } = scriptedStore({ manual: true })
  const verifier = createKeyVerifier(settingsFor(store), time)
  const first = verifier.verify(key)
  readings[0]?.answer(record)
  await first
  time.pass(29_999)
  t.equal(verifier.verify(key), await first)
  time.now += 1
  const second = verifier.verify(key) as Promise<unknown>
  readings[1]?.fail(new Error('down'))
  await t.rejects(second, unavailable)
  t.equal(readings.length, 2)
})

t.test('a held key is refused from the millisecond of its own expiry', async (t) => {
  const time = fakeTime()
  const { key, record } = newRecord({ expiresAt: new Date(time.now + 1000).toISOString() })
  const verifier = createKeyVerifier(settingsFor(memoryWith(record)), time)
  verifier.verify(key)
  time.pass(999)
  t.match(verifier.verify(key), { keyId: record.keyId })
  time.pass(1)
  t.equal(refusalOf(() => verifier.verify(key)).reason, 'expired')
})

t.test('no credential and no digest is in a refusal, its cause or its properties', async (t) => {
  const { key } = createApiKey()
  const { store } = scriptedStore()
  const verifier = createKeyVerifier(settingsFor({ ...store, findByDigest: async () => undefined as never }), fakeTime())
  const errors = [await (verifier.verify(key) as Promise<unknown>).catch((error: AuthError) => error) as AuthError, refusalOf(() => verifier.verify(`${key}0`))]
  for (const error of errors) {
    const text = JSON.stringify([error.message, error, String(error.cause), error.stack])
    t.notOk(text.includes(key.slice(13)) || text.includes(digestText(key)))
  }
})

t.test('the webhook secrets of a principal are those of the very record that proved it, opened once and held with it', async (t) => {
  const time = fakeTime()
  const sealingKey = randomBytes(32)
  const sealer = createSealer([sealingKey], false, randomBytes)
  const base = newRecord()
  const seal = (text: string) => sealer?.seal(text, base.record) ?? ''
  const record = { ...base.record, sealedSecrets: [{ sealed: seal('new'), until: null }, { sealed: seal('old'), until: new Date(time.now + 5000).toISOString() }] }
  const store = memoryWith(record)
  const verifier = createKeyVerifier(settingsFor(store, { sealingKeys: [sealingKey] }), time)
  t.equal(verifier.opensSecrets, true)
  const principal = verifier.verify(base.key) as ApiKeyPrincipal
  const secrets = verifier.webhookSecrets(principal)
  t.strictSame(secrets, ['new', 'old'])
  t.equal(verifier.webhookSecrets(principal), secrets)
  t.throws(() => { (secrets as string[]).push('mine') }, TypeError)
  time.pass(4999)
  t.equal(verifier.webhookSecrets(principal), secrets)
  time.pass(1)
  t.strictSame(verifier.webhookSecrets(principal), ['new'], 'a secret ends at its millisecond')

  store.replaceSecrets({ ...record, secret: { sealed: seal('newest'), until: null }, at: new Date(time.now).toISOString(), until: new Date(time.now).toISOString() })
  t.strictSame(verifier.webhookSecrets(verifier.verify(base.key) as ApiKeyPrincipal), ['newest'])
  t.strictSame(verifier.webhookSecrets({ ...principal }), [], 'an object that says the same proves nothing')
})

t.test('secrets that nobody can open are a 503; of several, those that open are used', async (t) => {
  const [lost, kept] = [randomBytes(32), randomBytes(32)]
  const { key, record } = newRecord()
  const seal = (sealingKey: Uint8Array, text: string) => ({ sealed: createSealer([sealingKey], false, randomBytes)?.seal(text, record) ?? '', until: null })
  const secretsOf = (sealedSecrets: StoredApiKey['sealedSecrets'], sealingKeys = [kept]) => {
    const verifier = createKeyVerifier(settingsFor(Object.assign(memoryWith({ ...record, sealedSecrets }), { ephemeral: false }) as never, { sealingKeys }), fakeTime())
    return verifier.webhookSecrets(verifier.verify(key) as ApiKeyPrincipal)
  }
  const events: unknown[] = []
  const listener = (event: unknown): void => { events.push(event) }
  subscribe('causeflow-auth:api-key', listener)
  t.teardown(() => unsubscribe('causeflow-auth:api-key', listener))
  t.throws(() => secretsOf([seal(lost, 'a')]), { ...unavailable, reason: 'unreachable' })
  t.strictSame(secretsOf([seal(lost, 'a'), seal(kept, 'b')]), ['b'])
  const told = { event: 'webhook-secret-unreadable', tenantId: record.tenantId, keyId: record.keyId, at: new Date(fakeTime().now).toISOString() }
  t.strictSame(events, [told, told])
  t.strictSame(secretsOf([]), [], 'a key without a secret has none')
  t.strictSame(secretsOf([seal(kept, 'b')], []), [], 'without a sealing key there are none')
})

t.test('a use is written once a minute at most, together with the others, and not by the request', async (t) => {
  const time = fakeTime()
  const [one, two] = [newRecord(), newRecord()]
  const { store, memory } = scriptedStore()
  for (const { record } of [one, two]) memory.create(record, Infinity)
  const touched: unknown[] = []
  const verifier = createKeyVerifier(settingsFor({ ...store, touch: (uses) => { touched.push(uses) } }), time)
  const start = new Date(time.now).toISOString()
  for (let second = 0; second < 20; second++) {
    await verifier.verify(one.key)
    await verifier.verify(two.key)
    time.pass(1000)
  }
  t.strictSame(touched, [])
  time.pass(40_000)
  t.strictSame(touched, [[{ keyId: one.record.keyId, usedAt: start }, { keyId: two.record.keyId, usedAt: start }]])
  const later = new Date(time.now).toISOString()
  await verifier.verify(one.key)
  await verifier.close()
  t.strictSame(touched[1], [{ keyId: one.record.keyId, usedAt: later }], 'closing writes what is left')
  t.equal(time.waiting(), 0)
})

t.test('a use is noted again when a minute is over, by the time that the store knows of', async (t) => {
  for (const [lastUsed, notes] of [[30_000, 0], [59_999, 0], [60_000, 1], [null, 1]] as const) {
    const time = fakeTime()
    const { key, record } = newRecord({ lastUsedAt: typeof lastUsed === 'number' ? new Date(time.now - lastUsed).toISOString() : null })
    const touched: unknown[] = []
    const store = memoryWith(record)
    store.touch = (uses) => { touched.push(...uses) }
    const verifier = createKeyVerifier(settingsFor(store, { cache: { max: 10, ttl: 3600 } }), time)
    verifier.verify(key)
    time.pass(60_000)
    t.equal(touched.length, notes, String(lastUsed))
    verifier.verify(key)
    await verifier.close()
    t.strictSame(touched.at(-1), { keyId: record.keyId, usedAt: new Date(time.now).toISOString() })
  }
})

t.test('a store without a channel, whose every request reads, is not told of every use either', async (t) => {
  const time = fakeTime()
  const { key, record } = newRecord()
  const { store, memory } = scriptedStore({ channel: false })
  memory.create(record, Infinity)
  let touched = 0
  const verifier = createKeyVerifier(settingsFor({ ...store, touch: (uses) => { touched += uses.length; memory.touch(uses) } }), time)
  for (let second = 0; second < 119; second++) {
    await verifier.verify(key)
    time.pass(1000)
    await settle()
  }
  t.ok(touched >= 1 && touched <= 2, `${touched} in two minutes`)
})

t.test('last uses that cannot be written disturb nobody: neither requests nor closing', async (t) => {
  for (const touch of [() => { throw new Error('down') }, async () => { throw nothing }, async () => await new Promise<void>(() => {})]) {
    const time = fakeTime()
    const { key, record } = newRecord()
    const { store, memory } = scriptedStore()
    memory.create(record, Infinity)
    const verifier = createKeyVerifier(settingsFor({ ...store, touch }), time)
    await verifier.verify(key)
    const closing = verifier.close()
    time.pass(2000)
    await closing
    t.equal(time.waiting(), 0)
  }
})

t.test('closing stops listening and ends every timer', async (t) => {
  const time = fakeTime()
  const { key, record } = newRecord()
  const { store, memory, channel } = scriptedStore()
  memory.create(record, Infinity)
  const verifier = createKeyVerifier(settingsFor(store), time)
  await verifier.verify(key)
  t.equal(channel.listeners(), 1)
  await verifier.close()
  t.equal(channel.listeners(), 0)
  t.equal(time.waiting(), 0)
  t.strictSame(verifier.size(), { proved: 0, refused: 0, loads: 0 })
  time.pass(60_000)
  t.match(await verifier.verify(key), { keyId: record.keyId }, 'a request that is still on its way is answered')
  t.equal(time.waiting(), 0)
})

t.test('no timer keeps the process alive: neither that of a reading nor those of the cache and the last use', async (t) => {
  const time = fakeTime()
  const { key, record } = newRecord()
  const { store, readings } = scriptedStore({ manual: true })
  const verifier = createKeyVerifier(settingsFor(store), time)
  const found = verifier.verify(key)
  t.strictSame([time.waiting(), time.holding()], [1, 0])
  readings[0]?.answer(record)
  await found
  t.strictSame([time.waiting(), time.holding()], [2, 0])
})

t.test('opened webhook secrets are not used beyond their end by a clock that returns no number', async (t) => {
  const time = fakeTime()
  let broken = false
  const tools = { ...time, clock: () => broken ? NaN : time.now }
  const store = new MemoryApiKeyStore()
  const { key, record } = newRecord({ sealedSecrets: [] })
  const sealer = createSealer([], true, randomBytes)
  const seal = (secret: string): string => sealer?.seal(secret, record) ?? ''
  store.create({ ...record, sealedSecrets: [{ sealed: seal('new'), until: null }, { sealed: seal('old'), until: new Date(time.now + 1000).toISOString() }] }, 1)
  const verifier = createKeyVerifier(settingsFor(store), tools)
  const principal = verifier.verify(key) as ApiKeyPrincipal
  t.strictSame(verifier.webhookSecrets(principal), ['new', 'old'])
  broken = true
  t.strictSame(verifier.webhookSecrets(principal), ['new'])
})
