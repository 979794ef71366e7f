import t from 'tap'
import { countsTowardQuota, keysToPurge, replaceSecrets, revokeRecord, rotateRecord } from '../../lib/api-key/lifecycle.js'
import type { StoredApiKey } from '../../lib/api-key/record.js'
import { newRecord } from './record-fixture.js'

const at = '2026-02-01T00:00:00.000Z'
const later = '2026-02-01T01:00:00.000Z'
const record = (fields: Partial<StoredApiKey> = {}): StoredApiKey => newRecord(fields).record
// A store that is not written in TypeScript may hold anything.
const nothing = undefined as never

t.test('a record that is revoked stays revoked when and by whom it was', async (t) => {
  const once = revokeRecord(record(), { at, by: 'usr_2' })
  t.match(once, { revokedAt: at, revokedBy: 'usr_2' })
  t.equal(revokeRecord(once, { at: later, by: 'usr_3' }), once)
})

t.test('a record without a time of revocation is revoked', async (t) => {
  t.match(revokeRecord(record({ revokedAt: nothing }), { at, by: 'usr_2' }), { revokedAt: at, revokedBy: 'usr_2' })
})

t.test('a key counts towards the quota unless it has certainly ended or its replacement has its place', async (t) => {
  const replacement = record()
  const replaced = { replacedBy: replacement.keyId, expiresAt: later }
  const cases: Array<[words: string, counts: boolean, key: StoredApiKey, by: StoredApiKey | null, at?: string]> = [
    ['a key', true, record(), null],
    ['a key that expires later', true, record({ expiresAt: later }), null],
    ['a revoked key', false, record({ revokedAt: at }), null],
    ['an expired key', false, record({ expiresAt: at }), null],
    ['in its overlap', false, record(replaced), replacement],
    ['in its overlap, by a store that looks up no replacement', true, record(replaced), nothing],
    ['its replacement is not there', true, record(replaced), null],
    ['its replacement is revoked', true, record(replaced), { ...replacement, revokedAt: at }],
    ['its replacement is revoked at no time that is known', true, record(replaced), { ...replacement, revokedAt: nothing }],
    ['its replacement has expired', true, record(replaced), { ...replacement, expiresAt: at }],
    ['its replacement is replaced', true, record(replaced), { ...replacement, replacedBy: 'key_2' }],
    ['another key is given as its replacement', true, record(replaced), record()],
    ['another tenant\'s key is given as its replacement', true, record(replaced), { ...replacement, tenantId: 'ten_B' }],
    ['its expiry cannot be read', true, record({ expiresAt: 'soon' }), null],
    ['its expiry is absent', true, record({ expiresAt: nothing }), null],
    ['its revocation is absent', true, record({ revokedAt: nothing }), null],
    ['the time cannot be read', true, record({ expiresAt: at }), null, 'now'],
    ['the time is absent', true, record({ expiresAt: at }), null, nothing]
  ]
  for (const [words, counts, key, by, time = words === 'the time is absent' ? nothing : at] of cases) t.equal(countsTowardQuota(key, time, by), counts, words)
})

t.test('ended keys beyond the newest thousand are to be deleted, the oldest first; a key that may still work never is', async (t) => {
  const ended = Array.from({ length: 1002 }, (_, index) => record({ createdAt: new Date(index).toISOString(), ...(index % 2 === 0 ? { revokedAt: at } : { expiresAt: at }) }))
  const others = [record({ createdAt: new Date(0).toISOString() }), record({ expiresAt: later }), record({ expiresAt: 'soon' }), record({ revokedAt: nothing })]
  t.strictSame(keysToPurge(ended.slice(0, 1000), at), [])
  t.strictSame(keysToPurge([...ended].reverse().concat(others), at), [ended[0]?.keyId, ended[1]?.keyId])
  t.strictSame(keysToPurge(ended, 'now'), [], 'without a time nothing has expired')
})

t.test('a time that cannot be read changes nothing: it would compare as neither before nor after', async (t) => {
  const key = record()
  const replacement = record({ rotatedFrom: key.keyId })
  const name = { tenantId: key.tenantId, keyId: key.keyId }
  for (const bad of ['soon', '', nothing, NaN as never, Promise.resolve(at) as never]) {
    t.throws(() => rotateRecord(key, null, { ...name, replacement, at: bad, until: later, by: null }), TypeError)
    t.throws(() => rotateRecord(key, null, { ...name, replacement, at, until: bad, by: null }), TypeError)
    t.throws(() => replaceSecrets(key, { ...name, secret: { sealed: 's', until: null }, at: bad, until: later }), TypeError)
    t.throws(() => replaceSecrets(key, { ...name, secret: { sealed: 's', until: null }, at, until: bad }), TypeError)
  }
})
