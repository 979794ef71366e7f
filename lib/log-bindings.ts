/** Whose request a log line is about: never an e-mail address, a name or a part of a credential. */
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { AnyReply, AnyRequest } from './any-server.js'
import type { Principal } from './principal.js'

/** What a log line says of a principal: the scheme, the tenant, and the subject, the key or the source, by its id. */
export interface PrincipalBindings {
  readonly scheme: Principal['scheme']
  readonly tenantId: string | null
  /** Of a token. */
  readonly subject?: string
  /** Of an API key. */
  readonly keyId?: string
  /** Of a webhook: its configured name. */
  readonly source?: string
}

/** Characters of a value in a log line. An issuer chooses subject and tenant, and a token may have 6 kB of them. */
const maxLength = 256

/** The bindings of a principal, for a logger, a metric or a span of your own. A value of more than 256 characters is cut, and ends with `…`. */
export function principalBindings (principal: Principal): PrincipalBindings {
  const { scheme } = principal
  const tenantId = principal.tenantId === null ? null : shorten(principal.tenantId)
  switch (scheme) {
    case 'jwt': return { scheme, tenantId, subject: shorten(principal.subject) }
    case 'apiKey': return { scheme, tenantId, keyId: shorten(principal.keyId) }
    case 'webhook': return { scheme, tenantId, source: principal.source }
  }
}

function shorten (value: string): string {
  return value.length > maxLength ? `${value.slice(0, maxLength)}…` : value
}

/**
 * A hook for `app.addHook('preValidation', bindPrincipalToLog)`: every later line of a request's log has its principalBindings, Fastify's
 * own 'request completed' included. In an earlier phase a signed request is not proved yet. It makes a child logger for each request that
 * has a principal.
 */
export function bindPrincipalToLog (request: AnyRequest, reply: AnyReply, done: () => void): void {
  const { principal, log } = request as FastifyRequest
  if (principal !== null && principal !== undefined) {
    (request as FastifyRequest).log = (reply as FastifyReply).log = log.child(principalBindings(principal))
  }
  done()
}
