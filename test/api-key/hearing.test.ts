import t from 'tap'
import { createHearing, type Hearing, type HearingSettings, type HearingTools } from '../../lib/api-key/hearing.js'
import { fakeTime, settle } from './fake-time.js'

/** A hearing of 250 ms with texts every 100 ms, over a line that the test holds. */
function hearingUnderTest (settings: Partial<HearingSettings> = {}, tools: Partial<HearingTools> = {}) {
  const time = fakeTime()
  const sent: string[] = []
  const told: string[] = []
  const hearing: Hearing = createHearing({
    send: async (text) => { sent.push(text) },
    lease: 250,
    interval: 100,
    deafAfter: 2000,
    onReset: () => told.push(`reset, ${hearing.healthy ? 'healthy' : 'not healthy'}`),
    onDeaf: () => told.push('deaf'),
    ...settings
  }, { ...time, clock: () => time.now, monotonic: () => time.now, ...tools })
  return { time, sent, told, hearing }
}

t.test('it is not healthy before its first text has come back, and everything is forgotten before it is', async (t) => {
  const { sent, told, hearing } = hearingUnderTest()
  t.equal(hearing.healthy, false)
  hearing.start()
  t.equal(hearing.healthy, false)
  t.equal(sent.length, 1, 'the first is sent at once')
  hearing.echo(sent[0] ?? '')
  t.strictSame(told, ['reset, not healthy'])
  t.equal(hearing.healthy, true)
})

t.test('a proof counts from when its text was sent, not from when it came back', async (t) => {
  const { time, sent, hearing } = hearingUnderTest()
  hearing.start()
  time.pass(150)
  hearing.echo(sent[0] ?? '')
  t.equal(hearing.healthy, true)
  time.pass(99)
  t.equal(hearing.healthy, true)
  time.pass(1)
  t.equal(hearing.healthy, false, '250 ms after it was sent')
})

t.test('a text that comes back after its lease proves nothing any more', async (t) => {
  const { time, sent, hearing } = hearingUnderTest()
  hearing.start()
  time.pass(250)
  hearing.echo(sent[0] ?? '')
  t.equal(hearing.healthy, false)
})

t.test('texts that overtake each other: the one sent last counts', async (t) => {
  const { time, sent, hearing } = hearingUnderTest()
  hearing.start()
  time.pass(100)
  hearing.echo(sent[1] ?? '')
  hearing.echo(sent[0] ?? '')
  time.pass(200)
  t.equal(hearing.healthy, true)
  time.pass(50)
  t.equal(hearing.healthy, false)
})

t.test('what was not sent, was sent before the loss, or comes back twice proves nothing', async (t) => {
  const { time, sent, told, hearing } = hearingUnderTest()
  hearing.start()
  hearing.echo('0'.repeat(32))
  t.equal(hearing.healthy, false)
  hearing.lost()
  hearing.start()
  hearing.echo(sent[0] ?? '')
  t.equal(hearing.healthy, false)
  hearing.echo(sent[1] ?? '')
  t.equal(hearing.healthy, true)
  time.pass(240)
  hearing.echo(sent[1] ?? '')
  time.pass(10)
  t.equal(hearing.healthy, false)
  t.strictSame(told, ['reset, not healthy'])
  t.equal(new Set(sent).size, sent.length, 'no two texts are alike')
})

t.test('after a loss it is not healthy at once, sends nothing, and begins with a reset again', async (t) => {
  const { time, sent, told, hearing } = hearingUnderTest()
  hearing.start()
  hearing.echo(sent[0] ?? '')
  hearing.lost()
  t.equal(hearing.healthy, false)
  t.equal(time.waiting(), 0)
  hearing.start()
  hearing.echo(sent.at(-1) ?? '')
  t.equal(hearing.healthy, true)
  t.equal(told.length, 2)
})

t.test('a missed echo without a loss is no reset: what comes after it came in order', async (t) => {
  const { time, sent, told, hearing } = hearingUnderTest()
  hearing.start()
  hearing.echo(sent[0] ?? '')
  time.pass(300)
  t.equal(hearing.healthy, false)
  hearing.echo(sent.at(-1) ?? '')
  t.equal(hearing.healthy, true)
  t.equal(told.length, 1)
})

t.test('a machine that slept is not healthy although the steady clock stood still', async (t) => {
  let day = Date.parse('2026-01-02T00:00:00Z')
  const { sent, hearing } = hearingUnderTest({}, { clock: () => day })
  hearing.start()
  hearing.echo(sent[0] ?? '')
  t.equal(hearing.healthy, true)
  day += 250
  t.equal(hearing.healthy, false)
  day -= 3_600_000
  t.equal(hearing.healthy, false, 'nor one whose clock was set back')
})

t.test('a wall clock that stands still lengthens nothing', async (t) => {
  const { time, sent, hearing } = hearingUnderTest({}, { clock: () => 0 })
  hearing.start()
  hearing.echo(sent[0] ?? '')
  time.pass(250)
  t.equal(hearing.healthy, false)
})

t.test('texts that are taken and never come back: the transport is given up on after two seconds, once', async (t) => {
  const { time, sent, told, hearing } = hearingUnderTest()
  hearing.start()
  for (let step = 0; step < 20; step++) {
    t.strictSame(told, [])
    await settle()
    time.pass(100)
  }
  t.strictSame(told, ['deaf'])
  t.equal(sent.length, 20)
})

t.test('texts that are not taken say nothing about the transport', async (t) => {
  const sent: string[] = []
  const { time, told, hearing } = hearingUnderTest({ send: async (text) => { sent.push(text); throw new Error('down') } })
  hearing.start()
  for (let step = 0; step < 100; step++) {
    time.pass(100)
    await settle()
    if (step === 19) hearing.echo(sent[0] ?? '')
  }
  t.strictSame(told, [], 'nor does one that comes back after two seconds: it is forgotten')
  t.equal(sent.length, 101, 'and it is tried without end')
  t.equal(hearing.healthy, false)
})

t.test('a pool that hangs is asked eight times and not for ever, and one that throws does no harm', async (t) => {
  let calls = 0
  const hung = hearingUnderTest({ send: () => { calls++; return new Promise(() => {}) } })
  hung.hearing.start()
  hung.time.pass(60_000)
  t.equal(calls, 8)
  let thrown = 0
  const throwing = hearingUnderTest({ send: () => { thrown++; throw new Error('now') } })
  throwing.hearing.start()
  throwing.time.pass(60_000)
  t.equal(thrown, 601)
  t.equal(throwing.hearing.healthy, false)
})

t.test('started twice is started once', async (t) => {
  const { time, sent, hearing } = hearingUnderTest()
  hearing.start()
  hearing.start()
  t.equal(sent.length, 1)
  t.equal(time.waiting(), 1)
})

t.test('a text that is back before it is said to be taken leaves no silence behind', async (t) => {
  let first = true
  const { time, told, hearing } = hearingUnderTest({
    send (text) {
      if (!first) return new Promise(() => {})
      first = false
      hearing.echo(text)
      return Promise.resolve()
    }
  })
  hearing.start()
  await settle()
  time.pass(5000)
  t.strictSame(told.filter((what) => what === 'deaf'), [], 'the others are not taken, which says nothing of the transport')
})

t.test('no timer keeps the process alive', async (t) => {
  const { time, hearing } = hearingUnderTest()
  hearing.start()
  time.pass(100)
  t.equal(time.waiting(), 1)
  t.equal(time.holding(), 0)
})
