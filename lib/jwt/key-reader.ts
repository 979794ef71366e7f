/** Reads an issuer's key set and checks each of its keys. */
import { setImmediate as nextTurn } from 'node:timers/promises'
import type { Algorithm } from './algorithm.js'
import { createKeyDocument } from './key-document.js'
import type { KeyLocation } from './key-document.js'
import { createKeyJudge, maxKeyIdLength, sameKey } from './verification-key.js'
import type { KeyJudge, VerificationKey } from './verification-key.js'

/** What is in a key set. */
export interface KeySetReading {
  /** The keys that can be used: at most four under one id, and each once. */
  readonly keys: readonly VerificationKey[]
  /** The keys that were left out. */
  readonly refused: readonly RefusedKey[]
}

/** A key that was left out. `keyId`: null where it has none in text form; a long one is cut. */
export interface RefusedKey { readonly keyId: string | null, readonly why: string }

/** More members than this are not checked: real sets have two or three. */
const maxKeys = 100
/** Clerk gives a new key the old one's id, and an issuer that changes over shows both. */
const maxKeysOfOneId = 4
/** How many of the keys beyond the limit are named one by one. */
const maxNamed = 100

/**
 * A reader of one issuer's key set. It rejects with KeyDocumentError when there is no set, or with the signal's reason.
 * Other work of the process runs between two keys: a set of 100 keys on P-521 takes 70 ms of computing.
 */
export function createKeyReader (
  issuer: string,
  location: KeyLocation,
  algorithms: readonly Algorithm[],
  fetch: typeof globalThis.fetch
): (signal: AbortSignal) => Promise<KeySetReading> {
  const read = createKeyDocument(issuer, location, fetch)
  const judge = createKeyJudge(issuer, algorithms)

  return async function readKeys (signal) {
    const members = await read(signal)
    const keys: VerificationKey[] = []
    const refused: RefusedKey[] = []
    for (const member of members.slice(0, maxKeys)) {
      signal.throwIfAborted()
      const refusal = await take(member, keys, judge)
      if (refusal !== null) refused.push({ keyId: keyIdOf(member), why: refusal })
      await nextTurn()
    }
    return { keys, refused: [...refused, ...beyondLimit(members)] }
  }
}

/** Adds the key of a member to `keys`, or says why it is left out. A key that is there already is not added again. */
async function take (member: unknown, keys: VerificationKey[], judge: KeyJudge): Promise<string | null> {
  let key: VerificationKey
  try {
    key = await judge(member)
  } catch (error) {
    return error instanceof Error ? error.message : 'it is not readable'
  }
  const ofSameId = keys.filter(({ keyId }) => keyId === key.keyId)
  if (ofSameId.some((other) => sameKey(other, key))) return null
  if (ofSameId.length === maxKeysOfOneId) return `${maxKeysOfOneId} keys have this id already`
  keys.push(key)
  return null
}

function beyondLimit (members: readonly unknown[]): RefusedKey[] {
  const named = members.slice(maxKeys, maxKeys + maxNamed)
  const refused: RefusedKey[] = named.map((member) => ({ keyId: keyIdOf(member), why: `it comes after the first ${maxKeys} keys` }))
  const more = members.length - maxKeys - named.length
  return more > 0 ? [...refused, { keyId: null, why: `${more} more come after the first ${maxKeys} keys` }] : refused
}

function keyIdOf (member: unknown): string | null {
  const keyId = (member as { kid?: unknown } | null)?.kid
  if (typeof keyId !== 'string') return null
  return keyId.length > maxKeyIdLength ? `${keyId.slice(0, maxKeyIdLength)}…` : keyId
}
