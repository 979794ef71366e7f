/**
 * From a digest to the key that has it. The cache here never makes a revoked key work: it holds positive answers
 * only where the store tells of changes, asks at each hit whether it could still hear one, and forgets what it hears of.
 */
import { LRUCache } from 'lru-cache'
import { AuthError } from '../errors.js'
import type { ApiKeyPrincipal } from '../principal.js'
import { listenToStore, type KeyChange } from './invalidation.js'
import { createKnownDigests } from './known-digests.js'
import { maxRecordBytes } from './limits.js'
import { apiKeyPrincipal, apiKeyStatus, type StoredApiKey } from './record.js'
import type { ApiKeySettings, ApiKeyTools, Timer } from './settings.js'
import { createShares } from './shares.js'
import type { LookupHint } from './store.js'
import { checkStoredKey } from './stored-record.js'
import { isLater, storeUnavailable, withinTimeLimit } from './time-limit.js'

/** A key that was active when it was read, for as long as it may be held. */
export interface ProvedKey {
  readonly record: StoredApiKey
  readonly principal: ApiKeyPrincipal
  /** Bytes of the record as JSON. */
  readonly bytes: number
  /** From when to when it may be used without reading it again, milliseconds; never beyond its own expiry. */
  readonly since: number
  readonly until: number
  /** When its use was last noted. */
  noted: number
  /** Its webhook secrets, opened, until the first of them ends; null until somebody asks. */
  opened: { readonly secrets: readonly string[], readonly until: number } | null
}

/** Why a digest opens nothing. */
export type KeyRefusal = 'unknown' | 'revoked' | 'expired' | 'environment'

export interface KeyLookup {
  /** The key of a digest or the reason why there is none; throws (or rejects with) AUTH_STORE_UNAVAILABLE. */
  find (digest: string): ProvedKey | KeyRefusal | Promise<ProvedKey | KeyRefusal>
  /** What is held of a digest and may still be used; undefined where the store has to be asked. */
  held (digest: string): ProvedKey | KeyRefusal | undefined
  /** The key that proved this very principal; null for an object made elsewhere. */
  keyOf (principal: ApiKeyPrincipal): ProvedKey | null
  /** What is held: active keys, refusals, loads in the air. */
  size (): { proved: number, refused: number, loads: number }
  close (): void
}

// A typical record has 600 bytes. Where a tenant fills its keys' scopes and metadata, fewer of them are held.
const bytesForEach = 4096
// What a held key takes beyond its record: its digest, its principal, its opened secrets.
const entryBytes = 1024
// A refusal is held for a second, to take the weight of a client that repeats itself; and few of them, for
// the next thing a flood sends is another key.
const refusalTime = 1000
const maxRefusals = 1000
// A flood of invented keys, each of which looks as good as any other, must not take the store from those who
// have a key: digests that were not active here before have a small budget of their own. Without any limit a
// slow store would be memory without end. The budget of those that were is shared by their tenants, and so is
// the room in which they are held.
const maxUnknownLoads = 100
const maxKnownLoads = 1000
const maxKnown = 10_000
const [knownHere, unknownHere] = [Object.freeze({ known: true }), Object.freeze({ known: false })]
// Milliseconds: well below those after which a revocation has to be heard everywhere.
const joinable = 100
// Whoever can send changes without end must not keep a key from being answered. See `join` for those who come later.
const maxReadings = 4

/** What was heard since a reading began. */
interface Heard {
  changed: boolean
  /** A key was made whose digest was not told. */
  created: boolean
  changedIds: Set<string> | null
  /** It is not read again, whatever is heard. */
  last: boolean
  /** Nobody tells it any more. */
  over: boolean
}

export function createLookup (settings: Pick<ApiKeySettings, 'store' | 'environments' | 'cache' | 'timeLimit'>, tools: Pick<ApiKeyTools, 'clock' | 'timers'>): KeyLookup {
  const { store, environments, cache, timeLimit } = settings
  const { clock, timers } = tools
  const channel = store.invalidation ?? null

  const digestOf = new Map<string, string>()
  const proved = cache && channel
    ? new LRUCache<string, ProvedKey>({ max: cache.max, maxSize: cacheBytes(cache.max), dispose: (key) => { digestOf.delete(key.record.keyId) } })
    : null
  const refused = cache ? new LRUCache<string, { reason: KeyRefusal, since: number }>({ max: Math.min(cache.max, maxRefusals) }) : null
  const loads = new Map<string, { answer: Promise<ProvedKey | KeyRefusal>, heard: Heard, began: number }>()
  const keys = new WeakMap<ApiKeyPrincipal, ProvedKey>()
  const known = createKnownDigests(maxKnown)
  const knownLoads = createShares(maxKnownLoads)
  let unknownLoads = 0
  let sweeping: Timer | null = null
  let closed = false

  function find (digest: string): ProvedKey | KeyRefusal | Promise<ProvedKey | KeyRefusal> {
    return held(digest) ?? join(digest) ?? load(digest)
  }

  /**
   * The reading in the air. Where its channel is heard it is told of changes; where nobody tells it, it may have seen the key before
   * a revocation, so that only those join who come right behind the first. Nobody joins the last reading of a key that has changed
   * meanwhile: its answer is for those who asked before the change was heard.
   */
  function join (digest: string): Promise<ProvedKey | KeyRefusal> | undefined {
    const load = loads.get(digest)
    if (load === undefined) return undefined
    const { heard } = load
    const isDoubtful = heard.last && (heard.changed || heard.created || heard.changedIds !== null)
    if (!isDoubtful && (channel?.healthy === true || clock() - load.began < joinable)) return load.answer
    heard.over = true
    return undefined
  }

  function held (digest: string): ProvedKey | KeyRefusal | undefined {
    const key = proved?.get(digest)
    if (key !== undefined) {
      const now = clock()
      // A clock that was set back must not lengthen the life of an entry: hence the lower bound.
      if (!(now >= key.since && now < key.until)) proved?.delete(digest)
      // Otherwise it is kept for when the channel is healthy again: where changes were missed, a reset comes first.
      else if (channel?.healthy) return key
    }
    const refusal = refused?.get(digest)
    if (refusal === undefined) return undefined
    const age = clock() - refusal.since
    if (age >= 0 && age < refusalTime) return refusal.reason
    refused?.delete(digest)
    return undefined
  }

  /** Reads within the budget of those who send this digest. */
  function load (digest: string): ProvedKey | KeyRefusal | Promise<ProvedKey | KeyRefusal> {
    const tenantId = known.tenantOf(digest)
    const isFree = tenantId === undefined ? unknownLoads < maxUnknownLoads : knownLoads.take(tenantId)
    if (!isFree) throw new AuthError('AUTH_STORE_UNAVAILABLE', 'rejected', { retryAfter: 1, detail: 'the API key store: too many readings wait for it' })
    if (tenantId === undefined) unknownLoads++
    const over = (): void => {
      if (tenantId === undefined) unknownLoads--
      else knownLoads.giveBack(tenantId)
    }
    let found
    try {
      found = read(digest, tenantId === undefined ? unknownHere : knownHere)
    } catch (error) {
      over()
      throw error
    }
    if (found instanceof Promise) found.then(over, over)
    else over()
    return found
  }

  function read (digest: string, hint: LookupHint): ProvedKey | KeyRefusal | Promise<ProvedKey | KeyRefusal> {
    // Before the reading starts: its promise would be awaited by nothing if the clock failed afterwards.
    const began = clock()
    let record
    try {
      record = store.findByDigest(digest, hint)
      if (!isLater(record)) return keep(digest, judge(digest, record))
    } catch (cause) {
      throw storeUnavailable(cause)
    }
    const heard: Heard = { changed: false, created: false, changedIds: null, last: false, over: false }
    const end = () => {
      if (loads.get(digest)?.heard === heard) loads.delete(digest)
      heard.over = true
    }
    // The first request waits as all the others do, so that one reading and one time limit serve them all.
    const answer = withinTimeLimit(readUntilSettled(digest, heard, record, end, hint), timeLimit, timers).finally(end)
    loads.set(digest, { answer, heard, began })
    return answer
  }

  async function readUntilSettled (digest: string, heard: Heard, first: PromiseLike<StoredApiKey | null>, end: () => void, hint: LookupHint): Promise<ProvedKey | KeyRefusal> {
    let record = await first
    // Past its time limit nobody waits for it any more.
    for (let readings = 1; readings < maxReadings && !heard.over && hasChanged(heard, record); readings++) {
      Object.assign(heard, { changed: false, created: false, changedIds: null, last: readings + 1 === maxReadings })
      record = await store.findByDigest(digest, hint)
    }
    const isSettled = !heard.over && !hasChanged(heard, record)
    const found = judge(digest, record)
    if (typeof found === 'string') known.forget(digest)
    else known.note(digest, found.record.tenantId)
    // Past its time limit nobody has told this reading of changes, so it is not kept.
    if (isSettled) keep(digest, found)
    // In the same step: a request that comes after a revocation must not join a reading from before it.
    end()
    return found
  }

  function judge (digest: string, record: StoredApiKey | null): ProvedKey | KeyRefusal {
    if (record === null) return 'unknown'
    // Neither "no" nor another key's record is an answer: a collation that ignores case, a query that forgot its condition.
    if (record?.digest !== digest) throw new TypeError('The store answered with something else than the key of this digest')
    const now = clock()
    const bytes = checkStoredKey(record, now)
    const status = apiKeyStatus(record, now)
    if (status !== 'active') return status
    // The text of a legacy key does not tell its environment, the record does.
    if (!environments.includes(record.environment)) return 'environment'
    const expiry = record.expiresAt === null ? Infinity : Date.parse(record.expiresAt)
    const key: ProvedKey = {
      record,
      principal: apiKeyPrincipal(record),
      bytes,
      since: now,
      until: Math.min(expiry, now + (cache?.ttl ?? 0) * 1000),
      noted: record.lastUsedAt === null ? 0 : Date.parse(record.lastUsedAt) || 0,
      opened: null
    }
    keys.set(key.principal, key)
    return key
  }

  function keep (digest: string, found: ProvedKey | KeyRefusal): ProvedKey | KeyRefusal {
    // Nobody tells a closed lookup of changes; a request that is still on its way is answered all the same.
    if (closed) return found
    if (typeof found === 'string') {
      proved?.delete(digest)
      refused?.set(digest, { reason: found, since: clock() })
    } else if (proved !== null && channel?.healthy) {
      proved.set(digest, found, { size: found.bytes + entryBytes })
      digestOf.set(found.record.keyId, digest)
      sweepLater()
    }
    return found
  }

  function forget (change: KeyChange): void {
    if ('tenantId' in change) return forgetTenant(change.tenantId)
    const { digest, keyId } = change
    if (keyId !== undefined) {
      const held = digestOf.get(keyId)
      if (held !== undefined) proved?.delete(held)
    }
    if (digest !== undefined) {
      proved?.delete(digest)
      refused?.delete(digest)
      const load = loads.get(digest)
      if (load !== undefined) load.heard.changed = true
    } else if (keyId !== undefined) {
      const isNew = change.created === true
      if (isNew) refused?.clear()
      // Whose digest this is only the answers in the air will tell.
      for (const { heard } of loads.values()) {
        (heard.changedIds ??= new Set()).add(keyId)
        if (isNew) heard.created = true
      }
    }
  }

  function forgetTenant (tenantId: string): void {
    for (const [digest, key] of proved?.entries() ?? []) if (key.record.tenantId === tenantId) proved?.delete(digest)
    for (const { heard } of loads.values()) heard.changed = true
  }

  function forgetAll (): void {
    proved?.clear()
    refused?.clear()
    for (const { heard } of loads.values()) heard.changed = true
  }

  // An entry that nobody asks for again would keep its opened secrets in memory.
  function sweepLater (): void {
    if (sweeping !== null || cache === null) return
    sweeping = timers.setTimeout(() => {
      sweeping = null
      const now = timeToSweep()
      for (const [digest, key] of proved?.entries() ?? []) if (!(now < key.until)) proved?.delete(digest)
      if (proved !== null && proved.size > 0) sweepLater()
    }, cache.ttl * 1000)
    sweeping.unref()
  }

  /** In a timer an exception would end the process: where the clock fails, everything is forgotten. */
  function timeToSweep (): number {
    try {
      return clock()
    } catch {
      return Infinity
    }
  }

  const stopListening = listenToStore(store, { onInvalidated: forget, onReset: forgetAll })

  return {
    find,
    held,
    keyOf: (principal) => keys.get(principal) ?? null,
    size: () => ({ proved: proved?.size ?? 0, refused: refused?.size ?? 0, loads: loads.size }),
    close () {
      closed = true
      stopListening()
      forgetAll()
      known.clear()
      if (sweeping !== null) timers.clearTimeout(sweeping)
      sweeping = null
    }
  }
}

/** Bytes of a cache of so many entries. One record of any size fits in. */
function cacheBytes (max: number): number {
  return Math.max(max * bytesForEach, maxRecordBytes + entryBytes)
}

function hasChanged (heard: Heard, record: StoredApiKey | null): boolean {
  return heard.changed || (record === null ? heard.created : heard.changedIds?.has(record?.keyId) === true)
}
