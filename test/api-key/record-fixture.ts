import { randomBytes } from 'node:crypto'
import { createApiKey } from '../../lib/api-key/key.js'
import { createKeyId } from '../../lib/api-key/key-id.js'
import type { StoredApiKey } from '../../lib/api-key/record.js'

/** A complete record of a new key, and the key. Every field that is not given has a value that a store could lose. */
export function newRecord (fields: Partial<StoredApiKey> = {}): { key: string, record: StoredApiKey } {
  const { key, digest, prefix, environment } = createApiKey({ environment: fields.environment ?? 'live' })
  const createdAt = fields.createdAt ?? '2026-01-02T03:04:05.678Z'
  return {
    key,
    record: {
      keyId: createKeyId(Date.parse(createdAt), randomBytes),
      tenantId: 'ten_A',
      name: 'CI “Ünïcode” 🔑',
      prefix,
      environment,
      scopes: ['report:read', 'report:write'],
      digest: digest.toString('hex'),
      sealedSecrets: [{ sealed: 'v1.00000000.AAAA', until: null }, { sealed: 'v1.00000000.BBBB', until: '2026-01-03T00:00:00.000Z' }],
      createdAt,
      createdBy: 'usr_1',
      expiresAt: null,
      revokedAt: null,
      revokedBy: null,
      rotatedFrom: null,
      replacedBy: null,
      lastUsedAt: null,
      metadata: { team: { name: 'a', tags: [1, null, true] } },
      ...fields
    }
  }
}
