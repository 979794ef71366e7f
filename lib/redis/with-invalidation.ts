/** A channel for a store that has none. */
import type { InvalidationChannel } from '../api-key/invalidation.js'
import type { ApiKeyStore } from '../api-key/store.js'
import { configError } from '../errors.js'

/**
 * The store with a channel beside it, so that positive answers may be cached: for one that you wrote, or for PostgreSQL behind a
 * pooler that cannot LISTEN. Give the plugin what this answers and not the store itself.
 */
export function withInvalidation (store: ApiKeyStore, invalidation: InvalidationChannel): ApiKeyStore {
  if (store.invalidation !== undefined) throw configError('option', 'withInvalidation: this store has a channel already. Take it off where the store is made (PostgresApiKeyStore: listener)')
  if (typeof invalidation?.subscribe !== 'function') throw configError('option', 'withInvalidation: the second argument must be an InvalidationChannel, for example redisInvalidation({ client })')
  // Call by call, for the methods of a class may need the very object that they belong to.
  return {
    invalidation,
    ...(store.ephemeral === true ? { ephemeral: true } : {}),
    findByDigest: (digest, hint) => store.findByDigest(digest, hint),
    create: (record, quota) => store.create(record, quota),
    get: (name) => store.get(name),
    list: (query) => store.list(query),
    revoke: (revocation) => store.revoke(revocation),
    rotate: (rotation) => store.rotate(rotation),
    replaceSecrets: (replacement) => store.replaceSecrets(replacement),
    revokeAll: (query) => store.revokeAll(query),
    touch: (uses) => store.touch(uses)
  }
}
