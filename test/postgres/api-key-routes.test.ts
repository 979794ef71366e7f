import t from 'tap'
import { routeContract } from '../api-key/route-contract.js'
import { postgresMissing } from '../fixtures/services.js'
import { openStore, ownSchema } from './open-store.js'

t.setTimeout(120_000)
const skip = await postgresMissing()

t.test('over PostgreSQL', { skip, timeout: 120_000 }, async (t) => {
  routeContract(t, (t) => openStore(t, ownSchema(t)))
})
