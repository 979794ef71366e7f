import { Type } from '@sinclair/typebox'
import t from 'tap'
import type { Algorithm } from '../../lib/jwt/algorithm.js'
import { parseToken } from '../../lib/jwt/bearer.js'
import { causeflowClaims } from '../../lib/jwt/claims.js'
import { clerkSession } from '../../lib/jwt/clerk.js'
import type { TokenIssuerSettings } from '../../lib/jwt/verify.js'
import type { JwtPrincipal } from '../../lib/principal.js'
import { audience, claims, ec, ed25519, encode, header, issuer, jwkOf, lowOrderPoints, mint, outcome, pemOf, present, recall, rsa, scripted, standingClock, start, verifierOf } from './fixture.js'
import type { Json } from './fixture.js'

const [pair, other] = [rsa(), rsa()]
const keys = { from: 'publicKey' as const, pem: pemOf(pair) }
const token = (members: Json = {}, head: Json = {}): string => mint(header(head), claims(members), pair.privateKey)
const principal = (members: Json = {}): Json => ({
  scheme: 'jwt',
  tenantId: 'ten_1',
  roles: ['admin'],
  scopes: [],
  proofs: ['jwt'],
  subject: 'usr_1',
  email: 'user@example.com',
  issuer,
  expiresAt: start / 1000 + 60,
  claims: claims(),
  ...members
})

t.test('a good token is its principal, synchronously while the key is held, and again from the cache', async (t) => {
  const { fetch, asked } = scripted(() => ({ keys: [jwkOf(pair)] }))
  const verifier = await verifierOf({}, { fetch })
  t.equal(verifier.fromCache(token()), null)
  t.strictSame(await present(verifier, token()), principal())
  t.strictSame(recall(verifier, token()), principal())
  t.strictSame(verifier.verify(parseToken(token({ jti: '2' }))), principal({ claims: claims({ jti: '2' }) }))
  t.strictSame(asked, [`${issuer}/.well-known/jwks.json`])
  t.strictSame([verifier.name, verifier.issuer], ['default', issuer])
})

t.test('what is asked of the network is configured: nothing in a token leads anywhere', async (t) => {
  const { fetch, asked } = scripted(() => ({ keys: [jwkOf(other, { kid: 'k2' })] }))
  const verifier = await verifierOf({}, { fetch })
  const evil = 'https://evil.example/keys'
  const own = jwkOf(pair)
  for (const head of [{ jku: evil }, { x5u: evil }, { jwk: own }, { x5c: [pemOf(pair)] }, { kid: evil }, { kid: '../../keys' }]) {
    t.equal(await present(verifier, token({}, head)), 'AUTH_TOKEN_INVALID key-unknown', JSON.stringify(head))
  }
  t.equal(await present(verifier, token({ iss: 'https://evil.example', jku: evil }, { kid: 'k2', jwk: own })), 'AUTH_TOKEN_INVALID signature')
  t.strictSame(asked, [`${issuer}/.well-known/jwks.json`])
})

t.test('signatures are compared before claims and times', async (t) => {
  const verifier = await verifierOf({ keys })
  const bad = (members: Json): string => mint(header(), claims(members), other.privateKey)
  for (const members of [{}, { exp: 1 }, { iss: 'x' }, { aud: undefined }, { sub: undefined }]) t.equal(await present(verifier, bad(members)), 'AUTH_TOKEN_INVALID signature')
  const [head, , signature] = token().split('.')
  t.equal(await present(verifier, `${head}.${encode(claims({ roles: ['owner'] }))}.${signature}`), 'AUTH_TOKEN_INVALID signature', 'another payload')
  t.equal(await present(verifier, `${encode(header({ typ: 'jwt' }))}.${encode(claims())}.${signature}`), 'AUTH_TOKEN_INVALID signature', 'another header')
  t.equal(await present(verifier, `${head}.${encode(claims())}.${signature?.slice(0, 8)}`), 'AUTH_TOKEN_INVALID signature', 'part of a signature')
})

t.test('a bound token is rejected after its signature and before its other claims, at every presentation', async (t) => {
  const verifier = await verifierOf({ keys })
  for (const cnf of [{ jkt: 'thumbprint' }, { 'x5t#S256': 'thumbprint' }, 'jkt']) {
    const bound = token({ cnf, aud: 'another' })
    for (let round = 0; round < 2; round++) t.equal(await present(verifier, bound), 'AUTH_TOKEN_INVALID sender-constrained')
    t.equal(await present(verifier, mint(header(), claims({ cnf }), other.privateKey)), 'AUTH_TOKEN_INVALID signature')
  }
  t.match(await present(verifier, token({ cnf: { kid: 'k1' } })), { subject: 'usr_1' })
})

t.test('claims are compared before times', async (t) => {
  const verifier = await verifierOf({ keys })
  t.equal(await present(verifier, token({ exp: 1 })), 'AUTH_TOKEN_EXPIRED expired')
  t.equal(await present(verifier, token({ exp: 1, aud: 'x' })), 'AUTH_TOKEN_CLAIMS audience')
  t.equal(await present(verifier, token({ exp: 1, roles: 'admin' })), 'AUTH_TOKEN_CLAIMS claims')
  t.equal(await present(verifier, token({ iss: 'https://other.example' })), 'AUTH_TOKEN_CLAIMS issuer')
  t.equal(await present(verifier, token({ nbf: start / 1000 + 6 })), 'AUTH_TOKEN_CLAIMS not-yet-valid')
  t.equal(await present(verifier, mint(header(), JSON.stringify(claims()).replace(/"exp":\d+/, '"exp":1e999'), pair.privateKey)), 'AUTH_TOKEN_CLAIMS claims', 'Infinity')
})

t.test('every algorithm verifies with its own key, and with no other', async (t) => {
  const pairs: Array<[Algorithm, ReturnType<typeof rsa>]> = [['RS256', pair], ['RS384', pair], ['RS512', pair], ['PS256', pair], ['PS384', pair], ['PS512', pair], ['ES256', ec('P-256')], ['ES384', ec('P-384')], ['ES512', ec('P-521')], ['EdDSA', ed25519()]]
  const algorithms = pairs.map(([algorithm]) => algorithm)
  for (const [algorithm, own] of pairs) {
    const verifier = await verifierOf({ algorithms, keys: { from: 'publicKey', pem: pemOf(own) } })
    for (const [claimed, signer] of pairs) {
      const presented = mint(header({ alg: claimed }), claims(), signer.privateKey, claimed)
      const expected = signer === own ? principal() : /^AUTH_TOKEN_INVALID (algorithm|signature)$/
      t.match(await present(verifier, presented), expected, `${claimed} at a key for ${algorithm}`)
    }
  }
})

t.test('a token signed as one algorithm and named as another is refused', async (t) => {
  const p256 = ec('P-256')
  const verifier = await verifierOf({ algorithms: ['RS256', 'RS512', 'PS256', 'ES256'], keys: { from: 'publicKey', pem: pemOf(pair) } })
  t.equal(await present(verifier, mint(header({ alg: 'RS512' }), claims(), pair.privateKey, 'RS256')), 'AUTH_TOKEN_INVALID signature')
  t.equal(await present(verifier, mint(header({ alg: 'PS256' }), claims(), pair.privateKey, 'RS256')), 'AUTH_TOKEN_INVALID signature')
  const elliptic = await verifierOf({ algorithms: ['RS256', 'ES256'], keys: { from: 'publicKey', pem: pemOf(p256) } })
  t.equal(await present(elliptic, mint(header({ alg: 'RS256' }), claims(), p256.privateKey, 'ES256')), 'AUTH_TOKEN_INVALID algorithm')
})

t.test('a public key is no HMAC secret, whatever the list of algorithms says', async (t) => {
  for (const text of [pemOf(pair), JSON.stringify(jwkOf(pair))]) {
    const verifier = await verifierOf({ algorithms: ['RS256', 'HS256'], keys })
    t.equal(await present(verifier, mint(header({ alg: 'HS256' }), claims(), text)), 'AUTH_TOKEN_INVALID algorithm')
    const { fetch } = scripted(() => ({ keys: [jwkOf(pair, { alg: undefined }), { kty: 'oct', k: encode(text), kid: 'k1', alg: 'HS256' }] }))
    const set = await verifierOf({ algorithms: ['RS256', 'HS256'] }, { fetch })
    t.equal(await present(set, mint(header({ alg: 'HS256' }), claims(), text)), 'AUTH_TOKEN_INVALID algorithm')
  }
})

t.test('a token that nobody signed is rejected under every Ed25519 key of low order', async (t) => {
  const { privateKey, publicKey } = ed25519()
  const good = { ...publicKey.export({ format: 'jwk' }), kid: 'good' }
  for (const point of lowOrderPoints) {
    const weak = { kty: 'OKP', crv: 'Ed25519', kid: 'k1', x: Buffer.from(point, 'hex').toString('base64url') }
    const { fetch } = scripted(() => ({ keys: [weak, good] }))
    const verifier = await verifierOf({ algorithms: ['EdDSA'] }, { fetch })
    const answers = new Set<unknown>()
    for (let jti = 0; jti < 16; jti++) {
      const signed = `${encode(header({ alg: 'EdDSA' }))}.${encode(claims({ jti: `${jti}` }))}`
      for (const r of lowOrderPoints) {
        const forged = `${signed}.${Buffer.concat([Buffer.from(r, 'hex'), Buffer.alloc(32)]).toString('base64url')}`
        answers.add(await present(verifier, forged))
      }
    }
    t.strictSame([...answers], ['AUTH_TOKEN_INVALID key-unknown'], point)
    t.strictSame(await present(verifier, mint(header({ alg: 'EdDSA', kid: 'good' }), claims(), privateKey, 'EdDSA')), principal(), 'the other key of the set is good')
  }
})

t.test('a shared secret verifies HS256 and nothing else', async (t) => {
  const secret = 'a secret of more than thirty-two bytes'
  const verifier = await verifierOf({ issuer: 'causeflow', audience: ['causeflow-api'], algorithms: ['HS256'], keys: { from: 'secret', secret } })
  const members = { iss: 'causeflow', aud: 'causeflow-api' }
  t.strictSame(await present(verifier, mint({ alg: 'HS256' }, claims(members), secret)), principal({ issuer: 'causeflow', claims: claims(members) }))
  t.equal(await present(verifier, mint({ alg: 'HS256' }, claims(members), `${secret}!`)), 'AUTH_TOKEN_INVALID signature')
  t.equal(await present(verifier, mint({ alg: 'RS256' }, claims(members), pair.privateKey)), 'AUTH_TOKEN_INVALID algorithm')
  const both = await verifierOf({ algorithms: ['HS256', 'RS256'], keys: { from: 'secret', secret: pemOf(pair) } })
  t.equal(await present(both, token()), 'AUTH_TOKEN_INVALID algorithm', 'a secret is no public key')
  const pem = await verifierOf({ algorithms: ['HS256'], keys: { from: 'secret', secret: pemOf(pair) } })
  t.strictSame(await present(pem, mint({ alg: 'HS256' }, claims(), pemOf(pair))), principal(), 'a secret may look like anything')
})

t.test('a PEM that cannot verify does not start', async (t) => {
  for (const pem of ['', pair.privateKey.export({ type: 'pkcs8', format: 'pem' }) as string, pemOf(rsa(1024)), pemOf(ec('P-256'))]) {
    await t.rejects(verifierOf({ keys: { from: 'publicKey', pem } }), { code: 'AUTH_CONFIG_OPTION' })
  }
})

t.test('a token expires in the cache as it does outside, and errors are not remembered', async (t) => {
  const clock = standingClock()
  const { fetch } = scripted(() => ({ keys: [jwkOf(pair)] }))
  const verifier = await verifierOf({}, { clock, fetch })
  const early = token({ nbf: start / 1000 + 10 })
  t.equal(await present(verifier, early), 'AUTH_TOKEN_CLAIMS not-yet-valid')
  t.strictSame(await present(verifier, token()), principal())
  clock.tick(64.999)
  t.strictSame(recall(verifier, token()), principal())
  t.match(await present(verifier, early), { scheme: 'jwt' }, 'it was early only then')
  clock.tick(0.001)
  t.equal(await present(verifier, token()), 'AUTH_TOKEN_EXPIRED expired')
  t.equal(recall(verifier, token()), null, 'it has left the cache')
  t.equal(await present(verifier, token()), 'AUTH_TOKEN_EXPIRED expired')
})

t.test('a cached token dies with the key that verified it', async (t) => {
  const clock = standingClock()
  let set: unknown = { keys: [jwkOf(pair), jwkOf(other, { kid: 'k2' })] }
  const { fetch } = scripted(() => set)
  const verifier = await verifierOf({}, { clock, fetch })
  const long = { exp: start / 1000 + 86_400 }
  const first = token(long)
  const second = mint(header({ kid: 'k2' }), claims(long), other.privateKey)
  for (const one of [first, second]) t.match(await present(verifier, one), { subject: 'usr_1' })
  const held = recall(verifier, second)
  set = { keys: [jwkOf(other, { kid: 'k2' })] }
  clock.tick(600)
  t.equal(await present(verifier, first), 'AUTH_TOKEN_INVALID key-unknown', 'the request that reads the set again')
  t.equal(recall(verifier, first), null)
  t.equal(recall(verifier, second), held, 'the other key is the same still')
  clock.tick(600)
  const recalled = recall(verifier, second)
  t.ok(recalled instanceof Promise)
  t.equal(await recalled, held, 'it waits for the set and is not verified anew')
  set = { keys: [jwkOf(pair, { kid: 'k2' })] }
  clock.tick(600)
  t.equal(await present(verifier, second), 'AUTH_TOKEN_INVALID signature', 'another key under the same id')
})

t.test('a cached token does not outlive staleFor while the issuer is down', async (t) => {
  const clock = standingClock()
  let set: unknown = { keys: [jwkOf(pair)] }
  const { fetch } = scripted(() => set)
  const verifier = await verifierOf({}, { clock, fetch })
  const long = token({ exp: start / 1000 + 86_400 })
  await present(verifier, long)
  set = 'down'
  clock.tick(600)
  t.match(await present(verifier, long), { subject: 'usr_1' })
  clock.tick(3600)
  t.equal(await present(verifier, long), 'AUTH_KEY_SET_UNAVAILABLE rejected')
  set = { keys: [jwkOf(pair)] }
  clock.tick(30)
  t.equal(await present(verifier, long), 'AUTH_KEY_SET_UNAVAILABLE rejected', 'the second failure backs off')
  clock.tick(38)
  t.match(await present(verifier, long), { subject: 'usr_1' }, 'it recovers')
})

t.test('a key that comes under a known id is learned from the first token that it signed', async (t) => {
  const clock = standingClock()
  let set: unknown = { keys: [jwkOf(pair)] }
  const { fetch, asked } = scripted(() => set)
  const verifier = await verifierOf({}, { clock, fetch })
  await present(verifier, token())
  set = { keys: [jwkOf(other)] }
  const rotated = mint(header(), claims(), other.privateKey)
  t.equal(await present(verifier, rotated), 'AUTH_TOKEN_INVALID signature', 'in the cooldown')
  clock.tick(30)
  t.match(await present(verifier, rotated), { subject: 'usr_1' })
  t.equal(await present(verifier, token()), 'AUTH_TOKEN_INVALID signature', 'and the old one is dead, cached or not')
  for (let forgery = 0; forgery < 100; forgery++) {
    t.equal(await present(verifier, mint(header(), claims({ forgery }), pair.privateKey)), 'AUTH_TOKEN_INVALID signature')
  }
  t.equal(asked.length, 2)
  clock.tick(30)
  t.equal(await present(verifier, mint(header(), claims({ late: true }), pair.privateKey)), 'AUTH_TOKEN_INVALID signature', 'asked for once more, and there is nothing new')
  t.equal(asked.length, 3)
})

t.test('of several keys under one id, each verifies its own algorithms', async (t) => {
  const { fetch } = scripted(() => ({ keys: [jwkOf(other, { alg: 'PS256' }), jwkOf(pair)] }))
  const verifier = await verifierOf({ algorithms: ['RS256', 'PS256'] }, { fetch })
  t.strictSame(await present(verifier, token()), principal())
  t.equal(await present(verifier, mint(header({ alg: 'PS256' }), claims(), pair.privateKey, 'PS256')), 'AUTH_TOKEN_INVALID signature')
})

t.test('an issuer whose keys are found by discovery verifies like any other', async (t) => {
  const { fetch, asked } = scripted(() => asked.length === 1 ? { issuer, jwks_uri: `${issuer}/keys` } : { keys: [jwkOf(pair)] })
  const verifier = await verifierOf({ keys: { from: 'discovery', url: `${issuer}/.well-known/openid-configuration` } }, { fetch })
  t.strictSame(await present(verifier, token()), principal())
  t.strictSame(asked, [`${issuer}/.well-known/openid-configuration`, `${issuer}/keys`])
})

t.test('a claim may be null, at any depth', async (t) => {
  const verifier = await verifierOf({ keys })
  const extra = { nothing: null, deep: { nothing: null, list: [null] } }
  t.strictSame(await present(verifier, token(extra)), principal({ claims: claims(extra) }))
})

t.test('a forged token that shares all but its signature with a cached one is not it', async (t) => {
  const verifier = await verifierOf({ keys })
  const good = token()
  await present(verifier, good)
  const forged = mint(header(), claims(), other.privateKey)
  t.equal(forged.slice(0, 200), good.slice(0, 200))
  t.equal(recall(verifier, forged), null)
  t.equal(recall(verifier, good.slice(0, -1)), null)
  t.equal(recall(verifier, `${good} `), null)
  t.equal(await present(verifier, forged), 'AUTH_TOKEN_INVALID signature')
})

t.test('a cached token vouches for its whole text alone: with its signature, or the end of it, behind another header or payload, or behind junk, a token is verified anew', async (t) => {
  const secret = 'a secret of more than thirty-two bytes'
  for (const [sourceKeys, algorithms, good] of [[keys, ['RS256'], token()], [{ from: 'secret', secret }, ['HS256'], mint({ alg: 'HS256' }, claims(), secret)]] as const) {
    const verifier = await verifierOf({ keys: sourceKeys, algorithms: [...algorithms] })
    t.match(await present(verifier, good), { subject: 'usr_1' })
    const [head, body, signature] = good.split('.') as [string, string, string]
    const admin = encode(claims({ sub: 'usr_2', tenant_id: 'ten_2' }))
    const others = [
      `${head}.${admin}.${signature}`,
      `${encode(header({ alg: algorithms[0], x: 1 }))}.${body}.${signature}`,
      `${head}.${body}.${signature[0] === 'A' ? 'B' : 'A'}${signature.slice(1)}`,
      `${head}.${admin}.AAAA${signature}`,
      `${head}.${body}.${signature.slice(-43)}AAAA`,
      `x${good}`,
      `.${good}`
    ]
    for (const one of others) {
      t.equal(recall(verifier, one), null, one.slice(-60))
      t.match(await present(verifier, one), /^AUTH_TOKEN_(?:INVALID|MALFORMED) /, one.slice(-60))
    }
    for (const end of [signature, signature.slice(-43), `.${signature}`]) t.equal(recall(verifier, end), null, end)
    t.ok(recall(verifier, good), 'and it is remembered still')
  }
})

t.test('the cache is bounded, and can be left out', async (t) => {
  const verifier = await verifierOf({ keys, tokenCache: { max: 2, maxBytes: 1e6 } })
  const tokens = [1, 2, 3].map((jti) => token({ jti }))
  for (const one of tokens) await present(verifier, one)
  t.strictSame(tokens.map((one) => recall(verifier, one) === null), [true, false, false])
  const without = await verifierOf({ keys, tokenCache: null })
  await present(without, token())
  t.equal(recall(without, token()), null)
})

t.test('a principal that one request tries to change is the same for the next', async (t) => {
  const verifier = await verifierOf({ keys })
  const deep = token({ nested: { list: [{ x: 1 }] } })
  const seen = await present(verifier, deep) as any
  for (const change of [() => { seen.roles.push('owner') }, () => { seen.tenantId = 'ten_2' }, () => { seen.scopes.push('x') }, () => { seen.proofs.length = 0 }, () => { seen.claims.sub = 'x' }, () => { seen.claims.nested.list[0].x = 2 },
    () => { delete seen.claims.roles }, () => { Object.setPrototypeOf(seen, {}) }]) t.throws(change, TypeError)
  t.strictSame(recall(verifier, deep), principal({ claims: claims({ nested: { list: [{ x: 1 }] } }) }))
})

t.test('a mapping\'s own arrays are not frozen', async (t) => {
  const roles = ['admin']
  const verifier = await verifierOf({ keys, claims: { schema: Type.Object({}), principal: () => ({ tenantId: null, roles, scopes: roles, email: null }) } })
  await present(verifier, token())
  roles.push('owner')
  t.match(recall(verifier, token()), { roles: ['admin'], scopes: ['admin'] })
})

t.test('a signed __proto__ changes nothing, not even for an application that merges claims', async (t) => {
  const verifier = await verifierOf({ keys })
  const payload = JSON.stringify(claims({ nested: 'NESTED' })).replace(/}$/, ',"__proto__":{"roles":["owner"],"admin":true}}').replace('"NESTED"', '{"\\u005f_proto__":{"admin":true},"list":[{"__proto__":{"admin":true}}]}')
  const evil = mint(header(), payload, pair.privateKey)
  const seen = await present(verifier, evil) as any
  t.strictSame(seen, principal({ claims: claims({ nested: { list: [{}] } }) }))
  t.equal(Object.assign({}, seen.claims).admin, undefined)
  t.equal(Object.assign({}, seen.claims.nested).admin, undefined)
  t.equal(({} as any).admin, undefined)
  const only = JSON.stringify(claims({ sub: undefined })).replace(/}$/, ',"__proto__":{"sub":"usr_1"}}')
  t.equal(await present(verifier, mint(header(), only, pair.privateKey)), 'AUTH_TOKEN_CLAIMS subject', 'a claim is not inherited')
  t.equal(await present(verifier, mint(JSON.stringify({ kid: 'k1' }).replace(/}$/, ',"__proto__":{"alg":"RS256"}}'), claims(), pair.privateKey)), 'AUTH_TOKEN_INVALID algorithm', 'nor is a header')
})

t.test('claims nested as deep as a token can be are frozen without a stack overflow', async (t) => {
  const verifier = await verifierOf({ keys })
  const depth = 2600
  const payload = JSON.stringify(claims({ deep: 0 })).replace('"deep":0', `"deep":${'['.repeat(depth)}${']'.repeat(depth)}`)
  const seen = await present(verifier, mint(header(), payload, pair.privateKey)) as JwtPrincipal
  let level = seen.claims.deep as unknown[]
  for (let index = 1; index < depth; index++) level = level[0] as unknown[]
  t.ok(Object.isFrozen(level))
})

t.test('a revoked token is refused at every presentation, cached or not', async (t) => {
  for (const answer of [(value: boolean) => value, async (value: boolean) => value]) {
    let revoked = false
    const asked: JwtPrincipal[] = []
    const verifier = await verifierOf({ keys, isRevoked: (principal) => { asked.push(principal); return answer(revoked) } })
    t.strictSame(await present(verifier, token()), principal())
    t.strictSame(await present(verifier, token()), principal())
    revoked = true
    t.equal(await present(verifier, token()), 'AUTH_TOKEN_INVALID revoked')
    t.equal(await present(verifier, token({ jti: '2' })), 'AUTH_TOKEN_INVALID revoked')
    revoked = false
    t.strictSame(await present(verifier, token()), principal())
    t.equal(asked.length, 5)
    t.strictSame(asked[0], principal())
  }
})

t.test('a revocation check that throws, or answers no boolean, is a store that cannot be asked', async (t) => {
  const of = async (isRevoked: unknown): Promise<unknown> => present(await verifierOf({ keys, isRevoked: isRevoked as TokenIssuerSettings['isRevoked'] }), token())
  for (const thrown of [new Error('x'), undefined, null, 'x']) {
    t.equal(await of(() => { throw thrown }), 'AUTH_STORE_UNAVAILABLE unreachable')
    t.equal(await of(() => Promise.reject(thrown)), 'AUTH_STORE_UNAVAILABLE unreachable')
  }
  for (const answer of [undefined, null, 0, 1, '', 'false', {}, []]) {
    t.equal(await of(() => answer), 'AUTH_STORE_UNAVAILABLE rejected')
    t.equal(await of(async () => answer), 'AUTH_STORE_UNAVAILABLE rejected')
  }
})

t.test('a revocation check that answers at once keeps a request that is warm synchronous, whatever it answers', async (t) => {
  let answer: unknown = false
  const verifier = await verifierOf({ keys, isRevoked: () => answer as boolean })
  await present(verifier, token())
  t.strictSame(recall(verifier, token()), principal())
  for (const [other, reason] of [[true, 'revoked'], [{}, 'rejected'], [{ then: 5 }, 'rejected'], [null, 'rejected']] as const) {
    answer = other
    // Thrown, and not rejected: a promise here would be another answer.
    const thrown = (() => {
      try {
        return recall(verifier, token())
      } catch (error) {
        return error
      }
    })()
    t.match(thrown, { reason }, JSON.stringify(other))
  }
})

t.test('what a revocation check failed with is kept for the log', async (t) => {
  const cause = new Error('the session store is down')
  for (const isRevoked of [() => { throw cause }, async () => { throw cause }]) {
    const verifier = await verifierOf({ keys, isRevoked })
    const error: unknown = await (async () => await verifier.verify(parseToken(token())))().catch((error: unknown) => error)
    t.equal((error as Error).cause, cause)
  }
})

t.test('a revocation check that has answered leaves no timer behind', async (t) => {
  const { mock } = await import('node:test')
  const verifier = await verifierOf({ keys, isRevoked: async () => false })
  const made = mock.method(globalThis, 'setTimeout')
  const cleared = mock.method(globalThis, 'clearTimeout')
  t.teardown(() => { mock.restoreAll() })
  await present(verifier, token())
  await new Promise(setImmediate)
  t.strictSame(made.mock.calls.map(({ arguments: [, milliseconds] }) => milliseconds), [2000])
  t.strictSame(cleared.mock.calls.map(({ arguments: [timer] }) => timer), made.mock.calls.map(({ result }) => result))
})

t.test('a revocation check that hangs is a store that cannot be asked, after two seconds', async (t) => {
  const { mock } = await import('node:test')
  const verifier = await verifierOf({ keys, isRevoked: () => new Promise(() => {}) })
  mock.timers.enable({ apis: ['setTimeout'] })
  t.teardown(() => { mock.timers.reset() })
  let result: unknown = 'waiting'
  const waiting = present(verifier, token()).then((value) => { result = value })
  mock.timers.tick(1999)
  await new Promise(setImmediate)
  t.equal(result, 'waiting')
  mock.timers.tick(1)
  await waiting
  t.equal(result, 'AUTH_STORE_UNAVAILABLE time-limit')
})

t.test('Clerk\'s session tokens: a foreign party and a pending session are refused, a type is accepted only where it is asked for', async (t) => {
  const session = { audience: null, claims: clerkSession(), authorizedParties: ['https://app.example.com'], azp: 'ifPresent' as const, keys }
  const verifier = await verifierOf(session)
  const own = (members: Json = {}, head: Json = {}): string => token({ aud: undefined, tenant_id: undefined, roles: undefined, sid: 'sess_1', azp: 'https://app.example.com', v: 2, o: { id: 'org_1', rol: 'admin' }, ...members }, head)
  t.match(await present(verifier, own()), { tenantId: 'org_1', roles: ['admin'], scopes: [] })
  t.match(await present(verifier, own({ azp: undefined })), { tenantId: 'org_1' })
  t.equal(await present(verifier, own({ azp: 'https://evil.example' })), 'AUTH_TOKEN_CLAIMS azp')
  t.equal(await present(verifier, own({ sts: 'pending' })), 'AUTH_TOKEN_CLAIMS session-pending')
  t.equal(await present(verifier, own({ sub: 'mch_1' })), 'AUTH_TOKEN_CLAIMS token-class')
  t.equal(await present(verifier, own({ sid: undefined })), 'AUTH_TOKEN_CLAIMS token-class')
  t.equal(await present(verifier, own({}, { typ: 'at+jwt' })), 'AUTH_TOKEN_INVALID type')
  const spelled = await verifierOf({ keys, claims: { ...causeflowClaims(), types: ['application/AT+JWT'] } })
  t.match(await present(spelled, token({}, { typ: 'at+jwt' })), { subject: 'usr_1' })
  const both = await verifierOf({ ...session, claims: clerkSession({ accept: ['oauth'] }) })
  t.match(await present(both, own({ sid: undefined, azp: undefined, client_id: 'client_1', scp: ['profile'] }, { typ: 'at+jwt' })), { tenantId: null, scopes: ['profile'] })
})

t.test('one audience of several is enough, and its absence is refused', async (t) => {
  const verifier = await verifierOf({ keys, audience: ['first', audience] })
  t.match(await present(verifier, token()), { subject: 'usr_1' })
  t.match(await present(verifier, token({ aud: ['x', 'first'] })), { subject: 'usr_1' })
  t.equal(await present(verifier, token({ aud: undefined })), 'AUTH_TOKEN_CLAIMS audience')
})

t.test('an issuer that cannot be asked is 503 and never 401', async (t) => {
  const verifier = await verifierOf()
  t.equal(await present(verifier, token()), 'AUTH_KEY_SET_UNAVAILABLE unreachable')
  t.equal(await outcome(() => verifier.warm()), 'AUTH_KEY_SET_UNAVAILABLE unreachable')
  t.equal(await outcome(() => verifier.verify(parseToken(token({}, { kid: undefined })))), 'AUTH_TOKEN_INVALID key-id-absent', 'unless the token is bad by itself')
  verifier.close()
})

t.test('nothing of a token is in the error that refuses it', async (t) => {
  const verifier = await verifierOf({ keys, isRevoked: () => true })
  for (const bad of [token(), token({ exp: 1 }), mint(header(), claims(), other.privateKey), token({ roles: 7 }), token({}, { alg: 'none' })]) {
    try {
      await (recall(verifier, bad) ?? verifier.verify(parseToken(bad)))
      t.fail('accepted')
    } catch (error) {
      const all = `${String(error)} ${String((error as Error).cause)} ${JSON.stringify(error, Object.getOwnPropertyNames(error))}`
      for (const part of [...bad.split('.'), 'user@example.com', 'usr_1']) t.notOk(all.includes(part))
    }
  }
})
