import t from 'tap'
import type { Ask, PostgresPool } from '../../lib/postgres/database.js'
import { createLookups, poolSize } from '../../lib/postgres/lookups.js'
import { settle } from '../api-key/fake-time.js'

/** Look-ups over a pool whose answers the test gives. */
function lookupsUnderTest (connections: number) {
  const asked: Array<{ text: string, answer: () => Promise<void>, fail: () => Promise<void> }> = []
  const time = { now: 0 }
  const ask: Ask = (text) => new Promise((resolve, reject) => {
    asked.push({ text, answer () { resolve([]); return settle() }, fail () { reject(new Error('down')); return settle() } })
  })
  const lookUp = createLookups(ask, connections, 2000, () => time.now)
  return { asked, time, texts: () => asked.map(({ text }) => text), known: (text: string) => lookUp(text, [], true), unknown: (text: string) => lookUp(text, [], false) }
}

t.test('of ten connections unknown digests take five and all look-ups nine, and known ones come first', async (t) => {
  const { asked, texts, known, unknown } = lookupsUnderTest(10)
  const all = [...Array.from({ length: 7 }, (_, index) => unknown(`u${index}`)), ...Array.from({ length: 6 }, (_, index) => known(`k${index}`))]
  t.strictSame(texts(), ['u0', 'u1', 'u2', 'u3', 'u4', 'k0', 'k1', 'k2', 'k3'])
  await asked[0]?.answer()
  t.equal(texts().at(-1), 'k4', 'known ones first')
  const failed = t.rejects(all[1] as Promise<unknown>, { message: 'down' })
  await asked[1]?.fail()
  await failed
  t.equal(texts().at(-1), 'k5')
  await asked[5]?.answer()
  t.strictSame(texts().slice(-1), ['u5'])
  for (let index = 0; index < asked.length; index++) await asked[index]?.answer()
  await Promise.allSettled(all)
  t.equal(asked.length, 13)
})

t.test('a pool of one serves all of them, one after the other', async (t) => {
  const { asked, texts, known, unknown } = lookupsUnderTest(1)
  const all = [unknown('a'), known('b')]
  t.strictSame(texts(), ['a'])
  await asked[0]?.answer()
  await asked[1]?.answer()
  await Promise.all(all)
  t.strictSame(texts(), ['a', 'b'])
})

t.test('what has waited for its time limit is not asked any more, and calls that hang give their place back', async (t) => {
  const { asked, time, texts, known } = lookupsUnderTest(2)
  const hung = known('hangs')
  const late = known('late')
  time.now = 3000
  const third = known('third')
  t.strictSame(texts(), ['hangs'])
  time.now = 4000
  const fourth = known('fourth')
  await t.rejects(late, { message: 'No connection of the pool was free within 2000 ms' })
  t.strictSame(texts(), ['hangs', 'third'])
  await asked[0]?.answer()
  await hung
  t.strictSame(texts(), ['hangs', 'third'], 'it gives back no second place')
  await asked[1]?.answer()
  await asked[2]?.answer()
  await Promise.all([third, fourth])
})

t.test('a thousand wait and no more', async (t) => {
  const { known } = lookupsUnderTest(2)
  const all = Array.from({ length: 1001 }, () => known('waits'))
  await t.rejects(known('one more'), { message: '1000 look-ups wait for a connection of the pool' })
  for (const one of all) one.catch(() => {})
})

t.test('the size of a pool is what it says, what fastify.pg says, or ten', async (t) => {
  const pools = [{ options: { max: 3 } }, { pool: { options: { max: 4 } } }, {}, { options: {} }, { options: { max: 0 } }, { options: { max: '5' } }]
  t.strictSame(pools.map((pool) => poolSize(pool as unknown as PostgresPool)), [3, 4, 10, 10, 10, 10])
})
