/** API keys in PostgreSQL. */
export { PostgresApiKeyStore, type PostgresApiKeyStoreOptions } from './store.js'
export { migrationsSql } from './migrations.js'
export type { NameOptions } from './names.js'
export type { PostgresPool, PostgresPoolClient, Statement } from './database.js'
export type { PostgresListener } from './listening.js'
