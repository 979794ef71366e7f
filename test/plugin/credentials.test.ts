import t from 'tap'
import { createHmac, generateKeyPairSync, sign } from 'node:crypto'
import type { FastifyInstance } from 'fastify'
import { apiKeyDigest, auth, createApiKey, MemoryApiKeyStore, type ApiKeyStore } from '../../lib/index.js'
import { bearer, createApp, issueKey, now, refusalOf, refusals, signed, token, tokenSecret, watchProcess } from '../fixtures/app.js'
import { exchange, head, listen } from '../fixtures/socket.js'

watchProcess(t)

const badToken = (code: string): object => ({ status: 401, code, challenge: 'Bearer realm="causeflow", error="invalid_token"' })
const part = (value: unknown): string => Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)).toString('base64url')

/** An application whose one handler counts. */
async function guarded (t: Parameters<typeof createApp>[0], setup: Parameters<typeof createApp>[1] = {}): Promise<{ app: FastifyInstance, reached: () => number }> {
  const app = await createApp(t, setup)
  let reached = 0
  app.get('/', async () => { reached++; return {} })
  app.get('/key', { config: { auth: auth.apiKey() } }, async () => { reached++; return {} })
  app.get('/either', { config: { auth: auth.any(auth.jwt(), auth.apiKey()) } }, async () => { reached++; return {} })
  app.get('/t/:tenantId', { config: { auth: auth.any(auth.jwt(), auth.apiKey()) } }, async () => { reached++; return {} })
  app.post('/', async () => { reached++; return {} })
  await app.ready()
  return { app, reached: () => reached }
}

t.test('a token by any algorithm that the issuer does not list is refused, none and the public key as a secret among them', async (t) => {
  const { publicKey, privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 })
  const pem = publicKey.export({ type: 'spki', format: 'pem' }).toString()
  const { app, reached } = await guarded(t, { auth: { jwt: { issuer: 'causeflow', audience: 'causeflow-api', publicKey: pem } } })
  const claims = { iss: 'causeflow', aud: 'causeflow-api', sub: 'usr_1', exp: now / 1000 + 60, tenant_id: 'ten_a', roles: ['admin'] }
  const signWith = (header: object, algorithm: string | null, secret?: string): string => {
    const text = `${part(header)}.${part(claims)}`
    const signature = algorithm !== null ? sign(algorithm, Buffer.from(text), privateKey) : secret !== undefined ? createHmac('sha256', secret).update(text).digest() : Buffer.from('x')
    return `Bearer ${text}.${signature.toString('base64url')}`
  }
  t.equal((await app.inject({ url: '/', headers: { authorization: signWith({ alg: 'RS256', typ: 'JWT' }, 'RSA-SHA256') } })).statusCode, 200)
  const before = reached()
  const attacks = [
    signWith({ alg: 'none' }, null), signWith({ alg: 'None' }, null), signWith({ alg: '' }, null), signWith({}, 'RSA-SHA256'),
    signWith({ alg: 'HS256', typ: 'JWT' }, null, pem), signWith({ alg: 'HS256', typ: 'JWT' }, null, pem.trim()), signWith({ alg: 'HS256' }, null, ''),
    signWith({ alg: 'RS512', typ: 'JWT' }, 'RSA-SHA512'), signWith({ alg: 'rs256', typ: 'JWT' }, 'RSA-SHA256'), signWith({ alg: ['RS256'] }, 'RSA-SHA256'),
    signWith({ alg: 'RS256', crit: [] }, 'RSA-SHA256'), signWith({ alg: 'RS256', crit: ['exp'] }, 'RSA-SHA256'), signWith({ alg: 'RS256', b64: false }, 'RSA-SHA256'),
    signWith({ alg: 'RS256', typ: 'at+jwt' }, 'RSA-SHA256'), signWith({ alg: 'RS256', typ: 'logout+jwt' }, 'RSA-SHA256')
  ]
  for (const authorization of attacks) t.strictSame(refusalOf(await app.inject({ url: '/', headers: { authorization } })), badToken('AUTH_TOKEN_INVALID'), authorization.slice(7, 60))
  const unsigned = signWith({ alg: 'none' }, null)
  t.strictSame(refusalOf(await app.inject({ url: '/', headers: { authorization: unsigned.slice(0, unsigned.lastIndexOf('.') + 1) } })), badToken('AUTH_TOKEN_MALFORMED'))
  t.equal(reached(), before)
})

t.test('a token anywhere but in the Authorization header is no credential', async (t) => {
  const { app, reached } = await guarded(t)
  const { authorization } = bearer()
  const text = authorization.slice('Bearer '.length)
  const missing = { status: 401, code: 'AUTH_CREDENTIAL_MISSING', challenge: 'Bearer realm="causeflow"' }
  for (const request of [
    { url: `/?access_token=${text}` },
    { url: `/?authorization=${encodeURIComponent(authorization)}` },
    { url: '/', headers: { cookie: `__session=${text}; authorization=${text}` } },
    { url: '/', headers: { 'x-authorization': authorization, 'proxy-authorization': authorization } },
    { method: 'POST' as const, url: '/', payload: { access_token: text } }
  ]) t.strictSame(refusalOf(await app.inject(request)), missing, JSON.stringify(request).slice(0, 40))
  t.equal(reached(), 0)
})

t.test('registered claims that are missing, empty, of another type or another\'s are refused', async (t) => {
  const { app, reached } = await guarded(t)
  const nothing = [undefined, null, '', 0, [], {}, true]
  for (const iss of ['other', 'causeflow/', 'Causeflow', ...nothing, ['causeflow']]) t.strictSame(refusalOf(await app.inject({ url: '/', headers: bearer({ iss }) })), badToken('AUTH_TOKEN_INVALID'), `iss ${JSON.stringify(iss)}`)
  for (const sub of nothing) t.strictSame(refusalOf(await app.inject({ url: '/', headers: bearer({ sub }) })), badToken('AUTH_TOKEN_CLAIMS'), `sub ${JSON.stringify(sub)}`)
  for (const aud of [...nothing, 'other', 'causeflow-api2', ['other'], [['causeflow-api']], { 0: 'causeflow-api' }]) t.strictSame(refusalOf(await app.inject({ url: '/', headers: bearer({ aud }) })), badToken('AUTH_TOKEN_CLAIMS'), `aud ${JSON.stringify(aud)}`)
  for (const exp of [undefined, null, '', '9999999999', [], {}, true, [9999999999]]) t.strictSame(refusalOf(await app.inject({ url: '/', headers: bearer({ exp }) })), badToken('AUTH_TOKEN_CLAIMS'), `exp ${JSON.stringify(exp)}`)
  for (const name of ['email', 'tenant_id', 'roles']) t.strictSame(refusalOf(await app.inject({ url: '/', headers: bearer({ [name]: 1 }) })), badToken('AUTH_TOKEN_CLAIMS'), name)
  t.equal(reached(), 0)
  t.equal((await app.inject({ url: '/', headers: bearer({ aud: ['other', 'causeflow-api'] }) })).statusCode, 200)
})

t.test('a token holds until its exp and the tolerance, and not before its nbf and iat, to the second', async (t) => {
  let time = now
  const { app } = await guarded(t, { auth: { clock: () => time } })
  const seconds = now / 1000
  const headers = bearer({ exp: seconds + 60 })
  const ask = async (headers: Record<string, string>): Promise<unknown> => {
    const answer = await app.inject({ url: '/', headers })
    return answer.statusCode === 200 ? 200 : answer.json().code
  }
  t.equal(await ask(headers), 200)
  time = now + 64_999
  t.equal(await ask(headers), 200, 'remembered')
  t.equal(await ask(bearer({ exp: seconds + 60, sub: 'usr_2' })), 200, 'and seen for the first time')
  time = now + 65_000
  t.equal(await ask(headers), 'AUTH_TOKEN_EXPIRED', 'a remembered token expires as well')
  t.equal(await ask(bearer({ exp: seconds + 60, sub: 'usr_3' })), 'AUTH_TOKEN_EXPIRED')
  time = now
  for (const name of ['nbf', 'iat']) {
    t.equal(await ask(bearer({ [name]: seconds + 5 })), 200)
    t.equal(await ask(bearer({ [name]: seconds + 6 })), 'AUTH_TOKEN_CLAIMS', name)
    t.equal(await ask(bearer({ [name]: 'soon' })), 'AUTH_TOKEN_CLAIMS', name)
  }
})

t.test('two credentials of one kind are 400, whichever is good', async (t) => {
  const { app, reached } = await guarded(t, { auth: { apiKey: { store: new MemoryApiKeyStore(), query: 'apiKey' } } })
  const { plaintextKey } = await issueKey(app)
  const port = await listen(app)
  const good = `Bearer ${token()}`
  const ask = async (url: string, ...pairs: Array<readonly [string, string]>): Promise<[number, string | undefined]> => {
    const { status, body } = await exchange(port, [head('GET', url, pairs)])
    return [status, (JSON.parse(body) as { code?: string }).code]
  }
  const refused: [number, string] = [400, 'AUTH_CREDENTIAL_AMBIGUOUS']
  t.strictSame(await ask('/', ['authorization', good], ['authorization', good]), refused)
  t.strictSame(await ask('/', ['Authorization', good], ['aUTHORIZATION', 'Basic x']), refused, 'a header that Node drops')
  t.strictSame(await ask('/', ['authorization', 'Basic x'], ['authorization', good]), refused)
  t.strictSame(await ask('/key', ['x-api-key', plaintextKey], ['x-api-key', plaintextKey]), refused)
  t.strictSame(await ask('/key', ['x-api-key', plaintextKey], ['authorization', `Bearer ${plaintextKey}`]), refused)
  t.strictSame(await ask(`/key?apiKey=${plaintextKey}`, ['x-api-key', plaintextKey]), refused)
  t.strictSame(await ask(`/key?apiKey=${plaintextKey}&apiKey=${plaintextKey}`), refused)
  t.strictSame(await ask('/either', ['authorization', good], ['x-api-key', plaintextKey]), refused, 'two kinds of which the rule takes one')
  t.equal(reached(), 0)
  t.strictSame(await ask('/', ['authorization', good], ['x-api-key', 'nonsense'], ['x-api-key', 'nonsense']), [200, undefined], 'kinds that the rule does not mention are ignored')
  t.strictSame(await ask(`/key?apiKey=${plaintextKey}`), [200, undefined])
  t.strictSame(await ask('/either', ['authorization', `Bearer ${plaintextKey}`]), [200, undefined])
})

t.test('a token of a bad form is 401 and malformed, whatever its size', async (t) => {
  const { app, reached } = await guarded(t)
  const good = token()
  const [header = '', payload = '', signature = ''] = good.split('.')
  const forms = [
    'Bearer', 'Bearer ', `Bearer ${good} `, `Bearer ${good} ${good}`, `Bearer ${good},`, `Bearer ${good}=`, `Bearer,${good}`, `Bearer\t${good}`,
    `Bearer ${header}.${payload}`, `Bearer ${good}.x`, `Bearer ${header}..${signature}`, `Bearer .${payload}.${signature}`, `Bearer ${header}.${payload}.`,
    `Bearer ${good.replace('.', '.=')}`, `Bearer ${header}.${payload}.${signature.slice(0, -1)}`, `Bearer ${header}.${payload}.${signature}AA`, `Bearer ${header}.${payload}.${signature.slice(0, -1)}B`, `Bearer ${header}+.${payload}.${signature}`,
    `Bearer ${part('[]')}.${payload}.${signature}`, `Bearer ${part('null')}.${payload}.${signature}`, `Bearer ${header}.${part('1')}.${signature}`, `Bearer ${header}.${part('{')}.${signature}`,
    `Bearer ${header}.${Buffer.from([0x7B, 0xFF, 0x7D]).toString('base64url')}.${signature}`,
    `Bearer ${token({ pad: 'x'.repeat(8_000) })}`, `Bearer ${'a'.repeat(12_000)}`
  ]
  for (const authorization of forms) {
    const answer = await app.inject({ url: '/', headers: { authorization } })
    t.strictSame(refusalOf(answer), badToken('AUTH_TOKEN_MALFORMED'), `${authorization.slice(0, 40)} (${authorization.length})`)
  }
  for (const authorization of ['Basic dTpw', 'Bearerish x', good, 'Digest x', 'x']) t.strictSame(refusalOf(await app.inject({ url: '/', headers: { authorization } })), refusals.noToken, 'of another scheme: no token')
  t.equal(reached(), 0)
  for (const scheme of ['bEARER ', 'Bearer  ', 'Bearer   ']) t.equal((await app.inject({ url: '/', headers: { authorization: `${scheme}${good}` } })).statusCode, 200, scheme)
})

t.test('a malformed key is refused without the store', async (t) => {
  let asked = 0
  const store: ApiKeyStore = Object.assign(new MemoryApiKeyStore(), { findByDigest: () => { asked++; return null } })
  const { app, reached } = await guarded(t, { auth: { apiKey: { store, environments: ['live'], legacyKeys: false } } })
  const { key } = createApiKey()
  const wrongChecksum = key.slice(0, -1) + (key.endsWith('0') ? '1' : '0')
  for (const presented of ['cflo_', 'x', '', wrongChecksum, `${key}x`, ` ${key}x`, key.toUpperCase(), `cflo_${'0'.repeat(64)}`, createApiKey({ environment: 'test' }).key, `cflo_live_sk_${'0'.repeat(200)}`, 'cfak_live_abc', `${key}\u00e9`]) {
    t.strictSame(refusalOf(await app.inject({ url: '/key', headers: { 'x-api-key': presented } })), refusals.badKey, presented)
  }
  t.strictSame([asked, reached()], [0, 0])
  t.strictSame(refusalOf(await app.inject({ url: '/key', headers: { 'x-api-key': key } })), refusals.badKey)
  t.equal(asked, 1)
})

t.test('unknown, revoked and expired keys have one public answer, and a revoked one stops at once', async (t) => {
  let time = now
  const { app } = await guarded(t, { auth: { clock: () => time } })
  const revoked = await issueKey(app)
  const expiring = await app.causeflowAuth.apiKeys.create({ tenantId: 'ten_a', name: 'x', expiresAt: new Date(now + 1000) })
  for (const { plaintextKey } of [revoked, expiring]) t.equal((await app.inject({ url: '/key', headers: { 'x-api-key': plaintextKey } })).statusCode, 200)
  await app.causeflowAuth.apiKeys.revoke({ tenantId: 'ten_a', keyId: revoked.keyId })
  const answers: unknown[] = [await app.inject({ url: '/key', headers: { 'x-api-key': revoked.plaintextKey } })]
  time = now + 1000
  for (const key of [expiring.plaintextKey, createApiKey().key, createApiKey().key]) answers.push(await app.inject({ url: '/key', headers: { 'x-api-key': key } }))
  const comparable = (answers as Array<Awaited<ReturnType<typeof app.inject>>>).map(({ statusCode, body, headers: { date, ...headers } }) => ({ statusCode, body, headers }))
  for (const answer of comparable) t.strictSame(answer, comparable[0])
  t.equal(comparable[0]?.statusCode, 401)
})

t.test('a credential of one tenant is 403 on another tenant\'s URL, in whatever way the URL is written', async (t) => {
  const { app, reached } = await guarded(t)
  const { plaintextKey } = await issueKey(app)
  for (const headers of [bearer(), { 'x-api-key': plaintextKey }]) {
    for (const tenant of ['ten_b', 'TEN_A', 'ten_a%20', '%20ten_a', 'ten_a%00', 'ten_a,ten_b', 'ten_a%2Fx']) {
      const answer = await app.inject({ url: `/t/${tenant}`, headers })
      t.strictSame([answer.statusCode, answer.json().code], [403, 'AUTH_TENANT_MISMATCH'], tenant)
    }
    t.equal((await app.inject({ url: '/t/', headers })).statusCode, 403, 'an empty parameter')
    t.equal((await app.inject({ url: '/t/t%65n_a', headers })).statusCode, 200, 'as the router decodes it')
  }
  t.equal(reached(), 2)
  t.equal((await app.inject({ url: '/t/ten_a', headers: bearer({ tenant_id: undefined }) })).json().code, 'AUTH_TENANT_REQUIRED')
})

t.test('a missing or bad key falls back to nothing: not to another kind, another place or another secret', async (t) => {
  const app = await createApp(t, { auth: { webhook: { secret: 'whsec_global' } } })
  let reached = 0
  app.post('/v1/webhooks/:tenantId', { config: { auth: auth.all(auth.apiKey(), auth.webhook()) } }, async () => { reached++; return {} })
  app.post('/optional', { config: { auth: auth.apiKey().optional() } }, async (request) => { reached++; return { nobody: request.principal === null } })
  app.get('/either', { config: { auth: auth.any(auth.jwt(), auth.apiKey()) } }, async () => { reached++; return {} })
  await app.ready()
  const { plaintextKey, keyId } = await issueKey(app)
  await app.causeflowAuth.apiKeys.revoke({ tenantId: 'ten_a', keyId })
  const global = signed('{}', {}, 'whsec_global')
  const send = async (headers: Record<string, string>): Promise<unknown> => refusalOf(await app.inject({ method: 'POST', url: '/v1/webhooks/ten_a', payload: '{}', headers }))
  t.strictSame(await send(global), refusals.noKey)
  t.strictSame(await send({ ...global, ...bearer() }), refusals.noKey)
  t.strictSame(await send({ ...global, 'x-api-key': plaintextKey }), refusals.badKey)
  t.strictSame(await send({ ...global, 'x-api-key': 'nonsense' }), refusals.badKey)
  t.strictSame(await send({ ...global, 'x-api-key': '' }), refusals.badKey)
  t.strictSame(refusalOf(await app.inject({ url: '/either', headers: { ...bearer(), 'x-api-key': 'nonsense' } })), refusals.badKey, 'nor does a good token cover a bad key')
  t.strictSame(refusalOf(await app.inject({ method: 'POST', url: '/optional', headers: { 'x-api-key': plaintextKey } })), refusals.badKey, 'present but bad is never nobody')
  t.equal(reached, 0)
  t.strictSame((await app.inject({ method: 'POST', url: '/optional' })).json(), { nobody: true })
})

t.test('parallel creations over HTTP never exceed the quota, and a list shows neither digests nor other tenants', async (t) => {
  const app = await createApp(t)
  const admin = { config: { auth: auth.jwt().roles('admin') } }
  app.post('/v1/api-keys', admin, async (request, reply) => {
    const { plaintextKey, keyId } = await app.causeflowAuth.apiKeys.create({ tenantId: request.principal?.tenantId ?? '', name: 'x' })
    reply.code(201)
    return { keyId, plaintextKey }
  })
  app.get('/v1/api-keys', async (request) => await app.causeflowAuth.apiKeys.list({ tenantId: request.principal?.tenantId ?? '' }))
  const create = async (tenant: string): Promise<Awaited<ReturnType<typeof app.inject>>> => await app.inject({ method: 'POST', url: '/v1/api-keys', headers: bearer({ tenant_id: tenant, roles: ['admin'] }) })
  const answers = await Promise.all(Array.from({ length: 20 }, () => create('ten_a')))
  t.strictSame(answers.map(({ statusCode }) => statusCode).sort(), [...Array.from({ length: 5 }, () => 201), ...Array.from({ length: 15 }, () => 429)])
  t.equal(answers.find(({ statusCode }) => statusCode === 429)?.json().code, 'AUTH_QUOTA_EXCEEDED')
  const other = await create('ten_b')
  const keys = [...answers, other].filter(({ statusCode }) => statusCode === 201).map((answer) => answer.json() as { keyId: string, plaintextKey: string })
  const list = await app.inject({ url: '/v1/api-keys', headers: bearer() })
  t.equal(list.json().keys.length, 5)
  t.notOk(list.body.includes(keys.at(-1)?.keyId ?? ''))
  for (const { plaintextKey } of keys) {
    t.notOk(list.body.includes(plaintextKey))
    t.notOk(list.body.includes(apiKeyDigest(plaintextKey).toString('hex')))
  }
  t.notMatch(list.body, /whsec_|sealed/)
})

t.test('a principal that one request changes is not seen by the next, and a signed __proto__ changes nothing', async (t) => {
  const app = await createApp(t)
  app.get('/', async (request) => {
    const before = [...request.principal?.roles ?? []]
    let threw = false
    try { (request.principal?.roles as string[]).push('admin') } catch { threw = true }
    try { (request.principal as { tenantId: string }).tenantId = 'ten_b' } catch { threw &&= true }
    return { before, threw, tenant: request.principal?.tenantId, polluted: ({} as { admin?: boolean }).admin ?? null }
  })
  for (const attempt of [1, 2]) t.strictSame((await app.inject({ url: '/', headers: bearer() })).json(), { before: ['member'], threw: true, tenant: 'ten_a', polluted: null }, `attempt ${attempt}`)
  const claims = JSON.parse(`{"iss":"causeflow","aud":"causeflow-api","sub":"usr_1","exp":${now / 1000 + 60},"tenant_id":"ten_a","roles":["member"],"__proto__":{"admin":true}}`) as object
  const text = `${part({ alg: 'HS256', typ: 'JWT' })}.${part(JSON.stringify(claims))}`
  const polluting = `${text}.${createHmac('sha256', tokenSecret).update(text).digest('base64url')}`
  t.strictSame((await app.inject({ url: '/', headers: { authorization: `Bearer ${polluting}` } })).json(), { before: ['member'], threw: true, tenant: 'ten_a', polluted: null })
})

t.test('a store that throws, rejects with nothing, or answers nonsense is 503, never a yes and never an end', async (t) => {
  const faults = watchProcess(t)
  const answers: Record<string, () => unknown> = {
    throws: () => { throw new Error('down') },
    'throws undefined': () => { throw undefined }, // eslint-disable-line no-throw-literal -- the attack
    'rejects with undefined': async () => await Promise.reject(), // eslint-disable-line prefer-promise-reject-errors -- the attack
    'answers nonsense': () => 'yes',
    'answers true': () => true,
    'answers an empty object': async () => ({})
  }
  const { key } = createApiKey()
  for (const [title, findByDigest] of Object.entries(answers)) {
    const { app, reached } = await guarded(t, { auth: { apiKey: { store: Object.assign(new MemoryApiKeyStore(), { findByDigest }) as never } } })
    const answer = await app.inject({ url: '/key', headers: { 'x-api-key': key } })
    t.strictSame(refusalOf(answer), { status: 503, code: 'AUTH_STORE_UNAVAILABLE', challenge: undefined }, title)
    t.match(answer.headers['retry-after'], /^[1-9]\d*$/)
    t.equal(reached(), 0)
  }
  t.strictSame(faults, [])
})

t.test('a check, a claim mapping or an isRevoked that throws anything refuses', async (t) => {
  const faults = watchProcess(t)
  const throws = { error: () => { throw new Error('x') }, undefined: () => { throw undefined }, rejection: async () => await Promise.reject() } as const // eslint-disable-line no-throw-literal, prefer-promise-reject-errors -- the attack
  for (const [title, fail] of Object.entries(throws)) {
    const app = await createApp(t, {
      auth: {
        jwt: [
          { issuer: 'causeflow', audience: false, secret: tokenSecret },
          { name: 'revoking', issuer: 'revoking', audience: false, secret: tokenSecret, isRevoked: fail as never }
        ]
      }
    })
    let reached = 0
    app.get('/check', { config: { auth: auth.jwt().check('throws', fail as never) } }, async () => { reached++ })
    app.get('/truthy', { config: { auth: auth.jwt().check('truthy', (() => 1) as never) } }, async () => { reached++ })
    app.get('/revoking', { config: { auth: auth.jwt('revoking') } }, async () => { reached++ })
    t.strictSame(refusalOf(await app.inject({ url: '/check', headers: bearer() })), refusals.undecidable, title)
    t.equal((await app.inject({ url: '/truthy', headers: bearer() })).json().code, 'AUTH_CHECK_FAILED')
    t.equal((await app.inject({ url: '/revoking', headers: bearer({ iss: 'revoking' }) })).json().code, 'AUTH_STORE_UNAVAILABLE', title)
    t.equal(reached, 0)
  }
  t.strictSame(faults, [])
})
