// The machine-readable description is what a program needs to sign as the scheme does.
import t from 'tap'
import { createHmac } from 'node:crypto'
import { causeflow, github, sentry, slack, standardWebhooks, stripe, verifyWebhook, type SignatureScheme } from '../../lib/index.js'
import { describeSignature, type SignatureDescription } from '../../lib/openapi/signature-description.js'
import { now } from '../fixtures/app.js'

const schemes: Record<string, SignatureScheme> = { causeflow: causeflow(), bare: causeflow({ header: 'X-Other', timestampField: 'timestamp' }), github: github(), sentry: sentry(), slack: slack(), standardWebhooks: standardWebhooks({ tolerance: 60 }), stripe: stripe() }

t.test('each scheme is described by what it writes', async (t) => {
  const of = (name: string): Partial<SignatureDescription> => {
    const { key, signed, headers, tolerance, timestampInBody } = describeSignature(schemes[name] as SignatureScheme)
    return { key, signed, headers, tolerance, timestampInBody }
  }
  t.strictSame(of('causeflow'), { key: 'utf8', signed: '{body}', headers: { 'x-webhook-signature': 'sha256={hex}' }, tolerance: null, timestampInBody: false })
  t.strictSame(of('bare'), { key: 'utf8', signed: '{body}', headers: { 'x-other': 'sha256={hex}' }, tolerance: 300, timestampInBody: true })
  t.strictSame(of('slack'), { key: 'utf8', signed: 'v0:{timestamp}:{body}', headers: { 'x-slack-signature': 'v0={hex}', 'x-slack-request-timestamp': '{timestamp}' }, tolerance: 300, timestampInBody: false })
  t.strictSame(of('stripe'), { key: 'utf8', signed: '{timestamp}.{body}', headers: { 'stripe-signature': 't={timestamp},v1={hex}' }, tolerance: 300, timestampInBody: false })
  t.strictSame(of('standardWebhooks'), { key: 'base64', signed: '{id}.{timestamp}.{body}', headers: { 'webhook-id': '{id}', 'webhook-timestamp': '{timestamp}', 'webhook-signature': 'v1,{base64}' }, tolerance: 60, timestampInBody: false })
})

t.test('a program that knows the description alone signs what the scheme verifies', async (t) => {
  const secret = 'whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD'
  const body = JSON.stringify({ timestamp: new Date(now).toISOString() })
  for (const [name, scheme] of Object.entries(schemes)) {
    const { key, signed, headers } = describeSignature(scheme)
    const values = { '{body}': body, '{timestamp}': String(now / 1000), '{id}': 'msg_1' }
    const fill = (text: string, more: Record<string, string> = {}): string => Object.entries({ ...values, ...more }).reduce((filled, [word, value]) => filled.replaceAll(word, value), text)
    const digest = createHmac('sha256', key === 'base64' ? Buffer.from(secret.slice(6), 'base64') : secret).update(fill(signed)).digest()
    const written = Object.fromEntries(Object.entries(headers).map(([header, text]) => [header, fill(text, { '{hex}': digest.toString('hex'), '{base64}': digest.toString('base64') })]))
    t.equal(verifyWebhook(body, written, secret, scheme, { name, clock: () => now }).source, name)
  }
})

t.test('a scheme whose key is something else says so', async (t) => {
  t.equal(describeSignature({ ...github(), key: () => Buffer.from('other') }).key, 'scheme')
  t.equal(describeSignature({ ...github(), key: () => { throw new TypeError('not a key') } }).key, 'scheme')
})
