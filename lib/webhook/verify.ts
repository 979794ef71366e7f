/** From a request's headers and raw body to the principal that signed them. */
import { createHash, timingSafeEqual } from 'node:crypto'
import type { IncomingHttpHeaders } from 'node:http'
import { AuthError, configError, isAuthError } from '../errors.js'
import { freezePrincipal, type Principal, type WebhookPrincipal } from '../principal.js'
import { macUnder, type Mac } from './hmac.js'
import { claimDelivery, replayKey, type ClaimedDelivery, type ReplayStore } from './replay.js'
import { prepareSecrets, type PreparedSecrets, type Secret, type SecretAnswer } from './secret.js'
import { isDeliveryId, isTimely, type PresentedSignature, type SignatureScheme } from './signature.js'
import { failureOf, isPromiseLike, timeOf, withinTimeLimit, type Timers } from './time-limit.js'

/** Finds the secret of a request: from its URL, or from the token or key that is proved already. The body is not read yet. */
export type SecretResolver<R> = (request: R, proved: Principal | null) => SecretAnswer | Promise<SecretAnswer>

export interface WebhookSettings<R> {
  /** The configured name: the principal's source. */
  readonly name: string
  readonly scheme: SignatureScheme
  readonly secret: Secret | readonly Secret[] | SecretResolver<R>
  readonly replay: ReplayStore | null
  /**
   * Whose secrets they are, where they are somebody's own: the same id or the same bytes of two owners are two deliveries,
   * or one owner could use up another's. Default: everybody's.
   */
  readonly ownerOf?: (proved: Principal | null) => string | null
}

export interface SignatureVerifier<R> {
  readonly name: string
  readonly scheme: SignatureScheme
  /** Whether any header of the scheme that carries a signature is there, an empty one included. */
  isPresented (headers: IncomingHttpHeaders): boolean
  /**
   * Judges all that can be judged before the body: the headers' form, the time, and whether the secret can be had.
   * Throws AUTH_SIGNATURE_MISSING, AUTH_SIGNATURE_INVALID, AUTH_SIGNATURE_STALE or AUTH_STORE_UNAVAILABLE. Nothing is verified yet.
   * Where there is no secret it still opens, and then never verifies: from outside that is a wrong signature.
   */
  open (headers: IncomingHttpHeaders, request: R, proved: Principal | null): OpenedSignature | Promise<OpenedSignature>
}

export interface OpenedSignature {
  /**
   * The sender, when a secret's MAC of the body is among the candidates and the time still holds. An empty body never verifies.
   * Throws AUTH_SIGNATURE_INVALID or AUTH_SIGNATURE_STALE. It does not look whether the delivery was received before.
   */
  verify (body: Buffer): WebhookPrincipal
  /**
   * Claims the verified delivery for this try; nothing where no replay store is configured. The route tells
   * apart deliveries that carry no signed id. Throws AUTH_DELIVERY_REPLAYED or AUTH_STORE_UNAVAILABLE.
   */
  claim (principal: WebhookPrincipal, route: string): readonly ClaimedDelivery[] | Promise<readonly ClaimedDelivery[]>
}

/** Milliseconds since the epoch, and timers for the limits on resolver and store (default: Node's). */
export interface WebhookTools {
  readonly clock: () => number
  readonly timers?: Timers
}

/**
 * A verifier of one configured webhook. Literal secrets are made ready here, once; one that is empty or that the scheme
 * cannot read is a fault of configuration.
 */
export function createSignatureVerifier<R> (settings: WebhookSettings<R>, tools: WebhookTools): SignatureVerifier<R> {
  const { name, scheme, secret } = settings
  const timers = tools.timers ?? globalThis
  const context: Context = { name, scheme, replay: settings.replay, clock: () => timeOf(tools.clock), timers }
  const literal = typeof secret === 'function' ? null : prepareLiteral(secret, context)

  return {
    name,
    scheme,
    isPresented: (headers) => isPresented(headers, scheme),
    open (headers, request, proved) {
      if (!isPresented(headers, scheme)) throw new AuthError('AUTH_SIGNATURE_MISSING', 'absent')
      const presented = readSignature(headers, scheme)
      requireTimely(presented.timestamp, context)
      const owner = settings.ownerOf?.(proved) ?? null
      if (literal !== null) return openSignature(presented, literal, owner, true, context)
      const answer = resolveSecrets(secret as SecretResolver<R>, request, proved, context)
      if (!isPromiseLike(answer)) return openSignature(presented, answer, owner, false, context)
      return answer.then((secrets) => openSignature(presented, secrets, owner, false, context))
    }
  }
}

interface Context {
  readonly name: string
  readonly scheme: SignatureScheme
  readonly replay: ReplayStore | null
  readonly clock: () => number
  readonly timers: Timers
}

const resolverTimeLimit = 2000

/** Milliseconds for which a delivery is remembered that carries no signed time: nothing else ever makes it stale. */
const untimedRetention = 24 * 60 * 60 * 1000

function isPresented (headers: IncomingHttpHeaders, scheme: SignatureScheme): boolean {
  for (const header of scheme.headers) if (headers[header] !== undefined) return true
  return false
}

function readSignature (headers: IncomingHttpHeaders, scheme: SignatureScheme): PresentedSignature {
  let presented
  try {
    presented = scheme.read(headers)
  } catch (cause) {
    // A scheme is the application's code: what it throws, undefined included, must not pass a hook as success.
    throw new AuthError('AUTH_SIGNATURE_INVALID', 'form', { cause })
  }
  if (presented === null || presented === undefined) throw new AuthError('AUTH_SIGNATURE_INVALID', 'form')
  // The id goes to the principal, and from there into logs and databases.
  if (presented.deliveryId !== null && !isDeliveryId(presented.deliveryId)) throw new AuthError('AUTH_SIGNATURE_INVALID', 'form')
  return presented
}

/** A time in the headers is judged where the scheme signs one there; one in the body has to wait until the body is verified. */
function requireTimely (timestamp: number | null, { scheme, clock }: Context): void {
  if (scheme.tolerance === null || scheme.timestampOf !== undefined) return
  if (timestamp === null) throw new AuthError('AUTH_SIGNATURE_STALE', 'timestamp')
  if (!isTimely(timestamp, clock(), scheme.tolerance)) throw new AuthError('AUTH_SIGNATURE_STALE', 'stale')
}

function prepareLiteral (secret: Secret | readonly Secret[], { name, scheme }: Context): PreparedSecrets {
  let prepared
  try {
    prepared = prepareSecrets(secret, scheme)
  } catch (error) {
    throw configError('option', `webhook ${name}: ${error instanceof Error ? error.message : 'the secret cannot be read'}`)
  }
  const given = Array.isArray(secret) ? secret.length : 1
  if (prepared.macs.length === 0 || prepared.macs.length < given) {
    throw configError('option', `webhook ${name}: a secret is empty, and an empty secret never verifies anything: set it, or give a function that answers null where there is none`)
  }
  return prepared
}

function resolveSecrets<R> (resolver: SecretResolver<R>, request: R, proved: Principal | null, { name, scheme, timers }: Context): PreparedSecrets | Promise<PreparedSecrets> {
  let answer
  try {
    answer = resolver(request, proved)
  } catch (error) {
    throw unresolved(error, name)
  }
  if (!isPromiseLike(answer)) return prepareAnswer(answer, scheme, name)
  return withinTimeLimit(answer, resolverTimeLimit, timers)
    .then((value) => prepareAnswer(value, scheme, name), (error: unknown) => { throw unresolved(error, name) })
}

function prepareAnswer (answer: SecretAnswer, scheme: SignatureScheme, name: string): PreparedSecrets {
  try {
    return prepareSecrets(answer, scheme)
  } catch (cause) {
    throw new AuthError('AUTH_STORE_UNAVAILABLE', 'rejected', { cause, detail: `the secret of webhook '${name}': it cannot be read` })
  }
}

function unresolved (cause: unknown, name: string): AuthError {
  // A resolver over a store of this package has already said why the store cannot be asked.
  if (isAuthError(cause) && cause.code === 'AUTH_STORE_UNAVAILABLE') return cause
  return failureOf(`the secret of webhook '${name}'`, cause)
}

function openSignature (presented: PresentedSignature, { macs, tenantId }: PreparedSecrets, owner: string | null, isLiteral: boolean, context: Context): OpenedSignature {
  let verified: { body: Buffer, principal: WebhookPrincipal } | null = null
  return {
    verify (body) {
      if (!(body?.length > 0)) throw new AuthError('AUTH_SIGNATURE_INVALID', 'body-absent')
      if (macs.length === 0) {
        // The same work as for a wrong signature, so that its time does not tell who has a secret.
        decoy(presented.prefix, body)
        throw new AuthError('AUTH_SIGNATURE_INVALID', 'secret-absent')
      }
      let matches = false
      for (const mac of macs) {
        const expected = mac(presented.prefix, body)
        for (const digest of presented.digests) {
          // timingSafeEqual throws on unequal lengths, and a shorter digest is no signature.
          if (digest.length === expected.length && timingSafeEqual(digest, expected)) matches = true
        }
      }
      if (!matches) throw new AuthError('AUTH_SIGNATURE_INVALID', 'digest')
      const timestamp = verifiedTime(presented, body, context)
      const principal = freezePrincipal<WebhookPrincipal>({
        scheme: 'webhook',
        source: context.name,
        deliveryId: presented.deliveryId,
        timestamp,
        tenantId,
        roles: none,
        scopes: none,
        proofs
      })
      verified = { body, principal }
      return principal
    },
    claim (principal, route) {
      const { name, scheme, replay, timers } = context
      if (replay === null) return []
      if (verified === null || verified.principal !== principal) throw new AuthError('AUTH_RULE_UNDECIDABLE', 'not-verified')
      const what = presented.deliveryId === null
        ? ['bytes', route, signedDigest(presented.prefix, verified.body)]
        : ['id', presented.deliveryId]
      // Where the secrets are those of a key, the key's id says whose they are, through every change of them.
      const secrets = owner === null ? fingerprintsOf(macs) : [null]
      const keys = secrets.map((fingerprint) => replayKey(scheme.name, name, tenantId, owner, fingerprint, ...what))
      // From the earliest to the latest moment at which one time is timely there are two tolerances, and a second for rounding.
      const retention = scheme.tolerance === null ? untimedRetention : scheme.tolerance * 2000 + 1000
      const holder = isLiteral ? null : replayKey('owner', tenantId ?? owner ?? secrets[0]!)
      return claimDelivery(replay, keys, holder, retention, { timers, name: `the replay store of webhook '${name}'` })
    }
  }
}

/**
 * What tells one secret from another in the key of a delivery, so that two services on one store, or two
 * secrets of one webhook, do not take each other's deliveries for replays. A MAC reveals nothing of its key,
 * and the store sees a digest of that.
 *
 * All secrets of a rotation are there, and not only the one that verified: a delivery that carries two
 * signatures would otherwise be a new one to whoever shows the other. In order, so that two processes claim
 * them in the same one.
 */
function fingerprintsOf (macs: readonly Mac[]): string[] {
  return [...new Set(macs.map(fingerprintOf))].sort()
}

const fingerprints = new WeakMap<Mac, string>()
const noBody = Buffer.alloc(0)

/** Computed once for a literal secret: its MAC lives as long as its verifier. */
function fingerprintOf (mac: Mac): string {
  let fingerprint = fingerprints.get(mac)
  if (fingerprint === undefined) {
    fingerprint = mac('causeflow-auth: which secret a delivery was signed with', noBody).toString('base64url')
    fingerprints.set(mac, fingerprint)
  }
  return fingerprint
}

// One of each for every principal: they are frozen.
const none: readonly never[] = Object.freeze([])
const proofs: WebhookPrincipal['proofs'] = Object.freeze(['webhook' as const])

// Its key is no secret: nothing is ever compared with what it gives.
const decoy = macUnder(Buffer.alloc(32))

/**
 * The signed time, floored to seconds; null where the scheme signs none. It is judged a second time: whoever sends a body slowly could
 * otherwise keep an opened signature until the replay store has forgotten its delivery.
 */
function verifiedTime (presented: PresentedSignature, body: Buffer, context: Context): number | null {
  const { scheme, clock } = context
  if (scheme.timestampOf === undefined) {
    requireTimely(presented.timestamp, context)
    return presented.timestamp
  }
  let timestamp
  try {
    timestamp = scheme.timestampOf(body)
  } catch (cause) {
    throw new AuthError('AUTH_SIGNATURE_STALE', 'timestamp', { cause })
  }
  if (typeof timestamp !== 'number') throw new AuthError('AUTH_SIGNATURE_STALE', 'timestamp')
  if (scheme.tolerance !== null && !isTimely(timestamp, clock(), scheme.tolerance)) throw new AuthError('AUTH_SIGNATURE_STALE', 'stale')
  return Math.floor(timestamp)
}

/**
 * What tells one delivery from another where no id is signed. Not the signature: during a rotation one delivery carries several, and
 * a replay could show another of them.
 */
function signedDigest (prefix: string, body: Buffer): string {
  return createHash('sha256').update(prefix).update(body).digest('base64url')
}
