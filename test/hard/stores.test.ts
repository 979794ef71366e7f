/**
 * PostgreSQL and Redis cut, reset and stalled between a process and its stores, under load, while another process revokes keys that the first has
 * in its memory. A revocation that was acknowledged is never forgotten, and no delivery is received twice, whatever the network does.
 */
import t, { type Test } from 'tap'
import { randomUUID } from 'node:crypto'
import { Redis } from 'ioredis'
import { postgres, postgresMissing, redisMissing, redisUrl } from '../fixtures/services.js'
import { tcpProxy, type TcpProxy } from '../fixtures/tcp-proxy.js'
import { ownSchema } from '../postgres/open-store.js'
import { postgresPrograms, privateCluster } from '../postgres/private-cluster.js'
import { ownName, urlAt } from '../redis/clients.js'
import { startServer, webhookSecret, type HardServer } from './fork.js'
import { Scanner } from './scanner.js'
import { Counts, long, scaled } from './scale.js'
import { byKey, createClient, delivery, ingest, p, pause, startTraffic, strangers, timeUntil, type Ask, type Kind } from './traffic.js'

t.setTimeout(scaled(170_000, 1_800_000))
/** Milliseconds after an acknowledgement beyond which no request may be accepted. */
const promised = 250

interface Issued { keyId: string, plaintextKey: string, webhookSecret: string | null }

/** Traffic of keys and deliveries, and who checks it. */
function watch (revoked: ReadonlyArray<{ key: Issued, at: number }>, kept: readonly Issued[]) {
  const received = new Map<string, number>()
  const seen: string[] = []
  const deliveries = new WeakMap<Ask, string>()
  let turn = 0
  const meant = (...statuses: number[]) => ({ status }: { status: number }) => statuses.includes(status) ? null : 'it was not meant'
  const count = ({ status }: { status: number }, ask: Ask): string | null => {
    const id = deliveries.get(ask)!
    if (status === 200) received.set(id, (received.get(id) ?? 0) + 1)
    if (status === 200 || status === 503) seen.push(id)
    return (received.get(id) ?? 0) > 1 ? 'it was received twice' : null
  }
  const kinds: Kind[] = [
    // 401 is never the answer to a good key, whatever the store does.
    { name: 'good keys', hostile: false, weight: 3, make: () => byKey(kept[turn++ % kept.length]!.plaintextKey), judge: meant(200, 503) },
    { name: 'good keys with a signature', hostile: false, weight: 1, make: () => ingest(kept[turn++ % kept.length]!, 'ten_A'), judge: meant(200, 503) },
    {
      name: 'revoked keys',
      hostile: false,
      weight: 3,
      make: () => revoked.length === 0 ? null : byKey(revoked[Math.max(0, revoked.length - 1 - turn++ % 4)]!.key.plaintextKey),
      judge ({ status }, { headers }, sent) {
        const { at } = revoked.find(({ key }) => key.plaintextKey === headers?.['x-api-key'])!
        if (status === 200) return sent - at > promised ? `it was accepted ${Math.round(sent - at)} ms after its revocation was acknowledged` : null
        return status === 401 || status === 503 ? null : 'it was not meant'
      }
    },
    {
      name: 'new deliveries',
      hostile: false,
      weight: 2,
      make () {
        const one = delivery()
        deliveries.set(one, one.id)
        return one
      },
      judge: (answer, ask) => count(answer, ask) ?? meant(200, 503)(answer)
    },
    {
      name: 'deliveries sent again',
      hostile: false,
      weight: 2,
      make () {
        const id = seen[Math.floor(seen.length * Math.random())]
        if (id === undefined) return null
        const one = delivery(webhookSecret, id)
        deliveries.set(one, id)
        return one
      },
      // 200 where the first was answered 503: it was not received then.
      judge: (answer, ask) => count(answer, ask) ?? meant(200, 409, 503)(answer)
    },
    ...strangers
  ]
  return { kinds, received }
}

async function issue (server: HardServer, tenantId = 'ten_A'): Promise<Issued> {
  return await server.order('create', { tenantId, name: 'a key' })
}

/** Redis is other tests' as well. */
async function sweep (prefix: string): Promise<void> {
  const redis = new Redis(redisUrl)
  for await (const names of redis.scanStream({ match: `${prefix}*`, count: 1000 })) if ((names as string[]).length > 0) await redis.del(...names as string[])
  redis.disconnect()
}

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
  const revoked: Array<{ key: Issued, at: number }> = []
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

t.test('a database that is killed under load and started again remembers what it has acknowledged', { skip: postgresPrograms() === null && 'The programs of PostgreSQL are not in /usr/lib/postgresql' }, async (t: Test) => {
  const cluster = await privateCluster(t, postgresPrograms() ?? '')
  const starting = async (): Promise<HardServer> => {
    for (let tries = 0; ; tries++) {
      try {
        return await startServer(t, { jwt: null, postgres: { schema: 'causeflow_auth', poolPort: cluster.port, listenerPort: cluster.port, database: 'postgres' }, redis: null })
      } catch (error) {
        // The cluster is still starting.
        if (tries === 10) throw error
      }
    }
  }
  const server = await starting()
  const kept = await Promise.all(Array.from({ length: 3 }, () => issue(server)))
  const revoked: Array<{ key: Issued, at: number }> = []
  const client = createClient(t)
  const traffic = startTraffic(watch(revoked, kept).kinds, [server.port], client)
  const recovery = new Map<string, string>()
  const rounds = scaled(2, 15)
  for (let round = 1; round <= rounds; round++) {
    traffic.phase = `killed, ${round}`
    const acknowledged: Issued[] = []
    const doomed = await Promise.all(Array.from({ length: 3 }, () => issue(server)))
    for (const key of doomed) {
      await server.order('revoke', { tenantId: 'ten_A', keyId: key.keyId })
      revoked.push({ key, at: performance.now() })
      acknowledged.push(key)
    }
    await cluster.crash()
    const took = await timeUntil(async () => (await client(server.port, byKey(kept[0]!.plaintextKey))).status === 200)
    recovery.set(`killed, ${round}`, `${Math.round(took)} ms`)
    t.ok(took < 20_000, `well again after ${Math.round(took)} ms`)
    for (const { plaintextKey } of acknowledged) t.equal((await client(server.port, byKey(plaintextKey))).status, 401, 'a revocation from just before is remembered')
  }
  await traffic.stop()
  t.strictSame(traffic.violations.slice(0, 5), [])
  traffic.print(t, `PostgreSQL killed and started again under load, ${rounds} times`, recovery)
})
