import { createServer } from 'node:http'
import { connect, type AddressInfo } from 'node:net'
import Fastify from 'fastify'
import t from 'tap'
import { deliveryBytes, signedDelivery, type SignedDelivery } from '../../lib/testing/delivery.js'
import { github } from '../../lib/webhook/schemes/github.js'
import { slack } from '../../lib/webhook/schemes/slack.js'
import { standardWebhooks } from '../../lib/webhook/schemes/standard-webhooks.js'
import { verifyWebhook } from '../../lib/webhook/sign.js'
import { watchProcess } from '../fixtures/process-watch.js'

watchProcess(t)

const base = { url: '/hooks?x=1', body: { event: 'é' }, secret: 'AAAA' }
const verdict = ({ payload, headers }: SignedDelivery, scheme = slack()): string => {
  try {
    verifyWebhook(payload, headers, 'AAAA', scheme)
    return 'verified'
  } catch (error) {
    return `${(error as { code: string }).code} ${(error as { reason: string }).reason}`
  }
}

t.test('a delivery verifies, whatever kind of body it has', async (t) => {
  t.strictSame(Object.keys(signedDelivery(base)), ['method', 'url', 'headers', 'payload'])
  t.equal(signedDelivery(base).payload.toString(), '{"event":"é"}')
  for (const body of ['text', Buffer.from([0xff]), new Uint8Array([1]), [1], null, { a: 1 }]) {
    for (const scheme of [slack(), standardWebhooks(), github()]) t.equal(verdict(signedDelivery({ ...base, body, scheme }), scheme), 'verified')
  }
})

t.test('each way of tampering is refused for its own reason', async (t) => {
  for (const scheme of [slack(), standardWebhooks()]) {
    t.equal(verdict(signedDelivery({ ...base, scheme, tamper: 'body' }), scheme), 'AUTH_SIGNATURE_INVALID digest')
    t.equal(verdict(signedDelivery({ ...base, scheme, tamper: 'signature' }), scheme), 'AUTH_SIGNATURE_INVALID digest')
    t.equal(verdict(signedDelivery({ ...base, scheme, tamper: 'removed' }), scheme), 'AUTH_SIGNATURE_MISSING absent')
    t.equal(verdict(signedDelivery({ ...base, scheme, tamper: 'stale' }), scheme), 'AUTH_SIGNATURE_STALE stale')
  }
  const own = signedDelivery({ ...base, tamper: (delivery) => ({ ...delivery, url: '/other' }) })
  t.equal(own.url, '/other')
})

t.test('the caller\'s bytes are not changed by tampering', async (t) => {
  const body = Buffer.from('body')
  signedDelivery({ ...base, body, tamper: 'body' })
  t.equal(body.toString(), 'body')
})

t.test('further headers bend the signature\'s, in any case', async (t) => {
  const { headers } = signedDelivery({ ...base, headers: { 'Content-Type': 'text/plain', 'X-Webhook-Signature': 'bent' } })
  t.strictSame(headers, { 'content-type': 'text/plain', 'x-webhook-signature': 'bent' })
})

t.test('inject takes it as it is', async (t) => {
  const app = Fastify()
  t.teardown(() => app.close())
  app.post('/hooks', async (request) => ({ body: request.body, signature: request.headers['x-slack-signature'] }))
  const delivery = signedDelivery({ ...base, scheme: slack() })
  t.strictSame((await app.inject(delivery)).json(), { body: base.body, signature: delivery.headers['x-slack-signature'] })
})

t.test('as bytes it arrives whole, in one piece and in chunks cut inside a character', async (t) => {
  const server = createServer((request, response) => {
    const chunks: Buffer[] = []
    request.on('data', (chunk: Buffer) => chunks.push(chunk)).on('end', () => {
      const principal = verifyWebhook(Buffer.concat(chunks), request.headers, 'AAAA')
      response.end(`${request.url} ${request.headers['transfer-encoding'] ?? request.headers['content-length']} ${principal.source}`)
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.teardown(() => server.close())
  const send = (bytes: Buffer): Promise<string> => new Promise((resolve, reject) => {
    const answer: Buffer[] = []
    connect((server.address() as AddressInfo).port, '127.0.0.1').on('data', (chunk) => answer.push(chunk)).on('error', reject).on('close', () => { resolve(Buffer.concat(answer).toString()) }).end(bytes)
  })
  const delivery = signedDelivery(base)
  t.match(await send(deliveryBytes(delivery)), '/hooks?x=1 14 default')
  t.match(await send(deliveryBytes(delivery, { chunks: [11, 1, 0] })), '/hooks?x=1 chunked default')
})
