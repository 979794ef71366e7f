import t from 'tap'
import Fastify from 'fastify'
import { isWebhookEventName, parseWebhookEvent, WebhookEnvelopeSchema, webhookEventNames } from '../../lib/webhook/events.js'
import { watchProcess } from '../fixtures/process-watch.js'

watchProcess(t)

const event = { event: 'incident.created', timestamp: '2026-01-01T00:00:00.000Z', tenantId: 'ten_1', data: { incidentId: 'inc_1', severity: 3 } }

t.test('the twenty events of the wire contract are known, and no other', async (t) => {
  t.strictSame(webhookEventNames, [
    'tenant.created', 'tenant.updated', 'user.created', 'user.updated', 'user.deleted', 'incident.created', 'incident.status_changed',
    'investigation.progress', 'investigation.completed', 'investigation.known_solution_found', 'remediation.proposed',
    'remediation.approved', 'remediation.rejected', 'remediation.executed', 'integration.connected', 'integration.disconnected',
    'trigger.created', 'trigger.deleted', 'trigger.event_received', 'knowledge.pattern_extracted'
  ])
  for (const name of webhookEventNames) t.strictSame(parseWebhookEvent({ ...event, event: name }), { ...event, event: name }, name)
  for (const name of ['', 'incident.deleted', 'constructor', '__proto__', 'Incident.created', 'incident.created ']) {
    t.equal(isWebhookEventName(name), false)
    t.equal(parseWebhookEvent({ ...event, event: name }), null, name)
  }
})

t.test('a body is taken parsed, as text or as bytes', async (t) => {
  t.equal(parseWebhookEvent(event), event)
  for (const body of [JSON.stringify(event), Buffer.from(JSON.stringify(event)), new Uint8Array(Buffer.from(JSON.stringify(event)))]) t.strictSame(parseWebhookEvent(body), event)
  for (const body of ['', '{', 'null', Buffer.alloc(0), Buffer.from([0xff]), null, undefined, 5, [], [event]]) t.equal(parseWebhookEvent(body), null)
})

t.test('the name narrows the data', async (t) => {
  const known = parseWebhookEvent(event)
  if (known?.event !== 'incident.created') return t.fail('not narrowed')
  const id: string | undefined = known.data.incidentId
  const rest: unknown = known.data['severity']
  t.strictSame([id, rest], ['inc_1', 3])
})

t.test('further fields are let in; a missing one or one of a wrong type makes it no event', async (t) => {
  t.ok(parseWebhookEvent({ ...event, version: 2, data: {} }))
  for (const bent of [{ event: 5 }, { timestamp: undefined }, { timestamp: 1_700_000_000 }, { timestamp: 'yesterday' }, { timestamp: '2026-01-01' }, { timestamp: '2026-13-01T00:00:00Z' }, { tenantId: '' }, { tenantId: null },
    { data: null }, { data: 'text' }, { data: undefined }, { data: { incidentId: 5 } }]) {
    t.equal(parseWebhookEvent({ ...event, ...bent }), null, JSON.stringify(bent))
  }
})

t.test('an id that an event promises is a string where it is there, and another event may have what it likes under that name', async (t) => {
  const ids: Record<string, string[]> = {
    tenant: ['tenantId'],
    user: ['userId'],
    incident: ['incidentId'],
    investigation: ['investigationId', 'incidentId'],
    remediation: ['remediationId', 'incidentId'],
    integration: ['integrationId'],
    trigger: ['triggerId'],
    knowledge: ['patternId']
  }
  const everything = [...new Set(Object.values(ids).flat())]
  for (const name of webhookEventNames) {
    const promised = ids[name.split('.')[0]!]!
    const refused = everything.filter((id) => parseWebhookEvent({ ...event, event: name, data: { [id]: 5 } }) === null)
    t.strictSame(refused, everything.filter((id) => promised.includes(id)), name)
  }
})

t.test('as the schema of a route\'s body it lets tomorrow\'s event in and refuses what is no envelope', async (t) => {
  const app = Fastify()
  t.teardown(() => app.close())
  app.post('/', { schema: { body: WebhookEnvelopeSchema } }, async (request) => request.body)
  const tomorrow = { ...event, event: 'incident.dreamt', more: true }
  t.strictSame((await app.inject({ method: 'POST', url: '/', payload: tomorrow })).json(), tomorrow)
  for (const bent of [{ timestamp: 'yesterday' }, { event: '' }, { tenantId: '' }]) t.equal((await app.inject({ method: 'POST', url: '/', payload: { ...event, ...bent } })).statusCode, 400, JSON.stringify(bent))
})
