/** An API like CauseFlow's, guarded by the plugin: what an application writes, and nothing else. */
import swagger from '@fastify/swagger'
import { Type } from '@sinclair/typebox'
import Fastify, { type FastifyInstance } from 'fastify'
// In an application: from 'fastify-causeflow-auth'.
import causeflowAuth, {
  WebhookEnvelopeSchema, apiKeyRoutes, apiKeySecret, auth, causeflow, causeflowErrorHandler, parseWebhookEvent, principalOf,
  type ApiKeyStore, type JwtOptions, type ReplayStore
} from '../../../lib/index.js'
// In an application: from 'fastify-causeflow-auth/openapi'.
import { withCauseflowOpenApi } from '../../../lib/openapi/index.js'
import { docs } from './docs.js'

/** Each monitoring tool has a form of its own. */
const AlertSchema = Type.Object({}, { additionalProperties: true, examples: [{ alert: 'Error rate above 5 %', service: 'checkout' }] })

export interface ApiOptions {
  jwt: JwtOptions
  store: ApiKeyStore
  /** Seal the signing secrets of the keys in the store. */
  sealingKeys: readonly Uint8Array[]
  /** Remembers deliveries, so that a second one counts for nothing. */
  replay: ReplayStore
  /** The secret of the deliveries that another installation sends to /v1/events. */
  eventSecret: string
  /** Milliseconds since the epoch. */
  clock: () => number
}

export async function buildApi ({ jwt, store, sealingKeys, replay, eventSecret, clock }: ApiOptions): Promise<FastifyInstance> {
  const app = Fastify()
  app.setErrorHandler(causeflowErrorHandler())
  app.setNotFoundHandler((_request, reply) => reply.code(404).send({ error: 'not_found', message: 'There is nothing at this address' }))

  // Its document says of each route what its rule is.
  await app.register(swagger, withCauseflowOpenApi({ openapi: { openapi: '3.1.0', info: { title: 'The API of the demo', version: '1.0.0' } } }, { webhooks: true }))

  await app.register(causeflowAuth, {
    jwt,
    apiKey: { store, quota: 3, sealingKeys: [...sealingKeys] },
    webhook: [
      // Each key has its own signing secret: a leaked one opens one key's deliveries.
      { secret: apiKeySecret(), replay },
      { name: 'events', scheme: causeflow({ timestampField: 'timestamp' }), secret: eventSecret, replay }
    ],
    clock
  })

  await app.register(docs)

  app.get('/health', { config: { auth: auth.public() } }, async () => ({ status: 'ok' }))

  // No rule stated: the default, a token.
  app.get('/v1/me', async (request) => {
    const { subject, email, tenantId, roles } = principalOf(request, 'jwt')
    return { subject, email, tenantId, roles }
  })

  // The URL names a tenant: whoever comes, by token or by key, has to belong to it.
  app.get('/v1/tenants/:tenantId/incidents', { config: { auth: auth.any(auth.jwt(), auth.apiKey()) } }, async (request) => {
    return { incidents: incidentsOf(principalOf(request).tenantId) }
  })

  app.get('/v1/report', { config: { auth: auth.any(auth.jwt().roles('admin'), auth.apiKey().scopes('report:read')) } }, async (request) => {
    return { readBy: principalOf(request).scheme, incidents: incidentsOf(principalOf(request).tenantId).length }
  })

  // Whoever creates a tenant has none yet.
  app.post('/v1/tenants', { config: { auth: auth.jwt().tenantOptional() } }, async (request, reply) => {
    return await reply.code(201).send({ tenantId: 'ten_NEW', owner: principalOf(request, 'jwt').subject })
  })

  // Everybody lists the keys of his tenant, administrators make, rotate and revoke them.
  await app.register(apiKeyRoutes, { prefix: '/v1' })

  // What a monitoring tool sends: a key says whose it is, a signature that it is unchanged.
  app.post('/v1/webhooks/:tenantId/:provider', { config: { auth: auth.all(auth.apiKey(), auth.webhook()) }, schema: { body: AlertSchema } }, async (request, reply) => {
    return await reply.code(201).send({ incidentId: `inc_${request.id}` })
  })

  // What another installation delivers: the signature alone says who it is.
  app.post('/v1/events', { config: { auth: auth.webhook('events') }, schema: { body: WebhookEnvelopeSchema } }, async (request, reply) => {
    return await reply.code(202).send({ received: parseWebhookEvent(request.body)?.event ?? null })
  })

  return app
}

function incidentsOf (tenantId: string | null): Array<{ incidentId: string, tenantId: string | null, title: string }> {
  return [{ incidentId: 'inc_01HX9VT', tenantId, title: 'Error rate above 5 % on checkout' }]
}
