import Fastify from 'fastify'
import causeflowAuth, { auth, isAuthError, principalOf, type CauseflowAuthOptions, type Principal } from 'fastify-causeflow-auth'

const options: CauseflowAuthOptions = { jwt: { issuer: 'https://acme.clerk.accounts.dev' } }
const app = Fastify()
await app.register(causeflowAuth, options)

app.get('/v1/incidents', { config: { auth: auth.jwt().roles('admin') } }, async (request) => {
  const principal: Principal | null = request.principal
  return { subject: principalOf(request, 'jwt').subject, tenantId: principal?.tenantId ?? null }
})
app.setErrorHandler((error, request, reply) => { reply.send(isAuthError(error) ? error.code : error) })
console.log(app.causeflowAuth.routes())

// @ts-expect-error -- nothing published brings the types of @fastify/jwt: request.user is the application's to name
app.get('/user', async (request) => request.user)
// @ts-expect-error -- and so is app.jwt
console.log(app.jwt)
