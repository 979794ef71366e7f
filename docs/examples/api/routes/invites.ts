/** Invitations into a tenant. */
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Type } from '@sinclair/typebox'
import { auth, principalOf } from '../../../../lib/index.js'
import { newId } from '../data.js'
import type { Services } from '../settings.js'
import { RequestError } from '../table.js'
import { tenantOf } from '../tenant.js'

const params = Type.Object({ inviteId: Type.String() })
const inTenant = Type.Object({ tenantId: Type.String(), inviteId: Type.String() })
const body = Type.Object({ email: Type.String({ maxLength: 254 }), role: Type.Union([Type.Literal('admin'), Type.Literal('billing'), Type.Literal('member')]) })
const admin = auth.jwt().roles('admin')
/** Whoever is invited belongs to another tenant, or to none: what lets him in is the invitation. */
const invited = auth.jwt().anyTenant().tenantOptional()

const invites: FastifyPluginAsyncTypebox<Services> = async (fastify, { data }) => {
  fastify.get('/v1/invites', { config: { auth: admin } }, async (request) => ({ invites: data.invites.list(tenantOf(request)) }))

  fastify.post('/v1/invites', { config: { auth: admin }, schema: { body } }, async (request, reply) => {
    const { email, role } = request.body
    return await reply.code(201).send(data.invites.put({ id: newId('inv'), tenantId: tenantOf(request), email, role, status: 'open' }))
  })

  fastify.delete('/v1/invites/:inviteId', { config: { auth: admin }, schema: { params } }, async (request, reply) => {
    data.invites.remove(tenantOf(request), request.params.inviteId)
    return await reply.code(204).send()
  })

  fastify.post('/v1/tenants/:tenantId/invites/:inviteId/accept', { config: { auth: invited }, schema: { params: inTenant } }, async (request) => {
    const { tenantId, inviteId } = request.params
    const { subject, email } = principalOf(request, 'jwt')
    const invite = data.invites.find(tenantId, inviteId)
    // An invitation of somebody else is not there.
    if (invite.email !== email || invite.status !== 'open') throw new RequestError(404, 'There is no such invite')
    data.invites.change(tenantId, inviteId, { status: 'accepted' })
    return data.users.put({ id: subject, tenantId, email, role: invite.role })
  })
}
export default invites
