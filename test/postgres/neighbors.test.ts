// Roles of the same database that have no right to the tables: NOTIFY and LISTEN need none.
import t, { type Test } from 'tap'
import pg from 'pg'
import { randomBytes } from 'node:crypto'
import { createKeyVerifier } from '../../lib/api-key/verify.js'
import { migrationsSql } from '../../lib/postgres/index.js'
import { createReader, readNotificationSecret } from '../../lib/postgres/notification.js'
import type { KeyChange } from '../../lib/api-key/invalidation.js'
import { newRecord } from '../api-key/record-fixture.js'
import { settingsFor } from '../api-key/scripted-store.js'
import { postgres, postgresMissing } from '../fixtures/services.js'
import { openStore, ownPool, ownSchema, until } from './open-store.js'

t.setTimeout(120_000)
const skip = await postgresMissing()
const at = '2026-02-01T00:00:00.000Z'

/** A connection as a role that may connect, and nothing else. */
async function nobody (t: Test): Promise<pg.Client> {
  const owner = new pg.Client(postgres)
  await owner.connect()
  const role = `cf_nobody_${randomBytes(6).toString('hex')}`
  await owner.query(`create role ${role} nosuperuser`)
  const client = new pg.Client({ ...postgres, options: `-c role=${role}` })
  await client.connect()
  t.teardown(async () => {
    await client.end()
    await owner.query(`drop owned by ${role}; drop role ${role}`)
    await owner.end()
  })
  return client
}

function listenTo (store: ReturnType<typeof openStore>): Array<KeyChange | 'reset'> {
  const heard: Array<KeyChange | 'reset'> = []
  store.invalidation?.subscribe({ onInvalidated: (change) => heard.push(change), onReset: () => heard.push('reset') })
  return heard
}

/** The row that the triggers read, as the owner sees it. */
async function secretOf (pool: pg.Pool, schema: string): Promise<{ channel: string, secret: string }> {
  return (await pool.query(`select channel, encode(secret, 'hex') as secret from ${schema}.notification`)).rows[0]
}

t.test('threat 36: a role that may only connect receives no digest, cannot find the channel of the triggers, and is not listened to', { skip }, async (t) => {
  const schema = ownSchema(t)
  const store = openStore(t, schema)
  const heard = listenTo(store)
  await until(() => store.invalidation?.healthy === true, 'it is healthy')
  const { record, key } = newRecord()
  const verifier = createKeyVerifier(settingsFor(store), { clock: Date.now, randomBytes, timers: globalThis as never })
  t.teardown(() => verifier.close())
  const role = await nobody(t)
  const received: string[] = []
  role.on('notification', ({ payload = '' }) => received.push(payload))
  await role.query(`listen "${schema}.api_key"`)
  for (const sql of [`select * from ${schema}.notification`, `select ${schema}.renew_notification_secret()`, 'create temporary table own (key_id text, digest bytea); create trigger own after insert on own for each row execute function ' + `${schema}.notify_api_key()`]) {
    await t.rejects(role.query(sql), { code: '42501' }, sql)
  }
  await store.create(record, 5)
  await until(() => received.length === 1, 'processes of version 0.1 are told')
  t.strictSame(received.splice(0).map((text) => JSON.parse(text)), [{ keyId: record.keyId, created: true }])
  await verifier.verify(key)
  t.strictSame(heard.splice(0), ['reset', { keyId: record.keyId, created: true }])

  const flood = { on: true }
  const counts = { atOnce: 0, later: 0 }
  const asked = (async () => {
    while (flood.on) {
      const answer = verifier.verify(key)
      if (answer instanceof Promise) counts.later++
      else counts.atOnce++
      t.equal((await answer).keyId, record.keyId)
      await new Promise((resolve) => setTimeout(resolve, 2))
    }
  })()
  for (let round = 0; round < 20; round++) {
    const payloads = [`{"keyId":"${record.keyId}"}`, 'garbage', '', `{"tenantId":"${record.tenantId}"}`]
    await role.query(payloads.map((payload) => `select pg_notify('${schema}.api_key', '${payload}${' '.repeat(round)}')`).join(';'))
  }
  await store.revoke({ tenantId: 'ten_A', keyId: newRecord().record.keyId, at, by: null })
  flood.on = false
  await asked
  t.strictSame(heard, [], 'nothing of it is heard')
  t.ok(counts.atOnce > counts.later, `${JSON.stringify(counts)}`)
  t.equal(store.rejectedNotifications, 0, 'nor is it received')
})

t.test('what is sent on the channel of the triggers by anyone else is counted and changes nothing, also when it is a copy', { skip }, async (t) => {
  const schema = ownSchema(t)
  const store = openStore(t, schema)
  const heard = listenTo(store)
  await until(() => store.invalidation?.healthy === true, 'it is healthy')
  const { channel } = await secretOf(store.pool, schema)
  // As a role that reads the names of channels in the log of the server.
  const role = await nobody(t)
  const received: string[] = []
  role.on('notification', ({ payload = '' }) => received.push(payload))
  await role.query(`listen "${channel}"`)
  const { record } = newRecord()
  await store.create(record, 5)
  await store.revoke({ tenantId: record.tenantId, keyId: record.keyId, at, by: null })
  await until(() => received.length === 2, 'both are sent')
  t.equal(received.join().includes(record.digest), false)
  await until(() => heard.length === 3, 'and received')
  heard.length = 0
  const [created = '', revoked = ''] = received.splice(0)
  const forged = [
    '', 'garbage', '{"keyId":"a"}', `${'0'.repeat(64)} 1 {"keyId":"a"}`, created.replace(/ \d+ /, ' 1 '), created.replace(record.keyId, 'key_OTHER'),
    created.toUpperCase(), `${created} `, revoked.slice(0, 64) + created.slice(64), created, revoked, revoked
  ]
  for (const payload of forged) await role.query('select pg_notify($1, $2)', [channel, payload])
  await store.pool.query(`truncate ${schema}.api_key`)
  await until(() => heard.length > 0, 'what comes after them is received')
  t.strictSame(heard, ['reset'], 'the truncation')
  t.equal(store.rejectedNotifications, forged.length)
  t.equal(store.invalidation?.healthy, true)
})

t.test('every change of a key is sent with a code that its secret verifies, whoever makes it', { skip }, async (t) => {
  const schema = ownSchema(t)
  const store = openStore(t, schema)
  await store.ready()
  const secret = readNotificationSecret(await secretOf(store.pool, schema))
  const read = createReader(secret)
  const listener = new pg.Client(postgres)
  await listener.connect()
  t.teardown(() => listener.end())
  const changes: Array<string | null> = []
  listener.on('notification', ({ payload = '' }) => changes.push(read(payload)))
  await listener.query(`listen "${secret.channel}"`)
  const role = await nobody(t)
  const { rows } = await role.query('select current_user as name')
  await store.pool.query(`grant usage on schema ${schema} to ${rows[0].name}; grant select, update on ${schema}.api_key to ${rows[0].name}`)
  const { record } = newRecord()
  const keyId = record.keyId
  await store.create(record, 5)
  await store.touch([{ keyId, usedAt: at }])
  await role.query(`update ${schema}.api_key set name = 'by hand'`)
  await store.pool.query(`update ${schema}.api_key set digest = sha256('other')`)
  await store.pool.query(`update ${schema}.api_key set key_id = 'key_ü' where key_id = $1`, [keyId])
  await store.pool.query(`delete from ${schema}.api_key`)
  await store.pool.query(`truncate ${schema}.api_key`)
  await until(() => changes.length >= 8, 'they are received')
  t.strictSame(changes.map((change) => change === null || change === '' ? change : JSON.parse(change)), [
    { keyId, created: true }, { keyId }, { keyId, created: true }, { keyId }, { keyId: 'key_ü', created: true }, { keyId }, { keyId: 'key_ü' }, ''
  ])
  await t.rejects(role.query(`select * from ${schema}.notification`), { code: '42501' }, 'who may change keys by hand need not know the secret')
})

t.test('a secret that was renewed is learned: not healthy meanwhile, a reset, and then changes are received', { skip }, async (t) => {
  const schema = ownSchema(t)
  const store = openStore(t, schema)
  const heard = listenTo(store)
  await until(() => store.invalidation?.healthy === true, 'it is healthy')
  const before = await secretOf(store.pool, schema)
  await store.pool.query(`select ${schema}.renew_notification_secret()`)
  const after = await secretOf(store.pool, schema)
  t.notSame(after, before)
  await until(() => store.invalidation?.healthy === false, 'the cache is not used', 5_000)
  await until(() => store.invalidation?.healthy === true, 'it is healthy again', 20_000)
  const { record } = newRecord()
  await store.create(record, 5)
  await until(() => heard.length === 3, 'and receives')
  t.strictSame(heard, ['reset', 'reset', { keyId: record.keyId, created: true }])
})

t.test('without the secret nothing is changed, for nobody would be told', { skip }, async (t) => {
  const schema = ownSchema(t)
  const store = openStore(t, schema)
  const { record } = newRecord()
  await store.create(record, 5)
  await store.pool.query(`delete from ${schema}.notification`)
  await t.rejects(store.revoke({ ...record, at, by: null }), { code: 'P0002' })
  t.equal((await store.findByDigest(record.digest))?.revokedAt, null)
})

t.test('a pool that leads to another database than the listener is never healthy', { skip }, async (t) => {
  const [one, other] = [ownSchema(t), `cf_other_${randomBytes(6).toString('hex')}`]
  const pool = ownPool(t)
  await pool.query(`create database ${other}`)
  t.teardown(async () => {
    const client = new pg.Client(postgres)
    await client.connect()
    await client.query(`drop database ${other} with (force)`)
    await client.end()
  })
  const store = openStore(t, one, { listener: () => new pg.Client({ ...postgres, database: other }) })
  const heard = listenTo(store)
  await new Promise((resolve) => setTimeout(resolve, 1_500))
  t.equal(store.invalidation?.healthy, false)
  t.strictSame(heard, [])
  await store.close()
})

t.test('an older process beside a newer one: tables of version 0.1 are completed, its SQL run again takes nothing away, and both are told', { skip }, async (t) => {
  const schema = ownSchema(t)
  const pool = ownPool(t)
  const steps = migrationsSql({ schema })
  // The file that version 0.1 printed: everything up to its one step.
  const old = `${steps.slice(0, steps.indexOf('values (1) on conflict do nothing;'))}values (1) on conflict do nothing;\n\ncommit;`
  const role = `${schema}_role`
  await pool.query(old)
  await pool.query(`create role ${role}; grant usage on schema ${schema} to ${role}; grant select, insert, update on ${schema}.api_key to ${role}; grant select on ${schema}.migration to ${role}`)
  t.teardown(async () => {
    const client = new pg.Client(postgres)
    await client.connect()
    await client.query(`drop owned by ${role}; drop role ${role}`)
    await client.end()
  })
  const application = openStore(t, schema, { migrate: 'check', config: { options: `-c role=${role}` } })
  await t.rejects(application.ready(), { code: 'AUTH_CONFIG_STORE', message: /at version 1 and have to be at 2/ })
  await pool.query(steps)
  await pool.query(old)
  const heard = listenTo(application)
  await until(() => application.invalidation?.healthy === true, 'the role of the application may read the secret', 20_000)
  const older: string[] = []
  const listener = new pg.Client(postgres)
  await listener.connect()
  t.teardown(() => listener.end())
  listener.on('notification', ({ payload = '' }) => older.push(payload))
  await listener.query(`listen "${schema}.api_key"`)
  const { record } = newRecord()
  t.equal(await application.create(record, 5), 'created')
  t.equal(await application.revoke({ ...record, at, by: null }), 'revoked')
  await until(() => heard.length === 3 && older.length >= 2, 'both are told')
  t.strictSame(heard, ['reset', { keyId: record.keyId, created: true }, { keyId: record.keyId }])
  t.ok(older.some((text) => JSON.parse(text).keyId === record.keyId))
})

t.test('tables without the row, with migrate off: never healthy, and each request asks', { skip }, async (t) => {
  const schema = ownSchema(t)
  await openStore(t, schema).ready()
  await ownPool(t).query(`drop table ${schema}.notification`)
  const store = openStore(t, schema, { migrate: 'off' })
  listenTo(store)
  t.equal(await store.findByDigest('0'.repeat(64)), null)
  await new Promise((resolve) => setTimeout(resolve, 300))
  t.equal(store.invalidation?.healthy, false)
})

t.test('a row that is no secret of notifications is not used', async (t) => {
  const good = { channel: `causeflow_${'a'.repeat(32)}`, secret: 'ab'.repeat(32) }
  t.strictSame(readNotificationSecret(good), good)
  for (const row of [undefined, {}, { ...good, channel: 'a"; drop' }, { ...good, channel: null }, { ...good, secret: 'ab' }, { ...good, secret: 5 }]) {
    t.throws(() => readNotificationSecret(row as never), TypeError)
  }
})

t.test('a thousand notifications are remembered, and the oldest is forgotten first', async (t) => {
  const { createHmac } = await import('node:crypto')
  const secret = { channel: `causeflow_${'a'.repeat(32)}`, secret: 'ab'.repeat(32) }
  const read = createReader(secret)
  const payload = (transaction: number): string => {
    const message = `${transaction} {"keyId":"k\n"}`
    return `${createHmac('sha256', Buffer.from(secret.secret, 'hex')).update(message).digest('hex')} ${message}`
  }
  for (let transaction = 0; transaction < 1_001; transaction++) t.equal(read(payload(transaction)), '{"keyId":"k\n"}')
  t.equal(read(payload(1_000)), null)
  t.equal(read(payload(1)), null)
  t.equal(read(payload(0)), '{"keyId":"k\n"}', 'it only forgets a key that is read again')
})
