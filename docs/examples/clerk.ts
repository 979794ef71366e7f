/** An API for a frontend on Clerk: `CLERK_ISSUER=https://acme.clerk.accounts.dev APP_ORIGIN=https://app.example.com npx tsx clerk.ts`. */
import Fastify from 'fastify'
// In an application: from 'fastify-causeflow-auth'.
import causeflowAuth, { auth, clerk, principalOf } from '../../lib/index.js'

export const app = Fastify({ logger: { level: process.env.LOG_LEVEL ?? 'info' } })
await app.register(causeflowAuth, { jwt: clerk({ issuer: process.env.CLERK_ISSUER!, authorizedParties: [process.env.APP_ORIGIN!] }) })

// Whoever is signed in, with an active organisation or without.
app.get('/v1/me', { config: { auth: auth.jwt().tenantOptional() } }, async (request) => {
  const { subject, tenantId, roles, scopes } = principalOf(request, 'jwt')
  return { subject, tenantId, roles, scopes }
})

// The default: a session with an active organisation, which is the tenant.
app.get('/v1/incidents', async (request) => ({ tenantId: principalOf(request).tenantId, incidents: [] }))

// An administrator of that organisation.
app.get('/v1/settings', { config: { auth: auth.jwt().roles('admin') } }, async () => ({ plan: 'team' }))

// A permission of the organisation.
app.get('/v1/teams', { config: { auth: auth.jwt().scopes('org:teams:read') } }, async () => ({ teams: [] }))

await app.listen({ port: Number(process.env.PORT ?? 3000) })
