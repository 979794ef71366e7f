const fp = require('fastify-plugin')
const causeflowAuth = require('fastify-causeflow-auth')

module.exports = fp(async (fastify) => {
  await fastify.register(causeflowAuth, { jwt: { issuer: 'https://acme.clerk.accounts.dev', warmup: false } })
})
