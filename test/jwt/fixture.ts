/** What the tests of the token room share: tokens of any form, an issuer whose answers are scripted, and complete settings. */
import { createHmac, generateKeyPairSync, sign } from 'node:crypto'
import type { KeyObject } from 'node:crypto'
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { RequestListener } from 'node:http'
import type { AddressInfo } from 'node:net'
import Fastify from 'fastify'
import { isAuthError } from '../../lib/errors.js'
import { registerSignatureCheck } from '../../lib/fastify-jwt.js'
import type { Algorithm } from '../../lib/jwt/algorithm.js'
import { parseToken } from '../../lib/jwt/bearer.js'
import { causeflowClaims } from '../../lib/jwt/claims.js'
import { createTokenVerifier } from '../../lib/jwt/verify.js'
import type { SignatureCheck, TokenIssuerSettings, TokenVerifier, TokenVerifierTools } from '../../lib/jwt/verify.js'

export interface Pair { publicKey: KeyObject, privateKey: KeyObject }
export type Json = Record<string, unknown>

export const rsa = (modulusLength = 2048, publicExponent = 65537): Pair => generateKeyPairSync('rsa', { modulusLength, publicExponent })
export const ec = (namedCurve: string): Pair => generateKeyPairSync('ec', { namedCurve })
export const ed25519 = (): Pair => generateKeyPairSync('ed25519')

export const pemOf = (pair: Pair): string => pair.publicKey.export({ type: 'spki', format: 'pem' }) as string
export const jwkOf = (pair: Pair, members: Json = {}): Json => ({ ...pair.publicKey.export({ format: 'jwk' }), kid: 'k1', use: 'sig', alg: 'RS256', ...members })

/** The eight points of low order of Ed25519 as keys, in all encodings that a library may read: 14, six of them not canonical. */
export const lowOrderPoints: readonly string[] = [
  `00${'00'.repeat(31)}`, `01${'00'.repeat(31)}`, `ec${'ff'.repeat(30)}7f`, `ed${'ff'.repeat(30)}7f`, `ee${'ff'.repeat(30)}7f`,
  '26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05', 'c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a'
].flatMap((point) => [point, point.slice(0, 62) + (Number.parseInt(point.slice(62), 16) | 0x80).toString(16)])

export const encode = (value: unknown): string => Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)).toString('base64url')

/** A token of any header and payload, well signed. */
export function mint (header: unknown, payload: unknown, key: KeyObject | string, algorithm: Algorithm = 'RS256'): string {
  const signed = `${encode(header)}.${encode(payload)}`
  const bytes = Buffer.from(signed)
  const hash = `sha${algorithm.slice(2)}`
  const signature = typeof key === 'string'
    ? createHmac('sha256', key).update(bytes).digest()
    : algorithm === 'EdDSA'
      ? sign(null, bytes, key)
      : algorithm.startsWith('PS')
        ? sign(hash, bytes, { key, padding: 6, saltLength: -1 })
        : sign(hash, bytes, { key, dsaEncoding: 'ieee-p1363' })
  return `${signed}.${signature.toString('base64url')}`
}

export const start = 1_700_000_000_000
/** A clock that stands still until it is moved. */
export function standingClock (): { (): number, tick: (seconds: number) => void } {
  let now = start
  return Object.assign(() => now, { tick (seconds: number) { now += seconds * 1000 } })
}

export const issuer = 'https://issuer.example.com'
export const audience = 'https://api.causeflow.ai'
export const header = (members: Json = {}): Json => ({ alg: 'RS256', typ: 'JWT', kid: 'k1', ...members })
export const claims = (members: Json = {}): Json => ({ iss: issuer, sub: 'usr_1', aud: audience, exp: start / 1000 + 60, tenant_id: 'ten_1', roles: ['admin'], email: 'user@example.com', ...members })

export const settings = (members: Partial<TokenIssuerSettings> = {}): TokenIssuerSettings => ({
  name: 'default',
  issuer,
  audience: [audience],
  algorithms: ['RS256'],
  keys: { from: 'jwks', url: `${issuer}/.well-known/jwks.json` },
  claims: causeflowClaims(),
  authorizedParties: null,
  azp: 'off',
  clockTolerance: 5,
  tokenCache: { max: 100, maxBytes: 1e6 },
  keySet: { maxAge: 600, cooldown: 30, timeLimit: 5, staleFor: 3600 },
  isRevoked: null,
  ...members
})

const checks = new Map<string, Promise<SignatureCheck>>()
/** The real signature check for these algorithms. */
export function checkOf (algorithms: readonly Algorithm[]): Promise<SignatureCheck> {
  const name = algorithms.join()
  const check = checks.get(name) ?? registerSignatureCheck(Fastify(), algorithms)
  checks.set(name, check)
  return check
}

export async function verifierOf (members: Partial<TokenIssuerSettings> = {}, tools: Partial<TokenVerifierTools> = {}): Promise<TokenVerifier> {
  const complete = settings(members)
  return createTokenVerifier(complete, { check: await checkOf(complete.algorithms), clock: () => start, fetch: unreachable, random: () => 0.5, ...tools })
}

/** A fetch of tests that must not ask anybody. */
export const unreachable: typeof fetch = async () => { throw new Error('The network was asked') }

/** A fetch that answers whatever `answer` gives at the moment. */
export function scripted (answer: () => unknown): { fetch: typeof fetch, asked: string[] } {
  const asked: string[] = []
  return {
    asked,
    fetch: async (url) => {
      asked.push(String(url))
      const body = await answer()
      if (body instanceof Response) return body
      return new Response(typeof body === 'string' ? body : JSON.stringify(body))
    }
  }
}

/** What a request with this token comes to: the principal, or `code reason`. */
export async function outcome (work: () => unknown): Promise<unknown> {
  try {
    return await work()
  } catch (error) {
    if (!isAuthError(error)) throw error
    return `${error.code} ${error.reason}`
  }
}

/** The principal of a token that is remembered; null where it is not. */
export function recall (verifier: TokenVerifier, token: string): ReturnType<TokenVerifier['confirm']> | null {
  const verified = verifier.fromCache(token)
  return verified === null ? null : verifier.confirm(verified)
}

/** As a request does: from the cache, and verified otherwise. */
export const present = (verifier: TokenVerifier, token: string): Promise<unknown> =>
  outcome(() => recall(verifier, token) ?? verifier.verify(parseToken(token)))

/** A server on this machine. */
export async function listen (t: { teardown (work: () => void): unknown }, listener: RequestListener): Promise<{ url: string, requests: () => number }> {
  let requests = 0
  const server = createServer((request, response) => {
    requests++
    listener(request, response)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => {
    server.close()
    server.closeAllConnections()
  })
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, requests: () => requests }
}
