// Stores that answer nonsense. Nothing that is no key record lets anyone in, is shown or is rotated.
import t, { type Test } from 'tap'
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { createApiKeys } from '../../lib/api-key/manage.js'
import { maxRecordBytes } from '../../lib/api-key/limits.js'
import type { StoredApiKey } from '../../lib/api-key/record.js'
import type { ApiKeyStore, ListPage } from '../../lib/api-key/store.js'
import { checkStoredKey } from '../../lib/api-key/stored-record.js'
import { createKeyVerifier } from '../../lib/api-key/verify.js'
import { fakeTime } from './fake-time.js'
import { newRecord } from './record-fixture.js'
import { scriptedStore, settingsFor } from './scripted-store.js'

const ring: Record<string, unknown> = {}
ring['ring'] = ring
const sealed = { sealed: 'v1.00000000.AAAA', until: null }

/** What is wrong, and the field that the error and the event name. */
const wrong: Array<[change: Record<string, unknown>, field: string]> = [
  [{ tenantId: undefined }, '/tenantId'], [{ tenantId: '' }, '/tenantId'], [{ tenantId: 5 }, '/tenantId'], [{ tenantId: null }, '/tenantId'], [{ tenantId: ['ten_A'] }, '/tenantId'],
  [{ keyId: undefined }, '/keyId'], [{ keyId: '' }, '/keyId'], [{ keyId: 7 }, '/keyId'],
  [{ name: null }, '/name'], [{ prefix: undefined }, '/prefix'],
  [{ environment: 'prod' }, '/environment'], [{ environment: undefined }, '/environment'],
  [{ scopes: 'admin' }, '/scopes'], [{ scopes: null }, '/scopes'], [{ scopes: [['admin']] }, '/scopes/0'], [{ scopes: new Set(['admin']) }, '/scopes'], [{ scopes: { length: 0 } }, '/scopes'],
  [{ revokedAt: undefined }, '/revokedAt'], [{ revokedAt: false }, '/revokedAt'], [{ revokedAt: 'never' }, '/revokedAt'], [{ revokedAt: '' }, '/revokedAt'], [{ revokedAt: Promise.resolve(null) }, '/revokedAt'],
  [{ expiresAt: undefined }, '/expiresAt'], [{ expiresAt: 4e12 }, '/expiresAt'], [{ expiresAt: new Date(4e12) }, '/expiresAt'], [{ expiresAt: 'soon' }, '/expiresAt'],
  [{ createdAt: null }, '/createdAt'], [{ createdAt: 'once' }, '/createdAt'], [{ lastUsedAt: 'today' }, '/lastUsedAt'], [{ lastUsedAt: 0 }, '/lastUsedAt'],
  [{ createdBy: undefined }, '/createdBy'], [{ revokedBy: 1 }, '/revokedBy'], [{ rotatedFrom: undefined }, '/rotatedFrom'], [{ replacedBy: {} }, '/replacedBy'],
  [{ sealedSecrets: null }, '/sealedSecrets'], [{ sealedSecrets: [sealed, sealed, sealed, sealed] }, '/sealedSecrets'], [{ sealedSecrets: [{ sealed: 's' }] }, '/sealedSecrets/0/until'],
  [{ sealedSecrets: [{ sealed: 's', until: 'soon' }] }, '/sealedSecrets'],
  [{ metadata: null }, '/metadata'], [{ metadata: [] }, '/metadata'], [{ metadata: 'text' }, '/metadata'],
  [{ metadata: ring }, ''], [{ metadata: { big: 1n } }, ''], [{ metadata: { text: 'x'.repeat(maxRecordBytes) } }, ''], [{ scopes: Array.from({ length: 100 }, () => 'x'.repeat(10_000)) }, ''],
  [{ ofItsOwn: 'x'.repeat(maxRecordBytes) }, '']
]

function heard (t: Test): unknown[] {
  const events: unknown[] = []
  const listener = (event: unknown): void => { events.push(event) }
  subscribe('causeflow-auth:api-key', listener)
  t.teardown(() => unsubscribe('causeflow-auth:api-key', listener))
  return events
}

const unavailable = { code: 'AUTH_STORE_UNAVAILABLE', statusCode: 503, reason: 'record', message: 'The credential cannot be looked up at the moment' }

for (const [words, answered] of [['at once', (value: unknown) => value], ['later', async (value: unknown) => value]] as const) {
  t.test(`a record that is no key record is 503 and an event, and lets nobody in: a store that answers ${words}`, async (t) => {
    const events = heard(t)
    for (const [change, field] of wrong) {
      const { key, record } = newRecord()
      const time = fakeTime()
      const store = { ...scriptedStore().store, findByDigest: () => answered({ ...record, ...change }) } as unknown as ApiKeyStore
      const verifier = createKeyVerifier(settingsFor(store), time)
      const place = `${field} ${Object.keys(change)[0]}`
      for (let attempt = 0; attempt < 2; attempt++) {
        await t.rejects(async () => await verifier.verify(key), { ...unavailable, cause: new TypeError(`The store returned something else than a key record: see ${field === '' ? 'its form and size' : field}`) }, place)
      }
      t.equal(verifier.size().proved, 0, place)
      const known = 'keyId' in change ? null : record.keyId
      t.strictSame(events.splice(0), Array.from({ length: 2 }, () => ({ event: 'record-invalid', keyId: known, tenantId: 'tenantId' in change ? null : 'ten_A', field, at: new Date(time.now).toISOString() }))
        .map((event) => 'tenantId' in change && change['tenantId'] === '' ? { ...event, tenantId: '' } : event).map((event) => 'keyId' in change && change['keyId'] === '' ? { ...event, keyId: '' } : event), place)
      await verifier.close()
    }
  })
}

t.test('a record as stores keep it is one, whatever a store adds of its own', async (t) => {
  const { key, record } = newRecord({ expiresAt: '2027-01-01T00:00:00.001Z', lastUsedAt: '2026-01-02T03:04:05.678Z' })
  const store = { ...scriptedStore().store, findByDigest: async () => ({ ...record, row_version: 3 }) } as unknown as ApiKeyStore
  const verifier = createKeyVerifier(settingsFor(store), fakeTime())
  t.match(await verifier.verify(key), { keyId: record.keyId, tenantId: 'ten_A', scopes: ['report:read', 'report:write'] })
  t.equal(checkStoredKey(record, 0), Buffer.byteLength(JSON.stringify(record)))
})

t.test('neither the error nor the event holds a digest, a key or a secret, whichever field it stands in', async (t) => {
  const events = heard(t)
  const { key, record } = newRecord()
  for (const secret of [record.digest, key, 'whsec_c2VjcmV0', `x ${record.digest}`]) {
    try {
      checkStoredKey({ ...record, keyId: secret, tenantId: secret, name: 7 }, 0)
      t.fail('It is no record')
    } catch (error) {
      const { cause, ...shown } = error as Error
      t.notOk(JSON.stringify([shown, (error as Error).message, String(cause), events.splice(0)]).includes(secret), secret)
    }
  }
})

t.test('a clock that returns no number does not keep a wrong record from being rejected', async (t) => {
  for (const now of [NaN, Infinity, undefined as never, Promise.resolve(0) as never]) t.throws(() => checkStoredKey({}, now), unavailable)
})

t.test('get, list, rotate and rotateWebhookSecret show and change nothing of a wrong record, or of one that was not asked for', async (t) => {
  const events = heard(t)
  const { record } = newRecord()
  const name = { tenantId: 'ten_A', keyId: record.keyId }
  const answers: Array<[words: string, answer: unknown]> = [
    ...wrong.map(([change, field]): [string, unknown] => [field, { ...record, ...change }]),
    ['another tenant\'s key', { ...record, tenantId: 'ten_B' }], ['nothing at all', undefined], ['a text', 'record'], ['a list', [record]]
  ]
  for (const [words, answer] of [...answers, ['another key', newRecord().record] as [string, unknown]]) {
    const called: string[] = []
    const { store } = scriptedStore()
    const changing = (method: string) => async () => { called.push(method) }
    const keys = createApiKeys(settingsFor({
      ...store,
      get: async () => answer as StoredApiKey,
      list: async () => ({ records: [answer as StoredApiKey], cursor: null }),
      rotate: changing('rotate') as never,
      replaceSecrets: changing('replaceSecrets') as never
    }, { sealingKeys: ['a'.repeat(64)] }), fakeTime())
    await t.rejects(keys.get(name), unavailable, words)
    if (words !== 'another key') await t.rejects(keys.list({ tenantId: 'ten_A' }), unavailable, words)
    await t.rejects(keys.rotate(name), unavailable, words)
    await t.rejects(keys.rotateWebhookSecret(name), unavailable, words)
    t.strictSame(called, [], words)
    t.ok(events.length > 0 && events.splice(0).every((event) => (event as { event: string }).event === 'record-invalid'), words)
  }
})

t.test('a page that is no page is 503', async (t) => {
  const { record } = newRecord()
  for (const page of [undefined, null, [], {}, { records: null, cursor: null }, { records: [record] }, { records: [], cursor: 5 }, { records: [], cursor: '' }, { records: [], cursor: 'x'.repeat(257) }, { records: [record, newRecord().record], cursor: null }, { records: { length: 0 }, cursor: null }]) {
    const keys = createApiKeys(settingsFor({ ...scriptedStore().store, list: async () => page as ListPage }), fakeTime())
    await t.rejects(keys.list({ tenantId: 'ten_A', limit: 1 }), unavailable, JSON.stringify(page)?.slice(0, 60))
  }
})

t.test('a change to which the store answers nothing, or another word, is not taken for done', async (t) => {
  const { record } = newRecord()
  for (const answer of [undefined, null, true, 'ok', 'done', ['revoked'], { revoked: true }]) {
    const { store, memory } = scriptedStore()
    memory.create(record, Infinity)
    const say = async (): Promise<never> => answer as never
    const keys = createApiKeys(settingsFor({ ...store, create: say, revoke: say, rotate: say, replaceSecrets: say, revokeAll: say }, { sealingKeys: ['a'.repeat(64)] }), fakeTime())
    const doubtful = { code: 'AUTH_STORE_UNAVAILABLE', statusCode: 503, reason: 'unreachable' }
    const words = JSON.stringify(answer)
    await t.rejects(keys.create({ tenantId: 'ten_A', name: 'n' }), doubtful, words)
    await t.rejects(keys.revoke(record), doubtful, words)
    await t.rejects(keys.rotate(record), doubtful, words)
    await t.rejects(keys.rotateWebhookSecret(record), doubtful, words)
    if (!Array.isArray(answer)) await t.rejects(keys.revokeAll({ tenantId: 'ten_A' }), doubtful, words)
  }
  const keys = createApiKeys(settingsFor({ ...scriptedStore().store, revokeAll: async () => [7] as never }), fakeTime())
  await t.rejects(keys.revokeAll({ tenantId: 'ten_A' }), { code: 'AUTH_STORE_UNAVAILABLE' })
})
