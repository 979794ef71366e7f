/** A widget on a customer's status page. Its key is in the page, for everybody to read: it can do what its scopes say, and nothing else. */
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Type } from '@sinclair/typebox'
import { auth } from '../../../../lib/index.js'
import { newId } from '../data.js'
import type { Services } from '../settings.js'
import { tenantOf } from '../tenant.js'

const widget: FastifyPluginAsyncTypebox<Services> = async (fastify, { data }) => {
  fastify.get('/v1/widget/status', { config: { auth: auth.apiKey().scopes('widget:read') } }, async (request) => {
    const open = data.incidents.list(tenantOf(request)).filter(({ status }) => status !== 'resolved')
    return { status: open.length === 0 ? 'operational' : 'degraded', incidents: open.map(({ title }) => title) }
  })

  fastify.post('/v1/widget/feedback', { config: { auth: auth.apiKey().scopes('widget:write') }, schema: { body: Type.Object({ text: Type.String({ minLength: 1, maxLength: 1000 }) }) } }, async (request, reply) => {
    data.feedback.put({ id: newId('fbk'), tenantId: tenantOf(request), text: request.body.text })
    return await reply.code(204).send()
  })
}
export default widget
