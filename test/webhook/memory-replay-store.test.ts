import t from 'tap'
import { MemoryReplayStore } from '../../lib/webhook/memory-replay-store.js'
import { another, replayContract, someTry } from './replay-contract.js'

let now = Date.UTC(2026, 0, 1)
const clock = (): number => now

await replayContract(t, 'memory', () => ({
  store: new MemoryReplayStore({ clock }),
  advance (milliseconds) { now += milliseconds }
}))

t.test('when full it takes no new delivery and forgets none, and takes one again once room is free', async (t) => {
  const store = new MemoryReplayStore({ max: 2, clock })
  const [a, b, c] = [someTry(), someTry(), someTry()]
  t.equal(store.begin(a, 10_000), 'new')
  t.equal(store.begin(b, 20_000), 'new')
  t.throws(() => store.begin(c, 10_000), { message: 'The replay store is full: raise max, or use a shared store' })
  t.throws(() => store.finish(c, 10_000), { message: /full/ })
  t.equal(store.begin(another(a), 10_000), 'in-progress')
  store.finish(b, 20_000)
  t.equal(store.begin(b, 10_000), 'done', 'what is known has its place')
  now += 11_000
  t.equal(store.begin(c, 10_000), 'new')
  t.equal(store.size, 2)
})

t.test('an owner cannot take the share of ten others, in whatever order they come', async (t) => {
  const store = new MemoryReplayStore({ max: 100, clock })
  const fill = (owner: string | null): number => {
    for (let held = 0; ; held++) {
      try {
        store.begin({ ...someTry(), owner }, 10_000)
      } catch (error) {
        t.match(error, { message: owner === null || store.size === 100 ? /is full/ : /^This owner/ })
        return held
      }
    }
  }
  const others = Array.from({ length: 10 }, (_, n) => `other ${n}`)
  t.equal(fill('attacker'), 50)
  t.strictSame(others.map((owner) => [fill(owner), fill('attacker')]), others.map(() => [5, 0]))
  t.equal(store.size, 100)
  now += 11_000
  t.strictSame(others.slice(0, 3).map(fill), [50, 5, 5], 'what has passed counts no more, and any owner may be the first')
  t.equal(fill('attacker'), 5)
  t.equal(fill(null), 35, 'configured secrets take what is left')
  now += 11_000
  for (let round = 0; round < 4; round++) {
    for (const owner of others) store.begin({ ...someTry(), owner }, 10_000)
  }
  t.equal(fill('attacker'), 10, 'up to the half')
  t.strictSame(others.map(fill), others.map(() => 1), 'and the others up to their share')
})

t.test('the share of an owner is rounded so that ten owners have room for theirs', async (t) => {
  for (const max of [20, 21, 39, 41, 100]) {
    const store = new MemoryReplayStore({ max, clock })
    const put = (owner: string): boolean => {
      try {
        return store.begin({ ...someTry(), owner }, 10_000) === 'new'
      } catch {
        return false
      }
    }
    while (put('attacker')) continue
    for (let other = 0; other < 10; other++) {
      for (let held = 0; held < Math.floor(max / 20); held++) t.ok(put(`other ${other}`), `${max}: ${other}`)
    }
  }
})

t.test('what an owner releases or has handled for long enough counts no more', async (t) => {
  const store = new MemoryReplayStore({ max: 4, clock })
  const own = () => ({ ...someTry(), owner: 'a' })
  const [one, two] = [own(), own()]
  store.begin(one, 10_000)
  store.begin(two, 10_000)
  t.throws(() => store.begin(own(), 10_000))
  store.release(one)
  const three = own()
  t.equal(store.begin(three, 10_000), 'new')
  store.finish(two, 5_000)
  store.finish(three, 20_000)
  t.throws(() => store.begin(own(), 10_000))
  now += 6_000
  t.equal(store.begin(own(), 10_000), 'new')
})

t.test('what is held is bounded in bytes: keys, tries and owners have a length', async (t) => {
  const store = new MemoryReplayStore({ clock })
  const long = 'x'.repeat(65)
  for (const wrong of [{ key: long }, { id: long }, { owner: long }]) {
    t.throws(() => store.begin({ ...someTry(), ...wrong }, 10_000), TypeError)
    t.throws(() => store.finish({ ...someTry(), ...wrong }, 10_000), TypeError)
  }
  t.equal(store.size, 0)
  t.equal(store.begin({ ...someTry('k'.repeat(64)), owner: 'o'.repeat(64) }, 10_000), 'new')
})

t.test('a clock that returns no number, and a duration that is none, forget nothing: they throw', async (t) => {
  let time: unknown = now
  const store = new MemoryReplayStore({ clock: () => time as number })
  const done = someTry()
  store.begin(done, 10_000)
  store.finish(done, 10_000)
  for (const wrong of [NaN, undefined, Promise.resolve(now), `${now}`, Infinity, null]) {
    time = wrong
    t.throws(() => store.begin(another(done), 10_000), { message: 'The clock of the replay store returned no number' }, String(wrong))
    t.throws(() => store.finish(another(done), 10_000), TypeError)
  }
  t.throws(() => new MemoryReplayStore({ clock: () => NaN }), TypeError)
  time = now
  t.equal(store.begin(another(done), 10_000), 'done')
  for (const wrong of [0, -1, NaN, Infinity, undefined as never]) {
    t.throws(() => store.begin(someTry(), wrong), TypeError)
    t.throws(() => store.finish(done, wrong), TypeError)
  }
  t.equal(store.size, 1)
})

t.test('memory is given back in the order of time and not of arrival', async (t) => {
  const store = new MemoryReplayStore({ clock })
  store.begin(someTry(), 86_400_000)
  for (let at = 0; at < 1000; at++) store.begin(someTry(), 600_000 + at)
  now += 602_000
  store.begin(someTry(), 1_000)
  t.equal(store.size, 2)
})

t.test('after a long silence, and after a clock set back, everything that is past is dropped', async (t) => {
  const store = new MemoryReplayStore({ clock })
  for (let at = 0; at < 100; at++) store.begin(someTry(), 5_000 + at * 100)
  now += 365 * 86_400_000
  store.begin(someTry(), 5_000)
  t.equal(store.size, 1)
  now -= 86_400_000
  store.begin(someTry(), 5_000)
  now += 6_000
  store.begin(someTry(), 5_000)
  t.strictSame(store.size, 2, 'the one of later, and the last')
})

t.test('a delivery is new again at its very time, in the middle of a second too', async (t) => {
  now = Date.UTC(2026, 0, 2)
  const store = new MemoryReplayStore({ clock })
  const [at, after] = [someTry(), someTry()]
  store.begin(at, 500)
  store.begin(after, 500)
  now += 499
  t.equal(store.begin(another(at), 60_000), 'in-progress')
  now += 1
  t.equal(store.begin(another(at), 60_000), 'new')
  now += 1
  t.equal(store.begin(another(after), 60_000), 'new')
})

t.test('a delivery that is remembered anew counts until its new time, whatever its old one was', async (t) => {
  now = Date.UTC(2026, 0, 2)
  const store = new MemoryReplayStore({ clock })
  const one = someTry()
  store.begin(one, 500)
  now += 700
  t.equal(store.begin(another(one), 60_000), 'new')
  now += 1_000
  t.equal(store.begin(another(one), 60_000), 'in-progress')
})

t.test('a released delivery leaves those that end with it to be dropped in their time', async (t) => {
  now = Date.UTC(2026, 0, 2)
  const store = new MemoryReplayStore({ clock })
  const tries = [someTry(), someTry(), someTry()]
  for (const one of tries) store.begin(one, 5_000)
  store.release(tries[1]!)
  t.equal(store.size, 2)
  now += 5_000
  store.begin(someTry(), 5_000)
  t.equal(store.size, 1)
})

t.test('what is past is dropped to the very second, however many seconds are still to come', async (t) => {
  for (const others of [0, 100]) {
    now = Date.UTC(2026, 0, 2)
    const store = new MemoryReplayStore({ clock })
    for (let at = 0; at < others; at++) store.begin(someTry(), 86_400_000 + at * 1000)
    for (const seconds of [2, 5, 6]) store.begin(someTry(), seconds * 1000)
    const sizes = []
    for (const seconds of [5, 1, 1]) {
      now += seconds * 1000
      const probe = someTry()
      store.begin(probe, 60_000)
      store.release(probe)
      sizes.push(store.size - others)
    }
    t.strictSame(sizes, [1, 0, 0], `${others} others`)
  }
})

t.test('there may be room for one', async (t) => {
  for (const owner of [null, 'a']) {
    const store = new MemoryReplayStore({ max: 1, clock })
    t.equal(store.begin({ ...someTry(), owner }, 10_000), 'new')
    t.throws(() => store.begin({ ...someTry(), owner }, 10_000), { message: /full/ })
  }
})

t.test('a wrong bound or clock is refused when it is made', async (t) => {
  for (const options of [{ max: 0 }, { max: 1.5 }, { max: NaN }, { clock: 5 as never }]) {
    t.throws(() => new MemoryReplayStore(options), { code: 'AUTH_CONFIG_OPTION' })
  }
})
