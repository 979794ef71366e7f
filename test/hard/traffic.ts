/** Clients that ask without a pause, and the record of what they were answered. */
import { Agent, request } from 'node:http'
import { randomUUID } from 'node:crypto'
import type { Test } from 'tap'
import { createApiKey, signWebhook, standardWebhooks } from '../../lib/index.js'
import { webhookSecret } from './fork.js'
import { Counts, quantile, table } from './scale.js'

export interface Ask { method?: string, path: string, headers?: Record<string, string>, body?: string }
export interface Answer { status: number, body: string, head: string }

/** Status 0 and the error's code where no answer came. */
export type Client = (port: number, ask: Ask) => Promise<Answer>

export function createClient (t: Pick<Test, 'teardown'>, maxSockets = 64): Client & { end (): void } {
  const agent = new Agent({ keepAlive: true, maxSockets })
  t.teardown(() => agent.destroy())
  const ask: Client = (port, { method = 'GET', path, headers = {}, body }) => new Promise((resolve) => {
    const outgoing = request({ host: '127.0.0.1', port, method, path, agent, headers: { ...body === undefined ? {} : { 'content-type': 'application/json', 'content-length': `${Buffer.byteLength(body)}` }, ...headers } }, (response) => {
      let text = ''
      response.setEncoding('utf8').on('data', (chunk: string) => { text += chunk })
      response.on('end', () => resolve({ status: response.statusCode ?? 0, body: text, head: JSON.stringify(response.headers) }))
      response.on('error', () => resolve({ status: 0, body: 'cut off', head: '' }))
    })
    outgoing.on('error', (error: NodeJS.ErrnoException) => resolve({ status: 0, body: error.code ?? error.message, head: '' }))
    outgoing.end(body)
  })
  // A connection that is open and idle keeps a server that is ending for as long as its keepAliveTimeout, 72 s.
  return Object.assign(ask, { end: () => agent.destroy() })
}

/** One sort of request. A hostile one must never be served. */
export interface Kind {
  readonly name: string
  readonly hostile: boolean
  /** How often it is sent, against the others. */
  readonly weight: number
  /** Null where there is none to send now. */
  make (): Ask | null
  /** What is to be checked of every answer, with when it was sent and received: a sentence is a violation. */
  judge? (answer: Answer, ask: Ask, sent: number, received: number): string | null | undefined
}

export interface Traffic {
  /** What is going on now: the row that answers are counted in. */
  phase: string
  readonly violations: string[]
  readonly latencies: Map<string, number[]>
  readonly counts: Map<string, Map<string, Counts<number>>>
  readonly sent: number
  stop (): Promise<void>
  /** Prints what was seen. */
  print (t: Test, title: string, more?: ReadonlyMap<string, string>): void
}

/** Sends without a pause over so many connections, until it is stopped. */
export function startTraffic (kinds: readonly Kind[], ports: readonly number[], client: Client, concurrency = 8): Traffic {
  const bag = kinds.flatMap((kind) => Array.from({ length: kind.weight }, () => kind))
  const counts: Traffic['counts'] = new Map()
  const latencies: Traffic['latencies'] = new Map()
  const violations: string[] = []
  let stopped = false
  let sent = 0
  let turn = 0
  const traffic: Traffic = {
    phase: 'up',
    violations,
    latencies,
    counts,
    get sent () { return sent },
    async stop () {
      stopped = true
      await Promise.all(workers)
    },
    print (t, title, more) {
      const names = kinds.map(({ name }) => name)
      table(t, title, ['while', ...names, ...more === undefined ? [] : ['well again after']], [...counts].map(([phase, row]) => [phase, ...names.map((name) => row.get(name) ?? '-'), ...more === undefined ? [] : [more.get(phase) ?? '-']]))
    }
  }
  async function work (index: number): Promise<void> {
    for (let round = index; ; round++) {
      if (stopped) return
      // A prime's steps through the bag come by each of its places equally often.
      const kind = bag[(turn++ * 7919) % bag.length]!
      const ask = kind.make()
      if (ask === null) {
        await new Promise((resolve) => setImmediate(resolve))
        continue
      }
      const { phase } = traffic
      sent++
      const began = performance.now()
      const answer = await client(ports[(round + index) % ports.length]!, ask)
      const ended = performance.now()
      let row = counts.get(phase)
      if (row === undefined) counts.set(phase, row = new Map())
      if (!row.has(kind.name)) row.set(kind.name, new Counts())
      row.get(kind.name)!.add(answer.status)
      if (!latencies.has(kind.name)) latencies.set(kind.name, [])
      latencies.get(kind.name)!.push(ended - began)
      const complaint = kind.hostile && answer.status >= 200 && answer.status < 300 ? 'it was served' : kind.judge?.(answer, ask, began, ended)
      if (typeof complaint === 'string') violations.push(`${phase}, ${kind.name}: ${complaint} (${answer.status} ${answer.body.slice(0, 100)})`)
    }
  }
  const workers = Array.from({ length: concurrency }, (_, index) => work(index))
  return traffic
}

export const p = (traffic: Traffic, name: string, q: number): number => quantile(traffic.latencies.get(name) ?? [], q)

const scheme = standardWebhooks()

/** A delivery that nobody has seen yet. */
export function delivery (secret: string = webhookSecret, id: string = randomUUID()): Ask & { id: string } {
  const body = `{"id":"${id}"}`
  return { id, method: 'POST', path: '/hook', body, headers: signWebhook(body, secret, scheme, { id, timestamp: Math.floor(Date.now() / 1000) }) }
}

/** A delivery signed with a key's own secret. */
export function ingest (key: { plaintextKey: string, webhookSecret: string | null }, tenantId: string, secret = key.webhookSecret ?? ''): Ask {
  const body = `{"id":"${randomUUID()}"}`
  return { method: 'POST', path: `/v1/${tenantId}/ingest`, body, headers: { 'x-api-key': key.plaintextKey, ...signWebhook(body, secret) } }
}

export const byKey = (key: string): Ask => ({ path: '/key', headers: { 'x-api-key': key } })
export const byToken = (token: string, path = '/token'): Ask => ({ path, headers: { authorization: `Bearer ${token}` } })

/** What strangers send: never to be served. */
export const strangers: readonly Kind[] = [
  { name: 'unknown keys', hostile: true, weight: 1, make: () => byKey(createApiKey().key) },
  { name: 'nothing', hostile: true, weight: 1, make: () => ({ path: '/key' }) },
  { name: 'forged deliveries', hostile: true, weight: 1, make: () => delivery(`whsec_${Buffer.alloc(24, 1).toString('base64')}`) }
]

export const pause = (milliseconds: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, milliseconds))

/** Milliseconds until something holds; Infinity where it does not within the limit. */
export async function timeUntil (holds: () => Promise<boolean>, limit = 20_000): Promise<number> {
  const began = performance.now()
  while (performance.now() - began < limit) {
    if (await holds()) return performance.now() - began
    await pause(5)
  }
  return Infinity
}
