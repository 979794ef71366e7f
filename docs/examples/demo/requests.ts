/** The requests of `--once`: what each credential opens and what it does not. They run in this order. */
import type { World } from './world.js'
import { signWebhook } from '../../../lib/index.js'

export interface DemoRequest {
  readonly method: 'GET' | 'POST' | 'DELETE'
  readonly path: string
  /** The credential in words, for the table. */
  readonly credential: string
  /** Names and values by turns; a name may be there twice. */
  readonly headers: readonly string[]
  readonly body?: string
  /** The status and, for a refusal, the word of the error. */
  readonly expected: string
}

export function requestsOf (world: World): DemoRequest[] {
  return [...ofTokens(world), ...ofKeys(world), ...ofRoles(world), ...ofSignatures(world), ...ofIngest(world)]
}

function ofTokens ({ tokens, tenant, otherTenant }: World): DemoRequest[] {
  const me = (credential: string, headers: string[], expected: string): DemoRequest => ({ method: 'GET', path: '/v1/me', credential, headers, expected })
  const incidents = (of: string, expected: string): DemoRequest =>
    ({ method: 'GET', path: `/v1/tenants/${of}/incidents`, credential: 'token', headers: bearer(tokens.member), expected })
  return [
    { method: 'GET', path: '/health', credential: 'none, public', headers: [], expected: '200' },
    me('none', [], '401 unauthorized'),
    me('token', bearer(tokens.member), '200'),
    me('token, forged', bearer(tokens.forged), '401 unauthorized'),
    me('token, alg none', bearer(tokens.unsigned), '401 unauthorized'),
    me('token, expired', bearer(tokens.expired), '401 unauthorized'),
    me('token, for another audience', bearer(tokens.otherAudience), '401 unauthorized'),
    me('token, user signed out', bearer(tokens.signedOut), '401 unauthorized'),
    me('token, twice', [...bearer(tokens.member), ...bearer(tokens.admin)], '400 invalid_request'),
    me('token, no tenant', bearer(tokens.newcomer), '403 forbidden'),
    { method: 'POST', path: '/v1/tenants', credential: 'token, no tenant', headers: bearer(tokens.newcomer), body: '{"name":"Newcomer"}', expected: '201' },
    incidents(tenant, '200'),
    incidents(otherTenant, '403 forbidden')
  ]
}

function ofKeys ({ keys, unknownKey, tenant, otherTenant }: World): DemoRequest[] {
  const incidents = (credential: string, headers: string[], expected: string, of = tenant): DemoRequest =>
    ({ method: 'GET', path: `/v1/tenants/${of}/incidents`, credential, headers, expected })
  const key = keys.ingest.plaintextKey
  return [
    incidents('none', [], '401 unauthorized'),
    incidents('key', apiKey(key), '200'),
    incidents('key, as bearer', bearer(key), '200'),
    incidents('key, mistyped', apiKey(`${key.slice(0, -1)}${key.endsWith('0') ? '1' : '0'}`), '401 invalid_api_key'),
    incidents('key, forged', apiKey(unknownKey), '401 invalid_api_key'),
    incidents('key, expired', apiKey(keys.expired.plaintextKey), '401 invalid_api_key'),
    incidents('key, revoked', apiKey(keys.revoked.plaintextKey), '401 invalid_api_key'),
    incidents('key', apiKey(key), '403 forbidden', otherTenant),
    incidents('key, of that tenant', apiKey(keys.other.plaintextKey), '200', otherTenant)
  ]
}

function ofRoles ({ tokens, keys }: World): DemoRequest[] {
  const report = (credential: string, headers: string[], expected: string): DemoRequest => ({ method: 'GET', path: '/v1/report', credential, headers, expected })
  const create = (credential: string, headers: string[], expected: string, name: string): DemoRequest =>
    ({ method: 'POST', path: '/v1/api-keys', credential, headers, body: JSON.stringify({ name }), expected })
  const revoke = (credential: string, headers: string[], expected: string): DemoRequest =>
    ({ method: 'DELETE', path: `/v1/api-keys/${keys.reader.keyId}`, credential, headers, expected })
  return [
    report('token, member', bearer(tokens.member), '403 forbidden'),
    report('token, admin', bearer(tokens.admin), '200'),
    report('key, without the scope', apiKey(keys.ingest.plaintextKey), '403 insufficient_scope'),
    report('key, with the scope', apiKey(keys.reader.plaintextKey), '200'),
    report('token and key', [...bearer(tokens.admin), ...apiKey(keys.reader.plaintextKey)], '400 invalid_request'),
    create('token, member', bearer(tokens.member), '403 forbidden', 'Grafana'),
    create('token, admin; no name', bearer(tokens.admin), '400 validation_error', ''),
    create('token, admin', bearer(tokens.admin), '201', 'Grafana'),
    create('token, admin; over the quota', bearer(tokens.admin), '429 quota_exceeded', 'Sentry'),
    { method: 'GET', path: '/v1/api-keys', credential: 'token, member', headers: bearer(tokens.member), expected: '200' },
    revoke('key instead of a token', apiKey(keys.reader.plaintextKey), '401 unauthorized'),
    revoke('token, admin', bearer(tokens.admin), '204'),
    revoke('token, admin; once more', bearer(tokens.admin), '409 conflict'),
    report('key, revoked a moment ago', apiKey(keys.reader.plaintextKey), '401 invalid_api_key')
  ]
}

function ofSignatures ({ eventSecret, tenant, clock }: World): DemoRequest[] {
  const event = (id: string, at: number): string => JSON.stringify({ event: 'incident.created', timestamp: new Date(at).toISOString(), tenantId: tenant, data: { incidentId: id } })
  const send = (credential: string, body: string, headers: string[], expected: string): DemoRequest => ({ method: 'POST', path: '/v1/events', credential, headers, body, expected })
  const fresh = event('inc_1', clock())
  const stale = event('inc_2', clock() - 3_600_000)
  const [name = '', value = ''] = signed(fresh, eventSecret)
  return [
    send('none', fresh, [], '401 invalid_signature'),
    send('signature, with another secret', fresh, signed(fresh, 'whsec_of_somebody_else'), '401 invalid_signature'),
    send('signature, in capitals', fresh, [name, value.toUpperCase().replace('SHA256', 'sha256')], '401 invalid_signature'),
    send('signature; compressed body', fresh, [name, value, 'Content-Encoding', 'gzip'], '415 unsupported_media_type'),
    send('signature, an hour old', stale, signed(stale, eventSecret), '401 invalid_signature'),
    send('signature', fresh, [name, value], '202'),
    send('signature, sent again', fresh, [name, value], '409 duplicate_delivery')
  ]
}

function ofIngest ({ keys, tokens, tenant, otherTenant }: World): DemoRequest[] {
  const pretty = JSON.stringify({ alert: 'Latency above 2 s', service: 'search' }, null, 2)
  const compact = JSON.stringify(JSON.parse(pretty))
  const key = apiKey(keys.ingest.plaintextKey)
  const signature = signed(pretty, secretOf(keys.ingest))
  const ingest = (credential: string, headers: string[], expected: string, body = pretty, of = tenant): DemoRequest =>
    ({ method: 'POST', path: `/v1/webhooks/${of}/datadog`, credential, headers, body, expected })
  return [
    ingest('none', [], '401 invalid_api_key'),
    ingest('key alone', key, '401 invalid_signature'),
    ingest('signature alone', signature, '401 invalid_api_key'),
    ingest('token and signature', [...bearer(tokens.admin), ...signature], '401 invalid_api_key'),
    ingest('key, signature; body re-serialised', [...key, ...signature], '401 invalid_signature', compact),
    ingest('key, signature of another key', [...key, ...signed(pretty, secretOf(keys.other))], '401 invalid_signature'),
    ingest('revoked key, its signature', [...apiKey(keys.revoked.plaintextKey), ...signed(pretty, secretOf(keys.revoked))], '401 invalid_api_key'),
    ingest('key, signature; other tenant\'s URL', [...key, ...signature], '403 forbidden', pretty, otherTenant),
    ingest('key, signature', [...key, ...signature], '201'),
    ingest('key, signature, sent again', [...key, ...signature], '409 duplicate_delivery')
  ]
}

function bearer (credential: string): string[] {
  return ['Authorization', `Bearer ${credential}`]
}

function apiKey (key: string): string[] {
  return ['X-API-Key', key]
}

function signed (body: string, secret: string): string[] {
  return Object.entries(signWebhook(body, secret)).flat()
}

function secretOf ({ webhookSecret }: World['keys']['ingest']): string {
  return webhookSecret ?? ''
}
