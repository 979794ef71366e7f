import type { FastifySchema, RouteOptions } from 'fastify'
import { configError } from '../errors.js'
import { ErrorSchema } from '../schemas.js'
import { planOf, recordOf } from '../route.js'
import { Document, type OpenApiObject } from './document.js'
import { eventWebhooks, readEventWebhooks, type EventWebhooksOptions } from './event-webhooks.js'
import { describeOperation, describeSchema } from './operation.js'
import { signatureScheme, standardSchemes } from './security-schemes.js'
import { securityOf } from './security.js'

/** What this package adds of its own. */
export interface CauseflowOpenApiOptions {
  /**
   * Documents the events that CauseFlow delivers as `webhooks`, which OpenAPI has since 3.1. Default: false.
   */
  webhooks?: boolean | EventWebhooksOptions
  /**
   * The body of a refusal, as a response schema of Fastify: a JSON schema, or `{ content }`. Default: ErrorSchema, which is true
   * of Fastify's own answer and of causeflowErrorHandler's.
   */
  error?: object
}

/** What @fastify/swagger hands to a transform. */
export interface TransformInput {
  schema: FastifySchema
  url: string
  route: RouteOptions
}

/** A transform of @fastify/swagger: what a route is documented as. */
export type RouteTransform = (input: TransformInput) => { schema: FastifySchema, url: string }

/** The options of @fastify/swagger that are read here; all others are passed on. */
export interface DynamicSwaggerOptions {
  mode?: 'dynamic'
  openapi?: {
    openapi?: string
    info?: object
    components?: { securitySchemes?: Record<string, { type?: 'apiKey' | 'http' | 'oauth2' | 'openIdConnect' | 'mutualTLS', $ref?: string }> }
    security?: Array<Record<string, string[]>>
    webhooks?: object
  }
  // Written as methods, for @fastify/swagger's own type asks for more of its argument than is known here.
  transform? (input: TransformInput): { schema: FastifySchema, url: string }
  transformObject? (input: { openapiObject: object }): object
}

/**
 * Options for @fastify/swagger, with the security schemes, and with the `security` and the refusals of every operation as the rule
 * of its route has them: `app.register(swagger, withCauseflowOpenApi({ openapi: { info } }))`, before or after causeflowAuth.
 *
 * What is written by hand stays: a schema's `security` and `response`, a security scheme of the same name, `transform`. Only the
 * document's copy of a schema is touched, so answers are serialised as before. Guards that no route states (in a scope's hook, inside
 * @fastify/auth) are not seen, and a route with a `swaggerTransform` of its own is documented by that alone.
 */
export function withCauseflowOpenApi<O extends DynamicSwaggerOptions> (swaggerOptions: O = {} as O, { webhooks, error = ErrorSchema, ...unknown }: CauseflowOpenApiOptions = {}): O & { transform: RouteTransform } {
  const [stray] = Object.keys(unknown)
  if (stray !== undefined) throw configError('option', `withCauseflowOpenApi has no option '${stray}'. It has webhooks and error; those of @fastify/swagger go into its first argument`)
  const { mode, swagger } = swaggerOptions as { mode?: unknown, swagger?: unknown }
  if (mode !== undefined && mode !== 'dynamic') throw configError('option', 'withCauseflowOpenApi reads the rules of routes, and in this mode @fastify/swagger reads no routes. Take mode off')
  if (swagger !== undefined) throw configError('option', 'withCauseflowOpenApi writes OpenAPI 3, and the option swagger asks for Swagger 2. Give openapi instead')
  const own = swaggerOptions.openapi ?? {}
  const events = readEventWebhooks(webhooks)
  const version = own.openapi ?? (events === null ? undefined : '3.1.0')
  if (events !== null && !hasGrants(version)) throw configError('option', `withCauseflowOpenApi: webhooks need OpenAPI 3.1, and the document is ${own.openapi}. Give openapi: { openapi: '3.1.0' }`)

  const written = own.components?.securitySchemes ?? {}
  const delivered = events === null ? null : signatureScheme(events.scheme)
  const openapi = {
    ...own,
    ...version !== undefined && { openapi: version },
    ...events !== null && { webhooks: { ...eventWebhooks(events.events, 'signature'), ...own.webhooks } },
    components: { ...own.components, securitySchemes: { ...standardSchemes(), ...delivered !== null && { signature: delivered }, ...written } }
  }
  const documents = new WeakMap<object, Document>()
  const documentOf = (openapiObject: OpenApiObject): Document => {
    const document = documents.get(openapiObject) ?? new Document(openapiObject, written, delivered)
    documents.set(openapiObject, document)
    return document
  }

  const transform: RouteTransform = (input) => {
    const { openapiObject } = input as TransformInput & { openapiObject: OpenApiObject }
    const document = documentOf(openapiObject)
    const given = swaggerOptions.transform?.(input)
    const [schema, url] = [given?.schema ?? input.schema, given?.url ?? input.url]
    const record = recordOf(input.route)
    if (record === null) return { url, schema: document.postpone(schema, input.route) }
    document.noteInstance(record.instance)
    const plan = planOf(record)
    const security = securityOf(plan, document.namesOf(plan.registration), hasGrants(openapiObject.openapi))
    return { url, schema: describeSchema(schema, plan, security, error) }
  }
  const transformObject = (input: { openapiObject: object }): object => {
    const openapiObject = input.openapiObject as OpenApiObject
    documentOf(openapiObject).finish((operation, plan, names) => {
      describeOperation(operation, plan, securityOf(plan, names, hasGrants(openapiObject.openapi)), error)
    })
    return swaggerOptions.transformObject?.(input) ?? openapiObject
  }
  return { ...swaggerOptions, openapi, transform, transformObject } as O & { transform: RouteTransform }
}

/** Whether roles and scopes may stand beside a scheme that is not OAuth's: since 3.1 (§4.8.30); before, the list must be empty. */
function hasGrants (version: string | undefined): boolean {
  return version !== undefined && !/^3\.0\b/.test(version)
}
