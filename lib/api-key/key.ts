/**
 * The written form of an API key: `cflo_<live|test>_sk_`, 32 random base62 digits, 6 digits of checksum.
 * Keys of the older form, `cflo_` and 64 hex digits, are still read; they are not made any more.
 */
import { hash, randomBytes as systemRandomBytes } from 'node:crypto'
import { crc32 } from 'node:zlib'

/** What a key is for. A key of one environment opens nothing in the other. */
export type ApiKeyEnvironment = 'live' | 'test'

/** A key that was just made. The text is shown to its holder once and never stored. */
export interface NewApiKey {
  key: string
  /** SHA-256 of the key, 32 bytes: what a store keeps. */
  digest: Buffer
  /** What lists show to tell one key from another. */
  prefix: string
  environment: ApiKeyEnvironment
}

/** What the text of a key tells by itself. */
export interface ParsedApiKey {
  environment: ApiKeyEnvironment
  /** Whether it is of the older form, which has no checksum and counts as live. */
  legacy: boolean
  prefix: string
}

/**
 * What API keys look like, for secret scanners and log scrubbers. It has no flags and is not anchored at its
 * beginning, so that it finds a key inside a longer text. It does not look at the checksum: parseApiKey does.
 */
export const apiKeyPattern = /cflo_(?:(?:live|test)_sk_[0-9A-Za-z]{38}|[0-9a-f]{64})\b/

/**
 * A new key with 190 bits of randomness. This does not store it: only a digest that a store knows opens anything.
 * The prefix shows six of the 32 random digits, so whoever reads a list of keys still has 154 bits to guess.
 */
export function createApiKey (options: { environment?: ApiKeyEnvironment, randomBytes?: (size: number) => Uint8Array } = {}): NewApiKey {
  const { environment = 'live', randomBytes = systemRandomBytes } = options
  const text = `cflo_${environment}_sk_${randomDigits(32, randomBytes)}`
  const key = text + checksum(text)
  return { key, digest: apiKeyDigest(key), prefix: prefixOf(key, false), environment }
}

/**
 * The parts of a key; null for a text of any other form, longer than 128 characters or with a wrong checksum.
 * This says nothing about whether the key exists, is active or may be used.
 */
export function parseApiKey (text: string): ParsedApiKey | null {
  const form = readApiKey(text)
  return typeof form === 'string' ? null : { ...form, prefix: prefixOf(text, form.legacy) }
}

/** SHA-256 of a key as 32 bytes. The key is not looked at: any text has a digest. */
export function apiKeyDigest (key: string): Buffer {
  return Buffer.from(digestText(key), 'hex')
}

/** The digest as stores and caches know it: 64 lowercase hex digits. */
export function digestText (key: string): string {
  // Measured on Node 20: hash() to hex 0.27 µs, to a Buffer 1.4 µs, createHash() to a Buffer 1.9 µs.
  return hash('sha256', key, 'hex')
}

/** Characters beyond which a text is not looked at. */
export const maxKeyLength = 128

/** What a well-formed key is. */
export interface ApiKeyForm {
  environment: ApiKeyEnvironment
  legacy: boolean
}

/** The form of a key, or the reason why it has none. */
export function readApiKey (text: string): ApiKeyForm | 'size' | 'form' | 'checksum' {
  if (typeof text !== 'string') return 'form'
  // Before any pattern: what a stranger sends costs no more than a comparison of lengths.
  if (text.length > maxKeyLength) return 'size'
  if (text.length === 51 && /^cflo_(?:live|test)_sk_[0-9A-Za-z]{38}$/.test(text)) {
    if (checksum(text.slice(0, 45)) !== text.slice(45)) return 'checksum'
    return text.startsWith('live', 5) ? liveKey : testKey
  }
  return text.length === 69 && /^cflo_[0-9a-f]{64}$/.test(text) ? legacyKey : 'form'
}

// One object for each form: the warm path allocates none.
const liveKey: ApiKeyForm = Object.freeze({ environment: 'live', legacy: false })
const testKey: ApiKeyForm = Object.freeze({ environment: 'test', legacy: false })
const legacyKey: ApiKeyForm = Object.freeze({ environment: 'live', legacy: true })

// Of a legacy key eight of 64 hex digits are shown: 224 bits stay secret.
function prefixOf (key: string, legacy: boolean): string {
  return key.slice(0, legacy ? 'cflo_'.length + 8 : 'cflo_live_sk_'.length + 6)
}

const digits = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz'

// CRC-32 finds every slip of one character. It is no protection: anybody can compute it.
function checksum (text: string): string {
  let rest = crc32(text)
  let written = ''
  for (let place = 0; place < 6; place++) {
    written = digits.charAt(rest % 62) + written
    rest = Math.floor(rest / 62)
  }
  return written
}

function randomDigits (count: number, randomBytes: (size: number) => Uint8Array): string {
  let written = ''
  while (written.length < count) {
    for (const byte of randomBytes(count)) {
      // 248 is the last multiple of 62 in a byte: a remainder of the eight values above would favour the first digits.
      if (byte < 248 && written.length < count) written += digits.charAt(byte % 62)
    }
  }
  return written
}
