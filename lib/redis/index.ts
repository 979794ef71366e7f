/** What processes share through Redis: changes of API keys, and the deliveries that were received. */
export { redisInvalidation, type RedisInvalidation, type RedisInvalidationOptions } from './invalidation.js'
export { RedisReplayStore, type RedisReplayStoreOptions } from './replay-store.js'
export { withInvalidation } from './with-invalidation.js'
export type { IoredisClient, NodeRedisClient, RedisClient } from './driver.js'
