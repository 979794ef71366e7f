/** Plans and payment: people with a role, and Stripe with its signature. */
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Type } from '@sinclair/typebox'
import { auth } from '../../../../lib/index.js'
import { tenantIn } from '../data.js'
import type { Services } from '../settings.js'
import { tenantOf } from '../tenant.js'

const plan = Type.Union([Type.Literal('team'), Type.Literal('enterprise')])
/** One of the two roles. */
const mayPay = auth.jwt().roles('admin', 'billing')

const StripeEventSchema = Type.Object({
  type: Type.String(),
  data: Type.Object({ object: Type.Object({ status: Type.Optional(Type.String()), metadata: Type.Optional(Type.Record(Type.String(), Type.String())) }) })
})

const billing: FastifyPluginAsyncTypebox<Services> = async (fastify, { data }) => {
  fastify.get('/v1/billing/subscription', { config: { auth: mayPay } }, async (request) => ({ plan: tenantIn(data, tenantOf(request)).plan }))

  fastify.post('/v1/billing/checkout', { config: { auth: mayPay }, schema: { body: Type.Object({ plan }) } }, async (request, reply) => {
    const { id } = tenantIn(data, tenantOf(request))
    return await reply.code(201).send({ tenantId: id, plan: request.body.plan, url: 'https://checkout.example.com' })
  })

  // Nobody is asked for a tenant: the secret is the platform's, and whose event it is stands in the verified body.
  fastify.post('/v1/billing/stripe', { config: { auth: auth.webhook('stripe') }, schema: { body: StripeEventSchema } }, async (request) => {
    const { type, data: { object } } = request.body
    const { tenant_id: tenantId, plan } = object.metadata ?? {}
    if (type === 'customer.subscription.updated' && tenantId !== undefined && plan !== undefined) {
      data.tenants.set(tenantId, { ...tenantIn(data, tenantId), plan })
    }
    // An event of tomorrow is accepted: refused, it would be sent again and again.
    return { received: type }
  })
}
export default billing
