/** The events that CauseFlow delivers, as the `webhooks` of an OpenAPI 3.1 document. */
import { configError } from '../errors.js'
import { causeflow } from '../webhook/schemes/causeflow.js'
import { dataSchemas, isWebhookEventName, webhookEventNames, WebhookEnvelopeSchema, type WebhookEventName } from '../webhook/events.js'
import type { SignatureScheme } from '../webhook/signature.js'

export interface EventWebhooksOptions {
  /** The events that are documented. Default: all twenty. */
  events?: readonly WebhookEventName[]
  /** How their deliveries are signed. Default: causeflow(). */
  scheme?: SignatureScheme
}

/** The settings of the events; null where none are documented. Throws AUTH_CONFIG_OPTION. */
export function readEventWebhooks (options: boolean | EventWebhooksOptions | undefined): Required<EventWebhooksOptions> | null {
  if (options === undefined || options === false) return null
  if (options !== true && (typeof options !== 'object' || options === null)) throw configError('option', 'withCauseflowOpenApi: webhooks is true, false or { events, scheme }')
  const { events = webhookEventNames, scheme = causeflow() } = options === true ? {} : options
  for (const event of events) if (!isWebhookEventName(event)) throw configError('option', `withCauseflowOpenApi: webhooks.events has '${String(event)}', which is none of the events. They are ${webhookEventNames.join(', ')}`)
  return { events, scheme }
}

/** A Path Item for each event, whose deliveries carry the credential `security`. */
export function eventWebhooks (events: readonly WebhookEventName[], security: string): Record<string, object> {
  return Object.fromEntries(events.map((event) => [event, {
    post: {
      summary: `Delivered on ${event}`,
      security: [{ [security]: [] }],
      requestBody: { required: true, content: { 'application/json': { schema: eventSchema(event) } } },
      responses: {
        '2XX': { description: 'The delivery was received' },
        default: { description: 'The delivery was not received, and is tried again' }
      }
    }
  }]))
}

function eventSchema (event: WebhookEventName): object {
  const { properties, ...envelope } = WebhookEnvelopeSchema
  // Through JSON: what TypeBox keeps under symbols belongs to no document.
  return JSON.parse(JSON.stringify({ ...envelope, properties: { ...properties, event: { ...properties.event, const: event }, data: dataSchemas[event] } })) as object
}
