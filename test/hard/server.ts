/**
 * An application with every credential, in a process of its own. Its configuration is its first argument; it is told over IPC what to do
 * beside serving, so that nothing it serves is there for the tests alone. Ended by SIGTERM, as a service is.
 */
import Fastify, { type FastifyServerOptions } from 'fastify'
import pg from 'pg'
import { Redis } from 'ioredis'
import { subscribe } from 'node:diagnostics_channel'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { apiKeySecret, auth, causeflowAuth, causeflowErrorHandler, MemoryApiKeyStore, MemoryReplayStore, principalOf, problemErrorHandler, standardWebhooks, type ApiKeyStore, type CauseflowAuthOptions, type JwtOptions, type ReplayStore } from '../../lib/index.js'
import { PostgresApiKeyStore } from '../../lib/postgres/index.js'
import { redisInvalidation, RedisReplayStore, withInvalidation } from '../../lib/redis/index.js'
import { postgres } from '../fixtures/services.js'

export interface HardServerConfig {
  /** Of bearer tokens; null: none. */
  jwt: Pick<JwtOptions, 'issuer' | 'audience' | 'keySet' | 'secret' | 'tokenCache'> | null
  /** Where keys are; null: in memory. With `database` the server is a private one. */
  postgres: { schema: string, poolPort?: number, listenerPort?: number, database?: string, poolSize?: number } | null
  /** Where deliveries are remembered; null: in memory. With `channel` the changes of keys are told there, too. `lease`: milliseconds, in place of the plugin's. */
  redis: { url: string, prefix: string, channel?: boolean, lease?: number } | null
  webhookSecret: string
  sealingKey: string
  /** Seconds by which a delivery's time may differ. */
  tolerance?: number
  errorHandler?: 'fastify' | 'causeflow' | 'problem'
  /** Everything that can be said is said on stdout: the log at trace level and every diagnostics channel. */
  loud?: boolean
}

/** What the parent asks for, and what it is answered. */
export interface Orders {
  create: { input: { tenantId: string, name: string }, answer: { keyId: string, plaintextKey: string, webhookSecret: string | null } }
  revoke: { input: { tenantId: string, keyId: string }, answer: string }
  rotate: { input: { tenantId: string, keyId: string, overlap?: number }, answer: { keyId: string, plaintextKey: string, webhookSecret: string | null } | string }
  state: { input: null, answer: { healthy: boolean | null, heap: number, rss: number, begun: string[], routes: unknown } }
  /** The ids of the deliveries whose handlers have run at `/work`, in the order of their ends. */
  handled: { input: null, answer: string[] }
  /** Stops the event loop for so many milliseconds. */
  block: { input: number, answer: null }
}

const config = JSON.parse(process.argv[2] ?? '{}') as HardServerConfig
setFlagsFromString('--expose-gc')
const collect = runInNewContext('gc') as () => void

const own = config.postgres
const at = own?.database === undefined ? postgres : { host: '127.0.0.1', user: 'postgres', database: own.database, connectionTimeoutMillis: 2000 }
const pool = own === null ? null : new pg.Pool({ ...at, port: own.poolPort ?? postgres.port, max: own.poolSize ?? 5 })
pool?.on('error', () => {})
const redis = config.redis === null ? null : new Redis(config.redis.url)
redis?.on('error', () => {})
const keys = own === null || pool === null ? new MemoryApiKeyStore() : new PostgresApiKeyStore({ pool, schema: own.schema, ...config.redis?.channel === true ? {} : { listener: () => new pg.Client({ ...at, port: own.listenerPort ?? postgres.port }) } })
const store: ApiKeyStore = redis !== null && config.redis?.channel === true ? withInvalidation(keys, redisInvalidation({ client: redis, channel: config.redis.prefix })) : keys
const replay: ReplayStore = config.redis === null || redis === null ? new MemoryReplayStore() : new RedisReplayStore({ client: redis, prefix: config.redis.prefix })
const { lease: ownLease } = config.redis ?? {}
if (ownLease !== undefined) {
  const begin = replay.begin.bind(replay)
  replay.begin = (attempt) => begin(attempt, ownLease)
}

const logged: FastifyServerOptions = config.loud === true ? { logger: { level: 'trace' } } : {}
const app = Fastify({ ...logged, pluginTimeout: 60_000 })
if (config.loud === true) {
  for (const name of ['decision', 'api-key', 'key-set']) {
    subscribe(`causeflow-auth:${name}`, (event) => { process.stdout.write(`${JSON.stringify(event, (_name, value: unknown) => value instanceof Error ? { message: value.message, stack: value.stack, cause: value.cause } : value)}\n`) })
  }
}
if (config.errorHandler === 'causeflow') app.setErrorHandler(causeflowErrorHandler())
if (config.errorHandler === 'problem') app.setErrorHandler(problemErrorHandler())

// Which requests were begun, so that the parent can tell a dropped one from one that never came.
const begun: string[] = []
app.addHook('onRequest', async (request) => {
  const id = request.headers['x-id']
  if (typeof id === 'string' && request.headers['x-note'] !== undefined) begun.push(id)
})

const scheme = standardWebhooks({ tolerance: config.tolerance ?? 30 })
const options: CauseflowAuthOptions = {
  apiKey: { store, quota: 1_000_000, sealingKeys: [config.sealingKey] },
  webhook: [{ scheme, secret: config.webhookSecret, replay }, { name: 'own', secret: apiKeySecret() }],
  default: auth.deny(),
  ...config.jwt === null ? {} : { jwt: { ...config.jwt, warmup: false } }
}
await app.register(causeflowAuth, options)
const { apiKeys } = app.causeflowAuth
app.get('/key', { config: { auth: auth.apiKey() } }, async (request) => ({ keyId: principalOf(request, 'apiKey').keyId }))
app.post('/hook', { config: { auth: auth.webhook() } }, async () => ({ received: true }))
const handled: string[] = []
app.post('/work', { config: { auth: auth.webhook() } }, async (request) => {
  await new Promise((resolve) => setTimeout(resolve, Math.random() * 30))
  handled.push(principalOf(request, 'webhook').deliveryId ?? '')
  return { received: true }
})
app.post('/v1/:tenantId/ingest', { config: { auth: auth.all(auth.apiKey(), auth.webhook('own')) } }, async (request) => ({ keyId: principalOf(request, 'apiKey').keyId }))
if (config.jwt !== null) {
  const wait = async (request: { query: unknown }): Promise<void> => {
    const { ms } = request.query as { ms?: string }
    if (ms !== undefined) await new Promise((resolve) => setTimeout(resolve, Number(ms)))
  }
  app.get('/token', { config: { auth: auth.jwt() } }, async (request) => { await wait(request); return { subject: principalOf(request, 'jwt').subject } })
  app.get('/admin', { config: { auth: auth.jwt().roles('admin') } }, async (request) => ({ subject: principalOf(request, 'jwt').subject }))
  app.get('/either', { config: { auth: auth.any(auth.jwt().roles('admin'), auth.apiKey()) } }, async (request) => { await wait(request); return { scheme: principalOf(request).scheme } })
  app.get('/throws', { config: { auth: auth.jwt().check('broken', () => { throw new Error('the check is broken') }) } }, async () => ({}))
}

if (keys instanceof PostgresApiKeyStore) await keys.ready()
await app.listen({ port: 0, host: '127.0.0.1' })
process.send?.({ port: (app.server.address() as { port: number }).port })

const orders: { [O in keyof Orders]: (input: Orders[O]['input']) => Promise<Orders[O]['answer']> } = {
  create: (input) => apiKeys.create(input),
  revoke: (input) => apiKeys.revoke(input),
  rotate: (input) => apiKeys.rotate(input),
  async state () {
    for (let pass = 0; pass < 4; pass++) {
      collect()
      await new Promise((resolve) => setImmediate(resolve))
    }
    const { heapUsed, rss } = process.memoryUsage()
    return { healthy: store.invalidation?.healthy ?? null, heap: heapUsed, rss, begun, routes: app.causeflowAuth.routes() }
  },
  handled: async () => handled,
  async block (milliseconds) {
    const end = performance.now() + milliseconds
    while (performance.now() < end);
    return null
  }
}

process.on('message', ({ id, order, input }: { id: number, order: keyof Orders, input: never }) => {
  orders[order](input).then((answer) => process.send?.({ id, answer }), (error: Error & { code?: string }) => process.send?.({ id, error: error.code ?? error.message }))
})
process.on('disconnect', () => process.exit())
process.on('SIGTERM', () => {
  app.close().then(async () => {
    redis?.disconnect()
    await pool?.end()
    process.send?.({ begun }, () => process.disconnect())
  }, () => process.exit(1))
})
