import { hexDigest, listOf, secondsPattern } from '../header.js'
import type { SignatureScheme } from '../signature.js'
import { checkSchemeOptions } from './scheme-options.js'

/**
 * Stripe's scheme: `Stripe-Signature: t=<seconds>,v1=<hex>[,v1=<hex>…]` over `<t>.<raw body>`. Several `v1`
 * are there while a secret is rolled; entries that cannot match are ignored: other versions (`v0` in test
 * mode) and what is no digest. The event's id is inside the body and not read here.
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
      const entries = listOf(headers, header, ',')
      const times = entries.filter((entry) => entry.startsWith('t='))
      const digests = entries.filter((entry) => digestPattern.test(entry)).map((entry) => hexDigest(entry.slice(3)))
      const time = times[0]?.slice(2) ?? ''
      // Two headers begin their second list with a space; with a second `t` the time that is judged might not
      // be the time that is signed.
      if (entries.some((entry) => entry.startsWith(' ')) || times.length !== 1 || !secondsPattern.test(time) || digests.length === 0) return null
      return { prefix: `${time}.`, digests, timestamp: Number(time), deliveryId: null }
    },
    sign: ({ timestamp }, mac) => ({ [header]: `t=${timestamp},v1=${mac(`${timestamp}.`).toString('hex')}` })
  } satisfies SignatureScheme)
}

const header = 'stripe-signature'
const digestPattern = /^v1=[0-9a-f]{64}$/
