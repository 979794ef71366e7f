/** The secrets that sender and receiver share. */
import { hash } from 'node:crypto'
import { isUint8Array } from 'node:util/types'
import { configError } from '../errors.js'
import { macUnder, type Mac } from './hmac.js'
import type { SignatureScheme } from './signature.js'

/** A secret: its text as shown to the user (what key it stands for is the scheme's to say), or the bytes of the key itself. */
export type Secret = string | Uint8Array

/**
 * What a secret resolver answers: a secret, several during a rotation, or null where there is none. With `tenantId`, a delivery
 * that verifies speaks for that tenant; a secret alone names no tenant.
 */
export type SecretAnswer = Secret | readonly Secret[] | null | { secrets: Secret | readonly Secret[] | null, tenantId: string | null }

/** An answer made ready: no MACs, no verification. */
export interface PreparedSecrets {
  readonly macs: readonly Mac[]
  readonly tenantId: string | null
}

/**
 * Makes an answer ready for one scheme. Null, undefined, an empty text, empty bytes and an empty list are no secret, also among
 * others: they are left out and verify nothing. Anything that is no answer at all, and a text that the scheme cannot
 * read, throws.
 *
 * A prepared key is kept nowhere: a resolved secret costs half a microsecond more than a literal one, and a cache that saved a part of
 * that would hold secrets longer than their resolver wants them held.
 */
export function prepareSecrets (answer: SecretAnswer | undefined, scheme: SignatureScheme): PreparedSecrets {
  if (typeof answer === 'object' && answer !== null && !Array.isArray(answer) && !isUint8Array(answer)) {
    const { secrets, tenantId } = answer as { secrets: Secret | readonly Secret[] | null, tenantId: string | null }
    if (tenantId !== null && (typeof tenantId !== 'string' || tenantId === '')) throw new TypeError('tenantId must be null or a string that is not empty')
    return { macs: macsOf(secrets, scheme), tenantId }
  }
  return { macs: macsOf(answer as Secret | readonly Secret[] | null | undefined, scheme), tenantId: null }
}

/**
 * The secret of an installation whose HMAC key is not the secret's text but the lower-case hex of its SHA-256 digest.
 * Refuses an empty secret: its digest is known to everybody.
 */
export function hashedSecret (secret: Secret): string {
  if (!isSecret(secret) || secret.length === 0) throw configError('option', 'hashedSecret(secret) needs a secret that is not empty')
  return hash('sha256', secret, 'hex')
}

/** The MAC under the one secret to sign with. Refuses a secret that is empty, or that the scheme cannot read. */
export function signingMac (secret: Secret, scheme: SignatureScheme): Mac {
  let macs: Mac[] = []
  try {
    if (isSecret(secret)) macs = macsOf(secret, scheme)
  } catch (error) {
    throw configError('option', error instanceof Error ? error.message : `The secret is none that ${scheme.name} can read`)
  }
  if (macs[0] === undefined) throw configError('option', 'Signing needs a secret: a string or a Uint8Array that is not empty')
  return macs[0]
}

function macsOf (secrets: Secret | readonly Secret[] | null | undefined, scheme: SignatureScheme): Mac[] {
  if (secrets === null || secrets === undefined) return []
  if (isSecret(secrets)) return macOf(secrets, scheme)
  if (Array.isArray(secrets)) return secrets.flatMap((secret: Secret | null | undefined) => secret === null || secret === undefined ? [] : macOf(secret, scheme))
  throw new TypeError('A secret is a string or a Uint8Array')
}

function macOf (secret: Secret, scheme: SignatureScheme): Mac[] {
  if (!isSecret(secret)) throw new TypeError('A secret is a string or a Uint8Array')
  if (secret.length === 0) return []
  const key = typeof secret !== 'string' ? secret : scheme.key ? scheme.key(secret) : Buffer.from(secret)
  // `whsec_` alone is a text that is not empty and a key that is.
  return key.length === 0 ? [] : [macUnder(key)]
}

function isSecret (value: unknown): value is Secret {
  return typeof value === 'string' || isUint8Array(value)
}
