/** Signing and verifying deliveries without Fastify. */
import { randomUUID } from 'node:crypto'
import { isUint8Array } from 'node:util/types'
import { configError } from '../errors.js'
import type { WebhookPrincipal } from '../principal.js'
import { causeflow } from './schemes/causeflow.js'
import { signingMac, type Secret } from './secret.js'
import { requireId, signatureHeaders, type SignatureScheme } from './signature.js'
import { createSignatureVerifier, type OpenedSignature } from './verify.js'

export interface SignWebhookOptions {
  /** The delivery's id, for schemes that have one: the same whenever the delivery is tried again. Default: `msg_` and a random UUID. */
  id?: string
  /** Seconds since the epoch, for schemes that sign a time. Default: now. */
  timestamp?: number
}

/**
 * The headers that sign a body. Send exactly these bytes: JSON that is serialised a second time may be other bytes.
 * Refuses an empty body, which no verifier would accept, and a secret that is empty or that the scheme cannot read.
 */
export function signWebhook (body: string | Uint8Array, secret: Secret, scheme: SignatureScheme = causeflow(), options: SignWebhookOptions = {}): Record<string, string> {
  const bytes = bytesOf(body, 'signWebhook(body, …) takes the very bytes to send, as a string or a Uint8Array. Serialise the body once, sign that text, and send the same')
  if (bytes.length === 0) throw configError('option', 'An empty body cannot be signed: it would never verify')
  const { id = `msg_${randomUUID()}`, timestamp = Math.floor(Date.now() / 1000) } = options
  requireId(id, 'signWebhook')
  // No scheme reads more digits: milliseconds would never verify.
  if (!Number.isSafeInteger(timestamp) || timestamp < 0 || timestamp > latestTimestamp) throw configError('option', 'timestamp must be whole seconds since the epoch')
  return signatureHeaders(scheme, signingMac(secret, scheme), bytes, { id, timestamp })
}

/** Twelve digits. */
const latestTimestamp = 999_999_999_999

export interface VerifyWebhookOptions {
  /** The name that the principal gets as its source. Default: `default`. */
  name?: string
  /** Milliseconds since the epoch. Default: Date.now. */
  clock?: () => number
}

/** Headers as node:http, fetch or a plain object has them. */
export type HeaderSource = Headers | Readonly<Record<string, string | readonly string[] | undefined>>

/**
 * The sender of a delivery, as a route of this plugin would see it; throws the AuthError that the route would answer.
 * The body is to be the raw bytes, or text that was decoded from them without loss. Replays are not looked for: keep `deliveryId`
 * or the body's digest yourself.
 */
export function verifyWebhook (body: string | Uint8Array, headers: HeaderSource, secret: Secret | readonly Secret[], scheme: SignatureScheme = causeflow(), options: VerifyWebhookOptions = {}): WebhookPrincipal {
  const bytes = bytesOf(body, 'verifyWebhook(body, …) takes the raw bytes as received, as a string or a Uint8Array, and no parsed body. Read the body before it is parsed')
  const { name = 'default', clock = Date.now } = options
  const verifier = createSignatureVerifier({ name, scheme, secret, replay: null }, { clock })
  // A literal secret opens at once.
  const opened = verifier.open(lowerCased(headers), null, null) as OpenedSignature
  return opened.verify(bytes)
}

function bytesOf (body: string | Uint8Array, otherwise: string): Buffer {
  if (typeof body === 'string') return Buffer.from(body)
  if (!isUint8Array(body)) throw configError('option', otherwise)
  return Buffer.from(body.buffer, body.byteOffset, body.byteLength)
}

/** Headers as node:http hands them to a route: names in lower case, duplicates joined, which no scheme accepts. */
function lowerCased (headers: HeaderSource): Record<string, string> {
  const lower: Record<string, string> = Object.create(null)
  const entries = headers instanceof Headers ? headers.entries() : Object.entries(headers)
  for (const [key, value] of entries) {
    if (value === undefined) continue
    const name = key.toLowerCase()
    const text = typeof value === 'string' ? value : value.join(', ')
    lower[name] = name in lower ? `${lower[name]}, ${text}` : text
  }
  return lower
}
