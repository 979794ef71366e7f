/**
 * The servers that are measured. Each is built in a process of its own and answers `{ app, requests, status? }`: the
 * requests that the client sends in turn, and the status that each must get. `hand` is the least code that gives the
 * same answer, with nothing of ours around it.
 */
import Fastify from 'fastify'
import { createHash, createHmac, hash, timingSafeEqual, verify } from 'node:crypto'
import causeflowAuth, { auth, MemoryApiKeyStore } from '../../dist/index.js'
import { audience, createIssuer, get, hmacToken, jsonBody, many, post, postgres, redisUrl, secret, signature, webhookSecret } from './material.js'

const answer = async () => ({ ok: true })
const bearer = (token) => ({ authorization: `Bearer ${token}` })
const limit = { bodyLimit: 4_000_000 }

export const bare = (requests = [get()]) => async () => {
  const app = Fastify(limit)
  app.get('/', answer)
  app.post('/', answer)
  return { app, requests }
}

/** Tokens: warm where the cache holds them all, cold where it never holds the next one. */
export const tokens = (count, { algorithm = 'RS256', cold = false } = {}) => {
  const make = async () => {
    if (algorithm === 'HS256') return { tokens: many(count, hmacToken), jwt: { issuer: 'causeflow', secret } }
    const issuer = await createIssuer(algorithm)
    return { issuer, tokens: many(count, (index) => issuer.token(index)), jwt: { issuer: issuer.issuer, algorithms: [algorithm] } }
  }
  return {
    async ours () {
      const { tokens, jwt } = await make()
      const app = Fastify()
      await app.register(causeflowAuth, { jwt: { ...jwt, ...(cold ? { tokenCache: { max: Math.floor(count / 4) } } : {}) } })
      app.get('/', answer)
      return { app, requests: tokens.map((token) => get(bearer(token))) }
    },
    async hand () {
      const { tokens, issuer } = await make()
      const app = Fastify()
      app.decorateRequest('principal', null)
      if (cold) {
        app.addHook('onRequest', (request, _reply, done) => {
          const token = request.headers.authorization.slice(7)
          const [header, payload, mac] = token.split('.')
          const signed = token.slice(0, header.length + 1 + payload.length)
          const right = algorithm === 'HS256'
            ? timingSafeEqual(createHmac('sha256', secret).update(signed).digest(), Buffer.from(mac, 'base64url'))
            : verify('sha256', Buffer.from(signed), { key: issuer.publicKey, dsaEncoding: 'ieee-p1363' }, Buffer.from(mac, 'base64url'))
          if (!right) return done(new Error('no'))
          request.principal = JSON.parse(Buffer.from(payload, 'base64url').toString())
          done()
        })
      } else {
        const known = new Map(tokens.map((token, index) => [token, { sub: index, exp: Date.now() / 1000 + 86_400 }]))
        app.addHook('onRequest', (request, _reply, done) => {
          const principal = known.get(request.headers.authorization.slice(7))
          if (principal === undefined || principal.exp * 1000 <= Date.now()) return done(new Error('no'))
          request.principal = principal
          done()
        })
      }
      app.get('/', answer)
      return { app, requests: tokens.map((token) => get(bearer(token))) }
    },
    async 'bare route' () {
      const { tokens } = await make()
      return await bare(tokens.map((token) => get(bearer(token))))()
    },
    '@fastify/jwt + get-jwks': fastifyJwt(true),
    '@fastify/jwt + get-jwks, no cache': fastifyJwt(false),
    async 'fastify-jwt-jwks' () {
      const { tokens, issuer } = await make()
      const { default: plugin } = await import('fastify-jwt-jwks')
      const app = Fastify()
      await app.register(plugin, { jwksUrl: `${issuer.issuer}/.well-known/jwks.json`, audience, issuer: issuer.issuer })
      app.get('/', { preValidation: app.authenticate }, answer)
      return { app, requests: tokens.map((token) => get(bearer(token))) }
    },
    async '@clerk/fastify' () {
      const { tokens, issuer } = await make()
      const { clerkPlugin, getAuth } = await import('@clerk/fastify')
      const app = Fastify()
      const key = `pk_test_${Buffer.from('bench.clerk.accounts.dev$').toString('base64')}`
      await app.register(clerkPlugin, { publishableKey: key, secretKey: 'sk_test_benchmark', jwtKey: issuer.pem })
      app.get('/', async (request, reply) => getAuth(request).isAuthenticated ? { ok: true } : reply.code(401).send({}))
      return { app, requests: tokens.map((token) => get(bearer(token))) }
    },
    async 'jose in a hook' () {
      const { tokens, issuer } = await make()
      const { createRemoteJWKSet, jwtVerify } = await import('jose')
      const keys = createRemoteJWKSet(new URL(`${issuer.issuer}/.well-known/jwks.json`))
      const app = Fastify()
      app.decorateRequest('principal', null)
      app.addHook('onRequest', async (request) => {
        const { payload } = await jwtVerify(request.headers.authorization.slice(7), keys, { issuer: issuer.issuer, audience })
        request.principal = payload
      })
      app.get('/', answer)
      return { app, requests: tokens.map((token) => get(bearer(token))) }
    }
  }

  function fastifyJwt (cache) {
    return async () => {
      const { tokens, issuer } = await make()
      const [{ default: plugin }, { default: buildGetJwks }] = await Promise.all([import('@fastify/jwt'), import('get-jwks')])
      const getJwks = buildGetJwks({ issuersWhitelist: [issuer.issuer] })
      const app = Fastify()
      await app.register(plugin, {
        decode: { complete: true },
        secret: (_request, { header: { kid, alg }, payload: { iss } }) => getJwks.getPublicKey({ kid, domain: iss, alg }),
        verify: { allowedIss: issuer.issuer, allowedAud: audience, cache }
      })
      app.addHook('onRequest', (request) => request.jwtVerify())
      app.get('/', answer)
      return { app, requests: tokens.map((token) => get(bearer(token))) }
    }
  }
}

export const keys = (count, presented = 1000) => ({
  async ours () {
    const app = Fastify()
    await app.register(causeflowAuth, { apiKey: { store: new MemoryApiKeyStore(), quota: count, cache: { max: count * 2 } } })
    app.get('/', { config: { auth: auth.apiKey() } }, answer)
    await app.ready()
    const made = []
    for (let i = 0; i < count; i++) {
      const { plaintextKey } = await app.causeflowAuth.apiKeys.create({ tenantId: `ten_${i}`, name: 'bench' })
      if (made.length < presented) made.push(plaintextKey)
    }
    return { app, requests: made.map((key) => get({ 'x-api-key': key })) }
  },
  async hand () {
    const made = many(count, (index) => `cflo_${createHash('sha256').update(String(index)).digest('hex')}`)
    const known = new Map(made.map((key) => [hash('sha256', key, 'hex'), { key }]))
    const app = Fastify()
    app.decorateRequest('principal', null)
    app.addHook('onRequest', (request, _reply, done) => {
      const principal = known.get(hash('sha256', request.headers['x-api-key'], 'hex'))
      if (principal === undefined) return done(new Error('no'))
      request.principal = principal
      done()
    })
    app.get('/', answer)
    return { app, requests: made.slice(0, presented).map((key) => get({ 'x-api-key': key })) }
  },
  async '@fastify/bearer-auth' () {
    const { default: plugin } = await import('@fastify/bearer-auth')
    const made = many(Math.min(count, 5), (index) => `cflo_${createHash('sha256').update(String(index)).digest('hex')}`)
    const app = Fastify()
    await app.register(plugin, { keys: new Set(made) })
    app.get('/', answer)
    return { app, requests: made.map((key) => get(bearer(key))) }
  },
  'bare route': bare([get({ 'x-api-key': `cflo_${'a'.repeat(64)}` })])
})

/**
 * Keys that no cache holds: each request asks the store. The hand-written code has a Map in place of the store in memory, and asks the
 * same table with PostgreSQL.
 */
export const coldKeys = (where) => {
  const count = 1000
  const digestOf = (key) => hash('sha256', key, 'hex')
  /** A store, with what ends it; a table is of this process alone, and goes with it. */
  const open = async () => {
    if (where === 'memory') return { store: new MemoryApiKeyStore(), async end () {} }
    const [{ default: pg }, { PostgresApiKeyStore }] = await Promise.all([import('pg'), import('../../dist/postgres/index.js')])
    const pool = new pg.Pool(postgres)
    const schema = `causeflow_bench_${process.pid}`
    const table = new PostgresApiKeyStore({ pool, schema })
    const drop = async () => { await pool.query(`drop schema if exists ${schema} cascade`); await pool.end() }
    if (where === 'PostgreSQL') return { store: table, pool, schema, end: drop }
    const [{ default: Redis }, { redisInvalidation, withInvalidation }] = await Promise.all([import('ioredis'), import('../../dist/redis/index.js')])
    const client = new Redis(redisUrl)
    const channel = redisInvalidation({ client, channel: `causeflow-bench-${process.pid}` })
    return { store: withInvalidation(table, channel), pool, schema, async end () { await channel.close(); client.disconnect(); await drop() } }
  }
  /** An application with the plugin over a store, and keys in it. */
  const build = async (store) => {
    const app = Fastify()
    await app.register(causeflowAuth, { apiKey: { store, quota: count, cache: where === 'Redis' ? { max: count / 4 } : false } })
    app.get('/', { config: { auth: auth.apiKey() } }, answer)
    await app.ready()
    const made = []
    for (let i = 0; i < count; i++) made.push((await app.causeflowAuth.apiKeys.create({ tenantId: `ten_${i}`, name: 'bench' })).plaintextKey)
    return { app, made }
  }
  const requests = (made) => made.map((key) => get({ 'x-api-key': key }))
  return {
    async ours () {
      const { store, end } = await open()
      const { app, made } = await build(store)
      return { app, requests: requests(made), end }
    },
    async hand () {
      const { store, pool, schema, end } = await open()
      const { app: maker, made } = await build(store)
      await maker.close()
      const known = new Map(made.map((key) => [digestOf(key), { key }]))
      const app = Fastify()
      app.decorateRequest('holder', null)
      if (where === 'memory') {
        app.addHook('onRequest', (request, _reply, done) => {
          request.holder = known.get(digestOf(request.headers['x-api-key']))
          done(request.holder === undefined ? new Error('no') : undefined)
        })
      } else {
        app.addHook('onRequest', async (request) => {
          const { rows } = await pool.query({ name: 'find', text: `select * from ${schema}.api_key where digest = $1`, values: [Buffer.from(digestOf(request.headers['x-api-key']), 'hex')] })
          if (rows.length === 0 || rows[0].revoked_at !== null) throw new Error('no')
          request.holder = rows[0]
        })
      }
      app.get('/', answer)
      return { app, requests: requests(made), end }
    }
  }
}

export const webhooks = (bytes, secrets = 1) => {
  const body = jsonBody(bytes)
  const requests = [post(body, { 'x-webhook-signature': signature(body) })]
  const list = [...many(secrets - 1, (index) => `whsec_other_${index}`), webhookSecret]
  const parser = (check) => async () => {
    const app = Fastify(limit)
    app.removeContentTypeParser('application/json')
    app.addContentTypeParser('application/json', { parseAs: 'buffer' }, (request, bytes, done) => {
      if (!check(request, bytes)) return done(new Error('no'))
      done(null, JSON.parse(bytes))
    })
    app.post('/', answer)
    return { app, requests }
  }
  const raw = (check, headers) => async () => {
    const { default: plugin } = await import('fastify-raw-body')
    const app = Fastify(limit)
    await app.register(plugin, { field: 'rawBody', global: true, encoding: false, runFirst: true })
    app.addHook('preHandler', async (request) => { if (!await check(request, request.rawBody)) throw new Error('no') })
    app.post('/', answer)
    return { app, requests: headers === undefined ? requests : [post(body, headers())] }
  }
  const byHand = (request, bytes) => list.some((one) => timingSafeEqual(createHmac('sha256', one).update(bytes).digest(), Buffer.from(request.headers['x-webhook-signature'].slice(7), 'hex')))
  return {
    async ours () {
      const app = Fastify(limit)
      await app.register(causeflowAuth, { webhook: { secret: list } })
      app.post('/', { config: { auth: auth.webhook() } }, answer)
      return { app, requests }
    },
    hand: parser(byHand),
    'bare route': bare(requests),
    'fastify-raw-body + createHmac': raw(byHand),
    async 'fastify-raw-body + @octokit/webhooks-methods' () {
      const { verify } = await import('@octokit/webhooks-methods')
      return await raw((request, bytes) => verify(webhookSecret, bytes.toString(), request.headers['x-webhook-signature']))()
    },
    async 'fastify-raw-body + standardwebhooks' () {
      const { Webhook } = await import('standardwebhooks')
      const webhook = new Webhook(webhookSecret)
      const now = new Date()
      const headers = { 'webhook-id': 'msg_1', 'webhook-timestamp': String(Math.floor(now.getTime() / 1000)), 'webhook-signature': webhook.sign('msg_1', now, body.toString()) }
      return await raw((request, bytes) => { webhook.verify(bytes, request.headers); return true }, () => headers)()
    }
  }
}

/** Rules of two: hand-written, one Map each. */
export const combined = (kind) => {
  const made = many(1000, hmacToken)
  const plaintext = many(1000, (index) => `cflo_${createHash('sha256').update(String(index)).digest('hex')}`)
  return {
    async ours () {
      const app = Fastify()
      await app.register(causeflowAuth, { jwt: { issuer: 'causeflow', secret }, apiKey: { store: new MemoryApiKeyStore(), quota: 2000 } })
      const rule = kind === 'any' ? auth.any(auth.jwt(), auth.apiKey()) : kind === 'all' ? auth.all(auth.jwt(), auth.apiKey()) : auth.jwt().roles('admin').tenant('tenant')
      app.get(kind === 'conditions' ? '/:tenant' : '/', { config: { auth: rule } }, answer)
      await app.ready()
      const issued = []
      for (let i = 0; i < 1000; i++) issued.push((await app.causeflowAuth.apiKeys.create({ tenantId: 'ten_bench', name: 'bench' })).plaintextKey)
      return { app, requests: requests(issued) }
    },
    async hand () {
      const byToken = new Map(made.map((token) => [token, { exp: Date.now() / 1000 + 86_400, roles: ['admin'], tenantId: 'ten_bench' }]))
      const byKey = new Map(plaintext.map((key) => [hash('sha256', key, 'hex'), { tenantId: 'ten_bench' }]))
      const app = Fastify()
      app.decorateRequest('principal', null)
      app.addHook('onRequest', (request, _reply, done) => {
        const { authorization, 'x-api-key': key } = request.headers
        const token = authorization === undefined ? undefined : byToken.get(authorization.slice(7))
        const holder = key === undefined ? undefined : byKey.get(hash('sha256', key, 'hex'))
        const isToken = token !== undefined && token.exp * 1000 > Date.now()
        const right = kind === 'any' ? isToken || holder !== undefined : kind === 'all' ? isToken && holder?.tenantId === token.tenantId : isToken && token.roles.includes('admin') && token.tenantId === request.params.tenant
        if (!right) return done(new Error('no'))
        request.principal = token ?? holder
        done()
      })
      app.get(kind === 'conditions' ? '/:tenant' : '/', answer)
      return { app, requests: requests(plaintext) }
    },
    async '@fastify/auth' () {
      const [{ default: fastifyAuth }, { default: fastifyJwt }] = await Promise.all([import('@fastify/auth'), import('@fastify/jwt')])
      const byKey = new Set(plaintext.map((key) => hash('sha256', key, 'hex')))
      const app = Fastify()
      await app.register(fastifyJwt, { secret, verify: { allowedIss: 'causeflow', cache: true } })
      await app.register(fastifyAuth)
      const token = (request) => request.jwtVerify()
      const key = async (request) => { if (!byKey.has(hash('sha256', request.headers['x-api-key'] ?? '', 'hex'))) throw new Error('no') }
      app.get('/', { onRequest: app.auth([token, key], { relation: kind === 'all' ? 'and' : 'or' }) }, answer)
      return { app, requests: requests(plaintext) }
    }
  }

  function requests (issued) {
    if (kind === 'conditions') return made.map((token) => get(bearer(token), '/ten_bench'))
    return made.map((token, index) => get(kind === 'all' ? { ...bearer(token), 'x-api-key': issued[index] } : index % 2 === 0 ? bearer(token) : { 'x-api-key': issued[index] }))
  }
}

/** A route without a rule: the same application with the plugin and without. */
export const unguarded = (options, body) => {
  const requests = body === undefined ? [get()] : [post(body)]
  return {
    async ours () {
      const app = Fastify(limit)
      await app.register(causeflowAuth, { default: auth.public(), ...options })
      app.get('/', answer)
      app.post('/', answer)
      return { app, requests }
    },
    'bare route': bare(requests)
  }
}
export const withTokens = { jwt: { issuer: 'causeflow', secret } }
export const withWebhooks = { ...withTokens, webhook: { secret: webhookSecret } }

/** Refusals, against a hook that answers 401 to everybody. */
export const refused = (kind) => {
  const body = jsonBody(kind === 'signature 1 MB' ? 1_000_000 : 1000)
  const make = async () => {
    const issuer = await createIssuer()
    const good = issuer.token(1)
    const forged = many(500, (index) => `${good.slice(0, good.lastIndexOf('.'))}.${Buffer.from(createHash('sha256').update(String(index)).digest('hex').repeat(4)).toString('base64url')}`)
    const requests = {
      absent: () => [get()],
      malformed: () => [get(bearer('nonsense'))],
      expired: () => many(200, (index) => get(bearer(issuer.token(index, { exp: 1_600_000_000 })))),
      forged: () => forged.map((token) => get(bearer(token))),
      'unknown key': () => many(2000, (index) => get({ 'x-api-key': `cflo_${createHash('sha256').update(String(index)).digest('hex')}` })),
      'signature 1 kB': () => [post(body, { 'x-webhook-signature': `sha256=${'a'.repeat(64)}` }, '/hook')],
      'signature 1 MB': () => [post(body, { 'x-webhook-signature': `sha256=${'a'.repeat(64)}` }, '/hook')],
      'signature form 1 kB': () => [post(body, { 'x-webhook-signature': 'sha256=A' }, '/hook')]
    }[kind]()
    return { issuer, requests }
  }
  return {
    async ours () {
      const { issuer, requests } = await make()
      const app = Fastify(limit)
      await app.register(causeflowAuth, { jwt: { issuer: issuer.issuer }, apiKey: { store: new MemoryApiKeyStore() }, webhook: { secret: webhookSecret } })
      app.get('/', { config: { auth: kind === 'unknown key' ? auth.apiKey() : auth.jwt() } }, answer)
      app.post('/hook', { config: { auth: auth.webhook() } }, answer)
      return { app, requests, status: 401 }
    },
    async 'bare 401' () {
      const { requests } = await make()
      const app = Fastify(limit)
      app.addHook('onRequest', (_request, _reply, done) => { done(Object.assign(new Error('no'), { statusCode: 401, code: 'NO' })) })
      app.get('/', answer)
      app.post('/hook', answer)
      return { app, requests, status: 401 }
    }
  }
}

/** The same request in applications of different size, with the plugin or without. */
export const routes = (count, plugin = true) => async () => {
  const app = Fastify()
  if (plugin) await app.register(causeflowAuth, { jwt: { issuer: 'causeflow', secret } })
  for (let i = 0; i < count; i++) app.get(`/v1/resource-${i}/:id`, plugin ? { config: { auth: auth.jwt().roles('admin') } } : {}, answer)
  return { app, requests: many(1000, hmacToken).map((token, index) => get(bearer(token), `/v1/resource-${index % Math.min(count, 10)}/x`)) }
}
