/**
 * Webhook secrets are needed in the open to check a signature, so a digest is not enough: they are stored sealed
 * with AES-256-GCM, and a leaked table opens none of them.
 */
import { createCipheriv, createDecipheriv, hash, randomBytes as systemRandomBytes } from 'node:crypto'
import { configError } from '../errors.js'
import type { ApiKeyTools } from './settings.js'

/** 32 random bytes, or their text: 64 hex digits, base64 or base64url. */
export type SealingKey = string | Uint8Array

/** Whose secret it is. A sealed secret that is copied into another row does not open there. */
export interface SealBinding {
  tenantId: string
  keyId: string
}

export interface Sealer {
  /** Seals with the first key. */
  seal (secret: string, binding: SealBinding): string
  /** Opens with the key that sealed; null when that key is not configured, or the text or its binding was changed. */
  open (sealed: string, binding: SealBinding): string | null
}

/**
 * A sealer over these keys: the first seals, all of them open, so a new key is put before the old ones.
 * Without keys an ephemeral store gets a key that ends with the process, any other store none (null): there
 * are no webhook secrets then.
 */
export function createSealer (keys: readonly SealingKey[], ephemeral: boolean, randomBytes: ApiKeyTools['randomBytes']): Sealer | null {
  const texts = keys.length > 0 ? keys.map(keyBytes) : ephemeral ? [ofThisProcess()] : []
  const byId = new Map(texts.map((bytes) => [idOf(bytes), bytes]))
  const [sealingKey] = byId
  if (sealingKey === undefined) return null

  return {
    seal (secret, binding) {
      const [id, bytes] = sealingKey
      const nonce = randomBytes(12)
      const cipher = createCipheriv('aes-256-gcm', bytes, nonce).setAAD(boundTo(id, binding))
      const text = Buffer.concat([cipher.update(secret, 'utf8'), cipher.final()])
      return `v1.${id}.${Buffer.concat([nonce, cipher.getAuthTag(), text]).toString('base64url')}`
    },

    open (sealed, binding) {
      const [version, id, text, ...rest] = sealed.split('.')
      if (version !== 'v1' || id === undefined || text === undefined || rest.length > 0) return null
      const bytes = byId.get(id)
      const parts = Buffer.from(text, 'base64url')
      if (bytes === undefined || parts.length < 28) return null
      // Always a whole tag of 16 bytes, by the length above: Node would take a shorter one as it is.
      const decipher = createDecipheriv('aes-256-gcm', bytes, parts.subarray(0, 12))
        .setAAD(boundTo(id, binding)).setAuthTag(parts.subarray(12, 28))
      try {
        return Buffer.concat([decipher.update(parts.subarray(28)), decipher.final()]).toString('utf8')
      } catch {
        return null
      }
    }
  }
}

// One key for the whole process: what one registration of the plugin has sealed another one opens.
let processKey: Buffer | null = null
function ofThisProcess (): Buffer {
  processKey ??= systemRandomBytes(32)
  return processKey
}

// Buffer.from passes over what is no base64, and a mistyped text could become another key of 32 bytes. One
// alphabet, and no bits to spare.
const base64Pattern = /^(?:[A-Za-z0-9+/]{42}|[A-Za-z0-9_-]{42})[AEIMQUYcgkosw048]=?$/
const hexPattern = /^[0-9a-f]{64}$/i

function keyBytes (key: SealingKey): Buffer {
  const bytes = typeof key === 'string' ? bytesOfText(key) : Buffer.from(key)
  if (bytes?.length !== 32) {
    throw configError('option', 'A sealing key must be 32 bytes, given as a Uint8Array or as hex or base64 text: make one with "openssl rand -base64 32"')
  }
  return bytes
}

function bytesOfText (key: string): Buffer | null {
  if (hexPattern.test(key)) return Buffer.from(key, 'hex')
  return base64Pattern.test(key) ? Buffer.from(key, 'base64') : null
}

// Eight digits of a digest of a random key: enough to tell two keys apart, nothing to find one by.
function idOf (bytes: Buffer): string {
  return hash('sha256', Buffer.concat([Buffer.from('causeflow-auth sealing key'), bytes]), 'hex').slice(0, 8)
}

// JSON, because it separates its parts: ["a","bc"] and ["ab","c"] are two bindings.
function boundTo (id: string, { tenantId, keyId }: SealBinding): Buffer {
  return Buffer.from(JSON.stringify(['v1', id, tenantId, keyId]))
}
