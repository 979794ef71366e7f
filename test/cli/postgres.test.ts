// The program beside a real database, as an operator starts it.
import t from 'tap'
import pg from 'pg'
import { execFile } from 'node:child_process'
import { buildProgram } from './build.js'
import { forkServer, lastAccepted, warm } from '../fixtures/fork-server.js'
import { postgres, postgresMissing, redisMissing, redisUrl } from '../fixtures/services.js'
import { silentServer } from '../fixtures/silent-server.js'
import { openStore, ownSchema } from '../postgres/open-store.js'
import { ownName } from '../redis/clients.js'
import { apiKeyDigest } from '../../lib/api-key/key.js'
import { Failure } from '../../lib/cli/failure.js'
import { openPostgres } from '../../lib/cli/database.js'

t.setTimeout(180_000)

const skip = await postgresMissing()
const program = skip === false ? buildProgram(t) : ''
const tenant = ['--tenant', 'ten_ACME']

const environment = {
  PATH: process.env['PATH'],
  NODE_OPTIONS: '',
  PGHOST: postgres.host,
  PGPORT: String(postgres.port),
  PGUSER: postgres.user,
  PGDATABASE: postgres.database,
  ...'password' in postgres && { PGPASSWORD: postgres.password },
  CAUSEFLOW_SEALING_KEYS: Buffer.alloc(32, 7).toString('base64')
}

/** Runs the executable and answers its exit code and what it said, stdout as JSON. */
async function execute (args: string[], { input = '', env = environment }: { input?: string, env?: Record<string, string | undefined> } = {}) {
  return await new Promise<{ code: number, answer: any, failure: any }>((resolve) => {
    const child = execFile(process.execPath, [program, ...args, '--json'], { env }, (error, stdout, stderr) => {
      resolve({ code: typeof error?.code === 'number' ? error.code : 0, answer: stdout === '' ? null : JSON.parse(stdout), failure: stderr === '' ? null : JSON.parse(stderr) })
    })
    child.stdin?.end(input)
  })
}

async function sql (text: string): Promise<unknown[]> {
  const client = new pg.Client(postgres)
  await client.connect()
  try {
    return ([] as unknown[]).concat((await client.query(text) as unknown as pg.QueryResult).rows)
  } finally {
    await client.end()
  }
}

t.test('a key lives from migrate to revoke, and an application sees it', { skip }, async (t) => {
  const schema = ownSchema(t)
  const own = ['--schema', schema]
  t.match(await execute(['key', 'list', ...tenant, ...own]), { code: 2, answer: null, failure: { error: 'not_migrated', mend: 'Run causeflow-auth migrate' } })
  t.match(await execute(['migrate', '--check', ...own]), { code: 2, failure: { error: 'not_migrated' } })
  t.strictSame(await execute(['migrate', ...own]), { code: 0, answer: { migrated: true }, failure: null })
  t.strictSame(await execute(['migrate', '--check', ...own]), { code: 0, answer: { migrated: true }, failure: null })

  const { answer: made } = await execute(['key', 'create', ...tenant, ...own, '--name', 'CI', '--scope', 'a:read'])
  t.match(made, { plaintextKey: /^cflo_live_sk_/, webhookSecret: /^whsec_/, scopes: ['a:read'] })
  const store = openStore(t, schema)
  const digest = apiKeyDigest(made.plaintextKey).toString('hex')
  t.match(await store.findByDigest(digest), { keyId: made.keyId, revokedAt: null })
  t.match(await execute(['key', 'list', ...tenant, ...own]), { code: 0, answer: { keys: [{ keyId: made.keyId, status: 'active' }], cursor: null } })
  t.match(await execute(['key', 'inspect', ...own], { input: made.plaintextKey }), { code: 0, answer: { status: 'active', record: { keyId: made.keyId } } })

  // What another process has cached, it forgets when the program revokes.
  const heard = new Promise((resolve) => { store.invalidation?.subscribe({ onInvalidated: resolve, onReset () {} }) })
  await until(() => store.invalidation?.healthy === true)
  t.match(await execute(['key', 'revoke', made.keyId, ...tenant, ...own, '--by', 'ops']), { code: 0, answer: { outcome: 'revoked' } })
  t.match(await heard, { keyId: made.keyId })
  t.match(await execute(['key', 'inspect', ...own], { input: made.plaintextKey }), { code: 1, answer: { status: 'revoked', record: { revokedBy: 'ops' } } })
})

t.test('a key that the program revokes or replaces is refused by every process that has it in its cache, behind a pooler with Redis, within 250 ms', { skip: skip || await redisMissing() }, async (t) => {
  // No listener: only Redis tells.
  const config = { schema: ownSchema(t), redisChannel: ownName(), listenerPort: null }
  const servers = await Promise.all([forkServer(t, config), forkServer(t, config)])
  for (const server of servers) await until(async () => (await server.state()).healthy === true)
  const own = ['--tenant', 'ten_A', '--schema', config.schema, '--redis-channel', config.redisChannel]
  for (const [change, answer] of [['revoke', { outcome: 'revoked' }], ['rotate', { plaintextKey: /^cflo_live_sk_/ }]] as const) {
    const { keyId, plaintextKey } = (await servers[0].call('POST', '/create', { body: {} })).body as { keyId: string, plaintextKey: string }
    await Promise.all(servers.map((server) => warm(server, plaintextKey)))
    const polls = servers.map((server) => lastAccepted(server, plaintextKey))
    t.match(await execute(['key', change, keyId, ...own], { env: { ...environment, REDIS_URL: redisUrl } }), { code: 0, answer, failure: null })
    const ended = performance.now()
    for (const last of await Promise.all(polls)) t.ok(last - ended < 250, `${change}: the last one that was accepted was sent ${Math.round(ended - last)} ms before the program had ended`)
    for (const server of servers) t.equal((await server.state()).healthy, true, 'the cache was in use')
  }
})

t.test('a key is rotated in one step, and all keys of a tenant are revoked', { skip }, async (t) => {
  const schema = ownSchema(t)
  const own = ['--schema', schema, ...tenant]
  await execute(['migrate', '--schema', schema])
  const { answer: { keyId } } = await execute(['key', 'create', ...own, '--name', 'CI'])
  t.match(await execute(['key', 'rotate', keyId, ...own, '--overlap', '1h']), { code: 0, answer: { rotatedFrom: keyId, plaintextKey: /^cflo_/ } })
  t.match(await execute(['key', 'rotate', keyId, ...own]), { code: 1, failure: { error: 'conflict' } })
  const { answer } = await execute(['key', 'revoke', '--all', ...own])
  t.equal(answer.revoked.length, 2)
})

t.test('the SQL that is printed makes the tables that are wanted', { skip }, async (t) => {
  const schema = ownSchema(t)
  const { code, answer } = await execute(['migrate', '--print', '--schema', schema, '--prefix', 'cf_'], { env: { PATH: process.env['PATH'] } })
  t.equal(code, 0)
  await sql(answer.sql)
  t.strictSame(await execute(['migrate', '--check', '--schema', schema, '--prefix', 'cf_']), { code: 0, answer: { migrated: true }, failure: null })
})

t.test('the doctor finds the store and its channel well, and tables that are missing', { skip }, async (t) => {
  const schema = ownSchema(t)
  const found = async () => Object.fromEntries((await execute(['doctor', '--schema', schema])).answer.findings.map(({ check, status }: { check: string, status: string }) => [check, status]))
  t.match(await found(), { store: 'wrong' })
  await execute(['migrate', '--schema', schema])
  t.match(await found(), { store: 'well', channel: 'well', 'sealing keys': 'well' })
})

t.test('DATABASE_URL goes before PGHOST; no such database is no try-again, and a bad name of a schema is refused', { skip }, async (t) => {
  const url = (database: string) => `postgres://${postgres.user}@${postgres.host}:${postgres.port}/${database}`
  t.match(await execute(['migrate', '--check'], { env: { ...environment, DATABASE_URL: url('nobody_has_made_this') } }), { code: 2, failure: { error: 'usage', message: /nobody_has_made_this/ } })
  t.match(await execute(['migrate', '--check', '--schema', 'A"; drop'], { env: environment }), { code: 2, failure: { error: 'AUTH_CONFIG_OPTION' } })
})

t.test('somebody who may not create is told who may', { skip }, async (t) => {
  const schema = ownSchema(t)
  const role = `${schema}_role`
  await sql(`create role ${role} login`)
  t.teardown(() => sql(`drop role ${role}`))
  const ended = await execute(['migrate', '--schema', schema], { env: { ...environment, PGUSER: role } })
  // A server that asks this role for a password does not let it in; either way trying again does not mend it.
  t.match(ended, { code: 2, answer: null, failure: { error: 'usage' } })
})

t.test('without pg it says what to install, and asks nobody', async (t) => {
  const absent = async () => { throw Object.assign(new Error('Cannot find package \'pg\''), { code: 'ERR_MODULE_NOT_FOUND' }) }
  await t.rejects(openPostgres({}, { PGHOST: '127.0.0.1' }, absent), new Failure(2, 'pg_missing', 'PostgreSQL is spoken by the package pg, which is not installed here', 'npm install pg'))
  await t.rejects(openPostgres({}, { PGHOST: '127.0.0.1' }, async () => { throw new SyntaxError('broken') }), new SyntaxError('broken'))
})

t.test('a database that stops answering is not taken for one without tables', async (t) => {
  let ended = 0
  class Pool {
    async query ({ text }: { text: string }) {
      // As pg says it: without a code.
      if (text !== 'select 1') throw new Error('Query read timeout')
      return { rows: [] }
    }

    async end () { ended++ }
    async connect () { throw new Error('Nobody connects') }
  }
  const silent = async () => ({ default: { Pool, Client: class {} } })
  await t.rejects(openPostgres({}, { PGHOST: '127.0.0.1' }, silent), new Failure(3, 'database_unavailable', 'The database does not do it: Query read timeout'))
  t.equal(ended, 1)
})

async function until (holds: () => boolean | Promise<boolean>): Promise<void> {
  while (!await holds()) await new Promise((resolve) => { setImmediate(resolve) })
}

t.test('the doctor ends where a server accepts and says nothing, whichever it is', { skip: skip || await redisMissing(), timeout: 150_000 }, async (t) => {
  const schema = ownSchema(t)
  await openStore(t, schema).ready()
  const own = ['--schema', schema]
  const silent = await silentServer(t)
  const [deaf, stuck] = [await silentServer(t, { ...postgres, until: /listen "/ }), await silentServer(t, { ...postgres, until: /server_version/ })]
  const url = (port: number): string => `postgres://${postgres.user}@127.0.0.1:${port}/${postgres.database}`
  const { hostname, port } = new URL(redisUrl)
  const mute = await silentServer(t, { host: hostname, port: Number(port || 6379), until: /subscribe/i })
  const finding = (answer: { findings: Array<{ check: string, status: string }> }, check: string): string | undefined => answer.findings.find((one) => one.check === check)?.status
  const examine = async (env: Record<string, string>) => {
    const began = performance.now()
    const { code, answer } = await execute(['doctor', ...own], { env: { ...environment, ...env } })
    return { code, answer, took: performance.now() - began }
  }
  const [nothing, toListen, inTheMiddle, redis, redisMute] = await Promise.all([
    examine({ PGHOST: '127.0.0.1', PGPORT: `${silent.port}` }),
    examine({ DATABASE_LISTEN_URL: url(deaf.port) }),
    examine({ PGHOST: '127.0.0.1', PGPORT: `${stuck.port}` }),
    examine({ REDIS_URL: `redis://127.0.0.1:${silent.port}` }),
    examine({ REDIS_URL: `redis://127.0.0.1:${mute.port}` })
  ])
  t.strictSame([nothing.code, finding(nothing.answer, 'store')], [3, 'unreachable'])
  t.strictSame([toListen.code, finding(toListen.answer, 'store'), finding(toListen.answer, 'channel')], [1, 'well', 'wrong'])
  t.strictSame([inTheMiddle.code, finding(inTheMiddle.answer, 'store')], [3, 'unreachable'])
  t.strictSame([redis.code, finding(redis.answer, 'redis')], [3, 'unreachable'])
  t.strictSame([redisMute.code, finding(redisMute.answer, 'redis'), finding(redisMute.answer, 'redis echo')], [1, 'well', 'wrong'])
  for (const { took } of [nothing, toListen, inTheMiddle, redis, redisMute]) t.ok(took < 60_000, `${Math.round(took)} ms`)
  await until(() => [silent, deaf, stuck, mute].every(({ open }) => open === 0))
})
