/** Reads a request's credentials, of the kinds that its rule mentions, and lends them to the decision. */
import type { FastifyRequest } from 'fastify'
import { AuthError, isAuthError } from './errors.js'
import { parseToken, readBearer, type UnverifiedToken } from './jwt/bearer.js'
import type { CompiledRule, Kind } from './compiled-rule.js'
import type { Opened, Presented } from './decide.js'
import type { KeyVerifier } from './api-key/verify.js'
import { haveStandIns, standInHeader, standInsOf } from './stand-in.js'
import type { ApiKeyPrincipal, JwtPrincipal, Principal, PrincipalOf, Scheme, WebhookPrincipal } from './principal.js'
import type { OpenedSignature, SignatureVerifier } from './webhook/verify.js'
import type { VerifiedToken } from './jwt/token-cache.js'
import type { TokenVerifier } from './jwt/verify.js'
import type { Timers } from './webhook/time-limit.js'

/** The verifiers of a registration and where its keys are looked for. */
export interface Verifiers {
  readonly tokens: readonly TokenVerifier[]
  readonly keys: KeyVerifier | null
  readonly keySource: { readonly header: string, readonly bearer: boolean, readonly query: string | null } | null
  readonly webhooks: ReadonlyMap<string, SignatureVerifier<FastifyRequest>>
  readonly timers: Timers
}

/** A signature that verified, and whom it proved. */
export interface Verified { readonly opened: OpenedSignature, readonly principal: WebhookPrincipal }

const keyStart = 'cflo_'

/**
 * What one request presented. Made once a request: it reads headers, parses a token and looks it up in memory. It verifies
 * nothing, and calls no clock, key set, store or application code: the decision may end before it asks for a credential,
 * and nobody would await what was started here.
 */
export class Presentation implements Presented {
  kinds = 0
  duplicate = false
  foreignToken = false
  badToken: AuthError | null = null
  #verified: Verified[] | null = null
  readonly #verifiers: Verifiers
  readonly request: FastifyRequest
  #cached: VerifiedToken | null = null
  #token: UnverifiedToken | null = null
  #verifier: TokenVerifier | null = null
  #key: string | null = null
  #standIns: readonly Principal[] | null = null

  constructor (rule: CompiledRule, verifiers: Verifiers, request: FastifyRequest) {
    this.#verifiers = verifiers
    this.request = request
    const { headers } = request
    if (haveStandIns()) {
      this.#standIns = standInsOf(headers[standInHeader])
      if (this.#standIns !== null) {
        this.kinds = this.#standIns.reduce((bits, principal) => bits | standInBit(rule, principal), 0)
        return
      }
    }
    const { keySource } = verifiers
    const takesKey = rule.keyBit !== 0 && keySource !== null
    if ((rule.tokenBits !== 0 || (takesKey && keySource.bearer)) && headers.authorization !== undefined) {
      this.#readAuthorization(rule, headers.authorization, takesKey)
    }
    if (takesKey) this.#readKey(rule, keySource)
    for (const kind of rule.webhookKinds) {
      for (const header of kind.headers) {
        if (headers[header] !== undefined) { this.kinds |= kind.bit; break }
      }
    }
  }

  /** Makes it ready for a second decision, at which a token that was verified at the first comes out of the cache. */
  renew (): void {
    this.#verified = null
    const token = this.#token?.raw ?? this.#cached?.token
    if (token !== undefined) this.#cached = (this.#verifier as TokenVerifier).fromCache(token) ?? this.#cached
  }

  /** The signatures that verified, for the memory of deliveries. */
  get verified (): Verified[] {
    this.#verified ??= []
    return this.#verified
  }

  get timers (): Timers {
    return this.#verifiers.timers
  }

  get params (): unknown {
    return this.request.params
  }

  token (): JwtPrincipal | Promise<JwtPrincipal> {
    if (this.#standIns !== null) return standIn(this.#standIns, 'jwt')
    const verifier = this.#verifier as TokenVerifier
    return this.#cached === null ? verifier.verify(this.#token as UnverifiedToken) : verifier.confirm(this.#cached)
  }

  apiKey (): ApiKeyPrincipal | Promise<ApiKeyPrincipal> {
    if (this.#standIns !== null) return standIn(this.#standIns, 'apiKey')
    return (this.#verifiers.keys as KeyVerifier).verify(this.#key as string)
  }

  open (_kind: Extract<Kind, { scheme: 'webhook' }>, names: readonly string[], proved: Principal | null): Opened | Promise<Opened> {
    // A compressed body could be verified or parsed, not both; and what unpacks it would do so before anybody has verified it.
    const coding = this.request.headers['content-encoding']
    if (coding !== undefined && coding.trim().toLowerCase() !== 'identity') throw new AuthError('AUTH_CONTENT_ENCODING', 'content-encoding')
    if (this.#standIns !== null) return openStandIn(standIn(this.#standIns, 'webhook'), names)
    if (names.length > 1) return openAny(names.map((name) => this.#webhook(name)), this.request, proved, this.verified)
    const opened = this.#webhook(names[0] as string).open(this.request.headers, this.request, proved)
    return opened instanceof Promise ? opened.then((later) => new Sole(later, this.verified)) : new Sole(opened, this.verified)
  }

  #webhook (name: string): SignatureVerifier<FastifyRequest> {
    return this.#verifiers.webhooks.get(name) as SignatureVerifier<FastifyRequest>
  }

  #readAuthorization (rule: CompiledRule, authorization: string, takesKey: boolean): void {
    // Node drops all but the first of these without a word; which of them a proxy in front of us judged is anybody's guess.
    if (isRepeated(this.request.raw.rawHeaders, 'authorization', 'Authorization')) { this.duplicate = true; return }
    let credential: string | null
    try {
      credential = readBearer(authorization)
    } catch (error) {
      if (rule.tokenBits !== 0) this.badToken = asRefusal(error)
      return
    }
    if (credential === null) return
    if (this.#verifiers.keySource?.bearer === true && credential.startsWith(keyStart)) {
      if (takesKey) {
        this.#key = credential
        this.kinds |= rule.keyBit
      }
      return
    }
    if (rule.tokenBits !== 0) this.#readToken(rule, credential)
  }

  #readToken (rule: CompiledRule, credential: string): void {
    for (const verifier of this.#verifiers.tokens) {
      const bit = rule.issuerBits.get(verifier.name)
      if (bit === undefined) continue
      this.#cached = verifier.fromCache(credential)
      if (this.#cached !== null) {
        this.#verifier = verifier
        this.kinds |= bit
        return
      }
    }
    try {
      this.#token = parseToken(credential)
    } catch (error) {
      this.badToken = asRefusal(error)
      return
    }
    const { issuer } = this.#token
    const verifier = this.#verifiers.tokens.find((candidate) => candidate.issuer === issuer)
    if (verifier === undefined) {
      this.badToken = new AuthError('AUTH_TOKEN_INVALID', 'issuer-unknown')
      return
    }
    const bit = rule.issuerBits.get(verifier.name)
    if (bit === undefined) {
      this.foreignToken = true
      return
    }
    this.#verifier = verifier
    this.kinds |= bit
  }

  #readKey (rule: CompiledRule, { header, query }: NonNullable<Verifiers['keySource']>): void {
    const presented = this.request.headers[header]
    if (presented !== undefined) {
      // Node joins repeated headers with a comma, which no key contains.
      if (typeof presented !== 'string' || presented.includes(',')) { this.duplicate = true; return }
      this.#takeKey(rule, presented)
    }
    if (query === null) return
    const asked = (this.request.query as Record<string, unknown> | null | undefined)?.[query]
    if (asked === undefined) return
    if (typeof asked !== 'string') { this.duplicate = true; return }
    this.#takeKey(rule, asked)
  }

  #takeKey (rule: CompiledRule, key: string): void {
    if (this.#key !== null) { this.duplicate = true; return }
    this.#key = key
    this.kinds |= rule.keyBit
  }
}

function standIn<S extends Scheme> (standIns: readonly Principal[], scheme: S): PrincipalOf<S> {
  return standIns.find((principal) => principal.scheme === scheme) as PrincipalOf<S>
}

/** The kind that a test's principal stands for: its issuer's or its source's, or the first that the rule mentions. */
function standInBit (rule: CompiledRule, principal: Principal): number {
  switch (principal.scheme) {
    case 'jwt': return rule.issuerBits.get(principal.issuer) ?? [...rule.issuerBits.values()][0] ?? 0
    case 'apiKey': return rule.keyBit
    case 'webhook': return (rule.webhookKinds.find(({ names }) => names.includes(principal.source)) ?? rule.webhookKinds[0])?.bit ?? 0
  }
}

function openStandIn (principal: WebhookPrincipal, names: readonly string[]): Opened {
  return {
    verify (body) {
      if (body.length === 0) throw new AuthError('AUTH_SIGNATURE_INVALID', 'body-absent')
      return names.includes(principal.source) ? principal : Object.freeze({ ...principal, source: names[0] ?? '' })
    }
  }
}

/** Whether a header was sent more than once; its name in lower case, and as most clients write it. `rawHeaders` holds names and values by turns. */
function isRepeated (rawHeaders: readonly string[], name: string, capitalised: string): boolean {
  let found = false
  for (let i = 0; i < rawHeaders.length; i += 2) {
    const candidate = rawHeaders[i] as string
    // Lower case last: it makes a new string.
    if (candidate.length !== name.length || (candidate !== name && candidate !== capitalised && candidate.toLowerCase() !== name)) continue
    if (found) return true
    found = true
  }
  return false
}

function asRefusal (error: unknown): AuthError {
  if (isAuthError(error)) return error
  throw error
}

/**
 * Opens all webhooks of one kind that the rule accepts. Their refusals to read are passed over while another can still verify.
 * One after the other: opened together, one that fails at once would leave the rejection of another to nobody.
 */
function openAny (verifiers: ReadonlyArray<SignatureVerifier<FastifyRequest>>, request: FastifyRequest, proved: Principal | null, verified: Verified[]): Opened | Promise<Opened> {
  const faults: AuthError[] = []
  return openFrom(0, [])

  function openFrom (index: number, readable: readonly OpenedSignature[]): Opened | Promise<Opened> {
    for (let i = index; i < verifiers.length; i++) {
      const verifier = verifiers[i] as SignatureVerifier<FastifyRequest>
      const opened = attempt(() => verifier.open(request.headers, request, proved), faults)
      if (opened instanceof Promise) {
        const before = readable
        return opened.then((later) => openFrom(i + 1, later === null ? before : [...before, later]))
      }
      if (opened !== null) readable = [...readable, opened]
    }
    if (readable.length === 0) throw first(faults)
    return new AnyOf(readable, verified)
  }
}

/** The opened signature of a header that only one webhook reads. */
class Sole implements Opened {
  readonly #opened: OpenedSignature
  readonly #verified: Verified[]

  constructor (opened: OpenedSignature, verified: Verified[]) {
    this.#opened = opened
    this.#verified = verified
  }

  verify (body: Buffer): WebhookPrincipal {
    const principal = this.#opened.verify(body)
    this.#verified.push({ opened: this.#opened, principal })
    return principal
  }
}

/** Opened signatures of one header: the first that verifies is the one. */
class AnyOf implements Opened {
  readonly #opened: readonly OpenedSignature[]
  readonly #verified: Verified[]

  constructor (opened: readonly OpenedSignature[], verified: Verified[]) {
    this.#opened = opened
    this.#verified = verified
  }

  verify (body: Buffer): WebhookPrincipal {
    const faults: AuthError[] = []
    for (const opened of this.#opened) {
      const principal = attempt(() => opened.verify(body), faults) as WebhookPrincipal | null
      if (principal === null) continue
      this.#verified.push({ opened, principal })
      return principal
    }
    throw first(faults)
  }
}

function first ([fault]: readonly AuthError[]): AuthError {
  return fault ?? new AuthError('AUTH_SIGNATURE_INVALID', 'digest')
}

/** The result, or null with the refusal noted. What is not the credential's fault is thrown on. */
function attempt<T> (action: () => T | Promise<T>, faults: AuthError[]): T | null | Promise<T | null> {
  const note = (error: unknown): null => {
    if (!isAuthError(error) || error.statusCode >= 500) throw error
    faults.push(error)
    return null
  }
  try {
    const result = action()
    return result instanceof Promise ? result.catch(note) : result
  } catch (error) {
    return note(error)
  }
}
