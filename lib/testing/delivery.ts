/** Signed deliveries for tests, right ones and wrong ones. */
import type { Secret } from '../webhook/secret.js'
import { signWebhook, type SignWebhookOptions } from '../webhook/sign.js'
import type { SignatureScheme } from '../webhook/signature.js'

export interface SignedDeliveryOptions extends SignWebhookOptions {
  /** The path, with its query. */
  url: string
  /** Text and bytes are sent as they are; anything else as JSON. */
  body: unknown
  secret: Secret
  /** Default: causeflow(). */
  scheme?: SignatureScheme
  /** Default: `POST`. */
  method?: 'POST' | 'PUT' | 'PATCH' | 'DELETE'
  /** Further headers, their names put into lower case. They win over those of the signature, so that any of these can be bent. Default: `content-type: application/json`. */
  headers?: Record<string, string>
  /**
   * What to spoil after signing: one bit of the `body`, one digit of the `signature`, the signature headers `removed`, their time
   * made an hour `stale` (and signed so), or whatever your own function answers.
   */
  tamper?: 'body' | 'signature' | 'removed' | 'stale' | ((delivery: SignedDelivery) => SignedDelivery)
}

/** Options for `app.inject`. */
export interface SignedDelivery {
  method: 'POST' | 'PUT' | 'PATCH' | 'DELETE'
  url: string
  headers: Record<string, string>
  payload: Buffer
}

/** A delivery as its sender would make it, for `app.inject`; `deliveryBytes` writes it for a socket. */
export function signedDelivery ({ url, body, secret, scheme, method = 'POST', headers, tamper, ...signing }: SignedDeliveryOptions): SignedDelivery {
  const payload = typeof body === 'string' ? Buffer.from(body) : body instanceof Uint8Array ? Buffer.from(body) : Buffer.from(JSON.stringify(body))
  if (tamper === 'stale') signing = { ...signing, timestamp: (signing.timestamp ?? Math.floor(Date.now() / 1000)) - 3600 }
  const signature = signWebhook(payload, secret, scheme, signing)
  const delivery: SignedDelivery = { method, url, headers: { 'content-type': 'application/json', ...signature, ...lowerCased(headers) }, payload }
  if (typeof tamper === 'function') return tamper(delivery)
  if (tamper === 'body') payload[payload.length - 1]! ^= 1
  if (tamper === 'removed') for (const name of Object.keys(signature)) delete delivery.headers[name]
  if (tamper === 'signature') spoilSignature(delivery, signature, scheme)
  return delivery
}

/**
 * A delivery as bytes of HTTP/1.1. With `chunks`, the sizes in which the body is cut, it is sent chunked, the last chunk
 * holding the rest; the connection is asked to close.
 */
export function deliveryBytes ({ method, url, headers, payload }: SignedDelivery, options: { host?: string, chunks?: readonly number[] } = {}): Buffer {
  const { host = 'localhost', chunks } = options
  const lines = [`${method} ${url} HTTP/1.1`, `host: ${host}`, 'connection: close', ...Object.entries(headers).map(([name, value]) => `${name}: ${value}`)]
  lines.push(chunks === undefined ? `content-length: ${payload.length}` : 'transfer-encoding: chunked')
  const head = Buffer.from(`${lines.join('\r\n')}\r\n\r\n`, 'latin1')
  return Buffer.concat([head, chunks === undefined ? payload : chunked(payload, chunks)])
}

function chunked (payload: Buffer, sizes: readonly number[]): Buffer {
  const parts: Buffer[] = []
  let at = 0
  for (const size of [...sizes, payload.length]) {
    const chunk = payload.subarray(at, at + size)
    // An empty chunk would end the body.
    if (chunk.length === 0) continue
    parts.push(Buffer.from(`${chunk.length.toString(16)}\r\n`), chunk, Buffer.from('\r\n'))
    at += chunk.length
  }
  return Buffer.concat([...parts, Buffer.from('0\r\n\r\n')])
}

function lowerCased (headers: Record<string, string> = {}): Record<string, string> {
  return Object.fromEntries(Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value]))
}

/** Changes one digit in the middle of the signature, so that its form stays right. */
function spoilSignature (delivery: SignedDelivery, signature: Record<string, string>, scheme: SignatureScheme | undefined): void {
  const name = Object.keys(signature).find((header) => scheme?.headers.includes(header) ?? true)!
  const value = delivery.headers[name]!
  const at = value.length - 8
  delivery.headers[name] = value.slice(0, at) + (value[at] === '0' ? '1' : '0') + value.slice(at + 1)
}
