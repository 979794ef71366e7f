/**
 * A self-hosted installation that signs its tokens itself: its own @fastify/jwt mints them, the plugin verifies them.
 * `JWT_SECRET=… ADMIN_PASSWORD=… npx tsx self-hosted.ts`; the secret has 32 bytes or more: `openssl rand -base64 32`.
 */
import { scryptSync, timingSafeEqual } from 'node:crypto'
import fastifyJwt from '@fastify/jwt'
import type { TypeBoxTypeProvider } from '@fastify/type-provider-typebox'
import { Type } from '@sinclair/typebox'
import Fastify from 'fastify'
// In an application: from 'fastify-causeflow-auth'.
import causeflowAuth, { auth, principalOf, type CauseflowClaims } from '../../lib/index.js'

export const app = Fastify({ logger: { level: process.env.LOG_LEVEL ?? 'info' } }).withTypeProvider<TypeBoxTypeProvider>()

const secret = process.env.JWT_SECRET!
const [issuer, audience] = ['causeflow', 'causeflow-api']
await app.register(fastifyJwt, { secret, sign: { algorithm: 'HS256', iss: issuer, aud: audience, expiresIn: '15m' } })
await app.register(causeflowAuth, { jwt: { issuer, audience, secret } })

const digestOf = (password: string): Buffer => scryptSync(password, 'a salt of this user', 32)
const user = { id: 'usr_1', email: 'ada@example.com', tenantId: 'ten_ACME', roles: ['admin'], password: digestOf(process.env.ADMIN_PASSWORD!) }

const schema = { body: Type.Object({ email: Type.String(), password: Type.String({ maxLength: 200 }) }) }
app.post('/v1/login', { config: { auth: auth.public() }, schema }, async ({ body }, reply) => {
  // Both are looked at, so that the time tells nobody which was wrong.
  const known = timingSafeEqual(digestOf(body.password), user.password)
  if (!known || body.email !== user.email) return await reply.code(401).send({ error: 'unauthorized', message: 'E-mail or password is wrong' })
  const claims: Omit<CauseflowClaims, 'iss' | 'aud' | 'exp'> = { sub: user.id, email: user.email, tenant_id: user.tenantId, roles: user.roles }
  return { token: app.jwt.sign(claims) }
})

app.get('/v1/me', async (request) => ({ subject: principalOf(request, 'jwt').subject, tenantId: principalOf(request).tenantId }))
app.get('/v1/settings', { config: { auth: auth.jwt().roles('admin') } }, async () => ({ plan: 'self-hosted' }))

await app.listen({ port: Number(process.env.PORT ?? 3000) })
