/** What a webhook signature is made of, whichever service signs it. */
import type { IncomingHttpHeaders } from 'node:http'
import { configError } from '../errors.js'
import type { Mac } from './hmac.js'

/**
 * How one service signs its deliveries: HMAC-SHA256 over a prefix and the raw body. Those of this package are
 * `causeflow()`, `standardWebhooks()`, `github()`, `slack()`, `stripe()` and `sentry()`; write your own for others.
 *
 * A scheme reads and writes headers. It computes no MAC, compares nothing, holds no secret and knows no clock:
 * the verifier does that, so that a scheme cannot get it wrong.
 */
export interface SignatureScheme {
  /** The name, for messages and for keeping the replay keys of two schemes apart. */
  readonly name: string
  /** The lower-case names of the headers that carry a signature. One of them there: a signature is presented. */
  readonly headers: readonly string[]
  /** Seconds by which a signed time may differ from this clock, in the past and in the future; null where no time is signed. */
  readonly tolerance: number | null
  /**
   * The HMAC key that a secret's text stands for, where that is not simply its UTF-8 bytes. Throws on a text that stands
   * for none, without repeating it. Secrets given as bytes are the key themselves and do not come here.
   */
  key? (secret: string): Uint8Array
  /**
   * The signature that the headers present; null when their form is wrong in any way. Nothing is verified here.
   * Judge the length first and then one anchored pattern (`strictHeader` does both).
   */
  read (headers: IncomingHttpHeaders): PresentedSignature | null
  /** For schemes that sign a time inside the body: seconds since the epoch, null when there is none. Called only with verified bytes. */
  timestampOf? (body: Buffer): number | null
  /** The headers of a delivery. `mac` gives the MAC of a prefix followed by the body. */
  sign (delivery: OutgoingDelivery, mac: (prefix: string) => Buffer): Record<string, string>
}

/** What the headers of a delivery claim. */
export interface PresentedSignature {
  /** What is signed before the body, in the very characters that were received; '' where the body alone is signed. */
  readonly prefix: string
  /** The candidates, 32 bytes each. One that matches is enough. */
  readonly digests: readonly Uint8Array[]
  /** Seconds since the epoch, where the time is among the signed bytes; null otherwise. */
  readonly timestamp: number | null
  /**
   * The delivery's id, 256 characters at most, where it is among the signed bytes; null otherwise, because
   * whoever replays a delivery may write any other.
   */
  readonly deliveryId: string | null
}

/** What a scheme may put into the headers that it signs. */
export interface OutgoingDelivery {
  readonly id: string
  /** Seconds since the epoch. */
  readonly timestamp: number
}

/**
 * A scheme's signing of one body under one key. Throws AUTH_CONFIG_OPTION for a name or a value that no
 * header can have: a line feed in it would begin another header (RFC 9110 §5.5).
 */
export function signatureHeaders (scheme: SignatureScheme, mac: Mac, body: Uint8Array, delivery: OutgoingDelivery): Record<string, string> {
  const headers = scheme.sign(delivery, (prefix) => mac(prefix, body))
  for (const [name, value] of Object.entries(headers)) {
    if (!isHeaderName(name)) throw configError('option', `The scheme ${scheme.name} writes a header whose name is none: use letters, digits and hyphens`)
    if (typeof value !== 'string' || !fieldValue.test(value)) {
      throw configError('option', `The scheme ${scheme.name} writes a value into ${name} that no header can have: use visible ASCII characters`)
    }
  }
  return headers
}

/** Whether a text is the name of a header: a token of at most 128 characters (RFC 9110 §5.6.2). */
export function isHeaderName (value: unknown): value is string {
  return typeof value === 'string' && /^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}$/.test(value)
}

/**
 * Visible ASCII, with spaces and tabs between. What is beyond ASCII is written in one encoding and read in
 * another.
 */
const fieldValue = /^[\x21-\x7e](?:[\t\x20-\x7e]*[\x21-\x7e])?$/

/** Whether a value is a delivery's id: a text that is not empty and has at most 256 characters. */
export function isDeliveryId (value: unknown): value is string {
  return typeof value === 'string' && value !== '' && value.length <= 256
}

/** Throws unless an id can be sent in a header and is kept by every receiver. */
export function requireId (id: unknown, owner: string): void {
  if (typeof id !== 'string' || !/^[\x21-\x7e]{1,256}$/.test(id)) throw configError('option', `${owner}: a delivery id has 1 to 256 visible ASCII characters`)
}

/** Whether a time in seconds is within the tolerance of now (milliseconds), on either side, the bound included. NaN is not. */
export function isTimely (timestamp: number, now: number, tolerance: number): boolean {
  return Math.abs(now - timestamp * 1000) <= tolerance * 1000
}
