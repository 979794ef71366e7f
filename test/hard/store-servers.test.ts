/**
 * The servers behind the stores stopped, killed, full, and failing over to another in mid-request, under load, while keys are revoked. What was
 * acknowledged is remembered, what fails is answered 503 and has not been acknowledged, and nobody comes in meanwhile.
 */
import t, { type Test } from 'tap'
import { randomUUID } from 'node:crypto'
import pg from 'pg'
import { postgresMissing, programMissing } from '../fixtures/services.js'
import { tcpProxy } from '../fixtures/tcp-proxy.js'
import { ownSchema } from '../postgres/open-store.js'
import { postgresPrograms, privateCluster } from '../postgres/private-cluster.js'
import { hasRedisServer, privateRedis } from '../redis/private-redis.js'
import { ownName } from '../redis/clients.js'
import { startServer, webhookSecret, type HardServer } from './fork.js'
import { long, scaled } from './scale.js'
import { byKey, createClient, delivery, ingest, pause, startTraffic, timeUntil, type Ask, type Client, type Traffic } from './traffic.js'
import { issue, watch, type Issued, type Revoked } from './watch.js'
import { watchProcess } from '../fixtures/process-watch.js'

watchProcess(t)

t.setTimeout(scaled(170_000, 1_800_000))
const unavailable = 'AUTH_STORE_UNAVAILABLE'

interface Drill { traffic: Traffic, recovery: Map<string, string>, refused: () => number, phase (name: string, damage: () => unknown, mend: () => unknown): Promise<void> }

/** Revokes keys before, while and after something is done, and measures how long it takes until all is well again. */
function drill (t: Test, client: Client, server: HardServer, revoker: HardServer, kept: readonly Issued[], revoked: Revoked[], mayForget?: (receivedAt: number) => boolean): Drill {
  const traffic = startTraffic(watch(revoked, kept, mayForget).kinds, [server.port], client)
  t.teardown(() => traffic.stop())
  const recovery = new Map<string, string>()
  const ask = async (request: Ask): Promise<number> => (await client(server.port, request)).status
  let refused = 0

  async function revoke (key: Issued): Promise<boolean> {
    const answer = await revoker.order('revoke', { tenantId: 'ten_A', keyId: key.keyId }).catch((error: Error) => error)
    // What was not acknowledged may be in force or not: nobody has been promised anything.
    if (answer instanceof Error) {
      refused++
      t.equal(answer.message, unavailable)
      return false
    }
    revoked.push({ key, at: performance.now() })
    return true
  }

  return {
    traffic,
    recovery,
    refused: () => refused,
    async phase (name, damage, mend) {
      traffic.phase = name
      const doomed = await Promise.all(Array.from({ length: 4 }, () => issue(revoker)))
      for (const { plaintextKey } of doomed) for (let round = 0; round < 3; round++) await ask(byKey(plaintextKey))
      const [before, ...meanwhile] = doomed as [Issued, ...Issued[]]
      t.ok(await revoke(before), `${name}: revoked right before`)
      await damage()
      const end = performance.now() + scaled(800, 10_000)
      const left = new Set(meanwhile)
      while (performance.now() < end) {
        for (const key of left) {
          if (await revoke(key)) left.delete(key)
          await pause(50)
        }
        await pause(50)
      }
      await mend()
      traffic.phase = 'well again'
      const took = await timeUntil(async () => (await Promise.all([byKey(kept[0]!.plaintextKey), ingest(kept[1]!, 'ten_A'), delivery(webhookSecret, randomUUID())].map(ask))).every((status) => status === 200))
      recovery.set(name, `${Math.round(took)} ms`)
      t.ok(took < 20_000, `${name}: well again after ${Math.round(took)} ms`)
      for (const key of left) await timeUntil(() => revoke(key))
      for (const { plaintextKey } of doomed) t.equal(await ask(byKey(plaintextKey)), 401, 'a revocation is remembered')
      for (const { plaintextKey } of kept) t.equal(await ask(byKey(plaintextKey)), 200, 'and a good key is good')
    }
  }
}

t.test('a database that is stopped, killed, full, and fails over to its standby', { skip: programMissing('PostgreSQL in /usr/lib/postgresql', postgresPrograms() !== null) }, async (t) => {
  const cluster = await privateCluster(t, postgresPrograms() ?? '')
  const config = { host: '127.0.0.1', user: 'postgres', database: 'postgres' }
  const query = async (sql: string, port = cluster.port): Promise<unknown[]> => {
    const one = new pg.Client({ ...config, port })
    one.on('error', () => {})
    try {
      await one.connect()
      return (await one.query(sql)).rows
    } finally {
      await one.end()
    }
  }
  t.ok(await timeUntil(() => query('select 1').then(() => true, () => false)) < 20_000, 'the server has started')
  const line = await tcpProxy('127.0.0.1', cluster.port)
  t.teardown(() => line.close())
  const server = await startServer(t, { jwt: null, postgres: { schema: 'causeflow_auth', poolPort: line.port, listenerPort: line.port, database: 'postgres' }, redis: null })
  await timeUntil(async () => (await server.order('state')).healthy === true)
  const kept = await Promise.all(Array.from({ length: 3 }, () => issue(server)))
  const revoked: Revoked[] = []
  const { traffic, recovery, refused, phase } = drill(t, createClient(t), server, server, kept, revoked)

  await phase('up', () => {}, () => {})
  await phase('stopped, and started', () => cluster.quit(), () => cluster.start())
  for (let round = 1; round <= scaled(2, 15); round++) await phase(`killed, and started, ${round}`, () => cluster.kill(), () => cluster.start())

  // The largest file that a server writes by itself is one of its log, of 16 MiB.
  const limit = 16 * 2 ** 20
  await phase('full', async () => {
    cluster.limitFiles(limit)
    await query('alter table causeflow_auth.api_key disable trigger all')
    const row = "select 'filler_' || gen_random_uuid(), 'ten_filler', repeat('x', 2000), 'cflo_live', 'live', '{}', sha256(gen_random_uuid()::text::bytea), '[]', now(), '{}' from generate_series(1, $)"
    // Until not one more finds room.
    for (let rows = 2000; rows >= 1;) {
      const full = await query(`insert into causeflow_auth.api_key (key_id, tenant_id, name, prefix, environment, scopes, digest, sealed_secrets, created_at, metadata) ${row.replace('$', `${rows}`)}`).then(() => false, (error: Error) => error)
      if (full === false) continue
      t.match(full, { message: /could not extend file|File too large/ })
      rows = Math.floor(rows / 5)
    }
    await query('alter table causeflow_auth.api_key enable always trigger notify_change, enable always trigger notify_truncate')
    // Small ones find room in pages that have some left.
    let made = 0
    const failure = await (async () => { for (; made < 500; made++) await issue(server) })().catch((error: Error) => error)
    t.match(failure, { message: unavailable }, `a key that finds no room is not made, after ${made}`)
  }, () => cluster.limitFiles(null))
  t.equal(traffic.counts.get('full')?.get('good keys')?.get(503), 0, 'who is held or read needs no room')

  const standby = await cluster.standby()
  t.ok(await timeUntil(() => query('select 1', standby.port).then(() => true, () => false)) < 20_000, 'the standby follows')
  // An acknowledgement then means that the standby has it.
  await query("alter system set synchronous_standby_names = '*'")
  await query("alter system set synchronous_commit = 'remote_apply'")
  await query('select pg_reload_conf()')
  t.ok(await timeUntil(async () => (await query("select 1 from pg_stat_replication where sync_state = 'sync'")).length === 1) < 20_000)
  await phase('fails over: read from a standby, which is then promoted', async () => {
    line.lead(standby.port)
    await cluster.kill()
  }, () => standby.promote())
  t.equal((await query('select pg_is_in_recovery() as waiting', standby.port) as Array<{ waiting: boolean }>)[0]?.waiting, false)
  await traffic.stop()

  t.strictSame(traffic.violations.slice(0, 5), [], 'no stranger was served, no revocation forgotten, and every answer was meant')
  t.ok(refused() > 0, `${refused()} revocations were refused with ${unavailable} meanwhile`)
  t.equal(server.child.exitCode, null, 'and the process lives')
  traffic.print(t, `Faults of a PostgreSQL server, ${long ? 'long' : 'CI'} mode: ${traffic.sent} requests, ${revoked.length} revocations acknowledged, ${refused()} tries to revoke refused`, recovery)
})

t.test('a Redis that is stopped, killed, full, and fails over to its replica', { skip: programMissing('redis-server', hasRedisServer()) || await postgresMissing() }, async (t) => {
  const [first, second] = [await privateRedis(t), await privateRedis(t)]
  const line = await tcpProxy('127.0.0.1', first.port)
  t.teardown(() => line.close())
  const schema = ownSchema(t)
  // Deliveries are remembered there, and changes of keys are told there.
  const redis = { url: `redis://127.0.0.1:${line.port}`, prefix: `${ownName()}:`, channel: true }
  const [hurt, other] = await Promise.all([startServer(t, { jwt: null, postgres: { schema }, redis }), startServer(t, { jwt: null, postgres: { schema }, redis })])
  for (const server of [hurt, other]) await timeUntil(async () => (await server.order('state')).healthy === true)
  const kept = await Promise.all(Array.from({ length: 3 }, () => issue(other)))
  const revoked: Revoked[] = []
  let killedAt = Infinity
  let forgotten = 0
  // A replica confirms nothing: what Redis has answered OK in the last moments before it fails over may not be there any more.
  const mayForget = (receivedAt: number): boolean => {
    const may = Math.abs(killedAt - receivedAt) < 1_000
    if (may) forgotten++
    return may
  }
  const { traffic, recovery, refused, phase } = drill(t, createClient(t), hurt, other, kept, revoked, mayForget)

  await phase('up', () => {}, () => {})
  await phase('stopped, and started', () => first.quit(), () => first.start())
  for (let round = 1; round <= scaled(2, 15); round++) await phase(`killed, and started, ${round}`, () => first.kill(), () => first.start())
  await phase('full', () => first.command('CONFIG', 'SET', 'maxmemory', '1'), () => first.command('CONFIG', 'SET', 'maxmemory', '0'))
  const full = traffic.counts.get('full')?.get('new deliveries')
  t.ok((full?.get(503) ?? 0) > 0, 'a delivery that cannot be remembered is not received')

  await second.command('REPLICAOF', '127.0.0.1', `${first.port}`)
  t.ok(await timeUntil(async () => /master_link_status:up/.test(`${await second.command('INFO', 'replication')}`)) < 20_000, 'the replica follows')
  await phase('fails over: a replica that is read-only, and is then promoted', async () => {
    line.lead(second.port)
    killedAt = performance.now()
    await first.kill()
  }, () => second.command('REPLICAOF', 'NO', 'ONE'))
  await traffic.stop()

  t.strictSame(traffic.violations.slice(0, 5), [], 'no stranger was served, no revocation forgotten, no delivery received twice, and every answer was meant')
  t.ok(refused() > 0, `${refused()} revocations were refused with ${unavailable} meanwhile`)
  for (const server of [hurt, other]) t.equal(server.child.exitCode, null, 'and the process lives')
  traffic.print(t, `Faults of a Redis server, ${long ? 'long' : 'CI'} mode: ${traffic.sent} requests, ${revoked.length} revocations acknowledged, ${refused()} tries to revoke refused, ${forgotten} deliveries received again that were received in the second around the failover`, recovery)
})
