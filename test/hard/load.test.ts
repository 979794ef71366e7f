/** One process at saturation, every credential and five attacks in a hundred requests: what stays in memory, how long an answer takes, what is answered. */
import t from 'tap'
import { Redis } from 'ioredis'
import { createTestIssuer } from '../../lib/testing/index.js'
import { createApiKey } from '../../lib/index.js'
import { postgresMissing, redisMissing, redisUrl } from '../fixtures/services.js'
import { ownSchema } from '../postgres/open-store.js'
import { ownName } from '../redis/clients.js'
import { startServer, webhookSecret } from './fork.js'
import { long, scaled, table } from './scale.js'
import { byKey, byToken, createClient, delivery, ingest, p, pause, startTraffic, timeUntil, type Answer, type Ask, type Kind } from './traffic.js'
import { watchProcess } from '../fixtures/process-watch.js'

watchProcess(t)

t.setTimeout(scaled(150_000, 3_600_000))

t.test('a saturated process: its memory is flat and every answer is meant', { skip: await postgresMissing() || await redisMissing() }, async (t) => {
  const schema = ownSchema(t)
  const prefix = `${ownName()}:`
  t.teardown(async () => {
    const redis = new Redis(redisUrl)
    for await (const names of redis.scanStream({ match: `${prefix}*`, count: 1000 })) if ((names as string[]).length > 0) await redis.del(...names as string[])
    redis.disconnect()
  })
  const issuer = await createTestIssuer()
  t.teardown(() => issuer.close())
  // Fewer tokens than come, so that what is bounded is full before it is measured. A short tolerance, so that Redis does not keep what an hour has sent.
  const server = await startServer(t, { jwt: { ...issuer.jwtOptions(), tokenCache: { max: 500 } }, postgres: { schema }, redis: { url: redisUrl, prefix }, tolerance: 30 })
  const tenantId = 'ten_EXAMPLE_01HX9VTPQR3KF8MZ'
  const keys = await Promise.all(Array.from({ length: 50 }, (_, index) => server.order('create', { tenantId, name: `key ${index}` })))
  const revoked = await server.order('create', { tenantId, name: 'revoked' })
  await server.order('revoke', { tenantId, keyId: revoked.keyId })
  await timeUntil(async () => (await server.order('state')).healthy === true)
  const client = createClient(t)

  let turn = 0
  const next = <T> (list: readonly T[]): T => list[turn++ % list.length]!
  const tokens = Array.from({ length: 200 }, () => issuer.token({ sub: `usr_${turn++}`, exp: Math.floor(Date.now() / 1000) + 7_200 }))
  const admins = Array.from({ length: 20 }, () => issuer.token({ sub: `usr_${turn++}`, roles: ['admin'], exp: Math.floor(Date.now() / 1000) + 7_200 }))
  const forged = Array.from({ length: 200 }, () => issuer.forged({ sub: `usr_${turn++}` }))
  const is = (...statuses: number[]) => ({ status }: Answer): string | null => statuses.includes(status) ? null : 'it was not meant'
  const attacks: Array<() => ReturnType<typeof byKey>> = [
    () => byToken(next(forged)), () => byToken(issuer.token({ aud: 'elsewhere' })), () => byToken(`${next(tokens)}x`), () => byKey(createApiKey().key), () => byKey(revoked.plaintextKey), () => byKey(`cflo_live_sk_${turn++}`),
    () => delivery(`whsec_${Buffer.alloc(24, turn++ % 256).toString('base64')}`), () => ingest(next(keys), 'ten_other'), () => ingest(next(keys), tenantId, 'whsec_wrong'), () => byToken(next(tokens), '/admin'), () => ({ path: '/token' }), () => ({ path: '/key', headers: { 'x-api-key': `${next(keys).plaintextKey}, x` } })
  ]
  const seen: Ask[] = []
  const kinds: Kind[] = [
    { name: 'held tokens', hostile: false, weight: 30, make: () => byToken(next(tokens)), judge: is(200) },
    { name: 'new tokens', hostile: false, weight: 5, make: () => byToken(issuer.token({ sub: `usr_${turn++}` })), judge: is(200) },
    { name: 'administrators', hostile: false, weight: 10, make: () => byToken(next(admins), '/admin'), judge: is(200) },
    { name: 'keys', hostile: false, weight: 25, make: () => byKey(next(keys).plaintextKey), judge: is(200) },
    { name: 'keys with a signature', hostile: false, weight: 10, make: () => ingest(next(keys), tenantId), judge: is(200) },
    { name: 'deliveries', hostile: false, weight: 12, make: () => delivery(webhookSecret), judge (answer, ask) { if (answer.status === 200) seen[turn++ % 100] = ask; return is(200)(answer) } },
    // By then its time may be over, and so may its memory.
    { name: 'deliveries sent again', hostile: false, weight: 3, make: () => seen.length === 0 ? null : next(seen.filter((one) => one !== undefined)), judge: is(200, 401, 409) },
    { name: 'attacks', hostile: true, weight: 5, make: () => next(attacks)(), judge: is(400, 401, 403) }
  ]

  // Until the code is compiled and what is bounded is full.
  const warm = startTraffic(kinds, [server.port], client, 32)
  const samples: Array<{ heap: number, rss: number }> = []
  await pause(scaled(4_000, 60_000))
  await warm.stop()
  const parts: ReturnType<typeof startTraffic>[] = []
  const began = performance.now()
  let paused = 0
  for (let part = 0; part < 5; part++) {
    if (part === 0) samples.push(await measured())
    const traffic = startTraffic(kinds, [server.port], client, 32)
    await pause(scaled(2_000, 60_000))
    await traffic.stop()
    parts.push(traffic)
    samples.push(await measured())
  }
  const seconds = (performance.now() - began - paused) / 1000

  async function measured (): Promise<{ heap: number, rss: number }> {
    const from = performance.now()
    // What a closed connection or an answered request still holds is let go first.
    await pause(100)
    const { heap, rss } = await server.order('state')
    paused += performance.now() - from
    return { heap, rss }
  }

  const sent = parts.reduce((sum, { sent }) => sum + sent, 0)
  const violations = [warm, ...parts].flatMap(({ violations }) => violations)
  t.strictSame(violations.slice(0, 5), [], 'no attack was let in and every answer was meant')
  const heaps = samples.map(({ heap }) => Math.round(heap / 1000))
  // A memory that grows does so with the requests: fifty bytes for each would be seen. What is left is code that is compiled late.
  const grown = slope(samples.map(({ heap }) => heap)) * (samples.length - 1)
  t.ok(grown < 1.5e6, `the heap's trend is ${Math.round(grown / 1000)} kB over ${sent} requests`)
  const attacked = parts.reduce((sum, { counts }) => sum + (counts.get('up')?.get('attacks')?.total() ?? 0), 0)
  t.ok(Math.abs(attacked / sent - 0.05) < 0.03, `${(attacked / sent * 100).toFixed(1)} % were attacks`)
  for (const part of parts.slice(1)) for (const [name, values] of part.latencies) for (const value of values) parts[0]!.latencies.get(name)?.push(value)
  const [first] = parts as [typeof warm]
  const rows = kinds.map(({ name }) => [name, first.latencies.get(name)?.length ?? 0, ...[0.5, 0.99, 0.999].map((q) => p(first, name, q).toFixed(1)), parts.reduce((sum, { counts }) => { for (const [status, times] of counts.get('up')?.get(name)?.entries() ?? []) sum.set(status, (sum.get(status) ?? 0) + times); return sum }, new Map<number, number>())])
  table(t, `One process, 32 connections, ${Math.round(sent / seconds)} requests/s from a client on the same cores, ${long ? 'long' : 'CI'} mode; heap after forced collections, kB: ${heaps.join(', ')}; rss, MB: ${samples.map(({ rss }) => Math.round(rss / 1e6)).join(', ')}`,
    ['kind', 'requests', 'p50, ms', 'p99, ms', 'p99.9, ms', 'statuses'], rows.map((row) => row.map((cell) => cell instanceof Map ? [...cell].map(([status, times]) => `${status}×${times}`).join(' ') : cell)))
})

/** The trend of a row of numbers, by least squares: what each step adds. */
function slope (values: readonly number[]): number {
  const middle = (values.length - 1) / 2
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length
  const [above, below] = values.reduce(([up, down], value, index) => [up + (index - middle) * (value - mean), down + (index - middle) ** 2], [0, 0])
  return above / below
}
