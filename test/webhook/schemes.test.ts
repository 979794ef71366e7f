import { createHmac } from 'node:crypto'
import { readFileSync } from 'node:fs'
import type { IncomingHttpHeaders } from 'node:http'
import t from 'tap'
import { causeflow } from '../../lib/webhook/schemes/causeflow.js'
import { github } from '../../lib/webhook/schemes/github.js'
import { sentry } from '../../lib/webhook/schemes/sentry.js'
import { slack } from '../../lib/webhook/schemes/slack.js'
import { standardWebhooks } from '../../lib/webhook/schemes/standard-webhooks.js'
import { stripe } from '../../lib/webhook/schemes/stripe.js'
import { signWebhook, verifyWebhook } from '../../lib/webhook/sign.js'
import type { SignatureScheme } from '../../lib/webhook/signature.js'

interface Vector { scheme: string, secret: string, body: string, signature: string, id?: string, timestamp?: number }
const vectors: Vector[] = JSON.parse(readFileSync(new URL('../fixtures/webhook-vectors.json', import.meta.url), 'utf8')).signatures

const schemes: Record<string, SignatureScheme> = {
  causeflow: causeflow(), 'standard-webhooks': standardWebhooks(), github: github(), slack: slack(), stripe: stripe(), sentry: sentry()
}
const body = '{"event":"incident.created","incidentId":"inc_01HX9VT"}'
const time = 1_614_265_330
const clock = (): number => time * 1000
const hex = (secret: string | Buffer, text: string): string => createHmac('sha256', secret).update(text).digest('hex')

/** The code with which a delivery is refused; null when it is accepted. */
function refusal (scheme: SignatureScheme, headers: IncomingHttpHeaders, secret: string | Uint8Array = 'secret', now = clock): string | null {
  try {
    verifyWebhook(body, headers, secret, scheme, { clock: now })
    return null
  } catch (error) {
    const { code, reason } = error as { code: string, reason: string }
    return `${code} ${reason}`
  }
}
const invalidForm = 'AUTH_SIGNATURE_INVALID form'
const wrongDigest = 'AUTH_SIGNATURE_INVALID digest'
const stale = 'AUTH_SIGNATURE_STALE stale'

t.test('the published vectors are signed as published, and verify', async (t) => {
  for (const { scheme: name, secret, body, signature, id, timestamp } of vectors) {
    const scheme = schemes[name]!
    const headers = signWebhook(body, secret, scheme, { ...id !== undefined && { id }, ...timestamp !== undefined && { timestamp } })
    t.equal(headers[scheme.headers[0]!], signature, name)
    t.strictSame(verifyWebhook(body, headers, secret, scheme, { clock: () => (timestamp ?? 0) * 1000 }), {
      scheme: 'webhook', source: 'default', deliveryId: id ?? null, timestamp: timestamp ?? null, tenantId: null, roles: [], scopes: [], proofs: ['webhook']
    }, name)
  }
})

t.test('threat 22: a signature of any other form than 64 lower-case hex digits after sha256= is refused before it is compared', async (t) => {
  for (const [scheme, header] of [[causeflow(), 'x-webhook-signature'], [github(), 'x-hub-signature-256']] as const) {
    const digits = hex('secret', body)
    t.equal(refusal(scheme, { [header]: `sha256=${digits}` }), null)
    t.equal(refusal(scheme, {}), 'AUTH_SIGNATURE_MISSING absent')
    const bent: Record<string, unknown> = {
      empty: '',
      'joined duplicates': `sha256=${digits}, sha256=${digits}`,
      'a list': [`sha256=${digits}`, `sha256=${digits}`],
      'upper case': `sha256=${digits.toUpperCase()}`,
      '63 digits': `sha256=${digits.slice(1)}`,
      '65 digits': `sha256=${digits}0`,
      'junk after': `sha256=${digits}zz`,
      'a line end after': `sha256=${digits}\n`,
      'no prefix': digits,
      'sha1=': `sha1=${digits}`,
      'SHA256=': `SHA256=${digits}`,
      'space before': ` sha256=${digits}`,
      'space after': `sha256=${digits} `,
      'space inside': `sha256= ${digits}`,
      'not hex': `sha256=${'g'.repeat(64)}`,
      'full-width digits': `sha256=${digits.slice(1)}\uff10`,
      '1 kB': `sha256=${digits}${'0'.repeat(1000)}`,
      '1 MB': 'sha256='.repeat(150_000)
    }
    t.equal(scheme.read({ [header]: [`sha256=${digits}`] }), null, 'a list that node:http would not make')
    for (const [name, value] of Object.entries(bent)) t.equal(refusal(scheme, { [header]: value as string }), invalidForm, `${scheme.name}: ${name}`)
  }
})

t.test('causeflow: bare digits are accepted where that is set, and nothing else is then', async (t) => {
  const digits = hex('secret', body)
  const scheme = causeflow({ bareHex: true, header: 'X-CauseFlow-Signature' })
  t.strictSame(scheme.headers, ['x-causeflow-signature'])
  t.equal(refusal(scheme, { 'x-causeflow-signature': digits }), null)
  t.equal(refusal(scheme, { 'x-causeflow-signature': `sha256=${digits}` }), null)
  t.equal(refusal(scheme, { 'x-webhook-signature': `sha256=${digits}` }), 'AUTH_SIGNATURE_MISSING absent')
  for (const value of [digits.toUpperCase(), `${digits}0`, `=${digits}`, `sha256=sha256=${digits}`, `SHA256=${digits}`, `0000000${digits}`]) {
    t.equal(refusal(scheme, { 'x-causeflow-signature': value }), invalidForm, value)
  }
})

t.test('causeflow: the key is the secret\'s whole text, whsec_ included', async (t) => {
  t.equal(refusal(causeflow(), { 'x-webhook-signature': `sha256=${hex('whsec_abc', body)}` }, 'whsec_abc'), null)
  t.equal(refusal(causeflow(), { 'x-webhook-signature': `sha256=${hex('abc', body)}` }, 'whsec_abc'), wrongDigest)
})

t.test('threat 27: causeflow with a timestamp field refuses a body whose time is absent, unreadable or outside the tolerance, on either side', async (t) => {
  const scheme = causeflow({ timestampField: 'timestamp', tolerance: 60 })
  const answer = (content: string): string | null => {
    try {
      verifyWebhook(content, signWebhook(content, 'secret', scheme), 'secret', scheme, { clock })
      return null
    } catch (error) {
      return `${(error as { code: string }).code} ${(error as { reason: string }).reason}`
    }
  }
  const at = (seconds: number): string => new Date((time + seconds) * 1000).toISOString()
  for (const timestamp of [at(0), at(60), at(-60), time, time + 60, time - 60, '2021-02-25T16:02:10.5+01:00']) {
    t.equal(answer(JSON.stringify({ timestamp })), null, String(timestamp))
  }
  for (const timestamp of [at(61), at(-61), time + 60.1, time - 61, time * 1000]) t.equal(answer(JSON.stringify({ timestamp })), stale, String(timestamp))
  for (const content of ['{}', '[]', 'null', '5', 'x', '{"timestamp":null}', '{"timestamp":true}', '{"timestamp":"now"}', '{"timestamp":"2021"}', '{"timestamp":"2021-02-25T15:02:10"}',
    '{"timestamp":"2021-02-31T99:02:10Z"}', `{"timestamp":"${time}"}`, '{"timestamp":{"$date":1}}', `{"__proto__":{"timestamp":${time}}}`, `{"data":{"timestamp":${time}}}`]) {
    t.equal(answer(content), 'AUTH_SIGNATURE_STALE timestamp', content)
  }
  t.equal(answer('{"timestamp":1e999}'), stale)
})

t.test('causeflow: the time in a body is not read before its signature is right', async (t) => {
  const scheme = causeflow({ timestampField: 'timestamp' })
  t.equal(refusal(scheme, { 'x-webhook-signature': `sha256=${hex('other', body)}` }), wrongDigest)
  t.equal(refusal(scheme, { 'x-webhook-signature': `sha256=${hex('secret', body)}` }), 'AUTH_SIGNATURE_STALE timestamp')
})

t.test('threat 27: timestamped schemes are timely up to the tolerance, and one second past it they are not, before and after', async (t) => {
  for (const scheme of [standardWebhooks(), slack(), stripe()]) {
    const secret = 'c2VjcmV0c2VjcmV0'
    const headers = signWebhook(body, secret, scheme, { timestamp: time })
    for (const [seconds, expected] of [[0, null], [300, null], [-300, null], [301, stale], [-301, stale], [1e9, stale]] as const) {
      t.equal(refusal(scheme, headers, secret, () => (time + seconds) * 1000), expected, `${scheme.name} ${seconds}`)
    }
  }
  for (const scheme of [standardWebhooks({ tolerance: 10 }), slack({ tolerance: 10 }), stripe({ tolerance: 10 })]) {
    const headers = signWebhook(body, 'AAAA', scheme, { timestamp: time })
    t.equal(refusal(scheme, headers, 'AAAA', () => (time + 10) * 1000), null)
    t.equal(refusal(scheme, headers, 'AAAA', () => (time + 11) * 1000), stale)
  }
})

t.test('threat 27: the time that is judged is among the signed bytes, in the very characters received', async (t) => {
  const secret = 'c2VjcmV0c2VjcmV0'
  const later = (): number => (time + 10_000) * 1000
  const standard = signWebhook(body, secret, standardWebhooks(), { timestamp: time })
  t.equal(refusal(standardWebhooks(), { ...standard, 'webhook-timestamp': String(time + 10_000) }, secret, later), wrongDigest)
  t.equal(refusal(standardWebhooks(), { ...standard, 'webhook-timestamp': `0${time}` }, secret), wrongDigest)
  const fromSlack = signWebhook(body, secret, slack(), { timestamp: time })
  t.equal(refusal(slack(), { ...fromSlack, 'x-slack-request-timestamp': String(time + 10_000) }, secret, later), wrongDigest)
  const fromStripe = signWebhook(body, secret, stripe(), { timestamp: time })['stripe-signature']!
  t.equal(refusal(stripe(), { 'stripe-signature': fromStripe.replace(String(time), String(time + 10_000)) }, secret, later), wrongDigest)
})

t.test('threat 22: a timestamp of any form but digits, missing or doubled, is refused', async (t) => {
  const secret = 'c2VjcmV0c2VjcmV0'
  for (const [scheme, header] of [[standardWebhooks(), 'webhook-timestamp'], [slack(), 'x-slack-request-timestamp']] as const) {
    const headers = signWebhook(body, secret, scheme, { timestamp: time })
    for (const value of [undefined, '', ' ', `${time}.0`, `+${time}`, `-${time}`, ` ${time}`, `${time}, ${time}`, '1e9', '0x60', 'NaN', 'Infinity', '1'.repeat(13)]) {
      t.equal(refusal(scheme, { ...headers, [header]: value }, secret), invalidForm, `${scheme.name}: ${value}`)
    }
  }
})

t.test('standard webhooks: both header families are read, never mixed', async (t) => {
  const secret = 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw'
  const headers = signWebhook(body, secret, standardWebhooks(), { id: 'msg_1', timestamp: time })
  const svix = { 'svix-id': headers['webhook-id']!, 'svix-timestamp': headers['webhook-timestamp']!, 'svix-signature': headers['webhook-signature']! }
  t.equal(refusal(standardWebhooks(), svix, secret), null)
  t.equal(refusal(standardWebhooks(), { ...svix, ...headers }, secret), null)
  t.equal(refusal(standardWebhooks(), { 'webhook-signature': headers['webhook-signature'], 'svix-id': 'msg_1', 'svix-timestamp': String(time) }, secret), invalidForm)
  t.equal(refusal(standardWebhooks(), { ...svix, 'webhook-signature': 'v1,x' }, secret), invalidForm)
})

t.test('standard webhooks: any v1 of the list may match, what cannot match is ignored, and two headers are rejected', async (t) => {
  const secret = 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw'
  const headers = signWebhook(body, secret, standardWebhooks(), { id: 'msg_1', timestamp: time })
  const right = headers['webhook-signature']!
  const wrong = `v1,${Buffer.alloc(32, 1).toString('base64')}`
  const asymmetric = `v1a,${Buffer.alloc(64, 1).toString('base64')}`
  const answer = (list: string): string | null => refusal(standardWebhooks(), { ...headers, 'webhook-signature': list }, secret)
  for (const list of [`${wrong} ${right}`, `${right} ${wrong}`, `${asymmetric} ${right}`, `${wrong} ${asymmetric} ${right}`]) t.equal(answer(list), null, list)
  for (const other of ['v1,AAAA', 'v1,', 'v1', 'x', '', 'v99,AA==', `v1,${hex('x', body)}`, 'v1,é', right.replace('v1', 'V1')]) {
    for (const list of [`${other} ${right}`, `${right} ${other}`]) t.equal(answer(list), null, list)
    t.equal(answer(`${other} ${wrong}`), wrongDigest)
  }
  t.equal(answer(wrong), wrongDigest)
  const unpadded = right.slice(0, -1)
  const spare = unpadded.slice(0, -1) + String.fromCharCode(unpadded.charCodeAt(42 + 3) + 1) + '='
  for (const list of ['', ' ', asymmetric, right.replace('v1', 'v2'), right.replace('v1', 'v1a'), right.slice(3), `${right},${right}`, `${right}, ${right}`, `${right}, ${wrong}`, unpadded, spare, `${right}=`, right.replace('v1', 'V1'),
    `v1,${Buffer.alloc(16).toString('base64')}`, `v1,${Buffer.alloc(31).toString('base64')}`, `v1,${hex('x', body)}`, Array(30).fill(right).join(' ')]) {
    t.equal(answer(list), invalidForm, list)
  }
})

t.test('standard webhooks: an id with a full stop, which would make two deliveries one, is refused', async (t) => {
  // The bytes of this delivery are also those of the id "msg" at the time 1614265330 with a body that begins with it.
  const key = Buffer.alloc(24, 7)
  const signature = createHmac('sha256', key).update(`msg.${time}.${time}.${body}`).digest('base64')
  const presented = (id: string): IncomingHttpHeaders => ({ 'webhook-id': id, 'webhook-timestamp': String(time), 'webhook-signature': `v1,${signature}` })
  t.equal(refusal(standardWebhooks(), presented(`msg.${time}`), key), invalidForm)
  for (const id of ['', ' ', 'a b', 'a, b', 'é', 'a'.repeat(257)]) t.equal(refusal(standardWebhooks(), presented(id), key), invalidForm, id)
  t.throws(() => signWebhook(body, key, standardWebhooks(), { id: 'a.b' }), { code: 'AUTH_CONFIG_OPTION' })
})

t.test('standard webhooks: a secret is base64 with or without whsec_, bytes are the key itself, and other texts are refused', async (t) => {
  const key = Buffer.alloc(24, 0xfb)
  const headers = signWebhook(body, key, standardWebhooks(), { timestamp: time })
  for (const secret of [key, new Uint8Array(key), key.toString('base64'), `whsec_${key.toString('base64')}`]) t.equal(refusal(standardWebhooks(), headers, secret), null)
  for (const secret of ['whsec_', 'whsec_not base64', 'whsec_a', 'secret!', `${key.toString('base64url')}`]) {
    t.throws(() => verifyWebhook(body, headers, secret, standardWebhooks(), { clock }), { code: 'AUTH_CONFIG_OPTION' }, secret)
    try {
      signWebhook(body, secret, standardWebhooks())
      t.fail(secret)
    } catch (error) {
      t.equal((error as { code: string }).code, 'AUTH_CONFIG_OPTION')
      t.notMatch((error as Error).message, secret === 'whsec_' ? 'nothing' : secret)
    }
  }
})

t.test('slack: the body of another signature version, or the sha256= form, is refused', async (t) => {
  const headers = signWebhook(body, 'secret', slack(), { timestamp: time })
  const right = headers['x-slack-signature']!
  t.equal(refusal(slack(), headers), null)
  for (const value of ['', right.slice(3), right.replace('v0', 'v1'), right.replace('v0', 'V0'), right.toUpperCase(), `${right}0`, `${right}, ${right}`, ` ${right}`]) {
    t.equal(refusal(slack(), { ...headers, 'x-slack-signature': value }), invalidForm, value)
  }
})

t.test('stripe: the documented header is read, any v1 may match, and other versions never do', async (t) => {
  t.strictSame(stripe().read({ 'stripe-signature': 't=1492774577,v1=5257a869e7ecebeda32affa62cdca3fa51cad7e77a0e56ff536d0ce8e108d8bd,v0=6ffbb59b2300aae63f272406069a9788598b792a944a07aba816edb039989a39' }), {
    prefix: '1492774577.',
    digests: [Buffer.from('5257a869e7ecebeda32affa62cdca3fa51cad7e77a0e56ff536d0ce8e108d8bd', 'hex')],
    timestamp: 1_492_774_577,
    deliveryId: null
  })
  const digits = hex('secret', `${time}.${body}`)
  const wrong = '0'.repeat(64)
  const answer = (value: string): string | null => refusal(stripe(), { 'stripe-signature': value })
  for (const value of [`t=${time},v1=${digits}`, `t=${time},v1=${wrong},v1=${digits}`, `t=${time},v1=${digits},v1=${wrong}`, `t=${time},v0=${wrong},v1=${digits}`, `t=${time},v1=${digits},v0=${wrong},v2=abc`, `v1=${digits},t=${time}`, `t=${time},v1=abc,v1=${digits}`, `t=${time},v1=${digits.toUpperCase()},x,v1=${digits},`]) {
    t.equal(answer(value), null, value)
  }
  t.equal(answer(`t=${time},v0=${digits},v1=${wrong}`), wrongDigest)
  for (const value of ['', `t=${time}`, `v1=${digits}`, `t=${time},v0=${digits}`, `t=${time},t=${time},v1=${digits}`, `t=${time},v1=${digits},t=1`, `t=${time}, v1=${digits}`,
    `t=${time},v1=${digits.toUpperCase()}`, `t=${time},v1=${digits}0`, `t=,v1=${digits}`, `t=${time},v1=${digits}, t=${time},v1=${digits}`, `t=${time},${Array(20).fill(`v1=${digits}`).join(',')}`]) {
    t.equal(answer(value), invalidForm, value)
  }
})

t.test('sentry: bare digits, and only those', async (t) => {
  const digits = hex('secret', body)
  t.equal(refusal(sentry(), { 'sentry-hook-signature': digits }), null)
  t.strictSame(signWebhook(body, 'secret', sentry(), { id: 'r', timestamp: time }), { 'sentry-hook-signature': digits, 'sentry-hook-timestamp': String(time), 'request-id': 'r' })
  for (const value of ['', `sha256=${digits}`, digits.toUpperCase(), digits.slice(1), `${digits}0`, `${digits}, ${digits}`]) {
    t.equal(refusal(sentry(), { 'sentry-hook-signature': value }), invalidForm, value)
  }
})

t.test('an id that is not signed is not reported', async (t) => {
  t.equal(verifyWebhook(body, { ...signWebhook(body, 'secret', github(), { id: 'any' }), 'x-github-delivery': 'another' }, 'secret', github()).deliveryId, null)
})

t.test('a pattern takes no time that grows out of hand with what it refuses', async (t) => {
  const started = process.hrtime.bigint()
  for (let round = 0; round < 200; round++) {
    refusal(stripe(), { 'stripe-signature': `t=1,${'v2=a,'.repeat(190)}x` })
    refusal(standardWebhooks(), { 'webhook-id': 'a', 'webhook-timestamp': '1', 'webhook-signature': `${'v2,a '.repeat(190)}!` }, 'AAAA')
  }
  t.ok(process.hrtime.bigint() - started < 2_000_000_000n)
})

t.test('an unknown or ill-formed option of a scheme is refused when the scheme is made', async (t) => {
  const option = { code: 'AUTH_CONFIG_OPTION' }
  t.throws(() => causeflow({ bearHex: true } as never), { ...option, message: 'causeflow() has no option bearHex: it knows header, bareHex, timestampField, tolerance' })
  t.throws(() => causeflow({ header: 'not a header' }), option)
  t.throws(() => causeflow({ bareHex: 'yes' } as never), option)
  t.throws(() => causeflow({ timestampField: '' }), option)
  t.throws(() => causeflow({ tolerance: 5 }), { ...option, message: 'causeflow({ tolerance }) needs timestampField: nothing else says when a delivery was made' })
  t.throws(() => causeflow(null as never), option)
  for (const tolerance of [0, -1, NaN, Infinity, '300']) {
    for (const scheme of [standardWebhooks, slack, stripe]) t.throws(() => scheme({ tolerance } as never), option)
  }
  t.throws(() => slack({ constructor: 1 } as never), option)
  for (const options of [5, true, 'tolerance', () => {}, []] as never[]) t.throws(() => slack(options), { ...option, message: 'slack() takes an object of options' })
  for (const header of [5, null, ['x-signature'], true] as never[]) t.throws(() => causeflow({ header }), option, 'a header is named by a text')
  for (const timestampField of [5, null, ['timestamp'], true] as never[]) t.throws(() => causeflow({ timestampField }), option, 'and so is a field')
})

t.test('what is wrong with an option is said with the name of the scheme that has it', async (t) => {
  for (const [name, scheme] of Object.entries({ causeflow, standardWebhooks, slack, stripe })) {
    t.throws(() => scheme({ tolerence: 5 } as never), { code: 'AUTH_CONFIG_OPTION', message: new RegExp(`^${name}\\(\\) `) })
  }
})

t.test('whoever gives an option of another form is told which form it has', async (t) => {
  const said = (message: RegExp): { code: string, message: RegExp } => ({ code: 'AUTH_CONFIG_OPTION', message })
  t.throws(() => slack({ tolerance: '5' } as never), said(/slack\(\{ tolerance \}\).* seconds\b/))
  t.throws(() => causeflow({ bareHex: 1 } as never), said(/causeflow\(\{ bareHex \}\).* true or false/))
  t.throws(() => causeflow({ header: 'two words' }), said(/causeflow\(\{ header \}\).* name of a header/))
  t.throws(() => causeflow({ timestampField: '' }), said(/causeflow\(\{ timestampField \}\).* field of the body/))
})

t.test('rejects an option that is undefined', async (t) => {
  const undefinedOption = { tolerance: undefined } as never
  for (const scheme of [causeflow, standardWebhooks, slack, stripe]) t.throws(() => scheme(undefinedOption), { code: 'AUTH_CONFIG_OPTION', message: /\({ tolerance }\) is undefined: is its name mistyped/ })
  for (const name of ['header', 'bareHex', 'timestampField']) t.throws(() => causeflow({ [name]: undefined }), { code: 'AUTH_CONFIG_OPTION' })
})

t.test('each scheme has a name of its own, which keeps its deliveries apart from another\'s', async (t) => {
  for (const [name, scheme] of Object.entries(schemes)) t.equal(scheme.name, name)
})

t.test('a scheme reads null where one of its headers is missing or ill-formed, and does not throw', async (t) => {
  for (const scheme of Object.values(schemes)) {
    const headers = signWebhook(body, 'AAAA', scheme, { id: 'msg_1', timestamp: time })
    t.not(scheme.read(headers), null, scheme.name)
    t.equal(scheme.read({}), null, scheme.name)
  }
  for (const [scheme, needed] of [
    [standardWebhooks(), ['webhook-id', 'webhook-timestamp', 'webhook-signature']],
    [slack(), ['x-slack-signature', 'x-slack-request-timestamp']]
  ] as const) {
    const headers = signWebhook(body, 'AAAA', scheme, { id: 'msg_1', timestamp: time })
    for (const name of needed) for (const value of [undefined, '']) t.equal(scheme.read({ ...headers, [name]: value }), null, `${name} ${value}`)
  }
})

t.test('standard webhooks and stripe: signatures of a version with two digits are passed over, before and after the one that counts', async (t) => {
  const headers = signWebhook(body, 'AAAA', standardWebhooks(), { id: 'msg_1', timestamp: time })
  const right = headers['webhook-signature']!
  for (const other of ['v2,YQ==', 'v10,YQ==', 'v2a,YQ==', 'v10a,YQ==']) {
    for (const list of [`${other} ${right}`, `${right} ${other}`]) t.equal(refusal(standardWebhooks(), { ...headers, 'webhook-signature': list }, 'AAAA'), null, list)
  }
  const digits = hex('secret', `${time}.${body}`)
  for (const value of [`t=${time},v10=abc,v1=${digits}`, `t=${time},v1=${digits},v10=abc`]) t.equal(refusal(stripe(), { 'stripe-signature': value }), null, value)
})

t.test('standard webhooks: an id of up to 256 characters is signed and read, and a longer one refused before it is sent', async (t) => {
  const [longest, longer] = ['a'.repeat(256), 'a'.repeat(257)]
  const headers = signWebhook(body, 'AAAA', standardWebhooks(), { id: longest, timestamp: time })
  t.equal(verifyWebhook(body, headers, 'AAAA', standardWebhooks(), { clock }).deliveryId, longest)
  t.throws(() => signWebhook(body, 'AAAA', standardWebhooks(), { id: longer, timestamp: time }), { code: 'AUTH_CONFIG_OPTION' })
})

t.test('standard webhooks: a secret of any length is read, with or without = at its end, and one with a digit too few or too many is refused', async (t) => {
  for (let length = 1; length <= 40; length++) {
    const key = Buffer.alloc(length, 0xfb)
    const headers = signWebhook(body, key, standardWebhooks(), { timestamp: time })
    const padded = key.toString('base64')
    const unpadded = padded.replace(/=+$/, '')
    for (const secret of [padded, unpadded, `whsec_${padded}`, `whsec_${unpadded}`]) t.equal(refusal(standardWebhooks(), headers, secret), null, secret)
  }
  for (const secret of ['AAAAA', 'AAAAA=', 'AAAAA==', 'AAAAA===', 'AAAAAA=', 'AAAAAA===', 'AAAAAAA==', 'AAAA=', '=AAAA', 'AA==AAAA']) {
    t.throws(() => signWebhook(body, secret, standardWebhooks()), { code: 'AUTH_CONFIG_OPTION', message: /base64/ }, secret)
  }
})

t.test('causeflow: a body that is no object has no time, and neither has a field that is no number and no ISO time from end to end', async (t) => {
  const timeOf = (content: string, timestampField: string): unknown => causeflow({ timestampField }).timestampOf!(Buffer.from(content))
  t.equal(timeOf(`{"timestamp":${time}}`, 'timestamp'), time)
  for (const content of ['', '{', 'null', '5', 'true', '"text"']) {
    t.equal(timeOf(content, 'timestamp'), null, content)
    t.equal(timeOf(content, 'length'), null, `${content} has a length, which is no time`)
  }
  const iso = '2021-02-25T15:02:10Z'
  t.equal(timeOf(`{"timestamp":"${iso}"}`, 'timestamp'), time)
  // What Date.parse takes: a year of six digits, and anything behind a NUL.
  for (const text of [`+00${iso}`, `${iso}\0`, `${iso}\0 or so`]) {
    t.equal(Date.parse(text), time * 1000, JSON.stringify(text))
    t.equal(timeOf(JSON.stringify({ timestamp: text }), 'timestamp'), null, JSON.stringify(text))
  }
  for (const value of [[iso], [[iso]], { 0: iso }, null, true]) t.equal(timeOf(JSON.stringify({ timestamp: value }), 'timestamp'), null, JSON.stringify(value))
  t.equal(timeOf('{}', 'constructor'), null)
})
