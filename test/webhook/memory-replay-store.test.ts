import t from 'tap'
import { MemoryReplayStore } from '../../lib/webhook/memory-replay-store.js'
import { replayContract } from './replay-contract.js'

let now = Date.UTC(2026, 0, 1)
const clock = (): number => now

await replayContract(t, 'memory', () => ({
  store: new MemoryReplayStore({ clock }),
  now: clock,
  advance (milliseconds) { now += milliseconds }
}))

t.test('when full it takes no new delivery and forgets none, and takes one again once room is free', async (t) => {
  const store = new MemoryReplayStore({ max: 2, clock })
  t.equal(store.remember('a', now + 10_000), true)
  t.equal(store.remember('b', now + 20_000), true)
  t.throws(() => store.remember('c', now + 10_000), { message: 'The replay store is full: raise max, or use a shared store' })
  t.equal(store.remember('a', now + 10_000), false)
  t.equal(store.remember('b', now + 10_000), false)
  now += 11_000
  t.equal(store.remember('c', now + 10_000), true)
  t.equal(store.size, 2)
})

t.test('memory is given back in the order of time and not of arrival', async (t) => {
  const store = new MemoryReplayStore({ clock })
  store.remember('day', now + 86_400_000)
  for (let at = 0; at < 1000; at++) store.remember(`short ${at}`, now + 600_000 + at)
  now += 602_000
  store.remember('next', now + 1_000)
  t.equal(store.size, 2)
})

t.test('after a long silence, and after a clock set back, everything that is past is dropped', async (t) => {
  const store = new MemoryReplayStore({ clock })
  for (let at = 0; at < 100; at++) store.remember(`${at}`, now + 5_000 + at * 100)
  now += 365 * 86_400_000
  store.remember('later', now + 5_000)
  t.equal(store.size, 1)
  now -= 86_400_000
  store.remember('back', now + 5_000)
  now += 6_000
  store.remember('again', now + 5_000)
  t.strictSame(store.size, 2, 'later and again')
})

t.test('a delivery is new again at its very time, in the middle of a second too', async (t) => {
  now = Date.UTC(2026, 0, 2)
  const store = new MemoryReplayStore({ clock })
  store.remember('at', now + 500)
  store.remember('after', now + 500)
  now += 499
  t.equal(store.remember('at', now + 60_000), false)
  now += 1
  t.equal(store.remember('at', now + 60_000), true)
  now += 1
  t.equal(store.remember('after', now + 60_000), true)
})

t.test('a delivery that is remembered anew counts until its new time, whatever its old one was', async (t) => {
  now = Date.UTC(2026, 0, 2)
  const store = new MemoryReplayStore({ clock })
  store.remember('again', now + 500)
  now += 700
  t.equal(store.remember('again', now + 60_000), true)
  now += 1_000
  t.equal(store.remember('again', now + 60_000), false)
})

t.test('a forgotten delivery leaves those that end with it to be dropped in their time', async (t) => {
  now = Date.UTC(2026, 0, 2)
  const store = new MemoryReplayStore({ clock })
  for (const key of ['a', 'b', 'c']) store.remember(key, now + 5_000)
  store.forget('b')
  t.equal(store.size, 2)
  now += 5_000
  store.remember('later', now + 5_000)
  t.equal(store.size, 1)
})

t.test('what is past is dropped to the very second, however many seconds are still to come', async (t) => {
  for (const others of [0, 100]) {
    now = Date.UTC(2026, 0, 2)
    const store = new MemoryReplayStore({ clock })
    for (let at = 0; at < others; at++) store.remember(`other ${at}`, now + 86_400_000 + at * 1000)
    for (const seconds of [2, 5, 6]) store.remember(`${seconds}`, now + seconds * 1000)
    const sizes = []
    for (const seconds of [5, 1, 1]) {
      now += seconds * 1000
      store.remember('past', now)
      sizes.push(store.size - others)
    }
    t.strictSame(sizes, [1, 0, 0], `${others} others`)
  }
})

t.test('there may be room for one', async (t) => {
  const store = new MemoryReplayStore({ max: 1, clock })
  t.equal(store.remember('one', now + 10_000), true)
  t.throws(() => store.remember('two', now + 10_000), { message: /full/ })
})

t.test('a delivery whose time is past already takes no room', async (t) => {
  const store = new MemoryReplayStore({ clock })
  t.equal(store.remember('past', now), true)
  t.equal(store.size, 0)
})

t.test('a wrong bound or clock is refused when it is made', async (t) => {
  for (const options of [{ max: 0 }, { max: 1.5 }, { max: NaN }, { clock: 5 as never }]) {
    t.throws(() => new MemoryReplayStore(options), { code: 'AUTH_CONFIG_OPTION' })
  }
})
