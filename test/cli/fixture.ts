/** The command line in this process, with everything around it in the hands of the test. */
import { randomBytes } from 'node:crypto'
import { PassThrough, Readable, Writable } from 'node:stream'
import { MemoryApiKeyStore } from '../../lib/api-key/memory-store.js'
import { run } from '../../lib/cli/program.js'
import type { DatabaseFacts, OpenStore, StoreRequest } from '../../lib/cli/database.js'
import { openRedis, type OpenRedis } from '../../lib/cli/redis.js'
import type { World } from '../../lib/cli/world.js'
import type { ApiKeyStore } from '../../lib/api-key/store.js'

export const now = Date.parse('2026-01-31T12:00:00Z')

export interface Surroundings {
  stdin?: string | Buffer
  /** What is typed at a terminal; then stdin is one. */
  typed?: string
  env?: Record<string, string>
  clock?: () => number
  fetch?: typeof fetch
  store?: ApiKeyStore
  facts?: DatabaseFacts
  openStore?: (request: StoreRequest) => Promise<OpenStore>
  timers?: World['timers']
  openRedis?: () => Promise<OpenRedis>
}

export interface Ended { code: number, out: string, err: string }

/** Runs a command line and answers how it ended. */
export async function invoke (args: string[], surroundings: Surroundings = {}): Promise<Ended> {
  const { stdin = '', typed, env = {}, clock = () => now, store = new MemoryApiKeyStore(), facts = { version: '15.4', replica: false } } = surroundings
  const stdout = new Sink()
  const stderr = new Sink()
  const code = await run(args, '1.2.3', {
    stdin: typed === undefined ? Readable.from([Buffer.from(stdin)]) : terminal(typed),
    stdout,
    stderr,
    env,
    clock,
    fetch: surroundings.fetch ?? (() => { throw new Error('Nobody is to be asked') }),
    randomBytes,
    timers: surroundings.timers ?? globalThis as unknown as World['timers'],
    openStore: surroundings.openStore ?? (async () => ({ store, facts: async () => facts, close: async () => {} })),
    openRedis: surroundings.openRedis ?? (() => openRedis(env, globalThis as unknown as World['timers']))
  })
  return { code, out: stdout.text, err: stderr.text }
}

/** The answer of a command with --json. */
export async function ask (args: string[], surroundings: Surroundings = {}) {
  const { code, out, err } = await invoke([...args, '--json'], surroundings)
  return { code, answer: out === '' ? null : JSON.parse(out), failure: err === '' ? null : JSON.parse(err) }
}

class Sink extends Writable {
  text = ''
  override _write (chunk: Buffer, _encoding: string, done: () => void): void {
    this.text += chunk.toString()
    done()
  }
}

function terminal (typed: string): World['stdin'] {
  const stream = Object.assign(new PassThrough(), { isTTY: true, setRawMode () {} })
  stream.write(typed)
  return stream
}
