import t from 'tap'
import { compileRule, type Offer, type OfferedWebhook, type Place } from '../lib/compiled-rule.js'
import { auth, nodeOf, type AuthRule } from '../lib/rule.js'
import { urlParams } from '../lib/url-params.js'

const signed = (name: string, headers = ['x-webhook-signature'], more: Partial<OfferedWebhook> = {}): OfferedWebhook => ({ name, headers, needsKey: false, literal: true, ...more })
const everything: Offer = { issuers: ['default'], apiKeys: true, webhooks: [signed('default')], tenant: { param: 'tenantId', required: true } }
const at = (url: string, method = 'POST'): Place => ({ label: `${method} ${url}`, params: urlParams(url) })
const compile = (rule: AuthRule, offer: Partial<Offer> = {}, place = at('/x')) => compileRule(nodeOf(rule)!, { ...everything, ...offer }, place)

/** The branches of a rule as its credentials, one string each, and what is asked of them. */
function branchesOf (...parameters: Parameters<typeof compile>) {
  return compile(...parameters).branches.map(({ leaves, before, after, principal }) => ({
    leaves: leaves.map(({ kind, names }) => kind.scheme === 'jwt' ? `jwt ${kind.issuer}` : kind.scheme === 'apiKey' ? 'apiKey' : `webhook ${names.join('|')}`),
    principal,
    before: before.map(stepWords),
    after: after.map(stepWords)
  }))
}

function stepWords (step: ReturnType<typeof compile>['branches'][number]['before'][number]): string {
  switch (step.type) {
    case 'tenant': return `${step.subject} tenant ${step.param ?? '-'}${step.required ? ' required' : ''}${step.alone ? ' alone' : ''}`
    case 'agreement': return `${step.subjects.join('+')} agree`
    case 'check': return `${step.subject} check ${step.check.name}`
    case 'roles':
    case 'scopes': return `${step.subject} ${step.type} ${step.values.join(',')}`
  }
}

t.test('a rule that needs what is not configured does not start', async (t) => {
  const missing: ReadonlyArray<readonly [AuthRule, Partial<Offer>, string]> = [
    [auth.jwt(), { issuers: [] }, 'POST /x: the rule "token" takes a token and no issuer is configured. Give the plugin jwt: { issuer }'],
    [auth.any(auth.jwt('a').roles('admin'), auth.apiKey()), { issuers: [] }, 'POST /x: the rule "token of a with role admin" takes a token and no issuer is configured. Give the plugin jwt: { issuer }'],
    [auth.jwt('staf'), { issuers: ['staff', 'customers'] }, 'POST /x: auth.jwt(\'staf\') names no configured issuer. Configured: \'staff\', \'customers\''],
    [auth.jwt('staff', 'x'), { issuers: ['staff'] }, 'POST /x: auth.jwt(\'x\') names no configured issuer. Configured: \'staff\''],
    [auth.jwt(), { issuers: ['staff', 'customers'] }, 'POST /x: auth.jwt() without a name is ambiguous among the issuers \'staff\', \'customers\'. Name one, auth.jwt(\'staff\'), or call one \'default\''],
    [auth.apiKey(), { apiKeys: false }, 'POST /x: the rule "API key" takes an API key and no store is configured. Give the plugin apiKey: { store }'],
    [auth.apiKey().optional(), { apiKeys: false }, 'POST /x: the rule "API key or nothing" takes an API key and no store is configured. Give the plugin apiKey: { store }'],
    [auth.webhook(), { webhooks: [] }, 'POST /x: the rule "signature" takes a signature and no webhook is configured. Give the plugin webhook: { secret }'],
    [auth.webhook('strip'), { webhooks: [signed('stripe')] }, 'POST /x: auth.webhook(\'strip\') names no configured webhook. Configured: \'stripe\''],
    [auth.webhook(), { webhooks: [signed('a'), signed('b')] }, 'POST /x: auth.webhook() without a name is ambiguous among the webhooks \'a\', \'b\'. Name one, auth.webhook(\'a\'), or call one \'default\'']
  ]
  for (const [rule, offer, message] of missing) {
    t.throws(() => compile(rule, offer), { code: 'AUTH_CONFIG_CREDENTIAL', message }, message)
  }
})

t.test('without a name the only one is meant, or else the one that is named default', async (t) => {
  const leaves = (...parameters: Parameters<typeof compile>) => branchesOf(...parameters).map(({ leaves }) => leaves.join(' & '))
  t.strictSame(leaves(auth.jwt(), { issuers: ['staff'] }), ['jwt staff'])
  t.strictSame(leaves(auth.jwt(), { issuers: ['staff', 'default'] }), ['jwt default'])
  t.strictSame(leaves(auth.jwt('a', 'b'), { issuers: ['b', 'a'] }), ['jwt a', 'jwt b'])
  t.strictSame(leaves(auth.webhook(), { webhooks: [signed('stripe')] }), ['webhook stripe'])
  t.strictSame(leaves(auth.webhook(), { webhooks: [signed('stripe'), signed('default')] }), ['webhook default'])
})

t.test('webhooks that share a header, directly or through another, are one kind', async (t) => {
  const webhooks = [signed('a', ['x-1']), signed('b', ['x-2']), signed('c', ['x-1', 'x-2']), signed('d', ['x-3'])]
  const kinds = compile(auth.webhook('a', 'b', 'c', 'd'), { webhooks }).webhookKinds.map(({ names, headers }) => ({ names: [...names].sort(), headers: [...headers].sort() }))
  t.strictSame(kinds, [{ names: ['a', 'b', 'c'], headers: ['x-1', 'x-2'] }, { names: ['d'], headers: ['x-3'] }])
  const later = [...webhooks, signed('e', ['x-2'])]
  t.strictSame(compile(auth.webhook('a', 'b', 'c', 'e'), { webhooks: later }).webhookKinds.length, 1, 'one that shares with one of them belongs to all of them')
  t.equal(compile(auth.webhook('c', 'a'), { webhooks }).webhookKinds.length, 1, 'whichever is named first')
  t.strictSame(branchesOf(auth.webhook('a', 'd'), { webhooks }).map(({ leaves }) => leaves), [['webhook a'], ['webhook d']], 'a leaf accepts the names of its own kind')
  t.equal(compile(auth.webhook('a', 'b'), { webhooks }).webhookKinds.length, 2, 'where the rule leaves out the one between, they are two')
})

t.test('the names of a kind stand in the order of the rule, not of the configuration', async (t) => {
  const webhooks = [signed('a'), signed('b'), signed('c')]
  t.strictSame(compile(auth.webhook('c', 'a', 'b'), { webhooks }).webhookKinds.map(({ names }) => names), [['c', 'a', 'b']])
  t.strictSame(compile(auth.any(auth.webhook('b').anyTenant(), auth.webhook('a')), { webhooks }).webhookKinds.map(({ names }) => names), [['b', 'a']])
})

t.test('.tenant(param) on a URL without that parameter does not start', async (t) => {
  t.throws(() => compile(auth.jwt().tenant('id'), {}, at('/x')), { code: 'AUTH_CONFIG_ROUTE', message: 'POST /x: .tenant(\'id\') names no parameter of this URL. It has none: name one of its own, or use .anyTenant()' })
  t.throws(() => compile(auth.any(auth.apiKey(), auth.jwt().tenant('id')), {}, at('/:tenantId/:key')), { code: 'AUTH_CONFIG_ROUTE', message: 'POST /:tenantId/:key: .tenant(\'id\') names no parameter of this URL. It has \'tenantId\', \'key\': name one of its own, or use .anyTenant()' })
  t.throws(() => compile(auth.webhook().tenant('id')), { code: 'AUTH_CONFIG_ROUTE' })
  t.doesNotThrow(() => compile(auth.jwt().tenant('id'), {}, at('/:id')))
  t.doesNotThrow(() => compile(auth.jwt().tenant('id'), {}, { label: 'require()', params: null }), 'where no URL is known yet, the route will tell')
})

t.test('.tenant(param) in an application without tenants does not start', async (t) => {
  t.throws(() => compile(auth.all(auth.jwt(), auth.apiKey().tenant('id')), { tenant: null }, at('/:id')), { code: 'AUTH_CONFIG_RULE' })
  t.throws(() => compile(auth.jwt().tenant('id'), { tenant: null }, at('/:id')), { code: 'AUTH_CONFIG_RULE', message: 'POST /:id: .tenant(\'id\') in an application without tenants. Take it off, or take tenant: false off' })
})

t.test('a URL that has the configured parameter is bound, another is not', async (t) => {
  const before = (...parameters: Parameters<typeof compile>) => branchesOf(...parameters).map(({ before }) => before)
  t.strictSame(before(auth.jwt(), {}, at('/:tenantId')), [['0 tenant tenantId required']])
  t.strictSame(before(auth.jwt(), {}, at('/:id')), [['0 tenant - required']])
  t.strictSame(before(auth.jwt(), { tenant: { param: 'org', required: false } }, at('/:org/:tenantId')), [['0 tenant org']])
  t.strictSame(before(auth.jwt().anyTenant(), {}, at('/:tenantId')), [['0 tenant - required']])
  t.strictSame(before(auth.jwt().tenantOptional(), {}, at('/:tenantId')), [['0 tenant tenantId']])
  t.strictSame(before(auth.jwt().tenant('id'), {}, at('/:tenantId/:id')), [['0 tenant id required']])
  t.strictSame(before(auth.jwt(), { tenant: null }, at('/:tenantId')), [[]])
})

t.test('a parameter that only looks like the tenant\'s does not start, unless the rule says what it is', async (t) => {
  for (const name of ['tenantid', 'TenantId', 'tenant_id', 'tenantID']) {
    const place = at(`/:${name}`)
    t.throws(() => compile(auth.jwt(), {}, place), { code: 'AUTH_CONFIG_ROUTE', message: `POST /:${name}: :${name} is not :tenantId, so no tenant is compared with it. Write :tenantId in the URL, or say .tenant('${name}') or .anyTenant() of the rule` })
    for (const combined of [auth.any(auth.jwt().anyTenant(), auth.apiKey()), auth.all(auth.jwt().anyTenant(), auth.apiKey())]) t.throws(() => compile(combined, {}, place), { code: 'AUTH_CONFIG_ROUTE' })
    for (const rule of [auth.jwt().tenant(name), auth.jwt().anyTenant(), auth.public(), auth.deny()]) t.doesNotThrow(() => compile(rule, {}, place))
    t.doesNotThrow(() => compile(auth.jwt(), {}, at(`/:tenantId/:${name}`)))
    t.doesNotThrow(() => compile(auth.jwt(), { tenant: null }, place))
  }
})

t.test('what a node says of its tenant holds below it, unless something nearer says otherwise', async (t) => {
  const rule = auth.any(auth.jwt().anyTenant(), auth.all(auth.apiKey(), auth.jwt().tenant('id'))).tenant('org')
  t.strictSame(branchesOf(rule, {}, at('/:tenantId/:org/:id')), [
    { leaves: ['jwt default'], principal: 0, before: ['0 tenant - required'], after: [] },
    { leaves: ['apiKey', 'jwt default'], principal: 0, before: ['0 tenant org required', '1 tenant id required', '0+1 agree'], after: [] }
  ])
})

t.test('a branch for each combination, the conditions of a node with a webhook behind its signature', async (t) => {
  const pass = () => true
  const rule = auth.all(auth.webhook(), auth.any(auth.jwt('a', 'b').roles('admin'), auth.apiKey()).check('inner', pass)).scopes('s')
  const tenant = ['0 tenant -', '0+1 agree']
  t.strictSame(branchesOf(rule, { issuers: ['a', 'b'] }), [
    { leaves: ['webhook default', 'jwt a'], principal: 1, before: ['1 tenant - required', '1 roles admin', '1 check inner'], after: [...tenant, '1 scopes s'] },
    { leaves: ['webhook default', 'jwt b'], principal: 1, before: ['1 tenant - required', '1 roles admin', '1 check inner'], after: [...tenant, '1 scopes s'] },
    { leaves: ['webhook default', 'apiKey'], principal: 1, before: ['1 tenant - required', '1 check inner'], after: [...tenant, '1 scopes s'] }
  ])
})

t.test('a signature alone agrees with nobody, and only a webhook has names', async (t) => {
  t.strictSame(branchesOf(auth.webhook()), [{ leaves: ['webhook default'], principal: 0, before: [], after: ['0 tenant - alone'] }])
  t.strictSame(compile(auth.all(auth.jwt(), auth.apiKey(), auth.webhook())).branches[0]?.leaves.map(({ names }) => names), [[], [], ['default']])
})

t.test('an optional part is a branch without it, and a branch of nothing asks nothing', async (t) => {
  t.strictSame(branchesOf(auth.all(auth.jwt().optional().roles('admin'), auth.apiKey())).map(({ leaves, before }) => [leaves, before]), [
    [['jwt default', 'apiKey'], ['0 tenant - required', '1 tenant - required', '0+1 agree', '0 roles admin']],
    [['apiKey'], ['0 tenant - required']]
  ])
  t.strictSame(branchesOf(auth.jwt().roles('admin').optional()).map(({ leaves, principal, before }) => [leaves, principal, before]), [
    [['jwt default'], 0, ['0 tenant - required', '0 roles admin']],
    [[], -1, []]
  ])
  t.strictSame(branchesOf(auth.all(auth.jwt().optional(), auth.apiKey().optional()).roles('admin').scopes('s').check('x', () => true)).at(-1), { leaves: [], principal: -1, before: [], after: [] })
})

t.test('a rule that no request can satisfy does not start', async (t) => {
  const issuers = ['a', 'b']
  const webhooks = [signed('a'), signed('b'), signed('c')]
  const never = (words: string) => ({ code: 'AUTH_CONFIG_RULE', message: `POST /x: the rule "${words}" can never be satisfied: a request carries one token, one API key and one signature of a kind. Use auth.any() for alternatives` })
  t.throws(() => compile(auth.all(auth.jwt('a'), auth.jwt('b')), { issuers }), never('all of (token of a, token of b)'))
  t.throws(() => compile(auth.all(auth.webhook('a'), auth.webhook('b')), { webhooks }), never('all of (signature of a, signature of b)'))
  t.throws(() => compile(auth.all(auth.webhook('a', 'b'), auth.webhook('b', 'c'), auth.webhook('a', 'c')), { webhooks }), never('all of (signature of a or b, signature of b or c, signature of a or c)'), 'each two have a name in common, all three have none')
  t.throws(() => compile(auth.all(auth.jwt('a'), auth.jwt('b')).optional(), { issuers }), never('all of (token of a, token of b) or nothing'))
  t.strictSame(branchesOf(auth.all(auth.webhook('a', 'b'), auth.webhook('b', 'c')), { webhooks }).length, 1)
  t.strictSame(branchesOf(auth.all(auth.jwt('a', 'b'), auth.jwt('b')), { issuers }).map(({ leaves }) => leaves), [['jwt b', 'jwt b']])
})

t.test('apiKeySecret() without a key to have the secret of does not start', async (t) => {
  const webhooks = [signed('default', undefined, { needsKey: true, literal: false }), signed('other')]
  const message = (words: string) => ({ code: 'AUTH_CONFIG_CREDENTIAL', message: `POST /x: the rule "${words}" verifies with the secret of an API key (apiKeySecret()) and proves no key. Use auth.all(auth.apiKey(), auth.webhook())` })
  t.throws(() => compile(auth.webhook(), { webhooks }), message('signature'))
  t.throws(() => compile(auth.all(auth.jwt(), auth.webhook()), { webhooks }), message('all of (token, signature)'))
  t.throws(() => compile(auth.any(auth.apiKey(), auth.webhook()), { webhooks }), message('any of (API key, signature)'))
  t.throws(() => compile(auth.all(auth.apiKey().optional(), auth.webhook()), { webhooks }), message('all of (API key or nothing, signature)'))
  t.throws(() => compile(auth.webhook('other', 'default'), { webhooks }), { code: 'AUTH_CONFIG_CREDENTIAL' })
  t.throws(() => compileRule(nodeOf(auth.webhook())!, { ...everything, webhooks }, { label: 'require()', params: null }), { code: 'AUTH_CONFIG_CREDENTIAL' })
  t.doesNotThrow(() => compile(auth.all(auth.webhook(), auth.apiKey()), { webhooks }))
  t.doesNotThrow(() => compile(auth.webhook('other'), { webhooks }))
})

t.test('a rule has at most 29 kinds of credential and 512 combinations', async (t) => {
  const issuers = Array.from({ length: 30 }, (_, index) => `issuer-${index}`)
  t.equal(compile(auth.any(auth.jwt(...issuers.slice(0, 28)), auth.apiKey()), { issuers }).kinds.length, 29)
  t.equal(compile(auth.jwt(...issuers.slice(0, 29)), { issuers }).kinds.length, 29)
  t.throws(() => compile(auth.jwt(...issuers), { issuers }), { code: 'AUTH_CONFIG_RULE', message: 'POST /x: the rule mentions more than 29 kinds of credential. Split the route' })
  t.equal(compile(auth.any(auth.jwt(...issuers.slice(0, 28)), auth.webhook()), { issuers }).kinds.length, 29)
  t.throws(() => compile(auth.any(auth.jwt(...issuers.slice(0, 29)), auth.webhook()), { issuers }), { code: 'AUTH_CONFIG_RULE' })
  const pair = () => auth.any(auth.jwt(), auth.jwt().check('x', () => true))
  const eight = auth.all(pair(), pair(), pair(), pair(), pair(), pair(), pair(), pair())
  t.equal(compile(auth.all(eight, pair())).branches.length, 512)
  t.throws(() => compile(auth.any(auth.all(eight, pair()), auth.jwt())), { code: 'AUTH_CONFIG_RULE', message: /more than 512 combinations/ })
  t.throws(() => compile(auth.all(eight, pair(), pair())), { code: 'AUTH_CONFIG_RULE', message: /^POST \/x: the rule "all of .*" has more than 512 combinations\. Split the route$/ })
})

t.test('candidates take every kind presented and need no other; the rest is ambiguous or lacks something', async (t) => {
  const { select, keyBit, webhookBits, issuerBits } = compile(auth.any(auth.apiKey(), auth.all(auth.apiKey(), auth.webhook()), auth.jwt()))
  const jwt = issuerBits.get('default')!
  const answer = (presented: number) => {
    const { branches, refuse } = select(presented)
    if (branches !== null) return branches.map(({ leaves }) => leaves.map(({ kind }) => kind.scheme).join('&')).join(' ')
    const { code, reason, challenge } = refuse('absent')
    return { code, reason, challenge }
  }
  t.equal(answer(keyBit), 'apiKey')
  t.equal(answer(keyBit | webhookBits), 'apiKey&webhook')
  t.equal(answer(jwt), 'jwt')
  const ambiguous = { code: 'AUTH_CREDENTIAL_AMBIGUOUS', reason: 'ambiguous', challenge: null }
  t.strictSame(answer(keyBit | jwt), ambiguous)
  t.strictSame(answer(jwt | webhookBits), ambiguous)
  const challenge = 'ApiKey realm="causeflow", Signature realm="causeflow", Bearer realm="causeflow"'
  t.strictSame(answer(0), { code: 'AUTH_CREDENTIAL_MISSING', reason: 'absent', challenge })
  t.strictSame(answer(webhookBits), { code: 'AUTH_API_KEY_MISSING', reason: 'absent', challenge: 'ApiKey realm="causeflow"' })
})

t.test('what is missing is looked for in the branches that take what was presented, in the order of the rule', async (t) => {
  const missing = (rule: AuthRule, presented: 'key' | 'signature') => {
    const { select, keyBit, webhookBits } = compile(rule)
    return select(presented === 'key' ? keyBit : webhookBits).refuse?.('absent').code
  }
  t.equal(missing(auth.any(auth.apiKey(), auth.all(auth.jwt(), auth.webhook())), 'signature'), 'AUTH_CREDENTIAL_MISSING')
  t.equal(missing(auth.any(auth.all(auth.apiKey(), auth.webhook()), auth.all(auth.jwt(), auth.webhook())), 'signature'), 'AUTH_API_KEY_MISSING')
  t.equal(missing(auth.any(auth.jwt(), auth.all(auth.apiKey(), auth.webhook())), 'key'), 'AUTH_SIGNATURE_MISSING')
})

t.test('a selection is worked out once, for as many sets as are worth keeping', async (t) => {
  const { select } = compile(auth.jwt())
  for (let set = 0; set < 1024; set++) select(set)
  t.equal(select(1), select(1))
  t.equal(select(1023), select(1023))
  t.not(select(1024), select(1024))
  t.strictSame(select(1024).refuse?.('absent').code, 'AUTH_CREDENTIAL_MISSING')
})

t.test('public and deny compile to themselves, whatever is configured', async (t) => {
  const nothing = { issuers: [], apiKeys: false, webhooks: [], tenant: null }
  t.equal(compile(auth.public(), nothing).standing, 'public')
  t.equal(compile(auth.deny(), nothing).standing, 'deny')
  t.equal(compile(auth.jwt()).standing, 'examined')
  for (const rule of [auth.public(), auth.deny()]) {
    const { kinds, webhookKinds, branches, issuerBits, keyBit, webhookBits, select } = compile(rule, nothing)
    t.strictSame({ kinds, webhookKinds, branches, bits: [issuerBits.size, keyBit, webhookBits] }, { kinds: [], webhookKinds: [], branches: [], bits: [0, 0, 0] })
    t.strictSame(select(0), { branches: [], signatures: [], refuse: null })
  }
})

t.test('a webhook with a literal secret has no tenant: alone on the URL of one, it does not start', async (t) => {
  const place = at('/v1/webhooks/:tenantId')
  for (const rule of [auth.webhook(), auth.any(auth.apiKey(), auth.webhook()), auth.webhook().tenantOptional()]) {
    t.throws(() => compile(rule, {}, place), { code: 'AUTH_CONFIG_ROUTE', message: /names a tenant in :tenantId.*auth\.all\(auth\.apiKey\(\), auth\.webhook\(\)\).*\.anyTenant\(\)/ })
  }
  for (const rule of [auth.webhook().anyTenant(), auth.all(auth.apiKey(), auth.webhook())]) t.doesNotThrow(() => compile(rule, {}, place))
  t.doesNotThrow(() => compile(auth.webhook(), { webhooks: [signed('default', undefined, { literal: false })] }, place), 'a resolver may name one')
  const mixed = { webhooks: [signed('literal'), signed('resolved', undefined, { literal: false })] }
  t.throws(() => compile(auth.webhook('literal'), mixed, place), { code: 'AUTH_CONFIG_ROUTE' })
  for (const rule of [auth.webhook('resolved'), auth.webhook('literal', 'resolved')]) t.doesNotThrow(() => compile(rule, mixed, place), 'one of them may name one')
  t.doesNotThrow(() => compile(auth.webhook(), { tenant: null }, place))
})
