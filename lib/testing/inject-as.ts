/** Requests in the name of a principal, for tests of an application that uses the plugin. */
import { randomUUID } from 'node:crypto'
import type { InjectOptions, LightMyRequestResponse } from 'fastify'
import { freezePrincipal, type ApiKeyPrincipal, type JwtPrincipal, type Principal, type WebhookPrincipal } from '../principal.js'
import { addStandIns, standInHeader } from '../stand-in.js'

/** A principal of which only what the test is about has to be said. Default scheme: 'jwt'. */
export type PartialPrincipal =
  | ({ scheme?: 'jwt' } & Partial<Omit<JwtPrincipal, 'scheme' | 'proofs'>>)
  | ({ scheme: 'apiKey' } & Partial<Omit<ApiKeyPrincipal, 'scheme' | 'proofs'>>)
  | ({ scheme: 'webhook' } & Partial<Omit<WebhookPrincipal, 'scheme' | 'proofs'>>)

/** An application of any server. */
interface Injectable { inject (options: InjectOptions): Promise<LightMyRequestResponse> }

/**
 * Sends a request as this principal (several for a rule with `all`) without a credential. Verification alone is
 * skipped: the route's rule is decided as always, so roles, scopes, tenants and checks refuse as they would. A signed
 * route still needs a body. What is not given is made up: no tenant, no roles, no scopes; a token of the
 * issuer that the rule names first, a webhook of the name that it names first. Not under NODE_ENV=production.
 */
export async function injectAs (app: Injectable, principals: PartialPrincipal | readonly PartialPrincipal[], request: string | InjectOptions): Promise<LightMyRequestResponse> {
  if (process.env.NODE_ENV === 'production') throw new Error('injectAs() skips verification and does not run under NODE_ENV=production')
  const id = randomUUID()
  const given = Array.isArray(principals) ? principals as readonly PartialPrincipal[] : [principals as PartialPrincipal]
  const end = addStandIns(id, given.map((principal) => freezePrincipal(complete(principal))))
  try {
    const options = typeof request === 'string' ? { url: request } : request
    return await app.inject({ ...options, headers: { ...options.headers, [standInHeader]: id } })
  } finally {
    end()
  }
}

function complete (given: PartialPrincipal): Principal {
  const party = { tenantId: null, roles: [], scopes: [] }
  if (given.scheme === 'apiKey') {
    const made = { keyId: 'key_00000000000000000000000000', name: 'test', environment: 'test' as const, createdBy: null }
    return { ...party, ...made, ...given, tenantId: given.tenantId ?? 'ten_test', ...copied(given), proofs: ['apiKey'], scheme: 'apiKey' }
  }
  if (given.scheme === 'webhook') {
    return { ...party, source: '', deliveryId: null, timestamp: null, ...given, ...copied(given), proofs: ['webhook'], scheme: 'webhook' }
  }
  const made = { subject: 'usr_test', email: null, issuer: '', expiresAt: Number.MAX_SAFE_INTEGER, claims: {} }
  return { ...party, ...made, ...given, ...copied(given), proofs: ['jwt'], scheme: 'jwt' } as JwtPrincipal
}

/** Copies of the lists, which are about to be frozen. */
function copied (given: PartialPrincipal): { roles: Principal['roles'], scopes: Principal['scopes'] } {
  return { roles: [...given.roles ?? []], scopes: [...given.scopes ?? []] }
}
