/**
 * Two limits, on two sides of causeflowAuth. Each is a registration of its own: one registration of @fastify/rate-limit counts
 * a request once, so that a second limit in it would never count.
 */
import rateLimit from '@fastify/rate-limit'
import type { FastifyInstance, FastifyRequest } from 'fastify'

/** By address. It stands before causeflowAuth, in onRequest: after it, whoever guesses credentials would never be counted. */
export async function limitAddresses (app: FastifyInstance, max: number): Promise<void> {
  await app.register(rateLimit, { global: false })
  app.addHook('onRequest', app.rateLimit({ max, timeWindow: 60_000 }))
}

/**
 * By tenant, so that one tenant's users and keys cannot take the API from the others. It stands after causeflowAuth, and in preHandler:
 * the sender of a signed body is known only when the body has been read.
 */
export async function limitTenants (app: FastifyInstance, max: number): Promise<void> {
  await app.register(rateLimit, {
    hook: 'preHandler',
    max,
    timeWindow: 60_000,
    keyGenerator: holderOf,
    // Public routes have the limit by address.
    allowList: (request) => request.principal === null
  })
}

/** A tenant; who has none stands for himself. */
function holderOf ({ principal }: FastifyRequest): string {
  if (principal === null) return ''
  if (principal.tenantId !== null) return `tenant ${principal.tenantId}`
  return principal.scheme === 'jwt' ? `user ${principal.subject}` : `sender ${principal.scheme === 'webhook' ? principal.source : principal.keyId}`
}
