/** What every replay store must do. A store's own test calls this. */
import type { Test } from 'tap'
import type { ReplayStore } from '../../lib/index.js'

export interface ReplayContractSubject {
  store: ReplayStore
  /** A second door to the same memory, as another process has it; for a store of one process, the same one. */
  other?: ReplayStore
  /** The store's now, milliseconds since the epoch. */
  now (): number
  /** Lets time pass, for stores whose clock can be set. Without it, what needs time is not tested. */
  advance? (milliseconds: number): void | Promise<void>
  close? (): void | Promise<void>
}

export async function replayContract (t: Test, name: string, open: () => ReplayContractSubject | Promise<ReplayContractSubject>): Promise<void> {
  const key = (): string => `contract-${Math.random().toString(36).slice(2)}-${process.hrtime.bigint()}`

  const check = (title: string, body: (t: Test, subject: Required<Pick<ReplayContractSubject, 'store' | 'other'>> & ReplayContractSubject) => Promise<void>): Promise<unknown> =>
    t.test(`${name}: ${title}`, async (t) => {
      const subject = await open()
      try {
        await body(t, { other: subject.store, ...subject })
      } finally {
        await subject.close?.()
      }
    })

  await check('a key is new once', async (t, { store, now }) => {
    const one = key()
    t.equal(await store.remember(one, now() + 60_000), true)
    t.equal(await store.remember(one, now() + 60_000), false)
    t.equal(await store.remember(key(), now() + 60_000), true)
  })

  await check('what one process remembers, another knows', async (t, { store, other, now }) => {
    const one = key()
    t.equal(await store.remember(one, now() + 60_000), true)
    t.equal(await other.remember(one, now() + 60_000), false)
  })

  await check('of many that remember one key at once, exactly one is told that it is new', async (t, { store, other, now }) => {
    const one = key()
    const answers = await Promise.all(Array.from({ length: 20 }, (_, at) => (at % 2 ? store : other).remember(one, now() + 60_000)))
    t.equal(answers.filter((isNew) => isNew === true).length, 1)
    t.equal(answers.filter((isNew) => isNew === false).length, 19)
  })

  await check('a forgotten key is new again, and others stay', async (t, { store, now }) => {
    const [one, two] = [key(), key()]
    await store.remember(one, now() + 60_000)
    await store.remember(two, now() + 60_000)
    await store.forget(one)
    t.equal(await store.remember(one, now() + 60_000), true)
    t.equal(await store.remember(two, now() + 60_000), false)
  })

  await check('forgetting an unknown key is no fault', async (_t, { store }) => {
    await store.forget(key())
  })

  await check('a key counts until its time and not after it', async (t, { store, now, advance }) => {
    if (advance === undefined) return
    const one = key()
    await store.remember(one, now() + 10_000)
    await advance(9_000)
    t.equal(await store.remember(one, now() + 10_000), false)
    await advance(2_000)
    t.equal(await store.remember(one, now() + 10_000), true)
    t.equal(await store.remember(one, now() + 10_000), false)
  })
}
