/** What the rim hands to this room: complete settings, and the world (time, randomness, timers). */
import type { ApiKeyEnvironment } from './key.js'
import type { SealingKey } from './seal.js'
import type { ApiKeyStore } from './store.js'

/** Every setting of API keys, with its default filled in. */
export interface ApiKeySettings {
  store: ApiKeyStore
  environments: readonly ApiKeyEnvironment[]
  /** Whether keys of the older form (`cflo_` and 64 hex digits) are accepted. */
  legacyKeys: boolean
  /** Keys held at most, and seconds for which one is held; null: every request asks the store. */
  cache: { max: number, ttl: number } | null
  /** Active keys that a tenant may have. */
  quota: number
  /** Keys that seal webhook secrets: the first seals, all of them open. */
  sealingKeys: readonly SealingKey[]
  /** Seconds that the store may take for an answer. */
  timeLimit: number
}

export interface ApiKeyTools {
  /** Milliseconds since the epoch. */
  clock: () => number
  randomBytes: (size: number) => Uint8Array
  timers: Timers
}

/** The two functions of the platform, so that a test can be the one who lets time pass. */
export interface Timers {
  setTimeout (callback: () => void, milliseconds: number): Timer
  clearTimeout (timer: Timer): void
}

export interface Timer {
  unref (): unknown
}
