import t from 'tap'
import net from 'node:net'
import { MemoryReplayStore } from '../../lib/index.js'
import { rememberDelivery, type Remembered } from '../../lib/webhook/replay.js'
import { RedisReplayStore, type IoredisClient } from '../../lib/redis/index.js'
import { fakeTime, settle } from '../api-key/fake-time.js'
import { forkServer } from '../fixtures/fork-server.js'
import { redisMissing, redisUrl } from '../fixtures/services.js'
import { tcpProxy } from '../fixtures/tcp-proxy.js'
import { ownSchema } from '../postgres/open-store.js'
import { postgresMissing } from '../fixtures/services.js'
import { signWebhook } from '../../lib/index.js'
import { replayContract } from '../webhook/replay-contract.js'
import { drivers, ownClient, ownName, urlAt } from './clients.js'

t.setTimeout(120_000)
const skip = await redisMissing()

for (const driver of Object.keys(drivers)) {
  t.test(`the contract of replay stores, over ${driver}`, { skip }, async (t) => {
    const [one, two] = [await ownClient(t, driver), await ownClient(t, driver)]
    await replayContract(t, driver, () => {
      const prefix = ownName()
      return { store: new RedisReplayStore({ client: one, prefix }), other: new RedisReplayStore({ client: two, prefix }), now: Date.now }
    })
  })
}

t.test('a key is kept for as long as was asked, whatever the time of day is in Redis, and not at all when its time is past', { skip }, async (t) => {
  const client = await ownClient(t) as IoredisClient
  const prefix = ownName()
  const now = Date.parse('2040-01-01T00:00:00Z')
  const store = new RedisReplayStore({ client, prefix, clock: () => now })
  t.equal(await store.remember('a', now + 60_000.5), true)
  const left = Number(await client.call('PTTL', [`${prefix}a`]))
  t.ok(left > 50_000 && left <= 60_001, `${left}`)
  t.equal(await store.remember('past', now), true)
  t.equal(await store.remember('past', now - 1), true)
  t.equal(await client.call('EXISTS', [`${prefix}past`]), 0)
  await store.remember('short', now + 20)
  while (Number(await client.call('EXISTS', [`${prefix}short`])) === 1) await settle()
  t.equal(await store.remember('short', now + 60_000), true, 'it is new again after its time')
  await store.forget('a')
  await store.forget('short')
  t.strictSame(await client.call('KEYS', [`${prefix}*`]), [], 'and nothing stays')
})

t.test('a delivery is remembered in one step: no key is ever there without an end', async (t) => {
  const commands: string[][] = []
  const client: IoredisClient = { ...silentClient(), call: async (command, args) => { commands.push([command, ...args]); return 'OK' } }
  const store = new RedisReplayStore({ client, clock: () => 1000 })
  t.equal(await store.remember('key', 61_000), true)
  const mark = commands[0]?.[2] ?? ''
  t.strictSame(commands, [['SET', 'causeflow-auth:delivery:key', mark, 'PX', '60000', 'NX']])
  await store.remember('key', 61_000)
  t.not(commands[1]?.[2], mark)
})

t.test('a driver that sends a command twice, because the first answer was lost, makes no replay of a new delivery', { skip }, async (t) => {
  const real = await ownClient(t) as IoredisClient
  const prefix = ownName()
  const client: IoredisClient = {
    ...silentClient(),
    async call (command, args) {
      if (command === 'SET') await real.call(command, args)
      return real.call(command, args)
    }
  }
  const store = new RedisReplayStore({ client, prefix })
  t.equal(await store.remember('key', Date.now() + 60_000), true)
  t.equal(await store.remember('key', Date.now() + 60_000), false)
  await store.forget('key')
})

t.test('an answer that is neither OK nor nothing is no answer', async (t) => {
  for (const answer of ['QUEUED', 0, 1, true, undefined]) {
    const store = new RedisReplayStore({ client: { ...silentClient(), call: async () => answer } })
    await t.rejects(store.remember('key', Date.now() + 1000), TypeError)
  }
})

t.test('threat 26: the same delivery to two processes a hundred times at once is received exactly once', { skip: skip || await postgresMissing(), timeout: 100_000 }, async (t) => {
  const config = { schema: ownSchema(t), replayPrefix: ownName(), listenerPort: null }
  const servers = await Promise.all([forkServer(t, config), forkServer(t, config)])
  const client = await ownClient(t) as IoredisClient
  t.teardown(async () => { await client.call('DEL', await client.call('KEYS', [`${config.replayPrefix}*`]) as string[]) })
  for (let round = 0; round < 3; round++) {
    const body = JSON.stringify({ event: 'incident.created', round })
    const headers = signWebhook(body, 'whsec_of_the_test') as Record<string, string>
    const answers = await Promise.all(Array.from({ length: 100 }, (_, index) => (servers[index % 2 as 0 | 1])?.call('POST', '/hook', { body, headers })))
    t.strictSame(answers.map((answer) => answer?.status).sort(), [200, ...Array(99).fill(409)])
  }
})

t.test('a server that is not there or that hangs: no answer within the time limit, for each driver, and well again after it', { skip, timeout: 60_000 }, async (t) => {
  const { hostname, port } = new URL(redisUrl)
  for (const driver of Object.keys(drivers)) {
    const line = await tcpProxy(hostname, Number(port || 6379))
    t.teardown(() => line.close())
    const store = new RedisReplayStore({ client: await ownClient(t, driver, urlAt(line.port)), prefix: ownName(), timeLimit: 0.2 })
    t.equal(await store.remember('a', Date.now() + 60_000), true)
    line.freeze()
    const asked = performance.now()
    await t.rejects(store.remember('b', Date.now() + 60_000), { message: 'No answer within 200 ms' }, driver)
    await t.rejects(store.forget('a'), { message: 'No answer within 200 ms' }, driver)
    t.ok(performance.now() - asked < 1500)
    line.thaw()
    // What came too late was refused, so it is forgotten again and may come a second time.
    let isNew = false
    for (let tries = 0; !isNew && tries < 200; tries++) {
      isNew = await store.remember('b', Date.now() + 60_000).catch(() => false)
      if (!isNew) await new Promise((resolve) => setTimeout(resolve, 10))
    }
    t.equal(isNew, true, `${driver}: a delivery that was refused for lateness is not taken for a replay`)
  }
})

t.test('what was remembered too late is forgotten, in the store as behind its own time limit', async (t) => {
  const time = fakeTime()
  const held: Array<() => void> = []
  const memory = new MemoryReplayStore({ clock: time.clock })
  const client: IoredisClient = {
    ...silentClient(),
    call: (command, [name = '']) => new Promise((resolve) => {
      held.push(() => resolve(command === 'DEL' ? memory.forget(name) : memory.remember(name, time.now + 60_000) ? 'OK' : null))
    })
  }
  const store = new RedisReplayStore({ client, clock: time.clock, timers: time.timers as never })
  const answer = rememberDelivery(store, 'key', time.now + 60_000, time.timers as never) as Promise<Remembered>
  const refused = t.rejects(answer, { code: 'AUTH_STORE_UNAVAILABLE', reason: 'time-limit' })
  time.pass(1000)
  await refused
  held.shift()?.()
  await settle()
  t.equal(memory.size, 1)
  held.shift()?.()
  t.equal(memory.size, 0)
  t.equal(held.length, 0)
})

t.test('a server that hangs holds a thousand calls and no more', async (t) => {
  const time = fakeTime()
  let calls = 0
  const store = new RedisReplayStore({ client: { ...silentClient(), call: () => { calls++; return new Promise(() => {}) } }, timers: time.timers as never })
  const waiting = Array.from({ length: 1500 }, (_, index) => store.remember(`${index}`, Date.now() + 1e6).then(() => 'answered', (error: Error) => error.message))
  time.pass(1000)
  const answers = await Promise.all(waiting)
  t.equal(calls, 1000)
  t.strictSame(new Set(answers), new Set(['No answer within 1000 ms', 'Redis has left 1000 calls without an answer']))
})

t.test('a bad option does not start, and the sentence names the mend', async (t) => {
  const client = silentClient()
  for (const [options, words] of [
    [{}, /client.*ioredis, iovalkey or redis/],
    [{ client: new net.Socket() }, /client.*ioredis, iovalkey or redis/],
    [{ client: null }, /client/],
    [{ client, prefix: '' }, /prefix/],
    [{ client, timeLimit: 0 }, /timeLimit.*seconds/],
    [{ client, clock: 5 }, /clock/],
    [{ client, timers: null }, /timers/],
    [{ client, ttl: 5 }, /no option 'ttl'/]
  ] as const) {
    t.throws(() => new RedisReplayStore(options as never), { code: 'AUTH_CONFIG_OPTION', message: words })
  }
})

function silentClient (): IoredisClient {
  return {
    call: async () => null,
    duplicate: silentClient,
    connect: async () => {},
    subscribe: async () => {},
    disconnect () {},
    on () {}
  }
}
