import { describe, expect, test } from 'tstyche'
import { auth, clerk, type ApiKeyOptions, type CauseflowAuthOptions, type JwtOptions, type MemoryApiKeyStore, type WebhookOptions } from '../../../lib/index.js'

describe('without exactOptionalPropertyTypes', () => {
  test('what an environment may lack is given as it is', () => {
    expect<{ jwt: undefined, apiKey: undefined, webhook: undefined, tenant: undefined, default: undefined }>().type.toBeAssignableTo<CauseflowAuthOptions>()
    expect<{ issuer: string, audience: string | undefined, authorizedParties: string[] | undefined, secret: string | undefined }>().type.toBeAssignableTo<JwtOptions>()
    expect<{ store: MemoryApiKeyStore, cache: { ttl: number | undefined } | undefined }>().type.toBeAssignableTo<ApiKeyOptions>()
  })

  test('what is required is not', () => {
    expect<{ issuer: string | undefined }>().type.not.toBeAssignableTo<JwtOptions>()
    expect<{ secret: string | undefined }>().type.not.toBeAssignableTo<WebhookOptions>()
    expect<{ store: undefined }>().type.not.toBeAssignableTo<ApiKeyOptions>()
  })

  test('rules and helpers are as strict as ever', () => {
    expect({ jwt: clerk({ issuer: 'https://acme.clerk.accounts.dev' }) }).type.toBeAssignableTo<CauseflowAuthOptions>()
    expect(auth.any).type.not.toBeCallableWith(auth.jwt().optional(), auth.apiKey())
    expect(auth.webhook()).type.not.toHaveProperty('roles')
  })
})
