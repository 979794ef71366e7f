import t from 'tap'
import { createKnownDigests } from '../../lib/api-key/known-digests.js'

const known = (digests: ReturnType<typeof createKnownDigests>, ...names: string[]): string[] => names.filter((name) => digests.tenantOf(name) !== undefined)

t.test('the tenant that has most digests loses its oldest, and the others lose none', async (t) => {
  const digests = createKnownDigests(5)
  for (const digest of ['a1', 'a2', 'b1', 'c1', 'c2', 'a1', 'a3', 'a4']) digests.note(digest, digest.charAt(0))
  t.strictSame(known(digests, 'a1', 'a2', 'a3', 'a4', 'b1', 'c1', 'c2'), ['a3', 'a4', 'b1', 'c1', 'c2'])
  t.equal(digests.tenantOf('b1'), 'b')
  digests.note('d1', 'd')
  t.strictSame(known(digests, 'a3', 'a4', 'b1', 'c1', 'c2', 'd1'), ['a3', 'a4', 'b1', 'c2', 'd1'], 'of two that are as large, the one that was read longest ago')
})

t.test('a digest that changes its tenant, is forgotten or noted again counts once', async (t) => {
  const digests = createKnownDigests(3)
  for (const tenantId of ['a', 'a', 'b', 'b']) digests.note('1', tenantId)
  t.equal(digests.tenantOf('1'), 'b')
  digests.forget('1')
  digests.forget('1')
  t.equal(digests.tenantOf('1'), undefined)
  for (const digest of ['1', '2', '3', '4']) digests.note(digest, 'a')
  t.strictSame(known(digests, '1', '2', '3', '4'), ['2', '3', '4'])
  digests.clear()
  t.strictSame(known(digests, '2', '3', '4'), [])
  digests.note('5', 'b')
  t.strictSame(known(digests, '5'), ['5'])
})

t.test('ten thousand tenants with one digest each: a new one takes the place of the one that was read longest ago', async (t) => {
  const digests = createKnownDigests(10_000)
  for (let index = 0; index < 10_000; index++) digests.note(`${index}`, `ten_${index}`)
  digests.note('0', 'ten_0')
  digests.note('new', 'ten_new')
  t.strictSame(known(digests, '0', '1', '2', 'new'), ['0', '2', 'new'])
})
