// .ci/run is what says that a change may be taken: here npm answers as each test tells it to.
import t, { type Test } from 'tap'
import { spawn } from 'node:child_process'
import { chmodSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

const gate = join(import.meta.dirname, '..', '.ci', 'run')
const suiteOf = (total: string) => `echo 'TAP version 14'; echo '    # { total: 900, pass: 900 }'; echo '# { ${total} }'`

interface Answers { suite?: string, compat?: string, hard?: string, step?: string }

/** The exit status and the last line of the gate, with shell commands in place of npm's scripts. */
async function verdict (t: Test, { suite = suiteOf('total: 3, pass: 3'), compat = suite, hard = suite, step = 'true' }: Answers = {}) {
  const bin = t.testdir({})
  writeFileSync(join(bin, 'npm'), `#!/usr/bin/env bash
case "$*" in
  'test '*) ${suite} ;;
  'run test:compat '*) ${compat} ;;
  'run test:hard'*) ${hard} ;;
  *) ${step} ;;
esac
`)
  chmodSync(join(bin, 'npm'), 0o755)
  const child = spawn(gate, { cwd: '/', stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, PATH: `${bin}:${process.env['PATH']}` } })
  let output = ''
  let errors = ''
  child.stdout.on('data', (chunk) => { output += chunk })
  child.stderr.on('data', (chunk) => { errors += chunk })
  const status = await new Promise((resolve) => { child.on('close', resolve) })
  t.equal(errors, '', 'everything goes to one stream, so that nothing comes after the last line')
  return { status, last: output.trimEnd().split('\n').at(-1) }
}

t.test('a gate that passes ends with the totals of its runs, nested totals not counted twice', async (t) => {
  t.strictSame(await verdict(t), { status: 0, last: '9 passed, 0 failed, 0 skipped' })
})

t.test('skips and todos are counted apart', async (t) => {
  t.strictSame(await verdict(t, { suite: suiteOf('total: 6, pass: 3, todo: 1, skip: 2') }), { status: 0, last: '9 passed, 0 failed, 9 skipped' })
})

t.test('a test that prints what is no text is counted all the same', async (t) => {
  t.strictSame(await verdict(t, { suite: `printf 'ok 1 - a\\0b\\n'; ${suiteOf('total: 3, pass: 3')}` }), { status: 0, last: '9 passed, 0 failed, 0 skipped' })
})

t.test('a failed test fails the gate, in any run', async (t) => {
  const failing = `${suiteOf('total: 3, pass: 2, fail: 1')}; exit 1`
  t.strictSame(await verdict(t, { suite: failing, compat: suiteOf('total: 3, pass: 3'), hard: suiteOf('total: 3, pass: 3') }), { status: 1, last: '8 passed, 1 failed, 0 skipped' })
  t.strictSame(await verdict(t, { compat: failing, hard: suiteOf('total: 3, pass: 3') }), { status: 1, last: '8 passed, 1 failed, 0 skipped' })
  t.strictSame(await verdict(t, { hard: failing }), { status: 1, last: '8 passed, 1 failed, 0 skipped' })
})

t.test('a suite that exits with a failure but counted none fails the gate', async (t) => {
  t.strictSame(await verdict(t, { suite: `${suiteOf('total: 3, pass: 3')}; exit 7`, compat: suiteOf('total: 3, pass: 3'), hard: suiteOf('total: 3, pass: 3') }), { status: 1, last: '9 passed, 1 failed, 0 skipped' })
})

t.test('a suite that ran no test fails the gate', async (t) => {
  t.strictSame(await verdict(t, { suite: 'true' }), { status: 1, last: '0 passed, 3 failed, 0 skipped' })
  t.strictSame(await verdict(t, { suite: suiteOf('total: 0, pass: 0'), compat: suiteOf('total: 3, pass: 3'), hard: suiteOf('total: 3, pass: 3') }), { status: 1, last: '6 passed, 1 failed, 0 skipped' })
})

t.test('a failed step fails the gate and the others still run', async (t) => {
  t.strictSame(await verdict(t, { step: '[ "$*" != "run lint" ]' }), { status: 1, last: '9 passed, 1 failed, 0 skipped' })
})

t.test('where the dependencies cannot be installed nothing else runs', async (t) => {
  t.strictSame(await verdict(t, { step: 'exit 1' }), { status: 1, last: '0 passed, 1 failed, 0 skipped' })
})

t.test('services are required and the suite sees it', async (t) => {
  t.strictSame(await verdict(t, { suite: `[ "$REQUIRE_SERVICES" = 1 ] && ${suiteOf('total: 1, pass: 1')}` }), { status: 0, last: '3 passed, 0 failed, 0 skipped' })
})
