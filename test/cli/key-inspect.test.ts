import t from 'tap'
import { MemoryApiKeyStore } from '../../lib/api-key/memory-store.js'
import { ask, invoke, now } from './fixture.js'

const key = 'cflo_live_sk_0123456789ABCDEFGHIJKLMNOPQRSTUV4WDIK4'
const legacy = `cflo_${'0123456789abcdef'.repeat(4)}`
const database = { DATABASE_URL: 'postgres://db/x' }
const inspect = ['key', 'inspect']

t.test('a well-formed key is told by its form, environment, checksum and prefix, with white space around it', async (t) => {
  t.strictSame(await ask(inspect, { stdin: ` ${key}\r\n` }), {
    code: 0,
    answer: { form: 'current', environment: 'live', checksum: 'right', prefix: 'cflo_live_sk_012345', fault: null, record: null, status: 'not-asked' },
    failure: null
  })
  t.strictSame((await ask(inspect, { stdin: legacy })).answer, { form: 'legacy', environment: 'live', checksum: 'none', prefix: 'cflo_01234567', fault: null, record: null, status: 'not-asked' })
})

t.test('a malformed key is refused with what is wrong, and the store is not asked', async (t) => {
  const store = new MemoryApiKeyStore()
  store.findByDigest = () => { throw new Error('asked') }
  for (const [text, fault, form, checksum] of [
    [key.replace('0123', '0124'), 'checksum', 'current', 'wrong'],
    [key.slice(1), 'form', null, null],
    [key.replace('live', 'prod'), 'form', null, null],
    [`${key} ${key}`, 'form', null, null],
    [`cflo_${'a'.repeat(124)}`, 'size', null, null]
  ] as const) {
    t.strictSame(await ask(inspect, { stdin: text, store, env: database }), { code: 1, answer: { form, environment: null, checksum, prefix: null, fault, record: null, status: 'not-asked' }, failure: null }, fault)
  }
})

t.test('with a database the record is told, and only an active key is right', async (t) => {
  const store = new MemoryApiKeyStore()
  const { answer: made } = await ask(['key', 'create', '--tenant', 'ten_ACME', '--name', 'CI', '--expires-in', '1d'], { store })
  const { plaintextKey, webhookSecret, ...record } = made
  const stdin = plaintextKey
  t.match(await ask(inspect, { stdin, store, env: database }), { code: 0, answer: { status: 'active', record } })
  t.match(await ask([...inspect, '--no-database'], { stdin, store, env: database }), { code: 0, answer: { status: 'not-asked', record: null } })
  t.match(await ask(inspect, { stdin, store, env: database, clock: () => now + 86_400_000 }), { code: 1, answer: { status: 'expired' } })
  await ask(['key', 'revoke', made.keyId, '--tenant', 'ten_ACME'], { store })
  t.match(await ask(inspect, { stdin, store, env: database }), { code: 1, answer: { status: 'revoked' } })
  t.match(await ask(inspect, { stdin: key, store, env: database }), { code: 1, answer: { status: 'unknown', record: null } })
})

t.test('a record that is no key record is no answer of yes or no: the command says which field is wrong', async (t) => {
  const store = new MemoryApiKeyStore()
  const { answer: { plaintextKey } } = await ask(['key', 'create', '--tenant', 'ten_ACME', '--name', 'CI'], { store })
  const wrong = { ...store, findByDigest: (digest: string) => ({ ...store.findByDigest(digest), revokedAt: undefined }) } as never
  t.match(await ask(inspect, { stdin: plaintextKey, store: wrong, env: database }), { code: 3, answer: null, failure: { error: 'AUTH_STORE_UNAVAILABLE', message: /see \/revokedAt/ } })
})

t.test('a key is never echoed, whole or past its prefix, however the command ends', async (t) => {
  const store = new MemoryApiKeyStore()
  const { answer: { plaintextKey } } = await ask(['key', 'create', '--tenant', 'ten_ACME', '--name', 'CI'], { store })
  const secret = plaintextKey.slice(20, 45)
  const endings = [
    await invoke(inspect, { stdin: plaintextKey, store, env: database }),
    await invoke([...inspect, '--json'], { stdin: plaintextKey, store, env: database }),
    await invoke(inspect, { stdin: `${plaintextKey}x` }),
    await invoke(inspect, { typed: `${plaintextKey}\r` }),
    await invoke([...inspect, plaintextKey]),
    await invoke([...inspect, `--key=${plaintextKey}`]),
    await invoke(inspect, { stdin: plaintextKey, env: database, openStore: async () => { throw new Error(`no answer for ${plaintextKey}`) } })
  ]
  t.strictSame(endings.map(({ code }) => code), [0, 0, 1, 0, 2, 2, 4])
  for (const { out, err } of endings) t.notMatch(out + err, secret)
})

t.test('at a terminal the key is asked for on stderr, so that stdout is the answer alone', async (t) => {
  const { code, out, err } = await invoke([...inspect, '--json'], { typed: `${key}\r` })
  t.equal(code, 0)
  t.equal(JSON.parse(out).prefix, 'cflo_live_sk_012345')
  t.equal(err, 'API key (not shown): \n')
})

t.test('an interrupted prompt, an empty line and an empty stdin are told apart from a bad key', async (t) => {
  t.equal((await invoke(inspect, { typed: 'cflo_li\u0003' })).code, 130)
  t.equal((await invoke(inspect, { typed: '\r' })).code, 2)
  t.equal((await invoke(inspect, { typed: '\u0004' })).code, 2)
  t.match(await ask(inspect, { stdin: '\n' }), { code: 2, failure: { error: 'usage', message: /^Nothing came on stdin/ } })
})
