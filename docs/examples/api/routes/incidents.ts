/** Incidents, for people and for programs: a token, or a key with the scope. */
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Type } from '@sinclair/typebox'
import { auth, principalOf } from '../../../../lib/index.js'
import { newId } from '../data.js'
import type { Services } from '../settings.js'
import { tenantOf } from '../tenant.js'

const params = Type.Object({ incidentId: Type.String() })
const title = Type.String({ minLength: 1, maxLength: 200 })
const status = Type.Union([Type.Literal('open'), Type.Literal('acknowledged'), Type.Literal('resolved')])
const mayRead = auth.any(auth.jwt(), auth.apiKey().scopes('incidents:read'))
const mayWrite = auth.any(auth.jwt(), auth.apiKey().scopes('incidents:write'))

const incidents: FastifyPluginAsyncTypebox<Services> = async (fastify, { data }) => {
  fastify.get('/v1/incidents', { config: { auth: mayRead } }, async (request) => ({ incidents: data.incidents.list(tenantOf(request)) }))

  fastify.get('/v1/incidents/:incidentId', { config: { auth: mayRead }, schema: { params } }, async (request) => data.incidents.find(tenantOf(request), request.params.incidentId))

  fastify.post('/v1/incidents', { config: { auth: mayWrite }, schema: { body: Type.Object({ title }) } }, async (request, reply) => {
    const incident = { id: newId('inc'), tenantId: tenantOf(request), title: request.body.title, source: principalOf(request).scheme, status: 'open' as const }
    return await reply.code(201).send(data.incidents.put(incident))
  })

  fastify.patch('/v1/incidents/:incidentId', { config: { auth: mayWrite }, schema: { params, body: Type.Object({ status }) } }, async (request) => {
    return data.incidents.change(tenantOf(request), request.params.incidentId, { status: request.body.status })
  })
}
export default incidents
