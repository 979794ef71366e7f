/** What happens to keys, for audit logs: subscribe to the diagnostics channel `causeflow-auth:api-key`. */
import { channel } from 'node:diagnostics_channel'

interface Happening {
  /** When, ISO 8601. */
  at: string
}

interface HappeningToKey extends Happening {
  tenantId: string
  keyId: string
}

/** One event. It never holds a key, a digest or a secret. */
export type ApiKeyEvent =
  | HappeningToKey & { event: 'created', name: string, scopes: readonly string[], by: string | null }
  | HappeningToKey & { event: 'revoked', by: string | null }
  | HappeningToKey & { event: 'rotated', replacedBy: string, until: string, by: string | null }
  | HappeningToKey & { event: 'webhook-secret-rotated', until: string }
  | Happening & { event: 'all-revoked', tenantId: string, keyIds: readonly string[], by: string | null }
  | HappeningToKey & { event: 'webhook-secret-unreadable' }
  | Happening & { event: 'last-use-lost', cause: unknown }
  /** A store returned what is no key record; `field` is a JSON pointer, empty for the record as a whole. An id that cannot be read is null. */
  | Happening & { event: 'record-invalid', tenantId: string | null, keyId: string | null, field: string }

const events = channel('causeflow-auth:api-key')

/** The time of an event. Events are published where something failed, so a clock that returns no number must not throw here. */
export function eventTime (now: number): string {
  return new Date(Number.isFinite(now) && Math.abs(now) <= 8.64e15 ? now : Date.now()).toISOString()
}

export function publishKeyEvent (event: ApiKeyEvent): void {
  if (events.hasSubscribers) events.publish(event)
}
