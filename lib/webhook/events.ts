/** The events that CauseFlow sends: their envelope, their names, and the way from a body to one of them. */
import { Type, type Static, type TObject } from '@sinclair/typebox'
import { TypeCompiler } from '@sinclair/typebox/compiler'

/**
 * The body of an outgoing event. The name is any string, so that tomorrow's event is not refused by today's route; further fields
 * are let in. The time is ISO 8601 with a zone.
 */
export const WebhookEnvelopeSchema = Type.Object({
  event: Type.String({ minLength: 1, description: 'The name of the event, for instance incident.created' }),
  // A pattern and not `format`: TypeBox's own checker refuses formats that nobody has registered.
  timestamp: Type.String({ pattern: '^\\d{4}-\\d{2}-\\d{2}T\\d{2}:\\d{2}:\\d{2}(\\.\\d+)?(Z|[+-]\\d{2}:\\d{2})$', description: 'When it happened, ISO 8601' }),
  tenantId: Type.String({ minLength: 1 }),
  data: Type.Record(Type.String(), Type.Unknown())
})

export type WebhookEnvelope = Static<typeof WebhookEnvelopeSchema>

/** An event that this version knows by name, discriminated by `event`. */
export type WebhookEvent = { [Name in WebhookEventName]: Omit<WebhookEnvelope, 'event' | 'data'> & { event: Name, data: WebhookEventData<Name> } }[WebhookEventName]

/** The data of one event: the ids that are strings where they are there, and whatever else was sent. */
export type WebhookEventData<Name extends WebhookEventName> = Static<typeof dataSchemas[Name]> & Record<string, unknown>

/**
 * The event of a body, parsed or raw; null when it is none, or one that this version does not know.
 * This verifies no signature: give it what a verified request brought. Of `data` it promises that it is an object and that the ids
 * typed here, where present, are strings.
 */
export function parseWebhookEvent (body: unknown): WebhookEvent | null {
  const content = typeof body === 'string' || body instanceof Uint8Array ? parsed(body) : body
  if (!envelope.Check(content) || Number.isNaN(Date.parse(content.timestamp))) return null
  if (!isWebhookEventName(content.event) || !checks.get(content.event)!.Check(content.data)) return null
  return content as WebhookEvent
}

/** Whether a name is one of the twenty events. */
export function isWebhookEventName (name: string): name is WebhookEventName {
  return Object.hasOwn(dataSchemas, name)
}

const id = Type.Optional(Type.String())
const tenant = Type.Object({ tenantId: id })
const user = Type.Object({ userId: id })
const incident = Type.Object({ incidentId: id })
const investigation = Type.Object({ investigationId: id, incidentId: id })
const remediation = Type.Object({ remediationId: id, incidentId: id })
const integration = Type.Object({ integrationId: id })
const trigger = Type.Object({ triggerId: id })
const pattern = Type.Object({ patternId: id })

/** What is known of the data of each event. */
export const dataSchemas = {
  'tenant.created': tenant,
  'tenant.updated': tenant,
  'user.created': user,
  'user.updated': user,
  'user.deleted': user,
  'incident.created': incident,
  'incident.status_changed': incident,
  'investigation.progress': investigation,
  'investigation.completed': investigation,
  'investigation.known_solution_found': investigation,
  'remediation.proposed': remediation,
  'remediation.approved': remediation,
  'remediation.rejected': remediation,
  'remediation.executed': remediation,
  'integration.connected': integration,
  'integration.disconnected': integration,
  'trigger.created': trigger,
  'trigger.deleted': trigger,
  'trigger.event_received': trigger,
  'knowledge.pattern_extracted': pattern
} satisfies Record<string, TObject>

export type WebhookEventName = keyof typeof dataSchemas

/** The names of the twenty events. */
export const webhookEventNames: readonly WebhookEventName[] = Object.freeze(Object.keys(dataSchemas) as WebhookEventName[])

const envelope = TypeCompiler.Compile(WebhookEnvelopeSchema)
const checks = new Map(webhookEventNames.map((name) => [name, TypeCompiler.Compile<TObject>(dataSchemas[name])]))

function parsed (body: string | Uint8Array): unknown {
  try {
    return JSON.parse(typeof body === 'string' ? body : Buffer.from(body.buffer, body.byteOffset, body.byteLength).toString())
  } catch {
    return null
  }
}
