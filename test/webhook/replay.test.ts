/* eslint no-throw-literal: off, prefer-promise-reject-errors: off -- what a store throws is what is tested */
import t from 'tap'
import { MemoryReplayStore } from '../../lib/webhook/memory-replay-store.js'
import { claimDelivery, replayKey, type ClaimedDelivery, type ReplayStore } from '../../lib/webhook/replay.js'
import { fakeTime, settle } from '../api-key/fake-time.js'
import { watchProcess } from '../fixtures/app.js'
import { someTry } from './replay-contract.js'

t.test('a key tells its parts apart, wherever their borders are, and null from the word', async (t) => {
  const keys = [['a', 'b'], ['ab'], ['a,b'], ['a","b'], ['', 'ab'], ['ab', ''], ['a', null, 'b'], ['a', 'null', 'b'], ['a', '', 'b'], ['b', 'a']].map((parts) => replayKey(...parts))
  t.equal(new Set(keys).size, keys.length)
  t.equal(replayKey('a', 'b'), replayKey('a', 'b'))
  for (const key of keys) t.match(key, /^[A-Za-z0-9_-]{43}$/)
})

type Calls = Array<[method: string, ...rest: unknown[]]>

/** A store in memory whose calls are noted, and answered by what `answer` makes of them. */
function createWorld (answer: <T>(method: string, work: () => T) => T | Promise<T> = (_method, work) => work()) {
  const time = fakeTime()
  const memory = new MemoryReplayStore({ clock: time.clock })
  const calls: Calls = []
  const store: ReplayStore = {
    begin (attempt, lease) { calls.push(['begin', lease]); return answer('begin', () => memory.begin(attempt, lease)) },
    finish (attempt, retention) { calls.push(['finish', retention]); return answer('finish', () => memory.finish(attempt, retention)) },
    release (attempt) { calls.push(['release']); return answer('release', () => memory.release(attempt)) }
  }
  const claim = async (keys = ['key']): Promise<ClaimedDelivery[]> => await claimDelivery(store, keys, null, 600_000, { timers: time.timers as never, name: 'the replay store' })
  return { time, memory, calls, claim }
}

t.test('a lease is extended for as long as its handler takes, and ends with a process that dies', async (t) => {
  const { time, memory, calls, claim } = createWorld()
  const [delivery] = await claim()
  delivery!.hold(() => { t.fail('it was lost') })
  t.equal(time.holding(), 0, 'its timer keeps no process alive')
  for (let minutes = 0; minutes < 60; minutes++) {
    time.pass(60_000)
    await settle()
  }
  t.equal(memory.begin(someTry('key'), 1000), 'in-progress', 'an hour later')
  t.ok(calls.length > 300)
  delivery!.abandon()
  t.equal(time.waiting(), 0)
  time.pass(29_000)
  t.equal(memory.begin(someTry('key'), 1000), 'in-progress')
  time.pass(1_001)
  t.equal(memory.begin(someTry('key'), 1000), 'new')
})

t.test('finish and release end the extending, and leave no timer', async (t) => {
  for (const end of ['finish', 'release'] as const) {
    const { time, calls, claim } = createWorld()
    const [delivery] = await claim()
    delivery!.hold(() => {})
    t.equal(delivery![end](), null, 'at once, where the store answers at once')
    t.equal(time.waiting(), 0)
    time.pass(120_000)
    t.strictSame(calls, [['begin', 30_000], end === 'finish' ? ['finish', 600_000] : ['release']])
  }
})

t.test('an extension that another try has overtaken is told once, and not extended again', async (t) => {
  for (const state of ['in-progress', 'done'] as const) {
    const { time, memory, calls, claim } = createWorld()
    const [delivery] = await claim()
    let lost = 0
    delivery!.hold(() => { lost++ })
    // A process that was stopped for longer than its lease.
    time.now += 31_000
    const second = someTry('key')
    t.equal(memory.begin(second, 60_000), 'new')
    if (state === 'done') memory.finish(second, 60_000)
    time.pass(30_000)
    await settle()
    t.equal(lost, 1)
    t.equal(calls.length, 2)
    t.equal(delivery!.release(), null)
    t.equal(memory.begin(someTry('key'), 1000), state, 'what the other try has is its own')
  }
})

t.test('an extension that fails, at once, later or never, is tried again, and nothing of it is left unhandled', async (t) => {
  const faults = watchProcess(t)
  for (const failure of [() => { throw undefined }, () => Promise.reject(undefined), () => new Promise(() => {})]) {
    let fails = false
    const { time, memory, claim } = createWorld((_method, work) => fails ? failure() as never : work())
    const [delivery] = await claim()
    delivery!.hold(() => { t.fail('it was lost') })
    fails = true
    time.pass(10_000)
    await settle()
    fails = false
    for (let seconds = 0; seconds < 40; seconds++) {
      time.pass(1_000)
      await settle()
    }
    t.equal(memory.begin(someTry('key'), 1000), 'in-progress', 'it still holds it')
  }
  t.strictSame(faults, [])
})

t.test('an end waits for an extension that is under way: it would bring the delivery back', async (t) => {
  let answer: (() => void) | null = null
  let holds = false
  const { time, memory, calls, claim } = createWorld((method, work) => method === 'begin' && holds ? new Promise((resolve) => { answer = () => { resolve(work()) } }) : work())
  const [delivery] = await claim()
  holds = true
  delivery!.hold(() => {})
  time.pass(10_000)
  const ended = delivery!.release()
  t.strictSame(calls.map(([method]) => method), ['begin', 'begin'])
  answer!()
  t.equal(await ended, null)
  t.equal(memory.size, 0)
  time.pass(60_000)
  t.equal(calls.length, 3)
})

t.test('a delivery that was handled is remembered as soon as the store can, for longer than the lease lasts', async (t) => {
  const faults = watchProcess(t)
  for (const failure of [() => { throw new Error('down') }, () => Promise.reject(new Error('down')), () => new Promise(() => {})]) {
    let failures = 3
    const { time, memory, calls, claim } = createWorld((method, work) => method === 'finish' && failures-- > 0 ? failure() as never : work())
    const [delivery] = await claim()
    const finished = delivery!.finish()
    for (let seconds = 0; seconds < 60; seconds++) {
      time.pass(1_000)
      await settle()
    }
    t.equal(await finished, null)
    t.equal(calls.filter(([method]) => method === 'finish').length, 4)
    t.equal(memory.begin(someTry('key'), 1000), 'done')
  }
  t.strictSame(faults, [])
})

t.test('what cannot be remembered or released is told, and tried no more', async (t) => {
  const faults = watchProcess(t)
  const down = new Error('down')
  for (const failure of [() => { throw down }, () => Promise.reject(down)]) {
    const { time, calls, claim } = createWorld((method, work) => method === 'begin' ? work() : failure() as never)
    const [one, two] = await claim(['one', 'two'])
    t.match(await one!.release(), { code: 'AUTH_STORE_UNAVAILABLE', reason: 'unreachable', cause: down })
    const finished = two!.finish()
    for (let seconds = 0; seconds < 200; seconds++) {
      time.pass(1_000)
      await settle()
    }
    t.match(await finished, { code: 'AUTH_STORE_UNAVAILABLE', reason: 'unreachable', cause: down })
    t.equal(calls.filter(([method]) => method === 'finish').length, 6)
  }
  t.strictSame(faults, [])
})

t.test('a delivery that cannot be claimed under each of its keys is claimed under none', async (t) => {
  const faults = watchProcess(t)
  for (const wait of [false, true]) {
    const { memory, claim } = createWorld((_method, work) => wait ? Promise.resolve().then(work) : work())
    memory.begin(someTry('three'), 60_000)
    await t.rejects(claim(['one', 'two', 'three']), { code: 'AUTH_DELIVERY_REPLAYED', reason: 'in-progress', retryAfter: 10 })
    await settle()
    t.equal(memory.size, 1)
  }
  t.strictSame(faults, [])
})

t.test('a begin that fails is released at once, and again when the store says late that it was given', async (t) => {
  const faults = watchProcess(t)
  for (const [late, releases] of [['new', 2], ['in-progress', 1], ['done', 1], [new Error('late'), 2]] as const) {
    let come = (): void => {}
    const { time, calls, claim } = createWorld((method, work) => method !== 'begin'
      ? work()
      : new Promise((resolve, reject) => { come = () => { if (late instanceof Error) reject(late); else resolve(late as never) } }))
    const refused = t.rejects(claim(), { code: 'AUTH_STORE_UNAVAILABLE', reason: 'time-limit' })
    time.pass(2_000)
    await refused
    t.equal(calls.filter(([method]) => method === 'release').length, 1)
    come()
    await settle()
    t.equal(calls.filter(([method]) => method === 'release').length, releases, String(late))
  }
  const { calls, claim } = createWorld((method, work) => method === 'begin' ? Promise.reject(new Error('down')) : work())
  await t.rejects(claim(), { code: 'AUTH_STORE_UNAVAILABLE', reason: 'unreachable' })
  t.strictSame(calls, [['begin', 30_000], ['release']], 'an answer that was lost may have been a yes')
  t.strictSame(faults, [])
})
