/** The accounts of other products that a tenant has connected. */
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Type } from '@sinclair/typebox'
import { auth } from '../../../../lib/index.js'
import type { Services } from '../settings.js'
import { tenantOf } from '../tenant.js'

const params = Type.Object({ provider: Type.Union([Type.Literal('github'), Type.Literal('jira'), Type.Literal('slack')]) })
const admin = auth.jwt().roles('admin')

const integrations: FastifyPluginAsyncTypebox<Services> = async (fastify, { data }) => {
  fastify.get('/v1/integrations', async (request) => ({ integrations: data.integrations.list(tenantOf(request)) }))

  fastify.put('/v1/integrations/:provider', { config: { auth: admin }, schema: { params, body: Type.Object({ account: Type.String({ minLength: 1 }) }) } }, async (request) => {
    return data.integrations.put({ id: request.params.provider, tenantId: tenantOf(request), account: request.body.account })
  })

  fastify.delete('/v1/integrations/:provider', { config: { auth: admin }, schema: { params } }, async (request, reply) => {
    data.integrations.remove(tenantOf(request), request.params.provider)
    return await reply.code(204).send()
  })
}
export default integrations
