/** Tenants. `:tenantId` in a URL binds the route to it: another tenant's token is 403 without a word here. */
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Type } from '@sinclair/typebox'
import { auth } from '../../../../lib/index.js'
import { newId, provisioned, provisioningSteps, tenantIn, type Tenant } from '../data.js'
import type { Services } from '../settings.js'

const params = Type.Object({ tenantId: Type.String() })
const body = Type.Object({ name: Type.String({ minLength: 1, maxLength: 100 }) })
const admin = auth.jwt().roles('admin')

const tenants: FastifyPluginAsyncTypebox<Services> = async (fastify, { data }) => {
  // Whoever founds a tenant has none yet. Its token gets the new one when the issuer makes the next.
  fastify.post('/v1/tenants', { config: { auth: auth.jwt().tenantOptional() }, schema: { body } }, async (request, reply) => {
    const tenant: Tenant = { id: newId('ten'), name: request.body.name, status: 'provisioning', provisioning: provisioned('pending'), plan: 'trial' }
    data.tenants.set(tenant.id, tenant)
    return await reply.code(201).send(tenant)
  })

  fastify.get('/v1/tenants/:tenantId', { schema: { params } }, async (request) => tenantIn(data, request.params.tenantId))

  fastify.patch('/v1/tenants/:tenantId', { config: { auth: admin }, schema: { params, body } }, async (request) => {
    const tenant = { ...tenantIn(data, request.params.tenantId), name: request.body.name }
    data.tenants.set(tenant.id, tenant)
    return tenant
  })

  fastify.get('/v1/tenants/:tenantId/provisioning', { schema: { params } }, async (request) => {
    const { status, provisioning } = tenantIn(data, request.params.tenantId)
    return { status, steps: provisioning }
  })

  // Tries again what has failed.
  fastify.post('/v1/tenants/:tenantId/provisioning', { config: { auth: admin }, schema: { params } }, async (request, reply) => {
    const tenant = tenantIn(data, request.params.tenantId)
    const provisioning = { ...tenant.provisioning }
    for (const step of provisioningSteps) if (provisioning[step] === 'failed') provisioning[step] = 'pending'
    data.tenants.set(tenant.id, { ...tenant, provisioning })
    return await reply.code(202).send({ status: tenant.status, steps: provisioning })
  })
}
export default tenants
