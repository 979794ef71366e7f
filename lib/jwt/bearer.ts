/** From an Authorization header to the parts of a token, none of which is to be trusted yet. */
import { isUtf8 } from 'node:buffer'
import { AuthError } from '../errors.js'

/** A token taken apart. Nothing in it is verified. */
export interface UnverifiedToken {
  readonly raw: string
  readonly header: Readonly<Record<string, unknown>>
  readonly payload: Record<string, unknown>
  /** The `iss` claim; empty where it is not a string. Fit only to look up a configured issuer by exact match. */
  readonly issuer: string
}

/** Characters. Node takes headers of 16 kB; a session token has about 1 kB. */
const maxLength = 8192

/**
 * The credential in an Authorization header, after the scheme and one or more spaces (RFC 9110 §11.4); null
 * where the header has another scheme. Does not check the form of the credential. Throws
 * AUTH_TOKEN_MALFORMED.
 */
export function readBearer (authorization: string): string | null {
  // As nearly everybody writes it; the pattern knows the rest.
  if (!authorization.startsWith('Bearer ')) {
    // A scheme ends where its token characters end (RFC 9110 §5.6.2): `Bearer,` is a bad Bearer, `Bearerish` another scheme.
    if (!/^bearer(?![\w!#$%&'*+.^`|~-])/i.test(authorization)) return null
    if (authorization[6] !== ' ') throw malformed('form')
  }
  let start = 7
  while (authorization[start] === ' ') start++
  if (authorization.length - start > maxLength) throw malformed('size')
  return authorization.slice(start)
}

/** Takes a token apart: form and JSON only. Throws AUTH_TOKEN_MALFORMED. */
export function parseToken (token: string): UnverifiedToken {
  if (token.length > maxLength) throw malformed('size')
  const first = token.indexOf('.')
  const second = token.indexOf('.', first + 1)
  // Three parts, each of base64url without padding; an unsigned token's last part is empty.
  if (!/^[\w-]+\.[\w-]+\.[\w-]+$/.test(token)) throw malformed(second === -1 || token.includes('.', second + 1) ? 'form' : 'encoding')
  if (!isCanonical(token, 0, first) || !isCanonical(token, first + 1, second) || !isCanonical(token, second + 1, token.length)) throw malformed('encoding')
  const header = readHeader(token.slice(0, first))
  const payload = readObject(token.slice(first + 1, second), 'form')
  return { raw: token, header, payload, issuer: typeof payload.iss === 'string' ? payload.iss : '' }
}

// Bits that belong to no byte would let one signature be written in several ways, and each is a token of its own to a cache.
const noBitsOfFour = /[AQgw]/
const noBitsOfTwo = /[AEIMQUYcgkosw048]/

function isCanonical (text: string, start: number, end: number): boolean {
  const last = text.charAt(end - 1)
  switch ((end - start) % 4) {
    case 0: return true
    case 2: return noBitsOfFour.test(last)
    case 3: return noBitsOfTwo.test(last)
    default: return false
  }
}

// An issuer's tokens have the same header one after the other. Keeping the last one saves a quarter of taking a token
// apart, and the same text says the same.
let last: { part: string, header: Readonly<Record<string, unknown>> } = { part: '', header: {} }

function readHeader (part: string): Readonly<Record<string, unknown>> {
  if (part !== last.part) last = { part, header: Object.freeze(readObject(part, 'header')) }
  return last.header
}

function readObject (part: string, reason: 'header' | 'form'): Record<string, unknown> {
  const bytes = Buffer.from(part, 'base64url')
  let value: unknown
  try {
    // Otherwise two different texts would become the same string of U+FFFD.
    if (isUtf8(bytes)) value = JSON.parse(bytes.toString())
  } catch {
    // Without its cause: a SyntaxError quotes what it read.
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw malformed(reason)
  return value as Record<string, unknown>
}

function malformed (reason: 'size' | 'form' | 'encoding' | 'header'): AuthError {
  return new AuthError('AUTH_TOKEN_MALFORMED', reason)
}
