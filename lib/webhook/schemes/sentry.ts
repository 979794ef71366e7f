import { hexDigest, strictHeader } from '../header.js'
import { requireId, type SignatureScheme } from '../signature.js'

/**
 * Sentry's scheme: `Sentry-Hook-Signature: <hex>` without a prefix, the HMAC of the raw body alone, keyed with the
 * integration's client secret. `Sentry-Hook-Timestamp` and `Request-ID` are not signed, and so not believed.
 */
export function sentry (): SignatureScheme {
  return scheme
}

const header = 'sentry-hook-signature'
const pattern = /^[0-9a-f]{64}$/

const scheme: SignatureScheme = Object.freeze({
  name: 'sentry',
  headers: Object.freeze([header]),
  tolerance: null,
  read (headers) {
    const match = strictHeader(headers, header, 64, pattern)
    return match && { prefix: '', digests: [hexDigest(match[0])], timestamp: null, deliveryId: null }
  },
  sign ({ id, timestamp }, mac) {
    requireId(id, 'sentry')
    return { [header]: mac('').toString('hex'), 'sentry-hook-timestamp': String(timestamp), 'request-id': id }
  }
} satisfies SignatureScheme)
