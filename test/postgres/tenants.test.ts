// One tenant's calls of management next to another tenant's requests, on the connections of one pool.
import t from 'tap'
import pg from 'pg'
import { createApiKeys } from '../../lib/api-key/manage.js'
import { createKeyVerifier } from '../../lib/api-key/verify.js'
import { PostgresApiKeyStore } from '../../lib/postgres/index.js'
import { readNames } from '../../lib/postgres/names.js'
import { newRecord } from '../api-key/record-fixture.js'
import { settingsFor } from '../api-key/scripted-store.js'
import { postgres, postgresMissing } from '../fixtures/services.js'
import { tcpProxy } from '../fixtures/tcp-proxy.js'
import { openStore, ownPool, ownSchema, until } from './open-store.js'

t.setTimeout(120_000)
const skip = await postgresMissing()
const inUse = ({ totalCount, idleCount, waitingCount }: pg.Pool): number => totalCount - idleCount + waitingCount
const reasonOf = (call: Promise<unknown>): Promise<unknown> => call.catch((error: { reason?: string }) => error.reason ?? error)

t.test('300 parallel creations of a tenant whose lock another process holds wait for one connection, and none of them is made later', { skip }, async (t) => {
  const schema = ownSchema(t)
  const store = openStore(t, schema, { config: { max: 10 }, timeLimit: 2 })
  await store.ready()
  const { record } = newRecord({ tenantId: 'ten_B' })
  await store.create(record, 5)
  const locker = await ownPool(t).connect()
  await locker.query('begin')
  await locker.query('select pg_advisory_xact_lock(hashtextextended($1, 0))', [`causeflow-auth:tenant:${readNames({ schema }).lock}:ten_A`])

  const creations = Array.from({ length: 300 }, () => reasonOf(store.create(newRecord({ tenantId: 'ten_A' }).record, Infinity)))
  await new Promise((resolve) => setTimeout(resolve, 200))
  t.equal(inUse(store.pool), 1, 'one connection waits for the lock')
  const asked = performance.now()
  t.equal((await store.findByDigest(record.digest))?.keyId, record.keyId)
  t.equal(await store.create(newRecord({ tenantId: 'ten_B' }).record, 5), 'created', 'other tenants create keys')
  t.equal(await store.revoke({ ...record, at: '2026-02-01T00:00:00.000Z', by: null }), 'revoked', 'and revoke them')
  t.match(await store.list({ tenantId: 'ten_A', cursor: null, limit: 5 }), { records: [] }, 'and the tenant lists its own')
  const waited = performance.now() - asked
  t.ok(waited < 1000, `${Math.round(waited)} ms`)

  const reasons = await Promise.all(creations)
  t.equal(reasons.filter((reason) => reason === 'created').length, 0)
  t.ok(reasons.filter((reason) => reason === 'rejected').length >= 295, 'those that waited are rejected with 503')
  await locker.query('rollback')
  locker.release()
  await until(() => inUse(store.pool) === 0, 'nothing runs any more')
  t.match(await store.list({ tenantId: 'ten_A', cursor: null, limit: 5 }), { records: [] }, 'what was rejected is not made later')
  t.equal(await store.create(newRecord({ tenantId: 'ten_A' }).record, 5), 'created')
})

t.test('readings of 60 tenants that all hang take half of the connections', { skip }, async (t) => {
  const schema = ownSchema(t)
  const store = openStore(t, schema, { config: { max: 10 }, timeLimit: 10 })
  await store.ready()
  const locker = await ownPool(t).connect()
  await locker.query(`begin; lock table ${schema}.api_key in access exclusive mode`)
  const one = Array.from({ length: 300 }, () => reasonOf(store.list({ tenantId: 'ten_A', cursor: null, limit: 5 })))
  await new Promise((resolve) => setTimeout(resolve, 100))
  t.equal(inUse(store.pool), 2, 'of one tenant two run')
  const others = Array.from({ length: 60 }, (_, index) => reasonOf(Promise.resolve(store.get({ tenantId: `ten_${index}`, keyId: 'key_1' }))))
  others.push(reasonOf(store.touch([{ keyId: 'key_1', usedAt: '2026-02-01T00:00:00.000Z' }])))
  others.push(reasonOf(store.revokeAll({ tenantId: 'ten_B', createdBefore: null, at: '2026-02-01T00:00:00.000Z', by: null })))
  await new Promise((resolve) => setTimeout(resolve, 100))
  t.equal(inUse(store.pool), 5)
  t.strictSame((await store.pool.query('select 1 as one')).rows, [{ one: 1 }])
  await locker.query('rollback')
  locker.release()
  t.strictSame(await Promise.all(others), [...Array.from({ length: 60 }, () => null), undefined, []])
  t.strictSame((await Promise.all(one)).filter((page) => page === 'rejected'), [])
})

t.test('threat 35: 300 parallel creations of one tenant before a database 10 ms away neither slow nor reject the requests of another', { skip }, async (t) => {
  const line = await tcpProxy(postgres.host, postgres.port)
  t.teardown(() => line.close())
  const config = { ...postgres, host: '127.0.0.1', port: line.port }
  const pool = ownPool(t, { ...config, max: 10 })
  const store = new PostgresApiKeyStore({ pool, schema: ownSchema(t), listener: () => new pg.Client(config) })
  t.teardown(() => store.close())
  const tools = { clock: Date.now, randomBytes: (size: number) => crypto.getRandomValues(new Uint8Array(size)), timers: globalThis as never }
  const settings = settingsFor(store, { quota: 1000 })
  const verifier = createKeyVerifier(settings, tools)
  t.teardown(() => verifier.close())
  const apiKeys = createApiKeys(settings, tools)
  const { plaintextKey } = await apiKeys.create({ tenantId: 'ten_B', name: 'b' })
  const unused = await apiKeys.create({ tenantId: 'ten_B', name: 'unused' })
  await until(() => store.invalidation?.healthy === true, 'the channel is healthy')
  await verifier.verify(plaintextKey)
  line.delay(5)

  const creations = Array.from({ length: 300 }, (_, index) => reasonOf(apiKeys.create({ tenantId: 'ten_A', name: `${index}` }).then(() => 'created')))
  const asked = { slowest: 0, count: 0, rejected: 0, most: 0 }
  for (const end = performance.now() + 2_500; performance.now() < end;) {
    const began = performance.now()
    await (async () => verifier.verify(plaintextKey))().catch(() => { asked.rejected++ })
    asked.count++
    asked.slowest = Math.max(asked.slowest, Math.round(performance.now() - began))
    asked.most = Math.max(asked.most, inUse(pool))
    if (asked.count === 10) t.match(await reasonOf((async () => verifier.verify(unused.plaintextKey))()), { keyId: unused.keyId }, 'a key that was not used before works')
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
  const outcomes = new Map<unknown, number>()
  for (const outcome of await Promise.all(creations)) outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1)
  t.comment(`the other tenant: ${JSON.stringify(asked)}; creations: ${JSON.stringify(Object.fromEntries(outcomes))}`)
  t.equal(asked.rejected, 0)
  t.ok(asked.slowest < 500, `${asked.slowest} ms`)
  t.ok(asked.most <= 7, `${asked.most} connections`)
  t.ok((outcomes.get('created') ?? 0) > 0, 'the tenant creates keys meanwhile')
  t.strictSame([...outcomes.keys()].filter((outcome) => outcome !== 'created' && outcome !== 'rejected' && outcome !== 'time-limit'), [])
})
