// The events that are delivered, as webhooks of the document.
import t from 'tap'
import { TypeCompiler } from '@sinclair/typebox/compiler'
import { Type } from '@sinclair/typebox'
import { causeflow, signWebhook, standardWebhooks } from '../../lib/index.js'
import { webhookEventNames } from '../../lib/webhook/events.js'
import { documentOf, v31 } from './fixture.js'

const answer = async (): Promise<string> => 'ok'

t.test('all events, each with its envelope, its ids and its signature, in a document that is OpenAPI 3.1 by itself', async (t) => {
  const { openapi, webhooks = {}, components } = await documentOf(t, { swagger: { openapi: { webhooks: { 'mine.made': { post: { responses: {} } } } } }, openapi: { webhooks: true }, routes: (app) => app.get('/', answer) })
  t.equal(openapi, '3.1.0')
  t.strictSame(Object.keys(webhooks).sort(), [...webhookEventNames, 'mine.made'].sort())
  const { post } = webhooks['incident.created'] ?? {}
  t.strictSame(post?.security, [{ signature: [] }])
  t.strictSame(Object.keys(post?.responses ?? {}), ['2XX', 'default'])
  t.match(post?.requestBody.content['application/json']?.schema, {
    type: 'object',
    required: ['event', 'timestamp', 'tenantId', 'data'],
    properties: { event: { type: 'string', const: 'incident.created' }, data: { type: 'object', properties: { incidentId: { type: 'string' } } } }
  })
  t.equal(components.securitySchemes.signature?.name, 'x-webhook-signature')
})

t.test('some events, signed in another way than what this application receives', async (t) => {
  const { webhooks = {}, components } = await documentOf(t, { swagger: v31, openapi: { webhooks: { events: ['user.deleted'], scheme: standardWebhooks() } }, routes: (app) => app.get('/', answer) })
  t.strictSame(Object.keys(webhooks), ['user.deleted'])
  t.equal(components.securitySchemes.signature?.name, 'webhook-signature')
  t.equal(components.securitySchemes.signature_2?.name, 'x-webhook-signature')
})

t.test('the documented schema takes what is delivered', async (t) => {
  const { webhooks = {} } = await documentOf(t, { swagger: v31, openapi: { webhooks: true }, routes: (app) => app.get('/', answer) })
  const { properties = {} } = webhooks['user.created']?.post.requestBody.content['application/json']?.schema as { properties?: Record<string, object> }
  const body = { event: 'user.created', timestamp: '2030-01-01T00:00:00Z', tenantId: 'ten_a', data: { userId: 'usr_1' } }
  t.match(signWebhook(JSON.stringify(body), 'whsec', causeflow()), { 'x-webhook-signature': /^sha256=/ })
  t.ok(TypeCompiler.Compile(Type.Object({ timestamp: Type.String(properties.timestamp) })).Check(body))
})
