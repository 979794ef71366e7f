/**
 * Starts the API: `npx tsx docs/examples/api/start.ts`. With CLERK_ISSUER, RELAY_SECRET, CLERK_WEBHOOK_SECRET, SLACK_SIGNING_SECRET and
 * STRIPE_WEBHOOK_SECRET it takes real tokens and deliveries. Without CLERK_ISSUER it brings an issuer of its own, two tenants and a
 * token of each kind, and makes up what else is missing.
 */
import { randomBytes } from 'node:crypto'
// In an application: from 'fastify-causeflow-auth', and from 'fastify-causeflow-auth/testing'.
import { MemoryApiKeyStore, MemoryReplayStore } from '../../../lib/index.js'
import { createTestIssuer } from '../../../lib/testing/index.js'
import { buildApi } from './app.js'
import { createData } from './data.js'
import { seed } from './seed.js'

const { env } = process
const issuer = env.CLERK_ISSUER === undefined ? await createTestIssuer() : null
const secretIn = (name: string): string => env[name] ?? (issuer === null ? missing(name) : randomBytes(32).toString('base64'))
const data = createData()

const app = await buildApi({
  jwt: { issuer: issuer?.issuer ?? env.CLERK_ISSUER! },
  relaySecret: secretIn('RELAY_SECRET'),
  // Of this process alone; PostgresApiKeyStore and RedisReplayStore are shared.
  store: new MemoryApiKeyStore(),
  replay: new MemoryReplayStore(),
  secrets: {
    // Standard Webhooks: base64 behind whsec_.
    clerk: env.CLERK_WEBHOOK_SECRET ?? `whsec_${secretIn('CLERK_WEBHOOK_SECRET')}`,
    slack: secretIn('SLACK_SIGNING_SECRET'),
    stripe: secretIn('STRIPE_WEBHOOK_SECRET')
  },
  origins: (env.APP_ORIGINS ?? 'http://localhost:5173').split(','),
  limits: { perAddress: 300, perTenant: 1000 },
  data,
  clock: Date.now,
  schedule (action, milliseconds) {
    const timer = setTimeout(action, milliseconds).unref()
    return () => { clearTimeout(timer) }
  },
  log: { level: env.LOG_LEVEL ?? 'info' }
})
await app.listen({ port: Number(env.PORT ?? 3000) })
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(signal, async () => {
    await app.close()
    await issuer?.close()
  })
}

if (issuer !== null) {
  seed(data)
  const claims = { tenant_id: 'ten_ACME', exp: Math.floor(Date.now() / 1000) + 8 * 3600 }
  const key = await app.causeflowAuth.apiKeys.create({ tenantId: 'ten_ACME', name: 'Datadog', scopes: ['ingest', 'incidents:read'] })
  console.log(`Listening on ${app.listeningOrigin}`)
  console.log(`A member:  ${issuer.token({ ...claims, sub: 'usr_MEMBER_ACME' })}`)
  console.log(`An admin:  ${issuer.token({ ...claims, sub: 'usr_ADMIN_ACME', roles: ['admin'] })}`)
  console.log(`A key:     ${key.plaintextKey}, whose deliveries are signed with ${key.webhookSecret}`)
}

function missing (name: string): never {
  throw new TypeError(`${name} is not set`)
}
