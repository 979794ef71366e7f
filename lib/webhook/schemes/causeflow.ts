import { configError } from '../../errors.js'
import { hexDigest, strictHeader } from '../header.js'
import type { SignatureScheme } from '../signature.js'
import { checkSchemeOptions } from './scheme-options.js'

export interface CauseflowSchemeOptions {
  /** The header that carries the signature. Default: `x-webhook-signature`. */
  header?: string
  /** Accept the 64 digits without `sha256=` as well, as some clients send them. Default: false. */
  bareHex?: boolean
  /**
   * A top-level field of the JSON body that holds the delivery's time, in ISO 8601 (with a zone) or in seconds since the
   * epoch, for instance `timestamp`. A delivery whose field is absent or outside the tolerance is refused, after its signature
   * was found right. It costs a second parse of the body. Default: none, and a captured delivery never grows stale.
   */
  timestampField?: string
  /** Seconds by which the field may differ from this clock, on either side. Default: 300. Only with `timestampField`. */
  tolerance?: number
}

/**
 * CauseFlow's own scheme: `X-Webhook-Signature: sha256=<64 lower-case hex digits>`, the HMAC of the raw body alone, keyed
 * with the secret's UTF-8 text, `whsec_` included.
 * Neither a time nor an id is signed beside the body: see `timestampField`, and a replay store for the rest.
 */
export function causeflow (options: CauseflowSchemeOptions = {}): SignatureScheme {
  checkSchemeOptions('causeflow', options, { header: 'header', bareHex: 'boolean', timestampField: 'field', tolerance: 'seconds' })
  const { header = 'x-webhook-signature', bareHex = false, timestampField, tolerance = 300 } = options
  if (options.tolerance !== undefined && timestampField === undefined) {
    throw configError('option', 'causeflow({ tolerance }) needs timestampField: nothing else says when a delivery was made')
  }
  const name = header.toLowerCase()
  const pattern = bareHex ? /^(?:sha256=)?([0-9a-f]{64})$/ : /^sha256=([0-9a-f]{64})$/
  return Object.freeze({
    name: 'causeflow',
    headers: Object.freeze([name]),
    tolerance: timestampField === undefined ? null : tolerance,
    read (headers) {
      const match = strictHeader(headers, name, 71, pattern)
      return match && { prefix: '', digests: [hexDigest(match[1]!)], timestamp: null, deliveryId: null }
    },
    ...timestampField !== undefined && { timestampOf: (body: Buffer) => timestampIn(body, timestampField) },
    sign: (_delivery, mac) => ({ [name]: `sha256=${mac('').toString('hex')}` })
  } satisfies SignatureScheme)
}

// Date.parse alone would take `2024`, `1 May` and a time without a zone, which each machine reads in its own.
const isoPattern = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(?:\.\d{1,9})?(?:Z|[+-]\d{2}:\d{2})$/

function timestampIn (body: Buffer, field: string): number | null {
  let content: unknown
  try {
    content = JSON.parse(body.toString())
  } catch {
    return null
  }
  if (typeof content !== 'object' || content === null || !Object.hasOwn(content, field)) return null
  const value = (content as Record<string, unknown>)[field]
  if (typeof value === 'number') return value
  if (typeof value !== 'string' || value.length > 40 || !isoPattern.test(value)) return null
  const milliseconds = Date.parse(value)
  return Number.isNaN(milliseconds) ? null : milliseconds / 1000
}
