/** TypeBox schemas of what the plugin itself makes; those of claims, records and events stand in their rooms. */
import { Type, type Static } from '@sinclair/typebox'
import type { Claims, Scheme } from './principal.js'

const texts = Type.Unsafe<readonly string[]>(Type.Array(Type.String()))

// Read-only, as a principal is: a route with a type provider answers with one as it stands.
const parts = {
  tenantId: Type.Union([Type.String(), Type.Null()]),
  roles: texts,
  scopes: texts,
  proofs: Type.Unsafe<readonly Scheme[]>(Type.Array(Type.Union([Type.Literal('jwt'), Type.Literal('apiKey'), Type.Literal('webhook')])))
}

/** A principal, for routes that answer with it (`GET /v1/me`). Claims are whatever the token carries: leave them out of answers. */
export const PrincipalSchema = Type.Union([
  Type.Object({
    scheme: Type.Literal('jwt'),
    ...parts,
    subject: Type.String(),
    email: Type.Union([Type.String(), Type.Null()]),
    issuer: Type.String(),
    expiresAt: Type.Number({ description: 'Seconds since the epoch' }),
    claims: Type.Unsafe<Claims>(Type.Record(Type.String(), Type.Unknown()))
  }),
  Type.Object({
    scheme: Type.Literal('apiKey'),
    ...parts,
    tenantId: Type.String(),
    keyId: Type.String(),
    name: Type.String(),
    environment: Type.Union([Type.Literal('live'), Type.Literal('test')]),
    createdBy: Type.Union([Type.String(), Type.Null()])
  }),
  Type.Object({
    scheme: Type.Literal('webhook'),
    ...parts,
    source: Type.String(),
    deliveryId: Type.Union([Type.String(), Type.Null()]),
    timestamp: Type.Union([Type.Number({ description: 'Seconds since the epoch' }), Type.Null()])
  })
])

/** The answer of causeflowErrorHandler. */
export const ErrorSchema = Type.Object({
  error: Type.String({ description: 'For programs' }),
  message: Type.String({ description: 'For people' })
})
export type ErrorAnswer = Static<typeof ErrorSchema>
