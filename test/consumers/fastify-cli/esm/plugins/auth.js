import fp from 'fastify-plugin'
import causeflowAuth from 'fastify-causeflow-auth'

export default fp(async (fastify) => {
  await fastify.register(causeflowAuth, { jwt: { issuer: 'https://acme.clerk.accounts.dev', warmup: false } })
})
