/** Credentials for the servers that are measured: real keys and real signatures, made when a server starts. */
import { createHmac, generateKeyPairSync, sign } from 'node:crypto'
import { createServer } from 'node:http'

export const audience = 'https://api.causeflow.ai'
export const secret = 'a secret of the benchmark alone, of 32 bytes and more'
export const webhookSecret = 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw'

/** Where the cases of stores look for a server: on this machine, or where the usual variables say. */
export const postgres = { host: process.env.PGHOST ?? '127.0.0.1', port: Number(process.env.PGPORT ?? 5432), user: process.env.PGUSER ?? 'postgres', database: process.env.PGDATABASE ?? 'test', password: process.env.PGPASSWORD }
export const redisUrl = process.env.REDIS_URL ?? 'redis://127.0.0.1:6379'

const encode = (value) => Buffer.from(JSON.stringify(value)).toString('base64url')
const algorithms = {
  RS256: () => generateKeyPairSync('rsa', { modulusLength: 2048 }),
  ES256: () => generateKeyPairSync('ec', { namedCurve: 'P-256' })
}

/** An issuer with its key set on loopback HTTP. */
export async function createIssuer (algorithm = 'RS256') {
  const { privateKey, publicKey } = algorithms[algorithm]()
  const jwk = { ...publicKey.export({ format: 'jwk' }), kid: 'bench', alg: algorithm, use: 'sig' }
  const server = createServer((_request, response) => { response.setHeader('content-type', 'application/json'); response.end(JSON.stringify({ keys: [jwk] })) })
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve))
  server.unref()
  const issuer = `http://127.0.0.1:${server.address().port}`
  return {
    issuer,
    publicKey,
    pem: publicKey.export({ type: 'spki', format: 'pem' }),
    token (index, more = {}) {
      const signed = `${encode({ alg: algorithm, typ: 'JWT', kid: 'bench' })}.${encode({ ...claims(index), iss: issuer, aud: audience, ...more })}`
      return `${signed}.${sign('sha256', Buffer.from(signed), { key: privateKey, dsaEncoding: 'ieee-p1363' }).toString('base64url')}`
    }
  }
}

export function hmacToken (index) {
  const signed = `${encode({ alg: 'HS256', typ: 'JWT' })}.${encode({ ...claims(index), iss: 'causeflow', aud: audience })}`
  return `${signed}.${createHmac('sha256', secret).update(signed).digest('base64url')}`
}

// About 700 characters a token, as Clerk's are.
function claims (index) {
  const now = Math.floor(Date.now() / 1000)
  return { sub: `usr_${index}`, email: `user${index}@example.com`, tenant_id: 'ten_bench', roles: ['admin', 'member'], iat: now, nbf: now - 5, exp: now + 86_400, azp: 'https://app.example.com', sid: `sess_${index}`, v: 2, sts: 'active' }
}

export const many = (count, make) => Array.from({ length: count }, (_, index) => make(index))

/** A body of about so many bytes. */
export function jsonBody (bytes) {
  const item = { id: 'inc_01HX9VT', severity: 'high', tags: ['api', 'latency'], value: 12.5, ok: true }
  const items = many(Math.max(1, Math.round(bytes / (JSON.stringify(item).length + 1))), () => item)
  return Buffer.from(JSON.stringify({ event: 'incident.created', timestamp: '2026-01-01T00:00:00Z', tenantId: 'ten_bench', data: { items } }))
}

export function signature (body, key = webhookSecret) {
  return `sha256=${createHmac('sha256', key).update(body).digest('hex')}`
}

/** A request as it goes over the socket. */
export function get (headers = {}, url = '/') {
  return Buffer.from(`GET ${url} HTTP/1.1\r\nhost: bench\r\n${lines(headers)}\r\n`)
}

export function post (body, headers = {}, url = '/') {
  return Buffer.concat([Buffer.from(`POST ${url} HTTP/1.1\r\nhost: bench\r\ncontent-type: application/json\r\ncontent-length: ${body.length}\r\n${lines(headers)}\r\n`), body])
}

function lines (headers) {
  return Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`).join('')
}
