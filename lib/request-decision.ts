/** From a request, before its body, to its proof, its refusal, or its waiting for the body. */
import type { FastifyReply, FastifyRequest } from 'fastify'
import { decide, type Pending, type Proof } from './decide.js'
import { Presentation } from './presentation.js'
import { decideRouteAgain, decisionTime, expectsBody, recordDecision } from './recheck.js'
import { decisionStart, errorOf, publishDecision, refuse, reject, settle } from './refusal.js'
import { accept } from './request-state.js'
import { awaitBody } from './signed-body.js'
import { hasBody } from './webhook/raw-body.js'
import type { AuthError } from './errors.js'
import type { Plan } from './route.js'

/** Bytes of a refused body beyond which reading it to the end costs more than a new connection. */
const drainedAtMost = 65_536

export type Done = (error?: Error) => void

/**
 * Decides a request in onRequest: proved, refused, or waiting for its body under a label of ours. Where nothing has to wait it makes no
 * closure: they, and what they would hold, cost a warm request as much as its look-up.
 */
export function decideRequest (plan: Plan, request: FastifyRequest, reply: FastifyReply, done: Done): void {
  const started = decisionStart()
  let presentation: Presentation
  let decided: Proof | Pending | Promise<Proof | Pending>
  try {
    presentation = new Presentation(plan.rule, plan.registration.verifiers, request)
    decided = decide(plan.rule, presentation)
    if (!(decided instanceof Promise)) keepDecision(decided, presentation, plan, request, reply, started)
  } catch (error) {
    return reject(done, refuseRequest(error, plan, request, reply, started))
  }
  if (decided instanceof Promise) return decideLater(decided, presentation, plan, request, reply, started, done)
  try {
    done()
  } catch (error) {
    // Fastify would take undefined for the end of this phase, and run the rest of the request a second time.
    throw errorOf(error)
  }
}

function decideLater (decided: Promise<Proof | Pending>, presentation: Presentation, plan: Plan, request: FastifyRequest, reply: FastifyReply, started: number, done: Done): void {
  decided.then((settled) => { keepDecision(settled, presentation, plan, request, reply, started) }).then(
    () => { settle(done, null, reply) },
    (error: unknown) => { settle(done, refuseRequest(error, plan, request, reply, started), reply) }
  )
}

function keepDecision (decided: Proof | Pending, presentation: Presentation, plan: Plan, request: FastifyRequest, reply: FastifyReply, started: number): void {
  if (decided.pending) {
    const fault = awaitBody(request, reply, plan, { pending: decided, presentation, decidedAt: decisionTime(plan.registration) })
    if (fault !== null) throw fault
    return
  }
  accept(request, plan, decided)
  if (decided.principal !== null && expectsBody(request)) {
    recordDecision(request, plan.registration, () => decideRouteAgain(plan, presentation, request, reply))
  }
  publishDecision(plan, null, decided.principal, started)
  const fault = plan.rawBody && hasBody(request) ? awaitBody(request, reply, plan, null) : null
  if (fault !== null) throw fault
}

function refuseRequest (error: unknown, plan: Plan, request: FastifyRequest, reply: FastifyReply, started: number): AuthError {
  try {
    const { 'transfer-encoding': coding, 'content-length': length } = request.headers
    // Otherwise Node reads and drops the whole body of a stranger.
    if (request.raw.httpVersionMajor === 1 && (coding !== undefined || Number(length) > drainedAtMost)) reply.header('connection', 'close')
  } catch { /* The connection stays open; the rejection stands. */ }
  return refuse(error, request, reply, plan, started)
}
