/** The whole API, in the order in which it has to be put together. Why that order: README.md beside this file. */
import { join } from 'node:path'
import autoload from '@fastify/autoload'
import cors from '@fastify/cors'
import swagger from '@fastify/swagger'
import websocket from '@fastify/websocket'
import Fastify, { type FastifyInstance } from 'fastify'
// In an application: from 'fastify-causeflow-auth', and from 'fastify-causeflow-auth/openapi'.
import causeflowAuth, { apiKeySecret, causeflowErrorHandler, logRedactPaths, slack, standardWebhooks, stripe } from '../../../lib/index.js'
import { withCauseflowOpenApi } from '../../../lib/openapi/index.js'
import { limitAddresses, limitTenants } from './limits.js'
import { LongLived } from './long-lived.js'
import { Progress } from './progress.js'
import { relayIssuer } from './relay-token.js'
import type { Services, Settings } from './settings.js'

export async function buildApi ({ jwt, relaySecret, store, replay, secrets, origins, limits, data, clock, schedule, log }: Settings): Promise<FastifyInstance> {
  const app = Fastify({
    // How long a body may take. Node allows it the larger of the two, and Fastify leaves headersTimeout at 60 s.
    requestTimeout: 10_000,
    http: { headersTimeout: 10_000 },
    logger: {
      ...log,
      // Headers are logged here, and credentials are in headers.
      redact: [...logRedactPaths],
      serializers: { req: ({ method, url, headers }) => ({ method, url, headers }) }
    }
  })
  app.setErrorHandler(causeflowErrorHandler())
  app.setNotFoundHandler((_request, reply) => reply.code(404).send({ error: 'not_found', message: 'There is nothing at this address' }))

  // 1. Closes the connection of an upgrade that is refused, if it has seen the request before whatever refuses it; and it wraps the handlers
  // of sockets, so that causeflowAuth wraps what it has made of them.
  await app.register(websocket, { options: { maxPayload: 65_536 } })

  // 2. A preflight carries no credential: it is answered before anybody asks for one, and every refusal below bears the headers without which a page could not read it.
  await app.register(cors, { origin: [...origins], methods: ['GET', 'POST', 'PUT', 'PATCH', 'DELETE'] })

  // 3. Counts failed attempts, so it comes before what refuses them.
  await limitAddresses(app, limits.perAddress)

  // 4. Before or after causeflowAuth; before everything that it is to document.
  await app.register(swagger, withCauseflowOpenApi({ openapi: { openapi: '3.1.0', info: { title: 'An API like CauseFlow\'s', version: '1.0.0' } } }, { webhooks: true }))

  // 5. From here on a route that says nothing wants a token.
  const isRevoked = ({ subject, tenantId }: { subject: string, tenantId: string | null }): boolean => data.revoked.has(subject) || (tenantId !== null && data.revoked.has(tenantId))
  await app.register(causeflowAuth, {
    jwt: [
      { ...jwt, isRevoked },
      // A relay is no user: its tokens have an issuer and an audience of their own, so neither opens the other's routes.
      { ...relayIssuer, secret: relaySecret, isRevoked }
    ],
    apiKey: { store },
    webhook: [
      // Monitoring tools: each key has a signing secret of its own.
      { secret: apiKeySecret(), replay },
      { name: 'clerk', scheme: standardWebhooks(), secret: secrets.clerk, replay },
      { name: 'stripe', scheme: stripe(), secret: secrets.stripe, replay },
      { name: 'slack', scheme: slack(), secret: secrets.slack, replay }
    ],
    clock
  })

  // 6. Counts principals, so it comes after what proves them, and before the routes that it limits.
  await limitTenants(app, limits.perTenant)

  // 7. Everything that has routes. Each file of routes/ is a scope of its own below this one, and inherits all of the above.
  const longLived = new LongLived({ clock, schedule })
  // A stream that is open would keep the server from closing.
  app.addHook('preClose', async () => { longLived.endWhere('closing', () => true) })
  const services: Services = { data, clock, relaySecret, longLived, progress: new Progress() }
  await app.register(autoload, { dir: join(import.meta.dirname, 'routes'), forceESM: true, options: services })
  return app
}
