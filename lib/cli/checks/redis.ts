/** Redis, where changes are told over it: the server, and whether what is published is heard. */
import { redisDriver, type RedisDriver } from '../../redis/driver.js'
import { redisInvalidation } from '../../redis/index.js'
import { createCaller } from '../../redis/settled.js'
import { exit } from '../exit-code.js'
import { deepestMessage, failureOf } from '../failure.js'
import { isRedisConfigured, type OpenRedis, type RedisOptions } from '../redis.js'
import type { World } from '../world.js'
import { finding, type Finding } from './finding.js'
import { hearingLimit, hears } from './hearing.js'

/** Milliseconds. An echo that takes half as long again leaves a process without its cache. */
const slowEcho = 100
/** Seconds that an answer may take. */
const answerLimit = 2

export async function checkRedis ({ redisChannel = 'causeflow-auth:api-key' }: RedisOptions, world: Pick<World, 'env' | 'openRedis' | 'randomBytes' | 'timers'>): Promise<Finding[]> {
  if (!isRedisConfigured(world.env)) return [finding('redis', 'not-asked', 'REDIS_URL is not set: it is wanted where changes are told over Redis')]
  let opened: OpenRedis
  try {
    opened = await world.openRedis()
  } catch (error) {
    const { exitCode, message, mend } = failureOf(error)
    if (exitCode === exit.fault) throw error
    return [finding('redis', exitCode === exit.unavailable ? 'unreachable' : 'wrong', message, mend)]
  }
  try {
    return [await checkServer(opened, world), await checkEcho(opened, redisChannel, world)]
  } finally {
    opened.close()
  }
}

async function checkServer ({ client, driver: name }: OpenRedis, { timers }: Pick<World, 'timers'>): Promise<Finding> {
  const facts = await readFacts(redisDriver(client, 'doctor'), timers)
  if (facts === null) return finding('redis', 'well', `Redis answers ${name}, and tells nothing of itself to this user`)
  const detail = `Redis ${facts.get('redis_version') ?? 'of an unknown version'} answers ${name}`
  if (facts.get('role') === 'slave') return finding('redis', 'wrong', `${detail}, and is a replica: what is published there is not heard at its primary`, 'Name the primary')
  if (facts.get('cluster_enabled') === '1') return finding('redis', 'wrong', `${detail}, and is a node of a cluster, where one change may overtake another`, 'Name a server that is in no cluster, with or without Sentinel')
  const policy = facts.get('maxmemory_policy') ?? 'noeviction'
  if (policy !== 'noeviction' && facts.get('maxmemory') !== '0') {
    return finding('redis', 'warning', `${detail}, and drops keys when it is full (${policy})`, 'Where RedisReplayStore is used, a dropped delivery may come again: set maxmemory-policy noeviction')
  }
  return finding('redis', 'well', detail)
}

/** What the server says of itself; null where it does not. */
async function readFacts (driver: RedisDriver, timers: World['timers']): Promise<ReadonlyMap<string, string> | null> {
  try {
    const text = String(await createCaller(answerLimit, timers)(() => driver.command('INFO')))
    return new Map([...text.matchAll(/^([a-z_]+):([^\r\n]*)/gm)].map(([, name = '', value = '']) => [name, value]))
  } catch {
    return null
  }
}

/** Publishes beside the application's channel, so that no process of its own is woken, under a name that the same ACL permits. */
async function checkEcho ({ client }: OpenRedis, name: string, { randomBytes, timers }: Pick<World, 'randomBytes' | 'timers'>): Promise<Finding> {
  const channel = redisInvalidation({ client, channel: `${name}:doctor:${Buffer.from(randomBytes(8)).toString('hex')}`, timeLimit: answerLimit })
  let arrived = (): void => {}
  const arrival = new Promise<void>((resolve) => { arrived = resolve })
  const end = channel.subscribe({ onInvalidated: () => { arrived() }, onReset () {} })
  try {
    if (!await hears(channel, { timers })) return deaf(`What is published is not heard in ${hearingLimit} s`, name)
    const started = performance.now()
    await channel.publish([{ keyId: 'key_of_nobody' }])
    await createCaller(answerLimit, timers)(() => arrival)
    const took = Math.round(performance.now() - started)
    return took > slowEcho
      ? finding('redis echo', 'warning', `Changes are heard, ${took} ms after they are published`, 'A process does without its cache while this takes longer than 150 ms: bring Redis nearer')
      : finding('redis echo', 'well', `Changes are heard: what was published came back in ${took} ms`)
  } catch (error) {
    return deaf(`What is published is not heard: ${deepestMessage(error) ?? 'no reason is given'}`, name)
  } finally {
    end()
    await channel.close()
  }
}

function deaf (what: string, name: string): Finding {
  return finding('redis echo', 'wrong', `${what}: no key is cached, and every request asks the store`, `Let the user of REDIS_URL publish and subscribe there: ACL SETUSER <user> +publish +subscribe &${name}*`)
}
