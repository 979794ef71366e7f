/** What every replay store must do. A store's own test calls this. */
import type { Test } from 'tap'
import type { DeliveryTry, ReplayStore } from '../../lib/index.js'

export interface ReplayContractSubject {
  store: ReplayStore
  /** A second door to the same memory, as another process has it; for a store of one process, the same one. */
  other?: ReplayStore
  /** Lets time pass for the store, by moving its clock or by waiting. */
  advance (milliseconds: number): void | Promise<void>
  close? (): void | Promise<void>
}

/** A try of a delivery, as the plugin makes them; of an unknown delivery unless a key is given. */
export function someTry (key: string = random(43)): DeliveryTry {
  return { key, id: random(16), owner: null }
}

/** A second try of the same delivery. */
export function another ({ key, owner }: DeliveryTry): DeliveryTry {
  return { ...someTry(key), owner }
}

function random (length: number): string {
  return Array.from({ length }, () => Math.floor(Math.random() * 36).toString(36)).join('')
}

export async function replayContract (t: Test, name: string, open: () => ReplayContractSubject | Promise<ReplayContractSubject>): Promise<void> {
  const check = (title: string, body: (t: Test, subject: Required<Pick<ReplayContractSubject, 'store' | 'other' | 'advance'>>) => Promise<void>): Promise<unknown> =>
    t.test(`${name}: ${title}`, async (t) => {
      const subject = await open()
      try {
        await body(t, { other: subject.store, ...subject })
      } finally {
        await subject.close?.()
      }
    })

  await check('a delivery is new to its first try and in progress to every other', async (t, { store, other }) => {
    const first = someTry()
    t.equal(await store.begin(first, 60_000), 'new')
    t.equal(await store.begin(another(first), 60_000), 'in-progress')
    t.equal(await other.begin(another(first), 60_000), 'in-progress')
    t.equal(await store.begin(someTry(), 60_000), 'new')
  })

  await check('the try that holds a delivery may begin again, and extends its lease', async (t, { store, other, advance }) => {
    const first = someTry()
    t.equal(await store.begin(first, 400), 'new')
    t.equal(await store.begin(first, 60_000), 'new')
    await advance(500)
    t.equal(await other.begin(another(first), 60_000), 'in-progress')
  })

  await check('of many tries that begin one delivery at once, exactly one is told that it is new', async (t, { store, other }) => {
    const { key } = someTry()
    const answers = await Promise.all(Array.from({ length: 20 }, (_, at) => (at % 2 ? store : other).begin(someTry(key), 60_000)))
    t.equal(answers.filter((state) => state === 'new').length, 1)
    t.equal(answers.filter((state) => state === 'in-progress').length, 19)
  })

  await check('a delivery that is done is done for every try, also for the one that handled it', async (t, { store, other }) => {
    const first = someTry()
    await store.begin(first, 60_000)
    await store.finish(first, 60_000)
    t.equal(await store.begin(first, 60_000), 'done')
    t.equal(await other.begin(another(first), 60_000), 'done')
  })

  await check('a delivery that is done stays so after its lease, and no longer than it is to be remembered', async (t, { store, other, advance }) => {
    const [short, long] = [someTry(), someTry()]
    for (const attempt of [short, long]) await store.begin(attempt, 100)
    await store.finish(short, 300)
    await store.finish(long, 60_000)
    await advance(400)
    t.equal(await other.begin(another(long), 60_000), 'done')
    t.equal(await other.begin(another(short), 60_000), 'new')
  })

  await check('a released delivery is new again, and others stay', async (t, { store, other }) => {
    const [one, two] = [someTry(), someTry()]
    await store.begin(one, 60_000)
    await store.begin(two, 60_000)
    await store.release(one)
    t.equal(await other.begin(another(one), 60_000), 'new')
    t.equal(await other.begin(another(two), 60_000), 'in-progress')
  })

  await check('a try releases neither what another try holds nor what is done', async (t, { store, other }) => {
    const [held, done] = [someTry(), someTry()]
    await store.begin(held, 60_000)
    await store.begin(done, 60_000)
    await store.finish(done, 60_000)
    await other.release(another(held))
    await other.release(another(done))
    await store.release(done)
    await other.release(someTry())
    t.equal(await other.begin(another(held), 60_000), 'in-progress')
    t.equal(await other.begin(another(done), 60_000), 'done')
  })

  await check('a lease that has ended leaves the delivery to the next try, and its late release does not take it away', async (t, { store, other, advance }) => {
    const first = someTry()
    t.equal(await store.begin(first, 100), 'new')
    await advance(200)
    t.equal(await other.begin(another(first), 60_000), 'new')
    await store.release(first)
    t.equal(await store.begin(first, 60_000), 'in-progress')
  })

  await check('a handler that outlived its lease has handled the delivery all the same', async (t, { store, other, advance }) => {
    const [first, untaken] = [someTry(), someTry()]
    const second = another(first)
    for (const attempt of [first, untaken]) await store.begin(attempt, 100)
    await advance(200)
    await other.begin(second, 60_000)
    await store.finish(first, 60_000)
    await store.finish(untaken, 60_000)
    await other.release(second)
    t.equal(await other.begin(another(first), 60_000), 'done')
    t.equal(await other.begin(another(untaken), 60_000), 'done')
  })
}
