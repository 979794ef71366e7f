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
