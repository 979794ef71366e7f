import { createHash, createHmac } from 'node:crypto'
import t from 'tap'
import { causeflow } from '../../lib/webhook/schemes/causeflow.js'
import { hashedSecret } from '../../lib/webhook/secret.js'
import { signWebhook, verifyWebhook } from '../../lib/webhook/sign.js'

t.test('a hashed secret is the lower-case hex of the secret\'s SHA-256 digest, and its text is the key', async (t) => {
  const hashed = createHash('sha256').update('whsec_é').digest('hex')
  t.equal(hashedSecret('whsec_é'), hashed)
  t.equal(hashedSecret(Buffer.from('whsec_é')), hashed)
  const headers = { 'x-webhook-signature': `sha256=${createHmac('sha256', hashed).update('body').digest('hex')}` }
  t.equal(verifyWebhook('body', headers, hashedSecret('whsec_é')).source, 'default')
  t.throws(() => verifyWebhook('body', headers, 'whsec_é'), { code: 'AUTH_SIGNATURE_INVALID' })
})

t.test('threat 23: the digest of an empty or absent secret, which everybody knows, is no secret', async (t) => {
  for (const secret of ['', new Uint8Array(0), undefined, null, 5] as never[]) t.throws(() => hashedSecret(secret), { code: 'AUTH_CONFIG_OPTION' })
})

t.test('nothing is signed with an empty or absent secret', async (t) => {
  for (const secret of ['', new Uint8Array(0), undefined, null, 5, [], ['secret']] as never[]) {
    t.throws(() => signWebhook('body', secret, causeflow()), { code: 'AUTH_CONFIG_OPTION' }, String(secret))
  }
})
