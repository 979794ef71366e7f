import { generateKeyPairSync } from 'node:crypto'
import t from 'tap'
import { algorithmsOf, allowedAlgorithms } from '../../lib/jwt/algorithm.js'
import { ec, ed25519, rsa } from './fixture.js'

t.test('an issuer may be configured with these algorithms, and none is not one of them', async (t) => {
  t.strictSame(allowedAlgorithms, ['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512', 'ES256', 'ES384', 'ES512', 'EdDSA', 'HS256'])
})

t.test('a public key verifies the algorithms of its kind, and never HS256', async (t) => {
  t.strictSame(algorithmsOf(rsa().publicKey), ['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512'])
  t.strictSame(['P-256', 'P-384', 'P-521'].map((curve) => algorithmsOf(ec(curve).publicKey)), [['ES256'], ['ES384'], ['ES512']])
  t.strictSame(algorithmsOf(ed25519().publicKey), ['EdDSA'])
})

t.test('a key that is weak, or of a kind that is not known here, verifies nothing', async (t) => {
  for (const { publicKey } of [rsa(1024), ec('secp256k1'), generateKeyPairSync('x25519'), generateKeyPairSync('ed448'), generateKeyPairSync('rsa-pss', { modulusLength: 2048 })]) {
    t.strictSame(algorithmsOf(publicKey), [], String(publicKey.asymmetricKeyType))
  }
})
