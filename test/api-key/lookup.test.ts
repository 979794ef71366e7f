import t from 'tap'
import { createLookup, type ProvedKey } from '../../lib/api-key/lookup.js'
import { forgetHere } from '../../lib/api-key/invalidation.js'
import { MemoryApiKeyStore } from '../../lib/api-key/memory-store.js'
import { askStore } from '../../lib/api-key/time-limit.js'
import type { StoredApiKey } from '../../lib/api-key/record.js'
import { watchProcess } from '../fixtures/process-watch.js'
import { fakeTime, settle } from './fake-time.js'
import { newRecord } from './record-fixture.js'
import { scriptedStore, settingsFor } from './scripted-store.js'

const revokedAt = '2026-01-02T00:00:00.000Z'
const keyIdOf = (found: unknown) => (found as ProvedKey).record?.keyId ?? found

t.test('threat 15: a key that the channel names, by digest, id or tenant, is read again on its next use; others are not', async (t) => {
  const [one, two] = [newRecord().record, newRecord({ tenantId: 'ten_B' }).record]
  for (const change of [{ digest: one.digest }, { keyId: one.keyId }, { digest: one.digest, keyId: one.keyId }, { tenantId: 'ten_A' }]) {
    const { store, memory, readings, channel } = scriptedStore()
    memory.create(one, Infinity)
    memory.create(two, Infinity)
    const lookup = createLookup(settingsFor(store), fakeTime())
    await lookup.find(one.digest)
    await lookup.find(two.digest)
    memory.revoke({ ...one, at: revokedAt, by: null })
    channel.tell(change)
    t.equal(await lookup.find(one.digest), 'revoked')
    t.equal(keyIdOf(lookup.find(two.digest)), two.keyId)
    t.equal(readings.length, 3)
  }
})

t.test('threat 15: a process whose channel is not healthy does not use what it holds', async (t) => {
  const { record } = newRecord()
  const { store, memory, readings, channel } = scriptedStore()
  memory.create(record, Infinity)
  const lookup = createLookup(settingsFor(store), fakeTime())
  await lookup.find(record.digest)
  channel.healthy = false
  memory.revoke({ ...record, at: revokedAt, by: null })
  t.equal(await lookup.find(record.digest), 'revoked')
  t.equal(readings.length, 2)
})

t.test('threat 15: what was read while the channel was not healthy is not held', async (t) => {
  const { record } = newRecord()
  const { store, memory, readings, channel } = scriptedStore()
  memory.create(record, Infinity)
  channel.healthy = false
  const lookup = createLookup(settingsFor(store), fakeTime())
  await lookup.find(record.digest)
  channel.healthy = true
  await lookup.find(record.digest)
  t.equal(readings.length, 2)
})

t.test('threat 15: a reset forgets everything, refusals too', async (t) => {
  const { record } = newRecord()
  const { store, memory, readings, channel } = scriptedStore()
  memory.create(record, Infinity)
  const lookup = createLookup(settingsFor(store), fakeTime())
  await lookup.find(record.digest)
  await lookup.find('0'.repeat(64))
  t.strictSame(lookup.size(), { proved: 1, refused: 1, loads: 0 })
  channel.reset()
  t.strictSame(lookup.size(), { proved: 0, refused: 0, loads: 0 })
  await lookup.find(record.digest)
  t.equal(readings.length, 3)
})

t.test('threat 15: a key that is revoked while it is read is read again before anybody is let in', async (t) => {
  const { record } = newRecord()
  const revoked = { ...record, revokedAt }
  for (const what of ['digest', 'keyId', 'tenant', 'reset'] as const) {
    const { store, readings, channel } = scriptedStore({ manual: true })
    const lookup = createLookup(settingsFor(store), fakeTime())
    const found = [lookup.find(record.digest), lookup.find(record.digest)]
    if (what === 'reset') channel.reset()
    else channel.tell(what === 'digest' ? { digest: record.digest } : what === 'keyId' ? { keyId: record.keyId } : { tenantId: 'ten_A' })
    readings[0]?.answer(record)
    await settle()
    t.equal(readings.length, 2, what)
    readings[1]?.answer(revoked)
    t.strictSame(await Promise.all(found), ['revoked', 'revoked'], what)
    t.equal(lookup.find(record.digest), 'revoked')
  }
})

t.test('a store that throws is unavailable at once, and what it has thrown is the cause, for logs', async (t) => {
  const fault = new Error('down')
  for (const [findByDigest, cause] of [[() => { throw fault }, fault], [() => 'yes' as never, { name: 'TypeError' }]] as const) {
    const lookup = createLookup(settingsFor({ ...scriptedStore().store, findByDigest }), fakeTime())
    t.throws(() => lookup.find('0'.repeat(64)), { code: 'AUTH_STORE_UNAVAILABLE', reason: 'unreachable', cause })
  }
})

t.test('while changes are heard a request joins the reading in the air, however old it is', async (t) => {
  const { record } = newRecord()
  const { store, readings } = scriptedStore({ manual: true })
  const time = fakeTime()
  const lookup = createLookup(settingsFor(store), time)
  const first = lookup.find(record.digest)
  time.pass(1500)
  const second = lookup.find(record.digest)
  t.equal(readings.length, 1)
  readings[0]?.answer(record)
  t.equal(await first, await second)
})

t.test('with the cache off it is told of changes all the same, and closes', async (t) => {
  const { record } = newRecord()
  for (const change of [{ digest: record.digest }, { keyId: record.keyId }, { tenantId: 'ten_A' }, null]) {
    const { store, readings, channel } = scriptedStore({ manual: true })
    const lookup = createLookup(settingsFor(store, { cache: null }), fakeTime())
    const found = lookup.find(record.digest)
    if (change === null) channel.reset()
    else channel.tell(change)
    readings[0]?.answer(record)
    await settle()
    readings[1]?.answer({ ...record, revokedAt })
    t.equal(await found, 'revoked')
    lookup.close()
  }
})

t.test('to forget what nobody listens for is nothing', async (t) => {
  t.doesNotThrow(() => forgetHere(new MemoryApiKeyStore(), [{ keyId: 'key_1' }]))
})

t.test('a change of another key while a key is read costs no second reading', async (t) => {
  const { record } = newRecord()
  const { store, readings, channel } = scriptedStore({ manual: true })
  const lookup = createLookup(settingsFor(store), fakeTime())
  const found = lookup.find(record.digest)
  channel.tell({ keyId: 'key_OTHER' })
  channel.tell({ digest: '0'.repeat(64), keyId: 'key_OTHER' })
  readings[0]?.answer(record)
  t.equal(keyIdOf(await found), record.keyId)
  t.equal(readings.length, 1)
})

t.test('a key that changes at every reading is answered from the fourth one, which is not held and which nobody joins', async (t) => {
  const { record } = newRecord()
  for (const change of [{ digest: record.digest }, { keyId: record.keyId }, { tenantId: 'ten_A' }]) {
    const { store, readings, channel } = scriptedStore({ manual: true })
    const lookup = createLookup(settingsFor(store), fakeTime())
    const found = lookup.find(record.digest)
    for (let reading = 0; reading < 3; reading++) {
      channel.tell(change)
      readings[reading]?.answer(record)
      await settle()
    }
    t.equal(readings.length, 4)
    const joined = lookup.find(record.digest)
    t.equal(readings.length, 4, 'who comes before the change joins')
    channel.tell(change)
    const later = lookup.find(record.digest)
    t.equal(readings.length, 5, 'who comes after it reads for himself')
    readings[3]?.answer(record)
    t.equal(keyIdOf(await found), record.keyId)
    t.equal(await joined, await found)
    t.strictSame(lookup.size(), { proved: 0, refused: 0, loads: 1 })
    readings[4]?.answer({ ...record, revokedAt })
    t.equal(await later, 'revoked')
    t.equal(lookup.find(record.digest), 'revoked')
  }
})

t.test('a reading that fails after a change is a 503, and one past its time limit is not begun again', async (t) => {
  const { record } = newRecord()
  const time = fakeTime()
  const { store, readings, channel } = scriptedStore({ manual: true })
  const lookup = createLookup(settingsFor(store), time)
  const failed = t.rejects(lookup.find(record.digest) as Promise<unknown>, { code: 'AUTH_STORE_UNAVAILABLE', reason: 'unreachable' })
  channel.tell({ digest: record.digest })
  readings[0]?.answer(record)
  await settle()
  readings[1]?.fail(new Error('down'))
  await failed
  const late = t.rejects(lookup.find(record.digest) as Promise<unknown>, { code: 'AUTH_STORE_UNAVAILABLE', reason: 'time-limit' })
  channel.tell({ digest: record.digest })
  time.pass(2000)
  await late
  readings[2]?.answer(record)
  await settle()
  t.equal(readings.length, 3)
})

t.test('an answer that comes after its time limit is not held', async (t) => {
  const time = fakeTime()
  const { record } = newRecord()
  const { store, readings } = scriptedStore({ manual: true })
  const lookup = createLookup(settingsFor(store), time)
  const late = t.rejects(lookup.find(record.digest) as Promise<unknown>, { code: 'AUTH_STORE_UNAVAILABLE', reason: 'time-limit' })
  time.pass(2000)
  await late
  const second = lookup.find(record.digest) as Promise<unknown>
  readings[0]?.answer(record)
  await settle()
  t.strictSame(lookup.size(), { proved: 0, refused: 0, loads: 1 }, 'and it does not end the reading after it')
  readings[1]?.answer({ ...record, revokedAt })
  t.equal(await second, 'revoked')
})

t.test('a request that comes right after a revocation never joins a reading from before it', async (t) => {
  const { record } = newRecord()
  const { store, memory, readings } = scriptedStore({ manual: true })
  memory.create(record, Infinity)
  const lookup = createLookup(settingsFor(store), fakeTime())
  const first = lookup.find(record.digest) as Promise<unknown>
  readings[0]?.answer(memory.findByDigest(record.digest))
  // The revocation falls on every step that the answer takes on its way to those who wait for it.
  for (let step = 0; step < 8; step++) {
    await Promise.resolve()
    const { size } = lookup
    if (size().proved === 1) break
  }
  memory.revoke({ ...record, at: revokedAt, by: null })
  forgetHere(store, [{ keyId: record.keyId }])
  const second = lookup.find(record.digest) as Promise<unknown>
  t.equal(readings.length, 2, 'it reads for itself')
  readings[1]?.answer(memory.findByDigest(record.digest))
  t.equal(await second, 'revoked')
  await first
})

t.test('without a channel nothing positive is held; a change in this process still reaches a reading in the air', async (t) => {
  const { record } = newRecord()
  const { store, readings } = scriptedStore({ manual: true, channel: false })
  const lookup = createLookup(settingsFor(store), fakeTime())
  const found = lookup.find(record.digest)
  const joined = lookup.find(record.digest)
  t.equal(readings.length, 1)
  forgetHere(store, [{ keyId: record.keyId }])
  readings[0]?.answer(record)
  await settle()
  readings[1]?.answer(record)
  t.equal(keyIdOf(await found), record.keyId)
  t.equal(await joined, await found)
  t.equal(lookup.size().proved, 0)
  t.type(lookup.find(record.digest), Promise)
  t.equal(readings.length, 3)
  lookup.close()
})

t.test('where no change is heard, a request joins a reading only right behind the first, and the older reading is not held', async (t) => {
  const { record } = newRecord()
  const { store, readings, channel } = scriptedStore({ manual: true })
  channel.healthy = false
  const time = fakeTime()
  const lookup = createLookup(settingsFor(store), time)
  const early = [lookup.find(record.digest)]
  time.pass(99)
  early.push(lookup.find(record.digest))
  t.equal(readings.length, 1, 'right behind the first')
  time.pass(1)
  const late = lookup.find(record.digest)
  t.equal(readings.length, 2, 'a reading of its own')
  channel.healthy = true
  readings[0]?.answer(record)
  await Promise.all(early)
  t.equal(lookup.size().proved, 0, 'nobody has told the older reading of changes')
  readings[1]?.answer({ ...record, revokedAt })
  t.equal(await late, 'revoked')
  t.equal(await lookup.find(record.digest), 'revoked')
})

t.test('with the cache off nothing is held, and many requests at once still share one reading', async (t) => {
  const { record } = newRecord()
  const { store, memory, readings } = scriptedStore()
  memory.create(record, Infinity)
  const lookup = createLookup(settingsFor(store, { cache: null }), fakeTime())
  await Promise.all(Array.from({ length: 100 }, () => lookup.find(record.digest)))
  t.equal(readings.length, 1)
  await lookup.find(record.digest)
  await lookup.find('0'.repeat(64))
  t.strictSame(lookup.size(), { proved: 0, refused: 0, loads: 0 })
  t.equal(readings.length, 3)
})

t.test('threat 19: a bad key that repeats itself is read once a second, and one at once for many requests', async (t) => {
  const time = fakeTime()
  const { store, readings } = scriptedStore()
  const lookup = createLookup(settingsFor(store), time)
  const digest = '0'.repeat(64)
  t.strictSame(new Set(await Promise.all(Array.from({ length: 1000 }, () => lookup.find(digest)))), new Set(['unknown']))
  t.equal(readings.length, 1)
  time.pass(999)
  t.equal(lookup.find(digest), 'unknown')
  time.pass(1)
  await lookup.find(digest)
  t.equal(readings.length, 2)
})

t.test('threat 19: a key that was refused a moment ago works at once when it is made', async (t) => {
  const { record } = newRecord()
  const store = new MemoryApiKeyStore()
  const lookup = createLookup(settingsFor(store), fakeTime())
  t.equal(lookup.find(record.digest), 'unknown')
  store.create(record, 5)
  t.equal(keyIdOf(lookup.find(record.digest)), record.keyId)
})

t.test('threat 19: a key that is made while it is looked for works at once', async (t) => {
  const { record } = newRecord()
  const { store, readings, channel } = scriptedStore({ manual: true })
  const lookup = createLookup(settingsFor(store), fakeTime())
  const found = lookup.find(record.digest)
  channel.tell({ digest: record.digest, keyId: record.keyId })
  readings[0]?.answer(null)
  await settle()
  readings[1]?.answer(record)
  t.equal(keyIdOf(await found), record.keyId)
})

const digestAt = (index: number): string => index.toString(16).padStart(64, '0')
const reasonOf = (found: unknown): Promise<unknown> => (found as Promise<unknown>).catch((error: { reason: string }) => error.reason)

t.test('threat 19: readings of unknown digests are limited to a hundred, those over the limit are told to ask again, and all of it passes', async (t) => {
  const time = fakeTime()
  const { store, readings } = scriptedStore({ manual: true })
  const lookup = createLookup(settingsFor(store), time)
  const waiting = Array.from({ length: 100 }, (_, index) => reasonOf(lookup.find(digestAt(index))))
  t.throws(() => lookup.find(digestAt(100)), { code: 'AUTH_STORE_UNAVAILABLE', reason: 'rejected', retryAfter: 1 })
  const joined = lookup.find(digestAt(0))
  t.type(joined, Promise, 'who asks for the same is still let to wait')
  waiting.push(reasonOf(joined))
  time.pass(2000)
  t.strictSame(new Set(await Promise.all(waiting)), new Set(['time-limit']))
  t.equal(lookup.size().loads, 0)
  const again = reasonOf(lookup.find(digestAt(100)))
  t.equal(readings.length, 101)
  time.pass(2000)
  await again
})

t.test('threat 36: while unknown digests use up their budget, keys that were active here are read, until they are refused', async (t) => {
  const { record } = newRecord()
  const time = fakeTime()
  for (const cache of [null, { max: 10, ttl: 30 }]) {
    const { store, readings, channel } = scriptedStore({ manual: true })
    const lookup = createLookup(settingsFor(store, { cache }), time)
    const first = lookup.find(record.digest)
    readings[0]?.answer(record)
    await first
    channel.healthy = false
    const waiting = Array.from({ length: 100 }, (_, index) => reasonOf(lookup.find(digestAt(index))))
    t.throws(() => lookup.find(digestAt(100)), { code: 'AUTH_STORE_UNAVAILABLE', reason: 'rejected' })
    const known = lookup.find(record.digest)
    readings[101]?.answer({ ...record, revokedAt })
    t.equal(await known, 'revoked')
    time.pass(1000)
    t.throws(() => lookup.find(record.digest), { code: 'AUTH_STORE_UNAVAILABLE', reason: 'rejected' }, 'it is a key like any invented one now')
    time.pass(1000)
    await Promise.all(waiting)
  }
})

t.test('threat 35: a tenant that makes, uses and revokes keys without end does not make the keys of others unknown', async (t) => {
  const { record } = newRecord({ tenantId: 'ten_B' })
  const { store, memory } = scriptedStore()
  const hints: unknown[] = []
  const findByDigest: typeof store.findByDigest = (digest, hint) => { hints.push(hint?.known); return store.findByDigest(digest) }
  const lookup = createLookup(settingsFor({ ...store, findByDigest }, { cache: null }), fakeTime())
  memory.create(record, Infinity)
  await lookup.find(record.digest)
  for (let round = 0; round < 10_000; round++) {
    const own = { ...record, tenantId: 'ten_A', keyId: 'key_A', digest: digestAt(round) }
    store.findByDigest = async () => own
    await lookup.find(own.digest)
  }
  store.findByDigest = async () => record
  await lookup.find(record.digest)
  t.equal(hints.at(-1), true)
})

t.test('threat 35: readings of the keys of one tenant leave room for those of another', async (t) => {
  const { store, memory, readings } = scriptedStore({ manual: true })
  const time = fakeTime()
  const lookup = createLookup(settingsFor(store, { cache: null }), time)
  const known = [...Array.from({ length: 1001 }, () => newRecord().record), newRecord({ tenantId: 'ten_B' }).record]
  for (const record of known) {
    memory.create(record, Infinity)
    const found = lookup.find(record.digest)
    readings.at(-1)?.answer(record)
    await found
  }
  const own = known.slice(0, 500).map(({ digest }) => reasonOf(lookup.find(digest)))
  t.throws(() => lookup.find(known[500]?.digest ?? ''), { code: 'AUTH_STORE_UNAVAILABLE', reason: 'rejected', retryAfter: 1 })
  const other = lookup.find(known.at(-1)?.digest ?? '')
  readings.at(-1)?.answer(known.at(-1) ?? null)
  t.equal(keyIdOf(await other), known.at(-1)?.keyId)
  time.pass(2000)
  t.strictSame(new Set(await Promise.all(own)), new Set(['time-limit']))
})

t.test('threat 36: readings of known keys are limited to a thousand, and the store is told of each whether it is known', async (t) => {
  const time = fakeTime()
  const known = Array.from({ length: 1001 }, (_, index) => newRecord({ tenantId: `ten_${index}` }).record)
  const { store, memory, readings } = scriptedStore({ manual: true })
  const hints: unknown[] = []
  const lookup = createLookup(settingsFor({ ...store, findByDigest: (digest, hint) => { hints.push(hint?.known); return store.findByDigest(digest) } }, { cache: null }), time)
  for (const record of known) {
    memory.create(record, Infinity)
    const found = lookup.find(record.digest)
    readings.at(-1)?.answer(record)
    await found
  }
  t.strictSame(new Set(hints.splice(0)), new Set([false]))
  const waiting = known.slice(0, 1000).map(({ digest }) => reasonOf(lookup.find(digest)))
  t.strictSame(new Set(hints), new Set([true]))
  t.throws(() => lookup.find(known[1000]?.digest ?? ''), { code: 'AUTH_STORE_UNAVAILABLE', reason: 'rejected', retryAfter: 1 })
  const unknown = reasonOf(lookup.find(digestAt(0)))
  time.pass(2000)
  t.strictSame(new Set(await Promise.all([...waiting, unknown])), new Set(['time-limit']))
})

t.test('threat 36: what is held is not used while the channel is not healthy, and is used again when it is', async (t) => {
  const { record } = newRecord()
  const { store, memory, readings, channel } = scriptedStore()
  memory.create(record, Infinity)
  const lookup = createLookup(settingsFor(store), fakeTime())
  await lookup.find(record.digest)
  channel.healthy = false
  t.equal(keyIdOf(await lookup.find(record.digest)), record.keyId)
  t.equal(readings.length, 2)
  channel.healthy = true
  t.equal(keyIdOf(lookup.find(record.digest)), record.keyId, 'at once')
  channel.healthy = false
  memory.revoke({ ...record, at: revokedAt, by: null })
  t.equal(await lookup.find(record.digest), 'revoked')
  channel.healthy = true
  t.equal(lookup.find(record.digest), 'revoked', 'what was read meanwhile counts')
  channel.reset()
  t.strictSame(lookup.size(), { proved: 0, refused: 0, loads: 0 })
})

t.test('threat 15: a key that is only late to be told is forgotten before the channel is healthy again', async (t) => {
  const { record } = newRecord()
  const { store, memory, channel } = scriptedStore()
  memory.create(record, Infinity)
  const lookup = createLookup(settingsFor(store), fakeTime())
  await lookup.find(record.digest)
  channel.healthy = false
  memory.revoke({ ...record, at: revokedAt, by: null })
  channel.tell({ keyId: record.keyId })
  channel.healthy = true
  t.equal(await lookup.find(record.digest), 'revoked')
})

t.test('threat 19: a creation that names no digest takes every refusal with it, and a reading that found nothing is repeated', async (t) => {
  const { record } = newRecord()
  const { store, memory, readings, channel } = scriptedStore({ manual: true })
  const lookup = createLookup(settingsFor(store), fakeTime())
  const refused = lookup.find(record.digest)
  readings[0]?.answer(null)
  t.equal(await refused, 'unknown')
  memory.create(record, Infinity)
  channel.tell({ keyId: record.keyId, created: true })
  const found = lookup.find(record.digest)
  channel.tell({ keyId: 'key_OTHER', created: true })
  readings[1]?.answer(null)
  await settle()
  t.equal(readings.length, 3)
  readings[2]?.answer(record)
  t.equal(keyIdOf(await found), record.keyId)
  t.equal(lookup.size().proved, 1)
})

t.test('what is held is bounded in number and in time', async (t) => {
  const time = fakeTime()
  const store = new MemoryApiKeyStore()
  const lookup = createLookup(settingsFor(store, { cache: { max: 10, ttl: 30 } }), time)
  for (let index = 0; index < 25; index++) {
    const { record } = newRecord()
    store.create(record, Infinity)
    lookup.find(record.digest)
    lookup.find(index.toString().padStart(64, '0'))
  }
  t.strictSame(lookup.size(), { proved: 10, refused: 10, loads: 0 })
  time.pass(30_000)
  t.equal(lookup.size().proved, 0, 'a key that nobody uses any more is not kept in memory')
  t.equal(time.waiting(), 0)
})

t.test('one timer sweeps for all keys, takes those whose time is over, and comes back for the others', async (t) => {
  const time = fakeTime()
  const store = new MemoryApiKeyStore()
  const lookup = createLookup(settingsFor(store, { cache: { max: 10, ttl: 30 } }), time)
  for (let index = 0; index < 3; index++) {
    const { record } = newRecord()
    store.create(record, Infinity)
    lookup.find(record.digest)
    t.equal(time.waiting(), 1)
    time.pass(10_000)
  }
  t.equal(lookup.size().proved, 2, 'after thirty seconds the first has gone')
  t.equal(time.waiting(), 1)
  time.pass(30_000)
  t.equal(lookup.size().proved, 0)
  t.equal(time.waiting(), 0)
})

t.test('a clock that is set back does not lengthen the life of what is held', async (t) => {
  const time = fakeTime()
  const { record } = newRecord()
  const { store, memory, readings } = scriptedStore()
  memory.create(record, Infinity)
  const lookup = createLookup(settingsFor(store), time)
  await lookup.find(record.digest)
  await lookup.find('0'.repeat(64))
  time.now -= 3600_000
  await lookup.find(record.digest)
  await lookup.find('0'.repeat(64))
  t.equal(readings.length, 4)
})

t.test('a closed lookup still answers, holds nothing and listens to nobody', async (t) => {
  const time = fakeTime()
  const { record } = newRecord()
  const { store, memory, readings, channel } = scriptedStore()
  memory.create(record, Infinity)
  const lookup = createLookup(settingsFor(store), time)
  await lookup.find(record.digest)
  const onItsWay = lookup.find('0'.repeat(64))
  lookup.close()
  t.equal(await onItsWay, 'unknown')
  t.equal(keyIdOf(await lookup.find(record.digest)), record.keyId)
  memory.revoke({ ...record, at: revokedAt, by: null })
  t.equal(await lookup.find(record.digest), 'revoked')
  t.equal(readings.length, 5)
  t.equal(channel.listeners(), 0)
  t.strictSame(lookup.size(), { proved: 0, refused: 0, loads: 0 })
  t.equal(time.waiting(), 0)
})

t.test('what is held is bounded in bytes: of large records fewer are held than of small ones', async (t) => {
  const held = async (fields: Partial<StoredApiKey>, max: number, count: number): Promise<number> => {
    const { store, memory } = scriptedStore()
    const lookup = createLookup(settingsFor(store, { cache: { max, ttl: 30 } }), fakeTime())
    for (let index = 0; index < count; index++) {
      const { record } = newRecord(fields)
      memory.create(record, Infinity)
      t.equal(keyIdOf(await lookup.find(record.digest)), record.keyId)
    }
    return lookup.size().proved
  }
  const large = { scopes: Array.from({ length: 100 }, (_, index) => `${index}`.padEnd(128, 'x')), metadata: { text: 'x'.repeat(4000) } }
  t.equal(await held({}, 100, 200), 100)
  // Each takes its 17.8 kB and 1 kB for what is held with it, out of 4096 bytes for each of the 100 entries.
  t.equal(await held(large, 100, 200), 21)
  // A cache of one entry still has room for a record of any size.
  t.equal(await held({ ...large, metadata: { text: 'x'.repeat(48_000) } }, 1, 3), 1)
})

t.test('a clock that returns no number holds nothing and finds keys with an expiry expired', async (t) => {
  for (const now of [NaN, undefined, Promise.resolve(4e12), 'now']) {
    const { store, memory, readings } = scriptedStore()
    const [limited, open] = [newRecord({ expiresAt: '2099-01-01T00:00:00.000Z' }).record, newRecord().record]
    memory.create(limited, Infinity)
    memory.create(open, Infinity)
    const lookup = createLookup(settingsFor(store), { ...fakeTime(), clock: () => now as number })
    t.equal(await lookup.find(limited.digest), 'expired')
    t.equal(await lookup.find(limited.digest), 'expired')
    await lookup.find(open.digest)
    await lookup.find(open.digest)
    t.equal(readings.length, 4, 'each is read each time')
    lookup.close()
  }
})

t.test('a reading whose clock fails leaves no rejection behind, and a sweep whose clock fails forgets everything', async (t) => {
  const faults = watchProcess(t)
  const { record } = newRecord()
  const { store, memory, readings } = scriptedStore({ manual: true })
  memory.create(record, Infinity)
  const time = fakeTime()
  let failsAt = Infinity
  let calls = 0
  const lookup = createLookup(settingsFor(store), { ...time, clock () { if (++calls >= failsAt) throw new Error('no clock'); return time.now } })
  for (failsAt of [1, 2, 3, 4]) {
    calls = 0
    const rejected = t.rejects(new Promise((resolve) => { resolve(lookup.find(record.digest)) }))
    await settle()
    for (const reading of readings.splice(0)) reading.fail(new Error('down'))
    await rejected
  }
  failsAt = Infinity
  const found = lookup.find(record.digest)
  readings.splice(0)[0]!.answer(record)
  t.equal(keyIdOf(await found), record.keyId)
  t.equal(lookup.size().proved, 1)
  failsAt = 0
  time.pass(30_000)
  t.equal(lookup.size().proved, 0)
  await settle()
  t.strictSame(faults, [])
})

t.test('a store whose answer throws when it is waited for is unavailable', async (t) => {
  const { record } = newRecord()
  const store = new MemoryApiKeyStore()
  const thenable = { then () { throw new Error('no promise') } } as unknown as Promise<null>
  const lookup = createLookup(settingsFor(Object.assign(store, { findByDigest: () => thenable })), fakeTime())
  await t.rejects(async () => await lookup.find(record.digest), { code: 'AUTH_STORE_UNAVAILABLE' })
  await t.rejects(askStore(() => thenable, 2, fakeTime().timers), { code: 'AUTH_STORE_UNAVAILABLE' })
})
