/** Checks what a store returns, before anything in it is trusted. */
import { Type } from '@sinclair/typebox'
import { TypeCompiler } from '@sinclair/typebox/compiler'
import { AuthError } from '../errors.js'
import { eventTime, publishKeyEvent } from './key-event.js'
import { maxSecrets, type KeyName } from './lifecycle.js'
import { maxCursorLength, maxRecordBytes, maxTenantIdLength } from './limits.js'
import type { StoredApiKey } from './record.js'
import type { ListPage, ListQuery } from './store.js'

const text = Type.String({ minLength: 1 })
const textOrNull = Type.Union([Type.String(), Type.Null()])

// What a store adds of its own is not looked at: nothing reads it.
const schema = Type.Object({
  keyId: text,
  tenantId: text,
  name: text,
  prefix: Type.String(),
  environment: Type.Union([Type.Literal('live'), Type.Literal('test')]),
  scopes: Type.Array(Type.String()),
  digest: Type.String({ pattern: '^[0-9a-f]{64}$' }),
  sealedSecrets: Type.Array(Type.Object({ sealed: Type.String(), until: textOrNull }), { maxItems: maxSecrets }),
  createdAt: text,
  createdBy: textOrNull,
  expiresAt: textOrNull,
  revokedAt: textOrNull,
  revokedBy: textOrNull,
  rotatedFrom: textOrNull,
  replacedBy: textOrNull,
  lastUsedAt: textOrNull,
  metadata: Type.Object({})
})
const shape = TypeCompiler.Compile(schema)

/**
 * The bytes of a record as JSON, where it has the types, times and size that a stored key has. Throws AUTH_STORE_UNAVAILABLE with the
 * reason `record`, and publishes an event, where it does not: a record that cannot be trusted says neither yes nor no.
 * Costs some microseconds, so ask once for each record that was read and not for each request.
 */
export function checkStoredKey (record: unknown, now: number): number {
  let bytes = Infinity
  try {
    // JSON cannot write what refers to itself, nor a bigint.
    bytes = Buffer.byteLength(JSON.stringify(record) ?? '')
  } catch {}
  const field = !shape.Check(record) ? shape.Errors(record).First()?.path ?? '' : unreadableTime(record) ?? (bytes > maxRecordBytes ? '' : null)
  if (field !== null) throw invalid(record, field, now)
  return bytes
}

/** The tenant's key that a store returned for this name, checked. */
export function readStoredKey (record: StoredApiKey | null, { tenantId, keyId }: KeyName, now: number): StoredApiKey | null {
  if (record === null) return null
  checkStoredKey(record, now)
  if (record.keyId !== keyId) throw invalid(record, '/keyId', now)
  if (record.tenantId !== tenantId) throw invalid(record, '/tenantId', now)
  return record
}

/** A page of the tenant's keys, checked. */
export function readPage (page: ListPage | 'invalid-cursor', { tenantId, limit }: ListQuery, now: number): ListPage | 'invalid-cursor' {
  if (page === 'invalid-cursor') return page
  const { records, cursor } = page ?? {}
  if (!Array.isArray(records) || records.length > limit || !(cursor === null || (typeof cursor === 'string' && cursor !== '' && cursor.length <= maxCursorLength))) {
    throw invalid(null, '', now)
  }
  for (const record of records as unknown[]) {
    checkStoredKey(record, now)
    if ((record as StoredApiKey).tenantId !== tenantId) throw invalid(record, '/tenantId', now)
  }
  return page
}

/** The first time that no date can be read from; null: there is none. */
function unreadableTime (record: Pick<StoredApiKey, 'createdAt' | 'expiresAt' | 'revokedAt' | 'lastUsedAt' | 'sealedSecrets'>): string | null {
  if (!isTime(record.createdAt)) return '/createdAt'
  if (!isTime(record.expiresAt)) return '/expiresAt'
  if (!isTime(record.revokedAt)) return '/revokedAt'
  if (!isTime(record.lastUsedAt)) return '/lastUsedAt'
  for (const { until } of record.sealedSecrets) if (!isTime(until)) return '/sealedSecrets'
  return null
}

function isTime (time: string | null): boolean {
  return time === null || !Number.isNaN(Date.parse(time))
}

/** The error names the field and never its value, which may be a digest or a secret that stands in the wrong place. */
function invalid (record: unknown, field: string, now: number): AuthError {
  const { keyId, tenantId } = (record ?? {}) as Record<string, unknown>
  publishKeyEvent({ event: 'record-invalid', keyId: idText(keyId), tenantId: idText(tenantId), field, at: eventTime(now) })
  return new AuthError('AUTH_STORE_UNAVAILABLE', 'record', {
    cause: new TypeError(`The store returned something else than a key record: see ${field === '' ? 'its form and size' : field}`),
    detail: 'the API key store: it returned something else than a key record'
  })
}

/** An id, and nothing that could be a digest, a key or a secret in its place. */
function idText (value: unknown): string | null {
  return typeof value === 'string' && value.length <= maxTenantIdLength && !/[0-9a-f]{64}|cflo_|whsec_/i.test(value) ? value : null
}
