import { createHmac } from 'node:crypto'
import { readFileSync } from 'node:fs'
import fc from 'fast-check'
import t from 'tap'
import { macUnder } from '../../lib/webhook/hmac.js'

const vectors: Array<{ source: string, key: string, message: string, tag: string }> =
  JSON.parse(readFileSync(new URL('../fixtures/webhook-vectors.json', import.meta.url), 'utf8')).hmacSha256

t.test('the published answers are given, for keys shorter and longer than a block', async (t) => {
  for (const { source, key, message, tag } of vectors) {
    t.equal(macUnder(Buffer.from(key, 'hex'))('', Buffer.from(message, 'hex')).toString('hex'), tag, source)
  }
})

t.test('any key, prefix and body give what createHmac gives', async () => {
  fc.assert(fc.property(fc.uint8Array({ minLength: 1, maxLength: 200 }), fc.string({ unit: 'grapheme', maxLength: 80 }), fc.uint8Array({ maxLength: 600 }), (key, prefix, body) => {
    const expected = createHmac('sha256', key).update(prefix).update(body).digest('hex')
    return macUnder(key)(prefix, body).toString('hex') === expected
  }), { numRuns: Number(process.env['FC_RUNS'] ?? 2000) })
})

t.test('bodies around the size at which the way of computing changes give what createHmac gives', async (t) => {
  const key = Buffer.from('a key')
  // The last is what a mutation run takes for the empty prefix.
  for (const prefix of ['', 'msg_1.1614265330.', 'é€😀'.repeat(100), 'Stryker was here!']) {
    for (const size of [0, 1, 63, 64, 65, 16_384 - prefix.length * 3 - 1, 16_384 - prefix.length * 3, 16_384 - prefix.length * 3 + 1, 16_384 - prefix.length, 16_384, 100_000]) {
      const body = Buffer.alloc(Math.max(size, 0), 'é')
      t.equal(macUnder(key)(prefix, body).toString('hex'), createHmac('sha256', key).update(prefix).update(body).digest('hex'), `${prefix.length} + ${size}`)
    }
  }
})

t.test('keys around the size of a block give what createHmac gives', async (t) => {
  for (const size of [1, 31, 32, 63, 64, 65, 66, 127, 128, 129, 1000]) {
    const key = Buffer.alloc(size, 'key')
    t.equal(macUnder(key)('a', Buffer.from('b')).toString('hex'), createHmac('sha256', key).update('ab').digest('hex'), `${size}`)
  }
})

t.test('a MAC is the caller\'s: the next one does not change it, under this key or another', async (t) => {
  const [a, b] = [macUnder(Buffer.from('a')), macUnder(Buffer.from('b'))]
  const first = a('', Buffer.from('one'))
  const text = first.toString('hex')
  a('', Buffer.from('two'))
  b('long before it', Buffer.from('three'))
  t.equal(first.toString('hex'), text)
})

t.test('a key that its owner changes afterwards is still the key that was given', async (t) => {
  const key = Buffer.from('a key')
  const mac = macUnder(key)
  const small = mac('', Buffer.from('body')).toString('hex')
  const large = mac('', Buffer.alloc(20_000)).toString('hex')
  key.fill(0)
  t.equal(mac('', Buffer.from('body')).toString('hex'), small)
  t.equal(mac('', Buffer.alloc(20_000)).toString('hex'), large)
})
