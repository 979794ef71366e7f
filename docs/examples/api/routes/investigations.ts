/** Investigations, and a stream of what happens in one. No rule is stated, where any user of the tenant may come in. */
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Type } from '@sinclair/typebox'
import { auth, principalOf } from '../../../../lib/index.js'
import { newId } from '../data.js'
import { EventStream } from '../event-stream.js'
import type { Services } from '../settings.js'
import { tenantOf } from '../tenant.js'

const params = Type.Object({ investigationId: Type.String() })

const investigations: FastifyPluginAsyncTypebox<Services> = async (fastify, { data, longLived, progress }) => {
  fastify.post('/v1/incidents/:incidentId/investigations', { schema: { params: Type.Object({ incidentId: Type.String() }) } }, async (request, reply) => {
    const { id: incidentId, tenantId } = data.incidents.find(tenantOf(request), request.params.incidentId)
    return await reply.code(201).send(data.investigations.put({ id: newId('ivg'), tenantId, incidentId, status: 'running' }))
  })

  fastify.get('/v1/investigations/:investigationId', { schema: { params } }, async (request) => data.investigations.find(tenantOf(request), request.params.investigationId))

  // A HEAD of it would open a stream that nobody reads.
  fastify.get('/v1/investigations/:investigationId/events', { exposeHeadRoute: false, schema: { params } }, async (request, reply) => {
    const { tenantId, id } = data.investigations.find(tenantOf(request), request.params.investigationId)
    const stream = new EventStream()
    const unsubscribe = progress.subscribe(tenantId, id, (event) => { stream.send('progress', event) })
    // The token was good when the stream began, and the stream goes on: it ends when the token does.
    const forget = longLived.begin(principalOf(request, 'jwt'), (reason) => { stream.finish(reason) })
    stream.once('close', () => {
      unsubscribe()
      forget()
    })
    // Sent by Fastify and not written to reply.raw, so that the headers of CORS and of the limits are on it.
    return await reply.type('text/event-stream').header('cache-control', 'no-store').send(stream)
  })

  fastify.post('/v1/investigations/:investigationId/cancel', { config: { auth: auth.jwt().roles('admin') }, schema: { params } }, async (request) => {
    const cancelled = data.investigations.change(tenantOf(request), request.params.investigationId, { status: 'cancelled' })
    progress.publish(cancelled.tenantId, cancelled.id, { type: 'cancelled', text: 'An administrator has cancelled it' })
    return cancelled
  })
}
export default investigations
