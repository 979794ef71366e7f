/**
 * What every ApiKeyStore must do. A store's own test file calls this with a way to make one. Copied into another project
 * (with record-fixture.ts) it imports the package instead of lib/index.js, and nothing else changes.
 */
import type { Test } from 'tap'
import type { ApiKeyStore, KeyChange, ListPage, ListQuery, StoredApiKey } from '../../lib/index.js'
import { newRecord } from './record-fixture.js'

export interface StoreUnderTest {
  /** An empty store. */
  store: ApiKeyStore
  /** A second store on the same data, as another process has it. */
  other?: ApiKeyStore
  close? (): Promise<void> | void
}

const at = '2026-02-01T00:00:00.000Z'
const later = '2026-02-01T01:00:00.000Z'
const absent = { tenantId: 'ten_A', keyId: 'key_00000000000000000000000000' }
const nameOf = ({ tenantId, keyId }: StoredApiKey) => ({ tenantId, keyId })

export function storeContract (t: Test, open: () => Promise<StoreUnderTest> | StoreUnderTest): void {
  function check (name: string, body: (t: Test, store: ApiKeyStore, other: ApiKeyStore) => Promise<unknown>): void {
    t.test(name, async (t) => {
      const { store, other = store, close } = await open()
      t.teardown(() => close?.())
      await body(t, store, other)
    })
  }

  async function listed (store: ApiKeyStore, query: ListQuery): Promise<ListPage> {
    const page = await store.list(query)
    if (page === 'invalid-cursor') throw new Error('The cursor was answered by this store')
    return page
  }

  async function created (store: ApiKeyStore, fields: Partial<StoredApiKey> = {}): Promise<StoredApiKey> {
    const { record } = newRecord(fields)
    await store.create(record, Infinity)
    return record
  }

  check('a key comes back with every field as it was given, by its digest and by its name', async (t, store, other) => {
    const record = await created(store, { expiresAt: '2027-01-01T00:00:00.001Z', rotatedFrom: 'key_OLD' })
    t.strictSame(await other.findByDigest(record.digest), record)
    t.strictSame(await other.get(nameOf(record)), record)
    const bare = await created(store, { scopes: [], sealedSecrets: [], metadata: {}, createdBy: null, environment: 'test' })
    t.strictSame(await other.findByDigest(bare.digest), bare)
  })

  check('a digest is found as a whole: neither a part nor another case nor a pattern of it finds a key', async (t, store) => {
    const { digest } = await created(store)
    for (const text of ['', digest.slice(1), digest.slice(0, -1), digest.toUpperCase(), `${digest} `, '%', `${digest.slice(0, 63)}_`, '0'.repeat(64)]) {
      t.equal(await store.findByDigest(text), null, text)
    }
  })

  check('a key of another tenant is not found by any call, and stays as it is', async (t, store) => {
    const record = await created(store)
    const foreign = { tenantId: 'ten_B', keyId: record.keyId }
    const { record: replacement } = newRecord({ tenantId: 'ten_B', rotatedFrom: record.keyId })
    t.equal(await store.get(foreign), null)
    t.strictSame(await store.list({ tenantId: 'ten_B', cursor: null, limit: 10 }), { records: [], cursor: null })
    t.equal(await store.revoke({ ...foreign, at, by: null }), 'not-found')
    t.equal(await store.rotate({ ...foreign, replacement, at, until: later, by: null }), 'not-found')
    t.equal(await store.replaceSecrets({ ...foreign, secret: { sealed: 's', until: null }, at, until: later }), 'not-found')
    t.strictSame(await store.revokeAll({ tenantId: 'ten_B', createdBefore: null, at, by: null }), [])
    t.strictSame(await store.findByDigest(record.digest), record)
    t.equal(await store.findByDigest(replacement.digest), null, 'the replacement was not added')
  })

  check('a key that is not there is not found', async (t, store) => {
    t.equal(await store.get(absent), null)
    t.equal(await store.revoke({ ...absent, at, by: null }), 'not-found')
    t.equal(await store.rotate({ ...absent, replacement: newRecord().record, at, until: later, by: null }), 'not-found')
    t.equal(await store.replaceSecrets({ ...absent, secret: { sealed: 's', until: null }, at, until: later }), 'not-found')
  })

  check('a key id or a digest that is taken is an error, and the first key stays', async (t, store) => {
    const record = await created(store)
    await t.rejects(async () => await store.create({ ...newRecord().record, digest: record.digest }, Infinity))
    await t.rejects(async () => await store.create({ ...newRecord().record, keyId: record.keyId, tenantId: 'ten_B' }, Infinity))
    t.strictSame(await store.findByDigest(record.digest), record)
  })

  check('twenty creations at once fill a quota of five exactly', async (t, store, other) => {
    await created(store, { tenantId: 'ten_B' })
    const answers = await Promise.all(Array.from({ length: 20 }, async (_, index) => await (index % 2 ? store : other).create(newRecord().record, 5)))
    t.equal(answers.filter((answer) => answer === 'created').length, 5)
    t.equal(answers.filter((answer) => answer === 'quota-exceeded').length, 15)
    const { records } = await listed(store, { tenantId: 'ten_A', cursor: null, limit: 100 })
    t.equal(records.length, 5)
  })

  check('revoked and expired keys take no place in the quota; a key that expires later does', async (t, store) => {
    const createdAt = '2026-01-10T00:00:00.000Z'
    const revoked = await created(store)
    await store.revoke({ ...nameOf(revoked), at, by: null })
    await created(store, { expiresAt: createdAt })
    await created(store, { expiresAt: later })
    t.equal(await store.create(newRecord({ createdAt }).record, 2), 'created')
    t.equal(await store.create(newRecord({ createdAt }).record, 2), 'quota-exceeded')
  })

  check('a key in its overlap takes no place while its replacement has it, and takes it again when the replacement has ended', async (t, store, other) => {
    const room = async (time: string): Promise<number> => {
      // One is tried at a time: what was added is revoked again.
      for (let quota = 1; ; quota++) {
        const { record } = newRecord({ createdAt: time })
        if (await store.create(record, quota) === 'quota-exceeded') continue
        await store.revoke({ ...nameOf(record), at: time, by: null })
        return quota - 1
      }
    }
    const rotated = async (fields: Partial<StoredApiKey> = {}): Promise<[StoredApiKey, StoredApiKey]> => {
      const record = await created(store)
      const { record: replacement } = newRecord({ rotatedFrom: record.keyId, ...fields })
      t.equal(await store.rotate({ ...nameOf(record), replacement, at, until: later, by: null }), 'rotated')
      return [record, replacement]
    }
    const between = '2026-02-01T00:30:00.000Z'
    const [, revoked] = await rotated()
    t.equal(await room(at), 1, 'the replacement has the place')
    await other.revoke({ ...nameOf(revoked), at, by: null })
    t.equal(await room(at), 1, 'the key in its overlap has it')
    t.equal(await room(later), 0, 'its overlap is over')

    await rotated({ expiresAt: between })
    t.equal(await room(at), 2)
    t.equal(await room(between), 2, 'a replacement that has expired gives the place back')
    await created(store, { expiresAt: later, replacedBy: absent.keyId })
    t.equal(await room(between), 3, 'a replacement that is not there has no place')
    const head = await created(store, { replacedBy: absent.keyId })
    await created(store, { replacedBy: head.keyId })
    t.equal(await room(between), 5, 'and a replacement that is replaced itself has its own')
    await created(store, { tenantId: 'ten_B' })
    const foreign = await created(store, { tenantId: 'ten_B' })
    await created(store, { replacedBy: foreign.keyId })
    t.equal(await room(between), 6, 'a key of another tenant replaces nothing')
    await store.revokeAll({ tenantId: 'ten_A', createdBefore: null, at: between, by: null })
    t.equal(await room(between), 0)
  })

  check('create, rotate with an overlap, revoke the replacement, again and again: never more working keys than two for each place', async (t, store, other) => {
    for (let round = 0; round < 6; round++) {
      const { record } = newRecord({ createdAt: at })
      if (await store.create(record, 2) === 'quota-exceeded') continue
      const { record: replacement } = newRecord({ rotatedFrom: record.keyId, createdAt: at })
      t.equal(await other.rotate({ ...nameOf(record), replacement, at, until: later, by: null }), 'rotated')
      t.equal(await other.revoke({ ...nameOf(replacement), at, by: null }), 'revoked')
    }
    const { records } = await listed(store, { tenantId: 'ten_A', cursor: null, limit: 100 })
    t.equal(records.filter(({ revokedAt }) => revokedAt === null).length, 2)
    t.equal(records.length, 4)
  })

  check('of revoked and expired keys the newest thousand are kept, and of working keys and other tenants\' keys every one', async (t, store, other) => {
    const createdAt = '2026-01-03T00:00:00.000Z'
    const working = await created(store)
    const foreign = await created(store, { tenantId: 'ten_B', revokedAt: at })
    const ended: StoredApiKey[] = []
    for (let index = 0; index < 1002; index++) {
      const { record } = newRecord({ createdAt: new Date(Date.parse(createdAt) + index).toISOString(), ...(index % 2 === 0 ? { revokedAt: createdAt } : { expiresAt: createdAt }) })
      ended.push(record)
      await store.create(record, Infinity)
    }
    const last = newRecord({ createdAt: at }).record
    await other.create(last, Infinity)
    const replacement = newRecord({ createdAt: at, rotatedFrom: last.keyId }).record
    t.equal(await store.rotate({ ...nameOf(last), replacement, at, until: at, by: null }), 'rotated')
    const kept = new Set<string>()
    let cursor: string | null = null
    do {
      const page = await listed(store, { tenantId: 'ten_A', cursor, limit: 100 })
      for (const { keyId } of page.records) kept.add(keyId)
      cursor = page.cursor
    } while (cursor !== null)
    t.equal(kept.size, 1002, 'a thousand, and two that work')
    t.strictSame([working, replacement, last].filter(({ keyId }) => !kept.has(keyId)), [])
    t.strictSame(ended.slice(0, 3).map(({ keyId }) => kept.has(keyId)), [false, false, false])
    t.equal(kept.has(ended[3]?.keyId as string), true)
    t.equal(await other.findByDigest(ended[0]?.digest as string), null)
    t.strictSame(await store.findByDigest(foreign.digest), foreign)
  })

  check('a key as large as a key may be comes back as it was given', async (t, store, other) => {
    const record = await created(store, {
      name: '🔑'.repeat(100),
      tenantId: 'é'.repeat(256),
      scopes: Array.from({ length: 100 }, (_, index) => `${index}`.padEnd(128, 'x')),
      createdBy: '語'.repeat(256),
      metadata: { text: 'x'.repeat(4000) },
      createdAt: '0001-01-01T00:00:00.000Z',
      expiresAt: '9999-12-31T23:59:59.999Z'
    })
    t.strictSame(await other.findByDigest(record.digest), record)
    const by = '\ufffd'.repeat(256)
    t.equal(await store.revoke({ ...nameOf(record), at, by }), 'revoked')
    t.strictSame(await other.get(nameOf(record)), { ...record, revokedAt: at, revokedBy: by })
  })

  check('text that a store cannot hold is an error, and never becomes another text', async (t, store) => {
    // ApiKeys lets none of these pass. A store that is used without it must not answer with a key of another name.
    for (const text of ['a\0', '\ud800', 'a\udc00b']) {
      for (const field of ['name', 'createdBy', 'tenantId'] as const) {
        const { record } = newRecord({ [field]: text })
        try {
          await store.create(record, Infinity)
        } catch {
          t.equal(await store.findByDigest(record.digest), null, `${field} ${JSON.stringify(text)}`)
          continue
        }
        t.strictSame(await store.findByDigest(record.digest), record, `${field} ${JSON.stringify(text)}`)
      }
    }
  })

  check('a list gives each key of the tenant once, newest first, in pages', async (t, store) => {
    const records = []
    for (let day = 10; day < 17; day++) records.unshift(await created(store, { createdAt: `2026-01-${day}T00:00:00.000Z` }))
    await created(store, { tenantId: 'ten_B' })
    const seen = []
    const sizes = []
    let cursor: string | null = null
    do {
      const page = await listed(store, { tenantId: 'ten_A', cursor, limit: 3 })
      seen.push(...page.records)
      sizes.push(page.records.length)
      cursor = page.cursor
    } while (cursor !== null)
    t.strictSame(seen, records)
    t.strictSame(sizes, [3, 3, 1])
    t.equal((await listed(store, { tenantId: 'ten_A', cursor: null, limit: 7 })).cursor, null, 'an exact fit has no next page')
  })

  check('a cursor that no list has answered is invalid, and never the first page; one of another tenant shows none of its keys', async (t, store) => {
    const mine = []
    for (let day = 10; day < 13; day++) mine.unshift(await created(store, { createdAt: `2026-01-${day}T00:00:00.000Z` }))
    for (let day = 10; day < 13; day++) await created(store, { tenantId: 'ten_B', createdAt: `2026-01-${day}T01:00:00.000Z` })
    const { cursor } = await listed(store, { tenantId: 'ten_A', cursor: null, limit: 1 })
    t.type(cursor, 'string')
    for (const garbage of ['', ' ', 'garbage', '~', '%', '0', 'null', '\'', '\0', '\ud800', '{}', 'é'.repeat(128), 'x'.repeat(256), cursor?.slice(0, -1), ` ${cursor}`, `${cursor}x`]) {
      t.equal(await store.list({ tenantId: 'ten_A', cursor: garbage as string, limit: 10 }), 'invalid-cursor', JSON.stringify(garbage))
    }
    const foreign = await store.list({ tenantId: 'ten_B', cursor, limit: 10 })
    if (foreign !== 'invalid-cursor') t.strictSame(foreign.records.filter(({ tenantId }) => tenantId !== 'ten_B'), [])
    t.strictSame((await listed(store, { tenantId: 'ten_A', cursor, limit: 10 })).records, mine.slice(1))
  })

  check('a revocation is written once: the second one changes neither when nor who', async (t, store, other) => {
    const record = await created(store)
    t.equal(await store.revoke({ ...nameOf(record), at, by: 'usr_2' }), 'revoked')
    t.equal(await other.revoke({ ...nameOf(record), at: later, by: 'usr_3' }), 'already-revoked')
    t.strictSame(await other.findByDigest(record.digest), { ...record, revokedAt: at, revokedBy: 'usr_2' })
  })

  check('one of many revocations at once revokes', async (t, store, other) => {
    const record = await created(store)
    const answers = await Promise.all([store, other, store, other].map(async (one) => await one.revoke({ ...nameOf(record), at, by: null })))
    t.strictSame(answers.sort(), ['already-revoked', 'already-revoked', 'already-revoked', 'revoked'])
  })

  check('a rotation with an overlap adds the new key and gives the old one an end, and an earlier end stays', async (t, store, other) => {
    for (const [expiresAt, expected] of [[null, later], ['2026-03-01T00:00:00.000Z', later], ['2026-02-01T00:30:00.000Z', '2026-02-01T00:30:00.000Z']] as const) {
      const record = await created(store, { expiresAt })
      const { record: replacement } = newRecord({ rotatedFrom: record.keyId })
      t.equal(await store.rotate({ ...nameOf(record), replacement, at, until: later, by: 'usr_2' }), 'rotated')
      t.strictSame(await other.findByDigest(record.digest), { ...record, expiresAt: expected, replacedBy: replacement.keyId })
      t.strictSame(await other.findByDigest(replacement.digest), replacement)
    }
  })

  check('a rotation without an overlap revokes the old key', async (t, store) => {
    const record = await created(store)
    const { record: replacement } = newRecord({ rotatedFrom: record.keyId })
    t.equal(await store.rotate({ ...nameOf(record), replacement, at, until: at, by: 'usr_2' }), 'rotated')
    t.strictSame(await store.findByDigest(record.digest), { ...record, revokedAt: at, revokedBy: 'usr_2', replacedBy: replacement.keyId })
  })

  check('a key that is revoked, expired, replaced, or whose predecessor still works, is not rotated and nothing is added', async (t, store) => {
    const working = await created(store, { expiresAt: later })
    const conflicts = [
      await created(store, { revokedAt: '2026-01-15T00:00:00.000Z' }),
      await created(store, { expiresAt: at }),
      await created(store, { replacedBy: 'key_NEW' }),
      await created(store, { rotatedFrom: working.keyId })
    ]
    for (const record of conflicts) {
      const { record: replacement } = newRecord({ rotatedFrom: record.keyId })
      t.equal(await store.rotate({ ...nameOf(record), replacement, at, until: later, by: null }), 'conflict')
      t.equal(await store.findByDigest(replacement.digest), null)
      t.strictSame(await store.findByDigest(record.digest), record)
    }
  })

  check('one of many rotations at once rotates', async (t, store, other) => {
    const record = await created(store)
    const answers = await Promise.all([store, other, store, other].map(async (one) =>
      await one.rotate({ ...nameOf(record), replacement: newRecord({ rotatedFrom: record.keyId }).record, at, until: later, by: null })))
    t.strictSame(answers.sort(), ['conflict', 'conflict', 'conflict', 'rotated'])
    t.equal((await listed(store, { tenantId: 'ten_A', cursor: null, limit: 10 })).records.length, 2)
  })

  check('a new webhook secret stands first, those before it end, and there are three at most', async (t, store, other) => {
    const record = await created(store, { sealedSecrets: [{ sealed: 'a', until: null }, { sealed: 'b', until: '2026-02-01T00:30:00.000Z' }, { sealed: 'gone', until: at }] })
    t.equal(await store.replaceSecrets({ ...nameOf(record), secret: { sealed: 'c', until: null }, at, until: later }), 'replaced')
    t.strictSame(await other.findByDigest(record.digest), {
      ...record,
      sealedSecrets: [{ sealed: 'c', until: null }, { sealed: 'a', until: later }, { sealed: 'b', until: '2026-02-01T00:30:00.000Z' }]
    })
    await store.replaceSecrets({ ...nameOf(record), secret: { sealed: 'd', until: null }, at, until: later })
    t.strictSame((await store.get(nameOf(record)))?.sealedSecrets.map(({ sealed }) => sealed), ['d', 'c', 'a'])
    await store.replaceSecrets({ ...nameOf(record), secret: { sealed: 'e', until: null }, at, until: at })
    t.strictSame((await store.get(nameOf(record)))?.sealedSecrets, [{ sealed: 'e', until: null }])
  })

  check('a key that no longer works gets no new webhook secret', async (t, store) => {
    const record = await created(store, { revokedAt: at })
    t.equal(await store.replaceSecrets({ ...nameOf(record), secret: { sealed: 'c', until: null }, at, until: later }), 'conflict')
    t.strictSame(await store.findByDigest(record.digest), record)
  })

  check('revoking all of a tenant takes every key made before the time, and no other', async (t, store, other) => {
    const old = await created(store, { createdAt: '2026-01-01T00:00:00.000Z' })
    const gone = await created(store, { createdAt: '2026-01-01T00:00:00.000Z', revokedAt: '2026-01-02T00:00:00.000Z', revokedBy: 'usr_0' })
    const young = await created(store, { createdAt: '2026-01-20T00:00:00.000Z' })
    const foreign = await created(store, { tenantId: 'ten_B', createdAt: '2026-01-01T00:00:00.000Z' })
    t.strictSame(await store.revokeAll({ tenantId: 'ten_A', createdBefore: young.createdAt, at, by: 'usr_2' }), [old.keyId])
    t.strictSame(await other.findByDigest(old.digest), { ...old, revokedAt: at, revokedBy: 'usr_2' })
    for (const record of [gone, young, foreign]) t.strictSame(await other.findByDigest(record.digest), record)
    t.strictSame(await store.revokeAll({ tenantId: 'ten_A', createdBefore: null, at, by: null }), [young.keyId])
  })

  check('last uses are written together, never backwards, and keys that are not there are passed over', async (t, store, other) => {
    const one = await created(store)
    const two = await created(store, { tenantId: 'ten_B', lastUsedAt: later })
    await store.touch([{ keyId: one.keyId, usedAt: at }, { keyId: absent.keyId, usedAt: at }, { keyId: two.keyId, usedAt: at }])
    t.strictSame(await other.findByDigest(one.digest), { ...one, lastUsedAt: at })
    t.strictSame(await other.findByDigest(two.digest), two)
    await store.touch([{ keyId: one.keyId, usedAt: later }])
    t.strictSame(await other.findByDigest(one.digest), { ...one, lastUsedAt: later })
    await store.touch([])
  })

  check('text that means something to a query language is only text', async (t, store) => {
    const record = await created(store, { tenantId: "ten'; --", name: "'\"\\$1%_?:x{}", metadata: { "a'b": '$2::text' } })
    t.strictSame(await store.get(nameOf(record)), record)
    t.equal((await listed(store, { tenantId: '%', cursor: null, limit: 10 })).records.length, 0)
  })

  check('every change but a last use is told to each process', async (t, store, other) => {
    if (store.invalidation === undefined || store.invalidation.publish !== undefined) return t.pass('its channel is told by ApiKeys')
    const heard: KeyChange[] = []
    const wake = new Set<() => void>()
    const stop = other.invalidation?.subscribe({
      onInvalidated (change) {
        heard.push(change)
        for (const resolve of wake) resolve()
      },
      onReset () {}
    })
    t.teardown(() => stop?.())
    const names = (change: KeyChange, record: StoredApiKey) =>
      ('digest' in change && change.digest === record.digest) || ('keyId' in change && change.keyId === record.keyId)
    async function tells (what: string, record: StoredApiKey, act: () => unknown): Promise<void> {
      heard.length = 0
      await act()
      const deadline = Date.now() + 2000
      while (!heard.some((change) => names(change, record)) && Date.now() < deadline) {
        await new Promise<void>((resolve) => {
          wake.add(resolve)
          setTimeout(resolve, 50)
        })
      }
      t.ok(heard.some((change) => names(change, record)), what)
    }
    while (other.invalidation?.healthy === false) await new Promise((resolve) => setTimeout(resolve, 10))

    const { record } = newRecord()
    const { record: replacement } = newRecord({ rotatedFrom: record.keyId })
    await tells('created', record, async () => await store.create(record, Infinity))
    await tells('secrets replaced', record, async () => await store.replaceSecrets({ ...nameOf(record), secret: { sealed: 'c', until: null }, at, until: later }))
    await tells('rotated', record, async () => await store.rotate({ ...nameOf(record), replacement, at, until: later, by: null }))
    await tells('revoked', record, async () => await store.revoke({ ...nameOf(record), at, by: null }))
    await tells('all revoked', replacement, async () => await store.revokeAll({ tenantId: 'ten_A', createdBefore: null, at, by: null }))
    const { record: mark } = newRecord()
    heard.length = 0
    await store.touch([{ keyId: replacement.keyId, usedAt: later }])
    await tells('created after a last use', mark, async () => await store.create(mark, Infinity))
    t.notOk(heard.some((change) => names(change, replacement)), 'a last use is not told')
  })
}
