import t from 'tap'
import { createTenantQueue, type CallKind } from '../../lib/postgres/tenant-queue.js'
import { fakeTime, settle } from '../api-key/fake-time.js'

/** A queue over so many connections whose calls the test ends. Their time limit is two seconds. */
function queueUnderTest (connections: number) {
  const time = fakeTime()
  const started: string[] = []
  const running: Array<{ name: string, seconds: number, end (): Promise<void>, fail (): Promise<void> }> = []
  const inTurn = createTenantQueue(connections, 2000, { monotonic: () => time.now, timers: time.timers })
  const call = (tenantId: string, kind: CallKind, name: string = tenantId): Promise<string> => inTurn(tenantId, kind, (seconds) => new Promise((resolve, reject) => {
    started.push(name)
    running.push({ name, seconds, end () { resolve(name); return settle() }, fail () { reject(new Error('down')); return settle() } })
  }))
  const reasonOf = (made: Promise<unknown>): Promise<unknown> => made.catch((error: { reason?: string }) => error.reason ?? error)
  return { time, started, running, call, reasonOf }
}
const busy = { code: 'AUTH_STORE_UNAVAILABLE', reason: 'rejected', retryAfter: 1 }

t.test('of ten connections all tenants take five, and one tenant one for changes and two each for revocations and readings', async (t) => {
  const { started, running, call } = queueUnderTest(10)
  const all = (['change', 'revocation', 'reading'] as const).flatMap((kind) => ['1', '2', '3'].map((place) => call('a', kind, `${kind}${place}`)))
  t.strictSame(started, ['change1', 'revocation1', 'revocation2', 'reading1', 'reading2'])
  all.push(call('b', 'change'))
  t.equal(started.length, 5)
  await running[4]?.end()
  t.strictSame(started.slice(5), ['b'], 'reading3 comes after it, in the order of their turns')
  for (let place = 0; place < all.length; place++) await running[place]?.end()
  t.strictSame(await Promise.all(all), ['change1', 'change2', 'change3', 'revocation1', 'revocation2', 'revocation3', 'reading1', 'reading2', 'reading3', 'b'])
})

t.test('tenants take turns, however many calls one of them has made before', async (t) => {
  const { started, running, call } = queueUnderTest(2)
  const all = [...Array.from({ length: 300 }, (_, place) => call('a', 'change', `a${place}`)), call('b', 'change', 'b0'), call('b', 'change', 'b1'), call('c', 'reading', 'c0')]
  for (let place = 0; place < 6; place++) await running[place]?.end()
  t.strictSame(started, ['a0', 'b0', 'c0', 'a1', 'b1', 'a2', 'a3'])
  for (let place = 6; place < all.length; place++) await running[place]?.end()
  t.equal((await Promise.all(all)).length, 303)
  t.equal(started.length, 303)
})

t.test('a call that fails or throws gives its place back', async (t) => {
  const { started, running, call, reasonOf } = queueUnderTest(1)
  const [first, second] = [reasonOf(call('a', 'change', 'a0')), call('a', 'change', 'a1')]
  await running[0]?.fail()
  t.match(await first, { message: 'down' })
  await running[1]?.end()
  await second
  t.strictSame(started, ['a0', 'a1'])
  const inTurn = createTenantQueue(1, 2000, { monotonic: () => 0, timers: fakeTime().timers })
  await t.rejects(inTurn('a', 'change', () => { throw new Error('at once') }), { message: 'at once' })
  t.equal(await inTurn('a', 'change', async () => 'works'), 'works')
})

t.test('a call that has waited for three quarters of the time limit is rejected and never runs; one that starts has what is left', async (t) => {
  const { time, started, running, call } = queueUnderTest(10)
  const first = call('a', 'change', 'a0')
  const second = call('a', 'change', 'a1')
  time.pass(1000)
  const third = call('a', 'change', 'a2')
  t.equal(running[0]?.seconds, 2)
  time.pass(499)
  await running[0]?.end()
  t.equal(running[1]?.seconds, 0.501)
  time.pass(1000)
  const fourth = call('a', 'change', 'a3')
  time.pass(1)
  await t.rejects(third, { ...busy, cause: { message: /wait for a connection of the pool/ } })
  await running[1]?.end()
  await running[2]?.end()
  await Promise.all([first, second, fourth])
  t.strictSame(started, ['a0', 'a1', 'a3'])
  t.equal(time.waiting(), 0)
})

t.test('a call whose timer is late because the process was blocked does not run either', async (t) => {
  const { time, started, running, call } = queueUnderTest(2)
  const first = call('a', 'change', 'a0')
  const late = t.rejects(call('a', 'change', 'a1'), busy)
  const other = t.rejects(call('b', 'change', 'b0'), busy)
  time.now += 1500
  await running[0]?.end()
  await Promise.all([first, late, other])
  t.strictSame(started, ['a0'])
  t.equal(time.waiting(), 0)
  const next = call('b', 'change', 'b1')
  await running[1]?.end()
  t.equal(await next, 'b1')
})

t.test('a thousand wait and no more; one tenant has half of that at most, so that there is room for the others', async (t) => {
  const { time, call, reasonOf } = queueUnderTest(2)
  const waiting = [reasonOf(call('a', 'change')), ...Array.from({ length: 500 }, () => reasonOf(call('a', 'change')))]
  await t.rejects(call('a', 'change'), busy)
  waiting.push(...Array.from({ length: 250 }, () => reasonOf(call('b', 'change'))))
  await t.rejects(call('b', 'change'), busy)
  for (let tenant = 0; tenant < 250; tenant++) waiting.push(reasonOf(call(`c${tenant}`, 'change')))
  await t.rejects(call('d', 'change'), busy)
  time.pass(1500)
  t.equal((await Promise.all(waiting.slice(1))).every((reason) => reason === 'rejected'), true)
  t.equal(time.waiting(), 0)
})

t.test('calls of a driver without a time limit give their place back after twice the time limit, once', async (t) => {
  const { time, started, running, call } = queueUnderTest(2)
  const hung = call('a', 'change', 'hangs')
  time.pass(3999)
  const all = [call('a', 'change', 'a0'), call('b', 'change', 'b0')]
  t.strictSame(started, ['hangs'])
  time.pass(1)
  all.push(call('b', 'change', 'b1'))
  t.strictSame(started, ['hangs', 'b0'])
  await running[0]?.end()
  t.equal(await hung, 'hangs')
  t.strictSame(started, ['hangs', 'b0'], 'it gives back no second place')
  for (let place = 1; place < 4; place++) await running[place]?.end()
  t.strictSame(await Promise.all(all), ['a0', 'b0', 'b1'])
})
