// Right and wrong use, as every supported compiler has to see it.
import { Type } from '@sinclair/typebox'
import { TypeBoxTypeProvider } from '@fastify/type-provider-typebox'
import Fastify from 'fastify'
import causeflowAuth, { MemoryApiKeyStore, WebhookEnvelopeSchema, auth, clerk, principalOf, type ClaimMapping } from 'fastify-causeflow-auth'

const schema = Type.Object({ org: Type.String(), groups: Type.Array(Type.String()) })
const claims: ClaimMapping<typeof schema> = { schema, principal: ({ org, groups }) => ({ tenantId: org, roles: groups, scopes: [], email: null }) }
// @ts-expect-error -- the claims of the schema have no such member
export const wrongClaim: ClaimMapping<typeof schema> = { schema, principal: ({ organisation }) => ({ tenantId: organisation, roles: [], scopes: [], email: null }) }
// @ts-expect-error -- a mapping answers a principal
export const wrongAnswer: ClaimMapping<typeof schema> = { schema, principal: ({ org }) => ({ tenant: org }) }

const plain = Fastify()
await plain.register(causeflowAuth, { jwt: { issuer: 'https://acme.clerk.accounts.dev', claims }, apiKey: { store: new MemoryApiKeyStore() } })
await plain.register(causeflowAuth, { jwt: clerk({ issuer: 'https://acme.clerk.accounts.dev', authorizedParties: ['https://app.acme.com'] }) })
// @ts-expect-error -- there is no option of this name
await plain.register(causeflowAuth, { jwks: { issuer: 'https://acme.clerk.accounts.dev' } })
// @ts-expect-error -- an issuer is a text
await plain.register(causeflowAuth, { jwt: { issuer: 7 } })

plain.get('/rules', { config: { auth: auth.any(auth.jwt().roles('admin'), auth.apiKey().scopes('incident:read')) } }, async (request) => {
  const principal = principalOf(request)
  if (principal.scheme === 'apiKey') return principal.keyId satisfies string
  // @ts-expect-error -- a token has no key id
  return principal.keyId
})
// @ts-expect-error -- a rule is built by auth and is no text
plain.get('/text', { config: { auth: 'jwt' } }, async () => null)
// @ts-expect-error -- nor an object of one's own
plain.get('/object', { config: { auth: { roles: ['admin'] } } }, async () => null)
// @ts-expect-error -- a webhook has no scopes
export const webhookWithScopes = auth.webhook().scopes('a')
// @ts-expect-error -- request.principal may be nobody
plain.get('/nobody', { config: { auth: auth.jwt().optional() } }, async (request) => request.principal.scheme)
plain.get('/hook', { preHandler: plain.causeflowAuth.require(auth.jwt()) }, async (request) => request.principal?.tenantId)

const typed = Fastify().withTypeProvider<TypeBoxTypeProvider>()
await typed.register(causeflowAuth, { webhook: { secret: 'whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD' } })
typed.post('/events', { config: { auth: auth.webhook() }, schema: { body: WebhookEnvelopeSchema } }, async (request) => {
  const { event, tenantId } = request.body
  return { event: event satisfies string, tenantId: tenantId satisfies string, bytes: request.rawBody?.length, source: principalOf(request, 'webhook').source }
})
typed.post('/wrong', { config: { auth: auth.webhook() }, schema: { body: WebhookEnvelopeSchema } }, async (request) => {
  // @ts-expect-error -- the envelope has no such member
  return request.body.incident
})
