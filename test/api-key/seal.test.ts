import t from 'tap'
import { randomBytes } from 'node:crypto'
import { createSealer, type Sealer } from '../../lib/api-key/seal.js'

const binding = { tenantId: 'ten_A', keyId: 'key_1' }
const sealer = (...keys: Array<string | Uint8Array>) => createSealer(keys, false, randomBytes) as Sealer

t.test('what one key seals is opened by whoever has that key, in whatever place', async (t) => {
  const [one, two] = [randomBytes(32), randomBytes(32)]
  const sealed = sealer(one).seal('whsec_ünï', binding)
  t.equal(sealer(one).open(sealed, binding), 'whsec_ünï')
  t.equal(sealer(two, one).open(sealed, binding), 'whsec_ünï')
  t.equal(sealer(two).open(sealed, binding), null)
  t.equal(sealer(one).open(sealer(two, one).seal('x', binding), binding), null, 'the first key seals')
  for (const text of [one.toString('hex'), one.toString('hex').toUpperCase(), one.toString('base64'), one.toString('base64url')]) {
    t.equal(sealer(text).open(sealed, binding), 'whsec_ünï', 'a key may be text')
  }
})

t.test('what was sealed once is opened for ever: the form of the text is known', async (t) => {
  // Worked out with node:crypto alone: AES-256-GCM of a key of sevens under a nonce of ones.
  const known = 'v1.ec9d1be9.AQEBAQEBAQEBAQEBrvAsxE0EyhTWuV_u_ilYZAGJ-tLz4C-yvxdz'
  const sevens = createSealer([new Uint8Array(32).fill(7)], false, (size) => new Uint8Array(size).fill(1)) as Sealer
  t.equal(sevens.seal('whsec_ünï', binding), known)
  t.equal(sevens.open(known, binding), 'whsec_ünï')
  t.equal(sevens.open('v1.ec9d1be9', binding), null)
  t.equal(sevens.open(sevens.seal('', binding), binding), '')
})

t.test('a sealed secret shows nothing of itself, and sealing the same one twice shows two different texts', async (t) => {
  const one = sealer(randomBytes(32))
  const texts = Array.from({ length: 100 }, () => one.seal('whsec_secret', binding))
  t.equal(new Set(texts).size, 100)
  t.notOk(texts.some((text) => text.includes('secret') || Buffer.from(text.split('.')[2] ?? '', 'base64url').includes('secret')))
})

t.test('a sealed secret copied to another tenant or another key does not open', async (t) => {
  const one = sealer(randomBytes(32))
  const sealed = one.seal('x', binding)
  t.equal(one.open(sealed, { ...binding, tenantId: 'ten_B' }), null)
  t.equal(one.open(sealed, { ...binding, keyId: 'key_2' }), null)
  t.equal(one.open(one.seal('x', { tenantId: 'a', keyId: 'bc' }), { tenantId: 'ab', keyId: 'c' }), null)
})

t.test('every changed, shortened or foreign text stays shut', async (t) => {
  const one = sealer(randomBytes(32))
  const sealed = one.seal('whsec_secret', binding)
  const [version, id, text] = sealed.split('.') as [string, string, string]
  const bytes = Buffer.from(text, 'base64url')
  for (let place = 0; place < bytes.length; place++) {
    const changed = Buffer.from(bytes)
    changed[place] = (changed[place] ?? 0) ^ 1
    t.equal(one.open(`${version}.${id}.${changed.toString('base64url')}`, binding), null)
  }
  for (let length = 0; length < bytes.length; length++) t.equal(one.open(`${version}.${id}.${bytes.subarray(0, length).toString('base64url')}`, binding), null)
  for (const other of ['', '.', '..', 'v1', sealed.replace('v1', 'v2'), `${sealed}.x`, `v1.00000000.${text}`, `v1..${text}`]) t.equal(one.open(other, binding), null)
})

t.test('a key that is not 32 bytes does not start, and the sentence does not repeat it', async (t) => {
  for (const key of ['', 'correct horse battery staple', randomBytes(16).toString('hex'), `${'ab'.repeat(32)}0`, `${'ab'.repeat(32)}z`, `z${'ab'.repeat(32)}`, randomBytes(33), new Uint8Array()]) {
    t.throws(() => sealer(key), { code: 'AUTH_CONFIG_OPTION', message: /^A sealing key must be 32 bytes, given as a Uint8Array or as hex or base64 text: make one with "openssl rand -base64 32"$/ })
  }
})

t.test('a text with a character that is no base64, or of two alphabets, is no key', async (t) => {
  const key = Buffer.alloc(32, 0xfb)
  const text = key.toString('base64')
  t.match(text, /^[A-Za-z0-9+/]{43}=$/)
  const good = [text, text.slice(0, -1), key.toString('base64url'), key.toString('hex'), key.toString('hex').toUpperCase()]
  for (const one of good) t.ok(sealer(one), one)
  const bad = [
    `${text.slice(0, 9)}!${text.slice(9)}`, `${text.slice(0, 9)} ${text.slice(9)}`, `${text}\n`, ` ${text}`, `${text}=`, `${text}AAAA`,
    `-${text.slice(1)}`, text.replace(/.=$/, (end) => `${String.fromCharCode(end.charCodeAt(0) + 1)}=`), `${text.slice(0, 42)}=${text.slice(42)}`
  ]
  for (const one of bad) t.throws(() => sealer(one), { code: 'AUTH_CONFIG_OPTION' }, one)
})

t.test('without a key an ephemeral store seals for the life of the process and any other store not at all', async (t) => {
  const [one, two] = [createSealer([], true, randomBytes), createSealer([], true, randomBytes)]
  t.equal(two?.open(one?.seal('x', binding) ?? '', binding), 'x')
  t.equal(createSealer([], false, randomBytes), null)
})
