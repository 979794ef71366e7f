import { randomBytes } from 'node:crypto'
import { createApiKey, type StoredApiKey } from '../../lib/index.js'

// Crockford's base32, as in a ULID.
const digits = '0123456789ABCDEFGHJKMNPQRSTVWXYZ'

/** A key id that sorts by its time. */
function newKeyId (createdAt: string): string {
  const time = [...Date.parse(createdAt).toString(32)].map((digit) => digits.charAt(parseInt(digit, 32))).join('').padStart(10, '0')
  return `key_${time}${[...randomBytes(16)].map((byte) => digits.charAt(byte % 32)).join('')}`
}

/** A complete record of a new key, and the key. Every field that is not given has a value that a store could lose. */
export function newRecord (fields: Partial<StoredApiKey> = {}): { key: string, record: StoredApiKey } {
  const { key, digest, prefix, environment } = createApiKey({ environment: fields.environment ?? 'live' })
  const createdAt = fields.createdAt ?? '2026-01-02T03:04:05.678Z'
  return {
    key,
    record: {
      keyId: newKeyId(createdAt),
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
