/** One registration of the plugin: its settings, its verifiers and the rules it can compile. */
import { randomBytes } from 'node:crypto'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { configError } from './errors.js'
import { createApiKeys, type ApiKeys } from './api-key/manage.js'
import { createKeyVerifier, type KeyVerifier } from './api-key/verify.js'
import { compileRule, type CompiledRule, type Offer, type Place } from './compiled-rule.js'
import { createTokenVerifier, type SignatureCheck, type TokenVerifier } from './jwt/verify.js'
import { needsKey, readOptions, type CauseflowAuthOptions, type Settings } from './options.js'
import { auth, nodeOf, type AuthRule, type RuleNode } from './rule.js'
import { createLabels, type Labels } from './webhook/raw-body.js'
import { createSignatureVerifier, type SignatureVerifier } from './webhook/verify.js'
import type { Timers } from './api-key/settings.js'
import type { Algorithm } from './jwt/algorithm.js'
import type { Principal } from './principal.js'
import type { Verifiers } from './presentation.js'
import type { SecretAnswer } from './webhook/secret.js'

/** A registration, as the rim uses it. */
export interface Registration {
  readonly settings: Settings
  readonly verifiers: Verifiers
  readonly labels: Labels
  readonly apiKeys: ApiKeys | null
  /** The rule of routes that state none. */
  readonly defaultRule: AuthRule
  /** Whether nothing was configured at all: closed, and worth a warning. */
  readonly bare: boolean
  /** What a child registration inherits from. */
  readonly given: CauseflowAuthOptions
  compile (node: RuleNode, place: Place): CompiledRule
  /** Issuers whose reachability is this registration's to check. */
  readonly owned: ReadonlyArray<{ readonly verifier: TokenVerifier, readonly warmup: 'require' | 'warn' | false }>
  /** Ends what this registration began; what it inherits is the parent's. */
  close (): Promise<void>
}

/**
 * Builds a registration. A child inherits what it does not name, verifiers with their caches and key sets
 * included, and replaces what it names whole.
 */
export async function createRegistration (own: CauseflowAuthOptions, parent: Registration | null, signatureCheck: (algorithms: readonly Algorithm[]) => Promise<SignatureCheck>): Promise<Registration> {
  // An own option that is undefined replaces the parent's here, so that it is noticed.
  const given: CauseflowAuthOptions = { ...parent?.given, ...own }
  const settings = readOptions(given)
  const inherits = (name: keyof CauseflowAuthOptions): boolean => parent !== null && own[name] === undefined && own.clock === undefined
  const { clock } = settings
  const owned: Array<{ verifier: TokenVerifier, warmup: 'require' | 'warn' | false }> = []
  let tokens: readonly TokenVerifier[] = parent?.verifiers.tokens ?? []
  if (!inherits('jwt')) {
    for (const issuer of settings.jwt) {
      const check = await signatureCheck(issuer.algorithms)
      owned.push({ verifier: createTokenVerifier(issuer, { check, clock, fetch: globalThis.fetch, random: Math.random }), warmup: issuer.warmup })
    }
    tokens = owned.map(({ verifier }) => verifier)
  }

  let keys: KeyVerifier | null = parent?.verifiers.keys ?? null
  let apiKeys: ApiKeys | null = parent?.apiKeys ?? null
  const ownsKeys = !inherits('apiKey')
  const webhooks = new Map<string, SignatureVerifier<FastifyRequest>>(settings.webhook.map((webhook) => [webhook.name, createSignatureVerifier(
    needsKey(webhook) ? { ...webhook, secret: (_request: FastifyRequest, proved: Principal | null) => keySecrets(keys, proved), ownerOf: keyIdOf } : webhook,
    { clock })]))
  // Last, because it listens to the store: a registration that fails before this has nothing to end.
  if (ownsKeys && settings.apiKey !== null) {
    const tools = { clock, randomBytes: (size: number) => randomBytes(size), timers: globalThis as unknown as Timers }
    keys = createKeyVerifier(settings.apiKey, tools)
    apiKeys = createApiKeys(settings.apiKey, tools)
  }
  if (keys !== null && !keys.opensSecrets && settings.webhook.some(needsKey)) {
    if (ownsKeys) await keys.close()
    throw configError('credential', 'apiKeySecret() opens the signing secrets of API keys, and this store keeps none without a key to seal them with. Give the plugin apiKey: { store, sealingKeys: [key] }, 32 bytes of your own')
  }
  const offer: Offer = {
    issuers: tokens.map(({ name }) => name),
    apiKeys: keys !== null,
    webhooks: settings.webhook.map((webhook) => ({ name: webhook.name, headers: webhook.scheme.headers, needsKey: needsKey(webhook), literal: typeof webhook.secret !== 'function' })),
    tenant: settings.tenant
  }
  const { apiKey } = settings
  return {
    settings,
    given,
    labels: parent?.labels ?? createLabels(`causeflow-${randomBytes(16).toString('hex')}`),
    verifiers: { tokens, keys, keySource: apiKey, webhooks, timers: globalThis },
    apiKeys,
    defaultRule: settings.default ?? (tokens.length > 0 ? auth.jwt() : auth.deny()),
    bare: settings.default === null && tokens.length === 0,
    owned,
    compile: (node, place) => compileRule(node, offer, place),
    async close () {
      for (const { verifier } of owned) verifier.close()
      if (ownsKeys) await keys?.close()
    }
  }
}

/** The key's secrets, and its tenant with them: two tenants may send the same bytes, and a replay store must not take one's delivery for the other's. */
function keySecrets (keys: KeyVerifier | null, proved: Principal | null): SecretAnswer {
  return keys !== null && proved?.scheme === 'apiKey' ? { secrets: keys.webhookSecrets(proved), tenantId: proved.tenantId } : null
}

function keyIdOf (proved: Principal | null): string | null {
  return proved?.scheme === 'apiKey' ? proved.keyId : null
}

const registrations = new WeakMap<object, Registration>()

/** Ties a registration to what `instance.causeflowAuth` is. */
export function keepRegistration (api: object, registration: Registration): void {
  registrations.set(api, registration)
}

/** The innermost registration of an instance; null where there is none. */
export function registrationOf (instance: FastifyInstance): Registration | null {
  return registrations.get(instance.causeflowAuth) ?? null
}

/** The tree of a rule, or an error that says whose it is. */
export function requireNode (rule: unknown, complain: (message: string) => Error): RuleNode {
  const node = nodeOf(rule)
  if (node === null) throw complain(`takes a rule built by auth (of this very copy of the package), for example auth.jwt(), and got ${rule === null ? 'null' : typeof rule}`)
  return node
}
