import t from 'tap'
import { createHearing, type Hearing, type HearingSettings, type HearingTools, type Senders } from '../../lib/api-key/hearing.js'
import { fakeTime, settle } from './fake-time.js'

/** A hearing of 250 ms with texts every 100 ms, over a line that the test holds. */
function hearingUnderTest ({ senders = {}, tools = {} }: { senders?: Partial<Senders>, tools?: Partial<HearingTools> } = {}) {
  const time = fakeTime()
  const sent: string[] = []
  const told: string[] = []
  const settings: HearingSettings = {
    lease: 250,
    interval: 100,
    probeInterval: 1000,
    probeLease: 5000,
    deafAfter: 2000,
    onReset: () => told.push(`reset, ${hearing.healthy ? 'healthy' : 'not healthy'}`),
    onDeaf: () => told.push('deaf')
  }
  const inner = createHearing(settings, { ...time, clock: () => time.now, monotonic: () => time.now, ...tools })
  const start = () => { inner.start({ send: async (text) => { sent.push(text) }, ...senders }) }
  const hearing: Omit<Hearing, 'start'> & { start (): void } = { get healthy () { return inner.healthy }, start, echo: inner.echo, lost: inner.lost }
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
  const { sent, hearing } = hearingUnderTest({ tools: { clock: () => day } })
  hearing.start()
  hearing.echo(sent[0] ?? '')
  t.equal(hearing.healthy, true)
  day += 250
  t.equal(hearing.healthy, false)
  day -= 3_600_000
  t.equal(hearing.healthy, false, 'nor one whose clock was set back')
})

t.test('a wall clock that stands still lengthens nothing', async (t) => {
  const { time, sent, hearing } = hearingUnderTest({ tools: { clock: () => 0 } })
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
  const { time, told, hearing } = hearingUnderTest({ senders: { send: async (text) => { sent.push(text); throw new Error('down') } } })
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
  const hung = hearingUnderTest({ senders: { send: () => { calls++; return new Promise(() => {}) } } })
  hung.hearing.start()
  hung.time.pass(60_000)
  t.equal(calls, 8)
  let thrown = 0
  const throwing = hearingUnderTest({ senders: { send: () => { thrown++; throw new Error('now') } } })
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
    senders: {
      send (text) {
        if (!first) return new Promise(() => {})
        first = false
        hearing.echo(text)
        return Promise.resolve()
      }
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

/** A hearing whose probes go another way than its texts; both are answered by the test. */
function probedHearing () {
  const probes: Array<{ text: string, at: number, taken: () => Promise<void>, fails: () => Promise<void> }> = []
  const { time, sent, told, hearing } = hearingUnderTest({
    senders: {
      probe: (text) => new Promise<void>((resolve, reject) => {
        probes.push({
          text,
          at: time.now,
          taken () { resolve(); return settle() },
          fails () { reject(new Error('busy')); return settle() }
        })
      })
    }
  })
  const echoed = new Set<string>()
  /** Lets time pass while every text comes back at once, and every probe where `probed`. */
  const pass = async (milliseconds: number, probed = true): Promise<void> => {
    for (let step = 0; step < milliseconds; step += 50) {
      time.pass(50)
      for (const text of [...sent, ...probed ? probes.map((probe) => probe.text) : []]) {
        if (!echoed.has(text)) hearing.echo(text)
        echoed.add(text)
      }
      if (probed) for (const probe of probes) await probe.taken()
    }
  }
  return { time, sent, told, hearing, probes, pass }
}

t.test('where texts have a way of their own it is not healthy before a probe has come back the other way', async (t) => {
  const { sent, told, hearing, probes } = probedHearing()
  hearing.start()
  hearing.echo(sent[0] ?? '')
  t.equal(hearing.healthy, false)
  t.strictSame(told, [])
  hearing.echo(probes[0]?.text ?? '')
  t.equal(hearing.healthy, true)
  t.strictSame(told, ['reset, not healthy'])
  hearing.lost()
  hearing.start()
  hearing.echo(probes[1]?.text ?? '')
  t.equal(hearing.healthy, false)
  hearing.echo(sent.at(-1) ?? '')
  t.equal(hearing.healthy, true, 'in either order')
})

t.test('a probe is sent once a second, and one that failed with the next text', async (t) => {
  const { hearing, probes, pass } = probedHearing()
  hearing.start()
  await pass(4_900)
  t.equal(probes.length, 5)
  await pass(200, false)
  const before = probes.length
  await probes.at(-1)?.fails()
  await pass(100, false)
  t.equal(probes.length, before + 1)
})

t.test('a pool that is too busy to take a probe leaves it healthy for five seconds, and is asked again every two', async (t) => {
  const { time, told, hearing, probes, pass } = probedHearing()
  hearing.start()
  await pass(900)
  const before = probes.length
  const proved = probes.at(-1)?.at ?? 0
  while (time.now - proved < 4_900) {
    await pass(50, false)
    t.equal(hearing.healthy, true, `${time.now - proved} ms`)
  }
  await pass(150, false)
  t.equal(hearing.healthy, false)
  t.equal(probes.length, before + 3)
  await pass(60_000, false)
  t.equal(probes.length, before + 8, 'and never by more than eight at once')
  t.strictSame(told, ['reset, not healthy'], 'the transport is not given up on')
})

t.test('a probe that is taken and does not come back: another server. Not healthy within the lease, and given up on after two seconds', async (t) => {
  const { told, hearing, probes, pass } = probedHearing()
  hearing.start()
  await pass(900)
  await pass(150, false)
  const lost = probes.at(-1)
  await lost?.taken()
  t.equal(hearing.healthy, true)
  await pass(250, false)
  t.equal(hearing.healthy, false)
  hearing.echo(lost?.text ?? '')
  t.equal(hearing.healthy, true, 'it was only late')
  await pass(1_000, false)
  await probes.at(-1)?.taken()
  await pass(1_900, false)
  t.equal(told.includes('deaf'), false)
  await pass(100, false)
  t.ok(told.includes('deaf'))
})

t.test('where only one text may wait at a time, the next is sent as soon as it is answered', async (t) => {
  const answers: Array<() => void> = []
  const { time, hearing } = hearingUnderTest({ senders: { maxUnsettled: 1, send: () => new Promise<void>((resolve) => { answers.push(resolve) }) } })
  hearing.start()
  time.pass(350)
  t.equal(answers.length, 1)
  answers[0]?.()
  await settle()
  t.equal(answers.length, 2, 'at once and not at the next beat')
  answers[1]?.()
  await settle()
  t.equal(answers.length, 2, 'one for all that were due')
  hearing.lost()
  time.pass(1_000)
  t.equal(answers.length, 2)
})
