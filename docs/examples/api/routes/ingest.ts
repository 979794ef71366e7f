/** Alerts of monitoring tools. A key says whose they are, a signature with the key's own secret that they are unchanged, the URL whose incident they become. */
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Type } from '@sinclair/typebox'
import { auth } from '../../../../lib/index.js'
import { newId } from '../data.js'
import type { Services } from '../settings.js'
import { RequestError } from '../table.js'
import { tenantOf } from '../tenant.js'

type Alert = Record<string, unknown>

/** Where each tool writes what its alert is about. */
const titles = {
  datadog: (alert) => alert.title,
  grafana: (alert) => alert.title,
  cloudwatch: (alert) => alert.AlarmName,
  sentry: (alert) => (alert.data as Alert | undefined)?.title,
  custom: (alert) => alert.title
} satisfies Record<string, (alert: Alert) => unknown>

const schema = {
  params: Type.Object({
    tenantId: Type.String(),
    provider: Type.Union((Object.keys(titles) as Array<keyof typeof titles>).map((provider) => Type.Literal(provider)))
  }),
  body: Type.Record(Type.String(), Type.Unknown())
}

const ingest: FastifyPluginAsyncTypebox<Services> = async (fastify, { data }) => {
  fastify.post('/v1/webhooks/:tenantId/:provider', { config: { auth: auth.all(auth.apiKey().scopes('ingest'), auth.webhook()) }, schema }, async (request, reply) => {
    const { provider } = request.params
    const title = titles[provider](request.body)
    if (typeof title !== 'string') throw new RequestError(400, 'The alert has no title')
    const incident = data.incidents.put({ id: newId('inc'), tenantId: tenantOf(request), title, source: provider, status: 'open' })
    return await reply.code(201).send({ incidentId: incident.id })
  })
}
export default ingest
