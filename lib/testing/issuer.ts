/** A token issuer for tests: real keys, a real key set over loopback HTTP, real signatures. */
import { generateKeyPair, sign } from 'node:crypto'
import type { KeyObject } from 'node:crypto'
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { promisify } from 'node:util'
import { configError } from '../errors.js'

export interface TestIssuerOptions {
  /** Milliseconds since the epoch, for the times in tokens. Default: Date.now. Give the plugin the same one. */
  clock?: () => number
  /** The `aud` of tokens. Default: https://api.causeflow.ai. */
  audience?: string
}

/** Claims to add to a token, or to replace; undefined takes one out. */
export type TestClaims = Readonly<Record<string, unknown>>

export interface TestIssuer {
  /** The issuer's URL on this machine, as tokens have it in `iss`. */
  readonly issuer: string
  /** The current public key in PEM, for a `jwt.publicKey` that needs no network. */
  readonly publicKey: string
  /** The id of the current key. */
  readonly keyId: string
  /** How many requests the issuer has received. */
  readonly requests: number
  /** The `jwt` option for tokens of this issuer. With Clerk's session tokens use `clerk({ issuer: testIssuer.issuer })`. */
  jwtOptions (): { issuer: string, audience: string }
  /** A good token with CauseFlow's claims: a member of a tenant, for five minutes. */
  token (claims?: TestClaims, header?: TestClaims): string
  /** A token that expired an hour ago. */
  expired (claims?: TestClaims): string
  /** A token under the current key id that another key signed. */
  forged (claims?: TestClaims): string
  /** A session token as Clerk makes them: an administrator of an organisation, for one minute. */
  clerkSession (version?: 1 | 2, claims?: TestClaims): string
  /**
   * Signs with a new key from now on. The old one leaves the key set, unless `keepOld`.
   * `sameKeyId` gives the new key the old one's id, as Clerk does.
   */
  rotate (options?: { keepOld?: boolean, sameKeyId?: boolean }): Promise<void>
  /** Whether the issuer answers 503 to everything. */
  outage (on: boolean): void
  /** Milliseconds by which every answer is late. */
  delay (milliseconds: number): void
  /** Stops the issuer and drops its connections. */
  close (): Promise<void>
}

/**
 * Starts an issuer on a free port of this machine. It does not keep the process alive. It signs whatever it is told to, so it
 * refuses to start with NODE_ENV=production.
 */
export async function createTestIssuer (options: TestIssuerOptions = {}): Promise<TestIssuer> {
  if (process.env.NODE_ENV === 'production') throw configError('option', 'createTestIssuer signs tokens for anybody: it does not start with NODE_ENV=production')
  const { clock = Date.now, audience = 'https://api.causeflow.ai' } = options
  const [first, forger] = await Promise.all([createSigningKey('test-key-1'), createSigningKey('test-key-1')])
  let current = first
  let published = [first]
  let generation = 1
  let requests = 0
  let down = false
  let late = 0

  const server = createServer((request, response) => {
    requests++
    setTimeout(() => { answer(request.url ?? '', response) }, late).unref()
  })
  server.unref()
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const issuer = `http://127.0.0.1:${(server.address() as AddressInfo).port}`

  return {
    issuer,
    get publicKey () { return current.publicKey.export({ type: 'spki', format: 'pem' }) as string },
    get keyId () { return current.keyId },
    get requests () { return requests },
    jwtOptions: () => ({ issuer, audience }),
    token: (claims, header) => signToken(current, { ...template(), ...claims }, header),
    expired: (claims) => signToken(current, { ...template(), iat: now() - 3900, exp: now() - 3600, ...claims }),
    forged: (claims) => signToken({ ...forger, keyId: current.keyId }, { ...template(), ...claims }),
    clerkSession: (version = 2, claims) => signToken(current, { ...session(version), ...claims }),
    async rotate ({ keepOld = false, sameKeyId = false } = {}) {
      const next = await createSigningKey(sameKeyId ? current.keyId : `test-key-${++generation}`)
      published = keepOld ? [...published, next] : [next]
      current = next
    },
    outage (on) { down = on },
    delay (milliseconds) { late = milliseconds },
    async close () {
      const closed = once(server, 'close')
      server.close()
      server.closeAllConnections()
      await closed
    }
  }

  function answer (url: string, response: ServerResponse): void {
    if (down) return send(response, 503, { error: 'unavailable' })
    switch (url) {
      case '/.well-known/jwks.json': return send(response, 200, { keys: published.map(({ keyId, publicKey }) => ({ ...publicKey.export({ format: 'jwk' }), use: 'sig', alg: 'RS256', kid: keyId })) })
      case '/.well-known/openid-configuration': return send(response, 200, { issuer, jwks_uri: `${issuer}/.well-known/jwks.json` })
      default: return send(response, 404, { error: 'not_found' })
    }
  }

  function now (): number {
    return Math.floor(clock() / 1000)
  }

  function template (): TestClaims {
    return {
      sub: 'usr_01HX9VTPQR3KF8MZWBYD5N6JCE',
      email: 'user@example.com',
      tenant_id: 'ten_EXAMPLE_01HX9VTPQR3KF8MZ',
      roles: ['member'],
      iss: issuer,
      aud: audience,
      iat: now(),
      exp: now() + 300
    }
  }

  function session (version: 1 | 2): TestClaims {
    const common = { sub: 'user_2EXAMPLE', sid: 'sess_2EXAMPLE', azp: 'https://app.example.com', iss: issuer, iat: now(), nbf: now() - 10, exp: now() + 60, jti: 'b4a2c5f8e7d6', fva: [0, -1] }
    return version === 1
      ? { ...common, org_id: 'org_2EXAMPLE', org_role: 'org:admin', org_slug: 'acme', org_permissions: ['org:dashboard:read', 'org:dashboard:manage', 'org:teams:read'] }
      : { ...common, v: 2, fea: 'o:dashboard,o:teams', o: { id: 'org_2EXAMPLE', rol: 'admin', slg: 'acme', per: 'manage,read', fpm: '3,2' } }
  }
}

/** The header of a request with a bearer credential. */
export function bearer (token: string): { authorization: string } {
  return { authorization: `Bearer ${token}` }
}

interface SigningKey { keyId: string, publicKey: KeyObject, privateKey: KeyObject }

async function createSigningKey (keyId: string): Promise<SigningKey> {
  return { keyId, ...await promisify(generateKeyPair)('rsa', { modulusLength: 2048 }) }
}

function signToken ({ keyId, privateKey }: SigningKey, claims: TestClaims, header: TestClaims = {}): string {
  const signed = `${encode({ alg: 'RS256', typ: 'JWT', kid: keyId, ...header })}.${encode(claims)}`
  return `${signed}.${sign('sha256', Buffer.from(signed), privateKey).toString('base64url')}`
}

function encode (value: object): string {
  return Buffer.from(JSON.stringify(value)).toString('base64url')
}

function send (response: ServerResponse, status: number, body: object): void {
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body))
}
