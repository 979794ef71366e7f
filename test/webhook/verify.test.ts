/* eslint no-throw-literal: off, prefer-promise-reject-errors: off -- what an application throws is what is tested */
import { createHmac } from 'node:crypto'
import type { IncomingHttpHeaders } from 'node:http'
import t from 'tap'
import { AuthError } from '../../lib/errors.js'
import type { Principal, WebhookPrincipal } from '../../lib/principal.js'
import type { DeliveryTry, ReplayStore } from '../../lib/webhook/replay.js'
import { MemoryReplayStore } from '../../lib/webhook/memory-replay-store.js'
import { causeflow } from '../../lib/webhook/schemes/causeflow.js'
import { slack } from '../../lib/webhook/schemes/slack.js'
import { standardWebhooks } from '../../lib/webhook/schemes/standard-webhooks.js'
import { stripe } from '../../lib/webhook/schemes/stripe.js'
import { signWebhook } from '../../lib/webhook/sign.js'
import type { SignatureScheme } from '../../lib/webhook/signature.js'
import { createSignatureVerifier, type OpenedSignature, type SecretResolver, type WebhookSettings } from '../../lib/webhook/verify.js'

const body = Buffer.from('{"event":"incident.created"}')
const start = Date.UTC(2026, 0, 1)

interface Request { tenant: string }
const request: Request = { tenant: 'ten_a' }

function verifierOf (settings: Partial<WebhookSettings<Request>> = {}, clock = (): number => start, timers = manualTimers()) {
  return createSignatureVerifier<Request>({ name: 'monitor', scheme: causeflow(), secret: 'secret', replay: null, ...settings }, { clock, timers })
}

/** Timers that ring when told to. */
function manualTimers () {
  const pending = new Map<number, { callback: () => void, milliseconds: number, unrefed: boolean }>()
  let next = 0
  return {
    pending,
    setTimeout (callback: () => void, milliseconds: number) {
      const id = next++
      const timer = { callback, milliseconds, unrefed: false }
      pending.set(id, timer)
      return { id, unref () { timer.unrefed = true } }
    },
    clearTimeout (timer: { id: number }) { pending.delete(timer.id) },
    ring () { for (const { callback } of pending.values()) callback() }
  }
}

const signed = (secret: string | Uint8Array = 'secret', scheme: SignatureScheme = causeflow(), content: Buffer = body): IncomingHttpHeaders =>
  signWebhook(content, secret, scheme, { id: 'msg_1', timestamp: start / 1000 })

async function refusalOf (work: () => unknown): Promise<{ code: string, reason: string, cause?: unknown } | null> {
  try {
    await work()
    return null
  } catch (error) {
    if (!(error instanceof AuthError)) throw error
    return { code: error.code, reason: error.reason, ...'cause' in error && { cause: error.cause } }
  }
}

t.test('a verified delivery gives a frozen principal without roles, scopes or a tenant', async (t) => {
  const opened = verifierOf().open(signed(), request, null) as OpenedSignature
  const principal = opened.verify(body)
  t.strictSame(principal, { scheme: 'webhook', source: 'monitor', deliveryId: null, timestamp: null, tenantId: null, roles: [], scopes: [], proofs: ['webhook'] })
  t.throws(() => { (principal as { tenantId: string }).tenantId = 'ten_b' }, TypeError)
  t.throws(() => { (principal.roles as string[]).push('admin') }, TypeError)
  t.throws(() => { (principal.proofs as string[]).push('jwt') }, TypeError)
  t.strictSame((verifierOf().open(signed(), request, null) as OpenedSignature).verify(body).roles, [])
})

t.test('a tenant comes from the resolver\'s answer and from nowhere else', async (t) => {
  const secret: SecretResolver<Request> = ({ tenant }) => ({ secrets: 'secret', tenantId: tenant })
  const opened = verifierOf({ secret }).open(signed(), request, null) as OpenedSignature
  t.equal(opened.verify(body).tenantId, 'ten_a')
  for (const tenantId of ['', 5, undefined, {}]) {
    t.match(await refusalOf(() => verifierOf({ secret: () => ({ secrets: 'secret', tenantId } as never) }).open(signed(), request, null)),
      { code: 'AUTH_STORE_UNAVAILABLE', reason: 'rejected' }, String(tenantId))
  }
})

t.test('a literal secret, or one that is resolved at once, opens at once; a promise opens later', async (t) => {
  const settings: Array<Partial<WebhookSettings<Request>>> = [{}, { secret: () => 'secret' }, { secret: () => ['old', Buffer.from('secret')] }]
  for (const each of settings) t.equal((verifierOf(each).open(signed(), request, null) as OpenedSignature).verify(body).source, 'monitor')
  const opened = verifierOf({ secret: async () => 'secret' }).open(signed(), request, null)
  t.ok(opened instanceof Promise)
  t.equal((await opened).verify(body).source, 'monitor')
})

t.test('the resolver sees the request and what is proved already', async (t) => {
  const seen: unknown[] = []
  const proved = { scheme: 'apiKey', keyId: 'key_1' } as unknown as Principal
  verifierOf({ secret: (...args) => { seen.push(...args); return 'secret' } }).open(signed(), request, proved)
  t.strictSame(seen, [request, proved])
})

t.test('an absent signature is missing, and an empty one is presented and bad', async (t) => {
  const verifier = verifierOf()
  t.equal(verifier.isPresented({}), false)
  t.equal(verifier.isPresented({ 'x-hub-signature-256': 'sha256=' }), false)
  t.equal(verifier.isPresented({ 'x-webhook-signature': '' }), true)
  t.strictSame(await refusalOf(() => verifier.open({}, request, null)), { code: 'AUTH_SIGNATURE_MISSING', reason: 'absent' })
  t.strictSame(await refusalOf(() => verifier.open({ 'x-webhook-signature': '' }, request, null)), { code: 'AUTH_SIGNATURE_INVALID', reason: 'form' })
  t.equal(verifierOf({ scheme: standardWebhooks(), secret: 'AAAA' }).isPresented({ 'svix-signature': 'v1,' }), true)
})

t.test('form and time are judged before anybody is asked for a secret', async (t) => {
  let asked = 0
  const secret: SecretResolver<Request> = () => { asked++; return 'secret' }
  t.match(await refusalOf(() => verifierOf({ secret }).open({ 'x-webhook-signature': 'x' }, request, null)), { code: 'AUTH_SIGNATURE_INVALID' })
  t.match(await refusalOf(() => verifierOf({ secret, scheme: slack() }, () => start + 301_000).open(signed('secret', slack()), request, null)), { code: 'AUTH_SIGNATURE_STALE' })
  t.equal(asked, 0)
})

t.test('threat 23: where there is no secret nothing verifies, not even what an empty key signed, and from outside that is a wrong signature', async (t) => {
  const withEmptyKey = { 'x-webhook-signature': `sha256=${createHmac('sha256', '').update(body).digest('hex')}` }
  const withDecoyKey = { 'x-webhook-signature': `sha256=${createHmac('sha256', Buffer.alloc(32)).update(body).digest('hex')}` }
  const answers = [null, undefined, '', [], [''], [null], new Uint8Array(0), [new Uint8Array(0), ''], { secrets: null, tenantId: 'ten_a' }, { secrets: [], tenantId: null }, { secrets: '', tenantId: null }] as never[]
  for (const answer of answers) {
    for (const secret of [() => answer, async () => answer]) {
      for (const headers of [withEmptyKey, withDecoyKey, signed()]) {
        const opened = await verifierOf({ secret }).open(headers, request, null)
        t.strictSame(await refusalOf(() => opened.verify(body)), { code: 'AUTH_SIGNATURE_INVALID', reason: 'secret-absent' }, JSON.stringify(answer))
      }
    }
  }
  const [wrong, absent] = [new AuthError('AUTH_SIGNATURE_INVALID', 'digest'), new AuthError('AUTH_SIGNATURE_INVALID', 'secret-absent')]
  t.strictSame([absent.statusCode, absent.message, absent.challenge], [wrong.statusCode, wrong.message, wrong.challenge])
})

t.test('threat 23: an empty secret beside a good one verifies nothing, and the good one does', async (t) => {
  const secret: SecretResolver<Request> = () => ['', 'secret']
  t.ok((verifierOf({ secret }).open(signed(), request, null) as OpenedSignature).verify(body))
  const forged = { 'x-webhook-signature': `sha256=${createHmac('sha256', '').update(body).digest('hex')}` }
  t.match(await refusalOf(() => (verifierOf({ secret }).open(forged, request, null) as OpenedSignature).verify(body)), { reason: 'digest' })
})

t.test('threat 23: an empty secret verifies nothing even where a scheme makes a key of it', async (t) => {
  const scheme: SignatureScheme = { ...causeflow(), key: (secret) => Buffer.from(`salt ${secret}`) }
  const headers = { 'x-webhook-signature': `sha256=${createHmac('sha256', 'salt ').update(body).digest('hex')}` }
  t.match(await refusalOf(() => (verifierOf({ scheme, secret: () => '' }).open(headers, request, null) as OpenedSignature).verify(body)), { reason: 'secret-absent' })
  t.throws(() => verifierOf({ scheme, secret: '' }), { code: 'AUTH_CONFIG_OPTION' })
})

t.test('threat 23: a literal secret that is empty, absent or unreadable does not start', async (t) => {
  for (const secret of ['', [], ['secret', ''], [''], new Uint8Array(0), undefined, null, 5, {}, ['secret', null]] as never[]) {
    t.throws(() => verifierOf({ secret }), { code: 'AUTH_CONFIG_OPTION', message: /webhook monitor: / }, JSON.stringify(secret))
  }
  t.throws(() => verifierOf({ scheme: standardWebhooks(), secret: 'not base64!' }), { code: 'AUTH_CONFIG_OPTION' })
  t.throws(() => verifierOf({ scheme: standardWebhooks(), secret: 'whsec_' }), { code: 'AUTH_CONFIG_OPTION' })
})

t.test('threat 23: a resolver that throws anything, rejects with anything or answers no secret at all is 503', async (t) => {
  const fault = new Error('down')
  for (const thrown of [fault, undefined, null, 'text', new AuthError('AUTH_API_KEY_INVALID', 'unknown')]) {
    const expected = { code: 'AUTH_STORE_UNAVAILABLE', reason: 'unreachable', cause: thrown }
    t.strictSame(await refusalOf(() => verifierOf({ secret: () => { throw thrown } }).open(signed(), request, null)), expected)
    t.strictSame(await refusalOf(() => verifierOf({ secret: () => Promise.reject(thrown) }).open(signed(), request, null)), expected)
  }
  for (const answer of [5, true, { secret: 'secret' }, [5], { secrets: 5, tenantId: null }, Symbol('x')] as never[]) {
    t.match(await refusalOf(() => verifierOf({ secret: () => answer }).open(signed(), request, null)), { code: 'AUTH_STORE_UNAVAILABLE', reason: 'rejected', cause: TypeError })
    t.match(await refusalOf(() => verifierOf({ secret: async () => answer }).open(signed(), request, null)), { code: 'AUTH_STORE_UNAVAILABLE', reason: 'rejected', cause: TypeError })
  }
  t.match(await refusalOf(() => verifierOf({ scheme: standardWebhooks(), secret: () => 'not base64!' }).open(signed('AAAA', standardWebhooks()), request, null)),
    { code: 'AUTH_STORE_UNAVAILABLE', reason: 'rejected' })
  const known = new AuthError('AUTH_STORE_UNAVAILABLE', 'time-limit')
  t.equal((await refusalOf(() => verifierOf({ secret: () => { throw known } }).open(signed(), request, null)))?.reason, 'time-limit')
})

t.test('threat 23: a resolver that hangs is 503 after two seconds, and its timer keeps no process alive', async (t) => {
  const timers = manualTimers()
  const opening = verifierOf({ secret: () => new Promise(() => {}) }, undefined, timers).open(signed(), request, null)
  t.strictSame([...timers.pending.values()].map(({ milliseconds, unrefed }) => ({ milliseconds, unrefed })), [{ milliseconds: 2000, unrefed: true }])
  timers.ring()
  t.match(await refusalOf(() => opening), { code: 'AUTH_STORE_UNAVAILABLE', reason: 'time-limit' })
})

t.test('a resolver that answers in time leaves no timer behind', async (t) => {
  const timers = manualTimers()
  await verifierOf({ secret: async () => 'secret' }, undefined, timers).open(signed(), request, null)
  await refusalOf(() => verifierOf({ secret: async () => { throw new Error('down') } }, undefined, timers).open(signed(), request, null))
  t.equal(timers.pending.size, 0)
})

t.test('threat 24: every secret of a rotation is tried, in any place, for literal and for resolved ones', async (t) => {
  for (const secrets of [['secret', 'b', 'c'], ['a', 'secret', 'c'], ['a', 'b', 'secret'], ['a', Buffer.from('secret')]]) {
    for (const secret of [secrets, () => secrets]) t.ok((verifierOf({ secret }).open(signed(), request, null) as OpenedSignature).verify(body))
  }
  t.match(await refusalOf(() => (verifierOf({ secret: ['a', 'b'] }).open(signed(), request, null) as OpenedSignature).verify(body)), { code: 'AUTH_SIGNATURE_INVALID', reason: 'digest' })
})

t.test('threat 24: every candidate of a header is tried under every secret', async (t) => {
  const now = start / 1000
  const mac = (secret: string): string => createHmac('sha256', secret).update(`${now}.${body.toString()}`).digest('hex')
  const headers = { 'stripe-signature': `t=${now},v1=${mac('x')},v1=${mac('y')}` }
  t.ok((verifierOf({ scheme: stripe(), secret: ['a', 'y'] }).open(headers, request, null) as OpenedSignature).verify(body))
})

t.test('threat 24: a candidate that is not 32 bytes is no signature, a prefix of the right one neither', async (t) => {
  const right = createHmac('sha256', 'secret').update(body).digest()
  const scheme = (...digests: Uint8Array[]): SignatureScheme => ({
    name: 'own', headers: ['x-own'], tolerance: null, read: () => ({ prefix: '', digests, timestamp: null, deliveryId: null }), sign: () => ({})
  })
  const refused = (...digests: Uint8Array[]) => refusalOf(() => (verifierOf({ scheme: scheme(...digests) }).open({ 'x-own': '' }, request, null) as OpenedSignature).verify(body))
  t.equal(await refused(right), null)
  t.equal(await refused(right.subarray(0, 16), right), null)
  for (const digest of [right.subarray(0, 31), right.subarray(0, 16), Buffer.alloc(0), Buffer.concat([right, Buffer.alloc(1)])]) t.match(await refused(digest), { reason: 'digest' })
  t.match(await refused(), { reason: 'digest' })
})

t.test('an empty body never verifies, however it is signed', async (t) => {
  const headers = { 'x-webhook-signature': `sha256=${createHmac('sha256', 'secret').update('').digest('hex')}` }
  const opened = verifierOf().open(headers, request, null) as OpenedSignature
  for (const nothing of [Buffer.alloc(0), undefined, null] as Buffer[]) {
    t.strictSame(await refusalOf(() => opened.verify(nothing)), { code: 'AUTH_SIGNATURE_INVALID', reason: 'body-absent' })
  }
})

t.test('threat 20: the bytes signed are the bytes received', async (t) => {
  const bodies = {
    BOM: Buffer.from('\ufeff{"a":1}'),
    CRLF: Buffer.from('{\r\n"a":1}\r\n'),
    'invalid UTF-8': Buffer.from([0x7b, 0xff, 0xfe, 0xc3, 0x7d]),
    'escaped slash': Buffer.from('{"a":"\\/"}'),
    '1.0': Buffer.from('{"a":1.0}'),
    'big integer': Buffer.from('{"a":12345678901234567890}'),
    NUL: Buffer.from([0]),
    '16 kB and more': Buffer.alloc(20_000, '😀')
  }
  for (const [name, bytes] of Object.entries(bodies)) {
    t.ok((verifierOf().open(signed('secret', causeflow(), bytes), request, null) as OpenedSignature).verify(bytes), name)
    const replaced = Buffer.from(bytes.toString())
    if (!replaced.equals(bytes)) t.match(await refusalOf(() => (verifierOf().open(signed('secret', causeflow(), bytes), request, null) as OpenedSignature).verify(replaced)), { reason: 'digest' }, name)
    for (const other of [Buffer.concat([bytes, Buffer.from('\n')]), bytes.subarray(0, -1), Buffer.concat([Buffer.from(' '), bytes])]) {
      if (other.length > 0) t.match(await refusalOf(() => (verifierOf().open(signed('secret', causeflow(), bytes), request, null) as OpenedSignature).verify(other)), { reason: 'digest' }, name)
    }
  }
  const [a, b] = [Buffer.from([0x22, 0xff, 0x22]), Buffer.from([0x22, 0xfe, 0x22])]
  t.match(await refusalOf(() => (verifierOf().open(signed('secret', causeflow(), a), request, null) as OpenedSignature).verify(b)), { reason: 'digest' }, 'two invalid texts that decode alike')
})

t.test('threat 27: a body that arrives so late that its time is over is refused', async (t) => {
  let now = start
  for (const scheme of [standardWebhooks(), slack(), stripe()]) {
    now = start
    const opened = verifierOf({ scheme, secret: 'AAAA' }, () => now).open(signed('AAAA', scheme), request, null) as OpenedSignature
    now = start + 301_000
    t.strictSame(await refusalOf(() => opened.verify(body)), { code: 'AUTH_SIGNATURE_STALE', reason: 'stale' })
  }
})

t.test('a scheme of the application that throws, undefined included, or forgets its time, refuses', async (t) => {
  const scheme: SignatureScheme = { name: 'own', headers: ['x-own'], tolerance: 300, read: () => ({ prefix: '', digests: [], timestamp: null, deliveryId: null }), sign: () => ({}) }
  const opening = (bent: Partial<SignatureScheme>) => refusalOf(() => verifierOf({ scheme: { ...scheme, ...bent } }).open({ 'x-own': '' }, request, null))
  t.strictSame(await opening({}), { code: 'AUTH_SIGNATURE_STALE', reason: 'timestamp' })
  t.strictSame(await opening({ read: () => ({ prefix: '', digests: [], timestamp: NaN, deliveryId: null }) }), { code: 'AUTH_SIGNATURE_STALE', reason: 'stale' })
  t.strictSame(await opening({ read: () => { throw undefined } }), { code: 'AUTH_SIGNATURE_INVALID', reason: 'form', cause: undefined })
  t.strictSame(await opening({ read: () => undefined as never }), { code: 'AUTH_SIGNATURE_INVALID', reason: 'form' })
  for (const timestampOf of [() => { throw undefined }, () => undefined as never, () => null, () => NaN]) {
    const bent = { ...causeflow({ timestampField: 'timestamp' }), timestampOf }
    t.match(await refusalOf(() => (verifierOf({ scheme: bent }).open(signed(), request, null) as OpenedSignature).verify(body)), { code: 'AUTH_SIGNATURE_STALE' })
  }
})

t.test('what a scheme throws while it looks for the time in a body is kept for the log', async (t) => {
  for (const fault of [new Error('a bug of the scheme'), undefined]) {
    const scheme: SignatureScheme = { ...causeflow(), timestampOf () { throw fault } }
    t.strictSame(await refusalOf(() => (verifierOf({ scheme }).open(signed(), request, null) as OpenedSignature).verify(body)),
      { code: 'AUTH_SIGNATURE_STALE', reason: 'timestamp', cause: fault })
  }
})

t.test('a scheme that reads a time and sets no tolerance takes it from any year', async (t) => {
  for (const time of [0, start / 1000 - 0.5, start / 1000 + 1e9]) {
    const scheme: SignatureScheme = { ...causeflow(), tolerance: null, timestampOf: () => time }
    t.equal((verifierOf({ scheme }).open(signed(), request, null) as OpenedSignature).verify(body).timestamp, Math.floor(time))
  }
})

t.test('no refusal carries the secret, the signature or the body', async (t) => {
  const secret = 'whsec_not_for_any_log'
  const refusals = [
    () => (verifierOf({ secret }).open(signed('other'), request, null) as OpenedSignature).verify(body),
    () => verifierOf({ secret }).open({ 'x-webhook-signature': `sha256=${secret}` }, request, null),
    () => verifierOf({ scheme: standardWebhooks(), secret: () => secret }).open(signed('AAAA', standardWebhooks()), request, null),
    () => verifierOf({ scheme: standardWebhooks(), secret })
  ]
  for (const refusal of refusals) {
    try {
      await refusal()
      t.fail('accepted')
    } catch (error) {
      const { message, stack, cause } = error as Error
      t.notMatch(JSON.stringify([message, stack, cause instanceof Error ? [cause.message, cause.stack] : cause, { ...error as object }]), /not_for_any_log|sha256=[0-9a-f]{64}|incident/)
    }
  }
})

// Replays

const later = (milliseconds: number) => ({ at: start + milliseconds })

async function receive (verifier: ReturnType<typeof verifierOf>, headers: IncomingHttpHeaders, route = '/hooks', content = body) {
  const opened = await verifier.open(headers, request, null)
  const principal = opened.verify(content)
  return await opened.claim(principal, route)
}

const replayed = { code: 'AUTH_DELIVERY_REPLAYED', reason: 'replayed' }
const inProgress = { code: 'AUTH_DELIVERY_REPLAYED', reason: 'in-progress' }

/** A store that takes everything for new and notes what it is given. */
function noting (tries: DeliveryTry[]): ReplayStore {
  return { begin (attempt) { tries.push(attempt); return 'new' }, finish () {}, release () {} }
}

t.test('threat 26: the same delivery is refused the second time, with and without a signed id', async (t) => {
  for (const scheme of [causeflow(), standardWebhooks(), slack(), stripe()]) {
    const verifier = verifierOf({ scheme, secret: 'AAAA', replay: new MemoryReplayStore({ clock: () => start }) })
    const [claim] = await receive(verifier, signed('AAAA', scheme))
    t.strictSame(await refusalOf(() => receive(verifier, signed('AAAA', scheme))), inProgress, scheme.name)
    await claim!.finish()
    t.strictSame(await refusalOf(() => receive(verifier, signed('AAAA', scheme))), replayed, scheme.name)
  }
})

t.test('threat 26: two verifiers over one store, as two processes have it, let a delivery in once', async (t) => {
  const replay = new MemoryReplayStore({ clock: () => start })
  const answers = await Promise.allSettled([1, 2, 3, 4].map(async () => receive(verifierOf({ replay }), signed())))
  t.equal(answers.filter(({ status }) => status === 'fulfilled').length, 1)
})

t.test('threat 26: a delivery that is released does not count, and releasing it twice does not release its next try', async (t) => {
  const verifier = verifierOf({ replay: new MemoryReplayStore({ clock: () => start }) })
  const [first] = await receive(verifier, signed())
  t.equal(await first!.release(), null)
  const [second] = await receive(verifier, signed())
  t.equal(await first!.release(), null)
  t.strictSame(await refusalOf(() => receive(verifier, signed())), inProgress)
  t.equal(await second!.finish(), null)
  t.equal(await second!.release(), null)
  t.strictSame(await refusalOf(() => receive(verifier, signed())), replayed)
})

t.test('without a replay store nothing is remembered', async (t) => {
  const verifier = verifierOf()
  t.strictSame(await receive(verifier, signed()), [])
  t.strictSame(await receive(verifier, signed()), [])
})

t.test('with a signed id, a delivery that is signed anew and goes to another route is the same delivery', async (t) => {
  const scheme = standardWebhooks()
  const verifier = verifierOf({ scheme, secret: 'AAAA', replay: new MemoryReplayStore({ clock: () => start }) })
  t.ok(await receive(verifier, signWebhook(body, 'AAAA', scheme, { id: 'msg_1', timestamp: start / 1000 }), '/a'))
  t.strictSame(await refusalOf(() => receive(verifier, signWebhook(body, 'AAAA', scheme, { id: 'msg_1', timestamp: start / 1000 + 1 }), '/b')), inProgress)
  t.ok(await receive(verifier, signWebhook(body, 'AAAA', scheme, { id: 'msg_2', timestamp: start / 1000 }), '/a'))
})

t.test('during a rotation, a replay that shows another signature of the same delivery is still a replay', async (t) => {
  const now = start / 1000
  const mac = (secret: string): string => createHmac('sha256', secret).update(`${now}.${body.toString()}`).digest('hex')
  const verifier = verifierOf({ scheme: stripe(), secret: ['old', 'new'], replay: new MemoryReplayStore({ clock: () => start }) })
  const claims = await receive(verifier, { 'stripe-signature': `t=${now},v1=${mac('new')},v1=${mac('old')}` })
  t.equal(claims.length, 2, 'it is claimed under each secret')
  for (const secret of ['old', 'new']) t.strictSame(await refusalOf(() => receive(verifier, { 'stripe-signature': `t=${now},v1=${mac(secret)}` })), inProgress)
})

t.test('during a rotation, processes that know one secret, both, or both in another order know the same deliveries', async (t) => {
  const lists = [['old'], ['new', 'old'], ['old', 'new'], ['new']]
  for (const [first, second, secret] of [[0, 1, 'old'], [1, 0, 'old'], [1, 2, 'old'], [1, 2, 'new'], [1, 3, 'new'], [3, 2, 'new']] as const) {
    const replay = new MemoryReplayStore({ clock: () => start })
    const receiveBy = async (list: 0 | 1 | 2 | 3) => await receive(verifierOf({ replay, secret: lists[list]! }), signed(secret))
    t.ok((await receiveBy(first)).length > 0)
    t.strictSame(await refusalOf(() => receiveBy(second)), inProgress, `${lists[first]} and ${lists[second]}`)
    t.equal(replay.size, lists[first]!.length, 'the second try leaves nothing')
  }
})

t.test('two schemes, sources, secrets, tenants, routes or bodies never share a key', async (t) => {
  const tries: DeliveryTry[] = []
  const replay = noting(tries)
  const same = { ...causeflow(), name: 'another' }
  await receive(verifierOf({ replay }), signed())
  await receive(verifierOf({ replay, scheme: same }), signed())
  await receive(verifierOf({ replay, name: 'other' }), signed())
  await receive(verifierOf({ replay, secret: 'another' }), signed('another'))
  await receive(verifierOf({ replay, secret: () => ({ secrets: 'secret', tenantId: 'ten_a' }) }), signed())
  await receive(verifierOf({ replay, secret: () => ({ secrets: 'secret', tenantId: 'ten_b' }) }), signed())
  await receive(verifierOf({ replay }), signed(), '/other')
  await receive(verifierOf({ replay }), signed('secret', causeflow(), Buffer.from('x')), '/hooks', Buffer.from('x'))
  for (const secret of ['AAAA', 'BBBB']) await receive(verifierOf({ replay, scheme: standardWebhooks(), secret }), signed(secret, standardWebhooks()))
  const keys = tries.map(({ key }) => key)
  t.equal(new Set(keys).size, 10)
  for (const key of keys) t.match(key, /^[A-Za-z0-9_-]{43}$/)
  t.equal(new Set(tries.map(({ id }) => id)).size, 10)
  for (const { id } of tries) t.match(id, /^[A-Za-z0-9_-]{16}$/)
})

t.test('two services with secrets of their own on one store, and one webhook with a secret for each route, take nothing for a replay', async (t) => {
  const scheme = standardWebhooks()
  const replay = new MemoryReplayStore({ clock: () => start })
  for (const secret of ['AAAA', 'BBBB']) t.ok(await receive(verifierOf({ scheme, replay, secret }), signed(secret, scheme)), 'the same id, from two senders')
  const secrets: Record<string, string> = { ten_a: 'CCCC', ten_b: 'DDDD' }
  const verifier = verifierOf({ scheme, replay, secret: ({ tenant }) => secrets[tenant]! })
  for (const tenant of ['ten_a', 'ten_b']) {
    const opened = await verifier.open(signed(secrets[tenant], scheme), { tenant }, null)
    t.ok(await opened.claim(opened.verify(body), '/hooks'), 'the same event, fanned out')
  }
})

t.test('the owner of a delivery is its tenant, else the key or the secret that it was signed with; a configured secret has none', async (t) => {
  const tries: DeliveryTry[] = []
  const replay = noting(tries)
  const receiveBy = async (settings: Partial<WebhookSettings<Request>>, secret = 'secret'): Promise<string | null> => {
    await receive(verifierOf({ replay, ...settings }), signed(secret))
    return tries.at(-1)!.owner
  }
  t.equal(await receiveBy({}), null)
  t.equal(await receiveBy({ secret: ['secret', 'other'] }), null)
  const tenant = await receiveBy({ secret: () => ({ secrets: 'secret', tenantId: 'ten_a' }) })
  t.match(tenant, /^[A-Za-z0-9_-]{43}$/)
  t.equal(await receiveBy({ secret: () => ({ secrets: 'other', tenantId: 'ten_a' }), name: 'second', ownerOf: () => 'key_1' }, 'other'), tenant, 'through every key and webhook of the tenant')
  const others = [
    await receiveBy({ secret: () => ({ secrets: 'secret', tenantId: 'ten_b' }) }),
    await receiveBy({ secret: () => 'secret', ownerOf: () => 'key_1' }),
    await receiveBy({ secret: () => 'secret' }),
    await receiveBy({ secret: () => 'other' }, 'other')
  ]
  t.equal(new Set([tenant, ...others]).size, 5)
  for (const owner of others) t.match(owner, /^[A-Za-z0-9_-]{43}$/)
})

t.test('an id that is no text, is empty, or has more than 256 characters is no delivery\'s', async (t) => {
  for (const [deliveryId, isGood] of [['x'.repeat(256), true], ['x'.repeat(257), false], ['', false], [5, false], [undefined, false], [{}, false]] as const) {
    const scheme = { ...causeflow(), read: (headers: IncomingHttpHeaders) => ({ ...causeflow().read(headers)!, deliveryId: deliveryId as string }) }
    const refusal = await refusalOf(() => receive(verifierOf({ scheme }), signed()))
    t.strictSame(refusal, isGood ? null : { code: 'AUTH_SIGNATURE_INVALID', reason: 'form' }, String(deliveryId).slice(0, 20))
  }
})

t.test('a clock that returns no number accepts no signed time', async (t) => {
  const dated = Buffer.from(JSON.stringify({ at: start / 1000 }))
  const inBody = causeflow({ timestampField: 'at' })
  for (const time of [NaN, undefined, null, Promise.resolve(start), `${start}`, new Date(start)]) {
    for (const [scheme, content] of [[slack(), body], [inBody, dated]] as const) {
      const verifier = verifierOf({ scheme }, () => time as number)
      t.strictSame(await refusalOf(() => receive(verifier, signed('secret', scheme, content), '/hooks', content)), { code: 'AUTH_SIGNATURE_STALE', reason: 'stale' }, `${scheme.name} ${String(time)}`)
    }
  }
})

t.test('the same delivery under two owners\' secrets is two deliveries, and under one owner\'s a replay', async (t) => {
  const owner = (subject: string) => ({ scheme: 'jwt', subject }) as unknown as Principal
  const ownerOf = (proved: Principal | null): string | null => proved?.scheme === 'jwt' ? proved.subject : null
  const settings = { scheme: standardWebhooks(), secret: Buffer.from('secret'), replay: new MemoryReplayStore({ clock: () => start }), ownerOf }
  const receive = async (proved: Principal | null) => await refusalOf(async () => {
    const opened = verifierOf(settings).open(signed(Buffer.from('secret'), standardWebhooks()), request, proved) as OpenedSignature
    await opened.claim(opened.verify(body), 'POST /')
  })
  t.equal(await receive(owner('usr_1')), null)
  t.equal(await receive(owner('usr_2')), null)
  t.equal(await receive(null), null)
  for (const proved of [owner('usr_1'), owner('usr_2'), null]) t.match(await receive(proved), { code: 'AUTH_DELIVERY_REPLAYED' })
})

t.test('a delivery has the same key in every version, or an upgrade would let in again what a shared store remembers', async (t) => {
  const tries: DeliveryTry[] = []
  const replay = noting(tries)
  await receive(verifierOf({ replay }), signed())
  await receive(verifierOf({ replay, scheme: slack(), secret: () => ({ secrets: 'secret', tenantId: 'ten_a' }) }), signed('secret', slack()))
  await receive(verifierOf({ replay, scheme: standardWebhooks(), secret: 'AAAA' }), signed('AAAA', standardWebhooks()))
  t.strictSame(tries.map(({ key }) => key), ['lev1R9QhFkz0k1VWOUvnFLnKcsR9UJuV5_qLrgGu4k8', '-zUbRB7NuExxJ3UoASQSbvrOrEaXL7CuYJtDbYLRnpQ', 'cIzl2IPnJ4gAwstvugI4Us4q6tBoq1AEh7mKN-pbG_Q'])
})

t.test('a delivery is held for a lease, then remembered for as long as it could be timely, and a day where no time is signed', async (t) => {
  const times: number[][] = []
  const replay: ReplayStore = { begin (_attempt, lease) { times.push([lease]); return 'new' }, finish (_attempt, retention) { times.at(-1)!.push(retention) }, release () {} }
  const handle = async (...given: Parameters<typeof receive>): Promise<void> => { for (const claim of await receive(...given)) await claim.finish() }
  await handle(verifierOf({ replay }), signed())
  await handle(verifierOf({ replay, scheme: slack() }), signed('secret', slack()))
  await handle(verifierOf({ replay, scheme: slack({ tolerance: 10 }) }), signed('secret', slack()))
  const dated = Buffer.from(JSON.stringify({ at: new Date(start).toISOString() }))
  const scheme = causeflow({ timestampField: 'at', tolerance: 60 })
  await handle(verifierOf({ replay, scheme }), signed('secret', scheme, dated), '/hooks', dated)
  t.strictSame(times, [[30_000, 86_400_000], [30_000, 601_000], [30_000, 21_000], [30_000, 121_000]])
})

t.test('threat 26: at no moment of its life is a timestamped delivery accepted twice', async (t) => {
  for (const first of [-300, 0, 300]) {
    const time = later(first * 1000)
    const verifier = verifierOf({ scheme: slack(), replay: new MemoryReplayStore({ clock: () => time.at }) }, () => time.at)
    const [claim] = await receive(verifier, signed('secret', slack()))
    await claim!.finish()
    for (let second = first; second <= 400; second++) {
      time.at = start + second * 1000
      if (await refusalOf(() => receive(verifier, signed('secret', slack()))) === null) t.fail(`accepted again ${second} s after its time`)
    }
  }
})

t.test('a store that throws, rejects, hangs or answers no state is 503 and not a yes', async (t) => {
  const timers = manualTimers()
  const fault = new Error('down')
  const storeOf = (begin: ReplayStore['begin']): { replay: ReplayStore } => ({ replay: { begin, finish () {}, release () {} } })
  const stores: Array<[string, unknown, ReplayStore['begin']]> = [
    ['unreachable', fault, () => { throw fault }],
    ['unreachable', fault, () => Promise.reject(fault)],
    ['unreachable', undefined, () => { throw undefined }],
    ['unreachable', undefined, () => Promise.reject(undefined)]
  ]
  for (const [reason, cause, begin] of stores) {
    t.strictSame(await refusalOf(() => receive(verifierOf(storeOf(begin)), signed())), { code: 'AUTH_STORE_UNAVAILABLE', reason, cause })
  }
  for (const answer of [undefined, null, 1, 'OK', true, false] as never[]) {
    for (const begin of [() => answer, async () => answer]) {
      t.match(await refusalOf(() => receive(verifierOf(storeOf(begin)), signed())), { code: 'AUTH_STORE_UNAVAILABLE', reason: 'rejected', cause: TypeError })
    }
  }
  const hanging = refusalOf(() => receive(verifierOf(storeOf(() => new Promise(() => {})), undefined, timers), signed()))
  await new Promise(setImmediate)
  timers.ring()
  t.match(await hanging, { code: 'AUTH_STORE_UNAVAILABLE', reason: 'time-limit' })
})

t.test('a delivery that is not verified, or another one\'s principal, cannot be claimed', async (t) => {
  const verifier = verifierOf({ replay: new MemoryReplayStore({ clock: () => start }) })
  const opened = verifier.open(signed(), request, null) as OpenedSignature
  const other = (verifier.open(signed(), request, null) as OpenedSignature).verify(body)
  t.match(await refusalOf(() => opened.claim(other, '/hooks')), { code: 'AUTH_RULE_UNDECIDABLE', reason: 'not-verified' })
  opened.verify(body)
  t.match(await refusalOf(() => opened.claim({ ...other } as WebhookPrincipal, '/hooks')), { code: 'AUTH_RULE_UNDECIDABLE', reason: 'not-verified' })
})
