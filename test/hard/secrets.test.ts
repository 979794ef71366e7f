/**
 * Everything that a process says while it serves, refuses, fails and ends, with its log at trace level, each error handler and every diagnostics
 * channel: none of the credentials and secrets that were used is in it. The other tests of faults scan what their processes wrote as well.
 */
import t from 'tap'
import { createHash, randomBytes } from 'node:crypto'
import { Redis } from 'ioredis'
import { createApiKey } from '../../lib/index.js'
import { createTestIssuer } from '../../lib/testing/index.js'
import { postgres, postgresMissing, redisMissing, redisUrl } from '../fixtures/services.js'
import { tcpProxy } from '../fixtures/tcp-proxy.js'
import { ownSchema } from '../postgres/open-store.js'
import { ownName, urlAt } from '../redis/clients.js'
import { sealingKey, startServer, webhookSecret } from './fork.js'
import { Scanner } from './scanner.js'
import { Counts, long, scaled, table } from './scale.js'
import { byKey, byToken, createClient, delivery, ingest, pause, timeUntil, type Ask } from './traffic.js'
import { watchProcess } from '../fixtures/process-watch.js'

watchProcess(t)

t.setTimeout(scaled(150_000, 1_800_000))
const rows: unknown[][] = []

t.test('the scanner finds what is planted, in every form and in part', async (t) => {
  const { key } = createApiKey()
  const secret = `whsec_${randomBytes(24).toString('base64')}`
  const token = `eyJhbGciOiJSUzI1NiJ9.${randomBytes(90).toString('base64url')}.${randomBytes(256).toString('base64url')}`
  const scanner = new Scanner().addKey('the key', key).addSecret('the secret', secret).addToken('the token', token)
  const noise = Array.from({ length: 2_000 }, (_, index) => JSON.stringify({ level: 30, time: index, msg: randomBytes(40).toString('base64'), reqId: randomBytes(8).toString('hex') })).join('\n')
  t.strictSame(scanner.scan(noise), [])
  t.strictSame(scanner.scan(`${noise}${key.slice(0, 19)}${noise}eyJhbGciOiJSUzI1NiJ9`), [], 'a prefix and a header say nothing')
  const [, claims = '', signature = ''] = token.split('.')
  const planted: Record<string, string> = {
    'a key': key,
    'a key in an error': `{"err":{"message":"invalid key ${key}"}}`,
    'the end of a key': key.slice(-23),
    'a key in base64': Buffer.from(key).toString('base64'),
    'a key in hex': Buffer.from(key).toString('hex'),
    'the digest of a key': createHash('sha256').update(key).digest('hex'),
    'a secret': secret,
    'a secret in a URL': encodeURIComponent(secret),
    'the middle of a secret': secret.slice(7, 31),
    'a token': `authorization: Bearer ${token}`,
    'the claims of a token': claims,
    'a part of a signature': signature.slice(101, 124)
  }
  for (const [what, text] of Object.entries(planted)) t.not(scanner.scan(noise + text + noise).length, 0, what)
  rows.push(['planted', Object.keys(planted).length, '-', `${Math.round(noise.length / 1000)} each`, `${Object.keys(planted).length} of ${Object.keys(planted).length}`])
})

for (const errorHandler of ['fastify', 'causeflow', 'problem'] as const) {
  t.test(`nothing secret is said with the error handler ${errorHandler}, whatever fails`, { skip: await postgresMissing() || await redisMissing() }, async (t) => {
    const { hostname, port } = new URL(redisUrl)
    const lines = { pool: await tcpProxy(postgres.host, postgres.port), redis: await tcpProxy(hostname, Number(port || 6379)) }
    t.teardown(async () => { for (const line of Object.values(lines)) await line.close() })
    const prefix = `${ownName()}:`
    t.teardown(async () => {
      const redis = new Redis(redisUrl)
      for await (const names of redis.scanStream({ match: `${prefix}*` })) if ((names as string[]).length > 0) await redis.del(...names as string[])
      redis.disconnect()
    })
    const issuer = await createTestIssuer()
    t.teardown(() => issuer.close())
    const server = await startServer(t, { jwt: { ...issuer.jwtOptions(), keySet: { cooldown: 0.1, timeLimit: 0.2, maxAge: 0.3, staleFor: 0.5 } }, postgres: { schema: ownSchema(t), poolPort: lines.pool.port }, redis: { url: urlAt(lines.redis.port), prefix }, errorHandler, loud: true })
    const client = createClient(t)
    const scanner = new Scanner().addSecret('the webhook secret', webhookSecret).add('the sealing key', sealingKey).add('the sealing key, in hex', Buffer.from(sealingKey, 'base64').toString('hex'))
    const tenantId = 'ten_EXAMPLE_01HX9VTPQR3KF8MZ'
    const make = async (): Promise<{ keyId: string, plaintextKey: string, webhookSecret: string | null }> => await server.order('create', { tenantId, name: 'a key' })
    const [kept, gone, turned] = [await make(), await make(), await make()]
    await server.order('revoke', { tenantId, keyId: gone.keyId })
    const rotated = await server.order('rotate', { tenantId, keyId: turned.keyId }) as typeof kept
    for (const [name, key] of Object.entries({ 'a kept key': kept, 'a revoked key': gone, 'a replaced key': turned, 'a new key': rotated })) scanner.addKey(name, key.plaintextKey).addSecret(`the secret of ${name}`, key.webhookSecret ?? '')
    const tokens = { good: issuer.token(), admin: issuer.token({ roles: ['admin'] }), forged: issuer.forged(), expired: issuer.expired(), foreign: issuer.token({ iss: 'https://elsewhere.example.com' }), odd: issuer.token({ roles: 7 }), unknown: issuer.token({}, { kid: 'nobody' }) }
    for (const [name, token] of Object.entries(tokens)) scanner.addToken(`the ${name} token`, token)
    const unknown = createApiKey().key
    const typed = `${kept.plaintextKey.slice(0, -3)}xyz`
    const strange = `a-credential-of-no-form-${randomBytes(20).toString('hex')}`
    scanner.addKey('an unknown key', unknown).addKey('a mistyped key', typed).add('a credential of no form', strange)
    const body = JSON.stringify({ hidden: randomBytes(30).toString('hex') })
    scanner.add('the body', body)

    const requests = (): Ask[] => {
      const deliveries = [delivery(), delivery(`whsec_${Buffer.alloc(24, 9).toString('base64')}`), ingest(kept, tenantId), ingest(kept, 'ten_other'), ingest(rotated, tenantId), ingest(kept, tenantId, 'whsec_wrong'), ingest(gone, tenantId)]
      for (const { headers } of deliveries) scanner.add('a signature', (headers?.['webhook-signature'] ?? headers?.['x-webhook-signature'] ?? '').replace(/^v1,|^sha256=/, ''))
      return [
        ...Object.values(tokens).flatMap((token) => ['/token', '/admin', '/either', '/throws'].map((path) => byToken(token, path))),
        ...[kept.plaintextKey, gone.plaintextKey, turned.plaintextKey, rotated.plaintextKey, unknown, typed, strange, `${kept.plaintextKey}, ${kept.plaintextKey}`, 'x'.repeat(200)].flatMap((key) => [byKey(key), { ...byKey(key), path: '/either' }, byToken(key, '/key'), byToken(key, '/either')]),
        ...[`Bearer ${strange}`, `Bearer  ${strange}`, `Basic ${strange}`, `Bearer ${tokens.good},${tokens.good}`].map((authorization) => ({ path: '/token', headers: { authorization } })),
        { path: '/either', headers: { 'x-api-key': kept.plaintextKey, authorization: `Bearer ${tokens.good}` } },
        ...deliveries, deliveries[0]!,
        { ...delivery(), body }, { ...ingest(kept, tenantId), headers: { ...ingest(kept, tenantId).headers, 'content-encoding': 'gzip' } }, { method: 'POST', path: '/hook', headers: delivery().headers ?? {} }
      ]
    }
    const statuses = new Counts<number>()
    const answers: string[] = []
    async function round (): Promise<void> {
      await Promise.all(requests().map(async (ask) => {
        const { status, body, head } = await client(server.port, ask)
        statuses.add(status)
        answers.push(body, head)
      }))
    }
    await round()
    // The key that is asked for has to be one that is not in memory, or nobody is asked.
    for (const damage of [() => { lines.pool.cut() }, () => { lines.pool.freeze() }, () => { lines.pool.thaw(); lines.redis.cut() }, () => { lines.redis.freeze() }, () => { lines.redis.thaw(); issuer.outage(true) }, () => { issuer.outage(false); issuer.delay(600) }]) {
      damage()
      await pause(900)
      await round()
      await server.order('create', { tenantId, name: 'a key' }).catch(() => {})
    }
    issuer.delay(0)
    const { routes } = await server.order('state')
    answers.push(JSON.stringify(routes))
    await timeUntil(async () => (await client(server.port, byKey(kept.plaintextKey))).status === 200)
    const last = round()
    server.child.kill('SIGTERM')
    await last
    client.end()
    await server.ended

    const output = server.output()
    for (const status of [200, 400, 401, 403, 409, 500, 503]) t.ok(statuses.get(status) > 0, `${status} was answered ${statuses.get(status)} times`)
    for (const channel of ['"outcome":"refused"', '"event":"created"', '"event":"fetched"', '"event":"failed"']) t.ok(output.includes(channel), `${channel} was said`)
    t.ok(output.includes('request refused') && output.includes('authentication could not be decided'))
    t.strictSame(scanner.scan(output), [], 'nothing in what it wrote')
    // The two keys that were made and shown once came over IPC and not as an answer.
    t.strictSame(scanner.scan(answers.join('\n')), [], 'nothing in what it answered')
    rows.push([errorHandler, statuses.total(), statuses, Math.round((output.length + answers.join('').length) / 1000), `0 of ${scanner.count} windows`])
  })
}

t.teardown(() => table(t, `Secrets in logs at trace level, diagnostics channels and answers, with every fault, ${long ? 'long' : 'CI'} mode`, ['error handler', 'requests', 'statuses', 'scanned, kB', 'found'], rows))
