import { Redis as Ioredis } from 'ioredis'
import { Redis as Ioredis5 } from 'ioredis5'
import { Redis as Iovalkey } from 'iovalkey'
import { createClient } from 'redis'
import { createClient as createClient4 } from 'redis4'
import { createClient as createClient5 } from 'redis5'
import { randomBytes } from 'node:crypto'
import type { Test } from 'tap'
import type { RedisClient } from '../../lib/redis/index.js'
import { redisUrl } from '../fixtures/services.js'

/** How each driver makes a client, as its own documentation has it, and how it is ended. No cast: the types have to fit as well. */
export const drivers: Record<string, (url: string) => { client: RedisClient, end (): unknown, open (): Promise<unknown> }> = {
  'ioredis 6': (url) => ioredisLike(new Ioredis(url)),
  'ioredis 5': (url) => ioredisLike(new Ioredis5(url)),
  iovalkey: (url) => ioredisLike(new Iovalkey(url)),
  'redis 6': (url) => {
    const client = createClient({ url }).on('error', () => {})
    return { client, open: () => client.connect(), end: () => client.destroy() }
  },
  'redis 5': (url) => {
    const client = createClient5({ url }).on('error', () => {})
    return { client, open: () => client.connect(), end: () => client.destroy() }
  },
  'redis 4': (url) => {
    const client = createClient4({ url }).on('error', () => {})
    return { client, open: () => client.connect(), end: () => client.disconnect() }
  }
}

function ioredisLike<C extends Ioredis | Ioredis5 | Iovalkey> (client: C) {
  const errors = client as { on (event: 'error', listener: () => void): unknown }
  errors.on('error', () => {})
  return { client, open: async () => {}, end: () => client.disconnect() }
}

/** A client that ends with the test. */
export async function ownClient (t: Test, driver = 'ioredis 6', url = redisUrl): Promise<RedisClient> {
  const make = drivers[driver]
  if (make === undefined) throw new Error(`There is no driver ${driver}`)
  const { client, open, end } = make(url)
  t.teardown(() => end())
  await open()
  return client
}

/** A name in Redis that no other test uses. */
export function ownName (): string {
  return `causeflow-test:${randomBytes(6).toString('hex')}`
}

export function urlAt (port: number): string {
  const url = new URL(redisUrl)
  url.hostname = '127.0.0.1'
  url.port = `${port}`
  return url.href
}
