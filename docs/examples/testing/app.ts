/** A small application, built by a function so that its tests can hand in an issuer, a secret and a clock. */
import Fastify, { type FastifyInstance } from 'fastify'
// In an application: from 'fastify-causeflow-auth'.
import causeflowAuth, { auth, parseWebhookEvent, principalOf, type CauseflowAuthOptions } from '../../../lib/index.js'

export async function buildApp (settings: Pick<CauseflowAuthOptions, 'jwt' | 'webhook' | 'clock'>): Promise<FastifyInstance> {
  const app = Fastify()
  await app.register(causeflowAuth, settings)
  app.get('/v1/tenants/:tenantId/incidents', async (request) => ({ readBy: principalOf(request, 'jwt').subject, incidents: [] }))
  app.delete('/v1/tenants/:tenantId', { config: { auth: auth.jwt().roles('admin') } }, async (_request, reply) => await reply.code(204).send())
  app.post('/events', { config: { auth: auth.webhook() } }, async (request) => ({ received: parseWebhookEvent(request.body)?.event ?? null }))
  return app
}
