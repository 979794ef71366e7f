import t from 'tap'
import { generateKeyPairSync } from 'node:crypto'
import { MemoryApiKeyStore } from '../lib/api-key/memory-store.js'
import { causeflowClaims } from '../lib/jwt/claims.js'
import { clerk } from '../lib/jwt/clerk.js'
import { needsKey, readOptions, type CauseflowAuthOptions } from '../lib/options.js'
import { auth } from '../lib/rule.js'
import { apiKeySecret } from '../lib/webhook/key-secret.js'
import { MemoryReplayStore } from '../lib/webhook/memory-replay-store.js'
import { causeflow } from '../lib/webhook/schemes/causeflow.js'
import { github } from '../lib/webhook/schemes/github.js'

const issuer = 'https://acme.clerk.accounts.dev'
const secret = 'x'.repeat(32)
const store = new MemoryApiKeyStore()
const pem = generateKeyPairSync('rsa', { modulusLength: 2048 }).publicKey.export({ type: 'spki', format: 'pem' }) as string
const read = (options: unknown) => readOptions(options as CauseflowAuthOptions)

t.test('nothing given: no credential is configured, tenants are bound, the clock is the machine\'s', async (t) => {
  t.strictSame(read({}), { default: null, jwt: [], apiKey: null, webhook: [], tenant: { param: 'tenantId', required: true }, clock: Date.now })
})

t.test('an issuer alone: everything else has its documented default', async (t) => {
  const [jwt] = read({ jwt: { issuer } }).jwt
  const { claims, ...rest } = jwt!
  t.equal(claims.schema, causeflowClaims().schema)
  t.strictSame(rest, {
    name: 'default',
    issuer,
    audience: ['https://api.causeflow.ai'],
    algorithms: ['RS256'],
    keys: { from: 'jwks', url: 'https://acme.clerk.accounts.dev/.well-known/jwks.json' },
    authorizedParties: null,
    azp: 'off',
    clockTolerance: 5,
    warmup: 'warn',
    tokenCache: { max: 10_000, maxBytes: 67_108_864 },
    keySet: { maxAge: 600, cooldown: 30, timeLimit: 5, staleFor: 3600 },
    isRevoked: null
  })
})

t.test('a store alone: everything else has its documented default', async (t) => {
  t.strictSame(read({ apiKey: { store } }).apiKey, {
    store,
    header: 'x-api-key',
    bearer: true,
    query: null,
    environments: ['live', 'test'],
    legacyKeys: true,
    cache: { max: 10_000, ttl: 30 },
    quota: 5,
    sealingKeys: [],
    timeLimit: 2
  })
})

t.test('a webhook secret alone: everything else has its documented default', async (t) => {
  const [webhook] = read({ webhook: { secret: 's' } }).webhook
  const { scheme, ...rest } = webhook!
  t.equal(scheme.name, causeflow().name)
  t.strictSame(rest, { name: 'default', secret: 's', replay: null })
})

t.test('everything given is taken as it is', async (t) => {
  const claims = causeflowClaims()
  const isRevoked = () => false
  const clock = () => 1_700_000_000_000
  const scheme = github()
  const replay = new MemoryReplayStore()
  const rule = auth.deny()
  const settings = read({
    default: rule,
    jwt: [{
      name: 'staff',
      issuer: 'https://auth.causeflow.ai/',
      audience: ['a', 'b'],
      algorithms: ['ES256', 'EdDSA'],
      jwksPath: '/keys.json',
      claims,
      authorizedParties: ['https://app.example'],
      azp: 'require',
      clockTolerance: 0,
      warmup: 'require',
      tokenCache: { max: 1, maxBytes: 1000 },
      keySet: { maxAge: 1, cooldown: 2, timeLimit: 3, staleFor: 0 },
      isRevoked
    }],
    apiKey: { store, header: 'X-Key', bearer: false, query: 'apiKey', environments: ['live'], legacyKeys: false, cache: { max: 1, ttl: 0.5 }, quota: 0, sealingKeys: [new Uint8Array(32), 'f'.repeat(64)] },
    webhook: [{ name: 'github', scheme, secret: ['old', new Uint8Array(1)], replay }],
    tenant: { param: 'org', required: false },
    clock
  })
  t.strictSame(settings, {
    default: rule,
    jwt: [{
      name: 'staff',
      issuer: 'https://auth.causeflow.ai/',
      audience: ['a', 'b'],
      algorithms: ['ES256', 'EdDSA'],
      keys: { from: 'jwks', url: 'https://auth.causeflow.ai/keys.json' },
      claims,
      authorizedParties: ['https://app.example'],
      azp: 'require',
      clockTolerance: 0,
      warmup: 'require',
      tokenCache: { max: 1, maxBytes: 1000 },
      keySet: { maxAge: 1, cooldown: 2, timeLimit: 3, staleFor: 0 },
      isRevoked
    }],
    apiKey: { store, header: 'x-key', bearer: false, query: 'apiKey', environments: ['live'], legacyKeys: false, cache: { max: 1, ttl: 0.5 }, quota: 0, sealingKeys: [new Uint8Array(32), 'f'.repeat(64)], timeLimit: 2 },
    webhook: [{ name: 'github', scheme, secret: ['old', new Uint8Array(1)], replay }],
    tenant: { param: 'org', required: false },
    clock: settings.clock
  })
  t.equal(settings.clock(), clock())
})

t.test('what is false or switched off is off', async (t) => {
  t.equal(read({ tenant: false }).tenant, null)
  t.equal(read({ apiKey: { store, cache: false } }).apiKey?.cache, null)
  t.equal(read({ apiKey: { store, query: false } }).apiKey?.query, null)
  const [jwt] = read({ jwt: { issuer, audience: false, tokenCache: false, warmup: false, azp: 'off', authorizedParties: ['a'] } }).jwt
  t.strictSame([jwt?.audience, jwt?.tokenCache, jwt?.warmup, jwt?.azp], [null, null, false, 'off'])
})

t.test('each source of keys becomes the place that it names', async (t) => {
  const keys = (options: object) => read({ jwt: { issuer, ...options } }).jwt[0]?.keys
  t.strictSame(keys({ jwksPath: '/a/b.json' }), { from: 'jwks', url: `${issuer}/a/b.json` })
  t.strictSame(keys({ discovery: true }), { from: 'discovery', url: `${issuer}/.well-known/openid-configuration` })
  t.strictSame(keys({ issuer: `${issuer}/realm/`, discovery: true }), { from: 'discovery', url: `${issuer}/realm/.well-known/openid-configuration` })
  t.strictSame(keys({ publicKey: pem }), { from: 'publicKey', pem })
  t.strictSame(keys({ secret }), { from: 'secret', secret })
  t.strictSame(keys({ discovery: false, secret }), { from: 'secret', secret }, 'what is false is no source')
})

t.test('a secret verifies HS256 unless said otherwise, and its issuer is free text', async (t) => {
  const [jwt] = read({ jwt: { issuer: 'causeflow', audience: 'causeflow-api', secret } }).jwt
  t.strictSame([jwt?.issuer, jwt?.audience, jwt?.algorithms], ['causeflow', ['causeflow-api'], ['HS256']])
  t.strictSame(read({ jwt: { issuer: 'causeflow', publicKey: pem } }).jwt[0]?.algorithms, ['RS256'])
})

t.test('http is for a loopback address', async (t) => {
  for (const loopback of ['http://localhost:3000', 'http://127.0.0.1:3000', 'http://127.9.9.9', 'http://[::1]:3000']) {
    t.equal(read({ jwt: { issuer: loopback } }).jwt[0]?.issuer, loopback)
  }
})

t.test('where parties are listed, an azp that is there is compared', async (t) => {
  t.equal(read({ jwt: { issuer, authorizedParties: ['https://app.example'] } }).jwt[0]?.azp, 'ifPresent')
})

t.test('clerk() answers a whole jwt option', async (t) => {
  const [jwt] = read({ jwt: clerk({ issuer, authorizedParties: ['https://app.example'] }) }).jwt
  t.strictSame([jwt?.issuer, jwt?.audience, jwt?.azp, jwt?.authorizedParties], [issuer, null, 'ifPresent', ['https://app.example']])
})

t.test('the resolver of apiKeySecret() is recognised, another function is not', async (t) => {
  t.strictSame(read({ webhook: [{ name: 'a', secret: apiKeySecret() }, { name: 'b', secret: () => null }, { name: 'c', secret: 's' }] }).webhook.map(needsKey), [true, false, false])
})

const refused: ReadonlyArray<readonly [what: string, options: unknown, message: string | RegExp]> = [
  // names
  ['options that are none', null, 'The options of causeflowAuth must be an object'],
  ['a list of options', [], 'The options of causeflowAuth must be an object'],
  ['an unknown option', { greeting: 'hi' }, 'causeflowAuth has no option \'greeting\'. It has default, jwt, apiKey, webhook, tenant, clock'],
  ['an option in the plural', { webhooks: { secret: 's' } }, 'causeflowAuth has no option \'webhooks\'. Did you mean \'webhook\'?'],
  ['an option in another case', { apikey: { store } }, 'causeflowAuth has no option \'apikey\'. Did you mean \'apiKey\'?'],
  ['an option with a hyphen', { 'api-key': { store } }, 'causeflowAuth has no option \'api-key\'. Did you mean \'apiKey\'?'],
  ['an option that is undefined and unknown', { tenants: undefined }, 'causeflowAuth has no option \'tenants\'. Did you mean \'tenant\'?'],
  ['a prototype that came as JSON', JSON.parse('{"__proto__": {"default": 1}}'), 'causeflowAuth has no option \'__proto__\'. It has default, jwt, apiKey, webhook, tenant, clock'],
  ['two letters exchanged', { jwt: { isseur: issuer } }, 'jwt has no option \'isseur\'. Did you mean \'issuer\'?'],
  ['a letter too many', { jwt: { issuer, audiences: 'x' } }, 'jwt has no option \'audiences\'. Did you mean \'audience\'?'],
  ['a letter too few', { jwt: { issuer, algorithm: ['RS256'] } }, 'jwt has no option \'algorithm\'. Did you mean \'algorithms\'?'],
  ['another letter', { apiKey: { store, heador: 'x' } }, 'apiKey has no option \'heador\'. Did you mean \'header\'?'],
  ['an unknown option of the second issuer', { jwt: [{ issuer }, { issuer: 'https://b.example', leeway: 5 }] }, /^jwt\[1\] has no option 'leeway'\. It has name, issuer, audience, /],
  ['an unknown option of a webhook', { webhook: [{ secret: 's', schema: github() }] }, 'webhook[0] has no option \'schema\'. Did you mean \'scheme\'?'],
  ['an unknown time of the key set', { jwt: { issuer, keySet: { maxage: 1 } } }, 'jwt.keySet has no option \'maxage\'. Did you mean \'maxAge\'?'],
  ['an unknown option of the token cache', { jwt: { issuer, tokenCache: { ttl: 1 } } }, 'jwt.tokenCache has no option \'ttl\'. It has max, maxBytes'],
  ['an unknown option of the key cache', { apiKey: { store, cache: { maximum: 1 } } }, 'apiKey.cache has no option \'maximum\'. It has max, ttl'],
  ['an unknown option of tenants', { tenant: { params: 'org' } }, 'tenant has no option \'params\'. Did you mean \'param\'?'],
  // the whole
  ['a default that is no rule', { default: 'jwt' }, 'default is not right. Give a rule built by auth, for example auth.jwt()'],
  ['a default that was not called', { default: auth.jwt }, 'default is not right. Give a rule built by auth, for example auth.jwt()'],
  ['a default that looks like a rule', { default: { ...auth.jwt() } }, 'default is not right. Give a rule built by auth, for example auth.jwt()'],
  ['null for jwt', { jwt: null }, 'jwt is not right. Give an object or an array of objects'],
  ['a URL for jwt', { jwt: issuer }, 'jwt is not right. Give an object or an array of objects'],
  ['a URL among issuers', { jwt: [{ issuer }, 'https://b.example'] }, 'jwt[1] must be an object'],
  ['a list among issuers', { jwt: [[{ issuer }]] }, 'jwt[0] must be an object'],
  ['true for apiKey', { apiKey: true }, 'apiKey is not right. Give an object: { store }'],
  ['two stores', { apiKey: [{ store }] }, 'apiKey must be an object'],
  ['a secret for webhook', { webhook: 's' }, 'webhook is not right. Give an object or an array of objects: { secret }'],
  ['true for tenant', { tenant: true }, 'tenant is not right. Give { param, required } or false'],
  ['null for tenant', { tenant: null }, 'tenant is not right. Give { param, required } or false'],
  ['a tenant\'s parameter that is empty', { tenant: { param: '' } }, 'tenant.param is not right. Give the name of a URL parameter, without its colon'],
  ['a tenant\'s parameter with its colon, which would bind nothing', { tenant: { param: ':tenantId' } }, 'tenant.param is not right. Give the name of a URL parameter, without its colon'],
  ['a tenant\'s URL in place of a parameter', { tenant: { param: 'tenants/tenantId' } }, 'tenant.param is not right. Give the name of a URL parameter, without its colon'],
  ['a required that is a string', { tenant: { required: 'no' } }, 'tenant.required is not right. Give true or false'],
  ['a time for the clock', { clock: Date.now() }, 'clock is not right. Give a function that returns milliseconds since the epoch'],
  // issuers
  ['no issuer', { jwt: {} }, 'jwt.issuer is missing. Give the issuer, exactly as in the iss claim'],
  ['an issuer from an environment without it', { jwt: { issuer: undefined } }, 'jwt.issuer is missing. Give the issuer, exactly as in the iss claim'],
  ['an empty issuer', { jwt: { issuer: '' } }, 'jwt.issuer is not right. Give the issuer, exactly as in the iss claim'],
  ['a URL object', { jwt: { issuer: new URL(issuer) } }, 'jwt.issuer is not right. Give the issuer, exactly as in the iss claim'],
  ['an issuer that is a host', { jwt: { issuer: 'acme.clerk.accounts.dev' } }, 'jwt has an issuer that is no URL, and its keys are fetched from there. Write it with https://, or give publicKey or secret'],
  ['an issuer over http', { jwt: { issuer: 'http://acme.clerk.accounts.dev' } }, 'jwt has an issuer that is neither https nor http on a loopback address. Use https'],
  ['a host that begins like a loopback address', { jwt: { issuer: 'http://127.0.0.1.example' } }, 'jwt has an issuer that is neither https nor http on a loopback address. Use https'],
  ['a host that ends like localhost', { jwt: { issuer: 'http://notlocalhost' } }, 'jwt has an issuer that is neither https nor http on a loopback address. Use https'],
  ['an issuer in a file', { jwt: { issuer: 'file:///etc' } }, 'jwt has an issuer that is neither https nor http on a loopback address. Use https'],
  ['an issuer with a query', { jwt: { issuer: `${issuer}?a=b` } }, 'jwt has an issuer with user information, a query or a fragment. Give scheme, host and path alone'],
  ['an issuer with an empty query', { jwt: { issuer: `${issuer}?` } }, 'jwt has an issuer with user information, a query or a fragment. Give scheme, host and path alone'],
  ['an issuer with a fragment', { jwt: { issuer: `${issuer}/#` } }, 'jwt has an issuer with user information, a query or a fragment. Give scheme, host and path alone'],
  ['an issuer with a password', { jwt: { issuer: 'https://user:password@acme.example' } }, 'jwt has an issuer with user information, a query or a fragment. Give scheme, host and path alone'],
  ['an issuer with a line break at its end', { jwt: { issuer: `${issuer}\n` } }, 'jwt has an issuer with white space in it. Take it off: the issuer is compared exactly'],
  ['an empty audience', { jwt: { issuer, audience: '' } }, 'jwt.audience is not right. Give a non-empty string, a list of them, or false'],
  ['no audience in a list', { jwt: { issuer, audience: [] } }, 'jwt.audience is not right. Give a non-empty string, a list of them, or false'],
  ['an audience that is null', { jwt: { issuer, audience: null } }, 'jwt.audience is not right. Give a non-empty string, a list of them, or false'],
  ['no algorithm', { jwt: { issuer, algorithms: [] } }, /^jwt\.algorithms is not right\. Give a list of RS256, /],
  ['the algorithm none', { jwt: { issuer, algorithms: ['none'] } }, /^jwt\.algorithms is not right\. Give a list of RS256, /],
  ['an algorithm in another case', { jwt: { issuer, algorithms: ['rs256'] } }, /^jwt\.algorithms is not right\. Give a list of RS256, /],
  ['an algorithm and no list', { jwt: { issuer, algorithms: 'RS256' } }, /^jwt\.algorithms is not right\. Give a list of RS256, /],
  ['HS256 with keys from the issuer', { jwt: { issuer, algorithms: ['RS256', 'HS256'] } }, 'jwt lists HS256 and has no secret: a public key is no secret. Take HS256 out of algorithms, or give a secret instead of keys'],
  ['HS256 with a public key', { jwt: { issuer, algorithms: ['HS256'], publicKey: pem } }, 'jwt lists HS256 and has no secret: a public key is no secret. Take HS256 out of algorithms, or give a secret instead of keys'],
  ['RS256 with a secret', { jwt: { issuer, algorithms: ['HS256', 'RS256'], secret } }, 'jwt has a secret, which verifies HS256 alone. Take RS256 out of algorithms'],
  ['two sources of keys', { jwt: { issuer, jwksPath: '/keys', discovery: true } }, 'jwt takes one source of keys, and has jwksPath and discovery. Keep one'],
  ['a secret beside a public key', { jwt: { issuer, publicKey: pem, secret } }, 'jwt takes one source of keys, and has publicKey and secret. Keep one'],
  ['four sources of keys', { jwt: { issuer, jwksPath: '/keys', discovery: true, publicKey: pem, secret } }, 'jwt takes one source of keys, and has jwksPath and discovery and publicKey and secret. Keep one'],
  ['a path that is an address', { jwt: { issuer, jwksPath: 'https://evil.example/keys' } }, 'jwt.jwksPath is not right. Give a path that begins with one slash'],
  ['a path that leads to another host', { jwt: { issuer, jwksPath: '//evil.example/keys' } }, 'jwt.jwksPath is not right. Give a path that begins with one slash'],
  ['a path that leads there with a backslash', { jwt: { issuer, jwksPath: '/\\evil.example/keys' } }, 'jwt.jwksPath is not right. Give a path that begins with one slash'],
  ['a path without a slash', { jwt: { issuer, jwksPath: 'keys' } }, 'jwt.jwksPath is not right. Give a path that begins with one slash'],
  ['a discovery that is an address', { jwt: { issuer, discovery: issuer } }, 'jwt.discovery is not right. Give true or false'],
  ['a private key', { jwt: { issuer, publicKey: '-----BEGIN PRIVATE KEY-----\n' } }, 'jwt.publicKey is not right. Give a public key in PEM (-----BEGIN PUBLIC KEY-----)'],
  ['a certificate', { jwt: { issuer, publicKey: '-----BEGIN CERTIFICATE-----\n' } }, 'jwt.publicKey is not right. Give a public key in PEM (-----BEGIN PUBLIC KEY-----)'],
  ['a secret of 31 bytes', { jwt: { issuer, secret: secret.slice(1) } }, 'jwt.secret is not right. Give a string of 32 bytes or more: a shorter secret can be guessed from one token (RFC 7518 §3.2)'],
  ['a secret that is empty', { jwt: { issuer, secret: '' } }, 'jwt.secret is not right. Give a string of 32 bytes or more: a shorter secret can be guessed from one token (RFC 7518 §3.2)'],
  ['a claim mapping that is a function', { jwt: { issuer, claims: causeflowClaims } }, 'jwt.claims is not right. Give a claim mapping: causeflowClaims(), clerkSession() or { schema, principal, types } with types, if any, a list'],
  ['a claim mapping without a schema', { jwt: { issuer, claims: { principal: () => null } } }, 'jwt.claims is not right. Give a claim mapping: causeflowClaims(), clerkSession() or { schema, principal, types } with types, if any, a list'],
  ['a claim mapping with one type and no list', { jwt: { issuer, claims: { ...causeflowClaims(), types: 'at+jwt' } } }, 'jwt.claims is not right. Give a claim mapping: causeflowClaims(), clerkSession() or { schema, principal, types } with types, if any, a list'],
  ['no authorized party', { jwt: { issuer, authorizedParties: [] } }, 'jwt.authorizedParties is not right. Give a list of non-empty strings'],
  ['an authorized party and no list', { jwt: { issuer, authorizedParties: 'https://app.example' } }, 'jwt.authorizedParties is not right. Give a list of non-empty strings'],
  ['a party with a slash', { jwt: { issuer, authorizedParties: ['https://app.example.com/'] } }, "jwt has 'https://app.example.com/' in authorizedParties, which no azp equals. An origin has a scheme, and no path, slash or capital letter: 'https://app.example.com'"],
  ['a party with a path', { jwt: { issuer, authorizedParties: ['https://app.example.com/x'] } }, "jwt has 'https://app.example.com/x' in authorizedParties, which no azp equals. An origin has a scheme, and no path, slash or capital letter: 'https://app.example.com'"],
  ['a party with capital letters', { jwt: { issuer, authorizedParties: ['https://App.example.com'] } }, "jwt has 'https://App.example.com' in authorizedParties, which no azp equals. An origin has a scheme, and no path, slash or capital letter: 'https://app.example.com'"],
  ['a party without a scheme', { jwt: { issuer, authorizedParties: ['localhost:3000'] } }, "jwt has 'localhost:3000' in authorizedParties, which no azp equals. An origin has a scheme, and no path, slash or capital letter: 'https://localhost:3000'"],
  ['a party with the port of its scheme', { jwt: { issuer, authorizedParties: ['https://app.example.com:443'] } }, "jwt has 'https://app.example.com:443' in authorizedParties, which no azp equals. An origin has a scheme, and no path, slash or capital letter: 'https://app.example.com'"],
  ['azp that nothing is compared with', { jwt: { issuer, azp: 'require' } }, 'jwt has azp: \'require\' and no authorizedParties to compare with. List them'],
  ['an azp if present that nothing is compared with', { jwt: { issuer, azp: 'ifPresent' } }, 'jwt has azp: \'ifPresent\' and no authorizedParties to compare with. List them'],
  ['azp: true', { jwt: { issuer, azp: true, authorizedParties: ['a'] } }, 'jwt.azp is not right. Give \'require\', \'ifPresent\' or \'off\''],
  ['a negative tolerance', { jwt: { issuer, clockTolerance: -1 } }, 'jwt.clockTolerance is not right. Give seconds, from 0 to 300'],
  ['a tolerance in milliseconds', { jwt: { issuer, clockTolerance: 5000 } }, 'jwt.clockTolerance is not right. Give seconds, from 0 to 300'],
  ['a tolerance that is no number', { jwt: { issuer, clockTolerance: NaN } }, 'jwt.clockTolerance is not right. Give seconds, from 0 to 300'],
  ['a tolerance from an environment', { jwt: { issuer, clockTolerance: '5' } }, 'jwt.clockTolerance is not right. Give seconds, from 0 to 300'],
  ['warmup: true', { jwt: { issuer, warmup: true } }, 'jwt.warmup is not right. Give \'require\', \'warn\' or false'],
  ['a token cache that is a number', { jwt: { issuer, tokenCache: 100 } }, 'jwt.tokenCache is not right. Give { max, maxBytes } or false'],
  ['a token cache of nothing', { jwt: { issuer, tokenCache: { max: 0 } } }, 'jwt.tokenCache.max is not right. Give a whole number, 1 or more'],
  ['a token cache of no bytes', { jwt: { issuer, tokenCache: { maxBytes: 0 } } }, 'jwt.tokenCache.maxBytes is not right. Give a whole number, 1 or more'],
  ['a token cache without end', { jwt: { issuer, tokenCache: { max: Infinity } } }, 'jwt.tokenCache.max is not right. Give a whole number, 1 or more'],
  ['a key set that is a number', { jwt: { issuer, keySet: 600 } }, 'jwt.keySet is not right. Give { maxAge, cooldown, timeLimit, staleFor }'],
  ['a key set that never rests', { jwt: { issuer, keySet: { cooldown: 0 } } }, 'jwt.keySet.cooldown is not right. Give seconds, more than 0 and 2147483 at most'],
  ['a key set for ever', { jwt: { issuer, keySet: { maxAge: Infinity } } }, 'jwt.keySet.maxAge is not right. Give seconds, more than 0 and 2147483 at most'],
  ['a limit that no timer holds, which would be none', { jwt: { issuer, keySet: { timeLimit: 2_147_484 } } }, 'jwt.keySet.timeLimit is not right. Give seconds, more than 0 and 2147483 at most'],
  ['a negative time', { jwt: { issuer, keySet: { staleFor: -1 } } }, 'jwt.keySet.staleFor is not right. Give seconds, 0 or more'],
  ['a list of revoked subjects', { jwt: { issuer, isRevoked: ['usr_1'] } }, 'jwt.isRevoked is not right. Give a function of the principal'],
  ['an empty name', { jwt: { issuer, name: '' } }, 'jwt.name is not right. Give a non-empty string'],
  ['two issuers without a name', { jwt: [{ issuer }, { issuer: 'https://b.example' }] }, 'jwt: two entries have the name \'default\'. Give each its own'],
  ['one issuer twice', { jwt: [{ issuer }, { issuer, name: 'b' }] }, `jwt: two entries have the issuer '${issuer}'. Give each its own`],
  // keys
  ['no store', { apiKey: {} }, 'apiKey.store is missing. Give an ApiKeyStore, for example new MemoryApiKeyStore()'],
  ['a store that is none', { apiKey: { store: new Map() } }, 'apiKey.store is not right. Give an ApiKeyStore, for example new MemoryApiKeyStore()'],
  ['a store that was not made', { apiKey: { store: MemoryApiKeyStore } }, 'apiKey.store is not right. Give an ApiKeyStore, for example new MemoryApiKeyStore()'],
  ['the header of tokens', { apiKey: { store, header: 'Authorization' } }, 'apiKey has the header authorization. Keys in there are read already: take header off, and leave bearer: true'],
  ['a header that none can have', { apiKey: { store, header: 'x api key' } }, 'apiKey.header is not right. Give the name of a header'],
  ['an empty header', { apiKey: { store, header: '' } }, 'apiKey.header is not right. Give the name of a header'],
  ['two headers', { apiKey: { store, header: ['x-api-key', 'x-key'] } }, 'apiKey.header is not right. Give the name of a header'],
  ['a bearer that is a string', { apiKey: { store, bearer: 'cflo_' } }, 'apiKey.bearer is not right. Give true or false'],
  ['query: true', { apiKey: { store, query: true } }, 'apiKey.query is not right. Give the name of a query parameter, or false'],
  ['no environment', { apiKey: { store, environments: [] } }, 'apiKey.environments is not right. Give a list of \'live\' and \'test\''],
  ['an environment that there is not', { apiKey: { store, environments: ['live', 'staging'] } }, 'apiKey.environments is not right. Give a list of \'live\' and \'test\''],
  ['legacy keys that are a string', { apiKey: { store, legacyKeys: 'no' } }, 'apiKey.legacyKeys is not right. Give true or false'],
  ['cache: true', { apiKey: { store, cache: true } }, 'apiKey.cache is not right. Give { max, ttl } or false'],
  ['a cache of nothing', { apiKey: { store, cache: { max: 0 } } }, 'apiKey.cache.max is not right. Give a whole number, 1 or more'],
  ['a cache for no time', { apiKey: { store, cache: { ttl: 0 } } }, 'apiKey.cache.ttl is not right. Give seconds, more than 0 and 2147483 at most'],
  ['half a key', { apiKey: { store, quota: 0.5 } }, 'apiKey.quota is not right. Give a whole number'],
  ['a negative quota', { apiKey: { store, quota: -1 } }, 'apiKey.quota is not right. Give a whole number'],
  ['no sealing key', { apiKey: { store, sealingKeys: [] } }, 'apiKey.sealingKeys is not right. Give a list of keys of 32 bytes, each a Uint8Array or its text in hex or base64: openssl rand -base64 32'],
  ['a sealing key and no list', { apiKey: { store, sealingKeys: new Uint8Array(32) } }, 'apiKey.sealingKeys is not right. Give a list of keys of 32 bytes, each a Uint8Array or its text in hex or base64: openssl rand -base64 32'],
  ['a short sealing key', { apiKey: { store, sealingKeys: [new Uint8Array(31)] } }, 'apiKey.sealingKeys is not right. Give a list of keys of 32 bytes, each a Uint8Array or its text in hex or base64: openssl rand -base64 32'],
  ['a sealing key with a name', { apiKey: { store, sealingKeys: [{ id: 'a', key: new Uint8Array(32) }] } }, 'apiKey.sealingKeys is not right. Give a list of keys of 32 bytes, each a Uint8Array or its text in hex or base64: openssl rand -base64 32'],
  // webhooks
  ['no secret', { webhook: {} }, 'webhook.secret is missing. Give a non-empty secret (a string or bytes), a list of them, or a function that finds them'],
  ['a secret from an environment without it', { webhook: { secret: undefined } }, 'webhook.secret is missing. Give a non-empty secret (a string or bytes), a list of them, or a function that finds them'],
  ['apiKeySecret that is not called', { webhook: { secret: apiKeySecret } }, 'webhook has apiKeySecret itself as its secret. Call it: secret: apiKeySecret()'],
  ['an empty webhook secret', { webhook: { secret: '' } }, 'webhook.secret is not right. Give a non-empty secret (a string or bytes), a list of them, or a function that finds them'],
  ['secret bytes that are none', { webhook: { secret: new Uint8Array(0) } }, 'webhook.secret is not right. Give a non-empty secret (a string or bytes), a list of them, or a function that finds them'],
  ['no secret in a list', { webhook: { secret: [] } }, 'webhook.secret is not right. Give a non-empty secret (a string or bytes), a list of them, or a function that finds them'],
  ['an empty secret among others', { webhook: { secret: ['s', ''] } }, 'webhook.secret is not right. Give a non-empty secret (a string or bytes), a list of them, or a function that finds them'],
  ['a scheme that was not made', { webhook: { secret: 's', scheme: github } }, 'webhook.scheme is not right. Give a signature scheme, for example causeflow() or github()'],
  ['a scheme by its name', { webhook: { secret: 's', scheme: 'github' } }, 'webhook.scheme is not right. Give a signature scheme, for example causeflow() or github()'],
  ['a scheme without a header', { webhook: { secret: 's', scheme: { ...github(), headers: [] } } }, 'webhook.scheme is not right. Give a signature scheme, for example causeflow() or github()'],
  ['a scheme whose header would never be found', { webhook: { secret: 's', scheme: { ...github(), headers: ['X-Signature'] } } }, 'webhook has a scheme whose header \'X-Signature\' is not in lower case. Write \'x-signature\''],
  ['a replay store of the older form', { webhook: { secret: 's', replay: { remember () {}, forget () {} } } }, 'webhook.replay is not right. Give a ReplayStore (begin, finish and release), for example new MemoryReplayStore()'],
  ['a replay store that is none', { webhook: { secret: 's', replay: new Map() } }, 'webhook.replay is not right. Give a ReplayStore (begin, finish and release), for example new MemoryReplayStore()'],
  ['two webhooks without a name', { webhook: [{ secret: 's' }, { secret: 't', scheme: github() }] }, 'webhook: two entries have the name \'default\'. Give each its own']
]

for (const [what, options, message] of refused) {
  t.test(`${what}: it does not start, and the message names the mend`, async (t) => {
    try {
      read(options)
      t.fail('it was accepted')
    } catch (error) {
      const { code, message: given } = error as Error & { code: string }
      t.equal(code, 'AUTH_CONFIG_OPTION')
      typeof message === 'string' ? t.equal(given, message) : t.match(given, message)
    }
  })
}

t.test('no message repeats a secret', async (t) => {
  for (const options of [{ jwt: { issuer, secret: 'hunter2hunter2' } }, { apiKey: { store, sealingKeys: ['hunter2', {}] } }, { webhook: { secret: ['hunter2', ''] } }, { jwt: { issuer: 'https://user:hunter2@acme.example' } }]) {
    try {
      read(options)
      t.fail('it was accepted')
    } catch (error) {
      t.notMatch((error as Error).message, 'hunter2')
    }
  }
})

t.test('the caller\'s object is not changed, and may be changed afterwards', async (t) => {
  const options = {
    jwt: [{ issuer, algorithms: ['RS256'], audience: ['a'], authorizedParties: ['p'], keySet: {}, tokenCache: {} }],
    apiKey: { store, environments: ['live'], cache: {}, sealingKeys: ['f'.repeat(64)] },
    webhook: { secret: ['s'] },
    tenant: {}
  }
  const before = JSON.stringify(options)
  const freeze = (value: unknown): void => {
    if (typeof value !== 'object' || value === null || value === store) return
    Object.freeze(value)
    Object.values(value).forEach(freeze)
  }
  freeze(options)
  t.doesNotThrow(() => read(options))
  t.equal(JSON.stringify(options), before)
  const lists = { jwt: { issuer, algorithms: ['RS256'], audience: ['a'], authorizedParties: ['p'] }, apiKey: { store, environments: ['live'], sealingKeys: ['f'.repeat(64)] } }
  const settings = read(lists)
  lists.jwt.algorithms.push('none')
  lists.jwt.audience.push('b')
  lists.jwt.authorizedParties.push('q')
  lists.apiKey.environments.push('test')
  lists.apiKey.sealingKeys.unshift('0'.repeat(64))
  t.strictSame([settings.jwt[0]?.algorithms, settings.jwt[0]?.audience, settings.jwt[0]?.authorizedParties, settings.apiKey?.environments, settings.apiKey?.sealingKeys], [['RS256'], ['a'], ['p'], ['live'], ['f'.repeat(64)]])
})

t.test('what register() itself reads is no option of the plugin, and passes', async (t) => {
  const own = { prefix: '/v1', logLevel: 'warn', logSerializers: {}, jwt: { issuer } }
  t.match(readOptions(own as never).jwt, [{ issuer }])
  t.doesNotThrow(() => readOptions({ prefix: undefined } as never))
  t.throws(() => readOptions({ jwt: { issuer, prefix: '/v1' } } as never), { code: 'AUTH_CONFIG_OPTION' })
})

t.test('ids of clients are parties as well as origins', async (t) => {
  const authorizedParties = ['https://app.example.com', 'http://localhost:3000', 'chrome-extension://abcdefgh', 'my-client', '0oa1b2c3', '123-abc.apps.googleusercontent.com', '2f1e7a40-0000-4000-8000-000000000000']
  t.strictSame(readOptions({ jwt: { issuer, authorizedParties } }).jwt[0]?.authorizedParties, authorizedParties)
})
