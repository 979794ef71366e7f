/** The world of the demo: an issuer, a store, two tenants, and credentials of every kind, good and bad. */
import { randomBytes } from 'node:crypto'
import type { AddressInfo } from 'node:net'
import { createApiKey, type IssuedApiKey } from '../../../lib/index.js'
import { createTestIssuer, type TestIssuer } from '../../../lib/testing/index.js'
import { buildApi } from './api.js'
import { openStores, type StoreChoice } from './stores.js'

export interface World {
  /** Where the API listens. */
  readonly origin: string
  readonly issuer: TestIssuer
  readonly tenant: string
  readonly otherTenant: string
  readonly tokens: Readonly<Record<'member' | 'admin' | 'newcomer' | 'expired' | 'forged' | 'unsigned' | 'otherAudience' | 'signedOut', string>>
  readonly keys: Readonly<Record<'ingest' | 'reader' | 'other' | 'expired' | 'revoked', IssuedApiKey>>
  /** Well formed, and nobody's. */
  readonly unknownKey: string
  /** With which another installation signs what it delivers to /v1/events. */
  readonly eventSecret: string
  /** Milliseconds since the epoch, as the API has it. */
  clock (): number
  close (): Promise<void>
}

const hour = 3_600_000

/** Starts everything on this machine. `port` 0 takes a free one. */
export async function createWorld (port: number, choice: StoreChoice = { store: 'memory', channel: 'store' }): Promise<World> {
  // An expired key cannot be made, so one is made yesterday.
  let behind = 24 * hour
  const clock = (): number => Date.now() - behind
  const tenant = 'ten_ACME'
  const otherTenant = 'ten_GLOBEX'
  const signedOut = 'usr_SIGNED_OUT'
  const eventSecret = `whsec_${randomBytes(24).toString('base64')}`

  const issuer = await createTestIssuer({ clock })
  const stores = await openStores(choice, clock)
  const app = await buildApi({
    jwt: { ...issuer.jwtOptions(), isRevoked: ({ subject }) => subject === signedOut },
    store: stores.keys,
    replay: stores.replay,
    sealingKeys: stores.sealingKeys,
    eventSecret,
    clock
  })
  const { apiKeys } = app.causeflowAuth
  const expired = await apiKeys.create({ tenantId: tenant, name: 'Expired', expiresAt: new Date(clock() + hour) })
  behind = 0
  const keys = {
    ingest: await apiKeys.create({ tenantId: tenant, name: 'Datadog' }),
    reader: await apiKeys.create({ tenantId: tenant, name: 'Report', scopes: ['report:read'] }),
    other: await apiKeys.create({ tenantId: otherTenant, name: 'Of another tenant' }),
    expired,
    revoked: await apiKeys.create({ tenantId: tenant, name: 'Revoked' })
  }
  await apiKeys.revoke({ tenantId: tenant, keyId: keys.revoked.keyId })

  // For a morning of trying; a test issuer's tokens last five minutes otherwise.
  const claims = { tenant_id: tenant, exp: Math.floor((clock() + 8 * hour) / 1000) }
  const good = issuer.token(claims)
  await app.listen({ port, host: '127.0.0.1' })

  return {
    origin: `http://127.0.0.1:${(app.server.address() as AddressInfo).port}`,
    issuer,
    tenant,
    otherTenant,
    tokens: {
      member: good,
      admin: issuer.token({ ...claims, sub: 'usr_ADMIN', roles: ['admin'] }),
      newcomer: issuer.token({ ...claims, sub: 'usr_NEWCOMER', tenant_id: undefined }),
      expired: issuer.expired({ tenant_id: tenant }),
      forged: issuer.forged(claims),
      unsigned: unsigned(good),
      otherAudience: issuer.token({ ...claims, aud: 'https://another.example.com' }),
      signedOut: issuer.token({ ...claims, sub: signedOut })
    },
    keys,
    unknownKey: createApiKey().key,
    eventSecret,
    clock,
    async close () {
      await app.close()
      await stores.close()
      await issuer.close()
    }
  }
}

/** The token with the algorithm `none` in its header and the signature kept. */
function unsigned (token: string): string {
  const [, ...rest] = token.split('.')
  return [Buffer.from(JSON.stringify({ alg: 'none', typ: 'JWT' })).toString('base64url'), ...rest].join('.')
}
