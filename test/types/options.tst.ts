import { Type } from '@sinclair/typebox'
import type { FastifyRequest } from 'fastify'
import { describe, expect, test } from 'tstyche'
import {
  MemoryApiKeyStore, MemoryReplayStore, apiKeySecret, auth, causeflow, causeflowClaims, clerk, clerkSession, github, hashedSecret, slack, standardWebhooks, stripe,
  type ApiKeyOptions, type CauseflowAuthOptions, type ClaimMapping, type JwtOptions, type JwtPrincipal, type Principal, type WebhookOptions
} from '../../lib/index.js'

const issuer = 'https://acme.clerk.accounts.dev'
const store = new MemoryApiKeyStore()

describe('a secret resolver', () => {
  test('may name the generics of its route, and nothing that no request is', () => {
    expect<{ secret: (request: FastifyRequest<{ Params: { tenantId: string } }>) => string }>().type.toBeAssignableTo<WebhookOptions>()
    expect<{ secret: (request: FastifyRequest<{ Params: { tenantId: string } }>, proved: Principal | null) => Promise<null> }>().type.toBeAssignableTo<WebhookOptions>()
    expect<{ secret: (request: string) => string }>().type.not.toBeAssignableTo<WebhookOptions>()
    expect<{ secret: () => number }>().type.not.toBeAssignableTo<WebhookOptions>()
  })
})

describe('the options', () => {
  test('may all be left out', () => {
    expect<{}>().type.toBeAssignableTo<CauseflowAuthOptions>()
  })

  test('are one of a kind or several', () => {
    expect<{ jwt: { issuer: string } }>().type.toBeAssignableTo<CauseflowAuthOptions>()
    expect<{ jwt: Array<{ issuer: string, name: string }> }>().type.toBeAssignableTo<CauseflowAuthOptions>()
    expect<{ webhook: Array<{ secret: string, name: string }> }>().type.toBeAssignableTo<CauseflowAuthOptions>()
    expect<{ apiKey: Array<{ store: MemoryApiKeyStore }> }>().type.not.toBeAssignableTo<CauseflowAuthOptions>()
  })

  test('take what the package makes for them', () => {
    const options = {
      default: auth.any(auth.jwt(), auth.apiKey()),
      jwt: [clerk({ issuer }), { name: 'own', issuer: 'causeflow', audience: 'causeflow-api', secret: 'x'.repeat(32), claims: causeflowClaims() }],
      apiKey: { store, cache: { ttl: 5 }, environments: ['live'] },
      webhook: [
        { name: 'keys', scheme: causeflow(), secret: apiKeySecret() },
        { name: 'github', scheme: github(), secret: hashedSecret('s'), replay: new MemoryReplayStore() },
        { name: 'stripe', scheme: stripe(), secret: ['old', new Uint8Array(32)] },
        { name: 'slack', scheme: slack(), secret: async () => null },
        { name: 'clerk', scheme: standardWebhooks(), secret: () => ({ secrets: ['s'], tenantId: 'ten_1' }) }
      ],
      tenant: false,
      clock: Date.now
    } satisfies CauseflowAuthOptions
    expect(options).type.toBeAssignableTo<CauseflowAuthOptions>()
  })

  test('refuse other types', () => {
    expect<{ issuer: URL }>().type.not.toBeAssignableTo<JwtOptions>()
    expect<{ audience: string }>().type.not.toBeAssignableTo<JwtOptions>()
    expect<{ issuer: string, algorithms: Array<'none'> }>().type.not.toBeAssignableTo<JwtOptions>()
    expect<{ issuer: string, audience: true }>().type.not.toBeAssignableTo<JwtOptions>()
    expect<{ issuer: string, warmup: true }>().type.not.toBeAssignableTo<JwtOptions>()
    expect<{ store: MemoryApiKeyStore, query: true }>().type.not.toBeAssignableTo<ApiKeyOptions>()
    expect<{ store: MemoryApiKeyStore, environments: string[] }>().type.not.toBeAssignableTo<ApiKeyOptions>()
    expect<{ store: Map<string, string> }>().type.not.toBeAssignableTo<ApiKeyOptions>()
    expect<{ secret: null }>().type.not.toBeAssignableTo<WebhookOptions>()
    expect<{ secret: () => number }>().type.not.toBeAssignableTo<WebhookOptions>()
    expect<{ tenant: true }>().type.not.toBeAssignableTo<CauseflowAuthOptions>()
    expect<{ default: 'jwt' }>().type.not.toBeAssignableTo<CauseflowAuthOptions>()
  })

  test('under exactOptionalPropertyTypes an absent value is left out, not undefined', () => {
    expect<{ issuer: string, audience: string | undefined }>().type.not.toBeAssignableTo<JwtOptions>()
    expect<{ jwt: undefined }>().type.not.toBeAssignableTo<CauseflowAuthOptions>()
  })
})

describe('a secret resolver', () => {
  test('is given the request and what is proved', () => {
    const options: WebhookOptions = {
      secret (request, proved) {
        expect(request).type.toBe<FastifyRequest>()
        expect(proved).type.toBe<Principal | null>()
        return proved?.scheme === 'apiKey' ? { secrets: proved.keyId, tenantId: proved.tenantId } : null
      }
    }
    expect(options).type.toBe<WebhookOptions>()
  })
})

describe('isRevoked', () => {
  test('is given the principal of a token', () => {
    const options: JwtOptions = { issuer, isRevoked: async (principal) => { expect(principal).type.toBe<JwtPrincipal>(); return false } }
    expect(options).type.toBe<JwtOptions>()
  })
})

describe('a claim mapping', () => {
  const schema = Type.Object({ org: Type.String(), groups: Type.Array(Type.String()) })

  test('reads claims of its schema\'s type', () => {
    const mapping: ClaimMapping<typeof schema> = {
      schema,
      principal (claims) {
        expect(claims).type.toBe<{ org: string, groups: string[] }>()
        return { tenantId: claims.org, roles: claims.groups, scopes: [], email: null }
      }
    }
    expect<{ issuer: string, claims: ClaimMapping<typeof schema> }>().type.toBeAssignableTo<JwtOptions>()
    expect(mapping).type.toBeAssignableTo<ClaimMapping<typeof schema>>()
    expect(clerkSession()).type.toBeAssignableTo<NonNullable<JwtOptions['claims']>>()
  })

  test('answers a whole principal', () => {
    expect<{ schema: typeof schema, principal: () => { tenantId: string } }>().type.not.toBeAssignableTo<ClaimMapping<typeof schema>>()
    expect<{ schema: typeof schema, principal: () => Promise<{ tenantId: null, roles: [], scopes: [], email: null }> }>().type.not.toBeAssignableTo<ClaimMapping<typeof schema>>()
  })
})
