/**
 * An ingest endpoint for the alerts of five monitoring tools. A key says whose they are, a signature with the key's own secret that
 * they are unchanged, the URL whose incident they become. `TENANT=ten_ACME npx tsx ingest.ts` makes a key and prints it.
 */
import type { TypeBoxTypeProvider } from '@fastify/type-provider-typebox'
import { Type } from '@sinclair/typebox'
import Fastify from 'fastify'
// In an application: from 'fastify-causeflow-auth'.
import causeflowAuth, { MemoryApiKeyStore, MemoryReplayStore, apiKeySecret, auth, causeflowErrorHandler, principalOf } from '../../lib/index.js'

export const app = Fastify({ logger: { level: process.env.LOG_LEVEL ?? 'info' }, requestTimeout: 10_000, http: { headersTimeout: 10_000 } }).withTypeProvider<TypeBoxTypeProvider>()
app.setErrorHandler(causeflowErrorHandler())

await app.register(causeflowAuth, {
  apiKey: { store: new MemoryApiKeyStore() },
  webhook: { secret: apiKeySecret(), replay: new MemoryReplayStore() },
  default: auth.deny()
})

/** Where each tool writes what its alert is about. */
const titles = {
  datadog: (alert) => alert.title,
  grafana: (alert) => alert.title,
  cloudwatch: (alert) => alert.AlarmName,
  sentry: (alert) => (alert.data as Alert | undefined)?.title,
  custom: (alert) => alert.title
} satisfies Record<string, (alert: Alert) => unknown>
type Alert = Record<string, unknown>

const schema = {
  params: Type.Object({
    tenantId: Type.String(),
    provider: Type.Union((Object.keys(titles) as Array<keyof typeof titles>).map((provider) => Type.Literal(provider)))
  }),
  body: Type.Record(Type.String(), Type.Unknown())
}

app.post('/v1/webhooks/:tenantId/:provider', { config: { auth: auth.all(auth.apiKey(), auth.webhook()) }, schema }, async (request, reply) => {
  const { params, body, log } = request
  const title = titles[params.provider](body)
  if (typeof title !== 'string') return await reply.code(400).send({ error: 'validation_error', message: 'The alert has no title' })
  const { tenantId, keyId } = principalOf(request, 'apiKey')
  const incidentId = `inc_${request.id}`
  log.info({ tenantId, keyId, provider: params.provider, incidentId, title }, 'an alert became an incident')
  return await reply.code(201).send({ incidentId })
})

if (process.env.TENANT !== undefined) console.log(await app.causeflowAuth.apiKeys.create({ tenantId: process.env.TENANT, name: 'monitoring' }))
await app.listen({ port: Number(process.env.PORT ?? 3000) })
