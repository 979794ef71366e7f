/** What happens to a process: its clock jumps, its event loop is blocked, it is told to end while requests are on their way. */
import t from 'tap'
import fc from 'fast-check'
import type { InjectOptions } from 'fastify'
import { auth, causeflow, MemoryReplayStore, standardWebhooks, signWebhook } from '../../lib/index.js'
import { createTestIssuer } from '../../lib/testing/index.js'
import { createApp, now, token, webhookSecret as secret } from '../fixtures/app.js'
import { postgresMissing, redisMissing, redisUrl } from '../fixtures/services.js'
import { ownSchema } from '../postgres/open-store.js'
import { ownName } from '../redis/clients.js'
import { startServer } from './fork.js'
import { areClaims } from './references.js'
import { Counts, long, scaled, seed, table } from './scale.js'
import { byKey, byToken, createClient, pause, timeUntil } from './traffic.js'
import { watchProcess } from '../fixtures/process-watch.js'

watchProcess(t)

t.setTimeout(scaled(150_000, 1_800_000))
const second = 1000
const day = 86_400

t.test('a clock that jumps, forwards and backwards: every answer is that of the time it shows', async (t) => {
  let clock = now
  const app = await createApp(t, { auth: { clock: () => clock, webhook: [{ scheme: standardWebhooks(), secret: Buffer.from(secret), replay: new MemoryReplayStore({ clock: () => clock }) }, { name: 'dated', scheme: causeflow({ timestampField: 'at' }), secret }] } })
  app.get('/', async () => ({}))
  app.get('/key', { config: { auth: auth.apiKey() } }, async () => ({}))
  app.post('/hook', { config: { auth: auth.webhook() } }, async () => ({}))
  app.post('/dated', { config: { auth: auth.webhook('dated') } }, async () => ({}))
  await app.ready()
  const counts = new Counts<string>()
  const issued: Array<{ key: string, expiresAt: number, revoked: boolean, keyId: string }> = []
  const tokens: Array<{ text: string, claims: Record<string, unknown>, seen: boolean }> = []
  const wrong: string[] = []
  let furthest = now
  let made = 0
  // Hours and days of jumps, and the borders of every tolerance.
  const steps = fc.array(fc.tuple(fc.constantFrom(0, 0, 0, 1, 1, 1, 4, 4, 5, 6, 30, 59, 60, 61, 65, 66, 299, 300, 301, 602, 3_600, day, 40 * day), fc.boolean(), fc.constantFrom('token', 'token', 'key', 'hook', 'dated', 'make', 'make'), fc.nat()), { minLength: 50, maxLength: 50 })
  for (const walk of fc.sample(steps, { seed, numRuns: scaled(40, 3_000) })) {
    for (const [jump, back, what, index] of walk) {
      clock += jump * second * (back ? -1 : 1)
      furthest = Math.max(furthest, clock)
      const at = clock / second
      const answer = async (name: string, request: InjectOptions, allowed: number[]): Promise<number> => {
        const { statusCode } = await app.inject(request)
        counts.add(`${name} ${statusCode}`)
        if (!allowed.includes(statusCode)) wrong.push(`${name}: ${statusCode} and not ${allowed.join()} at ${at}`)
        return statusCode
      }
      switch (what) {
        case 'make': {
          // One of its own each time: the same text would be the same token.
          const claims = { sub: `usr_${++made}`, exp: at + 60, iat: at, nbf: at - 10 }
          tokens.push({ text: token(claims), claims: { iss: 'causeflow', aud: 'causeflow-api', ...claims }, seen: false })
          if (tokens.length > 20) tokens.shift()
          const { plaintextKey, keyId } = await app.causeflowAuth.apiKeys.create({ tenantId: `ten_${made}`, name: 'a key', expiresAt: new Date(clock + 120_000).toISOString() })
          issued.push({ key: plaintextKey, expiresAt: at + 120, revoked: false, keyId })
          if (issued.length > 20) issued.shift()
          break
        }
        case 'token': {
          const one = index % 3 === 0 ? tokens[index % (tokens.length || 1)] : tokens.at(-1 - index % 2)
          if (one === undefined) break
          const good = areClaims(one.claims, { issuer: 'causeflow', audience: 'causeflow-api' }, at)
          const expired = (one.claims['exp'] as number) + 5 <= at
          // What was good once is not taken for a token from the future when the clock is set back; an expired one is never good.
          const status = await answer('token', { url: '/', headers: { authorization: `Bearer ${one.text}` } }, good ? [200] : one.seen && !expired ? [200, 401] : [401])
          if (status === 200) one.seen = true
          break
        }
        case 'key': {
          const one = index % 3 === 0 ? issued[index % (issued.length || 1)] : issued.at(-1 - index % 2)
          if (one !== undefined) await answer('key', { url: '/key', headers: { 'x-api-key': one.key } }, [at < one.expiresAt ? 200 : 401])
          break
        }
        case 'hook': {
          const time = Math.floor(at) + [0, 299, 301, -299, -301, 0][index % 6]!
          const body = `{"n":${counts.total()}}`
          const request = { method: 'POST' as const, url: '/hook', payload: body, headers: { 'content-type': 'application/json', ...signWebhook(body, Buffer.from(secret), standardWebhooks(), { id: `msg_${counts.total()}`, timestamp: time }) } }
          if (await answer('delivery', request, [Math.abs(at - time) <= 300 ? 200 : 401]) === 200) await answer('delivery again', request, [409])
          break
        }
        case 'dated': {
          const time = Math.floor(at) + [0, 299, 301, -299, -301][index % 5]!
          const body = `{"at":${time},"n":${counts.total()}}`
          await answer('dated delivery', { method: 'POST', url: '/dated', payload: body, headers: { 'content-type': 'application/json', ...signWebhook(body, secret) } }, [Math.abs(at - time) <= 300 ? 200 : 401])
        }
      }
    }
  }
  t.strictSame(wrong.slice(0, 5), [])
  for (const name of ['token 200', 'token 401', 'key 200', 'key 401', 'delivery 200', 'delivery 401', 'delivery again 409', 'dated delivery 200', 'dated delivery 401']) t.ok(counts.get(name) > 0, name)
  table(t, `Clock jumps of up to 40 days in both directions, seed ${seed}, ${long ? 'long' : 'CI'} mode`, ['steps', 'answers', 'wrong', 'days from first to furthest'], [[scaled(40, 3_000) * 50, counts, wrong.length, Math.round((furthest - now) / second / day)]])
})

t.test('an event loop that is blocked: what it is asked afterwards is not answered from before', { skip: await postgresMissing() }, async (t) => {
  const schema = ownSchema(t)
  const config = { jwt: null, postgres: { schema }, redis: null }
  const [blocked, other] = await Promise.all([startServer(t, config), startServer(t, config)])
  const client = createClient(t)
  const rows: unknown[][] = []
  for (let round = 0; round < scaled(4, 60); round++) {
    const milliseconds = [300, 600, 1_200, 400][round % 4]!
    const [kept, doomed] = await Promise.all([0, 1].map(() => other.order('create', { tenantId: 'ten_A', name: 'a key' })))
    // In its memory, and trusted.
    await timeUntil(async () => (await blocked.order('state')).healthy === true)
    for (let times = 0; times < 3; times++) t.equal((await client(blocked.port, byKey(doomed!.plaintextKey))).status, 200)
    const block = blocked.order('block', milliseconds)
    await pause(20)
    t.equal(await other.order('revoke', { tenantId: 'ten_A', keyId: doomed!.keyId }), 'revoked')
    const acknowledged = performance.now()
    // They wait in the socket until the loop goes on; those that were sent later than promised may not be accepted.
    const answers: Array<{ after: number, status: number }> = []
    const asks: Array<Promise<unknown>> = []
    while (performance.now() - acknowledged < milliseconds + 200) {
      const after = performance.now() - acknowledged
      asks.push(client(blocked.port, byKey(doomed!.plaintextKey)).then(({ status }) => answers.push({ after, status })))
      await pause(15)
    }
    await Promise.all(asks)
    await block
    const accepted = answers.filter(({ status }) => status === 200)
    rows.push([milliseconds, answers.length, accepted.length, Math.round(Math.max(0, ...accepted.map(({ after }) => after)))])
    t.ok(accepted.every(({ after }) => after <= 250), `accepted ${accepted.map(({ after }) => Math.round(after)).join()} ms after the acknowledgement`)
    t.ok(answers.every(({ status }) => status === 200 || status === 401), 'and nothing but 200 and 401 was answered')
    t.equal((await client(blocked.port, byKey(kept!.plaintextKey))).status, 200, 'a good key works at once')
  }
  table(t, `The event loop blocked while another process revokes, ${long ? 'long' : 'CI'} mode`, ['blocked for, ms', 'requests with the revoked key', 'accepted', 'the last of these sent after the acknowledgement, ms'], rows)
})

t.test('SIGTERM under load: every request that was begun is answered, and rightly', { skip: await postgresMissing() || await redisMissing() }, async (t) => {
  const schema = ownSchema(t)
  const issuer = await createTestIssuer()
  t.teardown(() => issuer.close())
  const [good, bad] = [issuer.token({ roles: ['admin'] }), issuer.forged()]
  const rows: unknown[][] = []
  for (let round = 0; round < scaled(2, 15); round++) {
    const config = { jwt: issuer.jwtOptions(), postgres: { schema }, redis: { url: redisUrl, prefix: `${ownName()}:` } }
    const [ending, standby] = await Promise.all([startServer(t, config), startServer(t, config)])
    const key = await standby.order('create', { tenantId: 'ten_EXAMPLE_01HX9VTPQR3KF8MZ', name: 'a key' })
    const client = createClient(t)
    const outcomes = new Counts<string>()
    const records = new Map<string, { wanted: number, status: number, body: string }>()
    let number = 0
    let retried = 0
    let stopped = false
    const work = async (index: number): Promise<void> => {
      for (;;) {
        if (stopped) return
        const id = `${round}-${++number}`
        // Some end at once, some are in a handler when the signal comes.
        const [ask, wanted] = [
          [byToken(good, '/token?ms=150'), 200], [byToken(good, '/token'), 200], [byToken(bad, '/token?ms=150'), 401], [byKey(key.plaintextKey), 200], [{ path: '/either?ms=100', headers: { 'x-api-key': key.plaintextKey } }, 200], [byKey(`${key.plaintextKey.slice(0, -1)}!`), 401]
        ][(number + index) % 6] as [ReturnType<typeof byKey>, number]
        const noted = { ...ask, headers: { ...ask.headers, 'x-id': id, 'x-note': '1' } }
        const { status, body } = await client(ending.port, noted)
        records.set(id, { wanted, status, body })
        outcomes.add(status === 0 ? body : `${status}`)
        if (status === wanted) continue
        // As whoever stands in front of several processes does.
        retried++
        const again = await client(standby.port, ask)
        if (again.status !== wanted) throw new Error(`${again.status} from the one that goes on`)
      }
    }
    const workers = Array.from({ length: 16 }, (_, index) => work(index))
    // Until it is in the middle of its work, however busy the machine is.
    await timeUntil(async () => records.size >= scaled(100, 2_000), 60_000)
    const told = performance.now()
    ending.child.kill('SIGTERM')
    const { code, begun } = await ending.ended
    const took = performance.now() - told
    await pause(100)
    stopped = true
    await Promise.all(workers)
    const dropped = begun.filter((id) => records.get(id)?.status === 0)
    const wrong = [...records].filter(([, { wanted, status, body }]) => status !== wanted && status !== 0 && !(status === 503 && !body.includes('AUTH_')))
    t.equal(code, 0, 'it ends by itself')
    t.ok(begun.length > 20, `${begun.length} requests were begun`)
    t.strictSame(dropped, [], 'no request that was begun was dropped')
    t.strictSame(wrong.slice(0, 5), [], 'and none was answered wrongly')
    rows.push([round + 1, begun.length, dropped.length, wrong.length, outcomes, retried, Math.round(took)])
  }
  table(t, `SIGTERM under load, ${long ? 'long' : 'CI'} mode: an error's name is a request that never came in, 503 is Fastify's own while it closes; each was sent again to a second process and answered there`, ['round', 'begun', 'dropped', 'answered wrongly', 'seen by clients', 'sent again', 'drained in, ms'], rows)
})
