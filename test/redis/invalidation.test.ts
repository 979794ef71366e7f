import t from 'tap'
import { MemoryApiKeyStore, type ApiKeyStore, type InvalidationChannel, type KeyChange } from '../../lib/index.js'
import { redisInvalidation, withInvalidation, type IoredisClient } from '../../lib/redis/index.js'
import { newRecord } from '../api-key/record-fixture.js'
import { storeContract } from '../api-key/store-contract.js'
import { forkServer, lastAccepted, warm } from '../fixtures/fork-server.js'
import { postgresMissing, redisMissing, redisUrl } from '../fixtures/services.js'
import { tcpProxy } from '../fixtures/tcp-proxy.js'
import { ownSchema, until } from '../postgres/open-store.js'
import { drivers, ownClient, ownName, urlAt } from './clients.js'

t.setTimeout(150_000)
const skip = await redisMissing()

function listening (channel: InvalidationChannel) {
  const heard: Array<KeyChange | 'reset'> = []
  const stop = channel.subscribe({ onInvalidated: (change) => heard.push(change), onReset: () => heard.push('reset') })
  return { heard, stop }
}

for (const driver of Object.keys(drivers)) {
  t.test(`over ${driver}: what one process publishes, the other hears; a broken connection is mended and is a reset`, { skip, timeout: 60_000 }, async (t) => {
    const { hostname, port } = new URL(redisUrl)
    const line = await tcpProxy(hostname, Number(port || 6379))
    t.teardown(() => line.close())
    const name = ownName()
    const one = redisInvalidation({ client: await ownClient(t, driver), channel: name })
    const two = redisInvalidation({ client: await ownClient(t, driver, urlAt(line.port)), channel: name })
    t.teardown(() => Promise.all([one.close(), two.close()]))
    t.equal(two.healthy, false)
    const { heard, stop } = listening(two)
    await until(() => two.healthy, 'it hears itself')
    t.strictSame(heard.splice(0), ['reset'])
    await one.publish([{ keyId: 'key_1' }, { tenantId: 'ten_1' }])
    await until(() => heard.length === 2, 'the changes arrive')
    t.strictSame(heard.splice(0), [{ keyId: 'key_1' }, { tenantId: 'ten_1' }])

    line.cut()
    await until(() => !two.healthy, 'the loss is noticed', 1000)
    await until(() => two.healthy, 'it hears itself again')
    t.strictSame(heard.splice(0), ['reset'])
    await one.publish([{ keyId: 'key_2' }])
    await until(() => heard.length === 1, 'and changes')
    t.strictSame(heard.splice(0), [{ keyId: 'key_2' }], 'once')

    line.freeze()
    await until(() => !two.healthy, 'a line that swallows is noticed', 1000)
    line.thaw()
    await until(() => two.healthy, 'and that it swallows no more')
    stop()
    t.equal(two.healthy, false)
  })
}

t.test('several processes over Redis, with a store that does not tell of changes', { skip: skip || await postgresMissing(), timeout: 140_000 }, async (t) => {
  const { hostname, port } = new URL(redisUrl)
  const line = await tcpProxy(hostname, Number(port || 6379))
  t.teardown(() => line.close())
  const config = { schema: ownSchema(t), redisChannel: ownName() }
  const [one, two] = await Promise.all([forkServer(t, config), forkServer(t, { ...config, redisPort: line.port })])
  const servers = [one, two]
  for (const server of servers) await until(async () => (await server.state()).healthy === true, 'every process hears itself')
  const made = async () => (await one.call('POST', '/create', { body: {} })).body as { keyId: string, plaintextKey: string }
  const revoke = (keyId: string) => one.call('POST', '/revoke', { body: { tenantId: 'ten_A', keyId } })

  await t.test('threat 15: revoked in one process, refused in the other within 250 ms, 100 times', { timeout: 120_000 }, async (t) => {
    const late: number[] = []
    for (let round = 0; round < 100; round++) {
      const { keyId, plaintextKey } = await made()
      await Promise.all(servers.map((server) => warm(server, plaintextKey)))
      const poll = lastAccepted(two, plaintextKey)
      t.strictSame((await revoke(keyId)).body, { answer: 'revoked' })
      const acknowledged = performance.now()
      late.push(await poll - acknowledged)
      t.equal(await one.who(plaintextKey), 401)
    }
    late.sort((a, b) => a - b)
    t.comment(`accepted after the acknowledgement: median ${late[50]?.toFixed(1)} ms, latest ${late.at(-1)?.toFixed(1)} ms`)
    t.ok((late.at(-1) ?? Infinity) < 250)
  })

  await t.test('the line to Redis swallows everything: no revoked key works on, and the store is asked instead', { timeout: 60_000 }, async (t) => {
    const [gone, kept] = [await made(), await made()]
    await warm(two, gone.plaintextKey)
    const poll = lastAccepted(two, gone.plaintextKey)
    line.freeze()
    await revoke(gone.keyId)
    const acknowledged = performance.now()
    t.ok(await poll - acknowledged < 250)
    t.equal(await two.who(kept.plaintextKey), 200)
    t.equal((await two.state()).healthy, false)
    const { status } = await two.call('POST', '/revoke', { body: { tenantId: 'ten_A', keyId: kept.keyId } })
    t.equal(status, 503, 'a revocation that cannot be told is no success')
    line.thaw()
    await until(async () => (await two.state()).healthy === true, 'it hears itself again')
    t.equal(await one.who(kept.plaintextKey), 401)
    t.strictSame((await two.call('POST', '/revoke', { body: { tenantId: 'ten_A', keyId: kept.keyId } })).body, { answer: 'already-revoked' }, 'again tells again')
  })

  await t.test('threat 30: a closed application ends by itself', { timeout: 60_000 }, async (t) => {
    t.strictSame(await Promise.all(servers.map((server) => server.end())), [0, 0])
  })
})

t.test('a store with a channel beside it is the store that it was', async (t) => {
  const bare = (store: ApiKeyStore): ApiKeyStore => ({
    findByDigest: (digest) => store.findByDigest(digest),
    create: (record, quota) => store.create(record, quota),
    get: (name) => store.get(name),
    list: (query) => store.list(query),
    revoke: (revocation) => store.revoke(revocation),
    rotate: (rotation) => store.rotate(rotation),
    replaceSecrets: (replacement) => store.replaceSecrets(replacement),
    revokeAll: (query) => store.revokeAll(query),
    touch: (uses) => store.touch(uses)
  })
  const channel: InvalidationChannel = { healthy: true, subscribe: () => () => {}, publish () {} }
  storeContract(t, () => ({ store: withInvalidation(bare(new MemoryApiKeyStore()), channel) }))

  t.test('also where it is a class with fields of its own', async (t) => {
    class Own extends MemoryApiKeyStore {
      declare readonly invalidation: never
      constructor () {
        super()
        Object.assign(this, { invalidation: undefined })
      }
    }
    const store = withInvalidation(new Own(), channel)
    const { record } = newRecord()
    t.equal(await store.create(record, 1), 'created')
    t.strictSame(await store.findByDigest(record.digest), record)
    t.equal(store.ephemeral, true)
    t.equal(store.invalidation, channel)
    t.notOk('ephemeral' in withInvalidation(bare(new MemoryApiKeyStore()), channel))
  })

  t.test('a store that has a channel, and a channel that is none, do not start', async (t) => {
    t.throws(() => withInvalidation(new MemoryApiKeyStore(), channel), { code: 'AUTH_CONFIG_OPTION', message: /has a channel already/ })
    t.throws(() => withInvalidation(bare(new MemoryApiKeyStore()), {} as never), { code: 'AUTH_CONFIG_OPTION', message: /InvalidationChannel/ })
  })
})

t.test('a publication that gets no answer is an error within the time limit', { skip }, async (t) => {
  const { hostname, port } = new URL(redisUrl)
  const line = await tcpProxy(hostname, Number(port || 6379))
  t.teardown(() => line.close())
  const channel = redisInvalidation({ client: await ownClient(t, 'redis 6', urlAt(line.port)), channel: ownName(), timeLimit: 0.2 })
  await channel.publish([{ keyId: 'a' }])
  line.freeze()
  await t.rejects(channel.publish([{ keyId: 'a' }]), { message: 'No answer within 200 ms' })
})

t.test('a bad option does not start, and the sentence names the mend', async (t) => {
  const client = await ownless()
  for (const [options, words] of [
    [{}, /client.*ioredis, iovalkey or redis/],
    [{ client: { publish () {} } }, /client.*ioredis, iovalkey or redis/],
    [{ client, channel: '' }, /channel/],
    [{ client, timeLimit: Infinity }, /timeLimit/],
    [{ client, subscriber: client }, /no option 'subscriber'/]
  ] as const) {
    t.throws(() => redisInvalidation(options as never), { code: 'AUTH_CONFIG_OPTION', message: words })
  }
})

async function ownless (): Promise<IoredisClient> {
  return { call: async () => 1, duplicate: () => { throw new Error('not here') }, connect: async () => {}, subscribe: async () => {}, disconnect () {}, on () {} }
}
