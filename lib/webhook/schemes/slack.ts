import { hexDigest, secondsPattern, strictHeader } from '../header.js'
import type { SignatureScheme } from '../signature.js'
import { checkSchemeOptions } from './scheme-options.js'

/**
 * Slack's scheme: `X-Slack-Signature: v0=<hex>` over `v0:<X-Slack-Request-Timestamp>:<raw body>`.
 * No id is signed; a replay store recognises a delivery by its bytes and its time.
 */
export function slack (options: {
  /** Seconds by which the timestamp may differ from this clock, on either side. Default: 300. */
  tolerance?: number
} = {}): SignatureScheme {
  checkSchemeOptions('slack', options, { tolerance: 'seconds' })
  const { tolerance = 300 } = options
  return Object.freeze({
    name: 'slack',
    headers: Object.freeze([signatureHeader]),
    tolerance,
    read (headers) {
      const signature = strictHeader(headers, signatureHeader, 67, pattern)
      const time = strictHeader(headers, timestampHeader, 12, secondsPattern)
      if (signature === null || time === null) return null
      return { prefix: `v0:${time[0]}:`, digests: [hexDigest(signature[1]!)], timestamp: Number(time[0]), deliveryId: null }
    },
    sign: ({ timestamp }, mac) => ({
      [signatureHeader]: `v0=${mac(`v0:${timestamp}:`).toString('hex')}`,
      [timestampHeader]: String(timestamp)
    })
  } satisfies SignatureScheme)
}

const signatureHeader = 'x-slack-signature'
const timestampHeader = 'x-slack-request-timestamp'
const pattern = /^v0=([0-9a-f]{64})$/
