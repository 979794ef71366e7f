import t from 'tap'
import { migrationsSql } from '../../lib/postgres/index.js'
import { newRecord } from '../api-key/record-fixture.js'
import { postgresMissing } from '../fixtures/services.js'
import { openStore, ownPool, ownSchema } from './open-store.js'

const skip = await postgresMissing()

t.test('eight first starts at once make the tables once', { skip }, async (t) => {
  const schema = ownSchema(t)
  const stores = Array.from({ length: 8 }, (_, index) => openStore(t, schema, { config: { max: 1 }, prefix: index % 2 ? 'b_' : 'a_' }))
  await Promise.all(stores.map((store) => store.ready()))
  const { rows } = await ownPool(t).query(`select version from ${schema}.a_migration union all select version from ${schema}.b_migration`)
  t.strictSame(rows.map(({ version }) => version).sort(), [1, 1, 2, 2])
  for (const store of stores) t.equal(await store.findByDigest('0'.repeat(64)), null)
})

t.test('without the tables, check refuses every call with the mend and changes nothing; once they are there, it works', { skip }, async (t) => {
  const schema = ownSchema(t)
  const pool = ownPool(t)
  const store = openStore(t, schema, { migrate: 'check' })
  const { record } = newRecord()
  const calls: Array<() => Promise<unknown>> = [() => store.ready(), async () => store.findByDigest(record.digest), () => store.create(record, 1), async () => store.get(record), () => store.touch([{ keyId: 'a', usedAt: record.createdAt }])]
  for (const call of calls) {
    await t.rejects(call(), { code: 'AUTH_CONFIG_STORE', message: /at version 0 and have to be at 2\. Run the SQL of migrationsSql\(\), or use migrate: 'auto'/ })
  }
  t.strictSame((await pool.query('select to_regnamespace($1) as found', [schema])).rows, [{ found: null }])
  await pool.query(migrationsSql({ schema }))
  t.equal(await store.create(record, 1), 'created')
})

t.test('the printed SQL makes what the store makes, and running it again changes nothing', { skip }, async (t) => {
  const [printed, made] = [ownSchema(t), ownSchema(t)]
  const pool = ownPool(t)
  await pool.query(migrationsSql({ schema: printed, prefix: 'x_' }))
  await openStore(t, made, { prefix: 'x_' }).ready()
  const shape = async (schema: string) => {
    const ask = async (sql: string) => (await pool.query(sql, [schema])).rows.map((row) => JSON.stringify(row).replaceAll(schema, 'S'))
    return [
      ...await ask('select table_name, column_name, data_type, collation_name, is_nullable, column_default from information_schema.columns where table_schema = $1 order by 1, 2'),
      ...await ask('select indexdef from pg_indexes where schemaname = $1 order by 1'),
      ...await ask('select pg_get_triggerdef(t.oid) as def, tgenabled from pg_trigger t join pg_class c on c.oid = tgrelid where relnamespace = $1::regnamespace and not tgisinternal order by 1'),
      ...await ask('select pg_get_functiondef(oid) as def from pg_proc where pronamespace = $1::regnamespace order by 1'),
      ...await ask('select pg_get_constraintdef(oid) as def from pg_constraint where connamespace = $1::regnamespace order by 1')
    ]
  }
  const expected = await shape(made)
  t.strictSame(await shape(printed), expected)
  const store = openStore(t, printed, { prefix: 'x_', migrate: 'check' })
  const { record } = newRecord()
  await store.create(record, 1)
  await pool.query(migrationsSql({ schema: printed, prefix: 'x_' }))
  t.strictSame(await shape(printed), expected)
  t.strictSame(await store.findByDigest(record.digest), record)
})

t.test('a role that may create nothing starts on tables that are there', { skip }, async (t) => {
  const schema = ownSchema(t)
  const pool = ownPool(t, { max: 1 })
  const role = `${schema}_role`
  await openStore(t, schema).ready()
  await pool.query(`create role ${role}; grant usage on schema ${schema} to ${role}; grant select, insert, update on ${schema}.api_key to ${role}; grant select on ${schema}.migration to ${role}`)
  const store = openStore(t, schema, { config: { options: `-c role=${role}` } })
  const { record } = newRecord()
  t.equal(await store.create(record, 1), 'created')
  t.equal(await store.revoke({ tenantId: record.tenantId, keyId: record.keyId, at: record.createdAt, by: null }), 'revoked')
  await store.close()
  await store.pool.query('reset role')
  await pool.query(`drop owned by ${role}; drop role ${role}`)
})

t.test('a database that could not be migrated once is asked again', { skip }, async (t) => {
  const schema = ownSchema(t)
  const pool = ownPool(t)
  let down = true
  const store = openStore(t, schema, {
    pool: {
      query: (statement) => down ? Promise.reject(new Error('down')) : pool.query(statement),
      connect: () => pool.connect()
    }
  })
  await t.rejects(store.ready(), { message: 'down' })
  await t.rejects(async () => store.findByDigest('0'.repeat(64)), { message: 'down' })
  down = false
  t.equal(await store.findByDigest('0'.repeat(64)), null)
})

t.test('a name that would have to be escaped is refused in the printed SQL as well', async (t) => {
  t.throws(() => migrationsSql({ schema: "a'; drop" }), { code: 'AUTH_CONFIG_OPTION' })
  t.match(migrationsSql(), /create schema if not exists "causeflow_auth"/)
})
