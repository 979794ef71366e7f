/** An application whose routes state rules of every kind, documented by @fastify/swagger. */
import swagger, { type FastifyDynamicSwaggerOptions } from '@fastify/swagger'
import Fastify, { type FastifyInstance } from 'fastify'
import { causeflowAuth, type CauseflowAuthOptions } from '../../lib/index.js'
import { withCauseflowOpenApi, type CauseflowOpenApiOptions } from '../../lib/openapi/index.js'
import { authOptions, type Teardown } from '../fixtures/app.js'

export interface Operation {
  security?: Array<Record<string, string[]>>
  responses: Record<string, { description: string, headers?: Record<string, object>, content?: Record<string, { schema: object }> }>
  parameters?: object[]
  'x-causeflow-rule'?: string
}

export interface Documented {
  openapi: string
  components: { securitySchemes: Record<string, Record<string, unknown>>, schemas: object }
  paths: Record<string, Record<string, Operation>>
  webhooks?: Record<string, { post: Operation & { requestBody: { content: Record<string, { schema: Record<string, unknown> }> } } }>
}

export interface DocumentedSetup {
  auth?: { [K in keyof CauseflowAuthOptions]?: CauseflowAuthOptions[K] | undefined }
  swagger?: FastifyDynamicSwaggerOptions
  openapi?: CauseflowOpenApiOptions
  routes (app: FastifyInstance): unknown
}

/** @fastify/swagger, the plugin, the routes. */
export async function documentedApp (t: Teardown, { auth, swagger: options = {}, openapi, routes }: DocumentedSetup): Promise<FastifyInstance> {
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(swagger, withCauseflowOpenApi(options, openapi))
  await app.register(causeflowAuth, authOptions(auth))
  await routes(app)
  await app.ready()
  return app
}

export async function documentOf (t: Teardown, setup: DocumentedSetup): Promise<Documented> {
  return documented(await documentedApp(t, setup))
}

export function documented (app: FastifyInstance): Documented {
  return app.swagger() as unknown as Documented
}

/** What each operation says of credentials: `GET /a` → its security. */
export function securities ({ paths }: Documented): Record<string, unknown> {
  return Object.fromEntries(Object.entries(paths).flatMap(([url, path]) => Object.entries(path).map(([method, { security }]) => [`${method.toUpperCase()} ${url}`, security])))
}

export const v31 = { openapi: { openapi: '3.1.0', info: { title: 'The API of the tests', version: '1' } } }
export const v30 = { openapi: { openapi: '3.0.3', info: { title: 'The API of the tests', version: '1' } } }
