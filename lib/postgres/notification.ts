/** What the triggers send: a change and the proof that a trigger sent it, for NOTIFY itself needs no privilege. */
import { createHmac, timingSafeEqual } from 'node:crypto'

/** The row that the triggers read. Whoever cannot read it can neither receive what they send nor send anything like it. */
export interface NotificationSecret {
  /** On which changes are sent. A name that nobody can guess: a flood on it would have to be received. */
  readonly channel: string
  /** 32 bytes in hex. */
  readonly secret: string
}

/** What was received before is dropped, so that a notification that was recorded cannot be sent again and again. */
const maxRemembered = 1000

/**
 * Reads payloads of one connection: 64 hex digits, HMAC-SHA256 of what follows the space: the id of the transaction, a space, the change.
 * Returns the change; null for what no trigger sent, and for what was received before. To drop a repetition is safe: within a transaction
 * PostgreSQL sends equal payloads once, and a later transaction has another id.
 */
export function createReader ({ secret }: NotificationSecret): (payload: string) => string | null {
  const key = Buffer.from(secret, 'hex')
  const seen = new Set<string>()
  return (payload) => {
    const match = /^([0-9a-f]{64}) (\d{1,20} (.*))$/s.exec(payload)
    if (match === null) return null
    const [, mac = '', message = '', change = ''] = match
    if (!timingSafeEqual(Buffer.from(mac, 'hex'), createHmac('sha256', key).update(message).digest())) return null
    if (seen.has(mac)) return null
    if (seen.size >= maxRemembered) seen.delete(seen.values().next().value as string)
    seen.add(mac)
    return change
  }
}

/** The row as it was read, or an error: its channel becomes part of a statement. */
export function readNotificationSecret (row: { channel: unknown, secret: unknown } | undefined): NotificationSecret {
  const { channel, secret } = row ?? {}
  if (typeof channel !== 'string' || !/^causeflow_[0-9a-f]{32}$/.test(channel) || typeof secret !== 'string' || !/^[0-9a-f]{64}$/.test(secret)) {
    throw new TypeError('The secret of notifications is missing or malformed')
  }
  return { channel, secret }
}
