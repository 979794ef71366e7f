import t from 'tap'
import { auth, describeRule, nodeOf, schemesOf, type AuthRule } from '../lib/rule.js'

// As JavaScript writes them: what the types refuse has to be refused at run time as well.
type Untyped = Record<string, (...parameters: unknown[]) => Untyped>
const js = auth as unknown as Untyped
const pass = () => true

const misuses: ReadonlyArray<readonly [what: string, build: () => unknown, message: string]> = [
  ['any of one', () => js.any!(auth.jwt()), 'auth.any() combines two rules or more. Use the rule alone, or name another'],
  ['any of none', () => js.any!(), 'auth.any() combines two rules or more. Use the rule alone, or name another'],
  ['all of one', () => js.all!(auth.jwt()), 'auth.all() combines two rules or more. Use the rule alone, or name another'],
  ['a list in place of arguments', () => js.any!([auth.jwt(), auth.apiKey()]), 'auth.any() combines two rules or more. Use the rule alone, or name another'],
  ['a builder that was not called', () => js.any!(auth.jwt(), auth.apiKey), 'auth.any() takes rules built by auth (of this very copy of the package), and got function'],
  ['a look-alike', () => js.all!(auth.jwt(), { describe: () => 'token' }), 'auth.all() takes rules built by auth (of this very copy of the package), and got object'],
  ['an object made from a rule', () => js.all!(auth.jwt(), Object.create(auth.apiKey())), 'auth.all() takes rules built by auth (of this very copy of the package), and got object'],
  ['a copy of a rule', () => js.all!(auth.jwt(), { ...auth.apiKey() }), 'auth.all() takes rules built by auth (of this very copy of the package), and got object'],
  ['null among rules', () => js.any!(auth.jwt(), null), 'auth.any() takes rules built by auth (of this very copy of the package), and got object'],
  ['public inside any', () => js.any!(auth.jwt(), auth.public()), 'auth.public() stands alone and goes into no other rule. Use .optional() on the rule'],
  ['public inside all', () => js.all!(auth.public(), auth.jwt()), 'auth.public() stands alone and goes into no other rule. Use .optional() on the rule'],
  ['deny inside any', () => js.any!(auth.deny(), auth.jwt()), 'auth.deny() stands alone and goes into no other rule. Leave it out'],
  ['public of something', () => js.public!(auth.jwt()), 'auth.public() stands alone and takes nothing. Remove the argument'],
  ['deny of something', () => js.deny!('stranger'), 'auth.deny() stands alone and takes nothing. Remove the argument'],
  ['roles on public', () => js.public!().roles!('admin'), 'auth.public() stands alone. Take .roles() off, or use auth.jwt(), auth.apiKey() or auth.webhook()'],
  ['scopes on public', () => js.public!().scopes!('a'), 'auth.public() stands alone. Take .scopes() off, or use auth.jwt(), auth.apiKey() or auth.webhook()'],
  ['a tenant on public', () => js.public!().tenant!('id'), 'auth.public() stands alone. Take .tenant() off, or use auth.jwt(), auth.apiKey() or auth.webhook()'],
  ['any tenant on deny', () => js.deny!().anyTenant!(), 'auth.deny() stands alone. Take .anyTenant() off, or use auth.jwt(), auth.apiKey() or auth.webhook()'],
  ['an optional tenant on deny', () => js.deny!().tenantOptional!(), 'auth.deny() stands alone. Take .tenantOptional() off, or use auth.jwt(), auth.apiKey() or auth.webhook()'],
  ['optional on deny', () => js.deny!().optional!(), 'auth.deny() stands alone. Take .optional() off, or use auth.jwt(), auth.apiKey() or auth.webhook()'],
  ['a check on deny', () => js.deny!().check!('owner', pass), 'auth.deny() stands alone. Take .check() off, or use auth.jwt(), auth.apiKey() or auth.webhook()'],
  ['an optional rule inside any', () => js.any!(auth.jwt().optional(), auth.apiKey()), 'An optional rule inside auth.any() would let everybody in. Put .optional() on the whole: auth.any(a, b).optional()'],
  ['all of optional rules inside any', () => auth.any(auth.jwt().roles('admin'), auth.all(auth.jwt().optional(), auth.apiKey().optional())), 'An optional rule inside auth.any() would let everybody in. Put .optional() on the whole: auth.any(a, b).optional()'],
  ['an optional webhook', () => js.webhook!().optional!(), 'A signature is never optional. Take .optional() off, or serve unsigned requests on a route of their own'],
  ['an optional rule with a webhook in it', () => js.all!(auth.apiKey(), auth.webhook()).optional!(), 'A signature is never optional. Take .optional() off, or serve unsigned requests on a route of their own'],
  ['an optional rule with a webhook deep in it', () => js.any!(auth.jwt(), auth.all(auth.apiKey(), auth.webhook())).optional!(), 'A signature is never optional. Take .optional() off, or serve unsigned requests on a route of their own'],
  ['roles of a webhook', () => js.webhook!().roles!('admin'), 'A webhook has neither roles nor scopes. Take .roles() off, or add a key: auth.all(auth.apiKey(), auth.webhook())'],
  ['scopes of webhooks alone', () => js.any!(auth.webhook('a'), auth.webhook('b')).scopes!('a'), 'A webhook has neither roles nor scopes. Take .scopes() off, or add a key: auth.all(auth.apiKey(), auth.webhook())'],
  ['no role', () => js.jwt!().roles!(), '.roles() without a value asks for nothing. Name at least one, or take it off'],
  ['no scope', () => js.apiKey!().scopes!(), '.scopes() without a value asks for nothing. Name at least one, or take it off'],
  ['a list of roles', () => js.jwt!().roles!(['admin', 'member']), '.roles() takes non-empty strings, one argument each, not an array'],
  ['an empty role', () => auth.jwt().roles('admin', ''), '.roles() takes non-empty strings, one argument each'],
  ['a role that is undefined', () => js.jwt!().roles!(undefined), '.roles() takes non-empty strings, one argument each'],
  ['a list of scopes', () => js.jwt!().scopes!(['a']), '.scopes() takes non-empty strings, one argument each, not an array'],
  ['two scopes in one string', () => auth.jwt().scopes('a b'), 'The scope "a b" has characters that no scope may have (RFC 6749 §3.3): no spaces, quotes or backslashes'],
  ['a scope that would end its challenge', () => auth.apiKey().scopes('a', 'b"'), 'The scope "b\\"" has characters that no scope may have (RFC 6749 §3.3): no spaces, quotes or backslashes'],
  ['a scope with a line break', () => auth.apiKey().scopes('a\r\nx: y'), 'The scope "a\\r\\nx: y" has characters that no scope may have (RFC 6749 §3.3): no spaces, quotes or backslashes'],
  ['a tenant without a parameter', () => js.jwt!().tenant!(), '.tenant() takes the name of a URL parameter, without its colon: .tenant(\'id\')'],
  ['a tenant of an empty parameter', () => auth.jwt().tenant(''), '.tenant() takes the name of a URL parameter, without its colon: .tenant(\'id\')'],
  ['a tenant with a colon', () => auth.jwt().tenant(':id'), '.tenant(\':id\') names a parameter with its colon. Write .tenant(\'id\')'],
  ['two tenant parameters', () => auth.jwt().tenant('id').tenant('org'), 'A rule is bound to one parameter or to none. Keep one of .tenant() and .anyTenant()'],
  ['any tenant, then one', () => auth.jwt().anyTenant().tenant('id'), 'A rule is bound to one parameter or to none. Keep one of .tenant() and .anyTenant()'],
  ['one tenant, then any', () => auth.jwt().tenant('id').anyTenant(), 'A rule is bound to one parameter or to none. Keep one of .tenant() and .anyTenant()'],
  ['a check without a name', () => js.jwt!().check!(pass), '.check() takes a name and a function: .check(\'owner\', (principal, request) => …)'],
  ['a check with an empty name', () => auth.jwt().check('', pass), '.check() takes a name and a function: .check(\'owner\', (principal, request) => …)'],
  ['a check whose name is no text', () => js.jwt!().check!(1, pass), '.check() takes a name and a function: .check(\'owner\', (principal, request) => …)'],
  ['a check that is already answered', () => js.jwt!().check!('owner', true), '.check() takes a name and a function: .check(\'owner\', (principal, request) => …)'],
  ['a name for the one store', () => js.apiKey!('default'), 'auth.apiKey() takes no names: there is one store of keys. Remove the argument'],
  ['an issuer twice', () => auth.jwt('a', 'b', 'a'), 'auth.jwt() names a, b, a: remove what is there twice'],
  ['a webhook twice', () => auth.webhook('a', 'a'), 'auth.webhook() names a, a: remove what is there twice'],
  ['a list of names', () => js.jwt!(['a', 'b']), 'auth.jwt takes non-empty strings, one argument each, not an array'],
  ['options in place of a name', () => js.webhook!({ name: 'a' }), 'auth.webhook takes non-empty strings, one argument each'],
  ['a method torn off its rule', () => { const { roles } = auth.jwt(); return roles.call(undefined as never, 'admin') }, '.roles() belongs to a rule that auth has built. Call it on the rule itself'],
  ['a description torn off its rule', () => { const { describe } = auth.jwt(); return describe() }, 'describe() belongs to a rule that auth has built. Call it on the rule itself']
]

for (const [what, build, message] of misuses) {
  t.test(`${what} does not become a rule, and the message names the mend`, async (t) => {
    t.throws(build, { code: 'AUTH_CONFIG_RULE', message })
    // tap compares a message by inclusion.
    try { build() } catch (error) { t.equal((error as Error).message, message) }
  })
}

t.test('only what auth has built is a rule', async (t) => {
  for (const value of [undefined, null, 'jwt', 1, true, {}, [], pass, auth, auth.jwt, { ...auth.jwt() }, Object.create(auth.jwt()), JSON.parse(JSON.stringify(auth.jwt())), new Proxy(auth.jwt(), {})]) {
    t.equal(nodeOf(value), null)
  }
  t.type(nodeOf(auth.jwt()), 'object')
})

t.test('nothing of a rule can be changed, its methods included', async (t) => {
  const rule = auth.any(auth.jwt('a').roles('admin').scopes('s').check('owner', pass), auth.apiKey())
  const frozen = (value: unknown): boolean => typeof value !== 'object' || value === null || (Object.isFrozen(value) && Object.values(value).every(frozen))
  t.ok(Object.isFrozen(auth))
  t.ok(Object.isFrozen(rule))
  t.ok(Object.isFrozen(Object.getPrototypeOf(rule)), 'or all rules would be changed through one')
  t.ok(frozen(nodeOf(rule)))
  t.throws(() => { (rule as { describe: unknown }).describe = () => 'public' }, TypeError)
})

t.test('a method makes another rule and leaves the one it is called on', async (t) => {
  const plain = auth.jwt()
  const narrowed = [plain.roles('admin'), plain.scopes('s'), plain.tenant('id'), plain.anyTenant(), plain.tenantOptional(), plain.optional(), plain.check('owner', pass)]
  t.equal(plain.describe(), 'token')
  t.equal(new Set([plain, ...narrowed]).size, 8)
  t.strictSame(narrowed.map((rule) => rule.describe()), [
    'token with role admin', 'token with scope s', 'token of the tenant in :id', 'token of any tenant', 'token with or without a tenant', 'token or nothing', 'token checked by owner'
  ])
})

t.test('what is handed in may change afterwards, the rule does not', async (t) => {
  const roles: [string, ...string[]] = ['admin']
  const names = ['a']
  const rule = auth.jwt(...names).roles(...roles)
  roles.push('member')
  names.push('b')
  t.equal(rule.describe(), 'token of a with role admin')
})

t.test('repeated calls add, and nothing is there twice', async (t) => {
  const first = () => true
  const second = () => false
  const rule = auth.jwt().roles('a', 'b').roles('b', 'c').scopes('x').scopes('x', 'y').check('one', first).check('two', second).check('one', second).tenant('id').tenant('id')
  t.strictSame(nodeOf(rule), {
    type: 'jwt',
    names: [],
    children: [],
    roles: ['a', 'b', 'c'],
    scopes: ['x', 'y'],
    tenantParam: 'id',
    anyTenant: false,
    tenantOptional: false,
    optional: false,
    checks: [{ name: 'one', check: first }, { name: 'two', check: second }, { name: 'one', check: second }]
  })
})

t.test('roles and scopes are taken where somebody may have them', async (t) => {
  t.doesNotThrow(() => auth.any(auth.webhook(), auth.apiKey()).scopes('a'))
  t.doesNotThrow(() => auth.all(auth.apiKey(), auth.webhook()).roles('a').scopes('b'))
})

t.test('a scope may have every character that RFC 6749 allows, and any length', async (t) => {
  const scopes = ['report:read', 'https://api.example.com/incidents.readonly', '!#$%&\'()*+,-./0:;<=>?@A[]^_`a{|}~'] as const
  t.strictSame(nodeOf(auth.apiKey().scopes(...scopes))?.scopes, scopes)
})

t.test('optional rules go directly into all, and the whole of an any may be optional', async (t) => {
  t.equal(auth.all(auth.jwt().optional(), auth.apiKey()).describe(), 'all of (token or nothing, API key)')
  t.equal(auth.any(auth.jwt(), auth.apiKey()).optional().describe(), 'any of (token, API key) or nothing')
  t.equal(auth.any(auth.jwt(), auth.all(auth.jwt().optional(), auth.apiKey())).describe(), 'any of (token, all of (token or nothing, API key))')
})

t.test('describe says every part of a rule in words', async (t) => {
  const described: ReadonlyArray<readonly [AuthRule, string]> = [
    [auth.public(), 'public'],
    [auth.deny(), 'deny'],
    [auth.jwt(), 'token'],
    [auth.jwt('staff', 'customers'), 'token of staff or customers'],
    [auth.apiKey().scopes('a', 'b'), 'API key with scope a and b'],
    [auth.webhook(), 'signature'],
    [auth.webhook('clerk', 'stripe').anyTenant(), 'signature of clerk or stripe of any tenant'],
    [auth.jwt().optional().check('owner', pass).check('paid', pass).tenantOptional().tenant('id').scopes('s').roles('admin', 'member'),
      'token with role admin or member with scope s of the tenant in :id with or without a tenant checked by owner and paid or nothing'],
    [auth.any(auth.jwt().roles('admin'), auth.all(auth.apiKey(), auth.webhook())).tenant('org'),
      'any of (token with role admin, all of (API key, signature)) of the tenant in :org']
  ]
  for (const [rule, words] of described) {
    t.equal(rule.describe(), words)
    t.equal(describeRule(nodeOf(rule)!), words)
  }
})

t.test('schemesOf finds every kind that a rule mentions, however deep', async (t) => {
  const rule = auth.any(auth.jwt(), auth.all(auth.apiKey(), auth.any(auth.webhook('a'), auth.webhook('b'))))
  t.strictSame([...schemesOf(nodeOf(rule)!)], ['jwt', 'apiKey', 'webhook'])
  t.strictSame([...schemesOf(nodeOf(auth.public())!)], [])
})

t.test('a rule that is awaited, or returned by an async function, rejects', async (t) => {
  const message = /A rule was awaited, or returned by a hook or an async function/
  for (const rule of [auth.public(), auth.deny(), auth.jwt(), auth.all(auth.apiKey(), auth.webhook()), auth.jwt().optional()]) {
    await t.rejects((async () => rule)(), { code: 'AUTH_CONFIG_RULE', message })
    await t.rejects(Promise.resolve(rule), { code: 'AUTH_CONFIG_RULE', message })
    t.equal((await (async () => ({ rule }))()).rule, rule)
  }
})
