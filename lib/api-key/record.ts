/** What is known of an API key. */
import { Type, type Static } from '@sinclair/typebox'
import { freezePrincipal, type ApiKeyPrincipal } from '../principal.js'

const time = (description: string) => Type.String({ description: `${description} ISO 8601, UTC.` })
const timeOrNull = (description: string) => Type.Union([Type.String(), Type.Null()], { description: `${description} ISO 8601, UTC.` })
const textOrNull = (description: string) => Type.Union([Type.String(), Type.Null()], { description })

/** The part of a record that may be shown: neither the digest nor a webhook secret, sealed or open. */
export const ApiKeyRecordSchema = Type.Object({
  keyId: Type.String({ description: 'The name of the key, `key_` and a ULID.' }),
  tenantId: Type.String({ minLength: 1 }),
  name: Type.String({ minLength: 1, maxLength: 100 }),
  prefix: Type.String({ description: 'How the key begins, to tell one from another.' }),
  environment: Type.Union([Type.Literal('live'), Type.Literal('test')]),
  scopes: Type.Unsafe<readonly string[]>(Type.Array(Type.String())),
  status: Type.Union([Type.Literal('active'), Type.Literal('revoked'), Type.Literal('expired')]),
  createdAt: time('When it was made.'),
  createdBy: textOrNull('Who made it.'),
  expiresAt: timeOrNull('When it stops working by itself.'),
  revokedAt: timeOrNull('When it was revoked.'),
  revokedBy: textOrNull('Who revoked it.'),
  rotatedFrom: textOrNull('The key that it replaces.'),
  replacedBy: textOrNull('The key that replaces it.'),
  lastUsedAt: timeOrNull('When it was last used, to a minute or so.'),
  metadata: Type.Unsafe<Readonly<Record<string, unknown>>>(Type.Record(Type.String(), Type.Unknown()))
}, { $id: 'ApiKeyRecord', description: 'An API key as it may be shown.' })

/** An API key as it may be shown. */
export type ApiKeyRecord = Readonly<Static<typeof ApiKeyRecordSchema>>

/** A webhook secret that only a sealing key opens. */
export interface SealedSecret {
  readonly sealed: string
  /** When it stops verifying, ISO 8601; null: while the key lives. */
  readonly until: string | null
}

/** An API key as stores keep it. The status is not kept: it follows from the times. */
export interface StoredApiKey extends Omit<ApiKeyRecord, 'status'> {
  /** SHA-256 of the key, 64 lowercase hex digits. Text, so that it can be frozen, compared and sent as a notification. */
  readonly digest: string
  /** Newest first. */
  readonly sealedSecrets: readonly SealedSecret[]
}

/**
 * The status of a key at a time (milliseconds). A revoked key stays revoked when it also expires.
 * A time that cannot be read counts as past, and a `revokedAt` that is neither null nor a time as a revocation: a damaged record
 * opens nothing. A clock that returns no number finds every key with an expiry expired.
 */
export function apiKeyStatus (record: Pick<StoredApiKey, 'revokedAt' | 'expiresAt'>, now: number): ApiKeyRecord['status'] {
  if (record.revokedAt !== null) return 'revoked'
  if (record.expiresAt !== null && !(now < Date.parse(record.expiresAt))) return 'expired'
  return 'active'
}

/** The status in the words of the wire contract, which has two: an expired key opens nothing and is listed as revoked. */
export function listedStatus (record: Pick<ApiKeyRecord, 'status'>): 'active' | 'revoked' {
  return record.status === 'active' ? 'active' : 'revoked'
}

/** The part of a stored record that may be shown. Fields are named one by one: what a store adds of its own stays inside. */
export function publicRecord (record: StoredApiKey, now: number): ApiKeyRecord {
  return {
    keyId: record.keyId,
    tenantId: record.tenantId,
    name: record.name,
    prefix: record.prefix,
    environment: record.environment,
    scopes: record.scopes,
    status: apiKeyStatus(record, now),
    createdAt: record.createdAt,
    createdBy: record.createdBy,
    expiresAt: record.expiresAt,
    revokedAt: record.revokedAt,
    revokedBy: record.revokedBy,
    rotatedFrom: record.rotatedFrom,
    replacedBy: record.replacedBy,
    lastUsedAt: record.lastUsedAt,
    metadata: record.metadata
  }
}

/** The holder of a key. This does not look at the status: whoever asks has. */
export function apiKeyPrincipal (record: StoredApiKey): ApiKeyPrincipal {
  return freezePrincipal({
    scheme: 'apiKey',
    tenantId: record.tenantId,
    roles: [],
    scopes: [...record.scopes] as ApiKeyPrincipal['scopes'],
    proofs: ['apiKey'],
    keyId: record.keyId,
    name: record.name,
    environment: record.environment,
    createdBy: record.createdBy
  })
}
