/** How a scheme signs, for programs: learned from what the scheme itself writes. */
import type { SignatureScheme } from '../webhook/signature.js'

/**
 * `x-causeflow-signature`. In `signed` and in the values of `headers`, `{body}` stands for the raw body, `{timestamp}` for
 * seconds since the epoch, `{id}` for an id of the delivery, `{hex}` and `{base64}` for the MAC.
 */
export interface SignatureDescription {
  /** The scheme's name. */
  scheme: string
  algorithm: 'HMAC-SHA256'
  /** What of the secret's text is the key: its UTF-8 bytes; its base64 with `whsec_` taken off; or what the scheme makes of it. */
  key: 'utf8' | 'base64' | 'scheme'
  /** The bytes under the MAC, for instance `{timestamp}.{body}`. */
  signed: string
  /** The headers of a delivery, for instance `sha256={hex}`. */
  headers: Record<string, string>
  /** Seconds by which a signed time may differ from the receiver's clock; null where no time is signed. */
  tolerance: number | null
  /** Whether that time stands inside the body. */
  timestampInBody: boolean
}

// Values that appear nowhere else, so that they can be found again in what a scheme has written.
const id = 'msg_6a1f0c9e7b52'
const timestamp = 1_939_171_717
const digest = Buffer.from(Array.from({ length: 32 }, (_, index) => index * 7 + 3))

export function describeSignature (scheme: SignatureScheme): SignatureDescription {
  let prefix = ''
  const headers = scheme.sign({ id, timestamp }, (given) => {
    prefix = given
    return digest
  })
  return {
    scheme: scheme.name,
    algorithm: 'HMAC-SHA256',
    key: keyOf(scheme),
    signed: `${template(prefix)}{body}`,
    headers: Object.fromEntries(Object.entries(headers).map(([name, value]) => [name.toLowerCase(), template(value)])),
    tolerance: scheme.tolerance,
    timestampInBody: scheme.timestampOf !== undefined
  }
}

function template (text: string): string {
  return text.replaceAll(digest.toString('hex'), '{hex}').replaceAll(digest.toString('base64'), '{base64}').replaceAll(id, '{id}').replaceAll(String(timestamp), '{timestamp}')
}

function keyOf (scheme: SignatureScheme): SignatureDescription['key'] {
  if (scheme.key === undefined) return 'utf8'
  try {
    return digest.equals(scheme.key(`whsec_${digest.toString('base64')}`)) ? 'base64' : 'scheme'
  } catch {
    return 'scheme'
  }
}
