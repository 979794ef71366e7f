import { mock } from 'node:test'
import t from 'tap'
import { isPromiseLike, TimeLimitError, withinTimeLimit } from '../../lib/webhook/time-limit.js'

t.test('an answer or a failure in time is passed on, and one that is late is not', async (t) => {
  mock.timers.enable({ apis: ['setTimeout'] })
  t.teardown(() => { mock.timers.reset() })
  t.equal(await withinTimeLimit(Promise.resolve('answer'), 2000, globalThis), 'answer')
  await t.rejects(withinTimeLimit(Promise.reject(new Error('down')), 2000, globalThis), { message: 'down' })

  const late: unknown[] = []
  let answer: (value: string) => void = () => {}
  const limited = withinTimeLimit(new Promise<string>((resolve) => { answer = resolve }), 2000, globalThis, (value) => late.push(value))
  mock.timers.tick(1999)
  mock.timers.tick(1)
  const error = await limited.then(() => null, (error: unknown) => error)
  t.ok(error instanceof TimeLimitError)
  t.match(error, { message: 'No answer within 2000 ms' })
  answer('late')
  await Promise.resolve()
  t.strictSame(late, ['late'])
})

t.test('a failure that comes late is nobody\'s unhandled rejection', async (t) => {
  mock.timers.enable({ apis: ['setTimeout'] })
  t.teardown(() => { mock.timers.reset() })
  let unhandled = 0
  const count = (): void => { unhandled++ }
  process.on('unhandledRejection', count)
  t.teardown(() => process.off('unhandledRejection', count))
  let fail: (error: Error) => void = () => {}
  const limited = withinTimeLimit(new Promise((_resolve, reject) => { fail = reject }), 2000, globalThis)
  mock.timers.tick(2000)
  t.ok(await limited.then(() => null, (error: unknown) => error) instanceof TimeLimitError)
  fail(new Error('late'))
  await new Promise(setImmediate)
  t.equal(unhandled, 0)
})

t.test('an answer that comes late and that nobody waits for is nobody\'s unhandled rejection either', async (t) => {
  mock.timers.enable({ apis: ['setTimeout'] })
  t.teardown(() => { mock.timers.reset() })
  let unhandled = 0
  const count = (): void => { unhandled++ }
  process.on('unhandledRejection', count)
  t.teardown(() => process.off('unhandledRejection', count))
  let answer: (value: string) => void = () => {}
  const limited = withinTimeLimit(new Promise<string>((resolve) => { answer = resolve }), 2000, globalThis)
  mock.timers.tick(2000)
  await t.rejects(limited, { message: 'No answer within 2000 ms' })
  answer('late')
  await new Promise(setImmediate)
  t.equal(unhandled, 0)
})

t.test('timers whose handle is a number, a bare object or nothing will do', async (t) => {
  for (const handle of [5, {}, null, undefined]) {
    t.equal(await withinTimeLimit(Promise.resolve('answer'), 2000, { setTimeout: () => handle, clearTimeout () {} }), 'answer', String(handle))
  }
})

t.test('what acts like a promise is one', async (t) => {
  t.strictSame([Promise.resolve(), { then () {} }, { then: 5 }, null, undefined, true, 'then', () => {}].map((value: unknown) => isPromiseLike(value)), [true, true, false, false, false, false, false, false])
})
