/**
 * What the parsers ought to say, written a second time: from the specifications and the wire contract, character by character,
 * without the patterns of lib/. A fault would have to be made twice to stay unseen.
 */
import { createHash, createHmac } from 'node:crypto'

const letters = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz'
const numerals = '0123456789'
const consists = (text: string, of: string): boolean => text !== '' && [...text].every((character) => of.includes(character))

/** RFC 6750 §2.1 with the spaces of RFC 9110 §11.4: `null` another scheme, `false` a bad bearer, otherwise the credential. */
export function bearerOf (authorization: string): string | null | false {
  if (authorization.slice(0, 6).toLowerCase() !== 'bearer') return null
  const next = authorization[6]
  // RFC 9110 §5.6.2: a character of a token makes it another scheme's name.
  if (next !== undefined && `${letters}${numerals}!#$%&'*+-.^_\`|~`.includes(next)) return null
  if (next !== ' ') return false
  let credential = authorization.slice(7)
  while (credential[0] === ' ') credential = credential.slice(1)
  if (credential.length > 8192) return false
  let end = credential.length
  while (end > 0 && credential[end - 1] === '=') end--
  return consists(credential.slice(0, end), `${letters}${numerals}-._~+/`) ? credential : false
}

/** The bytes of base64url in its one written form (RFC 4648 §5, §3.5, without padding); null for any other text. */
export function base64urlOf (text: string): Buffer | null {
  const alphabet = `${letters}${numerals}-_`
  if (text.length % 4 === 1) return null
  const bytes: number[] = []
  let held = 0
  let bits = 0
  for (const character of text) {
    const value = alphabet.indexOf(character)
    if (value < 0) return null
    held = (held << 6) | value
    bits += 6
    if (bits >= 8) {
      bits -= 8
      bytes.push((held >> bits) & 255)
      held &= (1 << bits) - 1
    }
  }
  return held === 0 ? Buffer.from(bytes) : null
}

/** Header and payload of a compact token; null where it is none. */
export function compactOf (token: string): { header: Record<string, unknown>, payload: Record<string, unknown> } | null {
  if (token.length > 8192) return null
  const parts = token.split('.')
  const bytes = parts.map(base64urlOf)
  if (parts.length !== 3 || bytes.some((part) => part === null || part.length === 0)) return null
  const [header, payload] = bytes.slice(0, 2).map((part) => {
    try {
      const value: unknown = JSON.parse(new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(part as Buffer))
      return typeof value === 'object' && value !== null && !Array.isArray(value) ? value as Record<string, unknown> : null
    } catch {
      return null
    }
  })
  return header && payload ? { header, payload } : null
}

/** Whether a text is an API key, with its environment. */
export function keyOf (text: string): 'live' | 'test' | null {
  const legacy = text.slice(5)
  if (text.startsWith('cflo_') && legacy.length === 64 && consists(legacy, `${numerals}abcdef`)) return 'live'
  const [company, environment, kind, digits = '', ...rest] = text.split('_')
  if (company !== 'cflo' || (environment !== 'live' && environment !== 'test') || kind !== 'sk' || rest.length > 0) return null
  const base62 = `${numerals}${letters.slice(0, 26)}${letters.slice(26)}`
  if (digits.length !== 38 || !consists(digits, base62)) return null
  let sum = 0n
  for (const digit of digits.slice(32)) sum = sum * 62n + BigInt(base62.indexOf(digit))
  return sum === BigInt(crc32(text.slice(0, -6))) ? environment : null
}

/** CRC-32 of IEEE 802.3, bit by bit. */
function crc32 (text: string): number {
  let crc = 0xffffffff
  for (const byte of Buffer.from(text)) {
    crc ^= byte
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? 0xedb88320 : 0)
  }
  return (crc ^ 0xffffffff) >>> 0
}

export type SchemeName = 'causeflow' | 'causeflow, bare' | 'github' | 'sentry' | 'slack' | 'stripe' | 'standard-webhooks'
type Headers = Record<string, string | undefined>

/** Whether a delivery is right: its headers of one form only, the digest of exactly these bytes among them, its time near enough. */
export function isSigned (scheme: SchemeName, headers: Headers, body: Buffer, secret: string, now: number): boolean {
  if (body.length === 0) return false
  const hmac = (prefix: string, key: string | Buffer = secret): Buffer => createHmac('sha256', key).update(Buffer.concat([Buffer.from(prefix), body])).digest()
  const timely = (seconds: string): boolean => seconds.length <= 12 && consists(seconds, numerals) && Math.abs(now - Number(seconds) * 1000) <= 300_000
  switch (scheme) {
    case 'causeflow': return headers['x-webhook-signature'] === `sha256=${hmac('').toString('hex')}`
    case 'causeflow, bare': return [`sha256=${hmac('').toString('hex')}`, hmac('').toString('hex')].includes(headers['x-webhook-signature'] ?? '')
    case 'github': return headers['x-hub-signature-256'] === `sha256=${hmac('').toString('hex')}`
    case 'sentry': return headers['sentry-hook-signature'] === hmac('').toString('hex')
    case 'slack': {
      const time = headers['x-slack-request-timestamp'] ?? ''
      return timely(time) && headers['x-slack-signature'] === `v0=${hmac(`v0:${time}:`).toString('hex')}`
    }
    case 'stripe': {
      const text = headers['stripe-signature'] ?? ''
      const entries = text.split(',')
      const times = entries.filter((entry) => entry.slice(0, 2) === 't=')
      const time = (times[0] ?? '').slice(2)
      if (text.length > 1000 || entries.some((entry) => entry[0] === ' ') || times.length !== 1 || time === '' || !timely(time)) return false
      return entries.includes(`v1=${hmac(`${time}.`).toString('hex')}`)
    }
    case 'standard-webhooks': {
      const family = headers['webhook-signature'] === undefined ? 'svix' : 'webhook'
      const [id = '', time = '', list = ''] = ['id', 'timestamp', 'signature'].map((name) => headers[`${family}-${name}`])
      // Visible ASCII without a full stop: a border that could move would be another delivery.
      if (id === '' || id.length > 256 || [...id].some((character) => character < '!' || character > '~' || character === '.')) return false
      if (!timely(time) || list.length > 1000) return false
      const digest = hmac(`${id}.${time}.`, Buffer.from(secret.replace(/^whsec_/, ''), 'base64')).toString('base64')
      const entries = list.split(' ')
      return entries.every((entry) => entry.split(',').length < 3) && entries.includes(`v1,${digest}`)
    }
  }
}

/** Whether claims are those of a good CauseFlow token, at a time in seconds. */
export function areClaims (claims: Record<string, unknown>, expected: { issuer: string, audience: string }, now: number, tolerance = 5): boolean {
  const { iss, aud, sub, exp, nbf, iat, email, tenant_id: tenant, roles } = claims
  const isText = (value: unknown): boolean => typeof value === 'string' && value !== ''
  const isTime = (value: unknown): value is number => typeof value === 'number' && Math.abs(value) !== Infinity
  const audiences = Array.isArray(aud) ? aud : [aud]
  if (iss !== expected.issuer || !isText(sub) || !isTime(exp) || exp + tolerance <= now) return false
  if (!audiences.every((one) => typeof one === 'string') || !audiences.includes(expected.audience)) return false
  for (const time of [nbf, iat]) if (time !== undefined && !(isTime(time) && time - tolerance <= now)) return false
  if ((sub as string).startsWith('mch_')) return false
  return (email === undefined || typeof email === 'string') && (tenant === undefined || isText(tenant)) &&
    (roles === undefined || (Array.isArray(roles) && roles.every((role) => typeof role === 'string')))
}

export const digestOf = (key: string): string => createHash('sha256').update(key).digest('hex')
