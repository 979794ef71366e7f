/** An operation with its rule, its security and its refusals, before @fastify/swagger has written it and after. */
import type { FastifySchema } from 'fastify'
import type { Plan } from '../route.js'
import { refusalsOf, type Refusal } from './refusals.js'
import type { SecurityRequirement } from './security.js'

/** What a schema may say of a document, beside what Fastify itself reads. */
export type DocumentedSchema = FastifySchema & { security?: unknown, 'x-causeflow-rule'?: unknown }

/** An Operation Object. */
export interface Operation {
  security?: unknown
  responses: Record<string, object>
  [extension: `x-${string}`]: unknown
}

/** A copy of a route's schema, for @fastify/swagger to write; what is in it already stays. */
export function describeSchema (schema: DocumentedSchema | undefined, plan: Plan, security: SecurityRequirement[], error: object): DocumentedSchema {
  // Without any response @fastify/swagger writes this one.
  const written = (schema?.response ?? { 200: { type: 'null', 'x-response-description': 'Default Response' } }) as Record<string, object>
  return { 'x-causeflow-rule': plan.rule.words, security, ...schema, response: withRefusals(written, plan, (refusal) => responseSchema(written.default ?? error, refusal)) }
}

/** The same for an operation that is written already. */
export function describeOperation (operation: Operation, plan: Plan, security: SecurityRequirement[], error: object): void {
  operation['x-causeflow-rule'] ??= plan.rule.words
  operation.security ??= security
  operation.responses = withRefusals(operation.responses, plan, (refusal) => responseObject(operation.responses.default, error, refusal))
}

function withRefusals (written: Record<string, object>, plan: Plan, write: (refusal: Refusal) => object): Record<string, object> {
  const refusals = refusalsOf(plan)
  const added = refusals.filter(({ status }) => !covers(written, status)).map((refusal) => [refusal.status, write(refusal)] as const)
  // Where nobody is let in, nothing else is ever answered.
  const kept = plan.rule.standing === 'deny' ? Object.entries(written).filter(([status]) => refusals.some((refusal) => answers(status, refusal.status))) : Object.entries(written)
  return Object.fromEntries([...kept, ...added])
}

function covers (written: Record<string, object>, status: number): boolean {
  return Object.keys(written).some((key) => answers(key, status))
}

/** Whether a key of `response`, such as `401` or `4xx`, is that of a status. */
function answers (key: string, status: number): boolean {
  return key === String(status) || key.toLowerCase() === `${String(status).charAt(0)}xx`
}

function responseSchema (body: object, { description, headers }: Refusal): object {
  // Beside a reference @fastify/swagger keeps nothing in the schema, so that there the plain word does no harm.
  const word = '$ref' in body ? 'description' : 'x-response-description'
  return { ...body, ...Object.keys(headers).length > 0 && { headers }, [word]: description }
}

function responseObject (other: object | undefined, error: object, { description, headers }: Refusal): object {
  const content = other !== undefined && 'content' in other ? other.content : 'content' in error ? error.content : { 'application/json': { schema: JSON.parse(JSON.stringify(error)) as object } }
  const written = Object.entries(headers).map(([name, header]) => [name, { description: header.description, schema: { type: header.type } }])
  return { description, ...written.length > 0 && { headers: Object.fromEntries(written) as object }, content }
}
