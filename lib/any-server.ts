/**
 * Requests and replies of any server, HTTP/1, HTTPS or HTTP/2: Fastify's own types are of one server each.
 */

/** What every request of Fastify has. */
export interface AnyRequest { readonly id: unknown, readonly raw: object, readonly headers: object, readonly log: object }

/** What every reply of Fastify has. */
export interface AnyReply { readonly raw: object, readonly sent: boolean }
