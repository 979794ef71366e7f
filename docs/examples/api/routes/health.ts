/** For load balancers: no credential is asked for, and nothing is told. */
import type { FastifyInstance } from 'fastify'
import { auth } from '../../../../lib/index.js'

export default async function health (fastify: FastifyInstance): Promise<void> {
  fastify.get('/health', { config: { auth: auth.public() } }, async () => ({ status: 'ok' }))
}
