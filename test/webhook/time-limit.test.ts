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

t.test('what comes late, an answer that nobody waits for or a failure, is nobody\'s unhandled rejection', async (t) => {
  mock.timers.enable({ apis: ['setTimeout'] })
  t.teardown(() => { mock.timers.reset() })
  let unhandled = 0
  const count = (): void => { unhandled++ }
  process.on('unhandledRejection', count)
  t.teardown(() => process.off('unhandledRejection', count))
  for (const settle of ['resolve', 'reject'] as const) {
    let come = (): void => {}
    const limited = withinTimeLimit(new Promise((resolve, reject) => { come = () => { ({ resolve, reject })[settle](new Error('late')) } }), 2000, globalThis)
    mock.timers.tick(2000)
    t.ok(await limited.then(() => null, (error: unknown) => error) instanceof TimeLimitError)
    come()
    await new Promise(setImmediate)
    t.equal(unhandled, 0, settle)
  }
})

t.test('timers whose handle is a number, a bare object or nothing will do', async (t) => {
  for (const handle of [5, {}, null, undefined]) {
    t.equal(await withinTimeLimit(Promise.resolve('answer'), 2000, { setTimeout: () => handle, clearTimeout () {} }), 'answer', String(handle))
  }
})

t.test('what acts like a promise is one', async (t) => {
  t.strictSame([Promise.resolve(), { then () {} }, { then: 5 }, null, undefined, true, 'then', () => {}].map((value: unknown) => isPromiseLike(value)), [true, true, false, false, false, false, false, false])
})
