// docs/examples/api/start.ts, started as its README says.
import t from 'tap'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'

t.setTimeout(170_000)
const repository = join(import.meta.dirname, '..', '..')
const tsx = join(repository, 'node_modules', 'tsx', 'dist', 'cli.mjs')
const start = join(repository, 'docs', 'examples', 'api', 'start.ts')

t.test('it prints credentials that work, and ends when it is told to', async (t) => {
  const child = spawn(process.execPath, [tsx, start], { stdio: ['ignore', 'pipe', 'inherit'], env: { ...process.env, PORT: '0', LOG_LEVEL: 'warn' } })
  t.teardown(() => child.kill('SIGKILL'))
  const ended = once(child, 'exit')
  let text = ''
  child.stdout.setEncoding('utf8')
  for await (const part of child.stdout) {
    text += String(part)
    if (text.includes('signed with')) break
  }
  const [, origin = ''] = /^Listening on (\S+)$/m.exec(text) ?? []
  const [, member = ''] = /^A member: +(\S+)$/m.exec(text) ?? []
  const [, admin = ''] = /^An admin: +(\S+)$/m.exec(text) ?? []
  const [, key = ''] = /^A key: +(cflo_\w+)/m.exec(text) ?? []
  const status = async (path: string, headers: Record<string, string>): Promise<number> => (await fetch(origin + path, { headers: { connection: 'close', ...headers } })).status
  t.strictSame([await status('/health', {}), await status('/v1/users', {})], [200, 401])
  t.strictSame([await status('/v1/invites', { authorization: `Bearer ${member}` }), await status('/v1/invites', { authorization: `Bearer ${admin}` })], [403, 200])
  t.equal(await status('/v1/incidents', { 'x-api-key': key }), 200)
  child.kill('SIGTERM')
  t.strictSame(await ended, [0, null])
})

t.test('with an issuer of somebody\'s it does not make secrets up', async (t) => {
  const child = spawn(process.execPath, [tsx, start], { stdio: ['ignore', 'ignore', 'pipe'], env: { ...process.env, PORT: '0', CLERK_ISSUER: 'https://acme.clerk.accounts.dev' } })
  let complaint = ''
  child.stderr.setEncoding('utf8').on('data', (part) => { complaint += String(part) })
  const [code] = await once(child, 'close')
  t.equal(code, 1)
  t.match(complaint, 'RELAY_SECRET is not set')
})
