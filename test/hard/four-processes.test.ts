/** Four processes on one PostgreSQL and one Redis: keys are made, rotated and revoked without end while all of them are used, and deliveries are sent to all. */
import t from 'tap'
import { Redis } from 'ioredis'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { postgresMissing, redisMissing, redisUrl } from '../fixtures/services.js'
import { ownSchema } from '../postgres/open-store.js'
import { ownName } from '../redis/clients.js'
import { startServer, webhookSecret } from './fork.js'
import { judge, type Journal } from './journal.js'
import { long, quantile, scaled, table } from './scale.js'
import { byKey, createClient, delivery, pause, timeUntil } from './traffic.js'
import { watchProcess } from '../fixtures/process-watch.js'

watchProcess(t)

t.setTimeout(scaled(120_000, 1_800_000))
const promised = 250
const processes = 4

t.test('the judge finds what it is there for', async (t) => {
  const good: Journal = {
    changes: [{ what: 'made', keyId: 'a', sent: 0, acknowledged: 10 }, { what: 'ended', keyId: 'a', sent: 100, acknowledged: 110 }],
    uses: [{ keyId: 'a', status: 200, sent: 20, answered: 30, process: 0 }, { keyId: 'a', status: 401, sent: 95, answered: 105, process: 1 }, { keyId: 'a', status: 200, sent: 360, answered: 370, process: 1 }, { keyId: 'a', status: 401, sent: 2, answered: 8, process: 1 }],
    deliveries: [{ id: 'd', status: 409, sent: 0, answered: 1, process: 0 }, { id: 'd', status: 200, sent: 0, answered: 1, process: 1 }]
  }
  const with_ = (more: Partial<Journal>): string[] => judge({ changes: [...good.changes, ...more.changes ?? []], uses: [...good.uses, ...more.uses ?? []], deliveries: [...good.deliveries, ...more.deliveries ?? []] }, promised).violations
  t.strictSame(with_({}), [])
  t.strictSame(judge(good, promised).latest, [250])
  t.match(with_({ uses: [{ keyId: 'a', status: 200, sent: 361, answered: 370, process: 2 }] }), [/accepted by process 2 251 ms after/])
  t.match(with_({ uses: [{ keyId: 'a', status: 401, sent: 11, answered: 100, process: 2 }] }), [/good and was refused/])
  t.match(with_({ uses: [{ keyId: 'a', status: 503, sent: 11, answered: 100, process: 2 }] }), [/answered 503/])
  t.match(with_({ uses: [{ keyId: 'b', status: 200, sent: 11, answered: 100, process: 2 }] }), [/nobody has made it/])
  t.match(with_({ deliveries: [{ id: 'd', status: 200, sent: 5, answered: 6, process: 3 }] }), [/received 2 times/])
  t.match(with_({ deliveries: [{ id: 'e', status: 409, sent: 5, answered: 6, process: 3 }] }), [/received 0 times/])
})

t.test('what was acknowledged counts in all four', { skip: await postgresMissing() || await redisMissing() }, async (t) => {
  const schema = ownSchema(t)
  const prefix = `${ownName()}:`
  t.teardown(async () => {
    const redis = new Redis(redisUrl)
    for await (const names of redis.scanStream({ match: `${prefix}*`, count: 1000 })) if ((names as string[]).length > 0) await redis.del(...names as string[])
    redis.disconnect()
  })
  const servers = await Promise.all(Array.from({ length: processes }, () => startServer(t, { jwt: null, postgres: { schema }, redis: { url: redisUrl, prefix } })))
  for (const server of servers) await timeUntil(async () => (await server.order('state')).healthy === true)
  const client = createClient(t)
  const journal: Journal = { changes: [], uses: [], deliveries: [] }
  const any = <T> (list: readonly T[]): T => list[Math.floor(Math.random() * list.length)] as T
  const live: Array<{ keyId: string, key: string }> = []
  const ended: Array<{ keyId: string, key: string }> = []
  let stopped = false
  const tally = { made: 0, rotated: 0, revoked: 0 }
  // Ended keys are asked for most where it matters: right after their end.
  const recent = (): { keyId: string, key: string } | undefined => ended[ended.length - 1 - Math.floor(Math.random() ** 2 * Math.min(ended.length, 30))]

  async function change (): Promise<void> {
    for (;;) {
      if (stopped) return
      const server = any(servers)
      const sent = performance.now()
      if (live.length < 15) {
        const { keyId, plaintextKey } = await server.order('create', { tenantId: 'ten_A', name: 'a key' })
        journal.changes.push({ what: 'made', keyId, sent, acknowledged: performance.now() })
        live.push({ keyId, key: plaintextKey })
        tally.made++
      } else {
        const [one] = live.splice(Math.floor(Math.random() * live.length), 1)
        if (one === undefined) continue
        // It may end at any moment from now on.
        const entry = { what: 'ended' as const, keyId: one.keyId, sent, acknowledged: Infinity }
        journal.changes.push(entry)
        ended.push(one)
        if (Math.random() < 0.5) {
          if (await server.order('revoke', { tenantId: 'ten_A', keyId: one.keyId }) !== 'revoked') throw new Error('It was not revoked')
          tally.revoked++
        } else {
          const next = await server.order('rotate', { tenantId: 'ten_A', keyId: one.keyId })
          if (typeof next === 'string') throw new Error(next)
          journal.changes.push({ what: 'made', keyId: next.keyId, sent, acknowledged: performance.now() })
          live.push({ keyId: next.keyId, key: next.plaintextKey })
          tally.rotated++
        }
        entry.acknowledged = performance.now()
      }
      await pause(10)
    }
  }
  async function use (index: number): Promise<void> {
    for (let round = index; ; round++) {
      if (stopped) return
      const one = round % 3 === 0 ? recent() : any(live)
      if (one === undefined) { await pause(5); continue }
      const process = round % processes
      const sent = performance.now()
      const { status } = await client(servers[process]!.port, byKey(one.key))
      journal.uses.push({ keyId: one.keyId, status, sent, answered: performance.now(), process })
    }
  }
  async function deliver (): Promise<void> {
    for (;;) {
      if (stopped) return
      const one = delivery(webhookSecret)
      // At once to two of them, and later to a third.
      const send = async (process: number): Promise<void> => {
        const sent = performance.now()
        const { status } = await client(servers[process]!.port, one)
        journal.deliveries.push({ id: one.id, status, sent, answered: performance.now(), process })
      }
      const first = Math.floor(Math.random() * processes)
      await Promise.all([send(first), send((first + 1) % processes)])
      await send((first + 2) % processes)
    }
  }
  const work = Promise.all([change(), change(), ...Array.from({ length: 8 }, (_, index) => use(index)), deliver(), deliver()])
  // By what was done and not by the time alone: a busy machine does less in it.
  const end = performance.now() + scaled(5_000, 300_000)
  const enough = (): boolean => performance.now() > end && ended.length >= 40 && journal.uses.length >= 500
  await Promise.race([work, timeUntil(async () => enough(), scaled(80_000, 600_000))])
  stopped = true
  await work

  const { violations, latest } = judge(journal, promised)
  const folder = mkdtempSync(join(tmpdir(), 'causeflow-journal-'))
  writeFileSync(join(folder, 'journal.json'), JSON.stringify(journal))
  if (violations.length === 0) rmSync(folder, { recursive: true })
  t.strictSame(violations.slice(0, 5), [], violations.length === 0 ? 'the judge finds nothing' : `the journal is in ${folder}`)
  t.ok(journal.uses.length >= 500, `${journal.uses.length} requests`)
  t.ok(latest.length >= 40, `${latest.length} keys were ended`)
  const refused = journal.uses.filter(({ status }) => status === 401).length
  table(t, `Four processes on one PostgreSQL and one Redis, ${long ? 'long' : 'CI'} mode`, ['keys made', 'rotated', 'revoked', 'requests with keys', 'refused', 'deliveries', 'sent', 'violations', 'accepted after the acknowledgement: median, p99, latest, ms'],
    [[tally.made, tally.rotated, tally.revoked, journal.uses.length, refused, new Set(journal.deliveries.map(({ id }) => id)).size, journal.deliveries.length, violations.length, `${quantile(latest, 0.5).toFixed(1)}, ${quantile(latest, 0.99).toFixed(1)}, ${Math.max(...latest).toFixed(1)}`]])
})
