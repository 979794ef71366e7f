// Over sockets, for any bytes, content type, secret and way of cutting the body: what is signed is accepted, and what differs by a bit is not.
import t from 'tap'
import fc from 'fast-check'
import { auth, signWebhook } from '../../lib/index.js'
import { createApp, now, type Teardown } from '../fixtures/app.js'
import { exchange, listen } from '../fixtures/socket.js'
import { deliveryBytes, signedDelivery, type SignedDelivery } from '../../lib/testing/index.js'
import { watchProcess } from '../fixtures/process-watch.js'

watchProcess(t)

t.setTimeout(120_000)
const seed = 20_300_101

/** A route whose answer is the bytes it received, and which counts. The secret is the one set last. */
async function echo (t: Teardown): Promise<{ port: number, reached: () => number, expect: (secret: string) => void }> {
  let secret = ''
  let reached = 0
  const app = await createApp(t, { auth: { webhook: { secret: () => secret } } })
  app.post('/hook', { config: { auth: auth.webhook() }, bodyLimit: 100_000 }, async (request) => {
    reached++
    return { raw: request.rawBody?.toString('base64') }
  })
  return { port: await listen(app), reached: () => reached, expect: (next) => { secret = next } }
}

// Any bytes as bytes; JSON under JSON's type, whose text has to be JSON to reach the handler.
const content = fc.oneof(
  fc.record({
    payload: fc.uint8Array({ minLength: 1, maxLength: 2_000 }).map((bytes) => Buffer.from(bytes)),
    contentType: fc.constantFrom(undefined, 'application/octet-stream', 'text/plain', 'text/plain; charset=utf-16', 'application/x-www-form-urlencoded', 'multipart/form-data; boundary=x', 'application/xml', 'a/b', 'nonsense', 'APPLICATION/PDF')
  }),
  fc.record({
    payload: fc.json({ maxDepth: 3 }).filter((text) => !text.includes('__proto__') && !text.includes('constructor')).map((text) => Buffer.from(` ${text}\r\n`)),
    contentType: fc.constantFrom('application/json', 'application/json; charset=utf-8', 'application/vnd.api+json')
  })
)
const secret = fc.string({ unit: 'grapheme', minLength: 1, maxLength: 80 })
// Sizes of chunks, most of them small, so that borders fall inside characters; none: one piece with its length.
const sizes = fc.option(fc.array(fc.integer({ min: 1, max: 40 }), { maxLength: 12 }), { nil: undefined })

function bytesOf (payload: Buffer, contentType: string | undefined, chunks: number[] | undefined, key: string): { delivery: SignedDelivery, wire: (delivery: SignedDelivery) => Buffer } {
  const delivery = signedDelivery({ url: '/hook', body: payload, secret: key, timestamp: now / 1000 })
  if (contentType === undefined) delete delivery.headers['content-type']
  else delivery.headers['content-type'] = contentType
  return { delivery, wire: (one) => deliveryBytes(one, chunks === undefined ? {} : { chunks }) }
}

t.test('what is signed arrives, byte for byte, and every change of one bit in body, signature or secret is refused', async (t) => {
  const { port, reached, expect } = await echo(t)
  await fc.assert(fc.asyncProperty(content, secret, sizes, fc.nat(), fc.nat(), fc.array(fc.nat(), { maxLength: 3 }), async ({ payload, contentType }, key, chunks, bodyBit, signatureBit, cuts) => {
    const { delivery, wire } = bytesOf(payload, contentType, chunks, key)
    expect(key)
    const good = wire(delivery)
    const before = reached()
    // Cut a second time, into segments: their borders are nobody's framing.
    const parts = [...new Set(cuts.map((cut) => cut % good.length)), good.length].sort((one, other) => one - other)
    const answer = await exchange(port, parts.map((end, index) => good.subarray(parts[index - 1] ?? 0, end)))
    if (answer.status !== 200 || (JSON.parse(answer.body) as { raw: string }).raw !== payload.toString('base64')) throw new Error(`${answer.status} ${answer.body}`)
    if (reached() !== before + 1) throw new Error('the handler ran another number of times')

    const flipped = Buffer.from(payload)
    flipped[bodyBit % payload.length]! ^= 1 << (bodyBit % 8)
    const digits = delivery.headers['x-webhook-signature']!
    const at = 'sha256='.length + signatureBit % 64
    // One bit of the digit's value, so that the form stays right.
    const bent = digits.slice(0, at) + (parseInt(digits[at]!, 16) ^ (1 << (signatureBit % 4))).toString(16) + digits.slice(at + 1)
    for (const wrong of [{ ...delivery, payload: flipped }, { ...delivery, headers: { ...delivery.headers, 'x-webhook-signature': bent } }]) await refused(wire(wrong))
    const otherKey = Buffer.from(key)
    otherKey[bodyBit % otherKey.length]! ^= 1
    await refused(wire({ ...delivery, headers: { ...delivery.headers, ...signWebhook(payload, otherKey) } }))
    if (reached() !== before + 1) throw new Error('a changed delivery has reached the handler')
  }), { seed, numRuns: 60 })

  async function refused (wire: Buffer): Promise<void> {
    const { status, body } = await exchange(port, [wire])
    if (status !== 401 || (JSON.parse(body) as { code: string }).code !== 'AUTH_SIGNATURE_INVALID') throw new Error(`${status} ${body}`)
  }
})

t.test('of one delivery, every single bit of the body and of the signature matters', async (t) => {
  const { port, reached, expect } = await echo(t)
  expect('whsec_1')
  const { delivery, wire } = bytesOf(Buffer.from('{"é":1}\n'), 'application/json', [2], 'whsec_1')
  t.equal((await exchange(port, [wire(delivery)])).status, 200)
  const digits = delivery.headers['x-webhook-signature']!
  for (let bit = 0; bit < delivery.payload.length * 8; bit++) {
    const payload = Buffer.from(delivery.payload)
    payload[bit >> 3]! ^= 1 << (bit & 7)
    const { status } = await exchange(port, [wire({ ...delivery, payload })])
    if (status !== 401) t.fail(`bit ${bit} of the body: ${status}`)
  }
  // Of the header's characters, not of the digest: upper case and foreign characters are among them.
  for (let bit = 0; bit < digits.length * 8; bit++) {
    const bent = Buffer.from(digits, 'latin1')
    bent[bit >> 3]! ^= 1 << (bit & 7)
    // What Node's own parser refuses, or trims, never comes to us as this header.
    if (bent[bit >> 3]! < 0x20 || bent[bit >> 3] === 0x7f) continue
    const { status } = await exchange(port, [wire({ ...delivery, headers: { ...delivery.headers, 'x-webhook-signature': bent.toString('latin1') } })])
    if (status !== 401) t.fail(`bit ${bit} of the signature: ${status}`)
  }
  t.equal(reached(), 1)
})
