/** What a delivery that does not verify is close to: the mistakes that are usually made. */
import { isUtf8 } from 'node:buffer'
import { causeflow } from '../webhook/schemes/causeflow.js'
import { github } from '../webhook/schemes/github.js'
import { sentry } from '../webhook/schemes/sentry.js'
import { slack } from '../webhook/schemes/slack.js'
import { standardWebhooks } from '../webhook/schemes/standard-webhooks.js'
import { stripe } from '../webhook/schemes/stripe.js'
import { hashedSecret, type Secret } from '../webhook/secret.js'
import { verifyWebhook, type HeaderSource } from '../webhook/sign.js'
import type { SignatureScheme } from '../webhook/signature.js'

export interface Delivery {
  body: Buffer
  headers: HeaderSource
  secrets: readonly string[]
  scheme: SignatureScheme
  clock: () => number
}

interface Variation { words: string, body?: Buffer, secrets?: readonly Secret[], scheme?: SignatureScheme }

/** A sentence for each change under which the delivery verifies. Nothing here is a reason to accept it. */
export function nearMisses (delivery: Delivery): string[] {
  return variationsOf(delivery).filter((variation) => verifies({ ...delivery, ...variation })).map(({ words }) => words)
}

/** The schemes of this package, of whose signature headers one is there. */
export function presentedSchemes (headers: Readonly<Record<string, unknown>>): string[] {
  return [causeflow(), standardWebhooks(), github(), slack(), stripe(), sentry()]
    .filter((scheme) => scheme.headers.some((name) => headers[name] !== undefined)).map(({ name }) => name)
}

function variationsOf ({ body, secrets, scheme }: Delivery): Variation[] {
  const variations: Variation[] = [
    { words: 'It verifies with the secret as it is after taking white space off: a line feed came along', secrets: secrets.map((secret) => secret.trim()).filter((secret) => secret !== '') },
    { words: 'It verifies with the digest of the secret as the HMAC key: the sender hashes its secret, see --hashed-secret', secrets: secrets.map(hashedSecret) },
    { words: 'It verifies with the bytes behind whsec_ as the HMAC key: the sender decodes its secret', secrets: secrets.map((secret) => Buffer.from(secret.replace(/^whsec_/, ''), 'base64')) },
    { words: 'It verifies with the text of the secret as the HMAC key: the sender does not decode it', secrets: secrets.map((secret) => Buffer.from(secret)) },
    ...bodiesOf(body)
  ]
  if (scheme.name === 'causeflow') {
    const header = scheme.headers[0] ?? ''
    variations.push({ words: 'It verifies without the prefix sha256=: the sender leaves it out, see --bare-hex', scheme: causeflow({ header, bareHex: true }) })
  }
  return variations
}

function bodiesOf (body: Buffer): Variation[] {
  const bodies: Variation[] = [{ words: 'It verifies with a line feed more: the one at the end of the body was lost', body: Buffer.concat([body, Buffer.from('\n')]) }]
  const end = body.at(-1) !== 0x0a ? 0 : body.at(-2) === 0x0d ? 2 : 1
  if (end > 0) bodies.push({ words: 'It verifies without the line feed at the end of the body: echo or an editor added it (use printf %s)', body: body.subarray(0, body.length - end) })
  if (!isUtf8(body)) return bodies
  const text = body.toString('utf8')
  bodies.push({ words: 'It verifies with other line ends: CRLF and LF were exchanged on the way', body: Buffer.from(text.includes('\r\n') ? text.replaceAll('\r\n', '\n') : text.replaceAll('\n', '\r\n')) })
  try {
    const compact = Buffer.from(JSON.stringify(JSON.parse(text)))
    if (!bodies.some(({ body }) => body?.equals(compact))) bodies.push({ words: 'It verifies as compact JSON: the body was parsed and written again on the way', body: compact })
  } catch {
    // It is no JSON.
  }
  return bodies
}

function verifies ({ body, headers, secrets, scheme, clock }: { body: Buffer, headers: HeaderSource, secrets: readonly Secret[], scheme: SignatureScheme, clock: () => number }): boolean {
  try {
    verifyWebhook(body, headers, secrets, scheme, { clock })
    return true
  } catch {
    // Also a secret that the scheme cannot read.
    return false
  }
}
