/** Administrators make, rotate and revoke the keys of their tenant; everybody in it may list them. */
import type { FastifyInstance } from 'fastify'
import { apiKeyRoutes, auth } from '../../../../lib/index.js'

export default async function apiKeys (fastify: FastifyInstance): Promise<void> {
  // By people alone: a key that could make keys could make one with any scope.
  await fastify.register(apiKeyRoutes, { prefix: '/v1', manage: auth.jwt().roles('admin'), list: auth.jwt() })
}
