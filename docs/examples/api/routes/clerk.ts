/** What Clerk tells of its users. Its tokens are verified everywhere; this is its webhook, signed as Standard Webhooks are. */
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Type } from '@sinclair/typebox'
import { auth } from '../../../../lib/index.js'
import type { Services } from '../settings.js'

const ClerkEventSchema = Type.Object({ type: Type.String(), data: Type.Object({ id: Type.String() }) })

const clerk: FastifyPluginAsyncTypebox<Services> = async (fastify, { data, longLived }) => {
  fastify.post('/v1/clerk/events', { config: { auth: auth.webhook('clerk') }, schema: { body: ClerkEventSchema } }, async (request) => {
    const { type, data: { id } } = request.body
    if (type === 'user.deleted') {
      data.revoked.add(id)
      longLived.endWhere('revoked', ({ subject }) => subject === id)
    }
    return { received: type }
  })
}
export default clerk
