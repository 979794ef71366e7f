// Several processes on one database, and what goes wrong between them.
import t from 'tap'
import { createHash } from 'node:crypto'
import { newRecord } from '../api-key/record-fixture.js'
import { forkServer, lastAccepted, warm, type ForkedServer } from '../fixtures/fork-server.js'
import { postgres, postgresMissing } from '../fixtures/services.js'
import { tcpProxy } from '../fixtures/tcp-proxy.js'
import { openStore, ownPool, ownSchema, until } from './open-store.js'

t.setTimeout(170_000)
const skip = await postgresMissing()
// What is promised: no request that is sent later than this after a revocation was acknowledged is accepted.
const promised = 250
const rounds = 100

t.test('processes that share a database', { skip, timeout: 170_000 }, async (t) => {
  const schema = ownSchema(t)
  const pool = ownPool(t)
  const [poolLine, listenerLine] = [await tcpProxy(postgres.host, postgres.port), await tcpProxy(postgres.host, postgres.port)]
  t.teardown(async () => {
    await poolLine.close()
    await listenerLine.close()
  })
  // Together, on a schema that is not there: three first starts that race to make it.
  const [one, two, three] = await Promise.all([
    forkServer(t, { schema }),
    forkServer(t, { schema, quota: 5 }),
    forkServer(t, { schema, quota: 5, poolPort: poolLine.port, listenerPort: listenerLine.port })
  ])
  const all = [one, two, three]
  const made = async (fields: object = {}) => (await one.call('POST', '/create', { body: fields })).body as { keyId: string, plaintextKey: string }
  const works = async (key: string) => { t.strictSame(await Promise.all(all.map((server) => server.who(key))), [200, 200, 200], 'works everywhere') }
  const healthy = async () => { for (const server of all) await until(async () => (await server.state()).healthy === true, 'every process hears itself') }
  /** How long after a revocation each process still accepted, with the key in the memory of all of them. */
  async function after (servers: ForkedServer[], key: string, revoke: () => Promise<unknown>): Promise<number[]> {
    await Promise.all(servers.map((server) => warm(server, key)))
    const polls = servers.map((server) => lastAccepted(server, key))
    await revoke()
    const acknowledged = performance.now()
    return (await Promise.all(polls)).map((last) => Math.max(0, last - acknowledged))
  }
  await healthy()

  await t.test(`threat 15: revoked in one process, refused in the others within ${promised} ms, ${rounds} times`, { timeout: 120_000 }, async (t) => {
    const late: number[] = []
    for (let round = 0; round < rounds; round++) {
      const { keyId, plaintextKey } = await made()
      const [here, ...elsewhere] = await after(all, plaintextKey, async () => {
        t.strictSame((await one.call('POST', '/revoke', { body: { tenantId: 'ten_A', keyId } })).body, { answer: 'revoked' })
      })
      t.equal(here, 0, 'where it was revoked, at once')
      late.push(...elsewhere)
    }
    late.sort((a, b) => a - b)
    t.comment(`accepted after the acknowledgement: median ${late[rounds]?.toFixed(1)} ms, latest ${late.at(-1)?.toFixed(1)} ms`)
    t.ok((late.at(-1) ?? Infinity) < promised)
  })

  await t.test('an UPDATE or DELETE by hand counts as well, and so does a TRUNCATE', { timeout: 120_000 }, async (t) => {
    for (const sql of ['update S.api_key set revoked_at = now() where key_id = $1', 'delete from S.api_key where key_id = $1', "update S.api_key set tenant_id = 'ten_B', digest = sha256('other') where key_id = $1"]) {
      const { keyId, plaintextKey } = await made()
      const late = await after(all, plaintextKey, () => pool.query(sql.replace('S', schema), [keyId]))
      t.ok(Math.max(...late) < promised, sql)
    }
    const { plaintextKey } = await made()
    const late = await after(all, plaintextKey, () => pool.query(`truncate ${schema}.api_key`))
    t.ok(Math.max(...late) < promised, 'truncate')
  })

  await t.test('a change that was rolled back takes nothing away', { timeout: 120_000 }, async () => {
    const { keyId, plaintextKey } = await made()
    await Promise.all(all.map((server) => warm(server, plaintextKey)))
    const client = await pool.connect()
    await client.query('begin')
    await client.query(`update ${schema}.api_key set revoked_at = now() where key_id = $1`, [keyId])
    await works(plaintextKey)
    await client.query('rollback')
    client.release()
    await works(plaintextKey)
  })

  await t.test('a listening connection is killed, and the revocation that follows is not missed', { timeout: 120_000 }, async (t) => {
    const { name } = await two.state()
    for (let round = 0; round < 5; round++) {
      const { keyId, plaintextKey } = await made()
      const late = await after([two], plaintextKey, async () => {
        const killed = await pool.query('select pg_terminate_backend(pid) as done from pg_stat_activity where application_name = $1', [`${name}-listener`])
        // False for the second where the process has ended it by then, because of the first.
        t.match(killed.rows, [{ done: true }, { done: Boolean }], 'the one that receives and the one that sends')
        await one.call('POST', '/revoke', { body: { tenantId: 'ten_A', keyId } })
      })
      t.ok(Math.max(...late) < promised, `${late}`)
      await until(async () => (await two.state()).healthy === true, 'it listens again')
    }
  })

  await t.test('the network of the listening connection swallows everything, unseen, and no revoked key works on', { timeout: 120_000 }, async (t) => {
    const { keyId, plaintextKey } = await made()
    const kept = await made()
    const late = await after([three], plaintextKey, async () => {
      listenerLine.freeze()
      await one.call('POST', '/revoke', { body: { tenantId: 'ten_A', keyId } })
    })
    t.ok(Math.max(...late) < promised, `${late}`)
    t.equal((await three.state()).healthy, false)
    t.equal(await three.who(kept.plaintextKey), 200, 'the database is asked instead')
    listenerLine.thaw()
    await healthy()
    await warm(three, kept.plaintextKey)
  })

  await t.test('threat 16: the database is out of reach: 503 within the deadline, never a stale yes, and then well again', { timeout: 120_000 }, async (t) => {
    const { keyId, plaintextKey } = await made()
    const kept = await made()
    await warm(three, plaintextKey)
    poolLine.freeze()
    listenerLine.freeze()
    await one.call('POST', '/revoke', { body: { tenantId: 'ten_A', keyId } })
    const revoked = performance.now()
    const statuses: Array<{ status: number, sent: number, took: number }> = []
    while (performance.now() - revoked < 3000) {
      await Promise.all([plaintextKey, kept.plaintextKey].map(async (key) => {
        const sent = performance.now()
        const status = await three.who(key)
        statuses.push({ status, sent: sent - revoked, took: performance.now() - sent })
      }))
    }
    t.strictSame(statuses.filter(({ status, sent }) => sent >= promised && status !== 503), [], 'only 503 once the lease is over')
    t.ok(Math.max(...statuses.map(({ took }) => took)) < 2500, 'none waits longer than the 2 s and a little')
    poolLine.thaw()
    listenerLine.thaw()
    await until(async () => await three.who(kept.plaintextKey) === 200, 'it is well again')
    t.equal(await three.who(plaintextKey), 401)
    await healthy()
    poolLine.cut()
    listenerLine.cut()
    await until(async () => await three.who(kept.plaintextKey) === 200, 'and after every connection broke')
    await healthy()
  })

  await t.test('a key that was refused before it was made works at once when it is', { timeout: 120_000 }, async (t) => {
    const { key, record } = newRecord()
    t.strictSame(await Promise.all(all.map((server) => server.who(key))), [401, 401, 401])
    const store = openStore(t, schema)
    await store.create(record, Infinity)
    const created = performance.now()
    for (const server of all) {
      let sent
      do sent = performance.now()
      while (await server.who(key) !== 200)
      t.ok(sent - created < promised, 'the refusal that was held is forgotten')
    }
  })

  await t.test('a rotation without an overlap stops the old key everywhere; with one, both work', { timeout: 120_000 }, async (t) => {
    const old = await made()
    let answer: Record<string, unknown> = {}
    const late = await after([two, three], old.plaintextKey, async () => {
      answer = (await one.call('POST', '/rotate', { body: { tenantId: 'ten_A', keyId: old.keyId } })).body
    })
    t.ok(Math.max(...late) < promised)
    await works(answer['plaintextKey'] as string)
    const { body } = await two.call('POST', '/rotate', { body: { tenantId: 'ten_A', keyId: answer['keyId'], overlap: 3600 } })
    await works(body['plaintextKey'] as string)
    await works(answer['plaintextKey'] as string)
  })

  await t.test('threat 18: twenty creations at once in two processes fill a quota of five exactly', { timeout: 120_000 }, async (t) => {
    const answers = await Promise.all(Array.from({ length: 20 }, (_, index) => (index % 2 ? two : three).call('POST', '/create', { body: { tenantId: 'ten_Q' } })))
    t.strictSame(answers.map(({ status }) => status).sort(), [...Array(5).fill(200), ...Array(15).fill(429)])
    const { rows } = await pool.query(`select count(*)::int as kept from ${schema}.api_key where tenant_id = 'ten_Q'`)
    t.strictSame(rows, [{ kept: 5 }])
  })

  await t.test('threat 30: a closed application ends by itself, nothing of the store holds it', { timeout: 120_000 }, async (t) => {
    t.equal(await two.end(), 0)
  })

  await t.test('only digests are in the table', { timeout: 120_000 }, async (t) => {
    const { plaintextKey } = await made({ tenantId: 'ten_D' })
    const { rows } = await pool.query(`select k::text as line, encode(digest, 'hex') as digest from ${schema}.api_key as k where tenant_id = 'ten_D'`)
    t.notOk(rows[0].line.includes(plaintextKey))
    t.equal(rows[0].digest, createHash('sha256').update(plaintextKey).digest('hex'))
  })
})
