import t from 'tap'
import { createTokenCache } from '../../lib/jwt/token-cache.js'
import type { VerifiedToken } from '../../lib/jwt/token-cache.js'
import { claims, encode, header, mint, pemOf, present, rsa, verifierOf } from './fixture.js'

const pair = rsa()
const verified = (token: string, value: unknown = {}): VerifiedToken => ({ token, principal: { claims: value } as never, key: {} as never, deadline: 1 })
const tokenOf = (index: number): string => `${'x'.repeat(100)}${String(index).padStart(43, '0')}`

/** How many of so many tokens are remembered, and the total length of their texts. */
function remembered (maxBytes: number, count: number, value: (index: number) => unknown): number {
  const cache = createTokenCache({ max: 100_000, maxBytes })
  for (let index = 0; index < count; index++) cache.set(verified(tokenOf(index), value(index)))
  let found = 0
  for (let index = 0; index < count; index++) if (cache.get(tokenOf(index)) !== undefined) found++
  return found
}

t.test('tokens are forgotten by their number, and by their size in memory', async (t) => {
  const few = createTokenCache({ max: 2, maxBytes: 1e6 })
  for (let index = 0; index < 3; index++) few.set(verified(tokenOf(index)))
  t.strictSame([0, 1, 2].map((index) => few.get(tokenOf(index))?.token), [undefined, tokenOf(1), tokenOf(2)])
  t.equal(remembered(1e6, 100, () => ({ sub: 'usr_1' })), 100)
  // Each of these is a claim of 5 to 6 kB, and takes another amount of memory on Node 20: the bound is of the memory.
  for (const [name, value, bytes] of [
    ['a text', (index: number) => 'x'.repeat(5_400 + index % 2), 6_000],
    ['empty objects', () => Array.from({ length: 1_750 }, () => ({})), 113_000],
    ['empty arrays', () => Array.from({ length: 1_750 }, () => []), 70_000],
    ['arrays inside one another', () => JSON.parse('['.repeat(2_600) + ']'.repeat(2_600)), 146_000],
    ['names', (index: number) => Object.fromEntries(Array.from({ length: 480 }, (_, name) => [`${index}_${name}`, 1])), 36_000],
    ['numbers', () => Array.from({ length: 1_300 }, () => 0.5), 31_000]
  ] as const) {
    const most = Math.floor(10e6 / bytes)
    const found = remembered(10e6, 2_000, value)
    t.ok(found > 0 && found <= most, `${name}: ${found} of at most ${most}`)
  }
  t.equal(remembered(1_000, 10, () => 'x'.repeat(1_000)), 0, 'larger than all that is allowed')
})

t.test('claims of 6 kB do not fill the memory, and their tokens verify all the same', async (t) => {
  const verifier = await verifierOf({ keys: { from: 'publicKey', pem: pemOf(pair) }, tokenCache: { max: 10_000, maxBytes: 1e6 } })
  const tokens = Array.from({ length: 40 }, (_, index) => mint(header(), `${JSON.stringify(claims({ jti: `${index}` })).slice(0, -1)},"a":${'['.repeat(2_400)}${']'.repeat(2_400)}}`, pair.privateKey))
  t.ok(tokens.every(({ length }) => length < 8192 && length > 6_000))
  for (const token of tokens) t.match(await present(verifier, token), { subject: 'usr_1' })
  const held = tokens.filter((token) => verifier.fromCache(token) !== null)
  t.ok(held.length > 0 && held.length <= 7, `${held.length} are remembered`)
  t.equal(verifier.fromCache(`${encode('x')}.x.x`), null)
})
