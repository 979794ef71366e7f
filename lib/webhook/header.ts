/** The strict reading of headers that carry signatures. */
import type { IncomingHttpHeaders } from 'node:http'

/**
 * The match of a header's whole value; null when it is absent, longer than the limit or of another form.
 * The length is judged first, so that no pattern ever runs over a long value. Duplicates arrive joined
 * with `", "` and are refused by every pattern that has no room for them: anchor it at both ends.
 */
export function strictHeader (headers: IncomingHttpHeaders, name: string, limit: number, pattern: RegExp): RegExpExecArray | null {
  const value = headers[name]
  return typeof value === 'string' && value.length <= limit ? pattern.exec(value) : null
}

/**
 * The entries of a header with several signatures, at most 1,000 characters; empty when it is absent or
 * longer. Which of them are signatures, and whether they are two headers that Node has joined with `", "`, is
 * for the scheme to say.
 */
export function listOf (headers: IncomingHttpHeaders, name: string, separator: string): string[] {
  const value = headers[name]
  return typeof value === 'string' && value.length <= 1000 ? value.split(separator) : []
}

/** Seconds since the epoch as digits, to be compared in the very characters received. */
export const secondsPattern = /^[0-9]{1,12}$/

/** A 32-byte digest in lower-case hex. */
export function hexDigest (digits: string): Buffer {
  return Buffer.from(digits, 'hex')
}
