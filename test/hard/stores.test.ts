/**
 * PostgreSQL and Redis cut, reset and stalled between a process and its stores, under load, while another process revokes keys that the first has
 * in its memory. A revocation that was acknowledged is never forgotten, and no delivery is received twice, whatever the network does.
 */
import t from 'tap'
import { randomUUID } from 'node:crypto'
import { postgres, postgresMissing, redisMissing, redisUrl } from '../fixtures/services.js'
import { tcpProxy, type TcpProxy } from '../fixtures/tcp-proxy.js'
import { ownSchema } from '../postgres/open-store.js'
import { ownName, urlAt } from '../redis/clients.js'
import { startServer, webhookSecret } from './fork.js'
import { Scanner } from './scanner.js'
import { Counts, long, scaled } from './scale.js'
import { byKey, createClient, delivery, ingest, p, pause, startTraffic, timeUntil, type Ask } from './traffic.js'
import { issue, sweep, watch, type Revoked } from './watch.js'
import { watchProcess } from '../fixtures/process-watch.js'

watchProcess(t)

t.setTimeout(scaled(170_000, 1_800_000))

t.test('lines to PostgreSQL and Redis that break', { skip: await postgresMissing() || await redisMissing() }, async (t) => {
  const { hostname, port } = new URL(redisUrl)
  const lines = { pool: await tcpProxy(postgres.host, postgres.port), listener: await tcpProxy(postgres.host, postgres.port), redis: await tcpProxy(hostname, Number(port || 6379)) }
  t.teardown(async () => { for (const line of Object.values(lines)) await line.close() })
  const schema = ownSchema(t)
  const prefix = `${ownName()}:`
  t.teardown(() => sweep(prefix))
  const [hurt, other] = await Promise.all([
    startServer(t, { jwt: null, postgres: { schema, poolPort: lines.pool.port, listenerPort: lines.listener.port }, redis: { url: urlAt(lines.redis.port), prefix }, loud: true }),
    startServer(t, { jwt: null, postgres: { schema }, redis: { url: redisUrl, prefix } })
  ])
  await timeUntil(async () => (await hurt.order('state')).healthy === true)
  const kept = await Promise.all(Array.from({ length: 5 }, () => issue(other)))
  const revoked: Revoked[] = []
  const client = createClient(t)
  const { kinds, received } = watch(revoked, kept)
  const traffic = startTraffic(kinds, [hurt.port], client)
  const recovery = new Map<string, string>()
  const late = new Counts<string>()
  const scanner = new Scanner().addSecret('the webhook secret', webhookSecret)
  for (const [index, { plaintextKey, webhookSecret: own }] of kept.entries()) scanner.addKey(`key ${index}`, plaintextKey).addSecret(`the secret of key ${index}`, own ?? '')
  const ask = async (request: Ask): Promise<number> => (await client(hurt.port, request)).status

  async function phase (name: string, damage: () => void, mend: () => void): Promise<void> {
    traffic.phase = name
    // In the memory of the process that is about to be hurt.
    const doomed = await Promise.all(Array.from({ length: 2 }, () => issue(other)))
    for (const { plaintextKey } of doomed) for (let round = 0; round < 3; round++) await ask(byKey(plaintextKey))
    damage()
    // What is stalled is answered by its time limit, 2 s: to be seen it has to last longer.
    const end = performance.now() + scaled(name.endsWith('stalled') ? 2_800 : 1_000, 20_000)
    for (const key of doomed) {
      t.equal(await other.order('revoke', { tenantId: 'ten_A', keyId: key.keyId }), 'revoked')
      revoked.push({ key, at: performance.now() })
      scanner.addKey('a revoked key', key.plaintextKey)
      await pause(200)
    }
    while (performance.now() < end) {
      await pause(50)
      if (name.startsWith('again and again')) damage()
    }
    mend()
    traffic.phase = 'well again'
    // All of one round, not a lucky one.
    const took = await timeUntil(async () => (await Promise.all([byKey(kept[0]!.plaintextKey), ingest(kept[1]!, 'ten_A'), delivery(webhookSecret, randomUUID())].map(ask))).every((status) => status === 200))
    recovery.set(name, `${Math.round(took)} ms`)
    t.ok(took < 15_000, `${name}: well again after ${Math.round(took)} ms`)
    for (const { plaintextKey } of doomed) late.add(`${await ask(byKey(plaintextKey))}`)
  }
  const nothing = (): void => {}
  const on = (method: 'freeze' | 'thaw' | 'cut' | 'reset', ...which: TcpProxy[]) => () => { for (const line of which) line[method]() }

  await phase('up', nothing, nothing)
  await phase('again and again: connections to PostgreSQL are cut', on('cut', lines.pool, lines.listener), nothing)
  await phase('again and again: connections to PostgreSQL are reset', on('reset', lines.pool, lines.listener), nothing)
  await phase('the pool is stalled', on('freeze', lines.pool), on('thaw', lines.pool))
  await phase('the listener is stalled', on('freeze', lines.listener), on('thaw', lines.listener))
  await phase('again and again: the listener is cut', on('cut', lines.listener), nothing)
  await phase('again and again: Redis is cut', on('cut', lines.redis), nothing)
  await phase('Redis is stalled', on('freeze', lines.redis), on('thaw', lines.redis))
  await phase('all of them are stalled', on('freeze', ...Object.values(lines)), on('thaw', ...Object.values(lines)))
  await traffic.stop()

  t.strictSame(traffic.violations.slice(0, 5), [], 'no stranger was served, no revocation forgotten, no delivery received twice, and every answer was meant')
  t.strictSame(late.entries().map(([status]) => status), ['401'], 'and afterwards every revoked key is refused')
  const stalled = [...traffic.counts.get('the pool is stalled')?.values() ?? []].map((statuses) => statuses.get(503) ?? 0)
  // Of whom, is chance: what is held in memory asks nobody.
  t.ok(stalled.some((count) => count > 0), 'what a stalled database is asked is answered 503')
  t.ok(received.size > 20, `${received.size} deliveries were received`)
  t.strictSame(scanner.scan(hurt.output() + other.output()), [], `nothing of a key or a secret in ${Math.round(hurt.output().length / 1000)} kB of log`)
  traffic.print(t, `Faults of PostgreSQL and Redis, ${long ? 'long' : 'CI'} mode: ${traffic.sent} requests, ${revoked.length} revocations; a good key took ${p(traffic, 'good keys', 0.5).toFixed(1)} ms (median) to ${Math.round(p(traffic, 'good keys', 1))} ms`, recovery)
})
