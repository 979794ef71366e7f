const { auth } = require('fastify-causeflow-auth')

module.exports = async function incidents (fastify, options) {
  fastify.get('/incidents', async () => [])
  fastify.get('/rules', { config: { auth: auth.public() } }, async () => ({ greeting: options.greeting, routes: fastify.causeflowAuth.routes() }))
}
