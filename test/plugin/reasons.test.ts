// Why a token was refused: one line of the log and one event say it, the documentation lists it, and the client does not learn it.
import t from 'tap'
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { readFileSync } from 'node:fs'
import Fastify from 'fastify'
import { auth, causeflowAuth, clerk } from '../../lib/index.js'
import { bearer, createTestIssuer } from '../../lib/testing/index.js'
import { createLog } from '../fixtures/app.js'
import { watchProcess } from '../fixtures/process-watch.js'

watchProcess(t)

const page = readFileSync(new URL('../../docs/tokens.md', import.meta.url), 'utf8')
const documented = new Map<string, string>(page.split('\n').filter((line) => line.startsWith('| `AUTH_')).flatMap((line) => {
  const [, codes = '', reasons = ''] = line.split('|')
  return [...codes.matchAll(/AUTH_\w+/g)].map(([code]) => [code, reasons] as const)
}))

t.test('every way in which a token is refused has its own reason, in the log and the event and not in the answer', { timeout: 60_000 }, async (t) => {
  let now = Date.parse('2030-01-01T00:00:00Z')
  const clock = (): number => now
  const [template, sessions] = await Promise.all([createTestIssuer({ clock }), createTestIssuer({ clock })])
  const log = createLog()
  const app = Fastify({ logger: log.logger })
  t.teardown(() => Promise.all([app.close(), template.close(), sessions.close()]))
  await app.register(causeflowAuth, {
    jwt: [
      { ...template.jwtOptions(), isRevoked: ({ subject }) => subject === 'usr_out' },
      { name: 'clerk', ...clerk({ issuer: sessions.issuer, authorizedParties: ['https://app.example.com'], impersonation: false }) }
    ],
    clock
  })
  app.get('/tenants/:tenantId', { config: { auth: auth.jwt('default', 'clerk') } }, async () => ({}))
  app.get('/template', async () => ({}))
  app.get('/admin', { config: { auth: auth.jwt().roles('admin') } }, async () => ({}))
  await app.ready()

  const events: Array<{ code: string, reason: string }> = []
  const listener = (event: unknown): void => { events.push(event as typeof events[number]) }
  subscribe('causeflow-auth:decision', listener)
  t.teardown(() => unsubscribe('causeflow-auth:decision', listener))

  const part = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url')
  const good = template.token()
  const seconds = now / 1000
  const cases: ReadonlyArray<readonly [string, string, string | null, string?]> = [
    ['AUTH_CREDENTIAL_MISSING', 'absent', null],
    ['AUTH_CREDENTIAL_MISSING', 'issuer-not-accepted', sessions.clerkSession(), '/template'],
    ['AUTH_TOKEN_MALFORMED', 'form', 'a.b'],
    ['AUTH_TOKEN_MALFORMED', 'size', 'a'.repeat(9_000)],
    ['AUTH_TOKEN_MALFORMED', 'header', `${part('text')}.${good.split('.').slice(1).join('.')}`],
    ['AUTH_TOKEN_INVALID', 'issuer-unknown', template.token({ iss: 'https://another.example.com' })],
    ['AUTH_TOKEN_INVALID', 'algorithm', template.token({}, { alg: 'none' })],
    ['AUTH_TOKEN_INVALID', 'type', template.token({}, { typ: 'at+jwt' })],
    ['AUTH_TOKEN_INVALID', 'crit', template.token({}, { crit: ['exp'] })],
    ['AUTH_TOKEN_INVALID', 'key-id-absent', template.token({}, { kid: undefined })],
    ['AUTH_TOKEN_INVALID', 'key-unknown', template.token({}, { kid: 'another' })],
    ['AUTH_TOKEN_INVALID', 'signature', template.forged()],
    ['AUTH_TOKEN_INVALID', 'sender-constrained', template.token({ cnf: { jkt: 'thumbprint' } })],
    ['AUTH_TOKEN_INVALID', 'revoked', template.token({ sub: 'usr_out' })],
    ['AUTH_TOKEN_EXPIRED', 'expired', template.expired()],
    ['AUTH_TOKEN_CLAIMS', 'subject', template.token({ sub: '' })],
    ['AUTH_TOKEN_CLAIMS', 'audience', template.token({ aud: 'another' })],
    ['AUTH_TOKEN_CLAIMS', 'claims', template.token({ roles: 'admin' })],
    ['AUTH_TOKEN_CLAIMS', 'not-yet-valid', template.token({ nbf: seconds + 6 })],
    ['AUTH_TOKEN_CLAIMS', 'issued-in-future', template.token({ iat: seconds + 6 })],
    ['AUTH_TOKEN_CLAIMS', 'azp', sessions.clerkSession(2, { azp: 'https://another.example.com' }), '/tenants/org_2EXAMPLE'],
    ['AUTH_TOKEN_CLAIMS', 'session-pending', sessions.clerkSession(2, { sts: 'pending' }), '/tenants/org_2EXAMPLE'],
    ['AUTH_TOKEN_CLAIMS', 'token-class', sessions.token({ sub: 'mch_1', azp: undefined }), '/tenants/org_2EXAMPLE'],
    ['AUTH_TOKEN_CLAIMS', 'actor', sessions.clerkSession(2, { act: { sub: 'user_support' } }), '/tenants/org_2EXAMPLE'],
    ['AUTH_ROLE_REQUIRED', 'role', template.token(), '/admin'],
    ['AUTH_TENANT_REQUIRED', 'tenant-absent', template.token({ tenant_id: undefined }), '/template'],
    ['AUTH_TENANT_MISMATCH', 'tenant-other', template.token(), '/tenants/ten_OTHER'],
    ['AUTH_TOKEN_INVALID', 'key-unknown', template.token({}, { kid: 'a third' })]
  ]
  for (const [code, reason, token, url = '/template'] of cases) {
    events.length = log.lines.length = 0
    const answer = await app.inject({ url, headers: token === null ? {} : bearer(token) })
    t.strictSame(events.map(({ code, reason }) => [code, reason]), [[code, reason]], `${reason}: the event`)
    t.strictSame(log.lines.filter(({ reason }) => reason !== undefined).map(({ msg, code, reason }) => [msg, code, reason]), [['request refused', code, reason]], `${reason}: the log`)
    t.strictSame(Object.keys(answer.json()).sort(), ['code', 'error', 'message', 'statusCode'], `${reason}: the answer`)
    t.match(documented.get(code) ?? '', `\`${reason}\``, `${reason}: the documentation`)
  }

  // The same token, while its issuer is down for too long.
  template.outage(true)
  now += 5_000_000
  events.length = 0
  const answer = await app.inject({ url: '/template', headers: bearer(template.token()) })
  t.strictSame([answer.statusCode, events.map(({ code, reason }) => [code, reason])], [503, [['AUTH_KEY_SET_UNAVAILABLE', 'rejected']]])
})
