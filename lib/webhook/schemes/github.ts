import { hexDigest, strictHeader } from '../header.js'
import { requireId, type SignatureScheme } from '../signature.js'

/**
 * GitHub's scheme: `X-Hub-Signature-256: sha256=<hex>`, the HMAC of the raw body alone.
 * The older SHA-1 header is ignored. Neither a time nor `X-GitHub-Delivery` is signed: a captured delivery stays good
 * until a replay store has seen it, and its id is not reported because a replay may carry any other.
 */
export function github (): SignatureScheme {
  return scheme
}

const header = 'x-hub-signature-256'
const pattern = /^sha256=([0-9a-f]{64})$/

const scheme: SignatureScheme = Object.freeze({
  name: 'github',
  headers: Object.freeze([header]),
  tolerance: null,
  read (headers) {
    const match = strictHeader(headers, header, 71, pattern)
    return match && { prefix: '', digests: [hexDigest(match[1]!)], timestamp: null, deliveryId: null }
  },
  sign ({ id }, mac) {
    requireId(id, 'github')
    return { [header]: `sha256=${mac('').toString('hex')}`, 'x-github-delivery': id }
  }
} satisfies SignatureScheme)
