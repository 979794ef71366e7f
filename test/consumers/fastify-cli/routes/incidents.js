export default async function incidents (fastify) {
  fastify.get('/incidents', async () => [])
  fastify.get('/rules', { config: { auth: (await import('fastify-causeflow-auth')).auth.public() } }, async () => fastify.causeflowAuth.routes())
}
