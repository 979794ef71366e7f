import type { Static } from '@sinclair/typebox'
import Fastify from 'fastify'
import causeflowAuth, { PrincipalSchema, auth, principalOf, type CauseflowAuthTypes, type Claims, type Principal, type Role, type Scope } from 'fastify-causeflow-auth'
import { describe, expect, test } from 'tstyche'

interface AcmeClaims { readonly sub: string, readonly plan: 'free' | 'paid' }

// As an application writes it.
declare module 'fastify-causeflow-auth' {
  interface CauseflowAuthTypes {
    claims: AcmeClaims
    role: 'admin' | 'member'
    scope: 'report:read' | 'report:write'
  }
}

describe('an application\'s own types', () => {
  test('are those of the package', () => {
    expect<CauseflowAuthTypes>().type.toBe<{ claims: AcmeClaims, role: 'admin' | 'member', scope: 'report:read' | 'report:write' }>()
    expect<Role>().type.toBe<'admin' | 'member'>()
    expect<Scope>().type.toBe<'report:read' | 'report:write'>()
    expect<Claims>().type.toBe<AcmeClaims>()
  })

  test('type the claims of a principal, wherever it comes from', () => {
    const app = Fastify()
    app.register(causeflowAuth)
    app.get('/', async (request) => {
      expect(principalOf(request, 'jwt').claims.plan).type.toBe<'free' | 'paid'>()
      if (request.principal?.scheme === 'jwt') expect(request.principal.claims).type.toBe<AcmeClaims>()
    })
    expect<Principal['roles']>().type.toBe<ReadonlyArray<'admin' | 'member'>>()
    expect<Principal['scopes']>().type.toBe<ReadonlyArray<'report:read' | 'report:write'>>()
  })

  test('catch a role or a scope that is misspelled', () => {
    expect(auth.jwt().roles).type.toBeCallableWith('admin', 'member')
    expect(auth.jwt().roles).type.not.toBeCallableWith('amdin')
    expect(auth.jwt().roles).type.not.toBeCallableWith('admin', 'menber')
    expect(auth.any(auth.jwt(), auth.apiKey()).scopes).type.toBeCallableWith('report:read')
    expect(auth.any(auth.jwt(), auth.apiKey()).scopes).type.not.toBeCallableWith('report:raed')
  })

  test('go with the schema of a principal', () => {
    expect<Principal>().type.toBeAssignableTo<Static<typeof PrincipalSchema>>()
  })

  test('reach checks', () => {
    auth.jwt().check('paid', ({ claims, roles }) => {
      expect(claims.plan).type.toBe<'free' | 'paid'>()
      expect(roles.includes).type.not.toBeCallableWith('amdin')
      return claims.plan === 'paid'
    })
  })
})
