import t from 'tap'
import { apiKeySecret, isKeySecret } from '../../lib/webhook/key-secret.js'

t.test('a resolver of apiKeySecret() is recognised, also among several, and finds no secret by itself', async (t) => {
  const [one, two] = [apiKeySecret(), apiKeySecret()]
  t.ok(isKeySecret(one))
  t.ok(isKeySecret(two))
  t.equal(one(), null, 'called by anybody else than the plugin')
})

t.test('no other secret passes for one of a key', async (t) => {
  for (const secret of [() => null, async () => 'secret', apiKeySecret, 'secret', '', Buffer.from('secret'), ['secret'], { ...apiKeySecret() }, null, undefined, 5]) {
    t.equal(isKeySecret(secret), false, String(secret))
  }
})
