import { createHash, createHmac } from 'node:crypto'
import t from 'tap'
import { causeflow } from '../../lib/webhook/schemes/causeflow.js'
import { standardWebhooks } from '../../lib/webhook/schemes/standard-webhooks.js'
import { hashedSecret, prepareSecrets } from '../../lib/webhook/secret.js'
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

t.test('who signs with a secret that the scheme cannot read is told what the scheme reads', async (t) => {
  t.throws(() => signWebhook('body', 'no base64!', standardWebhooks()), { code: 'AUTH_CONFIG_OPTION', message: /base64/ })
  const ofMine = { ...causeflow(), name: 'mine', key () { throw 'nothing that says why' } } // eslint-disable-line no-throw-literal
  t.throws(() => signWebhook('body', 'secret', ofMine), { code: 'AUTH_CONFIG_OPTION', message: /\bmine\b/ })
})

t.test('absent and empty secrets among others are left out, and the others verify', async (t) => {
  const among = (secrets: unknown): number => prepareSecrets(secrets as never, causeflow()).macs.length
  t.equal(among(['one', undefined, null, '', new Uint8Array(0), 'two']), 2)
  t.equal(among({ secrets: [undefined, 'one', null], tenantId: 'tenant' }), 1)
  for (const secrets of [undefined, null, '', [], [undefined], [null, ''], { secrets: null, tenantId: null }, { secrets: [undefined], tenantId: null }]) t.equal(among(secrets), 0)
})

t.test('what is no secret at all is refused, alone, among others and with a tenant, and the refusal says what a secret is', async (t) => {
  const refused = { name: 'TypeError', message: 'A secret is a string or a Uint8Array' }
  for (const secret of [5, true, () => 'secret', new Uint16Array(2), new ArrayBuffer(4), ['secret'], { secret: 'secret' }]) {
    t.throws(() => prepareSecrets(['one', secret] as never, causeflow()), refused)
    if (!Array.isArray(secret)) t.throws(() => prepareSecrets({ secrets: secret, tenantId: null } as never, causeflow()), refused)
  }
  for (const secret of [5, true, () => 'secret'] as never[]) t.throws(() => prepareSecrets(secret, causeflow()), refused)
})
