import { configError } from '../../errors.js'
import { listOf, secondsPattern, strictHeader } from '../header.js'
import type { SignatureScheme } from '../signature.js'
import { checkSchemeOptions } from './scheme-options.js'

/**
 * The Standard Webhooks scheme, which Clerk and every service on Svix sign with: `webhook-id`, `webhook-timestamp` and
 * `webhook-signature` (or the same three with `svix-`) over `<id>.<timestamp>.<raw body>`. The signature is a list,
 * separated by spaces; its `v1` entries are tried, and entries that cannot match are ignored: other versions,
 * such as the asymmetric `v1a`, and what is no digest.
 *
 * A secret's text is base64, with or without `whsec_`; give a Uint8Array for a key that is anything else.
 * The id is signed and stays the same when a delivery is tried again: a replay store goes by it.
 */
export function standardWebhooks (options: {
  /** Seconds by which the timestamp may differ from this clock, on either side. Default: 300. */
  tolerance?: number
} = {}): SignatureScheme {
  checkSchemeOptions('standardWebhooks', options, { tolerance: 'seconds' })
  const { tolerance = 300 } = options
  return Object.freeze({
    name: 'standard-webhooks',
    headers: Object.freeze([families[0].signature, families[1].signature]),
    tolerance,
    key: keyOf,
    read (headers) {
      // The three are taken from one family: an id of one and a signature of the other are not one delivery.
      const family = headers[families[0].signature] === undefined ? families[1] : families[0]
      const id = strictHeader(headers, family.id, 256, idPattern)
      const time = strictHeader(headers, family.timestamp, 12, secondsPattern)
      const entries = listOf(headers, family.signature, ' ')
      // Two headers: the last entry of the first has a comma behind it.
      if (entries.some((entry) => entry.indexOf(',') !== entry.lastIndexOf(','))) return null
      const digests = entries.filter((entry) => digestPattern.test(entry)).map((entry) => Buffer.from(entry.slice(3), 'base64'))
      if (id === null || time === null || digests.length === 0) return null
      return { prefix: `${id[0]}.${time[0]}.`, digests, timestamp: Number(time[0]), deliveryId: id[0] }
    },
    sign ({ id, timestamp }, mac) {
      if (!idPattern.test(id) || id.length > 256) throw configError('option', 'A delivery id has at most 256 visible ASCII characters and no full stop')
      return {
        [families[0].id]: id,
        [families[0].timestamp]: String(timestamp),
        [families[0].signature]: `v1,${mac(`${id}.${timestamp}.`).toString('base64')}`
      }
    }
  } satisfies SignatureScheme)
}

const families = [
  { id: 'webhook-id', timestamp: 'webhook-timestamp', signature: 'webhook-signature' },
  { id: 'svix-id', timestamp: 'svix-timestamp', signature: 'svix-signature' }
] as const

// No full stop: `a.1` + `2` + body and `a` + `1` + `2.` + body would be the same signed bytes, and one delivery's
// signature would open another's id, time and body.
const idPattern = /^[\x21-\x2d\x2f-\x7e]+$/

// 32 bytes in canonical base64: the last digit before `=` has no bits to spare, so that one signature has one
// written form.
const digestPattern = /^v1,[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]=$/

const base64Pattern = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}(?:==)?|[A-Za-z0-9+/]{3}=?)?$/

function keyOf (secret: string): Uint8Array {
  const text = secret.startsWith('whsec_') ? secret.slice(6) : secret
  // Buffer.from passes over what is no base64, and a mistyped secret would become a weaker one.
  if (!base64Pattern.test(text)) throw new TypeError('A Standard Webhooks secret is base64, with or without whsec_ before it')
  return Buffer.from(text, 'base64')
}
