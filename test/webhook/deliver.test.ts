import { getEventListeners } from 'node:events'
import { createServer, type IncomingHttpHeaders } from 'node:http'
import type { AddressInfo } from 'node:net'
import t from 'tap'
import { deliverWebhook, type DeliverWebhookOptions } from '../../lib/webhook/deliver.js'
import { MemoryReplayStore } from '../../lib/webhook/memory-replay-store.js'
import { causeflow } from '../../lib/webhook/schemes/causeflow.js'
import { slack } from '../../lib/webhook/schemes/slack.js'
import { standardWebhooks } from '../../lib/webhook/schemes/standard-webhooks.js'
import { signWebhook, verifyWebhook } from '../../lib/webhook/sign.js'
import { watchProcess } from '../fixtures/process-watch.js'

watchProcess(t)

const event = { event: 'incident.created', timestamp: '2026-01-01T00:00:00.000Z', tenantId: 'ten_1', data: { incidentId: 'inc_1' } }
const start = Date.UTC(2026, 0, 1)
const url = 'https://hooks.example.test/in'

type Answer = number | Error | 'hang' | ((headers: Headers) => Response)

/** A delivery over a fetch that answers from a list, with time that passes only by waiting. */
async function deliver (answers: Answer[], options: Partial<DeliverWebhookOptions> = {}) {
  let now = start
  const sent: Array<{ url: string, headers: Headers, body: string, redirect: string | undefined }> = []
  const delays: number[] = []
  const timers: Array<{ callback: () => void, milliseconds: number }> = []
  const result = await deliverWebhook({
    url,
    secret: 'secret',
    event,
    id: 'msg_1',
    clock: () => now,
    random: () => 0.5,
    async delay (milliseconds) { delays.push(milliseconds); now += milliseconds },
    timers: {
      setTimeout (callback, milliseconds) { const timer = { callback, milliseconds }; timers.push(timer); return timer },
      clearTimeout (timer: typeof timers[number]) { timers.splice(timers.indexOf(timer), 1) }
    },
    async fetch (target, init) {
      const headers = new Headers(init?.headers)
      sent.push({ url: String(target), headers, body: Buffer.from(init?.body as Uint8Array).toString(), redirect: init?.redirect })
      const answer = answers[Math.min(sent.length, answers.length) - 1]!
      if (answer instanceof Error) throw answer
      if (answer === 'hang') {
        for (const timer of timers) { now += timer.milliseconds; timer.callback() }
        return await new Promise<Response>(() => {})
      }
      return typeof answer === 'number' ? new Response(null, { status: answer }) : answer(headers)
    },
    ...('body' in options && { event: undefined }) as object,
    ...options
  })
  return { result, sent, delays, timers }
}

t.test('an event is sent once, signed over exactly the bytes that are sent', async (t) => {
  const { result, sent, delays, timers } = await deliver([202])
  t.strictSame(result, { delivered: true, id: 'msg_1', status: 202, attempts: [{ startedAt: start, duration: 0, status: 202, failure: null, error: null }] })
  t.equal(sent.length, 1)
  t.equal(sent[0]!.url, url)
  t.equal(sent[0]!.body, JSON.stringify(event))
  t.equal(sent[0]!.redirect, 'manual')
  t.equal(sent[0]!.headers.get('content-type'), 'application/json')
  t.equal(verifyWebhook(sent[0]!.body, sent[0]!.headers, 'secret').source, 'default')
  t.strictSame([delays, timers], [[], []])
})

t.test('a body is sent as given, with the caller\'s headers, which never replace the signature', async (t) => {
  const { sent } = await deliver([200], { body: 'text \ufeff\r\n', headers: { 'Content-Type': 'text/plain', 'X-Webhook-Signature': 'sha256=x', 'x-own': '1' } })
  t.equal(sent[0]!.body, 'text \ufeff\r\n')
  t.equal(sent[0]!.headers.get('content-type'), 'text/plain')
  t.equal(sent[0]!.headers.get('x-own'), '1')
  t.ok(verifyWebhook(sent[0]!.body, sent[0]!.headers, 'secret'))
})

t.test('a delivery that is given no id has one of its own', async (t) => {
  const ids = []
  for (let at = 0; at < 2; at++) ids.push((await deliverWebhook({ url, secret: 'secret', event, async fetch () { return new Response() } })).id)
  for (const id of ids) t.match(id, /^msg_[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/)
  t.not(ids[0], ids[1])
})

t.test('failures that may pass are tried again with the same id and bytes, each attempt signed with its own time', async (t) => {
  const scheme = standardWebhooks()
  const fault = new Error('connection refused')
  const { result, sent, delays } = await deliver([fault, 408, 429, 500, 503, 204], { scheme, secret: 'AAAA' })
  t.strictSame(delays, [750, 1500, 3000, 6000, 12_000])
  t.strictSame(result.attempts.map(({ status, failure, error }) => [status, failure, error]), [
    [null, 'network', fault], [408, 'status', null], [429, 'status', null], [500, 'status', null], [503, 'status', null], [204, null, null]
  ])
  t.match(result, { delivered: true, status: 204, id: 'msg_1' })
  t.equal(new Set(sent.map(({ body }) => body)).size, 1)
  t.strictSame(new Set(sent.map(({ headers }) => headers.get('webhook-id'))), new Set(['msg_1']))
  for (const [at, { headers, body }] of sent.entries()) {
    const { startedAt } = result.attempts[at]!
    t.equal(verifyWebhook(body, headers, 'AAAA', scheme, { clock: () => startedAt }).timestamp, Math.floor(startedAt / 1000))
  }
})

t.test('a try that outlives the receiver\'s tolerance is still accepted there, and one that had arrived already is known by its id', async (t) => {
  let now = start
  const store = new MemoryReplayStore({ clock: () => now })
  const { sent } = await deliver([500, 200], { scheme: standardWebhooks(), secret: 'AAAA', maxDelay: 3600, async delay () { now += 3_600_000 }, clock: () => now })
  const principals = sent.map(({ body, headers }, at) => verifyWebhook(body, headers, 'AAAA', standardWebhooks(), { clock: () => start + at * 3_600_000 }))
  t.strictSame(principals.map(({ deliveryId }, at) => store.begin({ key: deliveryId!, id: `${at}`, owner: null }, 1000)), ['new', 'in-progress'])
})

t.test('after the last retry the delivery has failed, with every attempt told', async (t) => {
  const { result, delays } = await deliver([500], { retries: 2 })
  t.match(result, { delivered: false, status: 500 })
  t.equal(result.attempts.length, 3)
  t.equal(delays.length, 2)
  const once = await deliver([new TypeError('a bug of the fetch handed in')], { retries: 0 })
  t.match(once.result, { delivered: false, status: null, attempts: [{ failure: 'network' }] })
  t.strictSame(once.delays, [])
})

t.test('the status told is the last that was answered, also when no answer came after it', async (t) => {
  const { result } = await deliver([500, 503, new Error('connection refused')], { retries: 2 })
  t.match(result, { delivered: false, status: 503, attempts: [{ status: 500 }, { status: 503 }, { status: null }] })
})

t.test('an answer that trying again would not change is final', async (t) => {
  for (const status of [400, 401, 403, 404, 409, 410, 413, 415, 422]) {
    const { result } = await deliver([status])
    t.match(result, { delivered: false, status, attempts: [{ status, failure: 'status' }] })
    t.equal(result.attempts.length, 1)
  }
})

t.test('a redirect is not followed and not tried again', async (t) => {
  for (const status of [300, 301, 302, 303, 307, 308]) {
    const { result, sent } = await deliver([() => new Response(null, { status, headers: { location: 'http://169.254.169.254/' } })])
    t.match(result, { delivered: false, status, attempts: [{ failure: 'redirect' }] })
    t.equal(sent.length, 1)
  }
})

t.test('a fetch that hides where it was redirected to was redirected, and one that answers without a status was not', async (t) => {
  const hidden = { status: 0, type: 'opaqueredirect', ok: false, headers: new Headers(), body: null } as unknown as Response
  for (const [answer, failure] of [[hidden, 'redirect'], [Response.error(), 'status']] as const) {
    const { result } = await deliver([() => answer])
    t.match(result, { delivered: false, status: 0, attempts: [{ failure }] })
    t.equal(result.attempts.length, 1)
  }
})

t.test('Retry-After is honoured in seconds and as a date, never beyond the longest wait, and nonsense is passed over', async (t) => {
  const waited = async (retryAfter: string): Promise<number | undefined> =>
    (await deliver([() => new Response(null, { status: 503, headers: { 'retry-after': retryAfter } }), 200])).delays[0]
  t.equal(await waited('20'), 20_000)
  t.equal(await waited(new Date(start + 30_000).toUTCString()), 30_000)
  t.equal(await waited('0'), 750, 'not sooner than without it')
  t.equal(await waited(new Date(start - 30_000).toUTCString()), 750)
  t.equal(await waited('86400'), 60_000)
  t.equal(await waited('999999999999'), 750)
  t.equal(await waited('soon'), 750)
})

t.test('the wait has jitter, and is never longer than the longest', async (t) => {
  t.strictSame((await deliver([500], { random: () => 0, retries: 3 })).delays, [500, 1000, 2000])
  t.strictSame((await deliver([500], { random: () => 0.999, retries: 3 })).delays, [999.5, 1999, 3998])
  t.strictSame((await deliver([500], { random: () => 0.999, retries: 4, maxDelay: 3 })).delays, [999.5, 1999, 2998.5, 2998.5])
})

t.test('an attempt that passes its time limit is given up, though fetch does not heed its signal, and tried again', async (t) => {
  const { result, timers } = await deliver(['hang', 200], { timeLimit: 7 })
  t.match(result, { delivered: true, attempts: [{ failure: 'time-limit', status: null, duration: 7000 }, { failure: null }] })
  t.strictSame(timers, [])
})

t.test('a signal ends the delivery before, during and between attempts', async (t) => {
  const before = await deliver([200], { signal: AbortSignal.abort() })
  t.strictSame([before.result, before.sent], [{ delivered: false, id: 'msg_1', status: null, attempts: [] }, []])
  const during = new AbortController()
  let told: boolean | undefined
  const { result } = await deliver([], { signal: during.signal, async fetch (_url, init) { during.abort(); told = init?.signal?.aborted; throw new Error('aborted') } })
  t.match(result, { delivered: false, attempts: [{ failure: 'aborted' }] })
  t.equal(told, true, 'the fetch is told')
  t.equal(result.attempts.length, 1)
  const between = new AbortController()
  const { result: two } = await deliver([500, 200], { signal: between.signal, async delay () { between.abort() } })
  t.match(two, { delivered: false, status: 500 })
  t.equal(two.attempts.length, 1)
})

t.test('the wait that is used without one handed in ends with its time or its signal', async (t) => {
  const ended = new AbortController()
  const rings: Array<() => void> = []
  const timers = { setTimeout (callback: () => void, milliseconds: number) { if (milliseconds < 5000) rings.push(callback); return callback }, clearTimeout () {} }
  let calls = 0
  const delivery = deliverWebhook({ url, secret: 'secret', event, timers, signal: ended.signal, async fetch () { calls++; return new Response(null, { status: 500 }) } })
  while (rings.length === 0) await new Promise(setImmediate)
  rings.pop()!()
  while (rings.length === 0) await new Promise(setImmediate)
  ended.abort()
  t.match(await delivery, { delivered: false, status: 500 })
  t.equal(calls, 2)
})

t.test('a signal that ends while an attempt is signed ends that attempt', async (t) => {
  const ended = new AbortController()
  const scheme = { ...causeflow(), sign () { ended.abort(); return {} } }
  const { result } = await deliver([], { scheme, signal: ended.signal, async fetch (_url, init) { init?.signal?.throwIfAborted(); return new Response() } })
  t.match(result, { delivered: false, attempts: [{ failure: 'aborted' }] })
  t.equal(result.attempts.length, 1)
})

t.test('a signal that ended before the wait leaves nothing to wait for', async (t) => {
  const ended = new AbortController()
  const waits: number[] = []
  const timers = { setTimeout (callback: () => void, milliseconds: number) { if (milliseconds < 5000) { waits.push(milliseconds); queueMicrotask(callback) } }, clearTimeout () {} }
  const result = await deliverWebhook({ url, secret: 'secret', event, timers, signal: ended.signal, async fetch () { ended.abort(); return new Response(null, { status: 500 }) } })
  t.match(result, { delivered: false, status: 500 })
  t.strictSame(waits, [])
})

t.test('a wait that nobody can end ends with its time', async (t) => {
  let waiting: (ring: () => void) => void = () => {}
  const ring = new Promise<() => void>((resolve) => { waiting = resolve })
  const timers = { setTimeout (callback: () => void, milliseconds: number) { if (milliseconds < 5000) waiting(callback) }, clearTimeout () {} }
  const answers = [500, 200]
  const delivery = deliverWebhook({ url, secret: 'secret', event, timers, async fetch () { return new Response(null, { status: answers.shift()! }) } })
  // A delivery that fails meanwhile is not waited for.
  const end = await Promise.race([ring, delivery.then(() => () => {})])
  end()
  t.match(await delivery, { delivered: true, attempts: [{ status: 500 }, { status: 200 }] })
})

t.test('a delivery that has ended leaves nothing on the signal of its caller, which may outlive thousands', async (t) => {
  const { signal } = new AbortController()
  const timers = { setTimeout (callback: () => void, milliseconds: number) { if (milliseconds < 5000) queueMicrotask(callback) }, clearTimeout () {} }
  const answers = [500, 503, 200]
  t.match(await deliverWebhook({ url, secret: 'secret', event, timers, signal, async fetch () { return new Response(null, { status: answers.shift()! }) } }), { delivered: true })
  t.strictSame(getEventListeners(signal, 'abort'), [])
})

t.test('only https to a name or a public address is let out; no credentials, no other protocol', async (t) => {
  for (const good of ['https://a.test/', 'https://8.8.8.8/', 'https://[2600::1]/', 'https://localhost.a.test/', new URL('https://a.test/')]) {
    t.equal((await deliver([200], { url: good })).result.delivered, true, String(good))
  }
  for (const bad of ['http://a.test/', 'http://8.8.8.8/', 'ftp://a.test/', 'file:///etc/passwd', 'javascript:1', '/in', '', 'https://user:pass@a.test/', 'https://user@a.test/', 'https://:pass@a.test/']) {
    await t.rejects(deliver([200], { url: bad }), { code: 'AUTH_CONFIG_OPTION' }, bad)
    await t.rejects(deliver([200], { url: bad, allowPrivate: true }), { code: 'AUTH_CONFIG_OPTION' }, bad)
  }
  t.equal((await deliver([200], { url: 'http://a.test/', allowHttp: true })).result.delivered, true)
  await t.rejects(deliver([200], { url: 'ftp://a.test/', allowHttp: true, allowPrivate: true }), { code: 'AUTH_CONFIG_OPTION' })
})

t.test('this machine and private networks are rejected in every spelling, over https and http, unless they are allowed', async (t) => {
  const loopback = ['127.0.0.1', '127.1', '2130706433', '0x7f000001', '0177.1', '①②⑦.⓪.⓪.①', '[::1]', 'localhost', 'localhost.', 'a.localhost']
  const others = ['10.0.0.1', '192.168.0.1', '172.16.0.1', '169.254.169.254', '0.0.0.0', '100.64.0.1', '[::]', '[::ffff:127.0.0.1]', '[fd00::1]', '[fe80::1]', '[64:ff9b::7f00:1]']
  for (const host of [...loopback, ...others]) {
    for (const options of [{ url: `https://${host}/` }, { url: `http://${host}/` }, { url: `http://${host}/`, allowHttp: true }, { url: `https://${host}/`, allowPrivate: 1 as never }]) {
      let fetched = false
      await t.rejects(deliver([200], { ...options, async fetch () { fetched = true; return new Response() } }), { code: 'AUTH_CONFIG_OPTION' }, JSON.stringify(options))
      t.equal(fetched, false)
    }
    t.equal((await deliver([200], { url: `https://${host}/`, allowPrivate: true })).result.delivered, true, host)
    t.equal((await deliver([200], { url: `http://${host}/`, allowPrivate: true, allowHttp: true })).result.delivered, true, host)
  }
  for (const host of loopback) t.equal((await deliver([200], { url: `http://${host}/`, allowPrivate: true })).result.delivered, true, host)
  for (const host of others) await t.rejects(deliver([200], { url: `http://${host}/`, allowPrivate: true }), { code: 'AUTH_CONFIG_OPTION' }, 'http to another machine is http')
})

t.test('a delivery that is in progress is tried again, and one that was handled is not', async (t) => {
  const inProgress = (): Response => new Response(null, { status: 409, headers: { 'retry-after': '10' } })
  const { result, delays } = await deliver(['hang', inProgress, inProgress, 200])
  t.strictSame(result.attempts.map(({ status }) => status), [null, 409, 409, 200])
  t.strictSame(delays, [750, 10_000, 10_000])
  const done = await deliver(['hang', inProgress, 409])
  t.match(done.result, { delivered: false, status: 409 })
  t.equal(done.result.attempts.length, 3)
})

t.test('an id is a text that every header and every receiver can hold', async (t) => {
  for (const id of ['', 'x'.repeat(257), 'a b', 'a\r\nx-own: 1', 'é', 5 as never, null as never]) {
    await t.rejects(deliver([200], { id }), { code: 'AUTH_CONFIG_OPTION' }, String(id).slice(0, 20))
    for (const scheme of [causeflow(), slack()]) t.throws(() => signWebhook('{}', 'secret', scheme, { id }), { code: 'AUTH_CONFIG_OPTION' })
  }
  t.equal((await deliver([200], { id: 'x'.repeat(256) })).result.delivered, true)
})

t.test('a clock or a random number that is none makes no attempt without a time, and no wait of none', async (t) => {
  for (const time of [NaN, undefined, Promise.resolve(start), `${start}`, Infinity] as never[]) {
    let fetched = false
    await t.rejects(deliver([200], { clock: () => time, async fetch () { fetched = true; return new Response() } }), { code: 'AUTH_CONFIG_OPTION', message: /clock/ })
    t.equal(fetched, false)
  }
  for (const random of [NaN, undefined, 2, -1, '0'] as never[]) t.strictSame((await deliver([500, 200], { random: () => random })).delays, [random === '0' ? 500 : 1000])
})

t.test('an answer that comes after its attempt was given up is ended, and leaves no rejection', async (t) => {
  const faults = watchProcess(t)
  let ended = 0
  const body = (): ReadableStream => new ReadableStream({ cancel () { ended++; throw new Error('it cannot be cancelled') } })
  const late: Array<() => void> = []
  const rings: Array<() => void> = []
  const timers = { setTimeout (callback: () => void) { rings.push(callback); return callback }, clearTimeout () {} }
  for (const settle of ['resolve', 'reject', 'hang'] as const) {
    const delivery = deliverWebhook({
      url,
      secret: 'secret',
      event,
      retries: 0,
      timers,
      fetch: async () => settle === 'hang'
        ? new Response(body())
        : await new Promise<Response>((resolve, reject) => { late.push(settle === 'resolve' ? () => { resolve(new Response(body())) } : () => { reject(new Error('late')) }) })
    })
    for (let turn = 0; turn < 5; turn++) await new Promise(setImmediate)
    rings.at(-1)!()
    t.match(await delivery, { delivered: settle === 'hang' })
    for (const come of late.splice(0)) come()
    for (let turn = 0; turn < 5; turn++) await new Promise(setImmediate)
  }
  t.equal(ended, 2)
  t.strictSame(faults, [])
})

t.test('wrong options are refused before anything is sent', async (t) => {
  const wrong: Array<Partial<DeliverWebhookOptions>> = [
    { secret: '' }, { body: '' }, { timeLimit: 0 }, { timeLimit: NaN }, { timeLimit: '7' as never }, { timeLimit: 2_147_484 }, { maxDelay: 2_147_484 }, { maxDelay: Infinity }, { retries: -1 }, { retries: 1.5 }, { maxDelay: 0 },
    { scheme: standardWebhooks(), secret: 'not base64!' }, { scheme: standardWebhooks(), secret: 'AAAA', id: 'a.b' }
  ]
  for (const options of wrong) {
    let fetched = false
    await t.rejects(deliver([200], { ...options, async fetch () { fetched = true; return new Response() } }), { code: 'AUTH_CONFIG_OPTION' }, JSON.stringify(options))
    t.equal(fetched, false)
  }
  t.equal((await deliver([200], { timeLimit: 2_147_483, maxDelay: 2_147_483 })).result.delivered, true, 'as long as a timer can wait')
  await t.rejects(deliverWebhook({ url, secret: 'secret', event, body: 'x' }), { code: 'AUTH_CONFIG_OPTION' })
  await t.rejects(deliverWebhook({ url, secret: 'secret' }), { code: 'AUTH_CONFIG_OPTION' })
  await t.rejects(deliverWebhook({ url, secret: 'secret', body: event as never }), { code: 'AUTH_CONFIG_OPTION', message: /Give an object as event/ })
})

t.test('a wait that fails is thrown as it is, and not taken for a delivery that failed', async (t) => {
  for (const fault of [new Error('the queue is gone'), Object.freeze({ queue: 'gone' }), 'gone', undefined]) {
    const thrown = await deliver([500], { delay: async () => { throw fault } }).then(() => 'delivered', (error: unknown) => [error])
    t.strictSame(thrown, [fault])
    t.equal((thrown as unknown[])[0], fault)
  }
})

t.test('a wait that rejects because its signal has ended loses none of the attempts', async (t) => {
  const controller = new AbortController()
  const { result } = await deliver([503], { signal: controller.signal, delay: async (_milliseconds, signal) => { controller.abort('shutdown'); signal?.throwIfAborted() } })
  t.match(result, { delivered: false, status: 503, attempts: [{ status: 503, failure: 'status' }] })
  t.equal(result.attempts.length, 1)
})

t.test('a fault of configuration that only an attempt shows ends it at once: no wait, nothing more sent, and it is what is thrown', async (t) => {
  const delays: number[] = []
  const delay = async (milliseconds: number): Promise<void> => { delays.push(milliseconds) }
  // An id with a full stop cannot be signed by this scheme.
  await t.rejects(deliver([200], { scheme: standardWebhooks(), secret: 'AAAA', id: 'a.b', delay }), { code: 'AUTH_CONFIG_OPTION' })
  t.strictSame(delays, [])
  let times = 0
  const fault = new Error('no time')
  const clock = (): number => {
    if (++times > 4) throw fault
    return start
  }
  t.equal(await deliver([500], { clock, delay, retries: 9 }).catch((error: unknown) => error), fault, 'after attempts that have failed, too')
  t.strictSame(Object.keys(fault), [], 'and nothing is written on it')
  t.ok(delays.length > 0 && delays.length < 4, `${delays.length} waits`)
})

t.test('of an answer\'s body no more than 16 kB and what is under way is read', async (t) => {
  let pulled = 0
  let cancelled = false
  const endless = new ReadableStream<Uint8Array>({
    pull (controller) { pulled += 1024; controller.enqueue(new Uint8Array(1024)) },
    cancel () { cancelled = true }
  })
  const { result } = await deliver([() => new Response(endless, { status: 200 })])
  t.equal(result.delivered, true)
  t.ok(pulled < 20_000, `${pulled} bytes`)
  t.equal(cancelled, true)
})

t.test('an answer of up to 16 kB is read to its end and not broken off, so that its connection can be used again', async (t) => {
  const done: string[] = []
  let chunks = 2
  const answer = new ReadableStream<Uint8Array>({
    pull (controller) {
      if (chunks-- > 0) return controller.enqueue(new Uint8Array(8192))
      done.push('read')
      controller.close()
    },
    cancel () { done.push('broken off') }
  }, { highWaterMark: 0 })
  t.equal((await deliver([() => new Response(answer, { status: 200 })])).result.delivered, true)
  t.strictSame(done, ['read'])
})

t.test('an answer whose body breaks off has still been given', async (t) => {
  const broken = new ReadableStream({ pull (controller) { controller.error(new Error('reset')) } })
  t.match((await deliver([() => new Response(broken, { status: 200 })])).result, { delivered: true, status: 200 })
})

t.test('over a socket: the receiver verifies what arrived, a redirect\'s target is never called, a hanging answer is given up', async (t) => {
  const seen: Array<{ path: string | undefined, headers: IncomingHttpHeaders, body: Buffer }> = []
  const server = createServer((request, response) => {
    const chunks: Buffer[] = []
    request.on('data', (chunk: Buffer) => chunks.push(chunk)).on('end', () => {
      seen.push({ path: request.url, headers: request.headers, body: Buffer.concat(chunks) })
      if (request.url === '/moved') response.writeHead(307, { location: '/in' }).end()
      else if (request.url === '/hang') response.writeHead(500).write('never ends')
      else response.writeHead(202).end('{"ok":true}')
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.teardown(() => { server.closeAllConnections(); server.close() })
  const base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  t.match(await deliverWebhook({ url: `${base}/in`, allowPrivate: true, secret: 'secret', event, scheme: slack() }), { delivered: true, status: 202 })
  t.ok(verifyWebhook(seen[0]!.body, seen[0]!.headers, 'secret', slack()))
  t.match(await deliverWebhook({ url: `${base}/moved`, allowPrivate: true, secret: 'secret', event }), { delivered: false, status: 307, attempts: [{ failure: 'redirect' }] })
  t.strictSame(seen.map(({ path }) => path), ['/in', '/moved'])
  const rings: Array<() => void> = []
  const hanging = deliverWebhook({ url: `${base}/hang`, allowPrivate: true, secret: 'secret', event, retries: 0, timers: { setTimeout (callback) { rings.push(callback) }, clearTimeout () {} } })
  while (seen.length < 3) await new Promise(setImmediate)
  for (let turn = 0; turn < 50; turn++) await new Promise(setImmediate)
  rings[0]!()
  t.match(await hanging, { delivered: false, attempts: [{ failure: /status|time-limit/ }] })
  const closed = createServer()
  await new Promise<void>((resolve) => closed.listen(0, '127.0.0.1', resolve))
  const gone = `http://127.0.0.1:${(closed.address() as AddressInfo).port}`
  await new Promise((resolve) => closed.close(resolve))
  t.match(await deliverWebhook({ url: gone, allowPrivate: true, secret: 'secret', event, retries: 1, delay: async () => {} }), { delivered: false, status: null, attempts: [{ failure: 'network' }, { failure: 'network' }] })
})
