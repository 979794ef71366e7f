import t from 'tap'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { hintFor } from '../../lib/cli/token-hints.js'
import { reasons } from '../../lib/errors.js'
import { createTestIssuer } from '../../lib/testing/index.js'
import { ask, invoke, now } from './fixture.js'

const issuer = await createTestIssuer({ clock: () => now })
t.teardown(() => issuer.close())

const bare = ['token', 'inspect']
const judged = [...bare, '--issuer', issuer.issuer]
const seconds = now / 1000
const claims = { sub: 'usr_01HX9VTPQR3KF8MZWBYD5N6JCE', email: 'user@example.com', tenant_id: 'ten_EXAMPLE_01HX9VTPQR3KF8MZ', roles: ['member'], iss: issuer.issuer, aud: 'https://api.causeflow.ai', iat: seconds, exp: seconds + 300 }
const header = { alg: 'RS256', typ: 'JWT', kid: 'test-key-1' }

t.test('without an issuer a token is told and not judged, and nobody is asked', async (t) => {
  t.strictSame(await ask(bare, { stdin: issuer.token() }), { code: 0, answer: { header, claims, verified: null, principal: null, code: null, reason: null, message: null, hint: null }, failure: null })
  const { out } = await invoke(bare, { stdin: `Authorization: Bearer ${issuer.token()}\n` })
  t.match(out, 'Claims, of which nothing is verified\n')
  t.match(out, `exp        ${seconds + 300}  2026-01-31T12:05:00.000Z, in 5 min\n`)
  t.match(out, 'Not verified: name the issuer with --issuer to have it judged.\n')
})

t.test('with its issuer a good token is verified, and its principal told', async (t) => {
  t.strictSame(await ask(judged, { stdin: issuer.token(), fetch }), {
    code: 0,
    answer: { header, claims, verified: true, principal: { subject: claims.sub, tenantId: claims.tenant_id, roles: ['member'], scopes: [], email: claims.email }, code: null, reason: null, message: null, hint: null },
    failure: null
  })
  const { code, out } = await invoke(judged, { stdin: issuer.token(), fetch })
  t.equal(code, 0)
  t.match(out, /\nVerified\n {2}Subject {2}usr_01/)
  t.notMatch(out, /nothing is verified/)
})

t.test('the token itself, and its signature, are printed in no case', async (t) => {
  const token = issuer.token()
  const signature = token.split('.')[2] ?? ''
  for (const args of [bare, judged, [...judged, '--audience', 'x'], [...bare, '--json'], [...bare, token], [...bare, `--token=${token}`]]) {
    const { out, err } = await invoke(args, { stdin: token, fetch })
    t.notOk((out + err).includes(signature), args.join(' ').slice(0, 60))
    t.notOk((out + err).includes(token.slice(0, 30)))
  }
})

t.test('a token that is refused is told with its reason and what may mend it', async (t) => {
  const refused = async (token: string, code: string, reason: string, hint: RegExp, ...args: string[]) => {
    const ended = await ask([...judged, ...args], { stdin: token, fetch })
    t.match(ended, { code: 1, answer: { verified: false, principal: null, code, reason, hint } }, reason)
  }
  await refused(issuer.forged(), 'AUTH_TOKEN_INVALID', 'signature', /another key signed it/)
  await refused(issuer.expired(), 'AUTH_TOKEN_EXPIRED', 'expired', /Ask for a new one/)
  await refused(issuer.token({ aud: 'https://other' }), 'AUTH_TOKEN_CLAIMS', 'audience', /"https:\/\/other".*--audience/)
  await refused(issuer.token({ iss: `${issuer.issuer}/` }), 'AUTH_TOKEN_CLAIMS', 'issuer', /character by character/)
  await refused(issuer.token({ nbf: seconds + 60 }), 'AUTH_TOKEN_CLAIMS', 'not-yet-valid', /doctor --issuer/)
  await refused(issuer.token({ roles: 'admin' }), 'AUTH_TOKEN_CLAIMS', 'claims', /roles/)
  await refused(issuer.token({}, { kid: 'nobody' }), 'AUTH_TOKEN_INVALID', 'key-unknown', /"nobody"/)
  await refused(issuer.token({}, { alg: 'none' }), 'AUTH_TOKEN_INVALID', 'algorithm', /"none".*RS256/)
  await refused(issuer.token({}, { kid: undefined }), 'AUTH_TOKEN_INVALID', 'key-id-absent', /kid/)
  await refused(issuer.clerkSession(), 'AUTH_TOKEN_CLAIMS', 'audience', /--clerk-session/)
  await refused(issuer.clerkSession(2, { sts: 'pending' }), 'AUTH_TOKEN_CLAIMS', 'session-pending', /not finished/, '--clerk-session')
  await refused(issuer.clerkSession(), 'AUTH_TOKEN_CLAIMS', 'azp', /"https:\/\/app.example.com".*--authorized-party/, '--clerk-session', '--authorized-party', 'https://elsewhere')
})

t.test('every reason for which a token is rejected has a hint, and only those', async (t) => {
  const page = readFileSync(join(import.meta.dirname, '../../docs/tokens.md'), 'utf8')
  const documented = [...page.matchAll(/^\| `AUTH_(?:TOKEN_\w+|KEY_SET_UNAVAILABLE)`.*? \| (.*) \|$/gm)].flatMap(([, list = '']) => list.split(', ').map((one) => one.replaceAll('`', '')))
  const written = readdirSync(join(import.meta.dirname, '../../lib/jwt')).flatMap((file) => {
    const source = readFileSync(join(import.meta.dirname, '../../lib/jwt', file), 'utf8')
    return [...source.matchAll(/'AUTH_(?:TOKEN_\w+|KEY_SET_UNAVAILABLE)', '([\w-]+)'|(?:refused|malformed)\('([\w-]+)'\)/g)].map(([, one, other]) => one ?? other ?? '')
  })
  t.ok(documented.length > 20 && written.length > 20)
  const hinted = reasons.filter((reason) => hintFor(reason, { header: null, claims: null, settings: null }) !== null)
  t.strictSame([...new Set([...documented, ...written])].sort(), [...hinted].sort())
  for (const reason of hinted) t.match(hintFor(reason, { header: {}, claims: {}, settings: null }), /^[A-Z]/, reason)
})

t.test('reasons that only another option brings are told with that option', async (t) => {
  const rejected = async (stdin: string, reason: string, hint: RegExp, ...args: string[]) => {
    t.match(await ask([...judged, ...args], { stdin, fetch }), { code: 1, answer: { verified: false, reason, hint } }, reason)
  }
  await rejected(issuer.token({}, { typ: 'at+jwt' }), 'type', /"at\+jwt".*--type/)
  await rejected(issuer.token({}, { crit: ['b64'] }), 'crit', /extension/)
  await rejected(issuer.token({ sub: '' }), 'subject', /^Its sub is ""/)
  await rejected(issuer.token({ sub: undefined }), 'subject', /^Its sub is absent/)
  await rejected(issuer.token({ org: 7 }), 'claims', /--claim wants/, '--claim', 'tenant=org')
  await rejected(issuer.token(), 'azp', /absent.*--azp/, '--azp', 'require', '--authorized-party', 'x')
  await rejected(issuer.clerkSession(2, { act: { sub: 'usr_2' } }), 'actor', /--no-impersonation/, '--clerk-session', '--no-impersonation')
  await rejected(issuer.clerkSession(2, { sid: undefined, client_id: 'c' }), 'token-class', /--clerk-accept/, '--clerk-session')
})

t.test('what the plugin can be configured to accept is accepted', async (t) => {
  const accepted = async (stdin: string, principal: object, ...args: string[]) => {
    t.match(await ask([...judged, ...args], { stdin, fetch }), { code: 0, answer: { verified: true, principal } }, args.join(' '))
  }
  await accepted(issuer.token({}, { typ: 'at+jwt' }), { tenantId: claims.tenant_id }, '--type', 'at+jwt')
  await accepted(issuer.token({}, { typ: 'application/AT+JWT' }), {}, '--type', 'x', '--type', 'at+jwt')
  await accepted(issuer.clerkSession(2, { sid: undefined, client_id: 'c', scope: 'a b' }), { scopes: ['a', 'b'] }, '--clerk-session', '--clerk-accept', 'oauth')
  await accepted(issuer.token({ sub: 'mch_1', aud: undefined, sid: undefined, scopes: 'm' }), { scopes: ['m'] }, '--clerk-session', '--clerk-accept', 'machine')
  const own = { org: { id: 'acme' }, 'https://acme.example/roles': ['owner'], scope: 'read write', mail: 'a@b.c', 'a/b~c': 'x', roles: 7 }
  const paths = ['--claim', 'tenant=/org/id', '--claim', 'roles=https://acme.example/roles', '--claim', 'scopes=scope', '--claim', 'email=mail']
  await accepted(issuer.token(own), { tenantId: 'acme', roles: ['owner'], scopes: ['read', 'write'], email: 'a@b.c' }, ...paths)
  await accepted(issuer.token(own), { tenantId: 'x', roles: [], scopes: [], email: null }, '--claim', 'tenant=/a~1b~0c')
  await accepted(issuer.token(own), { tenantId: null }, '--claim', 'tenant=/org/none/below')
  await accepted(issuer.token(own), { tenantId: null }, '--claim', 'tenant=/org/toString')
  await accepted(issuer.token({ azp: 'x' }), {}, '--azp', 'require', '--authorized-party', 'x')
  for (const args of [['--claim', 'tenant'], ['--claim', 'name=x'], ['--claim', 'tenant='], ['--claim', 'tenant=a', '--claim', 'tenant=b'], ['--claim', 'tenant=a', '--clerk-session'],
    ['--clerk-accept', 'oauth'], ['--no-impersonation'], ['--clerk-session', '--clerk-accept', 'all'], ['--azp', 'always'], ['--azp', 'require']]) {
    t.match(await ask([...judged, ...args], { stdin: issuer.token(), fetch }), { code: 2, answer: null }, args.join(' '))
  }
  for (const args of [['--type', 'x'], ['--claim', 'tenant=a'], ['--azp', 'off'], ['--no-impersonation'], ['--clerk-accept', 'oauth'], ['--clock-tolerance', '1']]) {
    t.match(await ask([...bare, ...args], { stdin: issuer.token() }), { code: 2, failure: { message: 'Without --issuer nothing is verified' } }, args.join(' '))
  }
})

t.test('a token that is none is refused with what is wrong with its form, issuer or not', async (t) => {
  for (const [text, reason] of [['abc', 'form'], ['a.b.c.d', 'form'], ['a+.b.c', 'encoding'], ['e30.e30.', 'encoding'], ['W10.e30.AA', 'header'], ['a'.repeat(9000), 'size']] as const) {
    t.match(await ask(bare, { stdin: text }), { code: 1, answer: { header: null, claims: null, verified: false, code: 'AUTH_TOKEN_MALFORMED', reason, hint: /./ } }, reason)
  }
})

t.test('session tokens, other audiences and other tolerances are accepted where they are asked for', async (t) => {
  t.match(await ask([...judged, '--clerk-session'], { stdin: issuer.clerkSession(), fetch }), { code: 0, answer: { verified: true, principal: { tenantId: 'org_2EXAMPLE', roles: ['admin'] } } })
  t.match(await ask([...judged, '--audience', 'https://x', '--audience', 'https://y'], { stdin: issuer.token({ aud: 'https://y' }), fetch }), { code: 0 })
  t.match(await ask([...judged, '--no-audience'], { stdin: issuer.token({ aud: undefined }), fetch }), { code: 0 })
  t.match(await ask([...judged, '--discovery'], { stdin: issuer.token(), fetch }), { code: 0 })
  t.match(await ask([...judged, '--at', '2026-01-31T10:59:00Z'], { stdin: issuer.expired(), fetch }), { code: 0 })
  t.match(await ask([...judged, '--clock-tolerance', '0'], { stdin: issuer.token({ exp: seconds - 1 }), fetch }), { code: 1 })
  t.match(await ask(judged, { stdin: issuer.token({ exp: seconds - 1 }), fetch }), { code: 0 })
})

t.test('a public key in a file and a secret in the environment need no network', async (t) => {
  const file = join(t.testdir({ 'key.pem': issuer.publicKey }), 'key.pem')
  t.match(await ask([...judged, '--public-key-file', file], { stdin: issuer.token() }), { code: 0, answer: { verified: true } })
  t.match(await ask([...judged, '--secret-env', 'JWT_SECRET'], { stdin: issuer.token(), env: { JWT_SECRET: 'x'.repeat(32) } }), { code: 1, answer: { reason: 'algorithm' } })
  for (const args of [['--secret-env', 'MISSING'], ['--public-key-file', `${file}x`], ['--public-key-file', file, '--discovery'], ['--algorithm', 'HS257'], ['--algorithm', 'HS256']]) {
    t.match(await ask([...judged, ...args], { stdin: issuer.token() }), { code: 2, answer: null }, args.join(' '))
  }
})

t.test('an issuer that cannot be asked is no verdict', async (t) => {
  const down = async () => { throw new TypeError('fetch failed') }
  t.match(await ask(judged, { stdin: issuer.token(), fetch: down }), { code: 3, answer: { header, claims, verified: null, code: 'AUTH_KEY_SET_UNAVAILABLE', reason: 'unreachable' } })
  const { out } = await invoke(judged, { stdin: issuer.token(), fetch: down })
  t.match(out, '\nNot decided: ')
})

t.test('what a token is to be judged by is refused without an issuer to judge it', async (t) => {
  for (const args of [['--audience', 'x'], ['--no-audience'], ['--clerk-session'], ['--discovery'], ['--algorithm', 'ES256']]) {
    t.match(await ask([...bare, ...args], { stdin: issuer.token() }), { code: 2, failure: { message: 'Without --issuer nothing is verified' } }, args.join(' '))
  }
})

t.test('claims of a stranger do not move the cursor', async (t) => {
  const { out } = await invoke(bare, { stdin: issuer.token({ 'na\u001b[2Jme': 'va\u009blue\nline' }) })
  t.notMatch(out, /(?!\n)[\p{Cc}\p{Cf}]/u)
  t.match(out, 'na\\u001b[2Jme  va\\u009blue\\u000aline')
})
