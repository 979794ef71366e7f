import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import t from 'tap'
import { createLastUse } from '../../lib/api-key/last-use.js'
import type { KeyUse } from '../../lib/api-key/store.js'
import { fakeTime, settle } from './fake-time.js'
import { watchProcess } from '../fixtures/process-watch.js'
import { scriptedStore } from './scripted-store.js'

function lastUseUnderTest (touch?: () => Promise<void>) {
  const time = fakeTime()
  const touched: Array<readonly KeyUse[]> = []
  const { store } = scriptedStore()
  const lastUse = createLastUse({ store: { ...store, touch: touch ?? ((uses) => { touched.push(uses) }) }, timeLimit: 2 }, time)
  return { time, touched, lastUse }
}

t.test('many uses wait for one timer, and a thousand are written without waiting for it', async (t) => {
  const { time, touched, lastUse } = lastUseUnderTest()
  for (let key = 0; key < 999; key++) lastUse.note(`key_${key}`, time.now)
  t.equal(time.waiting(), 1)
  t.equal(touched.length, 0)
  lastUse.note('key_999', time.now)
  await settle()
  t.strictSame(touched.map((uses) => uses.length), [1000])
  t.equal(time.waiting(), 0)
  time.pass(60_000)
  t.equal(touched.length, 1)
})

t.test('uses that cannot be written are reported where the clock fails as well, and nothing is rejected', async (t) => {
  const events: unknown[] = []
  const listener = (event: unknown): void => { events.push(event) }
  subscribe('causeflow-auth:api-key', listener)
  t.teardown(() => unsubscribe('causeflow-auth:api-key', listener))
  const faults = watchProcess(t)
  for (const clock of [() => NaN, () => { throw new Error('no clock') }, () => undefined as never]) {
    const time = fakeTime()
    const lastUse = createLastUse({ store: { ...scriptedStore().store, touch: async () => { throw new Error('down') } }, timeLimit: 2 }, { ...time, clock })
    lastUse.note('key_1', time.now)
    time.pass(60_000)
    await settle()
    await settle()
    lastUse.note('key_2', time.now)
    await lastUse.close()
    t.match(events.splice(0), [{ event: 'last-use-lost', at: /^\d{4}-\d\d-\d\dT/ }, { event: 'last-use-lost' }])
  }
  t.strictSame(faults, [])
})

t.test('where nothing was noted nothing is written', async (t) => {
  const { touched, lastUse } = lastUseUnderTest()
  await lastUse.close()
  t.strictSame(touched, [])
})

t.test('uses that cannot be written are told on the diagnostics channel, at the limit, by the timer and when closing', async (t) => {
  const events: unknown[] = []
  const listener = (event: unknown): void => { events.push(event) }
  subscribe('causeflow-auth:api-key', listener)
  t.teardown(() => unsubscribe('causeflow-auth:api-key', listener))
  const { time, lastUse } = lastUseUnderTest(async () => { throw new Error('down') })
  const lost = () => ({ event: 'last-use-lost', at: new Date(time.now).toISOString() })
  lastUse.note('key_1', time.now)
  time.pass(60_000)
  await settle()
  t.match(events.splice(0), [{ ...lost(), cause: { code: 'AUTH_STORE_UNAVAILABLE' } }])
  for (let key = 0; key < 1000; key++) lastUse.note(`key_${key}`, time.now)
  await settle()
  t.match(events.splice(0), [lost()])
  lastUse.note('key_1', time.now)
  await lastUse.close()
  t.match(events, [lost()])
})

t.test('a failed write never ends the process, whatever the clock and the store do', async (t) => {
  const unhandled: unknown[] = []
  const note = (cause: unknown): void => { unhandled.push(cause) }
  process.on('unhandledRejection', note)
  t.teardown(() => process.removeListener('unhandledRejection', note))
  const failing: Array<() => unknown> = [
    () => { throw new Error('down') },
    async () => { throw new Error('down') },
    () => ({ then () { throw new Error('down') } }),
    () => ({ get then () { throw new Error('down') } }),
    () => ({ then (_resolve: unknown, reject: (cause: unknown) => void) { reject(new Error('down')) } })
  ]
  for (const touch of failing) {
    for (const clock of [() => NaN, () => undefined as never, () => 1e300, () => { throw new Error('no clock') }]) {
      const time = fakeTime()
      const { store } = scriptedStore()
      const lastUse = createLastUse({ store: { ...store, touch: touch as never }, timeLimit: 2 }, { ...time, clock })
      lastUse.note('key_1', NaN)
      time.pass(60_000)
      await settle()
      for (let key = 0; key < 1000; key++) lastUse.note(`key_${key}`, 1e300)
      await settle()
      lastUse.note('key_1', time.now)
      await lastUse.close()
      await settle()
    }
  }
  t.strictSame(unhandled, [])
})
