// The program as it is started: real processes, real pipes, a real terminal.
import t, { type Test } from 'tap'
import { execFileSync, spawn, spawnSync } from 'node:child_process'
import { chmodSync, existsSync, readFileSync, symlinkSync } from 'node:fs'
import { once } from 'node:events'
import { dirname, join } from 'node:path'
import { createTestIssuer } from '../../lib/testing/index.js'
import { silentPostgres } from '../fixtures/silent-postgres.js'
import { silentServer } from '../fixtures/silent-server.js'
import { buildProgram } from './build.js'

t.setTimeout(180_000)

const repository = dirname(dirname(import.meta.dirname))
const manifest = JSON.parse(readFileSync(join(repository, 'package.json'), 'utf8')) as { version: string, bin: Record<string, string> }
const program = buildProgram(t)

const key = 'cflo_live_sk_0123456789ABCDEFGHIJKLMNOPQRSTUV4WDIK4'
const env = { PATH: process.env['PATH'], HOME: process.env['HOME'], NODE_OPTIONS: '' }

function execute (parameters: string[], { input = '', more = {} }: { input?: string, more?: Record<string, string> } = {}) {
  const { status, stdout, stderr } = spawnSync(process.execPath, [program, ...parameters], { input, env: { ...env, ...more }, encoding: 'utf8' })
  return { status, stdout, stderr }
}

t.test('it ends with its exit code, reads stdin, and writes answers and failures apart', async (t) => {
  t.strictSame(execute(['--version']), { status: 0, stdout: `${manifest.version}\n`, stderr: '' })
  t.match(execute(['key', 'inspect'], { input: key }), { status: 0, stdout: /^Form {9}the current one\n/, stderr: '' })
  t.match(execute(['key', 'inspect', '--json'], { input: `${key}x` }), { status: 1, stdout: /"fault": "form"/, stderr: '' })
  t.strictSame(execute(['key', 'list', '--tenant', 'x']), { status: 2, stdout: '', stderr: 'causeflow-auth: No database is named\n  Set DATABASE_URL=postgres://user@host/database, or PGHOST and the others\n' })
})

t.test('openssl finds the same signature, as the documentation promises', async (t) => {
  const body = '{"event":"incident.created","incidentId":"inc_01HX9VT"}'
  const secret = 'whsec_test_secret'
  const { stdout } = execute(['sign'], { input: body, more: { CAUSEFLOW_WEBHOOK_SECRET: secret } })
  const openssl = execFileSync('openssl', ['dgst', '-sha256', '-hmac', secret], { input: body, encoding: 'utf8' })
  t.equal(stdout, `x-webhook-signature: sha256=${openssl.trim().split('= ')[1]}\n`)
})

t.test('a database that does not answer is 3, and its password is not told', async (t) => {
  const { status, stdout, stderr } = execute(['key', 'list', '--tenant', 'x'], { more: { DATABASE_URL: 'postgres://app:hunter2@127.0.0.1:1/x' } })
  t.strictSame([status, stdout], [3, ''])
  t.match(stderr, /^causeflow-auth: The database does not answer: connect ECONNREFUSED 127\.0\.0\.1:1\n/)
  const bad = execute(['migrate'], { more: { DATABASE_URL: 'app:hunter2 at db' } })
  t.equal(bad.status, 2)
  t.notMatch(stderr + bad.stderr, 'hunter2')
})

t.test('every command ends where a database, Redis or an issuer accepts it and then says nothing', async (t) => {
  const [database, mute] = [await silentPostgres(t), (await silentServer(t)).port]
  // What a URL says of time limits does not take ours away.
  const url = `postgres://app@127.0.0.1:${database}/app?query_timeout=`
  const issuer = await createTestIssuer()
  t.teardown(() => issuer.close())
  const tenant = ['--tenant', 'ten_ACME']
  const endings = await Promise.all(([
    [['key', 'list', ...tenant], { PGHOST: '127.0.0.1', PGPORT: `${database}` }],
    [['key', 'list', ...tenant], { DATABASE_URL: url }],
    [['key', 'create', '--name', 'CI', ...tenant], { DATABASE_URL: url }],
    [['key', 'revoke', '--all', ...tenant], { DATABASE_URL: url, REDIS_URL: `redis://127.0.0.1:${mute}` }],
    [['key', 'rotate', 'key_1', ...tenant], { DATABASE_URL: url }],
    [['key', 'inspect'], { DATABASE_URL: url }, key],
    [['migrate'], { DATABASE_URL: url }],
    [['doctor'], { DATABASE_URL: url, DATABASE_LISTEN_URL: url, REDIS_URL: `redis://127.0.0.1:${mute}?connectTimeout=` }],
    [['doctor', '--issuer', `http://127.0.0.1:${mute}`], {}],
    [['token', 'inspect', '--issuer', `http://127.0.0.1:${mute}`, '--discovery'], {}, issuer.token()]
  ] as Array<[string[], Record<string, string>, string?]>).map(async ([args, more, input = '']) => {
    const child = spawn(process.execPath, [program, ...args, '--json'], { env: { ...env, ...more }, stdio: ['pipe', 'ignore', 'ignore'] })
    const limit = setTimeout(() => child.kill('SIGKILL'), 60_000)
    child.stdin.end(input)
    const [code] = await once(child, 'close') as [number | null]
    clearTimeout(limit)
    return [args.slice(0, 2).join(' '), code]
  }))
  t.strictSame(endings, endings.map(([name]) => [name, 3]))
})

t.test('what a driver throws where nobody catches it is a fault, and no verdict', async (t) => {
  const source = 'setInterval(() => { if (process.listenerCount("uncaughtException") > 0) throw new Error("\\u001b[2Jboom") }, 5)'
  const thrower = `data:text/javascript,${encodeURIComponent(source)}`
  for (const json of [[], ['--json']]) {
    const child = spawn(process.execPath, ['--import', thrower, program, 'key', 'inspect', ...json], { env, stdio: ['pipe', 'pipe', 'pipe'] })
    let errors = ''
    child.stderr.on('data', (chunk) => { errors += chunk })
    t.strictSame((await once(child, 'close'))[0], 4)
    if (json.length === 0) t.match(errors, /^causeflow-auth: \\u001b\[2Jboom\nError: \\u001b\[2Jboom\n/)
    else t.strictSame(JSON.parse(errors), { error: 'fault', message: '\u001b[2Jboom', mend: null })
  }
})

t.test('with --json a warning of a driver is not mixed with the failure', async (t) => {
  const { status, stderr } = execute(['key', 'list', '--tenant', 'x', '--json'], { more: { DATABASE_URL: 'postgres://app@127.0.0.1:1/x?sslmode=require' } })
  t.equal(status, 3)
  t.match(JSON.parse(stderr), { error: 'database_unavailable' })
})

t.test('a reader that goes away ends it without a stack', async (t) => {
  const child = spawn(process.execPath, [program, 'doctor', '--help'], { env, stdio: ['ignore', 'pipe', 'pipe'] })
  child.stdout.destroy()
  let errors = ''
  child.stderr.on('data', (chunk) => { errors += chunk })
  await once(child, 'close')
  t.equal(errors, '')
})

t.test('at a terminal a key is read and nothing of it is shown', { skip: process.platform === 'linux' && existsSync('/usr/bin/script') ? false : 'the util-linux program script is not here' }, async (t) => {
  const command = [process.execPath, program, 'key', 'inspect'].map((word) => `'${word}'`).join(' ')
  const screen = await type(t, command, key)
  t.equal(screen, 'API key (not shown): \r\nForm         the current one\r\nEnvironment  live\r\nChecksum     right\r\nPrefix       cflo_live_sk_012345\r\nRecord       not asked for: no database is configured\r\n')
})

t.test('it is built with its shebang, and runs under its name as npm links it', { skip: process.platform === 'win32' ? 'npm writes a script there' : false }, async (t) => {
  t.strictSame(manifest.bin, { 'causeflow-auth': 'dist/cli/index.js' })
  t.match(readFileSync(program, 'utf8'), /^#!\/usr\/bin\/env node\n/)
  chmodSync(program, 0o755)
  const link = join(t.testdir({}), 'causeflow-auth')
  symlinkSync(program, link)
  t.equal(execFileSync(link, ['--version'], { env, encoding: 'utf8' }), `${manifest.version}\n`)
})

/** What stands on a terminal after a line was typed at the prompt. */
async function type (t: Test, command: string, line: string): Promise<string> {
  const child = spawn('script', ['-qec', command, '/dev/null'], { env, stdio: ['pipe', 'pipe', 'pipe'] })
  t.teardown(() => child.kill())
  let screen = ''
  child.stdout.on('data', (chunk) => {
    screen += chunk
    // Not before the prompt: until then the terminal itself would show what is typed.
    if (screen.endsWith('shown): ')) child.stdin.write(`${line}\r`)
  })
  await once(child, 'close')
  return screen
}
