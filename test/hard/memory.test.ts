/**
 * Floods of distinct things: tokens, key ids, keys, signatures, deliveries, routes and addresses. What is remembered of them has a bound, so
 * that a flood twice as long leaves no more behind. The first half fills whatever is bounded; the second is what is measured.
 */
import t from 'tap'
import type { InjectOptions } from 'fastify'
import { createHash, createHmac, randomBytes } from 'node:crypto'
import { auth, createApiKey, MemoryReplayStore, type ReplayStore } from '../../lib/index.js'
import { bearer, createTestIssuer } from '../../lib/testing/index.js'
import { createApp, issueKey, now, signed, token, tokenSecret, webhookSecret } from '../fixtures/app.js'
import { Counts, long, scaled, settledHeap, table } from './scale.js'
import { watchProcess } from '../fixtures/process-watch.js'

watchProcess(t)

t.setTimeout(scaled(150_000, 3_600_000))

const half = scaled(1_300, 150_000)
/** What stays may not be more than this after as many requests again: 400 bytes a request in CI, 20 in the long mode. */
const bound = scaled(0.5e6, 3e6)
const rows: unknown[][] = []

t.test('a flood of distinct credentials leaves nothing behind that grows with it', async (t) => {
  const issuer = await createTestIssuer({ clock: () => now, audience: 'causeflow-api' })
  t.teardown(() => issuer.close())
  let remembered = 0
  const replay = new MemoryReplayStore({ clock: () => now, max: 1_000 })
  const counting: ReplayStore = {
    begin: (attempt, lease) => { remembered++; return replay.begin(attempt, lease) },
    finish: (attempt, retention) => replay.finish(attempt, retention),
    release: (attempt) => replay.release(attempt)
  }
  const app = await createApp(t, {
    auth: {
      // Small memories, so that a flood of CI fills them as well.
      jwt: [
        { issuer: 'causeflow', audience: 'causeflow-api', secret: tokenSecret, tokenCache: { max: 1_000 } },
        { name: 'published', ...issuer.jwtOptions(), tokenCache: { max: 1_000 } }
      ],
      webhook: [{ secret: webhookSecret }, { name: 'once', secret: webhookSecret, replay: counting }],
      default: auth.any(auth.jwt('default', 'published'), auth.apiKey())
    }
  })
  app.get('/', async () => ({}))
  app.get('/v1/:tenantId/:thing', async () => ({}))
  app.post('/hook', { config: { auth: auth.webhook() } }, async () => ({}))
  app.post('/once', { config: { auth: auth.webhook('once') } }, async () => ({}))
  await app.ready()
  const { plaintextKey } = await issueKey(app)
  const own = { authorization: `Bearer ${token()}` }
  const json = { 'content-type': 'application/json' }
  const asked = issuer.requests
  // The same template signed by hand: a test key's signature would cost more than all the rest.
  const [head = '', body = ''] = issuer.token().split('.')
  const text = (index: number): string => createHash('sha256').update(`${index}`).digest('hex')

  const floods: Record<string, { statuses: number[], request: (index: number) => InjectOptions }> = {
    'good tokens': { statuses: [200], request: (index) => ({ url: '/', headers: { authorization: `Bearer ${token({ sub: `usr_${text(index)}` })}` } }) },
    'forged tokens': { statuses: [401], request: (index) => ({ url: '/', headers: { authorization: `Bearer ${token({ sub: `usr_${text(index)}` }, `${tokenSecret}!`)}` } }) },
    'key ids': { statuses: [401], request: (index) => ({ url: '/', headers: bearer(`${encode({ alg: 'RS256', typ: 'JWT', kid: text(index) })}.${body}.${'A'.repeat(342)}`) }) },
    'forged signatures under the real key id': { statuses: [401], request: (index) => ({ url: '/', headers: bearer(`${head}.${body}.${createHmac('sha256', `${index}`).digest().toString('base64url')}`) }) },
    issuers: { statuses: [401], request: (index) => ({ url: '/', headers: { authorization: `Bearer ${token({ iss: `https://${text(index)}.example.com` })}` } }) },
    'API keys, well formed': { statuses: [401], request: () => ({ url: '/', headers: { 'x-api-key': createApiKey().key } }) },
    'API keys, malformed': { statuses: [401], request: (index) => ({ url: '/', headers: { 'x-api-key': `cflo_live_sk_${text(index)}` } }) },
    'webhook signatures': { statuses: [401], request: (index) => ({ method: 'POST', url: '/hook', payload: '{}', headers: { ...json, 'x-webhook-signature': `sha256=${text(index)}` } }) },
    'deliveries, remembered': { statuses: [200, 503], request: (index) => ({ method: 'POST', url: '/once', payload: `{"id":${index}}`, headers: signed(`{"id":${index}}`) }) },
    'routes that do not exist': { statuses: [404], request: (index) => ({ url: `/${text(index)}`, headers: own }) },
    'tenants and parameters': { statuses: [403], request: (index) => ({ url: `/v1/${text(index)}/${index}?${text(index)}=1`, headers: own }) },
    'header names': { statuses: [200], request: (index) => ({ url: '/', headers: { ...own, [`x-${text(index)}`]: '1' } }) }
  }

  let number = 0
  async function flood ({ request }: typeof floods[string], times: number): Promise<Counts<number>> {
    const statuses = new Counts<number>()
    const last = number + times
    await Promise.all(Array.from({ length: 20 }, async () => {
      while (number < last) statuses.add((await app.inject(request(number++))).statusCode)
    }))
    return statuses
  }

  for (const [name, one] of Object.entries(floods)) {
    await flood(one, half)
    let [before, grown, statuses] = [await settledHeap(), Infinity, new Counts<number>()]
    // What grows does so each time; what the engine has just compiled, or not let go of yet, does not.
    for (let tries = 0; tries < 3 && grown >= bound; tries++) {
      before = await settledHeap()
      statuses = await flood(one, half)
      grown = await settledHeap() - before
    }
    rows.push([name, half, statuses, Math.round(before / 1000), Math.round(grown / 1000)])
    t.ok(grown < bound, `${name}: ${Math.round(grown / 1000)} kB more`)
    t.strictSame(statuses.entries().map(([status]) => status).filter((status) => !one.statuses.includes(status)), [], `${name}: ${statuses}`)
  }

  t.ok(issuer.requests - asked <= 1, `the issuer was asked ${issuer.requests - asked} times by all of that: the clock stands still, so one cooldown has not passed`)
  t.equal((await app.inject({ url: '/', headers: own })).statusCode, 200, 'a good token is as good as before')
  t.equal((await app.inject({ url: '/', headers: bearer(issuer.token()) })).statusCode, 200, 'a published issuer\'s as well')
  t.equal((await app.inject({ url: '/', headers: { 'x-api-key': plaintextKey } })).statusCode, 200, 'and a key')
  t.ok(remembered > half)
  table(t, `Floods of distinct things, ${long ? 'long' : 'CI'} mode: heap after a forced collection, before and after the second half`, ['flood', 'requests in a half', 'statuses', 'heap before, kB', 'more after it, kB'], rows)
})

t.test('tokens whose claims take much memory do not fill it: the default cache has a bound of 64 MiB', async (t) => {
  const app = await createApp(t)
  app.get('/', async () => ({}))
  await app.ready()
  const count = scaled(900, 20_000)
  // 6 kB of brackets each: 150 kB in memory.
  const nested = `${'['.repeat(2_600)}${']'.repeat(2_600)}`
  const rows: unknown[][] = []
  for (const [name, claim] of Object.entries({ 'arrays inside one another': nested, 'empty objects': `[${'{},'.repeat(1_750)}0]`, 'empty arrays': `[${'[],'.repeat(1_750)}0]` })) {
    const before = await settledHeap()
    let largest = 0
    for (let index = 0; index < count; index++) {
      const headers = { authorization: `Bearer ${rawToken(`{"iss":"causeflow","aud":"causeflow-api","sub":"usr_${index}","tenant_id":"ten_a","exp":${now / 1000 + 60},"a":${claim}}`)}` }
      t.equal((await app.inject({ url: '/', headers })).statusCode, 200)
      if (index % 300 === 299) largest = Math.max(largest, await settledHeap() - before)
    }
    rows.push([name, count, Math.round(largest / 1e6)])
    t.ok(largest < 75e6, `${name}: ${Math.round(largest / 1e6)} MB more`)
  }
  table(t, 'Tokens of 8 kB, remembered in the default cache: heap after a forced collection', ['claims', 'tokens', 'most heap, MB'], rows)
})

function rawToken (payload: string): string {
  const text = `${encode({ alg: 'HS256', typ: 'JWT' })}.${Buffer.from(payload).toString('base64url')}`
  return `${text}.${createHmac('sha256', tokenSecret).update(text).digest('base64url')}`
}

t.test('what is measured here would show a memory that grows: some hundred bytes kept of each request are seen', async (t) => {
  const kept: Buffer[] = []
  const before = await settledHeap()
  for (let index = 0; index < half; index++) kept.push(Buffer.from(randomBytes(100).toString('hex')))
  const map = new Map(kept.map((buffer, index) => [`${buffer.toString('latin1')}${index}`, { index, at: new Date(index) }]))
  const grown = await settledHeap() - before
  t.equal(map.size, half)
  t.ok(grown > bound, `${Math.round(grown / 1000)} kB`)
})

function encode (value: unknown): string {
  return Buffer.from(JSON.stringify(value)).toString('base64url')
}
