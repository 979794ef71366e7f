// A variable that is wrong is a fault of usage: exit 2, and one sentence that names it and shows no secret.
import t, { type Test } from 'tap'
import { MemoryApiKeyStore } from '../../lib/api-key/memory-store.js'
import { openPostgres } from '../../lib/cli/database.js'
import { connectLimitOf } from '../../lib/cli/environment.js'
import { createTestIssuer } from '../../lib/testing/index.js'
import { postgres, postgresMissing } from '../fixtures/services.js'
import { ask, invoke, type Surroundings } from './fixture.js'

const list = ['key', 'list', '--tenant', 'ten_ACME']

/** The command line on the real drivers, with this environment. */
function within (env: Record<string, string>): Surroundings {
  return { env, openStore: (request) => openPostgres(request, env) }
}

/** Fails unless a command ends with 2 and one sentence that names the variable, for people and for programs. */
async function rejects (t: Test, args: string[], surroundings: Surroundings, name: string): Promise<void> {
  const shown = JSON.stringify(surroundings.env)
  const json = await ask(args, surroundings)
  t.match(json, { code: 2, answer: null, failure: { error: /^(?:usage|AUTH_CONFIG_OPTION)$/ } }, shown)
  const { code, out, err } = await invoke(args, surroundings)
  t.strictSame([code, out], [2, ''], shown)
  t.match(err.split('\n')[0], name, shown)
  t.match(json.failure.message, name, shown)
  t.notMatch(err + JSON.stringify(json.failure), /hunter2|^\s+at /m, shown)
}

t.test('a variable of PostgreSQL that is wrong is named', async (t) => {
  for (const [name, values] of Object.entries({
    PGHOST: ['a b', 'postgres://u:hunter2@h/d', 'a,b', '[::1]'],
    PGPORT: ['abc', '0', '65536', '54x', '-1', '5432.5', ' 5432'],
    PGSSLMODE: ['requrie', 'true', 'REQUIRE'],
    PGSSLNEGOTIATION: ['tls'],
    PGCONNECT_TIMEOUT: ['soon', '-1', '1.5'],
    PGREPLICATION: ['database']
  })) {
    for (const value of values) {
      const env = { PGHOST: '127.0.0.1', [name]: value }
      await rejects(t, list, within(env), name)
      t.match(await ask(['doctor'], within(env)), { code: 1, answer: { findings: [{}, {}, {}, { status: 'wrong', detail: new RegExp(name) }] } }, value)
    }
  }
})

t.test('a URL of a database that is wrong is named, and its password is not shown', async (t) => {
  for (const url of [
    'u:hunter2 at h', 'mysql://u:hunter2@h/d', ' postgres://u:hunter2@h/d', 'postgres://u:hunter2%zz@h/d',
    'postgres://u:hunter2%ff@h/d', 'postgres://u:hunter2@h:abc/d', 'postgres://u:hunter2@h:0/d', 'postgres://u:hunter2@h:99999/d',
    'postgres://u:hunter2@h/d?port=x', 'postgres://u:hunter2@a,b/d', 'postgres://u:hunter2@h/d?sslcert=/nowhere/at/all',
    'postgres://u:hunter2@h/d?sslnegotiation=tls', 'postgres://u:hunter2@h/d?sslnegotiation=direct&ssl=0'
  ]) {
    await rejects(t, list, within({ DATABASE_URL: url }), 'DATABASE_URL')
    const env = { DATABASE_URL: 'postgres://u@h/d', DATABASE_LISTEN_URL: url }
    const { code, answer } = await ask(['doctor'], within(env))
    t.match([code, answer.findings[3]], [1, { status: 'wrong', detail: /DATABASE_LISTEN_URL/ }], url)
    t.notMatch(JSON.stringify(answer), 'hunter2')
  }
})

t.test('what the server rejects is named, too', { skip: await postgresMissing() }, async (t) => {
  const { host, port, user, database } = postgres
  const own = { PGHOST: host, PGPORT: String(port), PGUSER: user, PGDATABASE: database }
  const rejected = async (env: Record<string, string>, mend: RegExp) => {
    for (const [name, value] of Object.entries(env)) process.env[name] = value
    t.teardown(() => { for (const name of Object.keys(env)) Reflect.deleteProperty(process.env, name) })
    t.match(await ask(list, within({ ...own, ...env })), { code: 2, answer: null, failure: { error: 'usage', mend } }, JSON.stringify(env))
    for (const name of Object.keys(env)) Reflect.deleteProperty(process.env, name)
  }
  await rejected({ PGOPTIONS: '-c nonsense.=1' }, /PGOPTIONS/)
  await rejected({ PGOPTIONS: '-c search_path' }, /PGOPTIONS/)
  await rejected({ PGDATABASE: 'nobody_has_made_this' }, /PGDATABASE/)
  await rejected({ PGUSER: 'nobody_is_called_this' }, /PGUSER and PGPASSWORD/)
  const url = `postgres://nobody_is_called_this:hunter2@${host}:${port}/${database}`
  await rejected({ DATABASE_URL: url }, /^Look at DATABASE_URL/)
})

t.test('a URL of Redis that is wrong is named, and its password is not shown', async (t) => {
  for (const url of [
    'localhost:6379', 'http://u:hunter2@h', 'redis://u:hunter2@h/abc', 'redis://u:hunter2@h/0/1', 'redis://u:hunter2@h/-1',
    'redis://u:hunter2%zz@h', 'redis://u:hunter2%ff@h', 'redis://u:hunter2@h:0', 'redis://u:hunter2@h:99999'
  ]) {
    const store = new MemoryApiKeyStore()
    for (const args of [['revoke', '--all'], ['revoke', 'key_1'], ['create', '--name', 'CI'], ['rotate', 'key_1']]) {
      await rejects(t, ['key', ...args, '--tenant', 'ten_ACME'], { store, env: { REDIS_URL: url } }, 'REDIS_URL')
    }
    const { code, answer } = await ask(['doctor'], { env: { REDIS_URL: url } })
    t.match([code, answer.findings[4]], [1, { check: 'redis', status: 'wrong', detail: /^REDIS_URL/ }], url)
  }
})

t.test('sealing keys that are none are named before anything is opened, and are not shown', async (t) => {
  const good = Buffer.alloc(32, 7).toString('base64')
  const openStore = async () => { throw new Error('opened') }
  for (const keys of ['hunter2', `${good},hunter2`, ',', ' ', `${good} hunter2`, good.slice(1)]) {
    const env = { CAUSEFLOW_SEALING_KEYS: keys }
    for (const args of [list, ['key', 'create', '--tenant', 'x', '--name', 'n'], ['key', 'revoke', 'k', '--tenant', 'x']]) {
      await rejects(t, args, { env, openStore }, 'CAUSEFLOW_SEALING_KEYS')
    }
    t.match(await ask(['doctor'], { env }), { code: 1, answer: { findings: { 5: { status: 'wrong', detail: /CAUSEFLOW_SEALING_KEYS/ } } } }, keys)
  }
})

t.test('a secret that its scheme cannot read is named by its variable or file, and is not shown', async (t) => {
  const scheme = ['--scheme', 'standard-webhooks']
  for (const secret of ['hunter2hunter2!', 'whsec_hunter2-hunter2', 'whsec_']) {
    const env = { CAUSEFLOW_WEBHOOK_SECRET: secret, MINE: secret }
    for (const args of [['sign', ...scheme], ['verify', ...scheme, '-H', 'webhook-id: 1']]) {
      await rejects(t, args, { stdin: 'x', env }, 'CAUSEFLOW_WEBHOOK_SECRET')
      await rejects(t, [...args, '--secret-env', 'MINE'], { stdin: 'x', env }, 'MINE')
    }
  }
  const issuer = await createTestIssuer()
  t.teardown(() => issuer.close())
  const env = { MINE: 'hunter2' }
  await rejects(t, ['token', 'inspect', '--issuer', 'x', '--secret-env', 'MINE'], { stdin: issuer.token(), env }, 'MINE')
})

t.test('PGCONNECT_TIMEOUT is the limit for a connection, a minute at most', async (t) => {
  for (const [value, limit] of [[undefined, 5000], ['', 5000], ['2', 2000], ['60', 60_000], ['61', 60_000], ['0', 60_000]] as const) {
    t.equal(connectLimitOf({ PGCONNECT_TIMEOUT: value }), limit, `${value}`)
  }
})

t.test('good variables are taken as they are', async (t) => {
  // Nothing listens there, and that is what is said.
  const env = { PGHOST: '127.0.0.1', PGPORT: '1', PGSSLMODE: 'disable', PGSSLNEGOTIATION: 'postgres', PGREPLICATION: 'off', PGCONNECT_TIMEOUT: '3' }
  for (const good of [env, { ...env, PGHOST: '/nowhere' }, { DATABASE_URL: 'postgresql://u:p%25%C3%A9@127.0.0.1:1/d?sslmode=disable' }, { DATABASE_URL: 'postgres://u@127.0.0.1:1/d' }]) {
    const mend = 'Look whether it runs and whether this machine may reach it: psql "$DATABASE_URL" -c "select 1"'
    t.match(await ask(list, within(good as Record<string, string>)), { code: 3, failure: { error: 'database_unavailable', mend } }, JSON.stringify(good))
  }
})
