import { LRUCache } from 'lru-cache'
import type { JwtPrincipal } from '../principal.js'
import type { VerificationKey } from './verification-key.js'

/** What is remembered of a token that was verified. */
export interface VerifiedToken {
  /** Its whole text. */
  readonly token: string
  readonly principal: JwtPrincipal
  readonly key: VerificationKey
  /** The first millisecond at which the token is expired. */
  readonly deadline: number
}

/** Verified tokens by their whole text. Whether one is still good, its reader asks: at every hit. */
export interface TokenCache {
  get (token: string): VerifiedToken | undefined
  set (verified: VerifiedToken): void
  delete (token: string): void
}

/** Characters at the end of a token: of its signature, which is at least as long. */
const tailLength = 43

/**
 * A cache of at most `max` tokens, in memory. Only verified ones come in, so a flood of bad ones displaces nothing. They are found by
 * the end of their signature and compared as a whole: hashing a text of 700 characters takes 1.1 µs, hashing its end and comparing it
 * all 0.2, and nearly nothing else is left of a warm request. A token that has another's end is another token, and is verified.
 */
export function createTokenCache (max: number): TokenCache {
  const tokens = new LRUCache<string, VerifiedToken>({ max })
  return {
    get (token) {
      const verified = tokens.get(token.slice(-tailLength))
      return verified?.token === token ? verified : undefined
    },
    set (verified) { tokens.set(verified.token.slice(-tailLength), verified) },
    delete (token) { tokens.delete(token.slice(-tailLength)) }
  }
}
