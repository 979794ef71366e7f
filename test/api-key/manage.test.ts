import t from 'tap'
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { randomBytes } from 'node:crypto'
import type { InvalidationChannel, KeyChange } from '../../lib/api-key/invalidation.js'
import { apiKeyDigest, createApiKey, digestText, parseApiKey } from '../../lib/api-key/key.js'
import { createApiKeys, type IssuedApiKey } from '../../lib/api-key/manage.js'
import { MemoryApiKeyStore } from '../../lib/api-key/memory-store.js'
import type { ApiKeySettings } from '../../lib/api-key/settings.js'
import type { ApiKeyStore } from '../../lib/api-key/store.js'
import { createKeyVerifier } from '../../lib/api-key/verify.js'
import type { ApiKeyPrincipal } from '../../lib/principal.js'
import { fakeTime, settle, type FakeTime } from './fake-time.js'
import { newRecord } from './record-fixture.js'
import { scriptedStore, settingsFor } from './scripted-store.js'

function house (store: ApiKeyStore = new MemoryApiKeyStore(), changes: Partial<ApiKeySettings> = {}, time: FakeTime = fakeTime()) {
  const settings = settingsFor(store, changes)
  const verifier = createKeyVerifier(settings, time)
  const opens = async (key: string) => {
    try {
      return (await verifier.verify(key)).keyId
    } catch (error) {
      return (error as { reason: string }).reason
    }
  }
  const secretsOf = async (key: string) => verifier.webhookSecrets(await verifier.verify(key) as ApiKeyPrincipal)
  return { store, time, verifier, opens, secretsOf, keys: createApiKeys(settings, time) }
}

t.test('a created key works at once, is shown with its secret, and neither of them is in the store', async (t) => {
  const { store, keys, time, opens, secretsOf } = house()
  const { plaintextKey, webhookSecret, ...shown } = await keys.create({ tenantId: 'ten_A', name: 'CI' })
  const createdAt = new Date(time.now).toISOString()
  t.match(shown.keyId, /^key_[0-9A-HJKMNP-TV-Z]{26}$/)
  t.strictSame(shown, {
    keyId: shown.keyId,
    tenantId: 'ten_A',
    name: 'CI',
    prefix: plaintextKey.slice(0, 19),
    environment: 'live',
    scopes: [],
    status: 'active',
    createdAt,
    createdBy: null,
    expiresAt: null,
    revokedAt: null,
    revokedBy: null,
    rotatedFrom: null,
    replacedBy: null,
    lastUsedAt: null,
    metadata: {}
  })
  t.match(parseApiKey(plaintextKey), { environment: 'live', legacy: false })
  t.match(webhookSecret, /^whsec_[A-Za-z0-9+/]{43}=$/)
  t.equal(await opens(plaintextKey), shown.keyId)
  t.strictSame(await secretsOf(plaintextKey), [webhookSecret])
  const stored = JSON.stringify(await store.findByDigest(apiKeyDigest(plaintextKey).toString('hex')))
  for (const text of [plaintextKey, plaintextKey.slice(19), webhookSecret as string, (webhookSecret as string).slice(6)]) t.notOk(stored.includes(text))
})

t.test('a created key has what was asked for', async (t) => {
  const { keys, time, verifier } = house()
  const expiresAt = new Date(time.now + 1000)
  const made = await keys.create({ tenantId: 'ten_A', name: 'n', scopes: ['a:b', 'c', 'a:b'], environment: 'test', expiresAt, createdBy: 'usr_1', metadata: { since: new Date(0) } })
  t.match(made, { environment: 'test', expiresAt: expiresAt.toISOString(), createdBy: 'usr_1', metadata: { since: '1970-01-01T00:00:00.000Z' } })
  t.ok(made.plaintextKey.startsWith('cflo_test_sk_') && made.plaintextKey.startsWith(made.prefix))
  t.strictSame(verifier.verify(made.plaintextKey), {
    scheme: 'apiKey', tenantId: 'ten_A', roles: [], scopes: ['a:b', 'c'], proofs: ['apiKey'], keyId: made.keyId, name: 'n', environment: 'test', createdBy: 'usr_1'
  })
})

t.test('a key is live where live keys are accepted, and otherwise of the one environment that is', async (t) => {
  for (const [environments, expected] of [[['test', 'live'], 'live'], [['test'], 'test']] as const) {
    t.equal((await house(undefined, { environments }).keys.create({ tenantId: 'ten_A', name: 'n' })).environment, expected)
  }
})

t.test('a store without a channel is managed like any other', async (t) => {
  const { keys, opens } = house(scriptedStore({ channel: false }).store)
  const { keyId, plaintextKey } = await keys.create({ tenantId: 'ten_A', name: 'n' })
  t.equal(await opens(plaintextKey), keyId)
  t.equal(await keys.revoke({ tenantId: 'ten_A', keyId }), 'revoked')
  t.equal(await opens(plaintextKey), 'revoked')
})

t.test('a key that was asked for a moment before it was made works at once, though its channel is silent', async (t) => {
  const time = fakeTime()
  const random = { ...time, randomBytes: (size: number) => new Uint8Array(size).fill(7) }
  const { key } = createApiKey(random)
  const { keys, opens } = house(scriptedStore().store, {}, random)
  t.equal(await opens(key), 'unknown')
  t.equal(await opens(key), 'unknown')
  const { plaintextKey, keyId } = await keys.create({ tenantId: 'ten_A', name: 'n' })
  t.equal(plaintextKey, key)
  t.equal(await opens(key), keyId)
})

t.test('what no caller should send is a TypeError that names the mend, and nothing is stored', async (t) => {
  const { keys, store, time } = house(undefined, { environments: ['live'] })
  const good = { tenantId: 'ten_A', name: 'n' }
  const bad: Array<[object, RegExp]> = [
    [{ name: '' }, /^name/], [{ name: 'x'.repeat(101) }, /^name/], [{ name: 'a\nb' }, /^name/], [{ name: 1 }, /^name/], [{ name: undefined }, /^name/],
    [{ tenantId: '' }, /^tenantId/], [{ tenantId: undefined }, /^tenantId/], [{ tenantId: null }, /^tenantId/],
    [{ scopes: ['a b'] }, /^scopes/], [{ scopes: [''] }, /^scopes/], [{ scopes: ['a"b'] }, /^scopes/], [{ scopes: 'a' }, /^scopes/], [{ scopes: [7] }, /^scopes/],
    [{ environment: 'test' }, /^environment.*live/], [{ environment: 'prod' }, /^environment/],
    [{ expiresAt: 'soon' }, /^expiresAt/], [{ expiresAt: 'Jan 1 2130' }, /^expiresAt/], [{ expiresAt: '2130' }, /^expiresAt/], [{ expiresAt: '2130-01-01T00:00:00' }, /^expiresAt/], [{ expiresAt: '2020-01-01T00:00:00.000Z' }, /^expiresAt/],
    [{ expiresAt: new Date(time.now) }, /^expiresAt/],
    [{ createdBy: 1 }, /^createdBy/], [{ metadata: [] }, /^metadata/], [{ metadata: 'text' }, /^metadata/], [{ metadata: 7 }, /^metadata/], [{ metadata: null }, /^metadata/]
  ]
  for (const [change, message] of bad) await t.rejects(keys.create({ ...good, ...change } as never), { name: 'TypeError', message }, JSON.stringify(change))
  for (const [name, message] of [[{}, /^tenantId/], [{ tenantId: 'ten_A' }, /^keyId/], [{ keyId: 'key_1' }, /^tenantId/], [{ tenantId: '', keyId: 'key_1' }, /^tenantId/], [{ tenantId: 'ten_A', keyId: '' }, /^keyId/]] as Array<[never, RegExp]>) {
    for (const call of [keys.get, keys.revoke, keys.rotate, keys.rotateWebhookSecret]) await t.rejects(call(name) as Promise<unknown>, { name: 'TypeError', message })
  }
  await t.rejects(keys.list({ tenantId: 'ten_A', cursor: 'garbage' }), { name: 'TypeError', message: 'cursor must be one that the page before has answered' })
  await t.rejects(keys.list({ tenantId: '' }), { name: 'TypeError', message: /^tenantId/ })
  t.strictSame(await keys.list({ tenantId: 'ten_A', limit: 100 }), { keys: [], cursor: null })
  t.equal(await keys.rotate({ tenantId: 'ten_A', keyId: 'key_1', overlap: 2592000 }), 'not-found')
  for (const limit of [0, 101, 1.5, NaN]) await t.rejects(keys.list({ tenantId: 'ten_A', limit }), { name: 'TypeError' })
  for (const overlap of [-1, NaN, 2592001]) await t.rejects(keys.rotate({ tenantId: 'ten_A', keyId: 'key_1', overlap }), { name: 'TypeError' })
  await t.rejects(keys.revokeAll({ tenantId: undefined as never }), { name: 'TypeError', message: /^tenantId/ })
  await t.rejects(keys.revokeAll({ tenantId: 'ten_A', createdBefore: 'once' }), { name: 'TypeError', message: /^createdBefore/ })
  t.strictSame(await store.list({ tenantId: 'ten_A', cursor: null, limit: 10 }), { records: [], cursor: null })
  t.match(await keys.create({ ...good, name: '🔑'.repeat(100) }), { name: '🔑'.repeat(100) }, 'a character counts as one, whatever its length')
})

t.test('threat 18: twenty creations at once make the five of the quota, the others are AUTH_QUOTA_EXCEEDED', async (t) => {
  const { keys } = house(scriptedStore().store)
  const answers = await Promise.all(Array.from({ length: 20 }, async () => await keys.create({ tenantId: 'ten_A', name: 'n' }).then(() => 'created', (error: { code: string }) => error.code)))
  t.equal(answers.filter((answer) => answer === 'created').length, 5)
  t.equal(answers.filter((answer) => answer === 'AUTH_QUOTA_EXCEEDED').length, 15)
  t.match(await keys.create({ tenantId: 'ten_B', name: 'n' }), { tenantId: 'ten_B' })
})

t.test('threat 18: a list shows neither digests nor secrets nor keys of another tenant', async (t) => {
  const { keys, time } = house()
  const made: IssuedApiKey[] = []
  for (const tenantId of ['ten_A', 'ten_B', 'ten_A']) {
    made.push(await keys.create({ tenantId, name: 'n' }))
    time.pass(1000)
  }
  await keys.revoke({ tenantId: 'ten_A', keyId: made[0]?.keyId as string, revokedBy: 'usr_9' })
  const { keys: listed, cursor } = await keys.list({ tenantId: 'ten_A' })
  const shown = ({ plaintextKey, webhookSecret, ...record }: IssuedApiKey) => record
  t.strictSame(listed, [shown(made[2] as IssuedApiKey), { ...shown(made[0] as IssuedApiKey), status: 'revoked', revokedAt: new Date(time.now).toISOString(), revokedBy: 'usr_9' }])
  t.equal(cursor, null)
  const text = JSON.stringify(listed)
  for (const { plaintextKey, webhookSecret } of made) {
    for (const secret of [plaintextKey, digestText(plaintextKey), webhookSecret as string, 'v1.']) t.notOk(text.includes(secret))
  }
  const page = await keys.list({ tenantId: 'ten_A', limit: 1 })
  t.equal(page.keys[0]?.keyId, made[2]?.keyId)
  t.equal((await keys.list({ tenantId: 'ten_A', limit: 1, cursor: page.cursor })).keys[0]?.keyId, made[0]?.keyId)
  t.strictSame(await keys.get({ tenantId: 'ten_A', keyId: made[2]?.keyId as string }), shown(made[2] as IssuedApiKey))
  t.equal(await keys.get({ tenantId: 'ten_A', keyId: made[1]?.keyId as string }), null)
})

t.test('threat 15: this process refuses a revoked key before the revocation is acknowledged, though its channel is silent', async (t) => {
  const { keys, opens } = house(scriptedStore().store)
  const { keyId, plaintextKey } = await keys.create({ tenantId: 'ten_A', name: 'n' })
  t.equal(await opens(plaintextKey), keyId)
  t.equal(await opens(plaintextKey), keyId)
  t.equal(await keys.revoke({ tenantId: 'ten_B', keyId }), 'not-found')
  t.equal(await opens(plaintextKey), keyId)
  t.equal(await keys.revoke({ tenantId: 'ten_A', keyId }), 'revoked')
  t.equal(await opens(plaintextKey), 'revoked')
  t.equal(await keys.revoke({ tenantId: 'ten_A', keyId }), 'already-revoked')
  t.equal(await keys.revoke({ tenantId: 'ten_A', keyId: 'key_0' }), 'not-found')
})

t.test('threat 15: every verifier of this process on that store refuses, whoever revoked', async (t) => {
  const { store } = scriptedStore()
  const [one, two] = [house(store), house(store)]
  const { keyId, plaintextKey } = await one.keys.create({ tenantId: 'ten_A', name: 'n' })
  t.strictSame([await one.opens(plaintextKey), await two.opens(plaintextKey)], [keyId, keyId])
  await one.keys.revoke({ tenantId: 'ten_A', keyId })
  t.strictSame([await one.opens(plaintextKey), await two.opens(plaintextKey)], ['revoked', 'revoked'])
})

t.test('a revocation that the store was too slow to confirm is not acknowledged, and what was held is forgotten', async (t) => {
  const time = fakeTime()
  const { store, memory } = scriptedStore()
  const { keys, opens, verifier } = house({ ...store, revoke: async (...args) => { memory.revoke(...args); return await new Promise(() => {}) } }, {}, time)
  const { keyId, plaintextKey } = await keys.create({ tenantId: 'ten_A', name: 'n' })
  t.equal(await opens(plaintextKey), keyId)
  const revoking = t.rejects(keys.revoke({ tenantId: 'ten_A', keyId }), { code: 'AUTH_STORE_UNAVAILABLE', reason: 'time-limit' })
  time.pass(2000)
  await revoking
  t.equal(verifier.size().proved, 0)
  t.equal(await opens(plaintextKey), 'revoked')
})

t.test('where changes must be published, each one is, before it is acknowledged; to revoke again publishes again', async (t) => {
  const { store, channel } = scriptedStore({ publishes: true })
  const { keys } = house(store, { sealingKeys: [randomBytes(32)] })
  const published = () => channel.published.splice(0).map((change: KeyChange) => 'keyId' in change ? change.keyId : change)
  const { keyId } = await keys.create({ tenantId: 'ten_A', name: 'n' })
  t.strictSame(published(), [keyId], 'somebody may have been refused it before it was made')
  await keys.rotateWebhookSecret({ tenantId: 'ten_A', keyId })
  t.strictSame(published(), [keyId, keyId], 'ahead and afterwards')
  const replacement = await keys.rotate({ tenantId: 'ten_A', keyId }) as IssuedApiKey
  t.strictSame(published(), [keyId, keyId, replacement.keyId])
  await keys.revoke({ tenantId: 'ten_A', keyId: replacement.keyId })
  t.strictSame(published(), [replacement.keyId])
  await keys.revoke({ tenantId: 'ten_A', keyId: replacement.keyId })
  t.strictSame(published(), [replacement.keyId])
  await keys.revoke({ tenantId: 'ten_B', keyId })
  t.strictSame([await keys.rotate({ tenantId: 'ten_B', keyId }), await keys.rotateWebhookSecret({ tenantId: 'ten_B', keyId })], ['not-found', 'not-found'])
  t.strictSame(published(), [], 'of another tenant\'s key nothing is told')
  await keys.revokeAll({ tenantId: 'ten_A' })
  t.strictSame(published(), [{ tenantId: 'ten_A' }])

  channel.tell({ keyId })
  Object.assign(channel, { async publish () { throw new Error('down') } })
  await t.rejects(keys.revoke({ tenantId: 'ten_A', keyId }), { code: 'AUTH_STORE_UNAVAILABLE' })
  t.type((await keys.create({ tenantId: 'ten_A', name: 'n' })).plaintextKey, 'string', 'a new key that nobody was told of is a key all the same')
})

t.test('where changes cannot be published, a rotation fails before it has changed anything: nothing is lost that only its answer shows', async (t) => {
  const { store, channel } = scriptedStore({ publishes: true })
  const { keys, opens, secretsOf } = house(store, { sealingKeys: [randomBytes(32)] })
  const old = await keys.create({ tenantId: 'ten_A', name: 'n' })
  const before = await keys.get(old)
  const { publish } = store.invalidation as InvalidationChannel
  Object.assign(channel, { async publish () { throw new Error('down') } })
  await t.rejects(keys.rotate(old), { code: 'AUTH_STORE_UNAVAILABLE' })
  await t.rejects(keys.rotateWebhookSecret(old), { code: 'AUTH_STORE_UNAVAILABLE' })
  t.strictSame([(await keys.list(old)).keys.length, await keys.get(old)], [1, before])
  Object.assign(channel, { publish })
  t.strictSame([await opens(old.plaintextKey), await secretsOf(old.plaintextKey)], [old.keyId, [old.webhookSecret]])
  t.type(await keys.rotateWebhookSecret(old), 'object')
  const replacement = await keys.rotate(old) as IssuedApiKey
  t.strictSame([await opens(old.plaintextKey), await opens(replacement.plaintextKey)], ['revoked', replacement.keyId])
})

t.test('a rotated key works beside its replacement for the overlap and not a millisecond longer, held or not', async (t) => {
  const { keys, time, opens, secretsOf } = house()
  const old = await keys.create({ tenantId: 'ten_A', name: 'n', scopes: ['a'], createdBy: 'usr_1', metadata: { m: 1 } })
  t.equal(await opens(old.plaintextKey), old.keyId)
  time.pass(1000)
  const replacement = await keys.rotate({ tenantId: 'ten_A', keyId: old.keyId, overlap: 10, rotatedBy: 'usr_2' }) as IssuedApiKey
  t.match(replacement, { name: 'n', scopes: ['a'], environment: 'live', createdBy: 'usr_2', rotatedFrom: old.keyId, expiresAt: null, metadata: { m: 1 } })
  t.not(replacement.webhookSecret, old.webhookSecret)
  t.strictSame([await secretsOf(old.plaintextKey), await secretsOf(replacement.plaintextKey)], [[old.webhookSecret], [replacement.webhookSecret]])
  time.pass(9999)
  t.strictSame([await opens(old.plaintextKey), await opens(replacement.plaintextKey)], [old.keyId, replacement.keyId])
  time.pass(1)
  t.strictSame([await opens(old.plaintextKey), await opens(replacement.plaintextKey)], ['expired', replacement.keyId])
})

t.test('a key rotated without an overlap stops before the rotation is acknowledged', async (t) => {
  const { keys, opens } = house(scriptedStore().store)
  const old = await keys.create({ tenantId: 'ten_A', name: 'n' })
  await opens(old.plaintextKey)
  const replacement = await keys.rotate({ tenantId: 'ten_A', keyId: old.keyId }) as IssuedApiKey
  t.strictSame([await opens(old.plaintextKey), await opens(replacement.plaintextKey)], ['revoked', replacement.keyId])
  t.equal(await keys.rotate({ tenantId: 'ten_A', keyId: old.keyId }), 'conflict')
  t.equal(await keys.rotate({ tenantId: 'ten_B', keyId: replacement.keyId }), 'not-found')
})

t.test('a tenant at its quota may rotate, yet never has more than twice its quota of working keys by rotating', async (t) => {
  const { keys, opens } = house(undefined, { quota: 1 })
  const first = await keys.create({ tenantId: 'ten_A', name: 'n' })
  const second = await keys.rotate({ tenantId: 'ten_A', keyId: first.keyId, overlap: 3600 }) as IssuedApiKey
  t.equal(await keys.rotate({ tenantId: 'ten_A', keyId: first.keyId, overlap: 3600 }), 'conflict')
  t.equal(await keys.rotate({ tenantId: 'ten_A', keyId: second.keyId, overlap: 3600 }), 'conflict')
  await t.rejects(keys.create({ tenantId: 'ten_A', name: 'n' }), { code: 'AUTH_QUOTA_EXCEEDED', statusCode: 429, reason: 'quota' })
  await keys.revoke({ tenantId: 'ten_A', keyId: first.keyId })
  const third = await keys.rotate({ tenantId: 'ten_A', keyId: second.keyId, overlap: 3600 }) as IssuedApiKey
  t.strictSame([await opens(first.plaintextKey), await opens(second.plaintextKey), await opens(third.plaintextKey)], ['revoked', second.keyId, third.keyId])
})

t.test('a replacement lives as long as the key that it replaces was made to', async (t) => {
  const { keys, time } = house()
  const old = await keys.create({ tenantId: 'ten_A', name: 'n', expiresAt: new Date(time.now + 90_000) })
  time.pass(60_000)
  t.match(await keys.rotate({ tenantId: 'ten_A', keyId: old.keyId }), { expiresAt: new Date(time.now + 90_000).toISOString() })
})

t.test('a new webhook secret verifies at once, the one before it for the overlap', async (t) => {
  const { keys, time, secretsOf } = house(scriptedStore().store, { sealingKeys: [randomBytes(32)] })
  const { keyId, plaintextKey, webhookSecret: first } = await keys.create({ tenantId: 'ten_A', name: 'n' })
  t.strictSame(await secretsOf(plaintextKey), [first])
  const answer = await keys.rotateWebhookSecret({ tenantId: 'ten_A', keyId, overlap: 10 })
  if (typeof answer === 'string') return t.fail(answer)
  t.strictSame(answer, { keyId, webhookSecret: answer.webhookSecret, previousUntil: new Date(time.now + 10_000).toISOString() })
  t.strictSame(await secretsOf(plaintextKey), [answer.webhookSecret, first])
  time.pass(10_000)
  t.strictSame(await secretsOf(plaintextKey), [answer.webhookSecret])
  t.equal(await keys.rotateWebhookSecret({ tenantId: 'ten_B', keyId }), 'not-found')
  await keys.revoke({ tenantId: 'ten_A', keyId })
  t.equal(await keys.rotateWebhookSecret({ tenantId: 'ten_A', keyId }), 'conflict')
})

t.test('a store that lasts, without a sealing key, holds no webhook secrets: none is shown and none can be made', async (t) => {
  const { store, memory } = scriptedStore()
  const { keys, secretsOf, verifier } = house(store)
  const { keyId, plaintextKey, webhookSecret } = await keys.create({ tenantId: 'ten_A', name: 'n' })
  t.equal(verifier.opensSecrets, false)
  t.equal(webhookSecret, null)
  t.strictSame(memory.get({ tenantId: 'ten_A', keyId })?.sealedSecrets, [])
  t.strictSame(await secretsOf(plaintextKey), [])
  await t.rejects(keys.rotateWebhookSecret({ tenantId: 'ten_A', keyId }), { code: 'AUTH_CONFIG_OPTION' })
})

t.test('revoking all of a tenant stops every key that was made before the time', async (t) => {
  const { keys, time, opens } = house(scriptedStore().store)
  const old = await keys.create({ tenantId: 'ten_A', name: 'n' })
  const foreign = await keys.create({ tenantId: 'ten_B', name: 'n' })
  time.pass(1000)
  const young = await keys.create({ tenantId: 'ten_A', name: 'n' })
  const working = async () => [await opens(old.plaintextKey), await opens(young.plaintextKey), await opens(foreign.plaintextKey)]
  t.strictSame(await working(), [old.keyId, young.keyId, foreign.keyId])
  t.strictSame(await keys.revokeAll({ tenantId: 'ten_A', createdBefore: new Date(time.now) }), [old.keyId])
  t.strictSame(await working(), ['revoked', young.keyId, foreign.keyId])
  t.strictSame(await keys.revokeAll({ tenantId: 'ten_A' }), [young.keyId])
  t.strictSame(await working(), ['revoked', 'revoked', foreign.keyId])
})

t.test('threat 16: every call to a store that fails or hangs is a 503', async (t) => {
  const nothing: unknown = undefined
  const name = { tenantId: 'ten_A', keyId: 'key_1' }
  for (const [way, reason] of [[() => { throw nothing }, 'unreachable'], [async () => { throw new Error('down') }, 'unreachable'], [async () => await new Promise(() => {}), 'time-limit']] as const) {
    const { store } = scriptedStore()
    const broken = { ...store, create: way, get: way, list: way, revoke: way, rotate: way, replaceSecrets: way, revokeAll: way } as never as ApiKeyStore
    const { keys, time } = house(broken, { sealingKeys: [randomBytes(32)] })
    const calls: Array<Promise<unknown>> = [keys.create({ tenantId: 'ten_A', name: 'n' }), keys.get(name), keys.list(name), keys.revoke(name), keys.rotate(name), keys.rotateWebhookSecret(name), keys.revokeAll(name)]
    const refused = calls.map(async (call) => { await t.rejects(call, { code: 'AUTH_STORE_UNAVAILABLE', reason }) })
    await settle()
    time.pass(2000)
    await Promise.all(refused)
    t.equal(time.waiting(), 0)
  }
})

t.test('what happens to keys is told on the diagnostics channel, without a key, a digest or a secret', async (t) => {
  const events: Array<Record<string, unknown>> = []
  const listener = (event: unknown) => { events.push(event as Record<string, unknown>) }
  subscribe('causeflow-auth:api-key', listener)
  t.teardown(() => unsubscribe('causeflow-auth:api-key', listener))
  const { keys, time } = house()
  const at = new Date(time.now).toISOString()
  const one = await keys.create({ tenantId: 'ten_A', name: 'n', createdBy: 'usr_1' })
  const secret = await keys.rotateWebhookSecret({ tenantId: 'ten_A', keyId: one.keyId })
  const two = await keys.rotate({ tenantId: 'ten_A', keyId: one.keyId, rotatedBy: 'usr_2' }) as IssuedApiKey
  await keys.revoke({ tenantId: 'ten_A', keyId: two.keyId, revokedBy: 'usr_3' })
  await keys.revoke({ tenantId: 'ten_A', keyId: two.keyId })
  await keys.revokeAll({ tenantId: 'ten_A', revokedBy: 'usr_4' })
  const name = { tenantId: 'ten_A', keyId: one.keyId, at }
  t.strictSame(events, [
    { event: 'created', ...name, name: 'n', scopes: [], by: 'usr_1' },
    { event: 'webhook-secret-rotated', ...name, until: at },
    { event: 'rotated', ...name, replacedBy: two.keyId, until: at, by: 'usr_2' },
    { event: 'revoked', ...name, keyId: two.keyId, by: 'usr_3' },
    { event: 'all-revoked', tenantId: 'ten_A', keyIds: [], at, by: 'usr_4' }
  ])
  const text = JSON.stringify(events)
  for (const made of [one, two]) for (const hidden of [made.plaintextKey, digestText(made.plaintextKey), made.webhookSecret as string]) t.notOk(text.includes(hidden))
  t.notOk(text.includes((secret as { webhookSecret: string }).webhookSecret))
})

t.test('a store whose promise is no real one fails like any other: its then throws, cannot be read, or rejects', async (t) => {
  const broken: Array<[words: string, answer: () => unknown]> = [
    ['then throws', () => ({ then () { throw new Error('down') } })],
    ['then cannot be read', () => ({ get then () { throw new Error('down') } })],
    ['then rejects', () => ({ then (_resolve: unknown, reject: (cause: unknown) => void) { reject(new Error('down')) } })],
    ['it rejects with nothing', () => ({ then (_resolve: unknown, reject: () => void) { reject() } })]
  ]
  for (const [words, answer] of broken) {
    const { store, memory } = scriptedStore()
    const { record, key } = newRecord()
    memory.create(record, Infinity)
    const say = answer as () => never
    const { keys, verifier } = house({ ...store, findByDigest: say, get: say, list: say, create: say, revoke: say, revokeAll: say })
    const down = { code: 'AUTH_STORE_UNAVAILABLE', statusCode: 503 }
    for (const call of [() => keys.get(record), () => keys.list(record), () => keys.create(record), () => keys.revoke(record), () => keys.revokeAll(record), () => keys.rotate(record), async () => await verifier.verify(key)]) {
      await t.rejects(call() as Promise<unknown>, down, words)
    }
  }
})

t.test('a page ends before it exceeds 256 kB, by a cursor of the store, and with one record at least', async (t) => {
  const { store, memory } = scriptedStore()
  const asked: number[] = []
  const { keys } = house({ ...store, list: async (query) => { asked.push(query.limit); return memory.list(query) } })
  for (let index = 0; index < 12; index++) {
    memory.create(newRecord({ createdAt: new Date(index).toISOString(), metadata: { text: 'x'.repeat(60_000) } }).record, Infinity)
  }
  const first = await keys.list({ tenantId: 'ten_A' })
  t.strictSame([first.keys.length, asked.splice(0)], [4, [50, 4]])
  t.equal(first.keys[3]?.keyId, first.cursor)
  const second = await keys.list({ tenantId: 'ten_A', cursor: first.cursor })
  const third = await keys.list({ tenantId: 'ten_A', cursor: second.cursor })
  t.strictSame([second.keys.length, third.keys.length, third.cursor], [4, 4, null])
  t.equal(new Set([first, second, third].flatMap(({ keys }) => keys.map(({ keyId }) => keyId))).size, 12)
  asked.splice(0)
  t.equal((await keys.list({ tenantId: 'ten_A', limit: 1 })).keys.length, 1)
  t.strictSame(asked, [1])
})

t.test('a clock that returns no number makes, rotates and revokes nothing', async (t) => {
  for (const now of [NaN, Infinity, undefined, Promise.resolve(0), 'now', {}]) {
    const time = fakeTime()
    const { store, memory } = scriptedStore()
    const { record } = newRecord()
    memory.create(record, Infinity)
    const keys = createApiKeys(settingsFor(store), { ...time, clock: () => now as number })
    for (const call of [() => keys.create({ tenantId: 'ten_A', name: 'n' }), () => keys.rotate(record), () => keys.revoke(record), () => keys.revokeAll(record)]) await t.rejects(call() as Promise<unknown>, RangeError)
    t.strictSame([memory.list({ tenantId: 'ten_A', cursor: null, limit: 10 }), memory.get(record)], [{ records: [record], cursor: null }, record])
  }
})
