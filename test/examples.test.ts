// The demo: every answer is the one that it expects, and it would tell if one were not.
import t from 'tap'
import { execFile, spawn } from 'node:child_process'
import { once as emitted } from 'node:events'
import { dirname, join } from 'node:path'
import { promisify } from 'node:util'
import { once } from '../docs/examples/demo/once.js'
import { requestsOf } from '../docs/examples/demo/requests.js'
import { createWorld } from '../docs/examples/demo/world.js'
import { postgresMissing, redisMissing } from './fixtures/services.js'

t.setTimeout(180_000)
const demo = join(dirname(import.meta.dirname), 'docs', 'examples', 'demo.ts')
const args = ['--import', 'tsx', demo]

t.test('npm run demo -- --once is answered as expected, prints a row for each request, and ends', { timeout: 170_000 }, async (t) => {
  const { stdout, stderr } = await promisify(execFile)(process.execPath, [...args, '--once'], { timeout: 160_000 })
  const [head = '', ...lines] = stdout.trim().split('\n')
  const rows = lines.filter((line) => /^(GET|POST|DELETE) /.test(line))
  t.equal(stderr, '')
  t.match(head, /^method +URL +credential +expected +got$/)
  t.ok(rows.length >= 20, `${rows.length} requests`)
  t.equal(lines.at(-1), `${rows.length} requests, all answered as expected`)
  // What was got is written below what was expected, so that a row's halves are equal.
  const [expected, got] = [head.indexOf('expected'), head.indexOf('got')]
  for (const row of rows) t.equal(row.slice(got), row.slice(expected, got).trim(), row)
})

t.test('one answer other than expected is marked, and is a failure', { timeout: 170_000 }, async (t) => {
  const world = await createWorld(0)
  t.teardown(() => world.close())
  const printed: string[] = []
  const [first, ...rest] = requestsOf(world)
  t.equal(await once(world, (line) => printed.push(line), [{ ...first!, expected: '404' }, ...rest]), 1)
  t.strictSame(printed.filter((line) => line.includes('←')).map((line) => line.split(/ {2,}/)), [['GET', '/health', 'none, public', '404', '200', '←']])
  t.equal(printed.at(-1), `${rest.length + 5} requests, 1 answered otherwise than expected`)
})

t.test('npm run demo prints its commands, stays up, and ends when it is told to', { timeout: 170_000 }, async (t) => {
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] })
  t.teardown(() => child.kill('SIGKILL'))
  let text = ''
  child.stdout.setEncoding('utf8')
  for await (const part of child.stdout) {
    text += String(part)
    if (text.includes('/datadog ')) break
  }
  const origin = /Listening on (http:\/\/127\.0\.0\.1:\d+);/.exec(text)?.[1] ?? ''
  t.equal((await fetch(`${origin}/health`)).status, 200)
  t.strictSame([...text.matchAll(/^# (\S+ \S+)/gm)].map(([, words]) => words), ['A bearer', 'An API', 'A signature,', 'Ingest: a'])
  const ended = emitted(child, 'exit')
  child.kill('SIGTERM')
  t.strictSame(await ended, [0, null])
})

for (const [words, options, missing] of [
  ['on PostgreSQL', ['--store', 'postgres'], await postgresMissing()],
  ['on PostgreSQL, told over Redis', ['--store', 'postgres', '--channel', 'redis'], await postgresMissing() || await redisMissing()]
] as const) {
  t.test(`the demo is answered the same ${words}`, { timeout: 170_000, skip: missing }, async (t) => {
    const { stdout } = await promisify(execFile)(process.execPath, [...args, '--once', ...options], { timeout: 160_000 })
    t.match(stdout.trim().split('\n').at(-1), /^\d+ requests, all answered as expected$/)
  })
}

t.test('an argument that the demo does not know is refused', { timeout: 170_000 }, async (t) => {
  const failure = await promisify(execFile)(process.execPath, [...args, '--onec'], { timeout: 160_000 }).then(() => null, (error) => error)
  t.equal(failure?.code, 1)
  t.match(failure?.stderr, "Unknown option '--onec'")
})
