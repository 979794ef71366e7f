import t from 'tap'
import { randomBytes } from 'node:crypto'
import { createKeyId } from '../../lib/api-key/key-id.js'

t.test('a key id is a ULID: ids of a later millisecond sort after those of an earlier one', async (t) => {
  // The example of the ULID specification: 1469918176385 is written 01ARYZ6S41.
  t.equal(createKeyId(1469918176385, () => Uint8Array.from({ length: 16 }, (_, index) => index * 2)), 'key_01ARYZ6S4102468ACEGJMPRTWY')
  t.match(createKeyId(Date.now(), randomBytes), /^key_[0-9A-HJKMNP-TV-Z]{26}$/)
  const times = [0, 31, 32, 1e6, 1469918176385, 1469918176386, 2 ** 48 - 1]
  const ids = times.map((time) => createKeyId(time, randomBytes))
  t.strictSame([...ids].sort(), ids)
})

t.test('ids of one millisecond differ', async (t) => {
  t.equal(new Set(Array.from({ length: 1000 }, () => createKeyId(0, randomBytes))).size, 1000)
})
