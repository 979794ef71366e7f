/**
 * `npm run demo` starts an API like CauseFlow's with an issuer of its own and prints commands to paste.
 * `npm run demo -- --once` sends it a list of requests, good ones and attacks, and exits with 1 where an answer is not the one expected.
 * `--store postgres` keeps the keys in PostgreSQL, `--channel redis` tells of revocations and remembers deliveries over Redis.
 */
import { parseArgs } from 'node:util'
import { commandsOf } from './demo/commands.js'
import { once } from './demo/once.js'
import { createWorld } from './demo/world.js'

const { values: { once: onlyOnce, port, store, channel } } = parseArgs({
  options: {
    once: { type: 'boolean', default: false },
    port: { type: 'string', default: '0' },
    store: { type: 'string', default: 'memory' },
    channel: { type: 'string', default: 'store' }
  }
})
if (store !== 'memory' && store !== 'postgres') throw new TypeError('--store is memory or postgres')
if (channel !== 'store' && channel !== 'redis') throw new TypeError('--channel is store or redis')
const world = await createWorld(Number(port), { store, channel })

if (onlyOnce) {
  process.exitCode = await once(world, console.log)
  await world.close()
} else {
  console.log(`Listening on ${world.origin}; tokens are issued by ${world.issuer.issuer}. Ctrl+C stops.`)
  console.log(`Swagger UI: ${world.origin}/docs, where a signature is authorised by its secret`)
  for (const { title, script } of commandsOf(world)) console.log(`\n# ${title}\n${script}`)
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => world.close())
}
