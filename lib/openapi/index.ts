/** For @fastify/swagger: security schemes, and the security and the refusals of each operation, from the rules that routes state. */
export { withCauseflowOpenApi } from './with-openapi.js'
export type { CauseflowOpenApiOptions, DynamicSwaggerOptions, RouteTransform, TransformInput } from './with-openapi.js'
export type { EventWebhooksOptions } from './event-webhooks.js'
export type { SignatureDescription } from './signature-description.js'
