import t from 'tap'
import { revokeRecord } from '../../lib/api-key/lifecycle.js'
import { newRecord } from './record-fixture.js'

t.test('a record that is revoked stays revoked when and by whom it was', async (t) => {
  const { record } = newRecord()
  const once = revokeRecord(record, { at: '2026-02-01T00:00:00.000Z', by: 'usr_2' })
  t.strictSame(once, { ...record, revokedAt: '2026-02-01T00:00:00.000Z', revokedBy: 'usr_2' })
  t.equal(revokeRecord(once, { at: '2026-03-01T00:00:00.000Z', by: 'usr_3' }), once)
})
