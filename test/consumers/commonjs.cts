import Fastify = require('fastify')
import causeflowAuth = require('fastify-causeflow-auth')

const app = Fastify()
app.register(causeflowAuth, { jwt: { issuer: 'https://acme.clerk.accounts.dev' } })
app.get('/v1/incidents', { config: { auth: causeflowAuth.auth.jwt() } }, async (request) => causeflowAuth.principalOf(request).scheme)
