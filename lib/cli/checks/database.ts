/** The store of keys and the channel on which it tells of changes. */
import { digestText } from '../../api-key/key.js'
import { askStore } from '../../api-key/time-limit.js'
import { isDatabaseConfigured, type OpenStore, type StoreRequest } from '../database.js'
import { exit } from '../exit-code.js'
import { failureOf } from '../failure.js'
import type { World } from '../world.js'
import { finding, type Finding } from './finding.js'
import { hearingLimit, hears } from './hearing.js'

/** Milliseconds that a request with a key may well wait. */
const slowLookup = 100

/** `overRedis`: changes are heard there, so that nothing is lost where the database does not tell of them. */
export async function checkDatabase (request: StoreRequest, overRedis: boolean, world: Pick<World, 'env' | 'openStore' | 'randomBytes' | 'timers'>): Promise<Finding[]> {
  if (!isDatabaseConfigured(world.env)) return [finding('store', 'not-asked', 'No database is named: set DATABASE_URL or PGHOST to have it looked at')]
  let opened: OpenStore
  try {
    opened = await world.openStore({ ...request, listen: true })
  } catch (error) {
    const { exitCode, message, mend } = failureOf(error)
    return [finding('store', exitCode === exit.unavailable ? 'unreachable' : 'wrong', message, mend)]
  }
  try {
    return [await checkStore(opened, world), await checkChannel(opened, overRedis, world)]
  } catch (error) {
    const { message, mend } = failureOf(error)
    return [finding('store', 'unreachable', message, mend)]
  } finally {
    await opened.close()
  }
}

async function checkStore ({ store, facts }: OpenStore, { randomBytes, timers }: Pick<World, 'randomBytes' | 'timers'>): Promise<Finding> {
  const { version, replica } = await facts()
  // Nobody's key, so that nothing of a real one is used; the first lookup is for the plan and the connection.
  const digest = digestText(Buffer.from(randomBytes(32)).toString('hex'))
  await askStore(() => store.findByDigest(digest), 10, timers)
  const started = performance.now()
  await askStore(() => store.findByDigest(digest), 10, timers)
  const took = Math.round(performance.now() - started)
  const detail = `PostgreSQL ${version}, its tables are complete, a lookup takes ${took} ms`
  if (replica) return finding('store', 'wrong', `PostgreSQL ${version} is a replica: it cannot be written to, and a revoked key goes on working until it has caught up`, 'Name the primary')
  if (took > slowLookup) return finding('store', 'warning', detail, 'Each request with a key that is not cached waits for this: bring the database nearer')
  return finding('store', 'well', detail)
}

async function checkChannel ({ store: { invalidation } }: OpenStore, overRedis: boolean, world: Pick<World, 'timers'>): Promise<Finding> {
  if (invalidation === undefined) return finding('channel', 'warning', 'The store has no channel: every request asks it', 'Give the store a listener')
  const end = invalidation.subscribe({ onInvalidated () {}, onReset () {} })
  try {
    if (await hears(invalidation, world)) return finding('channel', 'well', 'Changes are heard: what was sent through the pool came back')
    const detail = `What is sent through the pool was not heard in ${hearingLimit} s`
    const mend = 'Listen on a connection of its own to the server itself, not to a pooler in transaction mode: name it in DATABASE_LISTEN_URL here, and in the store\'s listener'
    return overRedis
      ? finding('channel', 'warning', `${detail}; over Redis it is`, `Nothing, where the application tells of changes over Redis. ${mend}`)
      : finding('channel', 'wrong', `${detail}: no key is cached, and every request asks the database`, mend)
  } finally {
    end()
  }
}
