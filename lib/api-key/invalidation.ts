/** How a process learns that what it knows of a key is no longer true. */
import type { ApiKeyStore } from './store.js'

/**
 * A key that changed, by its digest, its id or both, or every key of a tenant. `created`: nobody has met the id yet, and the digest
 * may have been looked up in vain, so without a digest every "there is no such key" is to be forgotten.
 */
export type KeyChange =
  | { readonly digest: string, readonly keyId?: string, readonly created?: true }
  | { readonly keyId: string, readonly digest?: string, readonly created?: true }
  | { readonly tenantId: string }

/** Neither method may throw. One that does is called with `onReset`, and what that throws is dropped: the other listeners are called all the same. */
export interface InvalidationListener {
  /** Forget what this names. Called once or more for a change, in any order. */
  onInvalidated (change: KeyChange): void
  /** Forget everything: changes may have been missed. */
  onReset (): void
}

/**
 * Tells the processes that share a store of each other's changes. Two rules make a cache behind it safe:
 *
 * - `healthy` is true only while the channel has lately heard itself: something sent on the way that changes take
 *   (through the pool, by a publish) has come back where changes are received. An open socket is no proof.
 * - Changes sent while it was deaf are lost. So `onReset` is called on every new subscription of the transport, and whenever a
 *   change may have been missed, before `healthy` turns true again. A cache is not used while `healthy` is false, but it is kept:
 *   changes that are only late are still received before `healthy` turns true.
 *
 * Hearing one's own changes again does no harm.
 */
export interface InvalidationChannel {
  /** Whether a change made now would be heard here. Asked at every hit of a cache, so it must cost nothing. */
  readonly healthy: boolean
  /** Begins to tell; the answer ends it. The first subscription may open the transport, the end of the last may close it. */
  subscribe (listener: InvalidationListener): () => void
  /**
   * Tells every process. Absent where the writes of the store do it by themselves (a trigger, one process).
   * Where it is there, ApiKeys calls it after each change; whoever writes to the store directly calls it too.
   */
  publish? (changes: readonly KeyChange[]): void | Promise<void>
}

// The lookups of this process, by store: they hear of a change before the call that made it answers,
// whatever the channel needs, and whether or not there is one.
const lookups = new WeakMap<ApiKeyStore, Set<InvalidationListener>>()

/** Listens to changes of a store made in this process and, where it has a channel, in the others. The answer ends it. */
export function listenToStore (store: ApiKeyStore, listener: InvalidationListener): () => void {
  const listeners = lookups.get(store) ?? new Set()
  lookups.set(store, listeners.add(listener))
  const unsubscribe = store.invalidation?.subscribe(listener)
  return () => {
    listeners.delete(listener)
    unsubscribe?.()
  }
}

/** Tells this process of changes, at once. The others are told by the channel. */
export function forgetHere (store: ApiKeyStore, changes: readonly KeyChange[]): void {
  notifyListeners(lookups.get(store) ?? [], changes)
}

/** Calls each listener with changes, or with null for everything. One that throws keeps no other from its call. */
export function notifyListeners (listeners: Iterable<InvalidationListener>, changes: readonly KeyChange[] | null): void {
  for (const listener of listeners) {
    try {
      if (changes === null) listener.onReset()
      else for (const change of changes) listener.onInvalidated(change)
    } catch {
      if (changes !== null) notifyListeners([listener], null)
    }
  }
}
