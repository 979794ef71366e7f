import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { createApp } from './fixtures/app.js'
import { expectFaults, watchProcess } from './fixtures/process-watch.js'

/** A test whose end is called by hand. */
function fakeTest (): { teardown (action: () => unknown): void, end (): Promise<void> } {
  const actions: Array<() => unknown> = []
  return {
    teardown (action) { actions.unshift(action) },
    async end () { for (const action of actions) await action() }
  }
}

const faults: Record<string, () => void> = {
  'a rejected promise': () => { Promise.reject(new Error('lost')).finally(() => {}) },
  'a promise rejected with undefined': () => { Promise.reject().finally(() => {}) }, // eslint-disable-line prefer-promise-reject-errors -- the case
  'an exception in a timer': () => { setImmediate(() => { throw new Error('lost') }) },
  'a promise that is rejected while the app closes': () => { setImmediate(() => { Promise.reject(new Error('lost')).finally(() => {}) }) }
}

for (const [title, fault] of Object.entries(faults)) {
  t.test(`fails a test that has an app and leaves ${title}`, async (t) => {
    const fake = fakeTest()
    await createApp(fake)
    fault()
    await t.rejects(fake.end(), { message: /^Nobody handled: / })
  })
}

t.test('passes a test without faults, and one that watches twice', async (t) => {
  const fake = fakeTest()
  t.equal(watchProcess(fake), watchProcess(fake))
  await createApp(fake)
  await fake.end()
  t.equal(process.listenerCount('unhandledRejection'), 0)
})

t.test('gives expected faults to the test that expects them alone', async (t) => {
  const outer = fakeTest()
  const inner = fakeTest()
  watchProcess(outer)
  const expected = expectFaults(inner)
  faults['a rejected promise']!()
  await inner.end()
  t.match(expected, [{ message: 'lost' }])
  await outer.end()
  t.equal(process.listenerCount('uncaughtException'), 0)
})

t.test('no test file sends requests without a watch', async (t) => {
  for (const file of await readdir(import.meta.dirname, { recursive: true })) {
    // The shared applications of these folders are watched where they are made.
    if (!file.endsWith('.test.ts') || /^(types|consumers|bench|mutation)\//.test(file)) continue
    const text = await readFile(join(import.meta.dirname, file), 'utf8')
    if (/\bFastify\(|\.inject\(|\bstartServer\(|fixtures\/socket/.test(text)) t.match(text, /\b(watchProcess|createApp)\(t/, file)
  }
})
