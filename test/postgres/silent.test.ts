// Servers that accept and say nothing, and what stays open behind a time limit.
import t from 'tap'
import pg from 'pg'
import { PostgresApiKeyStore } from '../../lib/postgres/index.js'
import { createChannel } from '../../lib/api-key/channel.js'
import { listeningTransport, type PostgresListener } from '../../lib/postgres/listening.js'
import { fakeTime, settle } from '../api-key/fake-time.js'
import { postgres, postgresMissing } from '../fixtures/services.js'
import { silentServer } from '../fixtures/silent-server.js'
import { ownPool, ownSchema, until } from './open-store.js'

const skip = await postgresMissing()
const secret = { channel: `causeflow_${'0'.repeat(32)}`, secret: 'ab'.repeat(32) }

/** A channel whose time the test moves, over connections to this port. */
function channelTo (port: number, makeListener: () => PostgresListener | Promise<PostgresListener> = () => new pg.Client({ ...postgres, port, connectionTimeoutMillis: 0 })) {
  const time = fakeTime()
  const transport = listeningTransport({ makeListener, readSecret: async () => secret, probe: async () => {}, onRejected () {}, timers: time.timers })
  const channel = createChannel(transport, { ...time, monotonic: () => time.now, random: () => 1 })
  return { time, channel, listen: () => channel.subscribe({ onInvalidated () {}, onReset () {} }) }
}

t.test('a minute in which no opening ever settles leaves one connection open, and close leaves none', { skip }, async (t) => {
  for (const [what, server] of [
    ['says nothing', await silentServer(t)],
    ['does not answer LISTEN', await silentServer(t, { ...postgres, until: /listen "/ })],
    ['does not answer a text', await silentServer(t, { ...postgres, until: /pg_notify/ })]
  ] as const) {
    const { time, channel, listen } = channelTo(server.port)
    listen()
    for (let second = 0; second < 60; second++) {
      for (let wait = 0; wait < 8; wait++) await new Promise((resolve) => setTimeout(resolve, 5))
      time.pass(1_000)
    }
    t.ok(server.accepted >= 7, `${what}: ${server.accepted} connections were made`)
    await until(() => server.open <= 2, `${what}: ${server.open} of ${server.accepted} are open`, 3_000)
    const closing = channel.close()
    await settle()
    time.pass(1_000)
    await closing
    await until(() => server.open === 0, `${what}: all are closed`, 3_000)
  }
})

t.test('closed while it connects it resolves at once, and nothing is open', { skip }, async (t) => {
  const server = await silentServer(t)
  const pool = ownPool(t)
  const store = new PostgresApiKeyStore({ pool, schema: ownSchema(t), listener: () => new pg.Client({ ...postgres, port: server.port, connectionTimeoutMillis: 0 }) })
  store.invalidation?.subscribe({ onInvalidated () {}, onReset () {} })
  await until(() => server.open === 1, 'it connects')
  const began = performance.now()
  await store.close()
  t.ok(performance.now() - began < 500)
  await until(() => server.open === 0, 'it is closed', 3_000)
  t.equal(server.accepted, 1)
})

t.test('a client that comes after it was given up on is ended, one that cannot be made is tried again, and none ends the process', async (t) => {
  const ended: string[] = []
  const waiting: Array<(client: PostgresListener) => void> = []
  const client = (name: string): PostgresListener => ({
    connect: async () => { ended.push(`${name} connects`) },
    query: async () => {},
    end: async () => { ended.push(`${name} ends`); throw new Error('it fails to end') },
    on () {}
  })
  const late = channelTo(0, () => new Promise((resolve) => { waiting.push(resolve) }))
  late.listen()
  await settle()
  late.time.pass(5_000)
  waiting[0]?.(client('late'))
  await settle()
  t.strictSame(ended, ['late ends'])
  await late.channel.close()

  let tries = 0
  for (const fails of [() => { throw new Error('now') }, async () => { throw new Error('later') }]) {
    const failing = channelTo(0, () => { tries++; return fails() as never })
    failing.listen()
    await settle()
    failing.time.pass(100)
    await settle()
    await failing.channel.close()
  }
  t.equal(tries, 4)
})

t.test('each step of an opening that fails leaves nothing open and is tried again', async (t) => {
  for (const failing of ['connect', 'query', 'second connect', 'unref', 'on'] as const) {
    const [open, made] = [new Set<number>(), { count: 0 }]
    const makeListener = (): PostgresListener => {
      const number = ++made.count
      const fail = (step: string): void => { if (step === failing || (step === 'connect' && failing === 'second connect' && number % 2 === 0)) throw new Error(step) }
      return {
        async connect () { open.add(number); fail('connect') },
        async query () { fail('query') },
        async end () { open.delete(number) },
        on () { fail('on') },
        unref () { fail('unref') }
      }
    }
    const { time, channel, listen } = channelTo(0, makeListener)
    listen()
    await settle()
    const first = made.count
    time.pass(100)
    await settle()
    t.ok(made.count > first, `${failing}: it is tried again`)
    await channel.close()
    t.equal(open.size, 0, `${failing}: nothing is open`)
  }
})

t.test('a text that cannot be sent replaces both connections', async (t) => {
  const queries: string[] = []
  let made = 0
  const { time, channel, listen } = channelTo(0, () => {
    made++
    return {
      connect: async () => {},
      async query (text) {
        queries.push(text)
        if (text.startsWith('select')) throw new Error('cannot execute NOTIFY during recovery')
      },
      end: async () => {},
      on () {}
    }
  })
  listen()
  await settle()
  t.equal(made, 2)
  t.match(queries, [/^listen "causeflow_0+"; listen "causeflow_echo_[0-9a-f]{16}"$/, /^select pg_notify\('causeflow_echo_[0-9a-f]{16}', '[0-9a-f]{32}'\)$/])
  time.pass(100)
  await settle()
  t.equal(made, 4)
  await channel.close()
})
