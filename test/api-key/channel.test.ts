import t from 'tap'
import { createChannel, type Arrivals, type Transport } from '../../lib/api-key/channel.js'
import { fakeTime, settle } from './fake-time.js'
import { watchProcess } from '../fixtures/process-watch.js'

watchProcess(t)

/** A channel over a transport that the test plays: each opening waits for its answer. */
function channelUnderTest ({ random = 1 } = {}) {
  const time = fakeTime()
  const log: string[] = []
  const sent: string[] = []
  const openings: Array<{ arrivals: Arrivals, signal: AbortSignal, opens: () => Promise<void>, fails: () => Promise<void>, at: number }> = []
  const transport: Transport = {
    open (arrivals, signal) {
      const number = openings.length + 1
      return new Promise((resolve, reject) => {
        openings.push({
          arrivals,
          signal,
          at: time.now,
          opens () {
            resolve({ send: async (text) => { sent.push(text) }, end () { log.push(`ended ${number}`) } })
            return settle()
          },
          fails () {
            reject(new Error('down'))
            return settle()
          }
        })
      })
    }
  }
  const channel = createChannel(transport, { ...time, monotonic: () => time.now, random: () => random })
  const listen = () => channel.subscribe({ onInvalidated: (change) => log.push(JSON.stringify(change)), onReset: () => log.push('reset') })
  const last = () => {
    const opening = openings.at(-1)
    if (opening === undefined) throw new Error('Nothing was opened')
    return opening
  }
  return { time, log, sent, openings, channel, listen, last, echo: () => last().arrivals.echo(sent.at(-1) ?? '') }
}

t.test('the first subscription opens the transport and the end of the last ends it; another one opens it again', async (t) => {
  const { time, log, openings, channel, listen, last, echo } = channelUnderTest()
  t.equal(openings.length, 0)
  const [one, two] = [listen(), listen()]
  t.equal(openings.length, 1)
  await last().opens()
  t.equal(channel.healthy, false)
  echo()
  t.equal(channel.healthy, true)
  one()
  one()
  t.equal(channel.healthy, true)
  two()
  t.equal(channel.healthy, false)
  t.strictSame(log, ['reset', 'reset', 'ended 1'])
  t.equal(time.waiting(), 0, 'nothing ticks any more')
  listen()
  t.equal(openings.length, 2)
})

t.test('a loss is not healthy at once, is mended, and is a reset when it is', async (t) => {
  const { time, log, sent, openings, channel, listen, last, echo } = channelUnderTest()
  listen()
  await last().opens()
  echo()
  const old = last().arrivals
  old.lost()
  t.equal(channel.healthy, false)
  t.strictSame(log, ['reset', 'ended 1'])
  old.lost()
  time.pass(100)
  t.equal(openings.length, 2, 'lost twice is lost once')
  await last().opens()
  old.echo('x')
  old.echo(sent.at(-1) ?? '')
  old.changes('{"keyId":"a"}')
  t.equal(channel.healthy, false)
  t.strictSame(log, ['reset', 'ended 1'], 'what an old connection still says counts for nothing')
  echo()
  t.equal(channel.healthy, true)
  t.strictSame(log, ['reset', 'ended 1', 'reset'])
})

t.test('it connects again without end, later and later up to five seconds, half of it by chance', async (t) => {
  for (const [random, factor] of [[1, 1], [0, 0.5]] as const) {
    const { time, openings, listen, last } = channelUnderTest({ random })
    listen()
    const waits: number[] = []
    for (let round = 0; round < 200; round++) {
      const failed = time.now
      await last().fails()
      time.pass(5_000)
      waits.push(last().at - failed)
    }
    t.strictSame(waits.slice(0, 8), [100, 200, 400, 800, 1600, 3200, 5000, 5000].map((wait) => wait * factor))
    t.strictSame(new Set(waits.slice(8)), new Set([5000 * factor]))
    t.equal(openings.length, 201)
  }
})

t.test('who subscribes while it waits to connect again waits with it', async (t) => {
  const { time, openings, listen, last } = channelUnderTest()
  listen()
  await last().fails()
  listen()
  t.equal(openings.length, 1)
  time.pass(100)
  t.equal(openings.length, 2)
})

t.test('after it has heard itself it connects soon again', async (t) => {
  const { time, openings, listen, last, echo } = channelUnderTest()
  listen()
  for (let round = 0; round < 8; round++) {
    await last().fails()
    time.pass(5_000)
  }
  await last().opens()
  echo()
  const before = openings.length
  last().arrivals.lost()
  time.pass(100)
  t.equal(openings.length, before + 1)
})

t.test('an opening that hangs is given up on after five seconds, and ended if it opens after all', async (t) => {
  const { time, log, openings, listen, last } = channelUnderTest()
  listen()
  const hung = last()
  time.pass(4_999)
  t.equal(openings.length, 1)
  time.pass(101)
  t.equal(openings.length, 2)
  t.equal(hung.signal.aborted, true, 'whoever opens it is told')
  t.equal(last().signal.aborted, false)
  await hung.opens()
  t.strictSame(log, ['ended 1'])
})

t.test('a connection on which nothing comes back is replaced', async (t) => {
  const { time, log, openings, listen, last } = channelUnderTest()
  listen()
  await last().opens()
  time.pass(2_100)
  t.strictSame(log, ['ended 1'])
  time.pass(100)
  t.equal(openings.length, 2)
})

t.test('an opening that throws is an opening that failed', async (t) => {
  const time = fakeTime()
  let openings = 0
  const channel = createChannel({ open () { openings++; throw new Error('now') } }, { ...time, monotonic: () => time.now, random: () => 1 })
  channel.subscribe({ onInvalidated () {}, onReset () {} })
  await settle()
  time.pass(100)
  t.equal(openings, 2)
})

t.test('changes are told one by one, and text that cannot be read means everything', async (t) => {
  const { log, listen, last } = channelUnderTest()
  listen()
  await last().opens()
  const { arrivals } = last()
  arrivals.changes('{"keyId":"k","digest":"d"}')
  arrivals.changes('[{"digest":"d"},{"tenantId":"t"}]')
  t.strictSame(log.splice(0), ['{"keyId":"k","digest":"d"}', '{"digest":"d"}', '{"tenantId":"t"}'])
  const strange = ['{"keyId":"k","created":false}', '', '{', 'null', '1', '[null]', '{}', '{"keyId":1}', '[{"digest":"d"},{}]', '{"key":"k"}', '{"keyId":"k","digest":1}', '"keyId"']
  for (const text of strange) arrivals.changes(text)
  t.strictSame(log.splice(0), strange.map(() => 'reset'))
})

t.test('closed, it ends everything and opens nothing again', async (t) => {
  const { time, log, openings, channel, listen, last, echo } = channelUnderTest()
  listen()
  await last().opens()
  echo()
  await channel.close()
  t.equal(channel.healthy, false)
  t.equal(time.waiting(), 0)
  last().arrivals.lost()
  listen()
  time.pass(60_000)
  t.equal(openings.length, 1)
  t.strictSame(log, ['reset', 'ended 1'])
  await channel.close()
})

t.test('closed while it connects, it tells whoever connects and waits until nothing is open', async (t) => {
  const { time, log, openings, channel, listen, last } = channelUnderTest()
  listen()
  let closed = false
  const closing = channel.close().then(() => { closed = true })
  t.equal(last().signal.aborted, true)
  await settle()
  t.equal(closed, false)
  await last().opens()
  await closing
  t.strictSame(log, ['ended 1'])
  t.equal(openings.length, 1)
  t.equal(time.waiting(), 0)
})

t.test('the end of the last subscription gives up an opening, and one that rejects then is no unhandled rejection', async (t) => {
  const { time, openings, channel, listen, last } = channelUnderTest()
  listen()()
  t.equal(last().signal.aborted, true)
  await last().fails()
  time.pass(60_000)
  t.equal(openings.length, 1)
  listen()
  t.equal(openings.length, 2)
  const closing = channel.close()
  await last().fails()
  await closing
})

t.test('an end that throws or rejects is nobody\'s fault, and close waits for one that takes its time', async (t) => {
  const time = fakeTime()
  const ends: Array<() => void | Promise<void>> = [() => { throw new Error('now') }, async () => { throw new Error('later') }]
  const arrivals: Arrivals[] = []
  const channel = createChannel({
    async open (own) {
      arrivals.push(own)
      return { send: async () => {}, end: ends[arrivals.length - 1] ?? (() => new Promise((resolve) => { release = resolve })) }
    }
  }, { ...time, monotonic: () => time.now, random: () => 1 })
  let release = (): void => {}
  channel.subscribe({ onInvalidated () {}, onReset () {} })
  for (let round = 0; round < 2; round++) {
    await settle()
    arrivals[round]?.lost()
    await settle()
    time.pass(1_000)
  }
  await settle()
  t.equal(arrivals.length, 3)
  let closed = false
  const closing = channel.close().then(() => { closed = true })
  await settle()
  t.equal(closed, false)
  release()
  await closing
})

t.test('a listener that throws is told to forget everything, and keeps no other from hearing', async (t) => {
  const { log, channel, listen, last, echo } = channelUnderTest()
  const thrown: string[] = []
  channel.subscribe({
    onInvalidated () { thrown.push('change'); throw new Error('mine') },
    onReset () { thrown.push('reset'); throw new Error('mine, too') }
  })
  listen()
  await last().opens()
  echo()
  t.equal(channel.healthy, true)
  last().arrivals.changes('[{"keyId":"a"},{"keyId":"b"}]')
  last().arrivals.changes('?')
  t.strictSame(thrown, ['reset', 'change', 'reset', 'reset'])
  t.strictSame(log, ['reset', '{"keyId":"a"}', '{"keyId":"b"}', 'reset'])
})

t.test('closed while it waits to connect again, it does not', async (t) => {
  const { time, openings, channel, listen, last } = channelUnderTest()
  listen()
  await last().fails()
  await channel.close()
  time.pass(60_000)
  t.equal(openings.length, 1)
  t.equal(time.holding(), 0)
})
