/** An API like CauseFlow's, guarded by the plugin: what an application writes, and nothing else. */
import Fastify, { type FastifyInstance } from 'fastify'
// In an application: from 'fastify-causeflow-auth'.
import causeflowAuth, {
  apiKeyRoutes, apiKeySecret, auth, causeflow, causeflowErrorHandler, parseWebhookEvent, principalOf,
  type ApiKeyStore, type JwtOptions, type ReplayStore
} from '../../../lib/index.js'

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
  app.post('/v1/webhooks/:tenantId/:provider', { config: { auth: auth.all(auth.apiKey(), auth.webhook()) } }, async (request, reply) => {
    return await reply.code(201).send({ incidentId: `inc_${request.id}` })
  })

  // What another installation delivers: the signature alone says who it is.
  app.post('/v1/events', { config: { auth: auth.webhook('events') } }, async (request, reply) => {
    return await reply.code(202).send({ received: parseWebhookEvent(request.body)?.event ?? null })
  })

  return app
}

function incidentsOf (tenantId: string | null): Array<{ incidentId: string, tenantId: string | null, title: string }> {
  return [{ incidentId: 'inc_01HX9VT', tenantId, title: 'Error rate above 5 % on checkout' }]
}
