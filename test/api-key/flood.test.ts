import t from 'tap'
import { randomBytes } from 'node:crypto'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { createApiKey } from '../../lib/api-key/key.js'
import { createKeyVerifier } from '../../lib/api-key/verify.js'
import { fakeTime, settle } from './fake-time.js'
import { newRecord } from './record-fixture.js'
import { scriptedStore, settingsFor } from './scripted-store.js'

setFlagsFromString('--expose-gc')
const collect = runInNewContext('gc') as () => void

t.setTimeout(170_000)
const count = 1_000_000

// Distinct and well formed, so that each of them passes the checksum and comes to the store: a counter before noise.
function * badKeys (): Generator<string> {
  const bytes = randomBytes(32).map((byte) => byte % 62)
  for (let index = 0; index < count; index++) {
    for (let place = 0; place < 8; place++) bytes[place] = (index >> (place * 4)) & 15
    yield createApiKey({ randomBytes: () => bytes }).key
  }
}

t.test('threat 19: a million distinct bad keys take no memory that stays, and the good key stays held', { timeout: 160_000 }, async (t) => {
  const { key, record } = newRecord()
  const { store, memory, readings } = scriptedStore()
  memory.create(record, Infinity)
  let searches = 0
  const verifier = createKeyVerifier(settingsFor({
    ...store,
    findByDigest (digest) {
      searches++
      return memory.findByDigest(digest)
    }
  }), fakeTime())
  verifier.verify(key)
  collect()
  const before = process.memoryUsage().heapUsed
  let refused = 0
  for (const bad of badKeys()) {
    try {
      verifier.verify(bad)
    } catch {
      refused++
    }
  }
  collect()
  const grown = process.memoryUsage().heapUsed - before
  t.equal(refused, count)
  t.equal(searches, count + 1, 'each was another key, and each was looked for once')
  t.strictSame(verifier.size(), { proved: 1, refused: 1000, loads: 0 })
  t.ok(grown < 4e6, `${Math.round(grown / 1000)} kB more than before`)
  t.match(verifier.verify(key), { keyId: record.keyId })
  t.equal(searches, count + 1)
  t.equal(readings.length, 0)
})

t.test('threat 19: a flood before a store that hangs keeps no more than the readings in the air, and ends with them', async (t) => {
  const time = fakeTime()
  const { store, readings } = scriptedStore({ manual: true })
  const verifier = createKeyVerifier(settingsFor(store), time)
  const reasons = new Map<string, number>()
  const note = (error: { reason: string }) => { reasons.set(error.reason, (reasons.get(error.reason) ?? 0) + 1) }
  let sent = 0
  for (const bad of badKeys()) {
    if (++sent > 20_000) break
    try {
      (verifier.verify(bad) as Promise<unknown>).catch(note)
    } catch (error) {
      note(error as { reason: string })
    }
  }
  t.equal(verifier.size().loads, 100)
  t.equal(readings.length, 100)
  time.pass(2000)
  await settle()
  t.strictSame(reasons, new Map([['rejected', 19_900], ['time-limit', 100]]))
  t.strictSame(verifier.size(), { proved: 0, refused: 0, loads: 0 })
  t.equal(time.waiting(), 0)
})
