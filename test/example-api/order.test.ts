// The order in which docs/examples/api is put together, seen from outside: preflights, limits, logs, deliveries, and who is shut out.
import t from 'tap'
import { promisify } from 'node:util'
import { createWorld, type Credential, type World } from './world.js'

t.setTimeout(170_000)
const origin = 'https://app.example.com'

t.test('a preflight needs no credential, and a page may read what it is refused', async (t) => {
  const world = await createWorld(t, { limits: { perAddress: 3, perTenant: 1000 } })
  const preflight = await world.ask({ method: 'OPTIONS', path: '/v1/incidents', headers: { origin, 'access-control-request-method': 'PATCH', 'access-control-request-headers': 'authorization' } })
  t.equal(preflight.status, 204)
  t.equal(preflight.headers['access-control-allow-origin'], origin)
  t.match(preflight.headers['access-control-allow-methods'], /PATCH/)
  for (const status of [401, 401, 401, 429]) {
    const answer = await world.ask({ path: '/v1/incidents', headers: { origin } })
    t.equal(answer.status, status)
    t.equal(answer.headers['access-control-allow-origin'], origin, `${status} may be read`)
  }
  t.equal((await world.ask({ path: '/health', headers: { origin: 'https://evil.example.com' } })).headers['access-control-allow-origin'], undefined)
})

t.test('an upgrade that is refused, by the rule or by a limit, leaves no connection open', async (t) => {
  const world = await createWorld(t, { limits: { perAddress: 2, perTenant: 1000 } })
  const connections = promisify(world.app.server.getConnections.bind(world.app.server))
  const statuses = []
  for (const method of ['GET', 'GET', 'GET', 'OPTIONS']) {
    statuses.push((await world.ask({ method, path: '/v1/relay', upgrade: true, headers: { origin, 'access-control-request-method': 'GET' } })).status)
  }
  t.strictSame(statuses, [401, 401, 429, 204])
  while (await connections() > 0) await new Promise((resolve) => setImmediate(resolve))
  t.equal(await connections(), 0)
})

t.test('failed attempts are counted by address, good credentials and guesses alike', async (t) => {
  const world = await createWorld(t, { limits: { perAddress: 4, perTenant: 1000 } })
  const headers = await world.headers('member')
  const statuses = []
  for (const guess of [{ 'x-api-key': 'cflo_guessed' }, headers, { authorization: 'Bearer guessed' }, {}, headers, {}]) statuses.push((await world.ask({ path: '/v1/incidents', headers: guess })).status)
  t.strictSame(statuses, [401, 200, 401, 401, 429, 429])
})

t.test('a tenant\'s users and keys share one allowance, which no stranger and no other tenant uses up', async (t) => {
  const world = await createWorld(t, { limits: { perAddress: 1000, perTenant: 2 } })
  const status = async (path: string, who?: Credential): Promise<number> => (await world.ask({ path, headers: who === undefined ? {} : await world.headers(who) })).status
  for (let i = 0; i < 3; i++) {
    t.equal(await status('/v1/incidents'), 401)
    t.equal(await status('/v1/tenants/ten_ACME', 'member of GLOBEX'), 403)
  }
  t.strictSame([await status('/v1/incidents', 'member'), await status('/v1/incidents', 'reader'), await status('/v1/me', 'admin')], [200, 200, 429])
  t.strictSame([await status('/v1/incidents', 'member of GLOBEX'), await status('/v1/me', 'newcomer'), await status('/health')], [200, 200, 200])
})

t.test('deliveries count for the tenant that they speak for, once they are verified', async (t) => {
  const world = await createWorld(t, { limits: { perAddress: 1000, perTenant: 2 } })
  const send = async (title: string, who: Credential): Promise<number> => await post(world, '/v1/webhooks/ten_ACME/datadog', { title }, who)
  t.strictSame([await send('1', 'monitor and reader signature'), await send('2', 'monitor and reader signature'), await send('3', 'monitor and reader signature')], [401, 401, 401])
  t.strictSame([await send('1', 'monitor and monitor signature'), await send('2', 'monitor and monitor signature'), await send('3', 'monitor and monitor signature')], [201, 201, 429])
})

t.test('no credential is in the log, whose lines have all the headers', async (t) => {
  const lines: string[] = []
  const world = await createWorld(t, { log: { level: 'trace', stream: { write: (line) => { lines.push(line) } } } })
  const body = '{"title":"Slow"}'
  const secrets: string[] = []
  for (const credential of ['member', 'relay', 'reader', 'monitor and monitor signature', 'stripe signature', 'clerk signature', 'slack signature', 'admin and runner'] as const) {
    const headers = await world.headers(credential, body)
    const names = ['authorization', 'x-api-key', 'x-webhook-signature', 'webhook-signature', 'stripe-signature', 'x-slack-signature']
    secrets.push(...names.flatMap((name) => headers[name] ?? []))
    for (const path of ['/v1/webhooks/ten_ACME/datadog', '/v1/billing/stripe', '/v1/clerk/events', '/v1/slack/events', '/v1/incidents', '/v1/nowhere']) {
      await world.ask({ method: 'POST', path, headers: { 'content-type': 'application/json', ...headers }, body })
    }
  }
  const log = lines.join('')
  t.equal(secrets.length, 10)
  t.ok(lines.filter((line) => line.includes('"headers":{')).length >= 48)
  for (const secret of secrets) t.notOk(log.includes(secret.replace(/^Bearer |^sha256=/, '')), 'is not in the log')
  t.match(log, '"authorization":"[Redacted]"')
  t.match(log, '"stripe-signature":"[Redacted]"')
})

t.test('a delivery counts once, for five minutes, and does what it says', async (t) => {
  const world = await createWorld(t)
  const paid = { type: 'customer.subscription.updated', data: { object: { metadata: { tenant_id: 'ten_ACME', plan: 'enterprise' } } } }
  const body = JSON.stringify(paid)
  const headers = { 'content-type': 'application/json', ...await world.headers('stripe signature', body) }
  const send = async (): Promise<[number, string]> => {
    const { status, text } = await world.ask({ method: 'POST', path: '/v1/billing/stripe', headers, body })
    return [status, JSON.parse(text).error ?? null]
  }
  t.strictSame([await send(), await send()], [[200, null], [409, 'duplicate_delivery']])
  t.equal(world.data.tenants.get('ten_ACME')?.plan, 'enterprise')
  world.advance(301_000)
  t.strictSame(await send(), [401, 'invalid_signature'])
})

t.test('Slack\'s challenge is answered, and its button acknowledges an incident of the team\'s own tenant alone', async (t) => {
  const world = await createWorld(t)
  const challenge = JSON.stringify({ type: 'url_verification', challenge: 'c_1' })
  const answer = await world.ask({ method: 'POST', path: '/v1/slack/events', headers: { 'content-type': 'application/json', ...await world.headers('slack signature', challenge) }, body: challenge })
  t.strictSame(JSON.parse(answer.text), { challenge: 'c_1' })
  const press = async (payload: object | string): Promise<number> => {
    const body = `payload=${encodeURIComponent(typeof payload === 'string' ? payload : JSON.stringify(payload))}`
    return (await world.ask({ method: 'POST', path: '/v1/slack/actions', headers: { 'content-type': 'application/x-www-form-urlencoded', ...await world.headers('slack signature', body) }, body })).status
  }
  const acknowledge = (value: string, team = 'T_ACME'): object => ({ team: { id: team }, actions: [{ action_id: 'acknowledge', value }] })
  t.strictSame([await press(acknowledge('inc_ACME')), await press(acknowledge('inc_GLOBEX')), await press(acknowledge('inc_ACME', 'T_NOBODY'))], [200, 404, 404])
  t.strictSame([world.data.incidents.find('ten_ACME', 'inc_ACME').status, world.data.incidents.find('ten_GLOBEX', 'inc_GLOBEX').status], ['acknowledged', 'open'])
  t.strictSame([await press('not JSON'), await press({ team: {} })], [400, 400])
})

t.test('a suspended tenant is shut out with its tokens and keys, and comes back with tokens alone', async (t) => {
  const world = await createWorld(t)
  const statuses = async (): Promise<number[]> => await Promise.all((['member', 'reader', 'widget', 'member of GLOBEX'] as const).map(async (who) =>
    (await world.ask({ path: who === 'widget' ? '/v1/widget/status' : '/v1/incidents', headers: await world.headers(who) })).status))
  const put = async (status: string): Promise<number> => await post(world, '/v1/admin/tenants/ten_ACME/status', { status }, 'operator', 'PUT')
  t.strictSame(await statuses(), [200, 200, 200, 200])
  t.equal(await put('suspended'), 200)
  t.strictSame(await statuses(), [401, 401, 401, 200])
  t.equal(await put('active'), 200)
  t.strictSame(await statuses(), [200, 401, 401, 200])
})

t.test('a tenant is founded by somebody without one, and is there when its last step is done', async (t) => {
  const world = await createWorld(t)
  const body = '{"name":"Initech"}'
  const founded = await world.ask({ method: 'POST', path: '/v1/tenants', headers: { 'content-type': 'application/json', ...await world.headers('newcomer') }, body })
  const { id, status } = JSON.parse(founded.text) as { id: string, status: string }
  t.strictSame([founded.status, status], [201, 'provisioning'])
  const set = async (step: string, state: string): Promise<number> => await post(world, `/v1/admin/tenants/${id}/provisioning/${step}`, { state }, 'operator', 'PUT')
  t.strictSame([await set('database', 'done'), await set('queue', 'done'), await set('knowledge', 'failed')], [200, 200, 200])
  t.equal(world.data.tenants.get(id)?.status, 'provisioning')
  t.equal(await set('knowledge', 'done'), 200)
  t.equal(world.data.tenants.get(id)?.status, 'active')
  t.equal(await set('roof', 'done'), 400)
})

async function post (world: World, path: string, body: object, who: Credential, method = 'POST'): Promise<number> {
  const text = JSON.stringify(body)
  return (await world.ask({ method, path, headers: { 'content-type': 'application/json', ...await world.headers(who, text) }, body: text })).status
}
