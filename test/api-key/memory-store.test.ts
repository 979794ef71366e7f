import t from 'tap'
import { MemoryApiKeyStore } from '../../lib/api-key/memory-store.js'
import { newRecord } from './record-fixture.js'
import { storeContract } from './store-contract.js'

storeContract(t, () => ({ store: new MemoryApiKeyStore() }))

t.test('what a caller does to its record, or to an answer, is not done to the store', async (t) => {
  const store = new MemoryApiKeyStore()
  const { record } = newRecord()
  const expected = structuredClone(record)
  store.create(record, Infinity)
  ;(record.scopes as string[]).push('admin')
  ;(record.metadata as { team: { name: string } }).team.name = 'b'
  const found = store.findByDigest(record.digest)
  t.throws(() => { (found?.scopes as string[]).push('admin') }, TypeError)
  t.throws(() => { (found as { tenantId: string }).tenantId = 'ten_B' }, TypeError)
  t.throws(() => { (found?.metadata as { team: { name: string } }).team.name = 'b' }, TypeError)
  t.strictSame(store.findByDigest(record.digest), expected)
})

t.test('a list is newest first, in whatever order the keys came', async (t) => {
  const store = new MemoryApiKeyStore()
  const made = [3, 1, 4, 2].map((day) => newRecord({ createdAt: `2026-01-0${day}T00:00:00.000Z` }).record)
  for (const record of made) store.create(record, Infinity)
  const page = store.list({ tenantId: 'ten_A', cursor: null, limit: 10 })
  t.strictSame(page === 'invalid-cursor' ? page : page.records.map(({ createdAt }) => createdAt.slice(9, 10)), ['4', '3', '2', '1'])
})

t.test('who has ended his subscription is told no more', async (t) => {
  const store = new MemoryApiKeyStore()
  let told = 0
  const end = store.invalidation.subscribe({ onInvalidated () { told++ }, onReset () {} })
  store.create(newRecord().record, Infinity)
  t.equal(told, 1)
  end()
  store.create(newRecord().record, Infinity)
  t.equal(told, 1)
})

t.test('it answers at once, hears itself, and says that it ends with the process', async (t) => {
  const store = new MemoryApiKeyStore()
  t.equal(store.create(newRecord().record, 1), 'created')
  t.equal(store.ephemeral, true)
  t.equal(store.invalidation.healthy, true)
})

t.test('what a key of one tenant costs does not grow with the keys of others', (t) => {
  const store = new MemoryApiKeyStore()
  /** The quickest of some batches: what else the machine does only makes one slower. */
  const quickest = (): number => Math.min(...Array.from({ length: 8 }, (_, batch) => {
    const records = Array.from({ length: 50 }, (_, index) => newRecord({ tenantId: `ten_${batch}_${index}` }).record)
    const began = performance.now()
    for (const record of records) {
      store.create(record, 1000)
      store.list({ tenantId: record.tenantId, cursor: null, limit: 10 })
    }
    return performance.now() - began
  }))
  quickest()
  const few = quickest()
  for (let index = 0; index < 20_000; index++) store.create(newRecord({ tenantId: `ten_${index}` }).record, 1000)
  const many = quickest()
  t.ok(many < few * 5, `${few.toFixed(2)} ms with few, ${many.toFixed(2)} ms with many`)
  t.end()
})
