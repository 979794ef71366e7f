// Outsiders' invented keys before a database that is far away, next to a customer whose key is cached.
import t from 'tap'
import pg from 'pg'
import { createApiKeys } from '../../lib/api-key/manage.js'
import { createKeyVerifier } from '../../lib/api-key/verify.js'
import { PostgresApiKeyStore } from '../../lib/postgres/index.js'
import { newRecord } from '../api-key/record-fixture.js'
import { settingsFor } from '../api-key/scripted-store.js'
import { postgres, postgresMissing } from '../fixtures/services.js'
import { tcpProxy } from '../fixtures/tcp-proxy.js'
import { openStore, ownPool, ownSchema, until } from './open-store.js'

t.setTimeout(120_000)
const skip = await postgresMissing()

t.test('threat 36: 2,500 invented keys a second before a database 10 ms away take neither the cache nor the management from those who have keys', { skip }, async (t) => {
  const line = await tcpProxy(postgres.host, postgres.port)
  t.teardown(() => line.close())
  const schema = ownSchema(t)
  const config = { ...postgres, host: '127.0.0.1', port: line.port }
  const store = new PostgresApiKeyStore({ pool: ownPool(t, { ...config, max: 10 }), schema, listener: () => new pg.Client(config) })
  t.teardown(() => store.close())
  const tools = { clock: Date.now, randomBytes: (size: number) => crypto.getRandomValues(new Uint8Array(size)), timers: globalThis as never }
  const verifier = createKeyVerifier(settingsFor(store), tools)
  t.teardown(() => verifier.close())
  const apiKeys = createApiKeys(settingsFor(store), tools)
  const [customer, doomed, quiet] = await Promise.all(['a', 'b', 'c'].map((name) => apiKeys.create({ tenantId: 'ten_A', name })))
  await until(() => store.invalidation?.healthy === true, 'the channel is healthy')
  for (const key of [customer, doomed]) await verifier.verify(key?.plaintextKey ?? '')
  line.delay(5)

  const flood = { on: true }
  const seen = new Map<string, number>()
  const outsider = async (): Promise<void> => {
    while (flood.on) {
      const reason = await (async () => verifier.verify(newRecord().key))().catch((error: { reason: string }) => error.reason)
      seen.set(`${reason}`, (seen.get(`${reason}`) ?? 0) + 1)
      // A rejected client that asks again at once would only measure this machine.
      await new Promise((resolve) => setTimeout(resolve, 600))
    }
  }
  const outsiders = Array.from({ length: 1_500 }, outsider)
  await new Promise((resolve) => setTimeout(resolve, 1_000))
  const asked = { atOnce: 0, later: 0, rejected: 0 }
  for (const end = performance.now() + 2_000; performance.now() < end;) {
    try {
      const answer = verifier.verify(customer?.plaintextKey ?? '')
      if (answer instanceof Promise) asked.later++
      else asked.atOnce++
      await answer
    } catch {
      asked.rejected++
    }
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
  t.equal(await apiKeys.revoke({ tenantId: 'ten_A', keyId: doomed?.keyId ?? '' }), 'revoked', 'a key can be revoked')
  await t.rejects(async () => verifier.verify(doomed?.plaintextKey ?? ''), { code: 'AUTH_API_KEY_INVALID', reason: 'revoked' })
  t.match(await apiKeys.list({ tenantId: 'ten_A' }), { keys: { length: 3 } })
  flood.on = false
  await Promise.all(outsiders)
  t.comment(`the customer: ${JSON.stringify(asked)}; outsiders: ${JSON.stringify(Object.fromEntries(seen))}`)
  t.equal(asked.rejected, 0, 'the customer is never rejected')
  t.ok(asked.atOnce > asked.later, 'and mostly answered from memory')
  t.strictSame([...seen.keys()].filter((reason) => !['unknown', 'rejected', 'time-limit', 'unreachable'].includes(reason)), [], 'outsiders are unknown, or asked to come back')
  t.ok((seen.get('rejected') ?? 0) > 0, 'those over the budget alone are asked to come back')
  t.equal((await verifier.verify(quiet?.plaintextKey ?? '')).keyId, quiet?.keyId, 'and a key that was not known here works')
})

t.test('look-ups leave a connection of the pool to management, and those of unknown digests leave half of it to the others', { skip }, async (t) => {
  const schema = ownSchema(t)
  const store = openStore(t, schema, { config: { max: 4 } })
  await store.ready()
  const { record } = newRecord()
  await store.create(record, 5)
  // Nobody is answered while this lasts, but for who does not ask for the keys.
  const locker = await ownPool(t).connect()
  await locker.query(`begin; lock table ${schema}.api_key in access exclusive mode`)
  const unknown = Array.from({ length: 20 }, () => store.findByDigest(newRecord().record.digest, { known: false }))
  await until(() => store.pool.totalCount - store.pool.idleCount === 2, 'two are asked')
  t.equal(store.pool.waitingCount, 0)
  const known = Array.from({ length: 20 }, () => store.findByDigest(record.digest, { known: true }))
  await until(() => store.pool.totalCount - store.pool.idleCount === 3, 'and one more')
  t.equal(store.pool.waitingCount, 0)
  t.strictSame((await store.pool.query('select 1 as one')).rows, [{ one: 1 }], 'the last connection is free')
  await locker.query('rollback')
  locker.release()
  t.strictSame(new Set(await Promise.all(unknown)), new Set([null]))
  t.equal((await Promise.all(known)).every((found) => found?.keyId === record.keyId), true)
})
