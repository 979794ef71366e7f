// What goes on after it was let in: the event stream and the relay's socket of docs/examples/api, over real connections.
import t from 'tap'
import { once } from 'node:events'
import { get, type IncomingHttpHeaders, type IncomingMessage } from 'node:http'
import { WebSocket } from 'ws'
import { EventStream } from '../../docs/examples/api/event-stream.js'
import { LongLived } from '../../docs/examples/api/long-lived.js'
import { bearer } from '../../lib/testing/index.js'
import type { JwtPrincipal } from '../../lib/index.js'
import type { Teardown } from '../fixtures/app.js'
import { createWorld, type Credential, type World } from './world.js'

t.setTimeout(170_000)
const minute = 60_000

t.test('a stream tells what happens in the investigation, with the headers of CORS on it', async (t) => {
  const world = await createWorld(t)
  const stream = await watch(t, world, 'member')
  t.equal(stream.headers['content-type'], 'text/event-stream')
  t.equal(stream.headers['access-control-allow-origin'], 'https://app.example.com')
  t.equal(stream.headers['cache-control'], 'no-store')
  const path = '/v1/investigations/ivg_ACME/cancel'
  t.equal((await world.ask({ method: 'POST', path, headers: await world.headers('admin') })).status, 200)
  t.equal(await stream.next(), 'event: progress\ndata: {"type":"cancelled","text":"An administrator has cancelled it"}')
})

t.test('a stream ends in the second in which its token expires, and not before', async (t) => {
  const world = await createWorld(t)
  const stream = await watch(t, world, 'member')
  world.advance(5 * minute - 1)
  t.equal(world.timers, 1)
  world.advance(1)
  t.equal(await stream.next(), 'event: expired\ndata: {}')
  t.equal(await stream.next(), null)
  t.equal(world.timers, 0)
})

t.test('a token in its last, tolerated seconds is let in, and its stream ends at once', async (t) => {
  const world = await createWorld(t)
  const token = await world.token('member')
  world.advance(5 * minute + 1000)
  const stream = await watch(t, world, token)
  t.equal(await stream.next(), 'event: expired\ndata: {}')
  t.equal(await stream.next(), null)
})

t.test('a reader who leaves is forgotten, with the timer of his token', async (t) => {
  const world = await createWorld(t)
  const stream = await watch(t, world, 'member')
  t.equal(world.timers, 1)
  stream.leave()
  while (world.timers > 0) await new Promise((resolve) => setImmediate(resolve))
  t.equal(world.timers, 0)
})

t.test('a stream ends when its user is removed, by an administrator or at Clerk, and nobody else\'s does', async (t) => {
  const world = await createWorld(t)
  const [member, billing, admin] = [await watch(t, world, 'member'), await watch(t, world, 'billing'), await watch(t, world, 'admin')]
  const headers = await world.headers('admin')
  t.equal((await world.ask({ method: 'DELETE', path: '/v1/users/usr_MEMBER_ACME', headers })).status, 204)
  t.equal(await member.next(), 'event: revoked\ndata: {}')
  t.equal((await world.ask({ path: '/v1/me', headers: await world.headers('member') })).status, 401)
  const body = JSON.stringify({ type: 'user.deleted', data: { id: 'usr_BILLING_ACME' } })
  t.equal((await world.ask({ method: 'POST', path: '/v1/clerk/events', headers: { 'content-type': 'application/json', ...await world.headers('clerk signature', body) }, body })).status, 200)
  t.equal(await billing.next(), 'event: revoked\ndata: {}')
  t.equal((await world.ask({ method: 'POST', path: '/v1/investigations/ivg_ACME/cancel', headers })).status, 200)
  t.match(await admin.next(), /^event: progress/)
})

t.test('the server closes while streams and sockets are open', async (t) => {
  const world = await createWorld(t)
  const stream = await watch(t, world, 'member')
  const relay = await connect(t, world, 'relay')
  await relay.message()
  const closed = world.app.close()
  t.equal(await stream.next(), 'event: closing\ndata: {}')
  // @fastify/websocket closes its sockets itself, without a code, before anybody else is told.
  t.strictSame(await relay.closed, [1005, ''])
  await closed
})

t.test('a relay with a token that the API has made reports to those who watch its tenant\'s investigation', async (t) => {
  const world = await createWorld(t)
  const [acme, globex] = [await watch(t, world, 'member'), await watch(t, world, 'member of GLOBEX', 'ivg_GLOBEX')]
  const made = await world.ask({ method: 'POST', path: '/v1/relay/tokens', headers: await world.headers('admin') })
  const { token, relayId } = JSON.parse(made.text) as { token: string, relayId: string }
  const relay = await connect(t, world, token)
  t.strictSame(JSON.parse(await relay.message()), { type: 'ready', relayId, tenantId: 'ten_ACME' })
  relay.send({ investigationId: 'ivg_ACME', text: 'a line\n\nevent: forged' })
  t.equal(await acme.next(), 'event: progress\ndata: {"type":"log","text":"a line\\n\\nevent: forged"}')
  // Another tenant's investigation is not there for it.
  relay.send({ investigationId: 'ivg_GLOBEX', text: 'a lie' })
  t.strictSame(await relay.closed, [1008, 'message'])
  t.equal((await world.ask({ method: 'POST', path: '/v1/investigations/ivg_GLOBEX/cancel', headers: await world.headers('admin of GLOBEX') })).status, 200)
  t.match(await globex.next(), /"cancelled"/, 'the first that GLOBEX hears')
})

t.test('a socket is closed when its token expires, and when its tenant is suspended', async (t) => {
  const world = await createWorld(t)
  const [acme, globex] = [await connect(t, world, 'relay'), await connect(t, world, 'relay of GLOBEX')]
  await Promise.all([acme.message(), globex.message()])
  const put = async (status: string): Promise<number> => (await world.ask({
    method: 'PUT', path: '/v1/admin/tenants/ten_ACME/status', headers: { 'content-type': 'application/json', ...await world.headers('operator') }, body: JSON.stringify({ status })
  })).status
  t.equal(await put('suspended'), 200)
  t.strictSame(await acme.closed, [1008, 'revoked'])
  t.equal(await statusOf(world, 'relay'), 401)
  world.advance(15 * minute - 1)
  t.equal(globex.open, true)
  world.advance(1)
  t.strictSame(await globex.closed, [1008, 'expired'])
  t.equal(await put('active'), 200)
  const again = await connect(t, world, 'relay')
  t.equal(JSON.parse(await again.message()).tenantId, 'ten_ACME')
})

t.test('whoever is refused gets a status and no socket', async (t) => {
  const world = await createWorld(t)
  for (const credential of [null, 'admin', 'reader'] as const) t.equal(await statusOf(world, credential), 401, String(credential))
  const token = await world.token('relay')
  t.equal(await statusOf(world, `${token.slice(0, -3)}AAA`), 401)
  // A web page sets no header on a socket; what it can say, the address, opens nothing.
  t.equal((await world.ask({ path: `/v1/relay?access_token=${token}&token=${token}`, upgrade: true, headers: { origin: 'https://app.example.com' } })).status, 401)
})

t.test('a message that is none, or too long, closes the socket', async (t) => {
  const world = await createWorld(t)
  for (const [text, code] of [['not JSON', 1008], ['{"investigationId":1}', 1008], ['x'.repeat(65_537), 1009]] as const) {
    const relay = await connect(t, world, 'relay')
    await relay.message()
    relay.send(text)
    t.equal((await relay.closed)[0], code)
  }
})

t.test('a token that lives longer than a timer can wait is waited for in parts', async (t) => {
  let now = 0
  const waits: number[] = []
  let due = (): void => {}
  const longLived = new LongLived({ clock: () => now, schedule: (action, milliseconds) => { waits.push(milliseconds); due = action; return () => {} } })
  const ended: string[] = []
  longLived.begin({ expiresAt: 3_000_000 } as JwtPrincipal, (reason) => { ended.push(reason) })
  now += 2 ** 31 - 1
  due()
  t.strictSame([waits, ended, longLived.size], [[2 ** 31 - 1, 3_000_000_000 - (2 ** 31 - 1)], [], 1])
  now = 3_000_000_000
  due()
  t.strictSame([waits.length, ended, longLived.size], [2, ['expired'], 0])
})

t.test('a reader who does not read is left, so that nothing piles up', async (t) => {
  const stream = new EventStream()
  for (let i = 0; i < 100 && !stream.destroyed; i++) stream.send('progress', { text: 'x'.repeat(65_536) })
  t.equal(stream.destroyed, true)
  stream.send('progress', {})
  stream.finish('expired')
})

interface Stream { readonly headers: IncomingHttpHeaders, next (): Promise<string | null>, leave (): void }

/** Opens the stream of an investigation and waits until it is there. `who` is a credential, or a token. */
async function watch (t: Teardown, world: World, who: string, id = 'ivg_ACME'): Promise<Stream> {
  const headers = { origin: 'https://app.example.com', ...await proof(world, who) }
  // Not by fetch: when a stream is left, its pool opens another connection, on which the server would wait for a request.
  const request = get({ host: '127.0.0.1', port: world.port, agent: false, path: `/v1/investigations/${id}/events`, headers })
  t.teardown(() => request.destroy())
  const [response] = await once(request, 'response') as [IncomingMessage]
  if (response.statusCode !== 200) throw new Error(`The stream is answered ${response.statusCode}`)
  const parts = response.setEncoding('utf8')[Symbol.asyncIterator]() as AsyncIterator<string>
  let text = ''
  const next = async (): Promise<string | null> => {
    while (!text.includes('\n\n')) {
      const { value, done } = await parts.next()
      if (done === true) return null
      text += value
    }
    const [event = '', ...rest] = text.split('\n\n')
    text = rest.join('\n\n')
    return event
  }
  if (await next() !== ': connected') throw new Error('The stream begins otherwise')
  return { headers: response.headers, next, leave: () => { request.destroy() } }
}

interface Relay { readonly open: boolean, readonly closed: Promise<[code: number, reason: string]>, message (): Promise<string>, send (message: object | string): void }

/** Opens a relay's socket with the token in the Authorization header. */
async function connect (t: Teardown, world: World, who: string): Promise<Relay> {
  const socket = new WebSocket(`ws://127.0.0.1:${world.port}/v1/relay`, { headers: await proof(world, who) })
  t.teardown(() => { socket.terminate() })
  const messages: string[] = []
  socket.on('message', (bytes) => { messages.push(String(bytes)) })
  const closed = once(socket, 'close').then(([code, reason]): [number, string] => [code, String(reason)])
  await once(socket, 'open')
  return {
    get open () { return socket.readyState === WebSocket.OPEN },
    closed,
    async message () {
      if (messages.length === 0) await once(socket, 'message')
      return messages.shift() ?? ''
    },
    send: (message) => { socket.send(typeof message === 'string' ? message : JSON.stringify(message)) }
  }
}

async function statusOf (world: World, who: string | null): Promise<number> {
  return (await world.ask({ path: '/v1/relay', upgrade: true, headers: who === null ? {} : await proof(world, who) })).status
}

async function proof (world: World, who: string): Promise<Record<string, string>> {
  return who.startsWith('ey') ? bearer(who) : await world.headers(who as Credential)
}
