/**
 * What others may do next to a customer whose key is cached: outsiders that send invented keys, and a role of the database that has no
 * rights. Neither may make that customer slow.
 */
import t from 'tap'
import { createApiKey } from '../../lib/index.js'
import { postgres, postgresMissing } from '../fixtures/services.js'
import { tcpProxy } from '../fixtures/tcp-proxy.js'
import { ownSchema } from '../postgres/open-store.js'
import { startServer } from './fork.js'
import { Counts, quantile, scaled, table } from './scale.js'
import { byKey, createClient, pause, timeUntil } from './traffic.js'
import { issue } from './watch.js'

t.setTimeout(scaled(170_000, 1_800_000))
const skip = await postgresMissing()

/** Milliseconds that a chunk takes to a database in another zone; as long again back. */
const away = 3
const perSecond = 2_500

t.test('invented keys before a database 6 ms away leave a customer whose key is cached fast', { skip }, async (t) => {
  const [poolLine, listenerLine] = [await tcpProxy(postgres.host, postgres.port), await tcpProxy(postgres.host, postgres.port)]
  t.teardown(async () => {
    await poolLine.close()
    await listenerLine.close()
  })
  const schema = ownSchema(t)
  const server = await startServer(t, { jwt: null, postgres: { schema, poolPort: poolLine.port, listenerPort: listenerLine.port, poolSize: 10 }, redis: null })
  t.ok(await timeUntil(async () => (await server.order('state')).healthy === true) < 20_000, 'the channel is healthy')
  for (const line of [poolLine, listenerLine]) line.delay(away)
  const customer = await issue(server)
  const doomed = await issue(server)
  const [client, flood] = [createClient(t), createClient(t, 5_000)]
  const ask = (key: string): Promise<{ status: number }> => client(server.port, byKey(key))
  for (let round = 0; round < 20; round++) await ask(customer.plaintextKey)

  /** Asks as the customer every 20 ms, and looks whether the cache may be used. */
  async function customerFor (milliseconds: number) {
    const latencies: number[] = []
    const statuses = new Counts<number>()
    const end = performance.now() + milliseconds
    while (performance.now() < end) {
      const sent = performance.now()
      statuses.add((await ask(customer.plaintextKey)).status)
      latencies.push(performance.now() - sent)
      await pause(20)
    }
    return { p50: quantile(latencies, 0.5), p99: quantile(latencies, 0.99), statuses }
  }
  const quiet = await customerFor(scaled(1_500, 20_000))

  const outsiders = new Counts<number>()
  const outside = { on: true, sent: 0, inFlight: 0 }
  const began = performance.now()
  const flooded = (async () => {
    while (outside.on) {
      // Not more than a thousand and a half at once: what a slow machine has not sent is not sent later.
      for (const due = Math.min(outside.sent + 1_500 - outside.inFlight, (performance.now() - began) / 1000 * perSecond); outside.sent < due; outside.sent++) {
        outside.inFlight++
        flood(server.port, byKey(createApiKey().key)).then(({ status }) => { outsiders.add(status); outside.inFlight-- })
      }
      await pause(5)
    }
    while (outside.inFlight > 0) await pause(5)
  })()
  await pause(1_000)
  const during = await customerFor(scaled(4_000, 60_000))
  const asked = performance.now()
  t.equal(await server.order('revoke', { tenantId: 'ten_A', keyId: doomed.keyId }).catch((error: Error) => error.message), 'revoked', 'a key can be revoked meanwhile')
  const revoking = performance.now() - asked
  outside.on = false
  await flooded

  table(t, `A customer whose key is cached, ${perSecond} invented keys a second`, ['while', 'p50 ms', 'p99 ms', 'statuses', 'to revoke ms', 'outsiders'], [
    ['quiet', quiet.p50, quiet.p99, `${quiet.statuses}`, '', ''],
    ['flooded', during.p50, during.p99, `${during.statuses}`, revoking, `${outsiders}`]
  ])
  t.ok(during.statuses.get(200) >= 0.95 * during.statuses.total(), `the customer is served: ${during.statuses}`)
  t.ok(during.p50 < 100, `p50 of ${during.p50.toFixed(1)} ms`)
  t.ok(revoking < 2_000, `to revoke took ${revoking.toFixed(0)} ms`)
  t.strictSame(outsiders.entries().map(([status]) => status).filter((status) => status !== 401 && status !== 503), [], 'outsiders get 401 or 503')
})
