import { LRUCache } from 'lru-cache'
import type { JwtPrincipal } from '../principal.js'
import type { VerificationKey } from './verification-key.js'

/** What is remembered of a token that was verified. */
export interface VerifiedToken {
  readonly principal: JwtPrincipal
  readonly key: VerificationKey
  /** The first millisecond at which the token is expired. */
  readonly deadline: number
}

/** Verified tokens by their whole text. Whether one is still good, its reader asks: at every hit. */
export interface TokenCache {
  get (token: string): VerifiedToken | undefined
  set (token: string, verified: VerifiedToken): void
  delete (token: string): void
}

/**
 * A cache of at most `max` tokens, in memory. Only verified ones come in, so a flood of bad ones displaces nothing. The text itself
 * is the key, signature and all: hashing it first costs more than the look-up, and a shorter one could be forged.
 */
export function createTokenCache (max: number): TokenCache {
  return new LRUCache<string, VerifiedToken>({ max })
}
