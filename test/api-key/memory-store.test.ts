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

t.test('it answers at once, hears itself, and says that it ends with the process', async (t) => {
  const store = new MemoryApiKeyStore()
  t.equal(store.create(newRecord().record, 1), 'created')
  t.equal(store.ephemeral, true)
  t.equal(store.invalidation.healthy, true)
})
