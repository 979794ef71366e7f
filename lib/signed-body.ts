/** What happens to a body whose bytes are wanted: verified before it is parsed, and its delivery remembered. */
import type { FastifyReply, FastifyRequest } from 'fastify'
import { DeliveryHandling, giveUp, isGone } from './delivery-handling.js'
import { AuthError } from './errors.js'
import { isOld, openAgain } from './recheck.js'
import { decisionStart, errorOf, publishDecision, refuse, settle } from './refusal.js'
import { accept, kBody, stateOf, type BodyState } from './request-state.js'
import { Relabelled } from './webhook/raw-body.js'
import type { Plan } from './route.js'
import type { Verified } from './presentation.js'
import type { Proof } from './decide.js'
import { releaseAll, type ClaimedDelivery } from './webhook/replay.js'

export type ParserDone = (error: Error | null, body?: unknown) => void
/** Fastify's own parser takes the bytes as well as a string, whatever its type says. */
export type JsonParser = (request: FastifyRequest, body: Buffer, done: ParserDone) => void

/**
 * Has the body of a request come to our parser. Returns why it cannot, and then the request is to be
 * rejected; else null.
 */
export function awaitBody (request: FastifyRequest, reply: FastifyReply, plan: Plan, signature: BodyState['signature']): AuthError | null {
  const relabelled = new Relabelled(request, plan.registration.labels, plan.declared)
  if (!relabelled.isEffective) {
    relabelled.restore()
    return new AuthError('AUTH_RULE_UNDECIDABLE', 'parser')
  }
  stateOf(request)[kBody] = { plan, reply, relabelled, signature, failed: false, handling: null }
  return null
}

/** The parser behind our labels. It never throws: in a buffer parser of Fastify before 5.12.8 that would end the process. */
export function parseLabelled (parseJson: JsonParser, request: FastifyRequest, bytes: Buffer, parsed: ParserDone): void {
  const state = stateOf(request)
  const body = state[kBody] ?? null
  if (body === null) return parsed(new AuthError('AUTH_RULE_UNDECIDABLE', 'parser'))
  const done = safely(parsed, body.reply)
  body.relabelled.restore()
  state.rawBody = bytes
  if (body.signature === null) return parseBody(parseJson, body, request, bytes, done)

  const started = decisionStart()
  let concluded: Proof | Promise<Proof>
  try {
    concluded = concludeInTime(body, request, body.signature, bytes)
    if (!(concluded instanceof Promise)) acceptSigned(concluded, body, request, started)
  } catch (error) {
    return fail(error, body, request, started, done)
  }
  if (!(concluded instanceof Promise)) return parseBody(parseJson, body, request, bytes, done)
  concluded.then((proof) => { acceptSigned(proof, body, request, started) }).then(
    () => { parseBody(parseJson, body, request, bytes, done) },
    (error: unknown) => { fail(error, body, request, started, done) }
  ).catch((thrown: unknown) => { done(errorOf(thrown)) })
}

/** A `done` that never throws: what the rest of the request throws is an error of that request, and a rejection stays one. */
function safely (done: ParserDone, reply: FastifyReply): ParserDone {
  return (error, parsed) => {
    try {
      done(error, parsed)
    } catch (thrown) {
      settle(done as (error?: Error) => void, error ?? errorOf(thrown), reply)
    }
  }
}

function fail (error: unknown, body: BodyState, request: FastifyRequest, started: number, done: ParserDone): void {
  // Bytes that nobody has signed are nobody's business, an error handler's neither.
  stateOf(request).rawBody = null
  body.failed = true
  done(refuse(error, request, body.reply, body.plan, started))
}

function acceptSigned (proof: Proof, body: BodyState, request: FastifyRequest, started: number): void {
  accept(request, body.plan, proof)
  publishDecision(body.plan, null, proof.principal, started)
}

/** Starts the handler of a route. One of a delivery is not started for a sender that has left. */
export function startHandler (request: FastifyRequest, reply: FastifyReply, handler: () => unknown): unknown {
  const body = stateOf(request)[kBody] ?? null
  if (body === null || body.signature === null) return handler()
  if (body.handling !== null) return body.handling.run(handler)
  return isGone(reply) ? giveUp(request, reply) : handler()
}

/** Where the body has come late, its credentials and its secrets are asked for again: they may have been revoked or replaced meanwhile. */
function concludeInTime (body: BodyState, request: FastifyRequest, signature: NonNullable<BodyState['signature']>, bytes: Buffer): Proof | Promise<Proof> {
  if (!isOld(signature.decidedAt, body.plan.registration)) return conclude(body, request, signature, bytes)
  const again = openAgain(body.plan, signature.presentation)
  if (!(again instanceof Promise)) return conclude(body, request, { ...signature, pending: again }, bytes)
  return again.then((pending) => conclude(body, request, { ...signature, pending }, bytes))
}

/** Verifies the signature and the conditions behind it, then claims the delivery: one that is refused leaves no trace. */
function conclude (body: BodyState, request: FastifyRequest, { pending, presentation }: NonNullable<BodyState['signature']>, bytes: Buffer): Proof | Promise<Proof> {
  const proof = pending.conclude(bytes)
  return proof instanceof Promise ? proof.then((later) => remember(later)) : remember(proof)

  function remember (proved: Proof, index = 0, claims: readonly ClaimedDelivery[] = []): Proof | Promise<Proof> {
    const { verified } = presentation
    for (let i = index; i < verified.length; i++) {
      const { opened, principal } = verified[i] as Verified
      let claimed
      try {
        claimed = opened.claim(principal, body.plan.label)
      } catch (error) {
        releaseAll(claims)
        throw error
      }
      if (claimed instanceof Promise) {
        const before = claims
        return claimed.then((later) => remember(proved, i + 1, [...before, ...later]), (error: unknown) => {
          releaseAll(before)
          throw error
        })
      }
      if (claimed.length > 0) claims = [...claims, ...claimed]
    }
    if (claims.length > 0) body.handling = new DeliveryHandling(claims, request, body.reply)
    return proved
  }
}

function parseBody (parseJson: JsonParser, body: BodyState, request: FastifyRequest, bytes: Buffer, done: ParserDone): void {
  switch (body.relabelled.form) {
    case 'json': return parseJson(request, bytes, (error, parsed) => {
      body.failed = error !== null
      done(error, parsed)
    })
    case 'text': return done(null, bytes.toString())
    case 'bytes': return done(null, bytes)
  }
}
