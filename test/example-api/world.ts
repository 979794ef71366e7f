/** The API of docs/examples/api as a test has it: listening on loopback, with two tenants, an issuer, and a clock that the test moves. */
import { request as send, type IncomingMessage } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { FastifyInstance } from 'fastify'
import { buildApi } from '../../docs/examples/api/app.js'
import { createData, type Data } from '../../docs/examples/api/data.js'
import { relayToken } from '../../docs/examples/api/relay-token.js'
import { seed } from '../../docs/examples/api/seed.js'
import type { Settings } from '../../docs/examples/api/settings.js'
import { MemoryApiKeyStore, MemoryReplayStore, signWebhook, slack, standardWebhooks, stripe, type IssuedApiKey } from '../../lib/index.js'
import { bearer, createTestIssuer, type TestIssuer } from '../../lib/testing/index.js'
import type { Teardown } from '../fixtures/app.js'

// The routes are read from source here, which autoload cannot see by itself under every way of running a test.
process.env.FASTIFY_AUTOLOAD_TYPESCRIPT = '1'

type Of<Name extends string> = Name | `${Name} of GLOBEX`
type TokenName = Of<'member' | 'admin' | 'billing' | 'relay'> | 'newcomer' | 'operator'
export type KeyName = Of<keyof typeof scopesOf>
type Single = TokenName | KeyName | `${KeyName | 'stripe' | 'clerk' | 'slack'} signature`
/** Who asks; without `of GLOBEX` it is of ACME, whose rows the table's URLs name. */
export type Credential = Single | `${Single} and ${Single}`

const scopesOf = {
  reader: ['incidents:read'],
  writer: ['incidents:write'],
  widget: ['widget:read', 'widget:write'],
  monitor: ['ingest'],
  runner: ['remediations:execute']
} as const

/** Key pairs take their time: one issuer serves every world of a file. Its clock is that of the world made last. */
let shared: Promise<TestIssuer> | null = null
let now = 0
const start = Date.UTC(2030, 0, 1)

export interface Answer { readonly status: number, readonly headers: IncomingMessage['headers'], readonly text: string }
export interface Ask { method?: string, path: string, headers?: Record<string, string>, body?: string, upgrade?: boolean }

export class World {
  readonly app: FastifyInstance
  readonly data: Data
  readonly #settings: Settings
  readonly #issuer: TestIssuer
  readonly #keys = new Map<KeyName, Promise<IssuedApiKey>>()
  readonly #timers: Timers

  constructor (app: FastifyInstance, settings: Settings, issuer: TestIssuer, timers: Timers) {
    this.app = app
    this.data = settings.data
    this.#settings = settings
    this.#issuer = issuer
    this.#timers = timers
  }

  get port (): number {
    return (this.app.server.address() as AddressInfo).port
  }

  /** Lets time pass, and what was scheduled for it happen. */
  advance (milliseconds: number): void {
    now += milliseconds
    this.#timers.run()
  }

  /** How much is scheduled. */
  get timers (): number {
    return this.#timers.size
  }

  /** A token, for five minutes; a relay's, for fifteen. */
  async token (name: TokenName): Promise<string> {
    if (name === 'operator') return this.#issuer.token({ sub: 'usr_OPERATOR', tenant_id: undefined, roles: ['operator'] })
    if (name === 'newcomer') return this.#issuer.token({ sub: 'usr_NEWCOMER', tenant_id: undefined, roles: [], email: 'newcomer@acme.example.com' })
    const [role = '', tenant = 'ACME'] = name.split(' of ')
    const tenantId = `ten_${tenant}`
    if (role === 'relay') return (await relayToken({ tenantId, relayId: `rly_${tenant}`, secret: this.#settings.relaySecret, clock: this.#settings.clock })).token
    return this.#issuer.token({ sub: `usr_${role.toUpperCase()}_${tenant}`, tenant_id: tenantId, roles: [role], email: `${role}@${tenant.toLowerCase()}.example.com` })
  }

  /** A key, made when it is first asked for. */
  async key (name: KeyName): Promise<IssuedApiKey> {
    const [use = '', tenant = 'ACME'] = name.split(' of ')
    const key = this.#keys.get(name) ?? this.app.causeflowAuth.apiKeys.create({ tenantId: `ten_${tenant}`, name: use, scopes: [...scopesOf[use as keyof typeof scopesOf]] })
    this.#keys.set(name, key)
    return await key
  }

  /** The headers of a request that bears this credential and this body. */
  async headers (credential: Credential, body = ''): Promise<Record<string, string>> {
    const headers = await Promise.all(credential.split(' and ').map((single) => this.#headersOf(single as Single, body)))
    return Object.assign({}, ...headers)
  }

  async #headersOf (credential: Single, body: string): Promise<Record<string, string>> {
    const { secrets } = this.#settings
    const timestamp = Math.floor(now / 1000)
    switch (credential) {
      case 'stripe signature': return signWebhook(body, secrets.stripe, stripe(), { timestamp })
      case 'clerk signature': return signWebhook(body, secrets.clerk, standardWebhooks(), { timestamp, id: 'msg_1' })
      case 'slack signature': return signWebhook(body, secrets.slack, slack(), { timestamp })
    }
    if (isSignature(credential)) return signWebhook(body, (await this.key(credential.slice(0, -10) as KeyName)).webhookSecret!)
    if (isKey(credential)) return { 'x-api-key': (await this.key(credential)).plaintextKey }
    return bearer(await this.token(credential))
  }

  /** Over a socket. An answer that has no end is left once its head is here; an upgrade is answered 101. */
  async ask ({ method = 'GET', path, headers = {}, body, upgrade = false }: Ask): Promise<Answer> {
    const upgrading = { connection: 'Upgrade', upgrade: 'websocket', 'sec-websocket-version': '13', 'sec-websocket-key': 'MTIzNDU2Nzg5MDEyMzQ1Ng==' }
    return await new Promise((resolve, reject) => {
      const request = send({ host: '127.0.0.1', port: this.port, agent: false, method, path, headers: { ...headers, ...(upgrade ? upgrading : {}) } })
      request.on('error', reject)
      request.on('upgrade', (response, socket) => {
        socket.destroy()
        resolve({ status: 101, headers: response.headers, text: '' })
      })
      request.on('response', (response) => {
        const answer = (text: string): void => { resolve({ status: response.statusCode ?? 0, headers: response.headers, text }) }
        if (response.headers['content-type']?.startsWith('text/event-stream') === true) {
          response.destroy()
          return answer('')
        }
        let text = ''
        response.setEncoding('utf8').on('data', (part) => { text += String(part) }).on('end', () => { answer(text) }).on('error', reject)
      })
      request.end(body)
    })
  }
}

/** Not listening, it is not ready either: a test may still add a route. */
export async function createWorld (t: Teardown, own: Partial<Settings> = {}, { listening = true } = {}): Promise<World> {
  shared ??= createTestIssuer({ clock: () => now })
  const issuer = await shared
  now = start
  const clock = (): number => now
  const timers = new Timers(clock)
  const data = createData()
  seed(data)
  const settings: Settings = {
    jwt: issuer.jwtOptions(),
    relaySecret: 'a secret of the relays alone, of more than thirty-two bytes',
    store: new MemoryApiKeyStore(),
    replay: new MemoryReplayStore({ clock }),
    secrets: { clerk: 'whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD', slack: 'the secret of slack', stripe: 'whsec_the_secret_of_stripe' },
    origins: ['https://app.example.com'],
    limits: { perAddress: 1000, perTenant: 1000 },
    data,
    clock,
    schedule: (action, milliseconds) => timers.schedule(action, milliseconds),
    log: { level: 'silent' },
    ...own
  }
  const app = await buildApi(settings)
  t.teardown(() => app.close())
  if (listening) await app.listen({ host: '127.0.0.1', port: 0 })
  return new World(app, settings, issuer, timers)
}

/** Timers that the test lets go off. */
class Timers {
  readonly #waiting = new Set<{ at: number, action: () => void }>()
  readonly #clock: () => number

  constructor (clock: () => number) {
    this.#clock = clock
  }

  get size (): number {
    return this.#waiting.size
  }

  schedule (action: () => void, milliseconds: number): () => void {
    const timer = { at: this.#clock() + milliseconds, action }
    this.#waiting.add(timer)
    return () => this.#waiting.delete(timer)
  }

  run (): void {
    for (const timer of [...this.#waiting].filter(({ at }) => at <= this.#clock())) {
      this.#waiting.delete(timer)
      timer.action()
    }
  }
}

function isSignature (credential: Single): credential is `${KeyName} signature` {
  return credential.endsWith(' signature')
}

function isKey (credential: string): credential is KeyName {
  return credential.split(' of ')[0]! in scopesOf
}
