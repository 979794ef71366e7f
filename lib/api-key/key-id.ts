/** The name of a key: `key_` and a ULID, so that names sort by the time of creation. */

// Crockford's base32: no I, L, O, U.
const digits = '0123456789ABCDEFGHJKMNPQRSTVWXYZ'

/**
 * A new key id: 48 bits of milliseconds, 80 bits of randomness. Two of one millisecond sort in any order.
 * It is no secret: the key itself cannot be found from it.
 */
export function createKeyId (now: number, randomBytes: (size: number) => Uint8Array): string {
  let time = ''
  for (let rest = Math.floor(now), place = 0; place < 10; place++) {
    time = digits.charAt(rest % 32) + time
    rest = Math.floor(rest / 32)
  }
  let random = ''
  for (const byte of randomBytes(16)) random += digits.charAt(byte % 32)
  return `key_${time}${random}`
}
