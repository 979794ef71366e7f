/** Swagger UI at /docs, for everybody, which signs what it sends. */
import swaggerUi from '@fastify/swagger-ui'
import type { FastifyInstance } from 'fastify'
import causeflowAuth, { auth } from '../../../lib/index.js'

/** A scope of its own: its routes are public, and those of the application keep their default. Register it after @fastify/swagger. */
export async function docs (fastify: FastifyInstance): Promise<void> {
  await fastify.register(causeflowAuth, { default: auth.public() })
  await fastify.register(swaggerUi, {
    routePrefix: '/docs',
    uiConfig: { docExpansion: 'list', showExtensions: true, tryItOutEnabled: true, requestInterceptor: signInBrowser },
    theme: { title: 'The API of the demo' },
    // Everything is served from here. 'unsafe-inline' is for styles alone, which Swagger UI writes into its elements.
    staticCSP: "default-src 'self'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; connect-src 'self'; object-src 'none'; base-uri 'none'; frame-ancestors 'none'"
  })
}

/**
 * Runs in the browser. What was entered for a signature under "Authorize" is the secret: it stays there, and the request carries the
 * signature of its body in the secret's place.
 * Swagger UI gets this function as text, so that it can use nothing from around it.
 */
async function signInBrowser (request: Record<string, any>): Promise<Record<string, any>> {
  const header = 'x-webhook-signature'
  const secret: string | undefined = request.headers[header]
  if (secret === undefined) return request
  // First of all, so that no failure below lets it out.
  delete request.headers[header]
  const bytes = new TextEncoder().encode(request.body)
  const key = await crypto.subtle.importKey('raw', new TextEncoder().encode(secret), { name: 'HMAC', hash: 'SHA-256' }, false, ['sign'])
  const digest = new Uint8Array(await crypto.subtle.sign('HMAC', key, bytes))
  request.headers[header] = `sha256=${Array.from(digest, (byte) => byte.toString(16).padStart(2, '0')).join('')}`
  return request
}
