import t from 'tap'
import { checkHeader } from '../../lib/jwt/header.js'
import type { HeaderSettings } from '../../lib/jwt/header.js'
import { header, outcome } from './fixture.js'
import type { Json } from './fixture.js'

const check = (members: Json, settings: Partial<HeaderSettings> = {}): Promise<unknown> =>
  outcome(() => checkHeader(header(members), { algorithms: ['RS256'], types: [], named: true, ...settings }))
const accepted = { algorithm: 'RS256', keyId: 'k1' }

t.test('an algorithm outside the issuer\'s list is refused: none, HMAC, another family, another case', async (t) => {
  t.strictSame(await check({}), accepted)
  for (const alg of ['none', 'None', 'HS256', 'HS512', 'RS384', 'PS256', 'ES256', 'EdDSA', 'rs256', 'RS256 ', '', null, undefined, 256, ['RS256'], {}, 'toString', '__proto__']) {
    t.equal(await check({ alg }), 'AUTH_TOKEN_INVALID algorithm', String(alg))
  }
})

t.test('anything critical is refused, and b64 without being critical', async (t) => {
  for (const members of [{ crit: ['b64'], b64: false }, { crit: ['exp'] }, { crit: [] }, { crit: null }, { crit: false }, { b64: true }, { b64: false }, { b64: null }]) {
    t.equal(await check(members), 'AUTH_TOKEN_INVALID crit', JSON.stringify(members))
  }
})

t.test('a token of another class is refused by its type', async (t) => {
  for (const typ of [undefined, 'JWT', 'jwt', 'Jwt', 'application/jwt', 'Application/JWT']) t.strictSame(await check({ typ }), accepted, String(typ))
  for (const typ of ['at+jwt', 'AT+JWT', 'application/at+jwt', 'dpop+jwt', 'logout+jwt', 'secevent+jwt', 'id+jwt', 'kb+jwt', 'JOSE', 'JWT ', 'jwapplication/t', 'application/application/jwt', '', null, 1, ['JWT'], {}]) {
    t.equal(await check({ typ }), 'AUTH_TOKEN_INVALID type', String(typ))
  }
  t.strictSame(await check({ typ: 'application/AT+jwt' }, { types: ['at+jwt'] }), accepted)
})

t.test('a key id is needed where keys come from a set, and is bounded', async (t) => {
  t.equal(await check({ kid: undefined }), 'AUTH_TOKEN_INVALID key-id-absent')
  for (const kid of ['', null, 1, ['k1'], 'k'.repeat(257)]) t.equal(await check({ kid }), 'AUTH_TOKEN_INVALID key-unknown', String(kid))
  t.strictSame(await check({ kid: 'k'.repeat(256) }), { algorithm: 'RS256', keyId: 'k'.repeat(256) })
})

t.test('a key id is not looked at where there is one key', async (t) => {
  for (const kid of [undefined, 'anything', 7, '../../etc/passwd']) t.strictSame(await check({ kid }, { named: false }), { algorithm: 'RS256', keyId: '' })
})
