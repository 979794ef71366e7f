/** Tokens for relays, the programs that run inside a customer's network: short, signed by this API, for this API. */
import { SignJWT } from 'jose'

export const relayIssuer = { name: 'relay', issuer: 'causeflow-relay', audience: 'causeflow-relay' } as const

const lifetime = 15 * 60

export async function relayToken ({ tenantId, relayId, secret, clock }: { tenantId: string, relayId: string, secret: string, clock: () => number }): Promise<{ token: string, expiresAt: string }> {
  const issuedAt = Math.floor(clock() / 1000)
  const token = await new SignJWT({ tenant_id: tenantId })
    .setProtectedHeader({ alg: 'HS256', typ: 'JWT' })
    .setIssuer(relayIssuer.issuer)
    .setAudience(relayIssuer.audience)
    .setSubject(relayId)
    .setIssuedAt(issuedAt)
    .setExpirationTime(issuedAt + lifetime)
    .sign(Buffer.from(secret))
  return { token, expiresAt: new Date((issuedAt + lifetime) * 1000).toISOString() }
}
