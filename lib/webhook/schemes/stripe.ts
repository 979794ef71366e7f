import { hexDigest, strictHeader } from '../header.js'
import type { SignatureScheme } from '../signature.js'
import { checkSchemeOptions } from './scheme-options.js'

/**
 * Stripe's scheme: `Stripe-Signature: t=<seconds>,v1=<hex>[,v1=<hex>…]` over `<t>.<raw body>`. Several `v1` are
 * there while a secret is rolled; other versions (`v0` in test mode) are passed over and never verify anything.
 * The event's id is inside the body and not read here.
 */
export function stripe (options: {
  /** Seconds by which `t` may differ from this clock, on either side. Default: 300. */
  tolerance?: number
} = {}): SignatureScheme {
  checkSchemeOptions('stripe', options, { tolerance: 'seconds' })
  const { tolerance = 300 } = options
  return Object.freeze({
    name: 'stripe',
    headers: Object.freeze([header]),
    tolerance,
    read (headers) {
      const match = strictHeader(headers, header, 1000, pattern)
      if (match === null) return null
      const digests = match[2]!.split(',').filter((part) => part.startsWith('v1=')).map((part) => hexDigest(part.slice(3)))
      return { prefix: `${match[1]!}.`, digests, timestamp: Number(match[1]!), deliveryId: null }
    },
    sign: ({ timestamp }, mac) => ({ [header]: `t=${timestamp},v1=${mac(`${timestamp}.`).toString('hex')}` })
  } satisfies SignatureScheme)
}

const header = 'stripe-signature'
// One `t`, at the front: with a second one the time that is judged might not be the time that is signed.
const pattern = /^t=([0-9]{1,12}),((?:v(?!1=)[0-9]{1,2}=[0-9A-Za-z+/_-]{1,128},)*v1=[0-9a-f]{64}(?:,(?:v1=[0-9a-f]{64}|v(?!1=)[0-9]{1,2}=[0-9A-Za-z+/_-]{1,128}))*)$/
