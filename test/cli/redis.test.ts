// What the program changes is told over Redis, where an installation hears of changes there; and the doctor looks at it.
import t from 'tap'
import { MemoryApiKeyStore } from '../../lib/api-key/memory-store.js'
import type { KeyChange } from '../../lib/api-key/invalidation.js'
import type { ApiKeyStore } from '../../lib/api-key/store.js'
import type { Finding } from '../../lib/cli/checks/finding.js'
import { openRedis } from '../../lib/cli/redis.js'
import { Failure } from '../../lib/cli/failure.js'
import { redisInvalidation, type IoredisClient } from '../../lib/redis/index.js'
import { redisMissing, redisUrl } from '../fixtures/services.js'
import { tcpProxy } from '../fixtures/tcp-proxy.js'
import { until } from '../postgres/open-store.js'
import { ownClient, ownName, urlAt } from '../redis/clients.js'
import { ask, invoke, now, type Surroundings } from './fixture.js'
import { watchProcess } from '../fixtures/process-watch.js'

watchProcess(t)

t.setTimeout(180_000)
const skip = await redisMissing()
const tenant = ['--tenant', 'ten_ACME']
const timers = globalThis as unknown as Parameters<typeof openRedis>[1]
const database = { DATABASE_URL: 'postgres://db/x' }

/** A store that tells nobody of its changes, as PostgreSQL behind a pooler is one. */
function silentStore (): ApiKeyStore & { memory: MemoryApiKeyStore } {
  const memory = new MemoryApiKeyStore()
  return {
    memory,
    findByDigest: (digest) => memory.findByDigest(digest),
    create: (record, quota) => memory.create(record, quota),
    get: (name) => memory.get(name),
    list: (query) => memory.list(query),
    revoke: (revocation) => memory.revoke(revocation),
    rotate: (rotation) => memory.rotate(rotation),
    replaceSecrets: (replacement) => memory.replaceSecrets(replacement),
    revokeAll: (query) => memory.revokeAll(query),
    touch: (uses) => memory.touch(uses)
  }
}

/** Installed are only these: each under its own name, or an older version of it. */
function installed (...packages: Array<[name: string, version: string]>) {
  return async (name: string): Promise<unknown> => {
    const found = packages.find(([own]) => own === name)
    if (found === undefined) throw Object.assign(new Error(`Cannot find package '${name}'`), { code: 'ERR_MODULE_NOT_FOUND' })
    return await import(found[1])
  }
}

/** Another process that hears of changes. */
async function listen (t: Parameters<typeof ownClient>[0], channel: string): Promise<{ heard: KeyChange[] }> {
  const invalidation = redisInvalidation({ client: await ownClient(t), channel })
  t.teardown(() => invalidation.close())
  const heard: KeyChange[] = []
  invalidation.subscribe({ onInvalidated: (change) => heard.push(change), onReset () {} })
  await until(() => invalidation.healthy, 'it hears itself')
  return { heard }
}

for (const [name, version] of [['ioredis', 'ioredis'], ['ioredis', 'ioredis5'], ['iovalkey', 'iovalkey'], ['redis', 'redis'], ['redis', 'redis5'], ['redis', 'redis4']] as const) {
  t.test(`over ${version}: every change that the program makes is told`, { skip }, async (t) => {
    const channel = ownName()
    const { heard } = await listen(t, channel)
    const env = { REDIS_URL: redisUrl }
    const surroundings: Surroundings = { store: silentStore(), env, openRedis: () => openRedis(env, timers, installed([name, version])) }
    const run = async (...args: string[]) => {
      const ended = await ask([...args, ...tenant, '--redis-channel', channel], surroundings)
      t.match(ended, { code: 0, failure: null }, args.join(' '))
      return ended.answer
    }
    const told = async (change: KeyChange): Promise<void> => {
      await until(() => heard.length > 0, JSON.stringify(change))
      t.match(heard.splice(0), [change])
    }
    const { keyId } = await run('key', 'create', '--name', 'CI')
    await told({ keyId } as KeyChange)
    const { keyId: newer } = await run('key', 'rotate', keyId)
    await until(() => heard.length === 3, 'the old one, ahead and afterwards, and the new one')
    t.match(heard.splice(0), [{ keyId }, { keyId }, { keyId: newer }])
    await run('key', 'revoke', newer)
    await told({ keyId: newer })
    await run('key', 'revoke', newer)
    await told({ keyId: newer })
    await run('key', 'revoke', '--all')
    await told({ tenantId: 'ten_ACME' })
  })
}

t.test('a Redis that does not answer hinders no revocation and loses no key that is shown once; that nobody was told is said', async (t) => {
  const store = silentStore()
  const env = { REDIS_URL: 'redis://127.0.0.1:1' }
  const { code, answer: made, failure } = await ask(['key', 'create', ...tenant, '--name', 'CI'], { store, env })
  t.strictSame([code, failure], [0, null], 'nobody holds a key that was not there')
  const rotated = await ask(['key', 'rotate', made.keyId, ...tenant], { store, env })
  t.match(rotated, { code: 3, answer: { plaintextKey: /^cflo_live_sk_/ }, failure: { error: 'not_told', message: /^It is done in the database, and Redis was not told: .*ECONNREFUSED/, mend: `Once Redis answers, run causeflow-auth key revoke ${made.keyId}: it is revoked already, and that is told` } })
  const { keyId } = rotated.answer
  t.match(await ask(['key', 'rotate', keyId, ...tenant, '--overlap', '1h'], { store, env }), { code: 3, answer: { rotatedFrom: keyId }, failure: { mend: /ttl, 30 s by default$/ } })
  t.match(await ask(['key', 'revoke', keyId, ...tenant], { store, env }), { code: 3, answer: { keyId, outcome: 'revoked' }, failure: { error: 'not_told', mend: /^Run it again once Redis answers/ } })
  t.match(await store.get({ tenantId: 'ten_ACME', keyId }), { revokedAt: new Date(now).toISOString() })
  t.match(await ask(['key', 'revoke', '--all', ...tenant], { store, env }), { code: 3, answer: { revoked: [String] }, failure: { error: 'not_told' } })
  t.match(await ask(['key', 'list', ...tenant], { store, env }), { code: 0, failure: null }, 'who only reads tells nobody')
})

t.test('a Redis that swallows what it is sent is given up in time', { skip }, async (t) => {
  const { hostname, port } = new URL(redisUrl)
  const line = await tcpProxy(hostname, Number(port || 6379))
  t.teardown(() => line.close())
  const env = { REDIS_URL: urlAt(line.port) }
  const store = silentStore()
  const { answer: { keyId } } = await ask(['key', 'create', ...tenant, '--name', 'CI'], { store, env })
  const freezing: ApiKeyStore = {
    ...store,
    revoke (revocation) {
      line.freeze()
      return store.revoke(revocation)
    }
  }
  t.match(await ask(['key', 'revoke', keyId, ...tenant], { store: freezing, env }), { code: 3, answer: { outcome: 'revoked' }, failure: { error: 'not_told', message: /No answer within 1000 ms$/ } })
  t.match(await ask(['key', 'revoke', keyId, ...tenant], { store, env }), { code: 3, answer: { outcome: 'already-revoked' }, failure: { error: 'not_told', message: /No answer within 5000 ms$/ } })
})

t.test('a Redis that is configured wrong is said before anything is changed, without its password', { skip }, async (t) => {
  const store = silentStore()
  for (const url of ['localhost:6379', 'http://u:hidden@h', 'not a url:hidden', new URL(`redis://nobody:hidden@${new URL(redisUrl).host}`).href]) {
    const ended = await ask(['key', 'create', ...tenant, '--name', 'CI'], { store, env: { REDIS_URL: url } })
    t.match(ended, { code: 2, answer: null, failure: { error: 'usage', message: /^Redis does not let this client in: WRONGPASS|^REDIS_URL is no URL of Redis/, mend: /REDIS_URL$|^Write it as redis:\/\/user:password@host:6379/ } }, url)
    t.notMatch(JSON.stringify(ended), 'hidden')
  }
  t.strictSame(await store.list({ tenantId: 'ten_ACME', cursor: null, limit: 1 }), { records: [], cursor: null })
})

t.test('without a driver it says what to install; with several the first is taken, and one that is broken is a fault', { skip }, async (t) => {
  const env = { REDIS_URL: redisUrl }
  await t.rejects(openRedis(env, timers, installed()), new Failure(2, 'redis_missing', 'REDIS_URL is set, and none of the packages that speak to Redis is installed here', 'npm install ioredis (or iovalkey, or redis); where no process hears of changes over Redis, unset REDIS_URL'))
  await t.rejects(openRedis(env, timers, async () => { throw new SyntaxError('broken') }), new SyntaxError('broken'))
  for (const [packages, driver] of [[['redis', 'iovalkey', 'ioredis'], 'ioredis'], [['redis', 'iovalkey'], 'iovalkey'], [['redis'], 'redis']] as const) {
    const opened = await openRedis(env, timers, installed(...packages.map((name) => [name, name] as [string, string])))
    t.equal(opened.driver, driver)
    opened.close()
  }
})

/** The doctor waits for what is never heard; here a fifth of that time. */
const hurried: NonNullable<Surroundings['timers']> = {
  setTimeout: (callback, milliseconds) => timers.setTimeout(callback, milliseconds === 10 ? 2 : milliseconds),
  clearTimeout: (timer) => { timers.clearTimeout(timer) }
}

/** What the doctor found, by check. */
async function examine (surroundings: Surroundings, ...args: string[]) {
  const { code, answer } = await ask(['doctor', ...args], surroundings)
  return { code, findings: Object.fromEntries((answer.findings as Finding[]).map(({ check, status, detail, mend }) => [check, { status, detail, mend }])) }
}

t.test('the doctor finds a good Redis well: it answers, and what is published is heard', { skip }, async (t) => {
  const { heard } = await listen(t, 'causeflow-auth:api-key')
  const { code, findings } = await examine({ env: { REDIS_URL: redisUrl } })
  t.equal(code, 0)
  t.match(findings['redis'], { status: /well|warning/, detail: /^Redis \d+\.\d+\.\d+ answers ioredis/ })
  t.match(findings['redis echo'], { status: /well|warning/, detail: /^Changes are heard.* \d+ ms/ })
  t.strictSame(heard, [], 'and no process is told anything')
  t.match((await invoke(['doctor'], { env: { REDIS_URL: redisUrl } })).out, /\nok {9}redis {9}Redis \d/)
})

t.test('a Redis that does not answer is unreachable, one that is configured wrong is wrong', { skip }, async (t) => {
  t.match(await examine({ env: { REDIS_URL: 'redis://127.0.0.1:1' } }), { code: 3, findings: { redis: { status: 'unreachable', detail: /ECONNREFUSED/, mend: /redis-cli -u "\$REDIS_URL" ping/ } } })
  t.match(await examine({ env: { REDIS_URL: 'localhost' } }), { code: 1, findings: { redis: { status: 'wrong', mend: /^Write it as redis:/ } } })
})

t.test('a user who may not publish or subscribe there is wrong, with what permits it', { skip }, async (t) => {
  const admin = await ownClient(t) as IoredisClient
  const user = ownName().replace(':', '_')
  t.teardown(() => admin.call('ACL', ['DELUSER', user]))
  const url = Object.assign(new URL(redisUrl), { username: user, password: 'pw' }).href
  const permit = (...rules: string[]) => admin.call('ACL', ['SETUSER', user, 'reset', 'on', '>pw', '+@all', ...rules])
  await permit('resetchannels')
  t.match(await examine({ env: { REDIS_URL: url }, timers: hurried }, '--redis-channel', 'own'), { code: 1, findings: { redis: { status: 'well' }, 'redis echo': { status: 'wrong', mend: /ACL SETUSER <user> \+publish \+subscribe &own\*$/ } } })
  await permit('resetchannels', '&own*', '-info')
  t.match(await examine({ env: { REDIS_URL: url } }, '--redis-channel', 'own'), { code: 0, findings: { redis: { status: 'well', detail: /tells nothing of itself/ }, 'redis echo': { status: /well|warning/ } } })
})

t.test('a replica, a node of a cluster and a server that drops keys are known by what they say of themselves', { skip }, async (t) => {
  const saying = (...lines: string[]) => async () => {
    const { client, ...rest } = await openRedis({ REDIS_URL: redisUrl }, timers)
    const own = client as IoredisClient
    const call: IoredisClient['call'] = async (command, args) => command === 'INFO' ? ['# Server', 'redis_version:7.2.4', ...lines, ''].join('\r\n') : await own.call(command, args)
    return { ...rest, client: { call, duplicate: (override?: object) => own.duplicate(override), subscribe: own.subscribe, connect: own.connect, disconnect: own.disconnect, on: own.on } }
  }
  const env = { REDIS_URL: redisUrl }
  for (const [lines, code, status, mend] of [
    [['role:slave'], 1, 'wrong', 'Name the primary'],
    [['role:master', 'cluster_enabled:1'], 1, 'wrong', /in no cluster/],
    [['role:master', 'maxmemory:100', 'maxmemory_policy:allkeys-lru'], 0, 'warning', /noeviction$/],
    [['role:master', 'maxmemory:0', 'maxmemory_policy:allkeys-lru'], 0, 'well', null],
    [['role:master', 'maxmemory:100', 'maxmemory_policy:noeviction'], 0, 'well', null]
  ] as const) {
    t.match(await examine({ env, openRedis: saying(...lines) }), { code, findings: { redis: { status, detail: /^Redis 7\.2\.4/, mend } } }, lines.join())
  }
})

t.test('a database behind a pooler, that is not heard, is a warning where changes are heard over Redis', { skip }, async (t) => {
  const deaf = Object.assign(silentStore(), { invalidation: { healthy: false, subscribe: () => () => {} } })
  const surroundings = (url: string): Surroundings => ({ env: { ...database, REDIS_URL: url }, store: deaf, timers: hurried })
  t.match(await examine(surroundings(redisUrl)), { code: 0, findings: { 'redis echo': { status: /well|warning/ }, channel: { status: 'warning', detail: /over Redis it is$/, mend: /^Nothing, where/ } } })
  t.match(await examine(surroundings('redis://127.0.0.1:1')), { code: 1, findings: { redis: { status: 'unreachable' }, channel: { status: 'wrong' } } })
})
