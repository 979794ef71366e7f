/**
 * Deliveries whose senders reset their connections, whose Redis stalls and one of whose processes dies while they are handled. Each is sent
 * until it is answered for good, and its handler has then run once, and nowhere side by side.
 */
import t from 'tap'
import { connect } from 'node:net'
import { redisMissing, redisUrl } from '../fixtures/services.js'
import { tcpProxy } from '../fixtures/tcp-proxy.js'
import { ownName } from '../redis/clients.js'
import { startServer, webhookSecret, type HardServer } from './fork.js'
import { long, scaled, table } from './scale.js'
import { createClient, delivery, pause, type Ask } from './traffic.js'
import { sweep } from './watch.js'
import { watchProcess } from '../fixtures/process-watch.js'

watchProcess(t)

t.setTimeout(scaled(120_000, 1_800_000))
const lease = 2_000

/** Sends a request and resets its connection at some moment, before or while its handler runs, or after it. */
function sendAndReset (port: number, { path, headers, body = '' }: Ask): Promise<void> {
  const lines = Object.entries({ host: 'localhost', 'content-type': 'application/json', 'content-length': `${body.length}`, ...headers }).map(([name, value]) => `${name}: ${value}\r\n`)
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1', () => {
      socket.write(`POST ${path} HTTP/1.1\r\n${lines.join('')}\r\n${body}`)
      setTimeout(() => { socket.resetAndDestroy() }, Math.random() * 40)
    })
    socket.on('error', () => {}).on('close', () => { resolve() }).resume()
  })
}

t.test('reset connections, a stalled Redis and a process that dies: each delivery is handled once', { skip: await redisMissing() }, async (t) => {
  const { hostname, port } = new URL(redisUrl)
  const line = await tcpProxy(hostname, Number(port || 6379))
  t.teardown(() => line.close())
  const prefix = `${ownName()}:`
  t.teardown(() => sweep(prefix))
  const redis = { url: `redis://127.0.0.1:${line.port}`, prefix, lease }
  const servers: HardServer[] = await Promise.all([1, 2, 3].map(() => startServer(t, { jwt: null, postgres: null, redis, tolerance: 3_600 })))
  const client = createClient(t)
  const statuses = new Map<number, number>()
  let dead: HardServer | null = null
  const portOf = (): number => servers[Math.floor(Math.random() * servers.length)]!.port

  /** Sends one delivery, over connections that break and then properly, until it is answered 200, or 409 for good. */
  async function send (): Promise<string> {
    const one: Ask & { id: string } = { ...delivery(webhookSecret), path: '/work' }
    await Promise.all(Array.from({ length: 3 }, () => sendAndReset(portOf(), one)))
    for (;;) {
      const { status, head } = await client(portOf(), one)
      statuses.set(status, (statuses.get(status) ?? 0) + 1)
      if (status === 200 || (status === 409 && !head.includes('retry-after'))) return one.id
      if (![0, 409, 503].includes(status)) t.fail(`answered ${status}`)
      await pause(20)
    }
  }
  const ids: string[] = []
  const end = performance.now() + scaled(8_000, 300_000)
  const senders = Array.from({ length: 8 }, async () => { while (performance.now() < end) ids.push(await send()) })
  await pause(1_000)
  line.freeze()
  await pause(1_500)
  line.thaw()
  await pause(500)
  dead = servers.shift() ?? null
  dead?.child.kill('SIGKILL')
  await Promise.all(senders)

  const handled = (await Promise.all(servers.map((server) => server.order('handled')))).flat()
  const times = new Map<string, number>()
  for (const id of handled) times.set(id, (times.get(id) ?? 0) + 1)
  t.strictSame([...times].filter(([, count]) => count > 1), [], 'no delivery was handled twice by processes that live')
  t.ok(ids.length >= 50, `${ids.length} deliveries`)
  t.ok((statuses.get(503) ?? 0) > 0, 'Redis has stalled')
  for (const server of servers) t.equal(server.child.exitCode, null, 'and the processes live')
  table(t, `Deliveries over broken connections, ${long ? 'long' : 'CI'} mode`, ['deliveries', 'handled by living processes', 'answers'], [[ids.length, times.size, [...statuses].sort(([one], [other]) => one - other).map(([status, count]) => `${status}: ${count}`).join(', ')]])
})
