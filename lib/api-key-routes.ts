/** The endpoints by which a tenant manages its API keys, as the wire contract has them. */
import { Type, type Static } from '@sinclair/typebox'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { maxCursorLength, maxKeyIdLength, maxNameLength, maxScopeLength, maxScopes } from './api-key/limits.js'
import { InputError, readScopes } from './api-key/new-key.js'
import { listedStatus, type ApiKeyRecord } from './api-key/record.js'
import { causeflowErrorHandler } from './error-handlers.js'
import { AuthError, configError, configErrors } from './errors.js'
import { ErrorSchema } from './schemas.js'
import { auth, isRuleLike, nodeOf, type AuthRule } from './rule.js'
import { isNear } from './spelling.js'
import type { KeyName } from './api-key/lifecycle.js'
import type { Principal } from './principal.js'

export interface ApiKeyRoutesOptions {
  /**
   * Who makes, rotates and revokes keys. Default: `auth.jwt().roles('admin')`. Where a rule lets a key do so, the key hands on
   * no scope that it lacks.
   */
  manage?: AuthRule
  /** Who lists them. Default: `auth.jwt()`. */
  list?: AuthRule
}

const NewKeySchema = Type.Object({
  // A control character would forge lines of whatever prints the list.
  name: Type.String({ minLength: 1, maxLength: maxNameLength, pattern: '^[^\\u0000-\\u001f\\u007f-\\u009f]*$' }),
  scopes: Type.Optional(Type.Array(Type.String({ pattern: '^[\\x21\\x23-\\x5b\\x5d-\\x7e]+$', maxLength: maxScopeLength }), { maxItems: maxScopes })),
  environment: Type.Optional(Type.Union([Type.Literal('live'), Type.Literal('test')])),
  expiresAt: Type.Optional(Type.String({ maxLength: 40, description: 'ISO 8601 with Z or an offset, in the future, in year 9999 at the latest' }))
}, { additionalProperties: false })

const OverlapSchema = Type.Object({
  overlap: Type.Optional(Type.Number({ minimum: 0, maximum: 2_592_000, description: 'Seconds for which the old one still works' }))
}, { additionalProperties: false })

const NothingSchema = Type.Object({}, { additionalProperties: false })

const IssuedSchema = Type.Object({
  keyId: Type.String(),
  name: Type.String(),
  prefix: Type.String(),
  environment: Type.String(),
  scopes: Type.Array(Type.String()),
  createdAt: Type.String(),
  expiresAt: Type.Union([Type.String(), Type.Null()]),
  plaintextKey: Type.String({ description: 'Shown this once' }),
  webhookSecret: Type.Union([Type.String({ description: 'Shown this once' }), Type.Null()])
})

const ListedSchema = Type.Object({
  keyId: Type.String(),
  name: Type.String(),
  prefix: Type.String(),
  status: Type.Union([Type.Literal('active'), Type.Literal('revoked')]),
  createdAt: Type.String(),
  environment: Type.String(),
  scopes: Type.Array(Type.String()),
  expiresAt: Type.Union([Type.String(), Type.Null()]),
  lastUsedAt: Type.Union([Type.String(), Type.Null()])
})

const PageSchema = Type.Object({
  cursor: Type.Optional(Type.String({ minLength: 1, maxLength: maxCursorLength })),
  limit: Type.Optional(Type.Integer({ minimum: 1, maximum: 100 }))
})

const KeyParams = Type.Object({ keyId: Type.String({ minLength: 1, maxLength: maxKeyIdLength }) })

/**
 * Serves, below the prefix it is registered with: `POST /api-keys`, `GET /api-keys`, `DELETE /api-keys/:keyId`,
 * `POST /api-keys/:keyId/rotate` and `POST /api-keys/:keyId/webhook-secret`, each for the tenant of the principal alone.
 * Register it after causeflowAuth: `app.register(apiKeyRoutes, { prefix: '/v1' })`. Errors in its scope are
 * answered by causeflowErrorHandler.
 */
export async function apiKeyRoutes (fastify: FastifyInstance, options: ApiKeyRoutesOptions): Promise<void> {
  checkRules(options)
  const { manage = auth.jwt().roles('admin'), list = auth.jwt() } = options
  if (fastify.causeflowAuth === undefined) throw configError('registration', 'apiKeyRoutes serves the keys of causeflowAuth, which is not registered in this scope. Register it first: await app.register(causeflowAuth, { apiKey: { store }, … })')
  const keys = fastify.causeflowAuth.apiKeys
  const handleError = causeflowErrorHandler()
  fastify.setErrorHandler((error, request, reply) => {
    // What a schema cannot say: a time that has passed, a cursor that no list returned, a character that no store can hold.
    if (error instanceof InputError) return answer(reply, 400, 'validation_error', error.message)
    handleError(error, request, reply)
  })
  // A key that is shown once must not be shown again by a cache.
  fastify.addHook('onSend', async (_request, reply) => { reply.header('cache-control', 'no-store') })
  const errors = { 400: ErrorSchema, 401: ErrorSchema, 403: ErrorSchema, 404: ErrorSchema, 409: ErrorSchema, 429: ErrorSchema, 503: ErrorSchema }

  fastify.post('/api-keys', { config: { auth: manage }, preValidation: fieldsOf(NewKeySchema), schema: { body: NewKeySchema, response: { 201: IssuedSchema, ...errors } } }, async (request, reply) => {
    const { tenantId, by } = actor(request)
    const wanted = request.body as Static<typeof NewKeySchema>
    // Read before they are compared and named in a challenge: a validator of the application may let anything pass.
    mayHandOn(request.principal, readScopes(wanted?.scopes ?? []), true)
    const issued = await keys.create({ ...wanted, tenantId, createdBy: by })
    return reply.code(201).send(issued)
  })

  fastify.get('/api-keys', { config: { auth: list }, schema: { querystring: PageSchema, response: { 200: Type.Object({ keys: Type.Array(ListedSchema), cursor: Type.Union([Type.String(), Type.Null()]) }), ...errors } } }, async (request) => {
    const { tenantId } = actor(request)
    const page = await keys.list({ ...request.query as Static<typeof PageSchema>, tenantId })
    return { keys: page.keys.map((key: ApiKeyRecord) => ({ ...key, status: listedStatus(key) })), cursor: page.cursor }
  })

  fastify.delete('/api-keys/:keyId', { config: { auth: manage }, preValidation: fieldsOf(NothingSchema), schema: { params: KeyParams, response: { 204: Type.Null(), ...errors } } }, async (request, reply) => {
    const outcome = await keys.revoke({ ...nameIn(request), revokedBy: actor(request).by })
    if (outcome === 'not-found') return notFound(reply)
    if (outcome === 'already-revoked') return answer(reply, 409, 'conflict', 'The API key is revoked already')
    return reply.code(204).send(null)
  })

  fastify.post('/api-keys/:keyId/rotate', { config: { auth: manage }, preValidation: [fieldsOf(OverlapSchema), bodyOptional], schema: { params: KeyParams, body: OverlapSchema, response: { 201: IssuedSchema, ...errors } } }, async (request, reply) => {
    const name = nameIn(request)
    await mayRenew(request, name)
    const outcome = await keys.rotate({ ...request.body as Static<typeof OverlapSchema>, ...name, rotatedBy: actor(request).by })
    if (outcome === 'not-found') return notFound(reply)
    if (outcome === 'conflict') return answer(reply, 409, 'conflict', 'The API key is not active, or its replacement is still overlapping')
    reply.code(201)
    return outcome
  })

  fastify.post('/api-keys/:keyId/webhook-secret', { config: { auth: manage }, preValidation: [fieldsOf(OverlapSchema), bodyOptional], schema: { params: KeyParams, body: OverlapSchema, response: { 201: Type.Object({ keyId: Type.String(), webhookSecret: Type.String(), previousUntil: Type.String() }), ...errors } } }, async (request, reply) => {
    const name = nameIn(request)
    await mayRenew(request, name)
    const outcome = await keys.rotateWebhookSecret({ ...request.body as Static<typeof OverlapSchema>, ...name }).catch((error: unknown) => {
      // Without a sealing key no key here has a webhook secret.
      if (error instanceof configErrors.option) return 'no-secrets'
      throw error
    })
    if (outcome === 'no-secrets') return answer(reply, 404, 'not_found', 'API keys of this server have no webhook secrets')
    if (outcome === 'not-found') return notFound(reply)
    if (outcome === 'conflict') return answer(reply, 409, 'conflict', 'The API key is not active')
    reply.code(201)
    return outcome
  })

  /** Whoever gets the new secret of a key may do what that key may. */
  async function mayRenew ({ principal }: FastifyRequest, name: KeyName): Promise<void> {
    if (principal?.scheme !== 'apiKey') return
    const key = await keys.get(name)
    // That it is not there is answered by the call that follows.
    if (key !== null) mayHandOn(principal, key.scopes, false)
  }
}

/** Rejects a rule that would be passed over: `{ list: rules.typo }` is undefined, `{ lists: rule }` unknown. What else is there is Fastify's. */
function checkRules (options: object): void {
  for (const [name, value] of Object.entries(options)) {
    const nearest = ['manage', 'list'].find((known) => name === known || isNear(name, known))
    if (name === nearest) {
      if (nodeOf(value) === null) throw configError('option', `apiKeyRoutes({ ${name} }) is ${value === undefined ? 'undefined: is the name of the rule mistyped? Leave the option out to use the default' : 'no rule. Give one built by auth, for example auth.jwt()'}`)
    } else if (nearest !== undefined || isRuleLike(value)) {
      throw configError('option', `apiKeyRoutes has no option '${name}'. It has manage and list`)
    }
  }
}

/**
 * Rejects where a key would give away more than it may do itself. People are judged by the rule alone. The challenge names the
 * scopes only where the client has named them: those of another key are not for this one to know.
 */
function mayHandOn (principal: Principal | null, scopes: readonly string[], named: boolean): void {
  if (principal?.scheme !== 'apiKey') return
  const own: readonly string[] = principal.scopes
  if (!scopes.every((scope) => own.includes(scope))) throw new AuthError('AUTH_SCOPE_REQUIRED', 'scope', { schemes: ['apiKey'], scopes: named ? scopes : [], principal })
}

/**
 * Refuses a body with a field that the schema does not have. Fastify's Ajv would take it away, and `scope` for `scopes` make a key
 * without any, `expires` one that never ends; so it is looked at before the application's validator, whichever that is.
 */
function fieldsOf ({ properties }: { properties: object }): (request: FastifyRequest, reply: FastifyReply) => Promise<FastifyReply | undefined> {
  const known = Object.keys(properties)
  const takes = known.length === 0 ? 'This request takes none' : `There is ${known.join(', ')}`
  return async ({ body }, reply) => {
    // Anything but an object is for the schema to refuse.
    if (typeof body !== 'object' || body === null || Array.isArray(body)) return
    const unknown = Object.keys(body).find((field) => !known.includes(field))
    if (unknown === undefined) return
    return answer(reply, 400, 'validation_error', `body has an unknown field ${JSON.stringify(unknown.slice(0, 64))}. ${takes}`)
  }
}

/** A schema of an object refuses a request without a body; here everything in it may be left out. */
async function bodyOptional (request: FastifyRequest): Promise<void> {
  request.body ??= {}
}

/** Whose keys these are, and who is at work. Without a tenant there are none. */
function actor ({ principal }: FastifyRequest): { tenantId: string, by: string | null } {
  if (principal === null || principal.tenantId === null) throw new AuthError('AUTH_TENANT_REQUIRED', 'tenant-absent', principal === null ? {} : { schemes: [principal.scheme], principal })
  return { tenantId: principal.tenantId, by: nameOf(principal) }
}

/**
 * The key that the URL names, among the principal's own. Whoever calls a method spreads this last: a query, a body or the URL
 * of a prefix may have a `tenantId` of its own.
 */
function nameIn (request: FastifyRequest): KeyName {
  return { tenantId: actor(request).tenantId, keyId: (request.params as Static<typeof KeyParams>).keyId }
}

function nameOf (principal: Principal): string | null {
  switch (principal.scheme) {
    case 'jwt': return principal.subject
    case 'apiKey': return principal.keyId
    case 'webhook': return null
  }
}

function notFound (reply: FastifyReply): FastifyReply {
  return answer(reply, 404, 'not_found', 'There is no such API key')
}

function answer (reply: FastifyReply, status: number, error: string, message: string): FastifyReply {
  return reply.code(status).send({ error, message })
}
