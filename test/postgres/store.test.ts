import t from 'tap'
import pg from 'pg'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { createKeyVerifier } from '../../lib/api-key/verify.js'
import { PostgresApiKeyStore } from '../../lib/postgres/index.js'
import { readNames } from '../../lib/postgres/names.js'
import { statementsOn } from '../../lib/postgres/statements.js'
import { fakeTime } from '../api-key/fake-time.js'
import { newRecord } from '../api-key/record-fixture.js'
import { settingsFor } from '../api-key/scripted-store.js'
import { storeContract } from '../api-key/store-contract.js'
import { postgresMissing } from '../fixtures/services.js'
import { openStore, ownPool, ownSchema } from './open-store.js'

setFlagsFromString('--expose-gc')
const collect = runInNewContext('gc') as () => void
t.setTimeout(150_000)

const at = '2026-02-01T00:00:00.000Z'
const skip = await postgresMissing()

t.test('the contract of stores, through two pools', { skip, timeout: 120_000 }, async (t) => {
  const schema = ownSchema(t)
  const store = openStore(t, schema)
  const other = openStore(t, schema, { migrate: 'check' })
  await store.ready()
  storeContract(t, async () => {
    await store.pool.query(`truncate ${schema}.api_key`)
    return { store, other }
  })
})

t.test('without a listener the store has no channel, so nothing positive is cached on its word', { skip }, async (t) => {
  t.equal(new PostgresApiKeyStore({ pool: ownPool(t) }).invalidation, undefined)
})

t.test('the look-up by digest and the list are index scans in a table of 20 000 keys', { skip }, async (t) => {
  const schema = ownSchema(t)
  const store = openStore(t, schema)
  const { pool } = store
  const { record } = newRecord()
  await store.create(record, Infinity)
  await pool.query(`insert into ${schema}.api_key select 'key_' || n, 'ten_' || n % 100, name, prefix, environment, scopes, sha256(n::text::bytea), sealed_secrets,
    created_at, created_by, expires_at, revoked_at, revoked_by, rotated_from, replaced_by, last_used_at, metadata from ${schema}.api_key, generate_series(1, 20000) as n`)
  await pool.query(`analyze ${schema}.api_key`)
  const statements = statementsOn(readNames({ schema }))
  const plan = async (text: string, values: unknown[]): Promise<string> => (await pool.query(`explain ${text}`, values)).rows.map((row) => row['QUERY PLAN']).join('\n')
  // The planner has the choice: nothing is switched off.
  const lookup = await plan(statements.findByDigest, [record.digest])
  t.match(lookup, /Index Scan using api_key_digest_key/)
  t.notMatch(lookup, /Seq Scan/)
  const list = await plan(statements.list, ['ten_7', 'key_5', 51])
  t.match(list, /Index Scan/)
  t.notMatch(list, /Seq Scan/)
})

t.test('a record is read alike whatever type parsers the application has set in its driver', { skip }, async (t) => {
  const schema = ownSchema(t)
  const types = { getTypeParser: (oid: number, format?: 'text' | 'binary') => oid === 25 ? pg.types.getTypeParser(oid, format as 'text') : () => 'parsed otherwise' }
  const store = openStore(t, schema, { config: { types } as pg.PoolConfig, migrate: 'off' })
  await openStore(t, schema).ready()
  const { record } = newRecord({ expiresAt: '2027-01-01T00:00:00.001Z' })
  await store.create(record, Infinity)
  t.strictSame(await store.findByDigest(record.digest), record)
})

t.test('what text cannot hold is not found, is no fault, and never becomes another tenant\'s', { skip }, async (t) => {
  const store = openStore(t, ownSchema(t))
  // A half of a character is sent as U+FFFD: this tenant must not be that one.
  const { record } = newRecord({ tenantId: 'ten_\ufffd' })
  await store.create(record, Infinity)
  for (const tenantId of ['ten_\ud800', 'ten_\0']) {
    t.equal(await store.get({ tenantId, keyId: record.keyId }), null)
    t.strictSame(await store.list({ tenantId, cursor: null, limit: 5 }), { records: [], cursor: null })
    t.equal(await store.list({ tenantId, cursor: record.keyId, limit: 5 }), 'invalid-cursor')
    t.equal(await store.revoke({ tenantId, keyId: record.keyId, at, by: null }), 'not-found')
    t.strictSame(await store.revokeAll({ tenantId, createdBefore: null, at, by: null }), [])
    await t.rejects(store.create(newRecord({ tenantId }).record, Infinity), TypeError)
  }
  t.equal(await store.revoke({ tenantId: record.tenantId, keyId: 'key_\0', at, by: null }), 'not-found')
  t.strictSame(await store.findByDigest(record.digest), record)
  const odd = newRecord({ metadata: { nul: '\0', half: '\ud800', zero: -0, deep: { a: [1e21, 0.1] } } }).record
  await store.create(odd, Infinity)
  t.strictSame(await store.findByDigest(odd.digest), JSON.parse(JSON.stringify(odd)), 'metadata is JSON and holds all of it')
})

t.test('prefixes in one schema are apart, in their keys and in what they tell', { skip }, async (t) => {
  const schema = ownSchema(t)
  const [one, two] = [openStore(t, schema, { prefix: 'one_' }), openStore(t, schema, { prefix: 'two_' })]
  const heard: string[] = []
  two.invalidation?.subscribe({ onInvalidated () { heard.push('change') }, onReset () { heard.push('reset') } })
  while (two.invalidation?.healthy !== true) await new Promise((resolve) => setTimeout(resolve, 5))
  const { record } = newRecord()
  t.equal(await one.create(record, 1), 'created')
  t.equal(await two.findByDigest(record.digest), null)
  t.equal(await two.create(newRecord().record, 1), 'created', 'and so are their quotas')
  while (!heard.includes('change')) await new Promise((resolve) => setTimeout(resolve, 5))
  t.strictSame(heard, ['reset', 'change'], 'one change: its own')
})

t.test('a bad option does not start, and the sentence names the mend', async (t) => {
  const pool = { query: async () => ({ rows: [] }), connect: async () => { throw new Error('not here') } }
  for (const [options, words] of [
    [{}, /pool.*Pool of pg/],
    [{ pool: {} }, /pool.*Pool of pg/],
    [{ pool, listener: new pg.Client() }, /listener.*function that makes a client/],
    [{ pool, schema: 'a"; drop' }, /schema.*lower-case/],
    [{ pool, schema: 'Upper' }, /schema/],
    [{ pool, schema: '' }, /schema/],
    [{ pool, prefix: 'a.b' }, /prefix/],
    [{ pool, migrate: 'yes' }, /'auto', 'check' or 'off'/],
    [{ pool, timeLimit: 0 }, /timeLimit.*seconds/],
    [{ pool, timeLimit: NaN }, /timeLimit.*seconds/],
    [{ pool, clock: 5 }, /clock/],
    [{ pool, timers: {} }, /timers/],
    [{ pool, listner: () => {} }, /no option 'listner'/]
  ] as const) {
    t.throws(() => new PostgresApiKeyStore(options as never), { code: 'AUTH_CONFIG_OPTION', message: words })
  }
})

t.test('who dies or hangs with the lock of a tenant does not hold it for ever', { skip }, async (t) => {
  const schema = ownSchema(t)
  const store = openStore(t, schema)
  await store.ready()
  const names = readNames({ schema })
  const hung = await store.pool.connect()
  hung.on('error', () => {})
  await hung.query('begin')
  await hung.query(statementsOn(names).lockTenant, [`causeflow-auth:tenant:${names.lock}:ten_A`, '400'])
  t.equal(await store.create(newRecord({ tenantId: 'ten_B' }).record, 1), 'created', 'other tenants do not wait')
  const asked = performance.now()
  t.equal(await store.create(newRecord().record, 1), 'created')
  const waited = performance.now() - asked
  t.ok(waited > 100, `it was held, for ${Math.round(waited)} ms`)
  hung.release(true)
})

t.test('threat 19: a flood of distinct bad keys takes no memory that stays', { skip, timeout: 100_000 }, async (t) => {
  const schema = ownSchema(t)
  const store = openStore(t, schema)
  const { key, record } = newRecord()
  await store.create(record, 1)
  const verifier = createKeyVerifier(settingsFor(store), { ...fakeTime(), clock: Date.now, timers: globalThis as never })
  t.teardown(() => verifier.close())
  while (store.invalidation?.healthy !== true) await new Promise((resolve) => setTimeout(resolve, 5))
  const count = Number(process.env['FLOOD'] ?? 4000)
  const flood = async (from: number, to: number) => {
    for (let index = from; index < to; index += 100) {
      const answers = await Promise.all(Array.from({ length: 100 }, async () => {
        try {
          await verifier.verify(newRecord().key)
          return 'accepted'
        } catch (error) {
          return (error as { reason: string }).reason
        }
      }))
      if (answers.some((answer) => answer !== 'unknown')) throw new Error(`${answers}`)
    }
  }
  // The first fill what is bounded: the refusals, the pool, the driver's own.
  await flood(0, count / 2)
  collect()
  const before = process.memoryUsage().heapUsed
  await flood(count / 2, count)
  collect()
  const grown = process.memoryUsage().heapUsed - before
  t.match(verifier.size(), { refused: 1000, loads: 0 })
  t.ok(grown < 3e6, `${Math.round(grown / 1000)} kB more after the second half`)
  t.equal((await verifier.verify(key)).keyId, record.keyId)
})

t.test('what has the query() and connect() of a pool will do, as fastify.pg has', { skip }, async (t) => {
  const schema = ownSchema(t)
  const pool = ownPool(t)
  const shaped: { query: pg.Pool['query'], connect: pg.Pool['connect'] } = { query: pool.query.bind(pool), connect: pool.connect.bind(pool) }
  const store = new PostgresApiKeyStore({ pool: shaped, schema })
  const { record } = newRecord()
  t.equal(await store.create(record, 1), 'created')
  t.strictSame(await store.findByDigest(record.digest), record)
})

t.test('a page of records of an older version, a megabyte each, is not read as a whole', { skip }, async (t) => {
  const schema = ownSchema(t)
  const store = openStore(t, schema)
  const records = Array.from({ length: 6 }, (_, index) => newRecord({ createdAt: new Date(index).toISOString(), scopes: Array.from({ length: 10 }, () => 'x'.repeat(100_000)) }).record).reverse()
  for (const record of records) await store.create(record, Infinity)
  const seen: string[] = []
  const sizes: number[] = []
  let cursor: string | null = null
  do {
    const page = await store.list({ tenantId: 'ten_A', cursor, limit: 100 })
    if (page === 'invalid-cursor') throw new Error('The cursor is of this list')
    seen.push(...page.records.map(({ keyId }) => keyId))
    sizes.push(page.records.length)
    cursor = page.cursor
  } while (cursor !== null)
  t.strictSame(seen, records.map(({ keyId }) => keyId))
  t.strictSame(sizes, [2, 1, 1, 1, 1])
})

t.test('old ended keys are deleted in steps of a hundred, and none where the role may not delete', { skip }, async (t) => {
  const schema = ownSchema(t)
  const store = openStore(t, schema)
  const { pool } = store
  const { record } = newRecord({ revokedAt: at })
  await store.create(record, Infinity)
  await pool.query(`insert into ${schema}.api_key select 'key_0' || lpad(n::text, 5, '0'), tenant_id, name, prefix, environment, scopes, sha256(n::text::bytea), sealed_secrets,
    created_at, created_by, expires_at, revoked_at, revoked_by, rotated_from, replaced_by, last_used_at, metadata from ${schema}.api_key, generate_series(1, 1250) as n`)
  const ended = async (): Promise<number> => Number((await pool.query(`select count(*) from ${schema}.api_key where revoked_at is not null`)).rows[0].count)
  const role = `cf_role_${schema.slice(-12)}`
  await pool.query(`create role ${role} login`)
  t.teardown(async () => {
    await pool.query(`drop owned by ${role}`)
    await pool.query(`drop role ${role}`)
  })
  await pool.query(`grant usage on schema ${schema} to ${role}; grant select, insert, update on ${schema}.api_key to ${role}; grant select on ${schema}.migration to ${role}`)
  const limited = new PostgresApiKeyStore({ pool: ownPool(t, { options: `-c role=${role}` }), schema, migrate: 'check' })
  t.equal(await limited.create(newRecord().record, Infinity), 'created')
  t.equal(await ended(), 1251)
  const left = []
  for (let round = 0; round < 4; round++) {
    t.equal(await store.create(newRecord().record, Infinity), 'created')
    left.push(await ended())
  }
  t.strictSame(left, [1151, 1051, 1000, 1000])
  t.strictSame((await pool.query(`select min(key_id) from ${schema}.api_key`)).rows[0].min, 'key_000252', 'the oldest have gone')
})
