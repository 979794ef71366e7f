import { describe, expect, test } from 'tstyche'
import { principalOf, type ApiKeyPrincipal, type JwtPrincipal, type Principal, type Proven, type WebhookPrincipal } from '../../lib/principal.js'

declare const request: Proven

describe('principalOf', () => {
  test('is narrowed to the schemes that are named', () => {
    expect(principalOf(request, 'jwt')).type.toBe<JwtPrincipal>()
    expect(principalOf(request, 'apiKey', 'webhook')).type.toBe<ApiKeyPrincipal | WebhookPrincipal>()
  })

  test('is any principal when no scheme is named, and never null', () => {
    expect(principalOf(request)).type.toBe<Principal>()
  })

  test('takes no scheme that does not exist', () => {
    expect(principalOf).type.not.toBeCallableWith(request, 'apikey')
  })
})

describe('a principal', () => {
  test('is told apart by its scheme', () => {
    const principal = principalOf(request)
    if (principal.scheme === 'jwt') expect(principal.subject).type.toBe<string>()
    if (principal.scheme === 'apiKey') expect(principal.tenantId).type.toBe<string>()
    if (principal.scheme === 'webhook') expect(principal.tenantId).type.toBe<string | null>()
  })

  test('cannot be changed', () => {
    expect<JwtPrincipal['roles']>().type.toBe<readonly string[]>()
    expect<JwtPrincipal>().type.not.toHaveProperty('keyId')
  })
})
