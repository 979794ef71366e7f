/** For those who operate the platform: they belong to no tenant and reach all of them. */
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Type } from '@sinclair/typebox'
import { auth, principalOf } from '../../../../lib/index.js'
import { provisioningSteps, tenantIn } from '../data.js'
import type { Services } from '../settings.js'

const params = Type.Object({ tenantId: Type.String() })
const status = Type.Union([Type.Literal('active'), Type.Literal('suspended')])
const step = Type.Union(provisioningSteps.map((name) => Type.Literal(name)))
const state = Type.Union([Type.Literal('done'), Type.Literal('failed')])
/** A role that the issuer gives to nobody's tenant: an administrator of one is not this. */
const operator = auth.jwt().roles('operator').anyTenant().tenantOptional()

const admin: FastifyPluginAsyncTypebox<Services> = async (fastify, { data, longLived }) => {
  const { apiKeys, routes } = fastify.causeflowAuth

  fastify.get('/v1/admin/tenants', { config: { auth: operator } }, async () => ({ tenants: [...data.tenants.values()] }))

  fastify.put('/v1/admin/tenants/:tenantId/status', { config: { auth: operator }, schema: { params, body: Type.Object({ status }) } }, async (request) => {
    const tenant = { ...tenantIn(data, request.params.tenantId), status: request.body.status }
    data.tenants.set(tenant.id, tenant)
    if (tenant.status === 'active') {
      data.revoked.delete(tenant.id)
    } else {
      // Its tokens, its keys, and what is open under either. Keys do not come back: new ones are made.
      data.revoked.add(tenant.id)
      await apiKeys.revokeAll({ tenantId: tenant.id, revokedBy: principalOf(request, 'jwt').subject })
      longLived.endWhere('revoked', ({ tenantId }) => tenantId === tenant.id)
    }
    return tenant
  })

  fastify.put('/v1/admin/tenants/:tenantId/provisioning/:step', { config: { auth: operator }, schema: { params: Type.Object({ tenantId: Type.String(), step }), body: Type.Object({ state }) } }, async (request) => {
    const tenant = tenantIn(data, request.params.tenantId)
    const provisioning = { ...tenant.provisioning, [request.params.step]: request.body.state }
    const done = provisioningSteps.every((name) => provisioning[name] === 'done')
    const changed = { ...tenant, provisioning, status: tenant.status === 'provisioning' && done ? 'active' as const : tenant.status }
    data.tenants.set(tenant.id, changed)
    return changed
  })

  // Every route and its rule in words, as they are and not as somebody has written them down.
  fastify.get('/v1/admin/routes', { config: { auth: operator } }, async () => ({ routes: routes() }))
}
export default admin
