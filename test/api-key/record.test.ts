import t from 'tap'
import { Value } from '@sinclair/typebox/value'
import { ApiKeyRecordSchema, apiKeyPrincipal, apiKeyStatus, listedStatus, publicRecord } from '../../lib/api-key/record.js'
import { newRecord } from './record-fixture.js'

const now = Date.parse('2026-02-01T00:00:00.000Z')

t.test('a key is active up to its expiry and expired from that millisecond; revoked counts before expired', async (t) => {
  const expiresAt = new Date(now).toISOString()
  t.equal(apiKeyStatus({ revokedAt: null, expiresAt: null }, now), 'active')
  t.equal(apiKeyStatus({ revokedAt: null, expiresAt }, now - 1), 'active')
  t.equal(apiKeyStatus({ revokedAt: null, expiresAt }, now), 'expired')
  t.equal(apiKeyStatus({ revokedAt: expiresAt, expiresAt }, now), 'revoked')
  t.equal(apiKeyStatus({ revokedAt: '2099-01-01T00:00:00.000Z', expiresAt: null }, now), 'revoked', 'a time of revocation never lies ahead')
})

t.test('a time that cannot be read opens nothing', async (t) => {
  t.equal(apiKeyStatus({ revokedAt: null, expiresAt: 'soon' }, now), 'expired')
  t.equal(apiKeyStatus({ revokedAt: '', expiresAt: null }, now), 'revoked')
})

t.test('a list has two words for three statuses', async (t) => {
  t.strictSame((['active', 'revoked', 'expired'] as const).map((status) => listedStatus({ status })), ['active', 'revoked', 'revoked'])
})

t.test('the public part has every field of its schema and neither digest nor secret nor what a store adds', async (t) => {
  const { record } = newRecord()
  const shown = publicRecord({ ...record, row_version: 3 } as typeof record, now)
  t.ok(Value.Check(ApiKeyRecordSchema, shown))
  t.strictSame(Object.keys(shown).sort(), Object.keys(ApiKeyRecordSchema.properties).sort())
  t.notOk(JSON.stringify(shown).includes(record.digest))
})

t.test('the schema of a record takes every status and environment, and refuses names that are empty or too long', async (t) => {
  const shown = publicRecord(newRecord().record, now)
  t.equal(ApiKeyRecordSchema.$id, 'ApiKeyRecord')
  for (const change of [{ status: 'revoked' }, { status: 'expired' }, { environment: 'test' }, { name: 'x'.repeat(100) }]) t.ok(Value.Check(ApiKeyRecordSchema, { ...shown, ...change }), JSON.stringify(change))
  for (const change of [{ status: 'gone' }, { environment: 'prod' }, { tenantId: '' }, { name: '' }, { name: 'x'.repeat(101) }]) t.notOk(Value.Check(ApiKeyRecordSchema, { ...shown, ...change }), JSON.stringify(change))
})

t.test('a principal says whose key it is, and neither it nor what it lists can be changed', async (t) => {
  const { record } = newRecord()
  const principal = apiKeyPrincipal(record)
  t.strictSame(principal, {
    scheme: 'apiKey',
    tenantId: 'ten_A',
    roles: [],
    scopes: ['report:read', 'report:write'],
    proofs: ['apiKey'],
    keyId: record.keyId,
    name: record.name,
    environment: 'live',
    createdBy: 'usr_1'
  })
  t.throws(() => { (principal as { tenantId: string }).tenantId = 'ten_B' }, TypeError)
  t.throws(() => { (principal.scopes as string[]).push('admin') }, TypeError)
  t.throws(() => { (principal.roles as string[]).push('admin') }, TypeError)
  t.notOk(Object.isFrozen(record.scopes), 'the record of the caller is left alone')
})
