/** How large a key record and its parts may be, so that memory, pages and tables stay bounded in bytes. */

/** Characters of a text. None of them holds a control character or a lone surrogate. */
export const maxNameLength = 100
export const maxTenantIdLength = 256
export const maxKeyIdLength = 128
export const maxCursorLength = 256
export const maxActorLength = 256

/** Scopes of one key, and characters of each. */
export const maxScopes = 100
export const maxScopeLength = 128

/** Bytes of `metadata` as JSON. */
export const maxMetadataBytes = 4096

/**
 * Bytes of a stored record as JSON. More than a new record can have: records of older versions, whose scopes and metadata had no
 * limit, are still read up to this size.
 */
export const maxRecordBytes = 65_536

/** Bytes of a page of records as JSON; one record is always on it. */
export const maxPageBytes = 262_144

/** Revoked and expired keys that a store keeps of each tenant, the newest. */
export const maxEndedKeys = 1000

/** The last time that ISO 8601 writes with four digits for the year, and that every database holds. */
export const maxTime = '9999-12-31T23:59:59.999Z'
