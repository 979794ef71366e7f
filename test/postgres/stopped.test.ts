// A server whose every process is stopped, which only one of our own may be.
import t from 'tap'
import Fastify from 'fastify'
import pg from 'pg'
import { auth, causeflowAuth } from '../../lib/index.js'
import { PostgresApiKeyStore } from '../../lib/postgres/index.js'
import { until } from './open-store.js'
import { postgresPrograms, privateCluster } from './private-cluster.js'
import { watchProcess } from '../fixtures/process-watch.js'

watchProcess(t)

const programs = postgresPrograms()
t.setTimeout(120_000)

t.test('threat 16: a database that stops: 503 within the deadline, well again when it goes on, and nothing is lost', { skip: programs === null && 'The programs of PostgreSQL are not in /usr/lib/postgresql', timeout: 100_000 }, async (t) => {
  const cluster = await privateCluster(t, programs ?? '')
  const config = { host: '127.0.0.1', port: cluster.port, user: 'postgres', database: 'postgres' }
  // Without a connectionTimeoutMillis, which would hide a pool that waits for ever.
  const pool = new pg.Pool({ ...config, max: 3 })
  const store = new PostgresApiKeyStore({ pool, listener: () => new pg.Client(config) })
  await until(() => store.ready().then(() => true, () => false), 'the server has started', 60_000)
  const app = Fastify()
  await app.register(causeflowAuth, { apiKey: { store, quota: 100 }, default: auth.apiKey() })
  app.get('/', async () => 'in')
  await app.ready()
  t.teardown(() => pool.end())
  t.teardown(() => app.close())
  const { apiKeys } = app.causeflowAuth
  const ask = async (key: string) => {
    const sent = performance.now()
    const { statusCode, headers } = await app.inject({ url: '/', headers: { 'x-api-key': key } })
    return { statusCode, retry: headers['retry-after'] !== undefined, took: performance.now() - sent }
  }
  const healthy = () => until(() => store.invalidation?.healthy === true, 'it hears itself')

  const kept = await apiKeys.create({ tenantId: 'ten_A', name: 'kept' })
  const gone = await apiKeys.create({ tenantId: 'ten_A', name: 'gone' })
  await healthy()
  t.equal((await ask(kept.plaintextKey)).statusCode, 200)
  t.equal((await ask(gone.plaintextKey)).statusCode, 200)

  cluster.stop()
  await until(() => store.invalidation?.healthy === false, 'the lease is over', 1000)
  const answers = await Promise.all([kept, gone, kept, gone].map(({ plaintextKey }) => ask(plaintextKey)))
  for (const { statusCode, retry, took } of answers) {
    t.strictSame({ statusCode, retry }, { statusCode: 503, retry: true })
    t.ok(took < 2500, `${Math.round(took)} ms`)
  }
  await t.rejects(apiKeys.revoke({ tenantId: 'ten_A', keyId: gone.keyId }), { code: 'AUTH_STORE_UNAVAILABLE' })
  await t.rejects(apiKeys.create({ tenantId: 'ten_A', name: 'never' }), { code: 'AUTH_STORE_UNAVAILABLE' })
  t.equal((await ask(gone.plaintextKey)).statusCode, 503)

  cluster.go()
  await until(async () => (await ask(kept.plaintextKey)).statusCode === 200, 'it is well again')
  await healthy()
  // Whether the one before was written when the server went on, nobody can know; that it is revoked now is known.
  t.match(await apiKeys.revoke({ tenantId: 'ten_A', keyId: gone.keyId }), /^(already-)?revoked$/)
  t.equal((await ask(gone.plaintextKey)).statusCode, 401)
  t.equal((await ask(kept.plaintextKey)).statusCode, 200)
  const { keys } = await apiKeys.list({ tenantId: 'ten_A' })
  t.strictSame(keys.map(({ name }) => name).sort(), ['gone', 'kept'], 'what was answered 503 was not made after all')
})
