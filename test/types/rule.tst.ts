import { describe, expect, test } from 'tstyche'
import type { FastifyRequest } from 'fastify'
import { auth, type ApiKeyPrincipal, type AuthRule, type CredentialRule, type IdentityRule, type JwtPrincipal, type StandingRule, type TokenOrKeyRule, type WebhookPrincipal } from '../../lib/index.js'

const pass = () => true

describe('public and deny', () => {
  test('stand alone', () => {
    expect(auth.public()).type.toBe<StandingRule>()
    expect(auth.public).type.not.toBeCallableWith(auth.jwt())
    expect(auth.any).type.not.toBeCallableWith(auth.jwt(), auth.public())
    expect(auth.all).type.not.toBeCallableWith(auth.deny(), auth.jwt())
  })

  test('take no conditions', () => {
    for (const rule of [auth.public(), auth.deny()]) {
      expect(rule).type.not.toHaveProperty('roles')
      expect(rule).type.not.toHaveProperty('scopes')
      expect(rule).type.not.toHaveProperty('check')
      expect(rule).type.not.toHaveProperty('tenant')
      expect(rule).type.not.toHaveProperty('anyTenant')
      expect(rule).type.not.toHaveProperty('tenantOptional')
      expect(rule).type.not.toHaveProperty('optional')
    }
  })
})

describe('roles and scopes', () => {
  test('are one argument each, at least one', () => {
    const rule = auth.jwt()
    expect(rule.roles).type.toBeCallableWith('admin', 'member')
    expect(rule.roles).type.not.toBeCallableWith()
    expect(rule.roles).type.not.toBeCallableWith(['admin'])
    expect(rule.scopes).type.toBeCallableWith('a', 'b')
    expect(rule.scopes).type.not.toBeCallableWith()
    expect(rule.scopes).type.not.toBeCallableWith(['a'])
  })

  test('are not a webhook\'s, nor of webhooks alone', () => {
    expect(auth.webhook()).type.not.toHaveProperty('roles')
    expect(auth.webhook()).type.not.toHaveProperty('scopes')
    expect(auth.any(auth.webhook('a'), auth.webhook('b'))).type.not.toHaveProperty('roles')
    expect(auth.all(auth.webhook('a'), auth.any(auth.webhook('b'), auth.webhook('c')))).type.not.toHaveProperty('scopes')
  })

  test('are there as soon as somebody is identified', () => {
    expect(auth.all(auth.apiKey(), auth.webhook()).roles('admin').scopes('a')).type.toBe<IdentityRule<'apiKey' | 'webhook'>>()
    expect(auth.any(auth.webhook(), auth.jwt()).roles('admin')).type.toBe<IdentityRule<'webhook' | 'jwt'>>()
  })
})

describe('optional', () => {
  test('is for tokens and keys, not for webhooks or what has one in it', () => {
    expect(auth.jwt().optional()).type.toBe<TokenOrKeyRule<'jwt', true>>()
    expect(auth.any(auth.jwt(), auth.apiKey()).optional()).type.toBe<TokenOrKeyRule<'jwt' | 'apiKey', true>>()
    expect(auth.webhook()).type.not.toHaveProperty('optional')
    expect(auth.all(auth.apiKey(), auth.webhook())).type.not.toHaveProperty('optional')
    expect(auth.any(auth.jwt(), auth.all(auth.apiKey(), auth.webhook()))).type.not.toHaveProperty('optional')
  })

  test('goes into all and not into any', () => {
    expect(auth.all).type.toBeCallableWith(auth.jwt().optional(), auth.webhook())
    expect(auth.any).type.not.toBeCallableWith(auth.jwt().optional(), auth.apiKey())
    expect(auth.any).type.not.toBeCallableWith(auth.apiKey(), auth.jwt().roles('admin').optional())
    expect(auth.any).type.not.toBeCallableWith(auth.apiKey(), auth.jwt().optional().roles('admin'))
  })

  test('leaves the other conditions', () => {
    expect(auth.jwt().optional().roles('admin').check('x', pass).anyTenant()).type.toBe<TokenOrKeyRule<'jwt', true>>()
  })
})

describe('any and all', () => {
  test('combine two rules or more, listed and not in an array', () => {
    expect(auth.any).type.not.toBeCallableWith()
    expect(auth.any).type.not.toBeCallableWith(auth.jwt())
    expect(auth.all).type.not.toBeCallableWith(auth.jwt())
    expect(auth.all).type.not.toBeCallableWith([auth.jwt(), auth.apiKey()])
    expect(auth.any).type.toBeCallableWith(auth.jwt(), auth.apiKey(), auth.webhook(), auth.all(auth.jwt(), auth.webhook()))
  })

  test('take rules, not their builders or their names', () => {
    expect(auth.any).type.not.toBeCallableWith(auth.jwt, auth.apiKey)
    expect(auth.any).type.not.toBeCallableWith('jwt', 'apiKey')
    expect(auth.all).type.not.toBeCallableWith(auth.jwt(), { describe: () => 'token' })
  })

  test('know what they are made of', () => {
    expect(auth.any(auth.jwt(), auth.apiKey())).type.toBe<TokenOrKeyRule<'jwt' | 'apiKey'>>()
    expect(auth.all(auth.jwt().optional(), auth.apiKey())).type.toBe<TokenOrKeyRule<'jwt' | 'apiKey'>>()
    expect(auth.any(auth.webhook('a'), auth.webhook('b'))).type.toBe<CredentialRule<'webhook'>>()
  })
})

describe('names', () => {
  test('are an issuer\'s or a webhook\'s; there is one store of keys', () => {
    expect(auth.jwt).type.toBeCallableWith('staff', 'customers')
    expect(auth.webhook).type.toBeCallableWith('stripe')
    expect(auth.jwt).type.not.toBeCallableWith(['staff'])
    expect(auth.apiKey).type.not.toBeCallableWith('default')
  })
})

describe('a check', () => {
  test('is given the principal that its rule proves', () => {
    auth.jwt().check('subject', (principal) => { expect(principal).type.toBe<JwtPrincipal>(); return true })
    auth.apiKey().check('key', (principal) => { expect(principal).type.toBe<ApiKeyPrincipal>(); return true })
    auth.webhook().check('source', (principal) => { expect(principal).type.toBe<WebhookPrincipal>(); return true })
    auth.any(auth.jwt(), auth.apiKey()).check('either', (principal) => { expect(principal).type.toBe<JwtPrincipal | ApiKeyPrincipal>(); return true })
  })

  test('may name the request that it reads', () => {
    expect(auth.jwt().check).type.toBeCallableWith('owner', (principal: JwtPrincipal, request: FastifyRequest<{ Params: { userId: string } }>) => principal.subject === request.params.userId)
  })

  test('answers true or false, now or later, and nothing else', () => {
    const rule = auth.jwt()
    expect(rule.check).type.toBeCallableWith('later', async () => true)
    expect(rule.check).type.not.toBeCallableWith('forgotten', () => {})
    expect(rule.check).type.not.toBeCallableWith('text', () => 'yes')
    expect(rule.check).type.not.toBeCallableWith(() => true)
    expect(rule.check).type.not.toBeCallableWith('answered', true)
  })

  test('is not of another principal than its rule proves', () => {
    expect(auth.apiKey().check).type.not.toBeCallableWith('subject', (principal: JwtPrincipal) => principal.subject === 'usr_1')
  })
})

describe('a rule', () => {
  test('is what auth has built and nothing that looks like it', () => {
    expect(auth.jwt().roles('admin').scopes('a').tenant('id').tenantOptional().check('x', pass)).type.toBeAssignableTo<AuthRule>()
    expect<{ describe (): string }>().type.not.toBeAssignableTo<AuthRule>()
    expect<typeof auth.jwt>().type.not.toBeAssignableTo<AuthRule>()
    expect<'jwt'>().type.not.toBeAssignableTo<AuthRule>()
    expect<object>().type.not.toBeAssignableTo<AuthRule>()
  })

  test('keeps its kind through every condition', () => {
    expect(auth.jwt().roles('a').scopes('b').tenant('id').tenantOptional().check('x', pass)).type.toBe<TokenOrKeyRule<'jwt'>>()
    expect(auth.webhook().anyTenant().check('x', pass)).type.toBe<CredentialRule<'webhook'>>()
  })
})
