/** The users of a tenant. */
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Type } from '@sinclair/typebox'
import type { FastifyRequest } from 'fastify'
import { auth, principalOf } from '../../../../lib/index.js'
import type { Services } from '../settings.js'
import { tenantOf } from '../tenant.js'

const params = Type.Object({ userId: Type.String() })
const role = Type.Union([Type.Literal('admin'), Type.Literal('billing'), Type.Literal('member')])
const admin = auth.jwt().roles('admin')
/** Administrators see everybody, everybody sees himself. */
const adminOrOneself = auth.any(admin, auth.jwt().check('oneself', ({ subject }, request: FastifyRequest<{ Params: { userId: string } }>) => subject === request.params.userId))

const users: FastifyPluginAsyncTypebox<Services> = async (fastify, { data, longLived }) => {
  // Before there is a tenant, too: the page that offers to found one asks who is there.
  fastify.get('/v1/me', { config: { auth: auth.jwt().tenantOptional() } }, async (request) => {
    const { subject, email, tenantId, roles } = principalOf(request, 'jwt')
    return { subject, email, tenantId, roles }
  })

  fastify.get('/v1/users', async (request) => ({ users: data.users.list(tenantOf(request)) }))

  fastify.get('/v1/users/:userId', { config: { auth: adminOrOneself }, schema: { params } }, async (request) => data.users.find(tenantOf(request), request.params.userId))

  fastify.patch('/v1/users/:userId', { config: { auth: admin }, schema: { params, body: Type.Object({ role }) } }, async (request) => {
    return data.users.change(tenantOf(request), request.params.userId, { role: request.body.role })
  })

  fastify.delete('/v1/users/:userId', { config: { auth: admin }, schema: { params } }, async (request, reply) => {
    const { userId } = request.params
    data.users.remove(tenantOf(request), userId)
    // The token is good until it expires: isRevoked refuses the next request, and what is open already is ended here.
    data.revoked.add(userId)
    longLived.endWhere('revoked', ({ subject }) => subject === userId)
    return await reply.code(204).send()
  })
}
export default users
