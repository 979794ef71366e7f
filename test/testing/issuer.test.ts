import { execFileSync } from 'node:child_process'
import * as jose from 'jose'
import t from 'tap'
import { clerk } from '../../lib/jwt/clerk.js'
import { bearer, createTestIssuer } from '../../lib/testing/issuer.js'
import { present, start, verifierOf } from '../jwt/fixture.js'
import type { TokenVerifier } from '../../lib/jwt/verify.js'
import type { TestIssuer } from '../../lib/testing/issuer.js'

const clock = (): number => start
async function started (t: { teardown (work: () => Promise<void>): unknown }): Promise<TestIssuer> {
  const issuer = await createTestIssuer({ clock })
  t.teardown(() => issuer.close())
  return issuer
}
const verifierFor = (issuer: TestIssuer, members = {}): Promise<TokenVerifier> =>
  verifierOf({ issuer: issuer.issuer, keys: { from: 'jwks', url: `${issuer.issuer}/.well-known/jwks.json` }, ...members }, { fetch })

t.test('its tokens are CauseFlow\'s, signed by the key that it publishes', async (t) => {
  const issuer = await started(t)
  const { issuer: iss, audience } = issuer.jwtOptions()
  const { payload, protectedHeader } = await jose.jwtVerify(issuer.token(), jose.createRemoteJWKSet(new URL(`${iss}/.well-known/jwks.json`)), { issuer: iss, audience, currentDate: new Date(start) })
  t.strictSame(protectedHeader, { alg: 'RS256', typ: 'JWT', kid: issuer.keyId })
  t.strictSame(payload, { sub: 'usr_01HX9VTPQR3KF8MZWBYD5N6JCE', email: 'user@example.com', tenant_id: 'ten_EXAMPLE_01HX9VTPQR3KF8MZ', roles: ['member'], iss, aud: audience, iat: start / 1000, exp: start / 1000 + 300 })
  t.equal(issuer.requests, 1)
  t.match(iss, /^http:\/\/127\.0\.0\.1:\d+$/)
})

t.test('good, changed, expired and forged tokens are what they are called', async (t) => {
  const issuer = await started(t)
  const verifier = await verifierFor(issuer)
  t.match(await present(verifier, issuer.token()), { subject: 'usr_01HX9VTPQR3KF8MZWBYD5N6JCE', roles: ['member'] })
  t.match(await present(verifier, issuer.token({ sub: 'usr_2', roles: ['admin'], tenant_id: undefined })), { subject: 'usr_2', roles: ['admin'], tenantId: null })
  t.equal(await present(verifier, issuer.expired()), 'AUTH_TOKEN_EXPIRED expired')
  t.equal(await present(verifier, issuer.forged({ roles: ['admin'] })), 'AUTH_TOKEN_INVALID signature')
  t.equal(await present(verifier, issuer.token({}, { alg: 'none' })), 'AUTH_TOKEN_INVALID algorithm')
  t.equal(issuer.requests, 1)
})

t.test('its session tokens are Clerk\'s, of both versions', async (t) => {
  const issuer = await started(t)
  const { claims } = clerk({ issuer: issuer.issuer })
  const verifier = await verifierFor(issuer, { claims, audience: null })
  for (const version of [1, 2, undefined] as const) {
    const seen = await present(verifier, issuer.clerkSession(version)) as { scopes: string[] }
    t.match(seen, { tenantId: 'org_2EXAMPLE', roles: ['admin'], email: null })
    t.strictSame([...seen.scopes].sort(), ['org:dashboard:manage', 'org:dashboard:read', 'org:teams:read'])
  }
  t.equal(await present(verifier, issuer.clerkSession(2, { sts: 'pending' })), 'AUTH_TOKEN_CLAIMS session-pending')
})

t.test('its public key verifies without network', async (t) => {
  const issuer = await started(t)
  const verifier = await verifierFor(issuer, { keys: { from: 'publicKey', pem: issuer.publicKey } })
  t.match(await present(verifier, issuer.token()), { scheme: 'jwt' })
  t.equal(issuer.requests, 0)
})

t.test('it rotates its key: the old one goes, stays, or lends its id', async (t) => {
  const issuer = await started(t)
  const old = issuer.token()
  const ids = async (): Promise<string[]> => ((await (await fetch(`${issuer.issuer}/.well-known/jwks.json`)).json()) as { keys: Array<{ kid: string }> }).keys.map(({ kid }) => kid)
  await issuer.rotate()
  t.strictSame(await ids(), ['test-key-2'])
  t.equal(await present(await verifierFor(issuer), old), 'AUTH_TOKEN_INVALID key-unknown')
  t.match(await present(await verifierFor(issuer), issuer.token()), { scheme: 'jwt' })
  const second = issuer.token()
  await issuer.rotate({ keepOld: true })
  t.strictSame(await ids(), ['test-key-2', 'test-key-3'])
  t.match(await present(await verifierFor(issuer), second), { scheme: 'jwt' })
  const third = issuer.token()
  await issuer.rotate({ sameKeyId: true })
  t.strictSame(await ids(), ['test-key-3'])
  t.equal(await present(await verifierFor(issuer), third), 'AUTH_TOKEN_INVALID signature')
})

t.test('it goes down, is late, and comes back', async (t) => {
  const issuer = await started(t)
  issuer.outage(true)
  t.equal(await present(await verifierFor(issuer), issuer.token()), 'AUTH_KEY_SET_UNAVAILABLE rejected')
  issuer.outage(false)
  issuer.delay(1000)
  t.equal(await present(await verifierFor(issuer, { keySet: { maxAge: 600, cooldown: 30, timeLimit: 0.05, staleFor: 3600 } }), issuer.token()), 'AUTH_KEY_SET_UNAVAILABLE time-limit')
  issuer.delay(0)
  t.match(await present(await verifierFor(issuer), issuer.token()), { scheme: 'jwt' })
  t.equal(issuer.requests, 3)
})

t.test('it has a discovery document', async (t) => {
  const issuer = await started(t)
  const verifier = await verifierFor(issuer, { keys: { from: 'discovery', url: `${issuer.issuer}/.well-known/openid-configuration` } })
  t.match(await present(verifier, issuer.token()), { scheme: 'jwt' })
})

t.test('it does not start with NODE_ENV=production', async (t) => {
  const before = process.env.NODE_ENV
  t.teardown(() => { if (before === undefined) delete process.env.NODE_ENV; else process.env.NODE_ENV = before })
  process.env.NODE_ENV = 'production'
  await t.rejects(createTestIssuer(), { code: 'AUTH_CONFIG_OPTION' })
})

t.test('it does not keep the process alive', async (t) => {
  const script = `import { createTestIssuer } from ${JSON.stringify(new URL('../../lib/testing/issuer.ts', import.meta.url).href)}
    const issuer = await createTestIssuer()
    await (await fetch(issuer.issuer + '/.well-known/jwks.json')).text()
    process.on('exit', () => console.log('ended'))`
  t.equal(execFileSync(process.execPath, ['--import', 'tsx', '--input-type=module', '-e', script], { timeout: 20_000, encoding: 'utf8' }).trim(), 'ended')
})

t.test('bearer makes the header of a request', async (t) => {
  t.strictSame(bearer('abc'), { authorization: 'Bearer abc' })
})
