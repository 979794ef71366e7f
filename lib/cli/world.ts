/** What the program touches of its surroundings, so that a test can stand in for each. */
import type { Readable, Writable } from 'node:stream'
import type { Timers } from '../api-key/settings.js'
import type { OpenStore, StoreRequest } from './database.js'
import type { OpenRedis } from './redis.js'

export interface World {
  /** A terminal when `isTTY`: then secrets are asked for, with nothing echoed. */
  readonly stdin: Readable & { readonly isTTY?: boolean }
  /** Answers, and secrets that were just made. Nothing else. */
  readonly stdout: Writable
  /** Errors, remarks and prompts. */
  readonly stderr: Writable
  readonly env: Readonly<Record<string, string | undefined>>
  /** Milliseconds since the epoch. */
  readonly clock: () => number
  readonly fetch: typeof fetch
  readonly randomBytes: (size: number) => Uint8Array
  readonly timers: Timers
  /** Opens the store of the configured database. Rejects with a Failure. */
  readonly openStore: (request: StoreRequest) => Promise<OpenStore>
  /** Connects to the configured Redis. Rejects with a Failure. */
  readonly openRedis: () => Promise<OpenRedis>
}
