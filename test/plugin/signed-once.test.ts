// What a signed body costs: every byte is hashed once for its MAC, and the buffer that Fastify made is the one that everybody gets.
import t from 'tap'
import { createRequire, syncBuiltinESMExports } from 'node:module'
import type { FastifyInstance } from 'fastify'
import type { Hash, Hmac } from 'node:crypto'
import { watchProcess } from '../fixtures/process-watch.js'

watchProcess(t)

// Before anything of the plugin is loaded: its modules take these names from node:crypto.
const crypto = createRequire(import.meta.url)('node:crypto') as Record<string, (...values: never[]) => unknown>
const hashed: number[] = []
const { hash, createHmac, createHash } = crypto
const lengthOf = (value: unknown): number => typeof value === 'string' ? Buffer.byteLength(value) : (value as Uint8Array).byteLength
crypto.hash = (...values: never[]) => {
  hashed.push(lengthOf(values[1]))
  return hash!(...values)
}
for (const [name, create] of Object.entries({ createHmac, createHash })) {
  crypto[name] = (...values: never[]) => {
    const made = create!(...values) as Hash | Hmac
    const { update } = made
    made.update = ((...parts: Parameters<typeof update>) => {
      hashed.push(lengthOf(parts[0]))
      return update.apply(made, parts)
    }) as typeof update
    return made
  }
}
syncBuiltinESMExports()
const { auth, default: causeflowAuth, MemoryReplayStore, signWebhook } = await import('../../lib/index.js')
const { default: Fastify } = await import('fastify')

type Replay = InstanceType<typeof MemoryReplayStore>

async function receiver (t: { teardown (action: () => unknown): void }, secret: string | string[], replay?: Replay): Promise<FastifyInstance> {
  const app = Fastify({ bodyLimit: 10_000_000 })
  t.teardown(() => app.close())
  await app.register(causeflowAuth, { webhook: { secret, ...replay && { replay } }, default: auth.deny() })
  return app
}

/** How often the bytes of a body went through a hash, between its arrival and its answer. */
async function passes (app: FastifyInstance, body: Buffer, secret: string): Promise<number> {
  const headers = { 'content-type': 'application/octet-stream', ...signWebhook(body, secret) }
  // What the first request of all loads is hashed by the loader.
  await app.inject('/')
  hashed.length = 0
  const { statusCode } = await app.inject({ method: 'POST', url: '/hook', headers, payload: body })
  if (statusCode !== 200) throw new Error(`answered ${statusCode}`)
  return hashed.filter((length) => length >= body.length).length
}

t.test('a signed body is hashed once, whatever its size; once more for each further secret and for a replay store', async (t) => {
  for (const size of [1_000, 16_000, 16_384, 1_000_000]) {
    const body = Buffer.alloc(size, 'é')
    for (const [secret, replay, expected] of [['a', undefined, 1], [['a', 'b'], undefined, 2], ['a', new MemoryReplayStore(), 2]] as const) {
      const app = await receiver(t, typeof secret === 'string' ? secret : [...secret], replay)
      app.post('/hook', { config: { auth: auth.webhook() } }, async () => 'in')
      t.equal(await passes(app, body, 'a'), expected, `${size} bytes, ${String(secret)}${replay ? ', a replay store' : ''}`)
    }
  }
})

t.test('the buffer that Fastify read is the body and the raw body: no byte is copied', async (t) => {
  const app = await receiver(t, 'a')
  let seen: { body: unknown, raw: unknown } = { body: null, raw: null }
  app.post('/hook', { config: { auth: auth.webhook() } }, async (request) => {
    seen = { body: request.body, raw: request.rawBody }
    return 'in'
  })
  await app.ready()
  const body = Buffer.alloc(1_000_000, 'x')
  const headers = { 'content-type': 'application/octet-stream', ...signWebhook(body, 'a') }
  const { concat, from } = Buffer
  const made: unknown[] = []
  const copies: number[] = []
  Buffer.concat = ((...values: Parameters<typeof concat>) => {
    const buffer = concat(...values)
    if (buffer.length === body.length) made.push(buffer)
    return buffer
  }) as typeof concat
  Buffer.from = ((...values: Parameters<typeof from>) => {
    const buffer = from(...values)
    // A view of the same memory is no copy.
    if (buffer.length === body.length && (values[0] as unknown) !== buffer.buffer) copies.push(buffer.length)
    return buffer
  }) as typeof from
  t.teardown(() => Object.assign(Buffer, { concat, from }))
  const { statusCode } = await app.inject({ method: 'POST', url: '/hook', headers, payload: body })
  Object.assign(Buffer, { concat, from })
  t.equal(statusCode, 200)
  t.equal(made.length, 1, 'joined once, by Fastify')
  t.strictSame([seen.raw === made[0], seen.body === made[0], copies], [true, true, []])
})
