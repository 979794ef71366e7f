import t from 'tap'
import net from 'node:net'
import { auth, deliverWebhook, MemoryReplayStore, standardWebhooks } from '../../lib/index.js'
import { claimDelivery } from '../../lib/webhook/replay.js'
import { RedisReplayStore, type IoredisClient } from '../../lib/redis/index.js'
import { fakeTime, settle } from '../api-key/fake-time.js'
import { forkServer } from '../fixtures/fork-server.js'
import { redisMissing, redisUrl } from '../fixtures/services.js'
import { tcpProxy } from '../fixtures/tcp-proxy.js'
import { ownSchema } from '../postgres/open-store.js'
import { postgresMissing } from '../fixtures/services.js'
import { signWebhook } from '../../lib/index.js'
import { createApp, signed, watchProcess, webhookSecret } from '../fixtures/app.js'
import { listen } from '../fixtures/socket.js'
import { another, replayContract, someTry } from '../webhook/replay-contract.js'
import { drivers, ownClient, ownName, urlAt } from './clients.js'

t.setTimeout(120_000)
const skip = await redisMissing()

const wait = (milliseconds: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, milliseconds))

for (const driver of Object.keys(drivers)) {
  t.test(`the contract of replay stores, over ${driver}`, { skip }, async (t) => {
    const [one, two] = [await ownClient(t, driver), await ownClient(t, driver)]
    await replayContract(t, driver, () => {
      const prefix = ownName()
      return { store: new RedisReplayStore({ client: one, prefix }), other: new RedisReplayStore({ client: two, prefix }), advance: wait }
    })
  })
}

t.test('a delivery is kept for its lease, then for as long as it is remembered, and nothing stays that has no end', { skip }, async (t) => {
  const client = await ownClient(t) as IoredisClient
  const prefix = ownName()
  const store = new RedisReplayStore({ client, prefix })
  const one = someTry()
  const left = async (): Promise<number> => Number(await client.call('PTTL', [`${prefix}${one.key}`]))
  t.equal(await store.begin(one, 30_000.5), 'new')
  t.ok(await left() > 20_000 && await left() <= 30_001)
  await store.finish(one, 600_000)
  t.ok(await left() > 500_000 && await left() <= 600_000)
  await client.call('DEL', [`${prefix}${one.key}`])
  await store.begin(one, 30_000)
  await store.release(one)
  t.strictSame(await client.call('KEYS', [`${prefix}*`]), [])
  for (const wrong of [0, -1, NaN, undefined as never]) {
    await t.rejects(store.begin(one, wrong), TypeError)
    await t.rejects(store.finish(one, wrong), TypeError)
  }
})

t.test('each method is one command: no key is ever there without an end, and none is read and then written', async (t) => {
  const commands: string[][] = []
  const client: IoredisClient = { ...silentClient(), call: async (command, args) => { commands.push([command, ...args]); return command === 'SET' ? 'OK' : args[3] } }
  const store = new RedisReplayStore({ client })
  const one = someTry('key')
  t.equal(await store.begin(one, 30_000), 'new')
  await store.finish(one, 60_000)
  await store.release(one)
  t.strictSame(commands.map(([command, ...words]) => [command, ...words.filter((word) => !word.includes('redis.call'))]), [
    ['EVAL', '1', 'causeflow-auth:delivery:key', one.id, '30000'],
    ['SET', 'causeflow-auth:delivery:key', 'done', 'PX', '60000'],
    ['EVAL', '1', 'causeflow-auth:delivery:key', one.id]
  ])
})

t.test('a driver that sends a command twice, because the first answer was lost, makes no replay of a new delivery', { skip }, async (t) => {
  const real = await ownClient(t) as IoredisClient
  const client: IoredisClient = {
    ...silentClient(),
    async call (command, args) {
      await real.call(command, args)
      return real.call(command, args)
    }
  }
  const store = new RedisReplayStore({ client, prefix: ownName() })
  const one = someTry()
  t.equal(await store.begin(one, 60_000), 'new')
  t.equal(await store.begin(another(one), 60_000), 'in-progress')
  await store.release(one)
})

t.test('an answer that is no text is no answer, at once and late', async (t) => {
  const faults = watchProcess(t)
  for (const answer of [0, 1, true, undefined, null, '', []]) {
    const time = fakeTime()
    const store = new RedisReplayStore({ client: { ...silentClient(), call: async () => answer } })
    await t.rejects(store.begin(someTry(), 1000), TypeError)
    await t.rejects(store.finish(someTry(), 1000), TypeError)
    let come = (): void => {}
    const late = new RedisReplayStore({ client: { ...silentClient(), call: () => new Promise((resolve) => { come = () => resolve(answer) }) }, timers: time.timers as never })
    const refused = t.rejects(late.begin(someTry(), 1000), { message: 'No answer within 1000 ms' })
    time.pass(1000)
    await refused
    come()
    await settle()
  }
  t.strictSame(faults, [])
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

t.test('a delivery whose Redis stalls is 503 and is handled by the next try, for each driver', { skip, timeout: 60_000 }, async (t) => {
  const faults = watchProcess(t)
  const { hostname, port } = new URL(redisUrl)
  for (const driver of Object.keys(drivers)) {
    const line = await tcpProxy(hostname, Number(port || 6379))
    t.teardown(() => line.close())
    const replay = new RedisReplayStore({ client: await ownClient(t, driver, urlAt(line.port)), prefix: ownName(), timeLimit: 0.2 })
    const scheme = standardWebhooks()
    const app = await createApp(t, { auth: { clock: Date.now, webhook: { scheme, secret: 'AAAA', replay } } })
    let handled = 0
    app.post('/hook', { config: { auth: auth.webhook() } }, async () => { handled++; return {} })
    const url = `http://127.0.0.1:${await listen(app)}/hook`
    line.freeze()
    const delivery = { url, allowPrivate: true, secret: 'AAAA', scheme, body: '{}', id: 'msg_1', delay: async () => { line.thaw() } }
    const { delivered, attempts } = await deliverWebhook(delivery)
    t.strictSame([delivered, attempts.map(({ status }) => status), handled], [true, [503, 200], 1], driver)
    const again = await deliverWebhook(delivery)
    t.strictSame([again.attempts.map(({ status }) => status), handled], [[409], 1], driver)
  }
  t.strictSame(faults, [])
})

t.test('a delivery that was handled while Redis stalls is remembered when it goes on', { skip, timeout: 60_000 }, async (t) => {
  const { hostname, port } = new URL(redisUrl)
  const line = await tcpProxy(hostname, Number(port || 6379))
  t.teardown(() => line.close())
  const replay = new RedisReplayStore({ client: await ownClient(t, undefined, urlAt(line.port)), prefix: ownName(), timeLimit: 0.2 })
  const app = await createApp(t, { auth: { webhook: { secret: webhookSecret, replay } } })
  let handled = 0
  app.post('/hook', { config: { auth: auth.webhook() } }, async () => { handled++; line.freeze(); return {} })
  const send = async () => await app.inject({ method: 'POST', url: '/hook', payload: '{}', headers: signed('{}') })
  t.equal((await send()).statusCode, 200)
  t.equal((await send()).statusCode, 503)
  line.thaw()
  let answer = await send()
  for (let tries = 0; tries < 200 && answer.headers['retry-after'] !== undefined; tries++) {
    await wait(10)
    answer = await send()
  }
  t.strictSame([answer.statusCode, answer.headers['retry-after'], handled], [409, undefined, 1], 'done, and not in progress')
})

t.test('a process that dies while it handles a delivery frees it after its lease', { skip: skip || await postgresMissing(), timeout: 60_000 }, async (t) => {
  const config = { schema: ownSchema(t), replayPrefix: ownName(), listenerPort: null, lease: 1_500 }
  const [dies, lives] = await Promise.all([forkServer(t, config), forkServer(t, config)])
  const client = await ownClient(t) as IoredisClient
  t.teardown(async () => { await client.call('DEL', await client.call('KEYS', [`${config.replayPrefix}*`]) as string[]) })
  const body = '{"event":"incident.created"}'
  const headers = signWebhook(body, 'whsec_of_the_test') as Record<string, string>
  const first = dies.call('POST', '/hang', { body, headers }).catch(() => 'cut off')
  await dies.hangs
  await dies.kill()
  t.equal(await first, 'cut off')
  const asked = performance.now()
  const second = lives.call('POST', '/hang', { body, headers })
  t.match(await second, { status: 409, body: { code: 'AUTH_DELIVERY_REPLAYED' } })
  for (let status = 409; status === 409 && performance.now() - asked < 20_000;) {
    const answer = lives.call('POST', '/hang', { body, headers }).then((given) => given.status, () => 0)
    status = await Promise.race([answer, lives.hangs.then(() => 200)])
    if (status === 409) await wait(20)
    else t.equal(status, 200, 'its handler has begun')
  }
  t.ok(performance.now() - asked < 10_000)
})

t.test('a server that is not there or that hangs: no answer within the time limit, for each driver, and well again after it', { skip, timeout: 60_000 }, async (t) => {
  const { hostname, port } = new URL(redisUrl)
  for (const driver of Object.keys(drivers)) {
    const line = await tcpProxy(hostname, Number(port || 6379))
    t.teardown(() => line.close())
    const store = new RedisReplayStore({ client: await ownClient(t, driver, urlAt(line.port)), prefix: ownName(), timeLimit: 0.2 })
    const [a, b] = [someTry(), someTry()]
    t.equal(await store.begin(a, 60_000), 'new')
    line.freeze()
    const asked = performance.now()
    for (const call of [() => store.begin(b, 60_000), () => store.finish(a, 60_000), () => store.release(a)]) {
      await t.rejects(call() as Promise<unknown>, { message: 'No answer within 200 ms' }, driver)
    }
    t.ok(performance.now() - asked < 1500)
    line.thaw()
    // The delivery was answered 503, so it is released again: its next try is neither a replay nor in progress.
    let state = ''
    for (let tries = 0; state !== 'new' && tries < 200; tries++) {
      state = await store.begin(another(b), 60_000).catch(() => '')
      if (state !== 'new') await wait(10)
    }
    t.equal(state, 'new', driver)
  }
})

t.test('a delivery that was given to its try too late is released, by the store and behind a time limit of the caller', async (t) => {
  const faults = watchProcess(t)
  const time = fakeTime()
  const held: Array<() => void> = []
  const memory = new MemoryReplayStore({ clock: time.clock })
  const client: IoredisClient = {
    ...silentClient(),
    call: (_command, [, , key = '', id = '', lease]) => new Promise((resolve) => {
      held.push(() => {
        const attempt = { key, id, owner: null }
        if (lease === undefined) return resolve(memory.release(attempt))
        resolve(memory.begin(attempt, Number(lease)) === 'new' ? id : 'another')
      })
    })
  }
  const store = new RedisReplayStore({ client, timers: time.timers as never })
  const claimed = Promise.resolve(claimDelivery(store, ['key'], null, 60_000, { timers: time.timers as never, name: 'the replay store' }))
  const refused = t.rejects(claimed, { code: 'AUTH_STORE_UNAVAILABLE', reason: 'time-limit' })
  time.pass(1000)
  await refused
  t.equal(held.length, 2, 'its release is on its way behind it')
  held.shift()?.()
  await settle()
  t.equal(memory.size, 1)
  for (const answer of held.splice(0)) answer()
  t.equal(memory.size, 0)
  await settle()
  t.strictSame(faults, [])
})

t.test('a server that hangs holds a thousand calls and no more, and as many ends of tries', async (t) => {
  const time = fakeTime()
  let calls = 0
  const store = new RedisReplayStore({ client: { ...silentClient(), call: () => { calls++; return new Promise(() => {}) } }, timers: time.timers as never })
  for (const call of [() => store.begin(someTry(), 1e6), () => store.release(someTry())]) {
    calls = 0
    const waiting = Array.from({ length: 1500 }, () => call().then(() => 'answered', (error: Error) => error.message))
    time.pass(1000)
    const answers = await Promise.all(waiting)
    t.equal(calls, 1000)
    t.strictSame(new Set(answers), new Set(['No answer within 1000 ms', 'Redis has left 1000 calls without an answer']))
  }
})

t.test('threat 35: of the calls that wait one owner has half at most, so that the deliveries of others are received', async (t) => {
  const time = fakeTime()
  const answers: Array<() => void> = []
  const client: IoredisClient = { ...silentClient(), call: (command, args) => new Promise((resolve) => { answers.push(() => resolve(command === 'SET' ? 'OK' : args[3])) }) }
  const store = new RedisReplayStore({ client, timers: time.timers as never })
  const tryOf = (owner: string): ReturnType<typeof someTry> => ({ ...someTry(), owner })
  for (const call of [(owner: string) => store.begin(tryOf(owner), 1e6), (owner: string) => store.finish(tryOf(owner), 1e6), (owner: string) => store.release(tryOf(owner))]) {
    const own = Array.from({ length: 1000 }, () => call('a').then(() => 'answered', (error: Error) => error.message))
    const other = call('b')
    t.equal(answers.length, 501)
    for (const answer of answers.splice(0)) answer()
    await other
    const outcomes = await Promise.all(own)
    t.equal(outcomes.filter((outcome) => outcome === 'answered').length, 500)
    t.strictSame(new Set(outcomes.slice(500)), new Set(['Redis has left as many of 1000 calls without an answer as this owner may have']))
  }
})

t.test('a bad option does not start, and the sentence names the mend', async (t) => {
  const client = silentClient()
  for (const [options, words] of [
    [{}, /client.*ioredis, iovalkey or redis/],
    [{ client: new net.Socket() }, /client.*ioredis, iovalkey or redis/],
    [{ client: null }, /client/],
    [{ client, prefix: '' }, /prefix/],
    [{ client, timeLimit: 0 }, /timeLimit.*seconds/],
    [{ client, clock: Date.now }, /no option 'clock'/],
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

t.test('a late answer to the extension of a lease does not free a delivery that is being handled', async (t) => {
  const commands: string[][] = []
  const answers: Array<(value: unknown) => void> = []
  const client = {
    call: async (name: string, args: string[]) => await new Promise((resolve) => { commands.push([name, ...args]); answers.push(resolve) }),
    duplicate () { throw new Error('not used') },
    subscribe () { throw new Error('not used') }
  }
  const limits: Array<() => void> = []
  const timers = { setTimeout: (limit: () => void) => { limits.push(limit); return { unref () {} } }, clearTimeout () {} }
  const store = new RedisReplayStore({ client: client as never, timers: timers as never })
  const turn = async (): Promise<void> => await new Promise((resolve) => setImmediate(resolve))
  for (const [holds, released] of [[true, 0], [false, 1]] as const) {
    const attempt = { key: 'k', id: holds ? 'held-by-this-try-' : 'first-try-of-this', owner: null }
    if (holds) {
      const begun = store.begin(attempt, 30_000)
      await turn()
      answers.pop()?.(attempt.id)
      t.equal(await begun, 'new')
    }
    const before = commands.length
    const late = t.rejects(async () => await store.begin(attempt, 30_000))
    await turn()
    limits.pop()?.()
    await late
    answers.pop()?.(attempt.id)
    await turn()
    t.equal(commands.length - before - 1, released, holds ? 'an extension' : 'a first try')
  }
})
