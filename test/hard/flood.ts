/**
 * Sends invented keys to a port, so many a second, until it is told to end; then answers how often each status came. A process of its own:
 * the lines to the database of the test would otherwise be as slow as the flood makes its event loop.
 */
import { createApiKey } from '../../lib/index.js'
import { byKey, createClient, pause } from './traffic.js'

const [port = 0, perSecond = 0] = process.argv.slice(2).map(Number)
const flood = { on: true, sent: 0, inFlight: 0 }
const statuses: Record<string, number> = {}
const client = createClient({ teardown () {} } as never, 600)

process.on('message', () => { flood.on = false })
process.on('disconnect', () => process.exit())
const began = performance.now()
while (flood.on) {
  // Not more than 600 at once: what a slow machine has not sent is not sent later.
  for (const due = Math.min(flood.sent + 600 - flood.inFlight, (performance.now() - began) / 1000 * perSecond); flood.sent < due; flood.sent++) {
    flood.inFlight++
    client(port, byKey(createApiKey().key)).then(({ status }) => {
      statuses[status] = (statuses[status] ?? 0) + 1
      flood.inFlight--
    }, () => {})
  }
  await pause(5)
}
while (flood.inFlight > 0) await pause(5)
process.send?.(statuses, () => process.exit())
