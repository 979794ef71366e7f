import t from 'tap'
import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { signWebhook } from '../../lib/webhook/sign.js'
import { standardWebhooks } from '../../lib/webhook/schemes/standard-webhooks.js'
import { ask, invoke, now } from './fixture.js'

interface Vector { scheme: string, secret: string, body: string, signature: string, id?: string, timestamp?: number }
const vectors = (JSON.parse(readFileSync(join(import.meta.dirname, '../fixtures/vectors.json'), 'utf8')) as { webhook: Vector[] }).webhook

const body = '{"event":"incident.created"}'
const secret = 'whsec_test_secret'
const env = { CAUSEFLOW_WEBHOOK_SECRET: secret }
const signature = signWebhook(body, secret)['x-webhook-signature'] ?? ''
const header = ['--header', `X-Webhook-Signature: ${signature}`]

t.test('what is signed is what the published vectors say, and verifies', async (t) => {
  for (const { scheme, secret, body, signature, id, timestamp } of vectors) {
    const signing = ['--scheme', scheme, ...id === undefined ? [] : ['--id', id], ...timestamp === undefined ? [] : ['--timestamp', String(timestamp)]]
    const { code, out, err } = await invoke(['sign', ...signing], { stdin: body, env: { CAUSEFLOW_WEBHOOK_SECRET: secret } })
    t.strictSame([code, err], [0, ''], scheme)
    t.ok(out.split('\n').some((line) => line.endsWith(`: ${signature}`)), scheme)
    const headers = out.trim().split('\n').flatMap((line) => ['-H', line])
    const at = timestamp === undefined ? [] : ['--at', String(timestamp)]
    t.match(await ask(['verify', '--scheme', scheme, ...headers, ...at], { stdin: body, env: { CAUSEFLOW_WEBHOOK_SECRET: secret } }), { code: 0, answer: { valid: true, deliveryId: scheme === 'standard-webhooks' ? id : null } }, scheme)
  }
})

t.test('every scheme signs what it verifies, at the time that it is', async (t) => {
  // A text that is a secret of each of them: base64.
  const env = { CAUSEFLOW_WEBHOOK_SECRET: `whsec_${Buffer.alloc(24, 1).toString('base64')}` }
  for (const scheme of ['causeflow', 'standard-webhooks', 'github', 'slack', 'stripe', 'sentry']) {
    const { answer: headers } = await ask(['sign', '--scheme', scheme], { stdin: body, env })
    const given = Object.entries(headers).flatMap(([name, value]) => ['-H', `${name}: ${value}`])
    t.match(await ask(['verify', '--scheme', scheme, ...given], { stdin: body, env }), { code: 0, answer: { valid: true } }, scheme)
    t.match(await ask(['verify', '--scheme', scheme, ...given], { stdin: `${body} `, env }), { code: 1, answer: { valid: false, code: 'AUTH_SIGNATURE_INVALID' } }, scheme)
  }
})

t.test('the bytes are signed as they are: no line feed is taken off, no text is read', async (t) => {
  const bytes = Buffer.from([0xef, 0xbb, 0xbf, 0xff, 0x00, 0x0a])
  const { answer } = await ask(['sign'], { stdin: bytes, env })
  t.strictSame(answer, signWebhook(bytes, secret))
  const file = join(t.testdir({ body: bytes }), 'body')
  t.strictSame((await ask(['sign', '--body', file], { env })).answer, answer)
})

t.test('a secret comes from a variable, a file without its last line feed, stdin, or a prompt', async (t) => {
  const directory = t.testdir({ secret: `${secret}\n`, spaced: ` ${secret}\n\n`, body })
  const at = (name: string) => join(directory, name)
  const signed = (text: string) => ({ code: 0, answer: signWebhook(body, text), failure: null })
  t.strictSame(await ask(['sign', '--secret-env', 'MINE'], { stdin: body, env: { MINE: secret, CAUSEFLOW_WEBHOOK_SECRET: 'another' } }), signed(secret))
  t.strictSame(await ask(['sign', '--secret-file', at('secret')], { stdin: body }), signed(secret))
  t.strictSame(await ask(['sign', '--secret-file', at('spaced')], { stdin: body }), signed(` ${secret}\n`))
  t.strictSame(await ask(['sign', '--secret-file', '-', '--body', at('body')], { stdin: `${secret}\r\n` }), signed(secret))
  const { out, err } = await invoke(['sign', '--body', at('body'), '--json'], { typed: `${secret}\r` })
  t.strictSame([JSON.parse(out), err], [signWebhook(body, secret), 'Webhook secret (not shown): \n'])
  t.strictSame(await ask(['sign', '--hashed-secret'], { stdin: body, env }), signed(createHash('sha256').update(secret).digest('hex')))
})

t.test('no secret, an empty one and one too many are refused, and none is repeated', async (t) => {
  const directory = t.testdir({ empty: '\n', binary: Buffer.from([0xff]), body })
  for (const [args, given] of [
    [[], {}],
    [['--secret-env', 'MINE'], { MINE: '' }],
    [['--secret-env', 'MISSING'], { MINE: secret }],
    [['--secret-file', join(directory, 'empty')], {}],
    [['--secret-file', join(directory, 'binary')], {}],
    [['--secret-file', join(directory, 'none')], {}],
    [['--secret-file', '-'], {}],
    [['--secret-file', '-', '--secret-file', '-', '--body', join(directory, 'body')], {}],
    [['--secret-env', 'MINE', '--secret-env', 'MINE'], { MINE: secret }],
    [['--scheme', 'standard-webhooks', '--secret-env', 'MINE'], { MINE: 'not base64 at all!' }],
    [['--secret', 'hunter2hunter2'], {}],
    [[`--secret=${secret}`], {}]
  ] as const) {
    const ended = await invoke(['sign', ...args], { stdin: body, env: given })
    t.strictSame([ended.code, ended.out], [2, ''], args.join(' '))
    t.notMatch(ended.err, /whsec_test|not base64 at all|hunter2/, args.join(' '))
  }
})

t.test('an empty body is refused by both', async (t) => {
  t.match(await ask(['sign'], { env }), { code: 2, failure: { message: /^The body is empty/ } })
  t.match(await ask(['verify', ...header], { env }), { code: 2, failure: { message: /^The body is empty/ } })
})

t.test('a right signature is told to people in a sentence, with the delivery that it is for', async (t) => {
  t.strictSame(await invoke(['verify', ...header], { stdin: body, env }), { code: 0, out: 'The signature is right\n', err: '' })
  const key = Buffer.alloc(24, 1).toString('base64')
  const headers = signWebhook(body, key, standardWebhooks(), { id: 'msg_1', timestamp: now / 1000 - 60 })
  const given = Object.entries(headers).flatMap(([name, value]) => ['-H', `${name}: ${value}`])
  t.strictSame(await invoke(['verify', '--scheme', 'standard-webhooks', ...given], { stdin: body, env: { CAUSEFLOW_WEBHOOK_SECRET: key } }),
    { code: 0, out: 'The signature is right\n  Delivery id  msg_1\n  Signed       2026-01-31T11:59:00.000Z, 60 s ago\n', err: '' })
})

t.test('each secret of a rotation is tried', async (t) => {
  const both = ['--secret-env', 'NEW', '--secret-env', 'OLD']
  t.match(await ask(['verify', ...header, ...both], { stdin: body, env: { NEW: 'new', OLD: secret } }), { code: 0 })
  t.match(await ask(['verify', ...header, ...both], { stdin: body, env: { NEW: 'new', OLD: 'old' } }), { code: 1 })
})

t.test('a refusal names the mistake under which the delivery verifies, and refuses all the same', async (t) => {
  const under = (given: { stdin?: string | Buffer, value?: string, secret?: string, args?: string[] }) => ask(['verify', '-H', `X-Webhook-Signature: ${given.value ?? signature}`, ...given.args ?? []], { stdin: given.stdin ?? body, env: { CAUSEFLOW_WEBHOOK_SECRET: given.secret ?? secret } })
  const pretty = JSON.stringify(JSON.parse(body), null, 2)
  const lines = signWebhook('a\nb', secret)['x-webhook-signature'] ?? ''
  for (const [given, hints] of [
    [{ stdin: `${body}\n` }, [/without the line feed at the end/]],
    [{ stdin: `${body}\r\n` }, [/without the line feed at the end/]],
    [{ value: signWebhook(`${body}\n`, secret)['x-webhook-signature'] ?? '' }, [/with a line feed more/]],
    [{ stdin: pretty }, [/as compact JSON/]],
    [{ stdin: 'a\r\nb', value: lines }, [/other line ends/]],
    [{ secret: `${secret}\n` }, [/after taking white space off/]],
    [{ value: signWebhook(body, createHash('sha256').update(secret).digest('hex'))['x-webhook-signature'] ?? '' }, [/--hashed-secret/]],
    [{ value: signWebhook(body, Buffer.from(secret.slice(6), 'base64'))['x-webhook-signature'] ?? '' }, [/bytes behind whsec_/]],
    [{ value: signature.slice(7) }, [/--bare-hex/]],
    [{ secret: 'another' }, [/^Another secret, or other bytes/]],
    [{ value: 'sha256=00' }, [/another form/]]
  ] as const) {
    t.match(await under(given), { code: 1, answer: { valid: false, deliveryId: null, code: 'AUTH_SIGNATURE_INVALID', hints } }, String(hints[0]))
    t.equal((await under(given)).answer.hints.length, 1, String(hints[0]))
  }
  t.match(await under({ value: signature.slice(7), args: ['--bare-hex'] }), { code: 0 })
})

t.test('headers of another scheme are recognised, and missing ones are named', async (t) => {
  t.match(await ask(['verify', '-H', `X-Hub-Signature-256: ${signature}`], { stdin: body, env }), { code: 1, answer: { code: 'AUTH_SIGNATURE_MISSING', hints: ['The headers are those of --scheme github'] } })
  t.match(await ask(['verify'], { stdin: body, env }), { code: 1, answer: { code: 'AUTH_SIGNATURE_MISSING', hints: [/x-webhook-signature/] } })
})

t.test('a doubled header is refused, as a route refuses it', async (t) => {
  t.match(await ask(['verify', ...header, ...header], { stdin: body, env }), { code: 1, answer: { code: 'AUTH_SIGNATURE_INVALID', reason: 'form' } })
})

t.test('headers come from a file with a request line, too; another line is refused', async (t) => {
  const directory = t.testdir({ good: `POST /events HTTP/1.1\r\nHost: example.com\r\nX-Webhook-Signature: ${signature}\r\n\r\n`, bad: 'no header\n' })
  t.match(await ask(['verify', '--headers-file', join(directory, 'good')], { stdin: body, env }), { code: 0 })
  t.match(await ask(['verify', '--headers-file', join(directory, 'bad')], { stdin: body, env }), { code: 2, failure: { message: /^A header is a name/ } })
})

t.test('a signed time is judged by the clock, by --at and by --tolerance', async (t) => {
  const { answer: headers } = await ask(['sign', '--scheme', 'stripe', '--timestamp', '2026-01-31T11:00:00Z'], { stdin: body, env })
  const verify = ['verify', '--scheme', 'stripe', '-H', `Stripe-Signature: ${headers['stripe-signature']}`]
  t.match(await ask(verify, { stdin: body, env }), { code: 1, answer: { code: 'AUTH_SIGNATURE_STALE', hints: [/--at/] } })
  t.match(await ask([...verify, '--at', '2026-01-31T11:05:00Z'], { stdin: body, env }), { code: 0, answer: { timestamp: now / 1000 - 3600 } })
  t.match(await ask([...verify, '--at', '2026-01-31T11:05:01Z'], { stdin: body, env }), { code: 1 })
  t.match(await ask([...verify, '--tolerance', '3600'], { stdin: body, env }), { code: 0 })
})

t.test('options of another scheme are refused and not passed over', async (t) => {
  for (const args of [['--scheme', 'github', '--tolerance', '5'], ['--scheme', 'stripe', '--bare-hex'], ['--scheme', 'slack', '--signature-header', 'x-y'], ['--tolerance', '5'], ['--scheme', 'nobody']]) {
    t.match(await ask(['verify', ...header, ...args], { stdin: body, env }), { code: 2, answer: null }, args.join(' '))
  }
})

t.test('what no header can hold is a fault of usage, and prints no header', async (t) => {
  const env = { CAUSEFLOW_WEBHOOK_SECRET: Buffer.alloc(24, 1).toString('base64') }
  for (const scheme of ['causeflow', 'standard-webhooks', 'github', 'slack', 'stripe', 'sentry']) {
    for (const more of [['--id', 'a\nX-Evil: 1'], ['--id', 'a\r'], ['--id', ''], ['--timestamp', '1960-01-01T00:00:00Z'], ['--timestamp', '+100000-01-01T00:00:00Z']]) {
      const { code, out } = await invoke(['sign', '--scheme', scheme, ...more], { stdin: body, env })
      t.strictSame([code, out], [2, ''], `${scheme} ${JSON.stringify(more)}`)
    }
  }
  for (const name of ['x\nX-Evil', 'x y', 'x:', '']) t.match(await ask(['sign', '--signature-header', name], { stdin: body, env }), { code: 2, answer: null }, name)
})
