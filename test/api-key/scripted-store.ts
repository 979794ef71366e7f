import type { InvalidationListener, KeyChange } from '../../lib/api-key/invalidation.js'
import { MemoryApiKeyStore } from '../../lib/api-key/memory-store.js'
import type { StoredApiKey } from '../../lib/api-key/record.js'
import type { ApiKeySettings } from '../../lib/api-key/settings.js'
import type { ApiKeyStore } from '../../lib/api-key/store.js'

/** A reading that waits for the test. */
export interface Reading {
  digest: string
  answer (record: StoredApiKey | null): void
  fail (cause: unknown): void
}

export interface ScriptedStore {
  store: ApiKeyStore
  /** What is really stored; `store` reads it, or the test answers in its place. */
  memory: MemoryApiKeyStore
  readings: Reading[]
  channel: { healthy: boolean, published: KeyChange[], tell (change: KeyChange): void, reset (): void, listeners (): number }
}

/**
 * A store as one in another process is: it answers later, and its channel tells only what the test lets it tell.
 * `manual`: the test answers every reading. `channel: false`: it tells nobody anything.
 */
export function scriptedStore ({ manual = false, channel: hasChannel = true, publishes = false }: { manual?: boolean, channel?: boolean, publishes?: boolean } = {}): ScriptedStore {
  const memory = new MemoryApiKeyStore()
  const readings: Reading[] = []
  const listeners = new Set<InvalidationListener>()
  const channel = {
    healthy: true,
    published: [] as KeyChange[],
    subscribe (listener: InvalidationListener) {
      listeners.add(listener)
      return () => { listeners.delete(listener) }
    },
    tell (change: KeyChange) { for (const listener of listeners) listener.onInvalidated(change) },
    reset () { for (const listener of listeners) listener.onReset() },
    listeners: () => listeners.size,
    ...publishes && { async publish (changes: readonly KeyChange[]) { channel.published.push(...changes) } }
  }
  const store: ApiKeyStore = {
    findByDigest (digest) {
      return new Promise((resolve, reject) => {
        readings.push({ digest, answer: resolve, fail: reject })
        if (!manual) resolve(memory.findByDigest(digest))
      })
    },
    create: async (...args) => memory.create(...args),
    get: async (...args) => memory.get(...args),
    list: async (...args) => memory.list(...args),
    revoke: async (...args) => memory.revoke(...args),
    rotate: async (...args) => memory.rotate(...args),
    replaceSecrets: async (...args) => memory.replaceSecrets(...args),
    revokeAll: async (...args) => memory.revokeAll(...args),
    touch: async (...args) => { memory.touch(...args) },
    ...hasChannel && { invalidation: channel }
  }
  return { store, memory, readings, channel }
}

/** Settings as the options of the plugin fill them. */
export function settingsFor (store: ApiKeyStore, changes: Partial<ApiKeySettings> = {}): ApiKeySettings {
  return { store, environments: ['live', 'test'], legacyKeys: true, cache: { max: 10_000, ttl: 30 }, quota: 5, sealingKeys: [], timeLimit: 2, ...changes }
}
