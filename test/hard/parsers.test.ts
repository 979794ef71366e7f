/**
 * Every parser that a stranger's text comes to, against a reference written apart (references.ts), jose and Node's own crypto. Both have to
 * say the same about every text: no crash, nothing accepted that the other refuses, and nothing refused that it accepts.
 */
import t, { type Test } from 'tap'
import fc from 'fast-check'
import * as jose from 'jose'
import { isDeepStrictEqual } from 'node:util'
import { parseApiKey } from '../../lib/api-key/key.js'
import { createSealer } from '../../lib/api-key/seal.js'
import { isAuthError } from '../../lib/errors.js'
import { auth, causeflow, createApiKey, github, parseWebhookEvent, sentry, signWebhook, slack, standardWebhooks, stripe, verifyWebhook, type SignatureScheme } from '../../lib/index.js'
import { parseToken, readBearer } from '../../lib/jwt/bearer.js'
import { clerkSession } from '../../lib/jwt/clerk.js'
import { compileMapping } from '../../lib/jwt/claims.js'
import { readOptions } from '../../lib/options.js'
import { nodeOf } from '../../lib/rule.js'
import { audience, claims, encode, header, issuer, mint, outcome, pemOf, rsa, start, verifierOf, type Json } from '../jwt/fixture.js'
import { anyText, mutation } from './mutations.js'
import { areClaims, base64urlOf, bearerOf, compactOf, isSigned, keyOf, type SchemeName } from './references.js'
import { Counts, long, scaled, seed, table } from './scale.js'

t.setTimeout(scaled(120_000, 3_600_000))
const figures: Array<[string, number, number, number]> = []

/** Runs a property so many times, and notes how many of its cases were accepted. */
async function compare<T extends [unknown, ...unknown[]]> (t: Test, name: string, runs: number, arbitraries: { [K in keyof T]: fc.Arbitrary<T[K]> }, property: (...values: T) => boolean | Promise<boolean>): Promise<void> {
  const counts = new Counts<boolean>()
  await fc.assert(fc.asyncProperty(...arbitraries, async (...values: T) => { counts.add(await property(...values)) }), { seed, numRuns: runs })
  t.ok(counts.get(true) > runs / 200, `${counts.get(true)} accepted by both`)
  t.ok(counts.get(false) > runs / 20, `${counts.get(false)} refused by both`)
  figures.push([name, counts.total(), counts.get(true), counts.get(false)])
}

/** What a parser answers; null for a refusal. Anything but an AuthError is a crash. */
function answerOf<T> (work: () => T): T | null {
  try {
    return work()
  } catch (error) {
    if (!isAuthError(error)) throw error
    return null
  }
}

function same (ours: unknown, reference: unknown, what: string): boolean {
  if (!isDeepStrictEqual(ours, reference)) throw new Error(`${what}: ${JSON.stringify(ours)} here, ${JSON.stringify(reference)} there`)
  return reference !== null && reference !== false
}

const key = rsa()
const secret = 'a secret of the tests alone, 32 bytes and more'
const token = mint(header(), claims(), key.privateKey)
const seconds = start / 1000

t.test('the token in an Authorization header', async (t) => {
  const schemes = fc.constantFrom('Bearer ', 'bearer ', 'BEARER ', 'Bearer', 'Bearer  ', 'Bearer\t', 'Bearer,', 'Basic ', 'Bearerish ', ' Bearer ', '')
  const credentials = fc.oneof(fc.constant(token), fc.constantFrom('', 'abc', 'a=', 'cflo_live_sk_x', 'x'.repeat(8192), 'x'.repeat(8193)), anyText)
  await compare(t, 'Authorization header', scaled(8_000, 150_000), [schemes, credentials, mutation], (scheme, credential, mutate) => {
    const text = mutate(scheme + credential)
    const presented = bearerOf(text)
    const reference = presented === null ? 'another scheme' : presented !== false && compactOf(presented)
    let ours: ReturnType<typeof compactOf> | 'another scheme' | false
    try {
      const read = readBearer(text)
      const { header, payload } = read === null ? { header: null, payload: null } : parseToken(read)
      ours = header === null ? 'another scheme' : { header, payload }
    } catch (error) {
      if (!isAuthError(error)) throw error
      ours = false
    }
    return same(ours, reference === null ? false : reference, JSON.stringify(text)) && reference !== 'another scheme'
  })
})

t.test('the compact form of a token', async (t) => {
  const json = fc.oneof(fc.constantFrom('{}', '[]', 'null', '1', '"x"', '{"alg":"RS256"}', '{"iss":1}', '{"__proto__":{"x":1}}', '\ufeff{}', '{"a":1,"a":2}', '{', ' {} '), fc.jsonValue({ maxDepth: 2 }).map((value) => JSON.stringify(value)), anyText)
  const part = fc.oneof({ weight: 3, arbitrary: json.map(encode) }, { weight: 1, arbitrary: fc.uint8Array({ maxLength: 40 }).map((bytes) => Buffer.from(bytes).toString('base64url')) }, { weight: 1, arbitrary: anyText })
  const object = fc.dictionary(fc.string({ maxLength: 8 }), fc.jsonValue({ maxDepth: 2 }), { maxKeys: 4 }).map((value) => encode(value))
  const texts = fc.oneof(fc.constant(token), fc.tuple(object, object, part).map((parts) => parts.join('.')), fc.tuple(part, part, part).map((parts) => parts.join('.')), anyText)
  await compare(t, 'compact token', scaled(8_000, 150_000), [texts, mutation], (text, mutate) => {
    const changed = mutate(text)
    const ours = answerOf(() => parseToken(changed))
    const agreed = same(ours && { header: ours.header, payload: ours.payload }, compactOf(changed), JSON.stringify(changed))
    if (agreed) {
      // jose is asked as well: what is read here is what it reads, for whatever it is stricter about elsewhere.
      if (!isDeepStrictEqual(jose.decodeProtectedHeader(changed), ours?.header)) throw new Error(`jose reads another header: ${changed}`)
      if (!isDeepStrictEqual(jose.decodeJwt(changed), ours?.payload)) throw new Error(`jose reads another payload: ${changed}`)
    }
    return agreed
  })
})

t.test('base64url, in its one written form', async (t) => {
  const good = fc.uint8Array({ minLength: 1, maxLength: 48 }).map((bytes) => Buffer.from(bytes).toString('base64url'))
  await compare(t, 'base64url', scaled(6_000, 100_000), [fc.oneof(good, anyText), mutation], (text, mutate) => {
    const changed = mutate(text)
    const bytes = base64urlOf(changed)
    if (bytes !== null && bytes.toString('base64url') !== changed) throw new Error('The reference is wrong')
    return same(answerOf(() => parseToken(`e30.e30.${changed}`)) !== null, bytes !== null && bytes.length > 0 && changed.length <= 8000, JSON.stringify(changed))
  })
})

t.test('API keys', async (t) => {
  const made = fc.tuple(fc.uint8Array({ minLength: 64, maxLength: 64 }), fc.constantFrom<'live' | 'test'>('live', 'test'))
    // Bytes above 247 are passed over, so that some have to be below.
    .map(([bytes, environment]) => createApiKey({ environment, randomBytes: (size) => bytes.map((byte) => byte % 248).subarray(0, size) }).key)
  const legacy = fc.uint8Array({ minLength: 32, maxLength: 32 }).map((bytes) => `cflo_${Buffer.from(bytes).toString('hex')}`)
  await compare(t, 'API key', scaled(6_000, 150_000), [fc.oneof({ weight: 3, arbitrary: made }, { weight: 2, arbitrary: legacy }, { weight: 1, arbitrary: anyText }), mutation], (text, mutate) => {
    const changed = mutate(text)
    return same(parseApiKey(changed)?.environment ?? null, keyOf(changed), JSON.stringify(changed))
  })
})

const schemes: Record<SchemeName, SignatureScheme> = {
  causeflow: causeflow(),
  'causeflow, bare': causeflow({ bareHex: true }),
  github: github(),
  sentry: sentry(),
  slack: slack(),
  stripe: stripe(),
  'standard-webhooks': standardWebhooks()
}

for (const [name, scheme] of Object.entries(schemes) as Array<[SchemeName, SignatureScheme]>) {
  t.test(`signatures of the scheme ${name}`, async (t) => {
    const secrets = { right: `whsec_${Buffer.from('thirty-two bytes of a test secret').toString('base64')}`, wrong: `whsec_${Buffer.alloc(32, 7).toString('base64')}` }
    const times = fc.oneof({ weight: 3, arbitrary: fc.constant(seconds) }, { weight: 1, arbitrary: fc.integer({ min: seconds - 305, max: seconds + 305 }) }, { weight: 1, arbitrary: fc.nat() })
    const bodies = fc.uint8Array({ minLength: 0, maxLength: 200 }).map((bytes) => Buffer.from(bytes))
    // Which header is changed, if any; which is taken away; which is there twice.
    const spoiling = fc.record({ at: fc.nat(), mutate: mutation, drop: fc.boolean(), dropped: fc.nat(), bit: fc.option(fc.nat(), { freq: 3 }), foreign: fc.integer({ min: 0, max: 9 }) })
    // A rotation and other versions of a signature, as senders of lists put them there.
    const extra = fc.oneof({ weight: 4, arbitrary: fc.constant(null) }, { weight: 1, arbitrary: fc.constantFrom('v0=abc', 'v1=abc', 'v1a,abc=', 'v2,AA==', 'v1,AA==', 'v1') })
    await compare(t, `signature: ${name}`, scaled(1_500, 40_000), [bodies, times, spoiling, extra], (body, timestamp, { at, mutate, drop, dropped, bit, foreign }, entry) => {
      const signedBody = body.length === 0 ? Buffer.from('x') : body
      const headers: Record<string, string> = signWebhook(signedBody, foreign === 0 ? secrets.wrong : secrets.right, scheme, { id: 'msg_1', timestamp })
      const names = Object.keys(headers)
      if (entry !== null) headers[scheme.headers[0]!] += name === 'stripe' ? `,${entry}` : ` ${entry}`
      headers[names[at % names.length]!] = mutate(headers[names[at % names.length]!]!)
      if (drop && foreign > 6) Reflect.deleteProperty(headers, names[dropped % names.length]!)
      const received = Buffer.from(body)
      if (bit !== null && received.length > 0) received[bit % received.length]! ^= 1 << (bit % 8)
      const ours = answerOf(() => verifyWebhook(received, headers, secrets.right, scheme, { clock: () => start })) !== null
      return same(ours, isSigned(name, headers, received, secrets.right, start), JSON.stringify({ headers, body: received.toString('hex') }))
    })
  })
}

const json = fc.oneof(fc.constantFrom<unknown>(null, true, false, '', 0, -1, [], {}, 'admin', ['admin'], [1], 'mch_1', audience, [audience], [audience, 7], issuer, seconds, seconds + 5, seconds - 5, seconds - 6, seconds + 60, `${seconds}`, 1e308, -1e308), fc.jsonValue({ maxDepth: 2 }))
const payloads = fc.oneof(
  { weight: 2, arbitrary: fc.constant<Json>({}) },
  { weight: 6, arbitrary: fc.dictionary(fc.constantFrom('iss', 'sub', 'aud', 'exp', 'nbf', 'iat', 'email', 'tenant_id', 'roles', 'azp', 'sid', 'x', '__proto__'), json, { maxKeys: 3 }) as fc.Arbitrary<Json> },
  { weight: 3, arbitrary: fc.record({ exp: fc.integer({ min: seconds - 12, max: seconds + 3 }), nbf: fc.integer({ min: seconds - 3, max: seconds + 12 }), iat: fc.integer({ min: seconds - 3, max: seconds + 12 }) }) as fc.Arbitrary<Json> },
  { weight: 1, arbitrary: fc.subarray(['iss', 'sub', 'aud', 'exp'], { minLength: 1, maxLength: 2 }).map((names) => Object.fromEntries(names.map((name) => [name, undefined]))) }
)
const headers = fc.oneof(
  { weight: 6, arbitrary: fc.constant<Json>({}) },
  { weight: 1, arbitrary: fc.constantFrom<Json>({ alg: 'none' }, { alg: 'HS512' }, { alg: 'RS512' }, { alg: 'hs256' }, { crit: ['exp'] }, { b64: false }, { crit: ['b64'], b64: true }, { jwk: {} }, { typ: 'jwt' }, { typ: 'at+jwt' }, { zip: 'DEF' }) },
  { weight: 1, arbitrary: fc.dictionary(fc.constantFrom('alg', 'typ', 'kid', 'crit', 'b64', 'cty', 'jku', 'x5c'), json, { maxKeys: 2 }) as fc.Arbitrary<Json> }
)

for (const [algorithm, runs] of [['HS256', scaled(8_000, 150_000)], ['RS256', scaled(1_500, 50_000)]] as const) {
  t.test(`whole tokens and their claims, ${algorithm}`, async (t) => {
    const keys = algorithm === 'HS256' ? { from: 'secret' as const, secret } : { from: 'publicKey' as const, pem: pemOf(key) }
    const verifier = await verifierOf({ algorithms: [algorithm], keys, tokenCache: null })
    const oracle = algorithm === 'HS256' ? new TextEncoder().encode(secret) : await jose.importSPKI(pemOf(key), algorithm)
    await compare(t, `token and claims: ${algorithm}`, runs, [headers, payloads, fc.integer({ min: 0, max: 15 }), mutation, fc.integer({ min: 0, max: 2 })], async (head, payload, foreign, mutate, whether) => {
      const signer = algorithm === 'RS256' ? key.privateKey : foreign === 0 ? `${secret}!` : secret
      const minted = mint(header({ alg: algorithm, ...head }), claims(payload), signer, algorithm)
      const text = whether === 0 ? mutate(minted) : minted
      const ours = await outcome(async () => verifier.verify(parseToken(text)))
      const parts = compactOf(text)
      // jose says whether the signature is right; the reference says the rest, jose's own times among it.
      const theirs = await jose.jwtVerify(text, oracle, { algorithms: [algorithm], issuer, audience, clockTolerance: 5, currentDate: new Date(start), requiredClaims: ['exp', 'sub'] }).then(() => true, () => false)
      const reference = theirs && parts !== null && areClaims(parts.payload, { issuer, audience }, seconds) && isHeader(parts.header)
      return same(typeof ours !== 'string', reference, `${JSON.stringify(ours)} for ${text}`)
    })
  })
}

/** What is stricter here than in jose: see test/jwt/oracle.test.ts. */
function isHeader ({ typ, crit, b64 }: Record<string, unknown>): boolean {
  return crit === undefined && b64 === undefined && (typ === undefined || (typeof typ === 'string' && ['jwt', 'application/jwt'].includes(typ.toLowerCase())))
}

t.test('session tokens: permissions are those of the masks, counted a second time in another way', async (t) => {
  const read = compileMapping(clerkSession())
  const base = { sub: 'user_1', iss: issuer, exp: seconds + 60, sid: 'sess_1', v: 2 }
  const mostly = <T> (...good: T[]) => (...bad: T[]) => fc.oneof({ weight: 20, arbitrary: fc.constantFrom(...good) }, { weight: 1, arbitrary: fc.constantFrom(...bad) })
  const features = fc.array(fc.tuple(mostly('o', 'u', 'uo', 'ou')('x', ''), mostly('a', 'b')('c:d', '')), { minLength: 1, maxLength: 4 }).map((list) => list.map(([scope, name]) => `${scope}:${name}`).join(','))
  const permissions = fc.array(mostly('read', 'write', 'manage')(''), { minLength: 1, maxLength: 4 }).map((list) => list.join(','))
  const masks = fc.array(mostly('0', '1', '2', '3', '5', '8', '01')('', '-1', '1.5', '0x1', ' 7', '9'.repeat(1001)), { minLength: 1, maxLength: 3 }).map((list) => list.join(','))
  await compare(t, 'session permissions', scaled(3_000, 60_000), [features, permissions, masks, fc.integer({ min: 0, max: 19 }), json], (fea, per, fpm, odd, value) => {
    const session = { ...base, fea, o: { id: 'org_1', rol: 'admin', per, fpm, ...(odd === 0 ? { per: value } : {}) } }
    const mapped = answerOf(() => read(session))
    if (mapped === null) return same(odd === 0 && typeof value !== 'string', true, 'refused') && false
    const expected = typeof session.o.per === 'string' ? permissionsOf(fea, session.o.per, fpm) : []
    same(mapped.scopes, expected, JSON.stringify(session))
    return expected.length > 0
  })
})

function permissionsOf (fea: string, per: string, fpm: string): string[] {
  if (fea === '' || per === '' || fpm === '') return []
  const owners: string[] = []
  for (const feature of fea.split(',')) {
    const [scope = '', name = '', ...rest] = feature.trim().split(':')
    if (!['u', 'o', 'uo', 'ou'].includes(scope) || name === '' || rest.length > 0) return []
    if (scope !== 'u') owners.push(name)
  }
  const names = per.split(',').map((name) => name.trim())
  const numbers = fpm.split(',').map((text) => text.trim())
  if (names.includes('') || numbers.length > owners.length) return []
  const found: string[] = []
  for (const [index, text] of numbers.entries()) {
    if (text === '' || text.length > 1000 || [...text].some((digit) => digit < '0' || digit > '9')) return []
    const bits = [...BigInt(text).toString(2)].reverse()
    if (text !== '0' && !/^0+$/.test(text) && bits.length > names.length) return []
    for (const [bit, name] of names.entries()) if (bits[bit] === '1') found.push(`org:${owners[index]}:${name}`)
  }
  return found
}

t.test('options: whatever they are, they start or are refused in words, and are never written to', async (t) => {
  const store = { findByDigest: () => null }
  const values = fc.oneof(fc.constantFrom<unknown>(undefined, null, true, false, 0, 1, -1, NaN, Infinity, 30, '', 'x', 'default', secret, pemOf(key), issuer, 'http://127.0.0.1:1', 'http://example.com', 'https://a.b?c', ' https://a.b', '/x', '//x', ['HS256'], ['RS256'], ['none'], ['live'], [], {}, { max: 0 }, { max: 5 }, { ttl: 1 }, () => 1, store, auth.jwt(), causeflow(), { param: 'x' }, [secret, '']), fc.anything({ maxDepth: 1 }))
  const good: Record<string, unknown[]> = { name: ['a'], issuer: [issuer], audience: [false, 'x'], algorithms: [['RS256'], ['ES256', 'EdDSA'], ['HS256']], jwksPath: ['/keys'], discovery: [true], publicKey: [pemOf(key)], secret: [secret], authorizedParties: [['https://a.b']], azp: ['off'], clockTolerance: [0], warmup: [false], tokenCache: [false, { max: 1 }], keySet: [{ maxAge: 1 }], isRevoked: [() => false], claims: [clerkSession()], header: ['x-key'], bearer: [false], query: ['key'], environments: [['live']], legacyKeys: [false], cache: [{ ttl: 1 }], quota: [0], sealingKeys: [['0'.repeat(64)]], scheme: [github()], replay: [{ begin: () => 'new', finish: () => {}, release: () => {} }] }
  const member = (name: string): fc.Arbitrary<[string, unknown]> => fc.oneof({ weight: 4, arbitrary: fc.constantFrom(...Object.hasOwn(good, name) ? good[name]! : [1]) }, { weight: 1, arbitrary: values }).map((value) => [name, value])
  const some = (...names: string[]): fc.Arbitrary<Record<string, unknown>> => fc.array(fc.oneof({ weight: 12, arbitrary: fc.constantFrom(...names) }, { weight: 1, arbitrary: fc.constantFrom('jtw', '__proto__', 'toString') }).chain(member), { maxLength: 3 }).map((members) => Object.fromEntries(members))
  const jwt = fc.tuple(fc.constantFrom<Json>({ issuer }, { issuer: 'x', secret }, {}), some('name', 'issuer', 'audience', 'algorithms', 'jwksPath', 'discovery', 'publicKey', 'secret', 'authorizedParties', 'azp', 'clockTolerance', 'warmup', 'tokenCache', 'keySet', 'isRevoked', 'claims')).map(([base, more]) => ({ ...base, ...more }))
  const apiKey = some('header', 'bearer', 'query', 'environments', 'legacyKeys', 'cache', 'quota', 'sealingKeys').map((more) => ({ store, ...more }))
  const webhook = some('name', 'scheme', 'replay', 'secret').map((more) => ({ secret, ...more }))
  const options = fc.record({ jwt: fc.oneof({ weight: 4, arbitrary: jwt }, { weight: 2, arbitrary: fc.array(jwt, { maxLength: 2 }) }, { weight: 1, arbitrary: values }), apiKey: fc.oneof({ weight: 5, arbitrary: apiKey }, { weight: 1, arbitrary: values }), webhook: fc.oneof({ weight: 5, arbitrary: webhook }, { weight: 1, arbitrary: values }), tenant: fc.oneof(fc.constantFrom<unknown>(false, { param: 'x' }), values), clock: fc.oneof(fc.constant(Date.now), values) }, { requiredKeys: [] })
  await compare(t, 'options', scaled(4_000, 60_000), [options], (given) => {
    const before = shapeOf(given)
    let started = true
    try {
      const settings = readOptions(given as never)
      for (const { algorithms, keys } of settings.jwt) {
        const symmetric = algorithms.some((algorithm) => algorithm.startsWith('HS'))
        if (symmetric !== (keys.from === 'secret') || algorithms.length === 0) throw new Error(`${algorithms.join()} with keys from ${keys.from}`)
        if (keys.from === 'secret' && Buffer.byteLength(keys.secret) < 32) throw new Error('a secret that is short')
        if ('url' in keys && !/^https:|^http:\/\/(127\.|localhost|\[::1\])/.test(keys.url)) throw new Error(`keys from ${keys.url}`)
      }
    } catch (error) {
      if (!/^AUTH_CONFIG_/.test((error as { code?: string }).code ?? '')) throw error
      started = false
    }
    if (shapeOf(given) !== before) throw new Error('The options were written to')
    return started
  })
})

function shapeOf (value: unknown): string {
  return JSON.stringify(value, (_name, member: unknown) => typeof member === 'bigint' || typeof member === 'symbol' ? String(member) : member)
}

t.test('rules: any chain of calls builds a frozen rule or is refused in words', async (t) => {
  const argument = fc.oneof(fc.constantFrom<unknown>('admin', 'a b', '', 'tenantId', ':id', 'default', 0, null, undefined, {}, [], () => true), fc.string({ maxLength: 6 }))
  const call = fc.tuple(fc.constantFrom('roles', 'scopes', 'tenant', 'anyTenant', 'tenantOptional', 'optional', 'check'), fc.array(argument, { maxLength: 2 }))
  const head = fc.tuple(fc.constantFrom('public', 'deny', 'jwt', 'apiKey', 'webhook', 'any', 'all'), fc.array(fc.oneof(fc.constantFrom<unknown>(auth.jwt(), auth.apiKey(), auth.webhook(), auth.jwt().optional(), auth.public()), argument), { maxLength: 3 }))
  await compare(t, 'rules', scaled(3_000, 60_000), [head, fc.array(call, { maxLength: 3 })], ([builder, parts], calls) => {
    try {
      let rule = (auth as unknown as Record<string, (...parts: unknown[]) => unknown>)[builder]!(...parts)
      for (const [method, values] of calls) rule = (rule as Record<string, (...values: unknown[]) => unknown>)[method]!(...values)
      const node = nodeOf(rule)
      if (node === null || !Object.isFrozen(rule) || !Object.isFrozen(node)) throw new Error('It is no rule')
      // Nothing but a rule that says so itself lets everybody in.
      const schemes = ['jwt', 'apiKey', 'webhook'].filter((scheme) => JSON.stringify(node).includes(`"type":"${scheme}"`))
      if (schemes.length === 0 && !['public', 'deny'].includes(node.type)) throw new Error('It asks for nothing')
      return true
    } catch (error) {
      if ((error as { code?: string }).code !== 'AUTH_CONFIG_RULE') throw error
      return false
    }
  })
})

t.test('events and sealed secrets: any text is read or is null', async (t) => {
  const event = JSON.stringify({ event: 'incident.created', timestamp: '2026-01-01T00:00:00Z', tenantId: 'ten_1', data: { incidentId: 'inc_1' } })
  await compare(t, 'events', scaled(2_000, 40_000), [fc.oneof({ weight: 3, arbitrary: fc.constant(event) }, { weight: 1, arbitrary: anyText }), mutation], (text, mutate) => {
    const found = parseWebhookEvent(mutate(text))
    if (found !== null && (typeof found.tenantId !== 'string' || found.tenantId === '' || typeof found.data !== 'object')) throw new Error('It is no event')
    return found !== null
  })
  const sealer = createSealer([Buffer.alloc(32, 1)], false, (size) => Buffer.alloc(size, 5))!
  const owner = { tenantId: 'ten_1', keyId: 'key_1' }
  const sealed = sealer.seal('whsec_sealed', owner)
  await compare(t, 'sealed secrets', scaled(2_000, 40_000), [mutation, fc.integer({ min: 0, max: 7 })], (mutate, other) => {
    const changed = mutate(sealed)
    const opened = sealer.open(changed, other === 0 ? { ...owner, keyId: 'key_2' } : owner)
    // Node reads base64url leniently, so that another text of the same bytes opens: the bytes are what is sealed.
    const same = changed.split('.').length === 3 && changed.startsWith(sealed.slice(0, 12)) && Buffer.from(changed.slice(12), 'base64url').equals(Buffer.from(sealed.slice(12), 'base64url'))
    if (opened !== (same && other !== 0 ? 'whsec_sealed' : null)) throw new Error(`${opened} from ${changed}`)
    return opened !== null
  })
})

t.teardown(() => {
  const sum = (index: 1 | 2 | 3): number => figures.reduce((total, row) => total + row[index], 0)
  table(t, `Hostile text, seed ${seed}, ${long ? 'long' : 'CI'} mode`, ['parser', 'cases', 'accepted by both', 'refused by both'], [...figures, ['together', sum(1), sum(2), sum(3)]])
})
