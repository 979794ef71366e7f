/** HMAC-SHA256 (RFC 2104) under one key over a prefix and a body, without joining the two for the caller. */
import { createHmac, hash } from 'node:crypto'

/** The MAC of a prefix followed by a body: 32 bytes that belong to the caller. */
export type Mac = (prefix: string, body: Uint8Array) => Buffer

/**
 * Prepares a key. What is kept of it lives as long as the returned function and nowhere else.
 * This does not judge the key: an empty one works, so refuse it before.
 */
export function macUnder (key: Uint8Array): Mac {
  const own = Buffer.from(key)
  const pads = padsOf(own)
  return (prefix, body) => {
    // Three bytes are the most that UTF-8 needs for one unit of a string.
    if (prefix.length * 3 + body.length > room) return createHmac('sha256', own).update(prefix).update(body).digest()
    inner.set(pads.subarray(0, block), 0)
    const start = block + (prefix === '' ? 0 : inner.write(prefix, block))
    inner.set(body, start)
    outer.set(pads.subarray(block), 0)
    outer.write(hash('sha256', inner.subarray(0, start + body.length), 'binary'), block, 'binary')
    return Buffer.from(hash('sha256', outer, 'binary'), 'binary')
  }
}

const block = 64

// Two one-shot hashes over a scratch buffer take 1.0 µs for 100 bytes and 1.6 µs for 1 kB where createHmac takes 2.7 and
// 3.3; at 16 kB it is 10.8 against 12.7, and beyond that copying the body into the scratch eats what is gained. Binary
// strings cross into JavaScript faster than buffers do: asked for buffers, the same way is slower than createHmac.
const room = 16_384

// Shared by every key: filled, hashed and left within one synchronous call, so that no two callers meet in them.
const inner = Buffer.alloc(block + room)
const outer = Buffer.alloc(block + 32)

/** The key as the inner hash takes it, then as the outer one does. */
function padsOf (key: Buffer): Buffer {
  const short = key.length > block ? Buffer.from(hash('sha256', key, 'binary'), 'binary') : key
  // From the pool and filled whole: an allocation of its own would cost more than everything else here.
  const pads = Buffer.allocUnsafe(block * 2)
  for (let at = 0; at < block; at++) {
    const byte = at < short.length ? short[at]! : 0
    pads[at] = byte ^ 0x36
    pads[at + block] = byte ^ 0x5c
  }
  return pads
}
