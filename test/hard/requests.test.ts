/**
 * Whole requests as bytes on sockets: good ones, ones with spoiled heads, doubled and bent headers, odd framings and wrong lengths, one after
 * the other on one connection. Whoever reaches a handler is judged there a second time, from the raw headers and the bytes, by jose,
 * Node's crypto and the references: a request that this judge would not let in is a fault, and so are a crash and a 5xx.
 */
import t from 'tap'
import fc from 'fast-check'
import * as jose from 'jose'
import Fastify, { type FastifyRequest } from 'fastify'
import { createHmac } from 'node:crypto'
import { connect } from 'node:net'
import { auth, causeflowAuth } from '../../lib/index.js'
import { authOptions, issueKey, now, token, tokenSecret, watchProcess, webhookSecret } from '../fixtures/app.js'
import { chunks, head, listen, open, readAnswer } from '../fixtures/socket.js'
import { mutation, type Mutation } from './mutations.js'
import { areClaims, bearerOf, keyOf } from './references.js'
import { Counts, long, scaled, seed, settledHeap, table } from './scale.js'

watchProcess(t)

t.setTimeout(scaled(150_000, 3_600_000))

/* What may be sent. */

type Route = 'jwt' | 'admin' | 'key' | 'either' | 'both' | 'tenant' | 'hook' | 'ingest' | 'optional' | 'denied' | 'open'
const urls: Record<Route, string> = { jwt: '/jwt', admin: '/admin', key: '/key', either: '/either', both: '/both', tenant: '/v1/ten_a/things', hook: '/hook', ingest: '/v1/ten_a/ingest', optional: '/optional', denied: '/denied', open: '/open' }
const signedRoutes: readonly Route[] = ['hook', 'ingest']

interface Scenario { route: Route, token: string | null, key: string | null, signature: boolean | null, body: Buffer | null, chunks: number[] | null, spoil: Spoil | null }
interface Wire { method: string, target: string, version: string, headers: Array<[string, string]>, body: Buffer }
type Spoil = { at: 'wire', change: (wire: Wire) => void } | { at: 'bytes', change: (bytes: Buffer) => Buffer }

const tokens: Record<string, string> = {
  member: token(),
  admin: token({ roles: ['admin'] }),
  other: token({ tenant_id: 'ten_b' }),
  homeless: token({ tenant_id: undefined }),
  expired: token({ exp: now / 1000 - 60 }),
  early: token({ nbf: now / 1000 + 60 }),
  forged: token({}, 'another secret that is 32 bytes and more'),
  foreign: token({ iss: 'somebody-else' }),
  unsigned: `${token({}, tokenSecret, { alg: 'none' }).split('.').slice(0, 2).join('.')}.`,
  audience: token({ aud: 'elsewhere' }),
  nonsense: 'not-a-token',
  // Cached before its session was revoked.
  revoked: token({ sub: 'usr_revoked' })
}
const good = new Set(['member', 'admin', 'other', 'homeless'])

const spoils: fc.Arbitrary<Spoil> = fc.oneof(
  { weight: 4, arbitrary: fc.tuple(fc.nat(), mutation).map(([index, mutate]): Spoil => ({ at: 'wire', change: ({ headers }) => bend(headers, index, mutate) })) },
  {
    weight: 3,
    arbitrary: fc.tuple(fc.nat(), fc.boolean(), mutation).map(([index, front, mutate]): Spoil => ({
      at: 'wire',
      change ({ headers }) {
        const [name, value] = headers[index % headers.length]!
        headers.splice(front ? 0 : headers.length, 0, [name.toUpperCase(), oneLine(mutate(value))])
      }
    }))
  },
  {
    weight: 2,
    arbitrary: fc.tuple(fc.nat(), fc.constantFrom<(name: string) => string>((name) => name.toUpperCase(), (name) => `${name} `, (name) => ` ${name}`, (name) => `${name}\t`, (name) => name.replace('-', '_'), () => '', (name) => `${name}\0`, (name) => name.slice(1))).map(([index, rename]): Spoil => ({
      at: 'wire',
      change ({ headers }) {
        const header = headers[index % headers.length]!
        header[0] = rename(header[0])
      }
    }))
  },
  {
    weight: 3,
    arbitrary: fc.constantFrom<ReadonlyArray<readonly [string, string]>>(
      [['content-length', '0']], [['content-length', '5']], [['content-length', '+5']], [['content-length', '0x5']], [['content-length', '-1']], [['content-length', '99999999999999999999']], [['content-length', '5, 5']], [['content-length', '20000']], [['content-length', '3'], ['content-length', '4']],
      [['transfer-encoding', 'chunked']], [['transfer-encoding', 'chunked, identity']], [['transfer-encoding', 'xchunked']], [['transfer-encoding', 'gzip, chunked']], [['transfer-encoding', 'chunked'], ['content-length', '3']], [['transfer-encoding', ' chunked\t']],
      [['content-encoding', 'gzip']], [['content-encoding', 'identity']], [['content-encoding', 'br, gzip']], [['expect', '100-continue']], [['expect', 'nonsense']], [['upgrade', 'websocket'], ['connection', 'upgrade']], [['upgrade', 'h2c'], ['connection', 'upgrade, http2-settings']],
      [['host', 'two']], [['cookie', 'a=b']], [['x-big', 'y'.repeat(9_000)]], [['x-huge', 'y'.repeat(20_000)]], [['content-type', 'application/json; charset=utf-7']], [['content-type', 'application/json; x=1, text/plain']], [['content-type', '']], [['x-causeflow-auth-stand-in', '1']],
      [['authorization', 'Bearer']], [['authorization', 'Basic YTpi']], [['x-api-key', '']], [['x-webhook-signature', '']], [['x-http-method-override', 'GET']], [['connection', 'close, authorization']], [['proxy-authorization', 'Bearer x']]
    ).map((more): Spoil => ({ at: 'wire', change ({ headers }) { headers.push(...more.map(([name, value]): [string, string] => [name, value])) } }))
  },
  { weight: 2, arbitrary: fc.constantFrom('GET', 'HEAD', 'PUT', 'DELETE', 'PATCH', 'OPTIONS', 'TRACE', 'CONNECT', 'QUERY', 'get', 'POST ', '', 'PRI', 'G\0T', 'X'.repeat(300)).map((method): Spoil => ({ at: 'wire', change (wire) { wire.method = method } })) },
  { weight: 2, arbitrary: fc.constantFrom<(target: string) => string>((url) => `/${url}`, (url) => `${url}/`, (url) => `${url}?`, (url) => `${url}?apiKey=x`, (url) => `http://localhost${url}`, (url) => url.toUpperCase(), (url) => `${url}#x`, () => '*', () => '', (url) => url.replace('ten_a', 'ten_b'), (url) => url.replace('ten_a', 'ten_a%2f..%2f'), (url) => url.replace('ten_a', '%74en_a'), (url) => url.replace('ten_a', ''), (url) => `${url}%`, (url) => `${url}%c0%af`, (url) => `/open/..${url}`, (url) => `/open/%2e%2e${url}`, (url) => `${url};x=1`, (url) => `${url}\\`, (url) => `/${'a'.repeat(15_000)}${url}`).map((change): Spoil => ({ at: 'wire', change (wire) { wire.target = change(wire.target) } })) },
  { weight: 1, arbitrary: fc.constantFrom('HTTP/1.0', 'HTTP/0.9', 'HTTP/2.0', 'HTTP/1.2', 'http/1.1', 'HTTP/1.1 ', '').map((version): Spoil => ({ at: 'wire', change (wire) { wire.version = version } })) },
  { weight: 3, arbitrary: fc.tuple(fc.nat(), fc.integer({ min: 0, max: 7 })).map(([index, bit]): Spoil => ({ at: 'bytes', change: (bytes) => { bytes[index % bytes.length]! ^= 1 << bit; return bytes } })) },
  { weight: 3, arbitrary: fc.tuple(fc.nat(), fc.constantFrom('\r', '\n', '\r\n', '\r\n\r\n', ' ', '\0', ':', '\x80', '0\r\n\r\n', 'GET /admin HTTP/1.1\r\nhost: x\r\n\r\n')).map(([index, piece]): Spoil => ({ at: 'bytes', change: (bytes) => Buffer.concat([bytes.subarray(0, index % bytes.length), Buffer.from(piece, 'latin1'), bytes.subarray(index % bytes.length)]) })) },
  { weight: 1, arbitrary: fc.nat().map((index): Spoil => ({ at: 'bytes', change: (bytes) => bytes.subarray(0, index % bytes.length) })) }
)

const scenarios: fc.Arbitrary<Scenario> = fc.record({
  route: fc.constantFrom(...Object.keys(urls) as Route[]),
  token: fc.option(fc.oneof({ weight: 2, arbitrary: fc.constantFrom(...good) }, { weight: 1, arbitrary: fc.constantFrom(...Object.keys(tokens)) }), { freq: 3 }),
  key: fc.option(fc.constantFrom('mine', 'mine', 'other', 'unknown', 'malformed', 'doubled'), { freq: 2 }),
  signature: fc.option(fc.oneof({ weight: 4, arbitrary: fc.constant(true) }, { weight: 1, arbitrary: fc.constant(false) }), { freq: 6 }),
  body: fc.option(fc.oneof(fc.constantFrom('{}', '{"a":1}', ' [1] ', '"é"').map((text) => Buffer.from(text)), fc.uint8Array({ minLength: 1, maxLength: 60 }).map((bytes) => Buffer.from(bytes)), fc.constant(Buffer.alloc(9_000, 32))), { freq: 8 }),
  chunks: fc.option(fc.array(fc.integer({ min: 1, max: 30 }), { maxLength: 4 }), { nil: null, freq: 1 }),
  spoil: fc.option(spoils, { freq: 2 })
})
const connections = fc.tuple(fc.array(scenarios, { minLength: 1, maxLength: 4 }), fc.array(fc.nat(), { maxLength: 2 }))

/** A header is one line: what would end it is a change of the bytes and drawn apart. */
function oneLine (value: string): string {
  return value.replace(/[\r\n]/g, ' ')
}

function bend (headers: Array<[string, string]>, index: number, mutate: Mutation): void {
  const header = headers[index % headers.length]!
  header[1] = oneLine(mutate(header[1]))
}

t.test('nobody gets in whom an independent judge would refuse, and nothing a stranger sends is a crash or a 5xx', async (t) => {
  const faults = watchProcess(t)
  const app = Fastify({ bodyLimit: 8_000, requestTimeout: 20_000 })
  t.teardown(() => app.close())
  // A clock that goes on and back, so that many a body is late and its request decided again.
  let ticks = 0
  const clock = (): number => now + (++ticks % 5 === 0 ? 400 : 0)
  let revoking = false
  const isRevoked = async ({ subject }: { subject: string }): Promise<boolean> => revoking && subject === 'usr_revoked'
  await app.register(causeflowAuth, authOptions({ clock, jwt: { issuer: 'causeflow', audience: 'causeflow-api', secret: tokenSecret, isRevoked } }))
  const rules = {
    jwt: auth.jwt().tenantOptional(),
    admin: auth.jwt().roles('admin'),
    key: auth.apiKey(),
    either: auth.any(auth.jwt(), auth.apiKey()),
    both: auth.all(auth.jwt().tenantOptional(), auth.apiKey()).anyTenant(),
    hook: auth.webhook(),
    ingest: auth.all(auth.apiKey(), auth.webhook()),
    optional: auth.jwt().optional(),
    denied: auth.deny(),
    open: auth.public()
  }
  const wrong: string[] = []
  let reached = 0
  const handler = async (request: FastifyRequest): Promise<object> => {
    reached++
    const route = (request.routeOptions.config as { name?: Route }).name!
    const why = await objection(route, request)
    if (why !== null) wrong.push(`${route}: ${why}: ${JSON.stringify({ url: request.raw.url, headers: request.raw.rawHeaders, body: request.rawBody?.toString('latin1') })}`)
    return { id: request.headers['x-id'] }
  }
  // Any type, so that what is no JSON comes to a signed route's handler and is no 415.
  for (const route of Object.keys(rules) as Array<keyof typeof rules>) app.route({ method: signedRoutes.includes(route) ? ['POST', 'PUT', 'DELETE'] : ['GET', 'POST', 'PUT', 'DELETE', 'PATCH', 'OPTIONS'], url: urls[route].replace('ten_a', ':tenantId'), config: { auth: rules[route], name: route } as never, handler })
  app.route({ method: ['GET', 'POST'], url: '/v1/:tenantId/things', config: { auth: rules.either, name: 'tenant' } as never, handler })
  app.addContentTypeParser('*', { parseAs: 'buffer' }, (_request, body, done) => done(null, body))
  const keys: Record<string, string> = { mine: (await issueKey(app)).plaintextKey, other: (await issueKey(app, { tenantId: 'ten_b' })).plaintextKey, unknown: 'cflo_live_sk_0123456789ABCDEFGHIJKLMNOPQRSTUV000000', malformed: 'cflo_x' }
  keys['doubled'] = `${keys['mine']}, ${keys['other']}`
  const tenants = new Map([[keys['mine'], 'ten_a'], [keys['other'], 'ten_b']])
  const port = await listen(app)

  const verified = new Map<string, Record<string, unknown> | null>()
  async function claimsOf (text: string): Promise<Record<string, unknown> | null> {
    if (!verified.has(text)) {
      verified.set(text, await jose.jwtVerify(text, new TextEncoder().encode(tokenSecret), { algorithms: ['HS256'], issuer: 'causeflow', audience: 'causeflow-api', clockTolerance: 5, currentDate: new Date(now) })
        .then(({ payload }) => areClaims(payload, { issuer: 'causeflow', audience: 'causeflow-api' }, now / 1000) && payload.sub !== 'usr_revoked' ? payload : null, () => null))
    }
    return verified.get(text) ?? null
  }

  /** Why a request should not be where it is; null: it may be. */
  async function objection (route: Route, request: FastifyRequest): Promise<string | null> {
    const { rawHeaders } = request.raw
    const all = (name: string): string[] => rawHeaders.filter((_value, index) => index % 2 === 1 && rawHeaders[index - 1]!.toLowerCase() === name)
    const authorizations = all('authorization')
    const bearers = authorizations.map(bearerOf)
    const keysShown = [...all('x-api-key'), ...bearers.filter((one): one is string => typeof one === 'string' && one.startsWith('cflo_'))]
    const tokensShown = bearers.filter((one) => one !== null && !(typeof one === 'string' && one.startsWith('cflo_')))
    const claims = tokensShown.length === 1 && authorizations.length === 1 && typeof tokensShown[0] === 'string' ? await claimsOf(tokensShown[0]) : null
    const key = keysShown.length === 1 && keyOf(keysShown[0]!) !== null ? tenants.get(keysShown[0]) ?? null : null
    const [signature, ...more] = all('x-webhook-signature')
    const coding = all('content-encoding')
    const isSigned = signature !== undefined && more.length === 0 && request.rawBody !== null && request.rawBody.length > 0 && coding.every((one) => one.trim().toLowerCase() === 'identity') &&
      signature === `sha256=${createHmac('sha256', webhookSecret).update(request.rawBody).digest('hex')}`
    const { tenantId } = request.params as { tenantId?: string }
    const home = (tenant: unknown): boolean => tenantId === undefined || tenant === tenantId
    switch (route) {
      case 'open': return null
      case 'denied': return 'denied'
      case 'jwt': return claims === null ? 'no good token' : null
      case 'admin': return claims !== null && typeof claims['tenant_id'] === 'string' && (claims['roles'] as string[] | undefined)?.includes('admin') ? null : 'no administrator'
      case 'optional': return authorizations.length === 0 || (bearers.length === 1 && bearers[0] === null) || (keysShown.length === 1 && all('x-api-key').length === 0 && authorizations.length === 1) || (claims !== null && claims['tenant_id'] !== undefined) ? null : 'a bad token'
      case 'key': return key === null ? 'no good key' : null
      case 'tenant':
      case 'either':
        if (tokensShown.length > 0 && keysShown.length > 0) return 'two kinds'
        return (claims !== null && typeof claims['tenant_id'] === 'string' && home(claims['tenant_id'])) || (tokensShown.length === 0 && key !== null && home(key)) ? null : 'neither a good token nor a good key'
      case 'both': return claims !== null && key !== null && (claims['tenant_id'] === undefined || claims['tenant_id'] === key) ? null : 'not both'
      case 'hook': return isSigned ? null : 'no good signature'
      case 'ingest': return isSigned && key !== null && home(key) ? null : 'not both'
    }
  }

  function write ({ route, token: name, key, signature, body, chunks }: Scenario, id: number, last: boolean): Wire {
    const signed = signedRoutes.includes(route)
    const sent = body ?? (signed ? Buffer.from('{}') : Buffer.alloc(0))
    const headers: Array<[string, string]> = [['host', 'localhost'], ['x-id', `${id}`]]
    if (last) headers.push(['connection', 'close'])
    if (name !== null) headers.push(['authorization', `Bearer ${tokens[name]}`])
    if (key !== null) headers.push(['x-api-key', keys[key]!])
    if (signature !== null) headers.push(['x-webhook-signature', `sha256=${createHmac('sha256', signature ? webhookSecret : 'wrong').update(sent).digest('hex')}`])
    if (sent.length === 0) return { method: 'GET', target: urls[route], version: 'HTTP/1.1', headers, body: sent }
    headers.push(['content-type', 'application/octet-stream'], chunks === null ? ['content-length', `${sent.length}`] : ['transfer-encoding', 'chunked'])
    return { method: 'POST', target: urls[route], version: 'HTTP/1.1', headers, body: chunks === null ? sent : chunked(sent, chunks) }
  }

  /** What an unspoiled request is answered. */
  function expected ({ route, token: name, key, signature, body }: Scenario): number {
    const signed = signedRoutes.includes(route)
    if (body !== null && body.length > 8_000 && !signed) return statusOf(413)
    return statusOf(signed && (body?.length ?? 2) > 8_000 ? 413 : 200)
    function statusOf (otherwise: number): number {
      const tenant = key === 'mine' ? 'ten_a' : 'ten_b'
      const isGood = name !== null && good.has(name)
      const hasKey = key === 'mine' || key === 'other'
      if (key === 'doubled' && ['key', 'either', 'tenant', 'both', 'ingest'].includes(route)) return 400
      const home = name === 'other' ? 'ten_b' : name === 'homeless' ? null : 'ten_a'
      switch (route) {
        case 'open': return otherwise
        case 'denied': return 403
        case 'jwt': return isGood ? otherwise : 401
        case 'optional': return name === null ? otherwise : !isGood ? 401 : name === 'homeless' ? 403 : otherwise
        case 'admin': return !isGood ? 401 : name === 'admin' ? otherwise : 403
        case 'key': return hasKey ? otherwise : 401
        case 'tenant':
        case 'either': {
          if (name !== null && !isGood) return 401
          if (key !== null && !hasKey) return 401
          if (name !== null && key !== null) return 400
          if (name === null && key === null) return 401
          if (name === 'homeless') return 403
          return route === 'either' || (name !== null ? home : tenant) === 'ten_a' ? otherwise : 403
        }
        case 'both': {
          if ((name !== null && !isGood) || (key !== null && !hasKey) || name === null || key === null) return 401
          return home !== null && home !== tenant ? 403 : otherwise
        }
        case 'hook': return signature === null ? 401 : otherwise === 413 ? 413 : signature ? otherwise : 401
        case 'ingest':
          if (!hasKey || signature === null) return 401
          if (tenant !== 'ten_a') return 403
          return otherwise === 413 ? 413 : signature ? otherwise : 401
      }
    }
  }

  const ofRevoked = { url: '/jwt', headers: { authorization: `Bearer ${tokens['revoked']}` } }
  t.equal((await app.inject(ofRevoked)).statusCode, 200, 'cached')
  revoking = true
  t.equal((await app.inject(ofRevoked)).statusCode, 401)
  // The judge would have objected to the first.
  wrong.length = 0

  const statuses = new Counts<string>()
  const compared = new Counts<number>()
  const surprises: string[] = []
  let requests = 0
  let spoiled = 0
  let silent = 0

  async function run ([list, cuts]: [Scenario[], number[]]): Promise<void> {
    const first = requests
    const clean = list.every(({ spoil }) => spoil === null)
    const bytes = Buffer.concat(list.map((scenario, index) => {
      const wire = write(scenario, ++requests, index === list.length - 1)
      if (scenario.spoil === null) return bytesOf(wire)
      spoiled++
      if (scenario.spoil.at === 'bytes') return scenario.spoil.change(bytesOf(wire))
      scenario.spoil.change(wire)
      return bytesOf(wire)
    }))
    const text = await converse(port, bytes, cuts, clean ? 10_000 : 300)
    if (text === '') silent++
    const seen = [...text.matchAll(/HTTP\/1\.1 (\d{3}) /g)].map(([, status]) => Number(status))
    for (const status of seen) {
      statuses.add(`${status}`)
      if (status >= 500 && status !== 505) surprises.push(`${status} for ${JSON.stringify(bytes.toString('latin1'))}`)
    }
    if (!clean) return
    const wanted = list.map(expected)
    // After a body that was not read the server closes: what was sent behind it is not answered, and must not be.
    const closes = list.findIndex((scenario, index) => wanted[index]! >= 400 && scenario.body !== null && (scenario.chunks !== null || wanted[index] === 413))
    const through = closes < 0 ? wanted : wanted.slice(0, closes + 1)
    if (seen.join() !== through.join()) surprises.push(`${seen.join()} instead of ${through.join()}: ${JSON.stringify(bytes.toString('latin1'))}`)
    const answered = [...text.matchAll(/\{"id":"(\d+)"\}/g)].map(([, id]) => Number(id) - first - 1)
    const entitled = through.flatMap((status, index) => status === 200 ? [index] : [])
    if (answered.join() !== entitled.join()) surprises.push(`the answers are for ${answered.join()} and not for ${entitled.join()}`)
    for (const status of through) compared.add(status)
  }

  const total = scaled(3_500, 120_000)
  const step = 500
  let heap = 0
  let grown = 0
  for (let from = 0; from < total && wrong.length + surprises.length === 0; from += step) {
    const batch = fc.sample(connections, { seed: seed + from, numRuns: step })
    let next = 0
    await Promise.all(Array.from({ length: 64 }, async () => {
      while (next < batch.length) await run(batch[next++]!)
    }))
    if (from === Math.floor(total / step / 2) * step) heap = await settledHeap()
  }
  grown = await settledHeap() - heap

  t.strictSame(wrong, [], 'nobody was let in whom the judge refuses')
  t.strictSame(surprises.slice(0, 5).map((one) => one.replace(/ {50,}/g, '(spaces)')), [], 'every answer was meant')
  t.strictSame(faults, [], 'nothing ended the process or would have')
  t.equal((await app.inject({ url: '/jwt', headers: { authorization: `Bearer ${tokens['member']}` } })).statusCode, 200, 'and it is as well as before')
  t.ok(reached > requests / 10, `${reached} reached a handler`)
  t.ok(grown < 8e6, `${Math.round(grown / 1000)} kB more after the second half`)
  for (const status of [200, 400, 401, 403, 413]) t.ok(compared.get(status) > 0, `${status} was expected and answered ${compared.get(status)} times`)
  table(t, `Hostile requests over sockets, seed ${seed}, ${long ? 'long' : 'CI'} mode`, ['connections', 'requests', 'of them spoiled', 'reached a handler', 'let in wrongly', 'statuses', 'connections without an answer', 'heap after the second half, kB'],
    [[total, requests, spoiled, reached, wrong.length, statuses, silent, Math.round(grown / 1000)]])
})

t.test('a credential that is taken away while a body is held back is not used later than the bound', async (t) => {
  let time = now
  const revoked = new Set<string>()
  let secret: string = webhookSecret
  const app = Fastify()
  t.teardown(() => app.close())
  const jwt = { issuer: 'causeflow', audience: 'causeflow-api', secret: tokenSecret, isRevoked: ({ subject }: { subject: string }) => revoked.has(subject) }
  await app.register(causeflowAuth, authOptions({ clock: () => time, jwt, webhook: { secret: () => secret } }))
  let decided = (): void => {}
  app.addHook('preParsing', (_request, _reply, payload, done) => { done(null, payload); decided() })
  const rules = { token: auth.jwt(), key: auth.apiKey(), either: auth.any(auth.jwt(), auth.apiKey()), both: auth.all(auth.jwt(), auth.apiKey()), hook: auth.webhook(), ingest: auth.all(auth.apiKey(), auth.webhook()) }
  for (const [name, rule] of Object.entries(rules)) app.post(`/${name}`, { config: { auth: rule } }, async () => ({}))
  const port = await listen(app)
  const held = fc.record({
    route: fc.constantFrom(...Object.keys(rules) as Array<keyof typeof rules>),
    body: fc.constantFrom('{"a":1}', '[]', '"a long text, in which there is nothing"'),
    cut: fc.nat(),
    chunked: fc.boolean(),
    cached: fc.boolean(),
    taken: fc.constantFrom('nothing', 'token', 'key', 'secret', 'expiry'),
    age: fc.constantFrom(0, 1, 100, 250, 251, 252, 1_000, 60_000, 3_600_000, -1, -10_000)
  })
  const wrong: string[] = []
  const statuses = new Counts<string>()
  for (const [index, one] of fc.sample(held, { seed, numRuns: scaled(400, 20_000) }).entries()) {
    time = now
    secret = webhookSecret
    const subject = `usr_held_${index}`
    const { plaintextKey, keyId } = await issueKey(app, { tenantId: `ten_${index}` })
    const uses = { token: ['token', 'either', 'both'].includes(one.route), key: ['key', 'both', 'ingest'].includes(one.route), secret: ['hook', 'ingest'].includes(one.route) }
    const headers: Record<string, string> = { 'content-type': 'application/json' }
    if (uses.token) headers['authorization'] = `Bearer ${token({ sub: subject, tenant_id: `ten_${index}` })}`
    if (uses.key) headers['x-api-key'] = plaintextKey
    if (uses.secret) headers['x-webhook-signature'] = `sha256=${createHmac('sha256', webhookSecret).update(one.body).digest('hex')}`
    if (one.cached) await app.inject({ method: 'POST', url: `/${one.route}`, headers, payload: one.body })
    const isDecided = new Promise<void>((resolve) => { decided = resolve })
    const bytes = Buffer.concat([head('POST', `/${one.route}`, { ...headers, ...one.chunked ? { 'transfer-encoding': 'chunked' } : { 'content-length': one.body.length } }), ...one.chunked ? chunks(one.body) : [Buffer.from(one.body)]])
    const end = bytes.length - 1 - one.cut % (one.body.length - 1)
    const socket = await open(port)
    const answer = readAnswer(socket)
    socket.write(bytes.subarray(0, end))
    await isDecided
    if (one.taken === 'token') revoked.add(subject)
    if (one.taken === 'key') await app.causeflowAuth.apiKeys.revoke({ tenantId: `ten_${index}`, keyId })
    if (one.taken === 'secret') secret = 'another secret'
    time += one.taken === 'expiry' ? 66_000 : one.age
    socket.write(bytes.subarray(end))
    const { status } = await answer
    socket.destroy()
    const age = one.taken === 'expiry' ? 66_000 : one.age
    const isTaken = (one.taken === 'token' && uses.token) || (one.taken === 'key' && uses.key) || (one.taken === 'secret' && uses.secret) || (uses.token && age >= 65_000)
    const expected = isTaken && (age < 0 || age > 250) ? 401 : 200
    statuses.add(`${status}`)
    if (status !== expected) wrong.push(`${status} instead of ${expected}: ${JSON.stringify(one)}`)
  }
  t.strictSame(wrong.slice(0, 5), [])
  for (const status of ['200', '401']) t.ok(statuses.get(status) > 20, `${status}: ${statuses.get(status)}`)
  table(t, `Bodies that are held back, seed ${seed}`, ['statuses'], [[statuses]])
})

function bytesOf ({ method, target, version, headers, body }: Wire): Buffer {
  return Buffer.concat([Buffer.from(`${method} ${target} ${version}\r\n${headers.map(([name, value]) => `${name}: ${value}\r\n`).join('')}\r\n`, 'latin1'), body])
}

function chunked (body: Buffer, sizes: readonly number[]): Buffer {
  const parts: Buffer[] = []
  let at = 0
  for (const size of [...sizes, body.length]) {
    const chunk = body.subarray(at, at + size)
    at += size
    if (chunk.length > 0) parts.push(Buffer.from(`${chunk.length.toString(16)}\r\n`), chunk, Buffer.from('\r\n'))
  }
  return Buffer.concat([...parts, Buffer.from('0\r\n\r\n')])
}

/** Sends bytes, cut into segments, and answers all that came back until the server closed, or until it waits for more than it gets. */
function converse (port: number, bytes: Buffer, cuts: readonly number[], patience: number): Promise<string> {
  return new Promise((resolve) => {
    let text = ''
    const socket = connect(port, '127.0.0.1')
    socket.setNoDelay(true).setEncoding('latin1')
    let idle: NodeJS.Timeout
    let links = 0
    // A chain of short waits and not one long one: on a busy machine it is the turns of the loop that count, in each of which an answer could have come.
    const link = (): void => {
      if (++links > patience / 10) socket.destroy()
      else idle = setTimeout(link, 10)
    }
    const wait = (): void => {
      clearTimeout(idle)
      links = 0
      link()
    }
    socket.on('connect', () => {
      const ends = [...new Set(cuts.map((cut) => cut % (bytes.length || 1))), bytes.length].sort((one, other) => one - other)
      let from = 0
      const writeOn = (): void => {
        const end = ends.shift()
        if (end === undefined || socket.destroyed) return
        socket.write(bytes.subarray(from, end))
        from = end
        setImmediate(writeOn)
      }
      wait()
      writeOn()
    })
    socket.on('data', (data: string) => { text += data; wait() })
    socket.on('error', () => {})
    socket.on('close', () => { clearTimeout(idle); resolve(text) })
  })
}
