// Servers of Redis that accept and say nothing: what was given up on is closed.
import t from 'tap'
import { createChannel } from '../../lib/api-key/channel.js'
import { redisDriver, type RedisClient } from '../../lib/redis/driver.js'
import { redisInvalidation } from '../../lib/redis/index.js'
import { fakeTime, settle } from '../api-key/fake-time.js'
import { redisMissing, redisUrl } from '../fixtures/services.js'
import { silentServer } from '../fixtures/silent-server.js'
import { until } from '../postgres/open-store.js'
import { drivers, ownName, urlAt } from './clients.js'

t.setTimeout(150_000)
const skip = await redisMissing()
const { hostname, port } = new URL(redisUrl)
const redis = { host: hostname, port: Number(port || 6379) }

for (const [name, make] of Object.entries(drivers)) {
  t.test(`over ${name}: a minute of openings that never settle leaves one connection open, and close leaves none`, { skip, timeout: 60_000 }, async (t) => {
    for (const [what, server] of [
      ['says nothing', await silentServer(t)],
      ['does not answer SUBSCRIBE', await silentServer(t, { ...redis, until: /subscribe/i })]
    ] as const) {
      // Never connected itself: only duplicates of it are.
      const { client, end } = make(urlAt(server.port))
      if ('disconnect' in client && 'call' in client) client.disconnect()
      await until(() => server.open === 0, 'the client itself is not connected', 5_000)
      const before = server.accepted
      const time = fakeTime()
      const driver = redisDriver(client, 'test')
      const channel = createChannel({
        async open ({ lost }, signal) {
          return { end: await driver.subscribe(['a'], { message () {}, lost }, signal), send: async () => {} }
        }
      }, { ...time, monotonic: () => time.now, random: () => 1 })
      channel.subscribe({ onInvalidated () {}, onReset () {} })
      for (let second = 0; second < 60; second++) {
        for (let wait = 0; wait < 6; wait++) await new Promise((resolve) => setTimeout(resolve, 5))
        time.pass(1_000)
      }
      t.ok(server.accepted - before >= 5, `${what}: ${server.accepted - before} connections were made`)
      await until(() => server.open <= 1, `${what}: ${server.open} of ${server.accepted} are open`, 3_000)
      await channel.close()
      await until(() => server.open === 0, `${what}: all are closed`, 3_000)
      // It was never open, which some of them reject.
      await Promise.resolve().then(end).catch(() => {})
    }
  })
}

t.test('a client whose duplicate, listeners or connection fail ends nothing but that try', async (t) => {
  const steps = ['duplicate', 'on', 'connect', 'subscribe', 'disconnect'] as const
  for (const failing of steps) {
    for (const later of [false, true]) {
      let duplicates = 0
      const step = (name: string): Promise<void> => {
        if (name !== failing) return Promise.resolve()
        if (later) return Promise.reject(new Error(name))
        throw new Error(name)
      }
      const make = (kind: 'call' | 'sendCommand'): RedisClient => ({
        [kind]: async () => 1,
        duplicate () {
          duplicates++
          if (failing === 'duplicate') throw new Error('duplicate')
          return make(kind)
        },
        connect: () => step('connect'),
        subscribe: () => failing === 'disconnect' ? Promise.reject(new Error('subscribe')) : step('subscribe'),
        disconnect: () => step('disconnect'),
        on () { if (failing === 'on') throw new Error('on') }
      }) as unknown as RedisClient
      for (const kind of ['call', 'sendCommand'] as const) {
        // ioredis answers nothing there.
        if (kind === 'call' && failing === 'disconnect' && later) continue
        duplicates = 0
        const time = fakeTime()
        const channel = redisInvalidation({ client: make(kind), channel: ownName(), clock: time.clock, timers: time.timers })
        channel.subscribe({ onInvalidated () {}, onReset () {} })
        await settle()
        time.pass(100)
        await settle()
        t.equal(duplicates, 2, `${kind}, ${failing}: it is tried again`)
        await channel.close()
        t.equal(time.waiting(), 0)
      }
    }
  }
})
