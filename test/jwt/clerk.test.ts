import { Value } from '@sinclair/typebox/value'
import fc from 'fast-check'
import t from 'tap'
import { compileMapping } from '../../lib/jwt/claims.js'
import { clerk, clerkSession, ClerkSessionClaimsSchema } from '../../lib/jwt/clerk.js'
import type { ClerkOptions, ClerkSessionOptions } from '../../lib/jwt/clerk.js'
import { outcome, start } from './fixture.js'
import type { Json } from './fixture.js'

const base = { iss: 'https://acme.clerk.accounts.dev', sub: 'user_1', sid: 'sess_1', exp: start / 1000 + 60, azp: 'https://app.example.com' }
const v1 = { ...base, org_id: 'org_1', org_role: 'org:admin', org_slug: 'acme', org_permissions: ['org:dashboard:read'] }
const v2 = { ...base, v: 2, fea: 'o:dashboard,o:teams', o: { id: 'org_1', rol: 'admin', slg: 'acme', per: 'manage,read', fpm: '3,2' } }
const read = (claims: Json, options?: ClerkSessionOptions): Promise<any> => outcome(() => compileMapping(clerkSession(options))(claims))

t.test('version 2: the organisation is the tenant, its role and permissions are decoded', async (t) => {
  t.strictSame(await read(v2), { tenantId: 'org_1', roles: ['admin'], scopes: ['org:dashboard:manage', 'org:dashboard:read', 'org:teams:read'], email: null })
})

t.test('version 1: the organisation is the tenant, its permissions are written out', async (t) => {
  t.strictSame(await read(v1), { tenantId: 'org_1', roles: ['admin'], scopes: ['org:dashboard:read'], email: null })
})

t.test('version 1 may say so, and permissions may be absent', async (t) => {
  t.strictSame(await read({ ...v1, v: 1 }), { tenantId: 'org_1', roles: ['admin'], scopes: ['org:dashboard:read'], email: null })
  t.strictSame(await read({ ...v1, org_permissions: undefined }), { tenantId: 'org_1', roles: ['admin'], scopes: [], email: null })
})

t.test('the schema of Clerk\'s claims refuses names that are empty', async (t) => {
  for (const claims of [v1, v2]) t.ok(Value.Check(ClerkSessionClaimsSchema, claims))
  for (const change of [{ sub: '' }, { iss: '' }, { sid: '' }, { org_id: '' }, { o: { id: '' } }]) t.notOk(Value.Check(ClerkSessionClaimsSchema, { ...base, ...change }), JSON.stringify(change))
})

t.test('without an organisation there is no tenant, no role and no permission', async (t) => {
  const nobody = { tenantId: null, roles: [], scopes: [], email: null }
  t.strictSame(await read(base), nobody)
  t.strictSame(await read({ ...base, v: 2, fea: 'u:beta' }), nobody)
  t.strictSame(await read({ ...base, org_role: 'org:admin', org_permissions: ['org:a:b'] }), nobody, 'a role of no organisation')
  t.strictSame(await read({ ...base, v: 2, org_id: 'org_1', org_role: 'org:admin' }), nobody, 'version 1 claims in version 2')
  t.strictSame(await read({ ...base, o: v2.o, fea: v2.fea }), nobody, 'version 2 claims in version 1')
})

t.test('every role but org:admin is a member, unless roles say otherwise', async (t) => {
  const roles = async (rol: string | undefined, options?: ClerkSessionOptions): Promise<unknown> => (await read({ ...v2, o: { ...v2.o, rol } }, options)).roles
  t.strictSame(await roles('admin'), ['admin'])
  for (const rol of ['member', 'billing', 'Admin', 'org:admin', 'administrator', '']) t.strictSame(await roles(rol), ['member'], rol)
  t.strictSame(await roles(undefined), [])
  const map = { 'org:owner': ['admin', 'owner'], 'org:viewer': 'viewer' }
  t.strictSame(await roles('owner', { roles: map }), ['admin', 'owner'])
  t.strictSame(await roles('viewer', { roles: map }), ['viewer'])
  for (const rol of ['admin', 'toString', '__proto__']) t.strictSame(await roles(rol, { roles: map }), [], rol)
  for (const name of ['toString', 'constructor', '__proto__']) t.strictSame((await read({ ...v1, org_role: name }, { roles: map })).roles, [], name)
  t.strictSame(await roles('admin', { roles: (role) => `x-${role}` }), ['x-org:admin'])
  t.equal(await read(v2, { roles: () => { throw new Error('x') } }), 'AUTH_TOKEN_CLAIMS claims')
  t.equal(await read(v2, { roles: () => 7 as never }), 'AUTH_TOKEN_CLAIMS claims')
})

t.test('a pending session is signed out', async (t) => {
  for (const claims of [v1, v2]) {
    t.match(await read({ ...claims, sts: 'active' }), { tenantId: 'org_1' })
    for (const sts of ['pending', 'abandoned', '']) t.equal(await read({ ...claims, sts }), 'AUTH_TOKEN_CLAIMS session-pending', sts)
  }
})

t.test('a token that is no session is of another class', async (t) => {
  const { sid, ...template } = base
  const other = 'AUTH_TOKEN_CLAIMS token-class'
  t.equal(await read(template), other, 'a template token')
  t.equal(await read({ ...template, client_id: 'client_1', scope: 'profile' }), other, 'an OAuth access token')
  t.equal(await read({ ...template, sub: 'mch_1' }), other, 'a machine token')
  t.equal(await read({ ...base, sub: 'mch_1' }), other, 'a machine token with a session')
  t.equal(await read({ ...base, at_hash: 'x' }), other, 'an id_token')
  t.equal(await read({ ...base, client_id: 'client_1' }), other, 'an OAuth token with a session')
})

t.test('OAuth and machine tokens are accepted where they are asked for, each only by its own name', async (t) => {
  const { sid, ...template } = base
  const oauth = { ...template, client_id: 'client_1', scope: 'profile email' }
  const machine = { ...template, sub: 'mch_1', scopes: 'mch_2 mch_3' }
  const granted = (scopes: string[]): object => ({ tenantId: null, roles: [], scopes, email: null })
  t.strictSame(await read(oauth, { accept: ['oauth'] }), granted(['profile', 'email']))
  t.strictSame(await read({ ...oauth, scp: ['profile'] }, { accept: ['oauth'] }), granted(['profile']))
  for (const scp of [[7], ['profile', 7], 7, {}]) t.strictSame(await read({ ...oauth, scp }, { accept: ['oauth'] }), granted([]))
  t.strictSame(await read({ ...oauth, scope: ' profile  email ' }, { accept: ['oauth'] }), granted(['profile', 'email']))
  t.strictSame(await read(machine, { accept: ['machine'] }), granted(['mch_2', 'mch_3']))
  t.equal(await read(machine, { accept: ['oauth'] }), 'AUTH_TOKEN_CLAIMS token-class')
  t.equal(await read(oauth, { accept: ['machine'] }), 'AUTH_TOKEN_CLAIMS token-class')
  t.equal(await read(template, { accept: ['oauth', 'machine'] }), 'AUTH_TOKEN_CLAIMS token-class', 'a template token is neither')
  t.strictSame(clerkSession().types, [])
  t.strictSame(clerkSession({ accept: ['oauth'] }).types, ['at+jwt'])
})

t.test('an impersonated session is accepted unless it is refused', async (t) => {
  const claims = { ...v2, act: { sub: 'user_admin' } }
  t.match(await read(claims), { tenantId: 'org_1' })
  t.equal(await read(claims, { impersonation: false }), 'AUTH_TOKEN_CLAIMS actor')
  t.match(await read(v2, { impersonation: false }), { tenantId: 'org_1' }, 'a session of one\'s own')
  for (const act of ['user_admin', {}, { sub: 7 }]) t.equal(await read({ ...v2, act }), 'AUTH_TOKEN_CLAIMS claims', 'who impersonates is said, or it is no such claim')
})

t.test('an e-mail that a customised session carries is read if it is one', async (t) => {
  t.equal((await read({ ...v2, email: 'user@example.com' })).email, 'user@example.com')
  for (const email of [null, 7, {}]) t.equal((await read({ ...v2, email })).email, null)
})

t.test('permissions that are not understood are none at all', async (t) => {
  const scopes = async (fea: unknown, per: unknown, fpm: unknown): Promise<unknown> => (await read({ ...v2, fea, o: { ...v2.o, per, fpm } })).scopes
  t.strictSame(await scopes('o:dashboard', 'manage,read', '1'), ['org:dashboard:manage'])
  t.strictSame(await scopes('u:beta,o:dashboard,uo:teams', 'manage,read', '1,2'), ['org:dashboard:manage', 'org:teams:read'], 'masks are for the features of the organisation')
  t.strictSame(await scopes('o:dashboard,o:teams', 'manage,read', '2'), ['org:dashboard:read'], 'a feature without a mask has none')
  t.strictSame(await scopes(' o:dashboard , o:teams ', 'manage, read', '0, 3'), ['org:teams:manage', 'org:teams:read'])
  for (const [fea, per, fpm] of [
    [undefined, 'manage', '1'], ['o:dashboard', undefined, '1'], ['o:dashboard', 'manage', undefined], ['', '', ''],
    ['o:dashboard', 'manage', '-1'], ['o:dashboard', 'manage', '1.0'], ['o:dashboard', 'manage', '0x1'], ['o:dashboard', 'manage', '1e0'], ['o:dashboard', 'manage', 'NaN'], ['o:dashboard', 'manage', ''],
    ['o:dashboard', 'manage', '2'], ['o:dashboard', 'manage,read', '4'], ['o:dashboard', 'manage,read', '7'], ['o:dashboard', 'manage', '1,1'], ['o:dashboard,o:teams', 'manage', '1,x'],
    ['dashboard', 'manage', '1'], ['xo:dashboard', 'manage', '1'], ['x:dashboard', 'manage', '1'], ['o:', 'manage', '1'], ['o:a:b', 'manage', '1'], ['o:dashboard,,o:teams', 'manage', '1'], ['o:dashboard', 'manage,', '1'],
    ['o:dashboard', 'manage', '9'.repeat(1001)]
  ]) t.strictSame(await scopes(fea, per, fpm), [], JSON.stringify([fea, per, fpm]))
})

t.test('masks of any size decode to exactly the permissions that were encoded', async (t) => {
  await fc.assert(fc.asyncProperty(
    fc.integer({ min: 1, max: 130 }).chain((count) => fc.array(fc.array(fc.boolean(), { minLength: count, maxLength: count }), { minLength: 1, maxLength: 5 })),
    async (granted) => {
      const names = granted[0]!.map((_, index) => `p${index}`)
      const fpm = granted.map((bits) => bits.reduce((mask, bit, index) => bit ? mask | (1n << BigInt(index)) : mask, 0n))
      const expected = granted.flatMap((bits, feature) => names.filter((_, index) => bits[index]).map((name) => `org:f${feature}:${name}`))
      const claims = { ...v2, fea: granted.map((_, index) => `o:f${index}`).join(), o: { ...v2.o, per: names.join(), fpm: fpm.join() } }
      t.strictSame((await read(claims)).scopes, expected)
    }), { numRuns: 100 })
})

t.test('clerk() is the whole option for an instance named by its URL or its publishable key', async (t) => {
  const { claims, ...rest } = clerk({ issuer: 'https://acme.clerk.accounts.dev' })
  t.strictSame(rest, { issuer: 'https://acme.clerk.accounts.dev', audience: false })
  t.match(claims, { types: [] })
  const key = (host: string, kind = 'test'): string => `pk_${kind}_${Buffer.from(`${host}$`).toString('base64')}`
  t.equal(clerk({ publishableKey: key('acme.clerk.accounts.dev') }).issuer, 'https://acme.clerk.accounts.dev')
  t.equal(clerk({ publishableKey: key('clerk.acme.example', 'live') }).issuer, 'https://clerk.acme.example')
  const parties = ['https://app.example.com']
  const { claims: _, ...withParties } = clerk({ issuer: 'https://auth.causeflow.ai', authorizedParties: parties, roles: {} })
  t.strictSame(clerk({ issuer: 'https://acme.clerk.accounts.dev', impersonation: false, accept: ['oauth'] }).claims.types, ['at+jwt'])
  t.strictSame(withParties, { issuer: 'https://auth.causeflow.ai', audience: false, authorizedParties: parties, azp: 'ifPresent' })
})

t.test('clerk() does not start with a key or URL that is none, or with an option it does not know', async (t) => {
  const key = `pk_test_${Buffer.from('acme.example$').toString('base64')}`
  t.equal(clerk({ publishableKey: key }).issuer, 'https://acme.example')
  const bad: unknown[] = [{}, { issuer: 'https://a.example', publishableKey: 'pk_test_YS5iJA==' }, { issuer: 'acme.clerk.accounts.dev' }, { issuer: 'https://acme.clerk.accounts.dev/' }, { issuer: 7 },
    { publishableKey: '' }, { publishableKey: 'pk_test_' }, { publishableKey: 'sk_test_YS5iJA==' }, { publishableKey: `pk_test_${Buffer.from('acme.example').toString('base64')}` },
    { publishableKey: `x${key}` }, { publishableKey: `${key}!` }, { publishableKey: `${key}YS5i` }, { publishableKey: `${key.slice(0, 20)}=${key.slice(20)}` }, { publishableKey: `pk_test_${Buffer.from('acme.example$evil').toString('base64')}` }, { issuer: new URL('https://acme.clerk.accounts.dev') }, { issuer: ['https://acme.clerk.accounts.dev'] },
    { publishableKey: `pk_test_${Buffer.from('evil.example/x$').toString('base64')}` }, { publishableKey: `pk_test_${Buffer.from('user@evil.example$').toString('base64')}` }, { publishableKey: `pk_test_${Buffer.from('localhost$').toString('base64')}` },
    { issuer: 'https://a.example', role: {} }, { issuer: 'https://a.example', audience: 'x' }]
  for (const options of bad) t.throws(() => clerk(options as ClerkOptions), { code: 'AUTH_CONFIG_OPTION' }, JSON.stringify(options))
})

t.test('the permissions of a token of 8 kB cost no more than the token', async (t) => {
  const many = (count: number, make: (index: number) => string): string => Array.from({ length: count }, (_, index) => make(index)).join(',')
  const scopes = async (fea: string, per: string, fpm: string): Promise<number> => (await read({ ...v2, fea, o: { ...v2.o, per, fpm } })).scopes.length
  const began = performance.now()
  for (let round = 0; round < 10; round++) await scopes(many(2_000, () => 'o:a'), many(2_000, () => 'a'), many(2_000, () => '1'))
  // With a step for each feature and permission these took 80 ms, and a token of 8 kB 25 ms.
  const each = (performance.now() - began) / 10
  t.ok(each < 40, `${each.toFixed(1)} ms`)
  t.equal(await scopes('o:dashboard', many(300, (index) => `p${index}`), `${(1n << 300n) - 1n}`), 300)
  t.equal(await scopes(`o:${'x'.repeat(2_000)}`, many(300, (index) => `p${index}`), `${(1n << 300n) - 1n}`), 0, '600 kB of permissions are none')
})

t.test('an authorized party without a scheme, which is no origin, does not start', async (t) => {
  t.throws(() => clerk({ issuer: 'https://auth.causeflow.ai', authorizedParties: ['app.example.com'] }), {
    code: 'AUTH_CONFIG_OPTION',
    message: "clerk({ authorizedParties }) has 'app.example.com', which is no origin. Write its scheme too: 'https://app.example.com'"
  })
})
