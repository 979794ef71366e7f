/** What happens to a body whose bytes are wanted: verified before it is parsed, and its delivery remembered. */
import type { FastifyReply, FastifyRequest } from 'fastify'
import { AuthError } from './errors.js'
import { decisionStart, publishDecision, refuse } from './refusal.js'
import { accept, kBody, stateOf, type BodyState } from './request-state.js'
import { Relabelled } from './webhook/raw-body.js'
import type { Plan } from './route.js'
import type { Proof } from './decide.js'
import type { Remembered } from './webhook/replay.js'

export type ParserDone = (error: Error | null, body?: unknown) => void
/** Fastify's own parser takes the bytes as well as a string, whatever its type says. */
export type JsonParser = (request: FastifyRequest, body: Buffer, done: ParserDone) => void

/** Has the body of a request come to our parser. */
export function awaitBody (request: FastifyRequest, reply: FastifyReply, plan: Plan, signature: BodyState['signature']): void {
  const relabelled = new Relabelled(request, plan.registration.labels, plan.declared)
  stateOf(request)[kBody] = { plan, reply, relabelled, signature, failed: false, remembered: [] }
}

/** The parser behind our labels. It never throws: in a buffer parser of Fastify before 5.12.8 that would end the process. */
export function parseLabelled (parseJson: JsonParser, request: FastifyRequest, bytes: Buffer, done: ParserDone): void {
  const state = stateOf(request)
  const body = state[kBody] ?? null
  if (body === null) return done(new AuthError('AUTH_RULE_UNDECIDABLE', 'parser'))
  const { plan, reply } = body
  body.relabelled.restore()
  state.rawBody = bytes
  const settle: ParserDone = (error, parsed) => {
    body.failed = error !== null
    done(error, parsed)
  }
  if (body.signature === null) return parseBody(parseJson, body, request, bytes, settle)

  const started = decisionStart()
  const fail = (error: unknown): void => {
    // Bytes that nobody has signed are nobody's business, an error handler's neither.
    state.rawBody = null
    settle(refuse(error, request, reply, plan, started))
  }
  const succeed = (proof: Proof): void => {
    accept(request, plan, proof)
    publishDecision(plan, null, proof.principal, started)
    parseBody(parseJson, body, request, bytes, settle)
  }
  let concluded: Proof | Promise<Proof>
  try {
    concluded = conclude(body, request, body.signature, bytes)
  } catch (error) {
    return fail(error)
  }
  // What the rest of the request throws into our promise is an error of that request, as it is where nothing had to wait.
  if (concluded instanceof Promise) concluded.then(succeed, fail).catch(done)
  else succeed(concluded)
}

/** Lets deliveries come again whose handler failed. */
export function release (body: BodyState, request: FastifyRequest): void {
  const { remembered } = body
  body.remembered = []
  const report = (failure: AuthError | null): void => {
    if (failure !== null) request.log.error({ err: failure }, 'a failed delivery could not be released: sent again, it will be answered 409')
  }
  for (const delivery of remembered) {
    const answer = delivery.forget()
    if (answer instanceof Promise) answer.then(report, report)
    else report(answer)
  }
}

/** Releases deliveries that were answered with a 5xx, or not at all because the sender had gone. Errors that are thrown have been seen to before. */
function releaseIfUnanswered (body: BodyState, request: FastifyRequest): void {
  const { raw } = body.reply
  if (raw.destroyed) return release(body, request)
  const onClose = (): void => { release(body, request) }
  raw.once('close', onClose)
  // Not writableFinished: of a response that is no socket's, as those of inject(), it is never true.
  raw.once('finish', () => {
    raw.off('close', onClose)
    if (raw.statusCode >= 500) release(body, request)
  })
}

/** Verifies the signature and the conditions behind it, then remembers the delivery: one that is refused leaves no trace. */
function conclude (body: BodyState, request: FastifyRequest, { pending, presentation }: NonNullable<BodyState['signature']>, bytes: Buffer): Proof | Promise<Proof> {
  const proof = pending.conclude(bytes)
  return proof instanceof Promise ? proof.then(remember) : remember(proof)

  function remember (proved: Proof): Proof | Promise<Proof> {
    const answers = presentation.verified.map(({ opened, principal }) => opened.remember(principal, body.plan.label))
    const keep = (remembered: ReadonlyArray<Remembered | null>): Proof => {
      body.remembered = remembered.filter((one) => one !== null)
      if (body.remembered.length > 0) releaseIfUnanswered(body, request)
      return proved
    }
    return answers.some((answer) => answer instanceof Promise) ? Promise.all(answers.map((answer) => Promise.resolve(answer))).then(keep) : keep(answers as Array<Remembered | null>)
  }
}

function parseBody (parseJson: JsonParser, body: BodyState, request: FastifyRequest, bytes: Buffer, done: ParserDone): void {
  switch (body.relabelled.form) {
    case 'json': return parseJson(request, bytes, done)
    case 'text': return done(null, bytes.toString())
    case 'bytes': return done(null, bytes)
  }
}
