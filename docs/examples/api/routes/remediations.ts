/** What is proposed to mend an incident. A person decides; a person and a runner's key together carry it out. */
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Type } from '@sinclair/typebox'
import { auth, principalOf } from '../../../../lib/index.js'
import type { Remediation } from '../data.js'
import type { Services } from '../settings.js'
import { RequestError } from '../table.js'
import { tenantOf } from '../tenant.js'

const params = Type.Object({ remediationId: Type.String() })
const admin = auth.jwt().roles('admin')
/** Neither a stolen token nor a stolen key changes production by itself. Both have to be of one tenant. */
const adminWithRunner = auth.all(admin, auth.apiKey().scopes('remediations:execute'))

const remediations: FastifyPluginAsyncTypebox<Services> = async (fastify, { data }) => {
  const advance = (tenantId: string, id: string, from: Remediation['status'], changes: Partial<Pick<Remediation, 'status' | 'decidedBy'>>): Remediation => {
    const { status } = data.remediations.find(tenantId, id)
    if (status !== from) throw new RequestError(409, `The remediation is ${status}`)
    return data.remediations.change(tenantId, id, changes)
  }

  fastify.get('/v1/remediations', async (request) => ({ remediations: data.remediations.list(tenantOf(request)) }))

  for (const [verb, status] of [['approve', 'approved'], ['reject', 'rejected']] as const) {
    fastify.post(`/v1/remediations/:remediationId/${verb}`, { config: { auth: admin }, schema: { params } }, async (request) => {
      return advance(tenantOf(request), request.params.remediationId, 'proposed', { status, decidedBy: principalOf(request, 'jwt').subject })
    })
  }

  fastify.post('/v1/remediations/:remediationId/execute', { config: { auth: adminWithRunner }, schema: { params } }, async (request) => {
    const { keyId } = principalOf(request, 'apiKey')
    return { ...advance(tenantOf(request), request.params.remediationId, 'approved', { status: 'executed' }), runner: keyId }
  })
}
export default remediations
