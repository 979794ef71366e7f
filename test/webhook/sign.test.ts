import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import fc from 'fast-check'
import t from 'tap'
import { causeflow } from '../../lib/webhook/schemes/causeflow.js'
import { github } from '../../lib/webhook/schemes/github.js'
import { sentry } from '../../lib/webhook/schemes/sentry.js'
import { slack } from '../../lib/webhook/schemes/slack.js'
import { standardWebhooks } from '../../lib/webhook/schemes/standard-webhooks.js'
import { stripe } from '../../lib/webhook/schemes/stripe.js'
import { signWebhook, verifyWebhook } from '../../lib/webhook/sign.js'
import type { SignatureScheme } from '../../lib/webhook/signature.js'

// Fewer runs, for whoever asks many times: npm run test:mutation.
const { FC_RUNS } = process.env
const schemes = [causeflow(), standardWebhooks(), github(), slack(), stripe(), sentry()]
const time = 1_614_265_330
const clock = (): number => time * 1000

function accepts (body: Uint8Array, headers: Record<string, string>, secret: Uint8Array, scheme: SignatureScheme): boolean {
  try {
    verifyWebhook(body, headers, secret, scheme, { clock })
    return true
  } catch (error) {
    if ((error as { code: string }).code !== 'AUTH_SIGNATURE_INVALID') throw error
    return false
  }
}

const bytes = fc.uint8Array({ minLength: 1, maxLength: 300 })

t.test('whatever is signed is accepted, and with any one bit of body or secret changed it is refused', async () => {
  for (const scheme of schemes) {
    fc.assert(fc.property(bytes, bytes, fc.nat(), (body, secret, at) => {
      const headers = signWebhook(body, secret, scheme, { timestamp: time })
      if (!accepts(body, headers, secret, scheme)) return false
      const otherBody = flipped(body, at)
      const otherSecret = flipped(secret, at)
      // RFC 2104 pads a short key with zeros, so a key and the same with zeros behind are one key: lengths are kept here.
      return !accepts(otherBody, headers, secret, scheme) && !accepts(body, headers, otherSecret, scheme)
    }), { numRuns: Number(FC_RUNS ?? 300) })
  }
})

t.test('every one-bit change of a signature is refused', async (t) => {
  const body = Buffer.from('body')
  const secret = Buffer.from('secret')
  for (const [scheme, encoding] of [[causeflow(), 'hex'], [standardWebhooks(), 'base64']] as const) {
    const headers = signWebhook(body, secret, scheme, { timestamp: time })
    const name = scheme.headers[0]!
    const [, prefix, text] = /^(sha256=|v1,)(.+)$/.exec(headers[name]!)!
    const digest = Buffer.from(text!, encoding)
    t.equal(digest.length, 32)
    let accepted = 0
    for (let bit = 0; bit < 256; bit++) if (accepts(body, { ...headers, [name]: prefix + Buffer.from(flipped(digest, bit)).toString(encoding) }, secret, scheme)) accepted++
    t.equal(accepted, 0)
  }
})

t.test('no text beside the right one is accepted as a signature', async () => {
  const body = Buffer.from('body')
  const secret = Buffer.from('secret')
  const right = signWebhook(body, secret)['x-webhook-signature']!
  fc.assert(fc.property(fc.oneof(fc.string(), fc.nat(70).map((at) => right.slice(0, at)), fc.string().map((text) => right + text)), (text) =>
    text === right || !accepts(body, { 'x-webhook-signature': text }, secret, causeflow())), { numRuns: Number(FC_RUNS ?? 2000) })
})

function flipped (bytes: Uint8Array, at: number): Uint8Array {
  const other = Uint8Array.from(bytes)
  const bit = at % (bytes.length * 8)
  other[bit >> 3]! ^= 1 << (bit & 7)
  return other
}

t.test('without options the scheme is causeflow, the time is now and each delivery has an id of its own', async (t) => {
  t.strictSame(Object.keys(signWebhook('body', 'secret')), ['x-webhook-signature'])
  const now = Math.floor(Date.now() / 1000)
  const [one, two] = [signWebhook('body', 'AAAA', standardWebhooks()), signWebhook('body', 'AAAA', standardWebhooks())]
  t.match(one['webhook-id'], /^msg_[0-9a-f-]{36}$/)
  t.not(one['webhook-id'], two['webhook-id'])
  t.ok(Math.abs(Number(one['webhook-timestamp']) - now) <= 2)
  t.equal(verifyWebhook('body', one, 'AAAA', standardWebhooks()).deliveryId, one['webhook-id'])
})

t.test('an empty body and a time that is not whole seconds are refused', async (t) => {
  for (const body of ['', Buffer.alloc(0)]) t.throws(() => signWebhook(body, 'secret'), { code: 'AUTH_CONFIG_OPTION' })
  for (const body of [{ alert: 1 }, undefined, null, 5] as never[]) t.throws(() => signWebhook(body, 'secret'), { code: 'AUTH_CONFIG_OPTION', message: /Serialise the body once/ })
  t.equal(signWebhook('body', 'secret', slack(), { timestamp: 0 })['x-slack-request-timestamp'], '0', 'the epoch itself is a time')
  for (const timestamp of [1.5, NaN, -1, Infinity, '1' as never]) t.throws(() => signWebhook('body', 'secret', slack(), { timestamp }), { code: 'AUTH_CONFIG_OPTION' })
})

t.test('verifyWebhook takes headers as fetch, node:http and plain objects have them, and any kind of bytes', async (t) => {
  const headers = signWebhook('body', 'secret')
  const signature = headers['x-webhook-signature']!
  const backing = Buffer.from('..body..')
  for (const body of ['body', Buffer.from('body'), new Uint8Array(Buffer.from('body')), backing.subarray(2, 6)]) {
    for (const source of [headers, new Headers(headers), { 'X-Webhook-Signature': signature }, { 'x-webhook-signature': [signature], other: undefined }]) {
      t.equal(verifyWebhook(body, source, ['old', 'secret'], undefined, { name: 'mine' }).source, 'mine')
    }
  }
  for (const source of [{ 'X-Webhook-Signature': signature, 'x-webhook-signature': signature }, { 'x-webhook-signature': [signature, signature] }, new Headers([['x-webhook-signature', signature], ['x-webhook-signature', signature]])]) {
    t.throws(() => verifyWebhook('body', source, 'secret'), { code: 'AUTH_SIGNATURE_INVALID' })
  }
  t.throws(() => verifyWebhook('body', {}, 'secret'), { code: 'AUTH_SIGNATURE_MISSING' })
  t.throws(() => verifyWebhook('', headers, 'secret'), { code: 'AUTH_SIGNATURE_INVALID' })
  t.throws(() => verifyWebhook('body', headers, ''), { code: 'AUTH_CONFIG_OPTION' })
  for (const body of [{ alert: 1 }, undefined, null, 5] as never[]) t.throws(() => verifyWebhook(body, headers, 'secret'), { code: 'AUTH_CONFIG_OPTION', message: /before it is parsed/ })
})

t.test('a signature that is there in pieces is put together by nobody', async (t) => {
  const [prefix, digits] = signWebhook('body', 'secret')['x-webhook-signature']!.split(/(?<==)/) as [string, string]
  for (const source of [{ 'x-webhook-signature': [prefix, digits] }, { 'X-Webhook-Signature': prefix, 'x-webhook-signature': digits }]) {
    t.throws(() => verifyWebhook('body', source, 'secret'), { code: 'AUTH_SIGNATURE_INVALID' })
  }
})

t.test('a scheme of one\'s own sees headers as it would in a route: names in lower case, duplicates joined', async (t) => {
  let seen: object = {}
  const scheme: SignatureScheme = { ...causeflow(), read (headers) { seen = headers; return causeflow().read(headers) } }
  const headers = { ...signWebhook('body', 'secret'), 'X-Mine': 'one', 'x-mine': 'two', 'x-Mine': ['three', 'four'], 'x-absent': undefined }
  t.equal(verifyWebhook('body', headers, 'secret', scheme).scheme, 'webhook')
  t.strictSame({ ...seen }, { ...signWebhook('body', 'secret'), 'x-mine': 'one, two, three, four' })
})

const awkward = ['{"event":"incident.created"}', 'é€😀', '\ufeff{"a":1}\r\n', '%s %d \\n $HOME `x` "q" \'q\'']

t.test('openssl gives the signature that the documentation shows', { skip: works('openssl', ['version']) ? false : 'openssl is not installed: this check did not run' }, async (t) => {
  for (const body of awkward) {
    const { stdout } = spawnSync('sh', ['-c', 'printf %s "$BODY" | openssl dgst -sha256 -hmac "$SECRET"'], { env: { ...process.env, BODY: body, SECRET: 'whsec_é your secret' }, encoding: 'utf8' })
    t.equal(`sha256=${/[0-9a-f]{64}/.exec(stdout)?.[0]}`, signWebhook(body, 'whsec_é your secret')['x-webhook-signature'], body)
  }
})

t.test('python3 gives the same signatures, and accepts ours', { skip: works('python3', ['-c', 'import hmac']) ? false : 'python3 is not installed: this check did not run' }, async (t) => {
  const program = `
import base64, hashlib, hmac, json, sys
answers = []
for case in json.load(sys.stdin):
    key, body = bytes.fromhex(case["key"]), bytes.fromhex(case["body"])
    mac = hmac.new(key, case["prefix"].encode() + body, hashlib.sha256)
    answers.append([mac.hexdigest(), base64.b64encode(mac.digest()).decode()])
print(json.dumps(answers))`
  const cases = awkward.flatMap((body) => ['', `msg_1.${time}.`, `v0:${time}:`, `${time}.`].map((prefix) => ({ prefix, body: Buffer.from(body).toString('hex'), key: Buffer.alloc(90, body).toString('hex') })))
  const { stdout, stderr } = spawnSync('python3', ['-c', program], { input: JSON.stringify(cases), encoding: 'utf8' })
  t.equal(stderr, '')
  const answers: Array<[string, string]> = JSON.parse(stdout)
  for (const [at, { prefix, body, key }] of cases.entries()) {
    const [bytes, secret] = [Buffer.from(body, 'hex'), Buffer.from(key, 'hex')]
    const options = { id: 'msg_1', timestamp: time }
    const [hex, base64] = answers[at]!
    if (prefix === '') t.equal(signWebhook(bytes, secret, sentry(), options)['sentry-hook-signature'], hex)
    else if (prefix.startsWith('v0')) t.equal(signWebhook(bytes, secret, slack(), options)['x-slack-signature'], `v0=${hex}`)
    else if (prefix.startsWith('msg')) t.equal(signWebhook(bytes, secret, standardWebhooks(), options)['webhook-signature'], `v1,${base64}`)
    else t.equal(signWebhook(bytes, secret, stripe(), options)['stripe-signature'], `t=${time},v1=${hex}`)
  }
})

t.test('the vectors of this repository hold under openssl too', { skip: works('openssl', ['version']) ? false : 'openssl is not installed: this check did not run' }, async (t) => {
  const vectors: Array<{ key: string, message: string, tag: string }> = JSON.parse(readFileSync(new URL('../fixtures/webhook-vectors.json', import.meta.url), 'utf8')).hmacSha256
  for (const { key, message, tag } of vectors) {
    const { stdout } = spawnSync('openssl', ['dgst', '-sha256', '-mac', 'HMAC', '-macopt', `hexkey:${key}`], { input: Buffer.from(message, 'hex'), encoding: 'utf8' })
    t.equal(/[0-9a-f]{64}/.exec(stdout)?.[0], tag)
  }
})

function works (command: string, args: string[]): boolean {
  return spawnSync(command, args).status === 0
}

t.test('no scheme writes a value that would begin another header', async (t) => {
  const bad = ['a\nX-Evil: 1', 'a\r\nX-Evil: 1', 'a\u0000', 'a\u007f', 'a b', 'a\u00e9', '', 'x'.repeat(257)]
  for (const scheme of schemes) {
    for (const id of bad) t.throws(() => signWebhook('x', 'c2VjcmV0', scheme, { id }), { code: 'AUTH_CONFIG_OPTION' }, `${scheme.name} ${JSON.stringify(id)}`)
    for (const timestamp of [-1, 1.5, NaN, 1e12, '1\nX-Evil: 1' as unknown as number]) {
      t.throws(() => signWebhook('x', 'c2VjcmV0', scheme, { timestamp }), { code: 'AUTH_CONFIG_OPTION' }, `${scheme.name} ${timestamp}`)
    }
  }
  for (const scheme of [github(), sentry(), standardWebhooks()]) {
    for (const id of bad) t.throws(() => scheme.sign({ id, timestamp: 1 }, () => Buffer.alloc(32)), { code: 'AUTH_CONFIG_OPTION' }, `${scheme.name} itself ${JSON.stringify(id)}`)
  }
})

t.test('what an own scheme writes is checked, names and values, and the value is not repeated', async (t) => {
  const writing = (headers: object): SignatureScheme => ({ name: 'own', headers: ['x-own'], tolerance: null, read: () => null, sign: () => headers as Record<string, string> })
  for (const headers of [{ 'x-own': 'secret\nX-Evil: 1' }, { 'x-own': 'secret\r' }, { 'x-own': ' secret' }, { 'x-own': '' }, { 'x-own': 'secr\u00e9t' }, { 'x-own': 7 }, { 'x-own\nX-Evil': '1' }, { 'x own': '1' }, { '': '1' }]) {
    t.throws(() => signWebhook('x', 'key', writing(headers)), { code: 'AUTH_CONFIG_OPTION', message: /^The scheme own writes / }, JSON.stringify(headers))
    try { signWebhook('x', 'key', writing(headers)) } catch (error) { t.notMatch((error as Error).message, /secr|Evil/) }
  }
  t.strictSame(signWebhook('x', 'key', writing({ 'x-own': 'a b\tc' })), { 'x-own': 'a b\tc' })
})
