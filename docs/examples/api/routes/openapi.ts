/** The document of the API. It tells every route and its rule: where that is not for everybody, give it another rule. */
import type { FastifyInstance } from 'fastify'
import { auth } from '../../../../lib/index.js'

export default async function openapi (fastify: FastifyInstance): Promise<void> {
  fastify.get('/v1/openapi.json', { config: { auth: auth.public() }, schema: { hide: true } }, async () => fastify.swagger())
}
