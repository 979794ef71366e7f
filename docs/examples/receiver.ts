/** A receiver of CauseFlow's events: `WEBHOOK_SECRET=whsec_… npx tsx receiver.ts`. */
import type { TypeBoxTypeProvider } from '@fastify/type-provider-typebox'
import Fastify from 'fastify'
// In an application: from 'fastify-causeflow-auth'.
import causeflowAuth, { MemoryReplayStore, WebhookEnvelopeSchema, auth, causeflow, parseWebhookEvent } from '../../lib/index.js'

// Without these limits a body may take for ever. Node allows a body the larger of the two, and Fastify leaves headersTimeout at 60 s.
export const app = Fastify({ logger: { level: process.env.LOG_LEVEL ?? 'info' }, requestTimeout: 10_000, http: { headersTimeout: 10_000 } }).withTypeProvider<TypeBoxTypeProvider>()

await app.register(causeflowAuth, {
  webhook: {
    secret: process.env.WEBHOOK_SECRET!,
    // An hour, so that a delivery that is tried again is still timely.
    scheme: causeflow({ timestampField: 'timestamp', tolerance: 3600 }),
    replay: new MemoryReplayStore()
  },
  default: auth.deny()
})

app.post('/events', { config: { auth: auth.webhook() }, schema: { body: WebhookEnvelopeSchema } }, async ({ body, log }, reply) => {
  const event = parseWebhookEvent(body)
  switch (event?.event) {
    case 'incident.created':
      log.info({ tenantId: event.tenantId, incidentId: event.data.incidentId }, 'an incident began')
      break
    case 'remediation.proposed':
      log.info({ tenantId: event.tenantId, remediationId: event.data.remediationId }, 'somebody is to approve')
      break
    default: // An event of tomorrow is accepted: refused, it would be sent again and again.
      log.debug({ event: body.event }, 'nothing to do')
  }
  return await reply.code(202).send({ received: body.event, known: event !== null })
})

await app.listen({ port: Number(process.env.PORT ?? 3000) })
