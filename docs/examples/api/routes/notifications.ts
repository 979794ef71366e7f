/** What a user is told, and where. Each reads his own. */
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Type } from '@sinclair/typebox'
import { principalOf } from '../../../../lib/index.js'
import type { Services } from '../settings.js'
import { RequestError } from '../table.js'
import { tenantOf } from '../tenant.js'

const params = Type.Object({ notificationId: Type.String() })
const channels = Type.Array(Type.Union([Type.Literal('email'), Type.Literal('slack')]), { uniqueItems: true })

const notifications: FastifyPluginAsyncTypebox<Services> = async (fastify, { data }) => {
  fastify.get('/v1/notifications', async (request) => {
    const { subject } = principalOf(request, 'jwt')
    return { notifications: data.notifications.list(tenantOf(request)).filter(({ userId }) => userId === subject) }
  })

  fastify.post('/v1/notifications/:notificationId/read', { schema: { params } }, async (request) => {
    const { id, userId, tenantId } = data.notifications.find(tenantOf(request), request.params.notificationId)
    if (userId !== principalOf(request, 'jwt').subject) throw new RequestError(404, 'There is no such notification')
    return data.notifications.change(tenantId, id, { read: true })
  })

  fastify.put('/v1/notifications/preferences', { schema: { body: Type.Object({ channels }) } }, async (request) => {
    return data.preferences.put({ id: principalOf(request, 'jwt').subject, tenantId: tenantOf(request), channels: request.body.channels })
  })
}
export default notifications
