import t from 'tap'
import { apiKeyDigest, parseApiKey } from '../../lib/api-key/key.js'
import { MemoryApiKeyStore } from '../../lib/api-key/memory-store.js'
import type { ApiKeyStore } from '../../lib/api-key/store.js'
import type { OpenStore, StoreRequest } from '../../lib/cli/database.js'
import { ask, invoke, now } from './fixture.js'

const tenant = ['--tenant', 'ten_ACME']
const create = (...more: string[]) => ['key', 'create', ...tenant, '--name', 'Datadog', ...more]
const day = 86_400_000

t.test('a key is made with everything that was said of it, and the store knows its digest', async (t) => {
  const store = new MemoryApiKeyStore()
  const { code, answer, failure } = await ask(create('--scope', 'a:read', '--scope', 'b', '--environment', 'test', '--expires-in', '30d', '--created-by', 'usr_1', '--metadata', '{"team":"x"}'), { store })
  t.equal(code, 0)
  t.equal(failure, null)
  const { plaintextKey, webhookSecret, keyId, prefix, ...rest } = answer
  t.strictSame(rest, {
    tenantId: 'ten_ACME',
    name: 'Datadog',
    scopes: ['a:read', 'b'],
    environment: 'test',
    status: 'active',
    createdAt: '2026-01-31T12:00:00.000Z',
    createdBy: 'usr_1',
    expiresAt: new Date(now + 30 * day).toISOString(),
    revokedAt: null,
    revokedBy: null,
    rotatedFrom: null,
    replacedBy: null,
    lastUsedAt: null,
    metadata: { team: 'x' }
  })
  t.equal(parseApiKey(plaintextKey)?.prefix, prefix)
  t.match(webhookSecret, /^whsec_.{44}$/)
  t.match(await store.findByDigest(apiKeyDigest(plaintextKey).toString('hex')), { keyId })
})

t.test('for people the key and its secret are on stdout, once, and the remark about them is not', async (t) => {
  const { code, out, err } = await invoke(create())
  t.equal(code, 0)
  t.equal(out.match(/cflo_live_sk_[0-9A-Za-z]{38}/g)?.length, 1)
  t.equal(out.match(/whsec_\S{44}/g)?.length, 1)
  t.equal(err, 'Keep it now: it cannot be shown again.\n')
})

t.test('a time of expiry is taken as a time, and one that is past is refused', async (t) => {
  t.match(await ask(create('--expires-at', '2026-02-01T00:00:00Z')), { code: 0, answer: { expiresAt: '2026-02-01T00:00:00.000Z' } })
  t.match(await ask(create('--expires-at', '2026-01-01T00:00:00Z')), { code: 2, answer: null, failure: { error: 'usage', message: 'expiresAt must be in the future' } })
  t.match(await ask(create('--expires-at', '2026-02-01T00:00:00Z', '--expires-in', '1d')), { code: 2, answer: null })
})

t.test('what cannot be a key is refused before the store is asked', async (t) => {
  for (const more of [['--environment', 'staging'], ['--expires-in', 'soon'], ['--metadata', '[1]'], ['--metadata', '{'], ['--quota', '-1'], ['--quota', 'many'], ['--scope', 'a b']]) {
    t.match(await ask(create(...more)), { code: 2, answer: null, failure: { error: 'usage' } }, more.join(' '))
  }
  t.match(await ask(['key', 'create', ...tenant]), { code: 2, failure: { message: 'required option \'--name <name>\' not specified' } })
  t.match(await ask(['key', 'create', '--name', 'x']), { code: 2, failure: { message: 'required option \'--tenant <id>\' not specified' } })
})

t.test('the quota is five unless another is given, and one key too many is refused', async (t) => {
  const store = new MemoryApiKeyStore()
  for (let made = 0; made < 5; made++) t.equal((await ask(create(), { store })).code, 0)
  t.match(await ask(create(), { store }), { code: 1, answer: null, failure: { error: 'AUTH_QUOTA_EXCEEDED', mend: /--quota/ } })
  t.equal((await ask(create('--quota', '6'), { store })).code, 0)
})

t.test('a list is a table for people, without a secret, and records for programs', async (t) => {
  const store = new MemoryApiKeyStore()
  const { answer: made } = await ask(create('--scope', 'a:read'), { store })
  await ask(['key', 'create', '--tenant', 'ten_GLOBEX', '--name', 'theirs'], { store })
  const { code, out, err } = await invoke(['key', 'list', ...tenant], { store })
  t.strictSame([code, err], [0, ''])
  t.equal(out, [
    'KEY ID                          NAME     PREFIX               ENVIRONMENT  STATUS  SCOPES  CREATED            LAST USED  EXPIRES',
    `${made.keyId}  Datadog  ${made.prefix}  live         active  a:read  2026-01-31 12:00Z  -          -`,
    ''
  ].join('\n'))
  const { plaintextKey, webhookSecret, ...record } = made
  t.strictSame((await ask(['key', 'list', ...tenant], { store })).answer, { keys: [record], cursor: null })
  t.strictSame(await invoke(['key', 'list', '--tenant', 'ten_NONE'], { store }), { code: 0, out: 'No keys\n', err: '' })
})

t.test('pages follow one another by their cursor, and --all is every page', async (t) => {
  const store = new MemoryApiKeyStore()
  for (let made = 0; made < 3; made++) await ask(create(), { store, clock: () => now + made })
  const { answer: first } = await ask(['key', 'list', ...tenant, '--limit', '2'], { store })
  t.equal(first.keys.length, 2)
  const { answer: second } = await ask(['key', 'list', ...tenant, '--limit', '2', '--cursor', first.cursor], { store })
  t.strictSame([second.keys.length, second.cursor], [1, null])
  t.match(await invoke(['key', 'list', ...tenant, '--limit', '2'], { store }), { code: 0, err: `There are more: --cursor ${first.cursor}\n` })
  const { answer: all } = await ask(['key', 'list', ...tenant, '--all'], { store })
  t.strictSame(all, { keys: [...first.keys, ...second.keys], cursor: null })
  for (const limit of ['0', '101', '1.5']) t.equal((await ask(['key', 'list', ...tenant, '--limit', limit], { store })).code, 2, limit)
})

t.test('what a key cannot have is a usage error with the sentence of ApiKeys, and an operator with an odd name still revokes', async (t) => {
  const store = new MemoryApiKeyStore()
  const bad: Array<[args: string[], message: RegExp]> = [
    [['--scope', 'x'.repeat(129)], /^scopes must be/], [Array.from({ length: 101 }, (_, index) => ['--scope', `s${index}`]).flat(), /^scopes must be/],
    [['--metadata', JSON.stringify({ text: 'x'.repeat(4096) })], /^metadata must be/], [['--metadata', '{"a":"\\u0000"}'], /^metadata must be/],
    [['--expires-at', '9999-12-31T23:59:59-12:00'], /^expiresAt must be/], [['--name', 'a\ud800'], /^name must be/]
  ]
  for (const [args, message] of bad) t.match(await ask(create(...args), { store }), { code: 2, answer: null, failure: { message } }, message.source)
  t.match(await ask(['key', 'create', '--tenant', 'x'.repeat(257), '--name', 'n'], { store }), { code: 2, failure: { message: /^tenantId must be/ } })
  t.match(await ask(['key', 'revoke', 'x'.repeat(129), ...tenant], { store }), { code: 2, failure: { message: /^keyId must be/ } })
  t.match(await ask(['key', 'list', ...tenant, '--cursor', 'x'.repeat(257)], { store }), { code: 2, failure: { message: /^cursor must be/ } })
  const { answer: made } = await ask(create('--created-by', 'x'.repeat(300)), { store })
  t.match(made.createdBy, /^x{160}…sha256:[0-9a-f]{64}$/)
  t.equal((await ask(['key', 'revoke', made.keyId, ...tenant, '--by', 'ops\n'], { store })).code, 0)
})

t.test('--all reads beyond the largest page', async (t) => {
  const store = new MemoryApiKeyStore()
  for (let made = 0; made < 101; made++) await ask(create('--quota', '200'), { store, clock: () => now + made })
  t.equal((await ask(['key', 'list', ...tenant, '--all'], { store })).answer.keys.length, 101)
})

t.test('a key is revoked once, a second time is no failure, and another tenant\'s is not found', async (t) => {
  const store = new MemoryApiKeyStore()
  const { answer: { keyId } } = await ask(create(), { store })
  t.match(await ask(['key', 'revoke', keyId, '--tenant', 'ten_GLOBEX'], { store }), { code: 1, answer: null, failure: { error: 'not_found' } })
  t.strictSame(await ask(['key', 'revoke', keyId, ...tenant, '--by', 'ops'], { store }), { code: 0, answer: { keyId, outcome: 'revoked' }, failure: null })
  t.match(await store.get({ tenantId: 'ten_ACME', keyId }), { revokedAt: '2026-01-31T12:00:00.000Z', revokedBy: 'ops' })
  t.strictSame(await invoke(['key', 'revoke', keyId, ...tenant], { store }), { code: 0, out: `${keyId} was revoked before\n`, err: '' })
})

t.test('all keys of a tenant are revoked, or those from before a time, and nobody else\'s', async (t) => {
  const store = new MemoryApiKeyStore()
  const { answer: old } = await ask(create(), { store, clock: () => now - day })
  const { answer: young } = await ask(create(), { store })
  await ask(['key', 'create', '--tenant', 'ten_GLOBEX', '--name', 'theirs'], { store })
  t.strictSame((await ask(['key', 'revoke', '--all', ...tenant, '--created-before', '2026-01-31T00:00:00Z'], { store })).answer, { revoked: [old.keyId] })
  t.strictSame((await ask(['key', 'revoke', '--all', ...tenant], { store })).answer, { revoked: [young.keyId] })
  t.match(await ask(['key', 'list', '--tenant', 'ten_GLOBEX'], { store }), { answer: { keys: [{ status: 'active' }] } })
})

t.test('revoking names one key or all of them, never neither and never both', async (t) => {
  const opened: StoreRequest[] = []
  const openStore = async (request: StoreRequest): Promise<OpenStore> => { opened.push(request); throw new Error('not to be opened') }
  for (const args of [[], ['key_1', '--all'], ['key_1', '--created-before', '2026-01-01'], ['key_1', 'key_2']]) {
    t.match(await ask(['key', 'revoke', ...args, ...tenant], { openStore }), { code: 2, failure: { error: 'usage' } }, args.join(' '))
  }
  t.strictSame(opened, [])
})

t.test('a rotated key is shown, and the old one stops at once or after the overlap', async (t) => {
  const store = new MemoryApiKeyStore()
  const { answer: first } = await ask(create('--scope', 'a:read'), { store })
  const { code, answer: second } = await ask(['key', 'rotate', first.keyId, ...tenant, '--overlap', '1h', '--by', 'ops'], { store })
  t.equal(code, 0)
  t.match(second, { name: 'Datadog', scopes: ['a:read'], rotatedFrom: first.keyId, createdBy: 'ops', plaintextKey: /^cflo_live_sk_/ })
  t.match(await store.get({ tenantId: 'ten_ACME', keyId: first.keyId }), { expiresAt: new Date(now + 3_600_000).toISOString(), replacedBy: second.keyId })
  t.match(await ask(['key', 'rotate', first.keyId, ...tenant], { store }), { code: 1, answer: null, failure: { error: 'conflict' } })
  t.match(await ask(['key', 'rotate', 'key_NONE', ...tenant], { store }), { code: 1, failure: { error: 'not_found' } })
  t.match(await ask(['key', 'rotate', first.keyId, ...tenant, '--overlap', '31d'], { store }), { code: 2, failure: { error: 'usage' } })

  const { answer: third } = await ask(create(), { store })
  await ask(['key', 'rotate', third.keyId, ...tenant], { store })
  t.match(await store.get({ tenantId: 'ten_ACME', keyId: third.keyId }), { revokedAt: '2026-01-31T12:00:00.000Z' })
})

t.test('a webhook secret is replaced and the key is left', async (t) => {
  const store = new MemoryApiKeyStore()
  const { answer: { keyId, webhookSecret: before } } = await ask(create(), { store })
  const { code, answer } = await ask(['key', 'rotate', keyId, ...tenant, '--webhook-secret', '--overlap', '1h'], { store })
  t.equal(code, 0)
  t.match(answer, { keyId, webhookSecret: /^whsec_/, previousUntil: '2026-01-31T13:00:00.000Z' })
  t.not(answer.webhookSecret, before)
  t.match(await store.get({ tenantId: 'ten_ACME', keyId }), { revokedAt: null, replacedBy: null })
  const { out } = await invoke(['key', 'rotate', keyId, ...tenant, '--webhook-secret'], { store })
  t.match(out, /^Key id .*\nThe one before works until .*\nWebhook secret {2,}whsec_\S{44}\n$/)
})

t.test('a lasting store gets webhook secrets from CAUSEFLOW_SEALING_KEYS alone, and a bad one is refused', async (t) => {
  const store = lasting()
  const sealing = Buffer.alloc(32, 7).toString('base64')
  t.match(await ask(create(), { store }), { code: 0, answer: { webhookSecret: null } })
  t.match(await ask(create(), { store, env: { CAUSEFLOW_SEALING_KEYS: ` ${'ab'.repeat(32)}, ${sealing} ` } }), { code: 0, answer: { webhookSecret: /^whsec_/ } })
  const { answer: { keyId } } = await ask(create(), { store })
  t.match(await ask(['key', 'rotate', keyId, ...tenant, '--webhook-secret'], { store }), { code: 2, failure: { error: 'AUTH_CONFIG_OPTION' } })
  const bad = await ask(create(), { store, env: { CAUSEFLOW_SEALING_KEYS: 'a-sealing-key-that-is-none' } })
  t.match(bad, { code: 2, failure: { error: 'AUTH_CONFIG_OPTION' } })
  t.notMatch(JSON.stringify(bad), 'a-sealing-key-that-is-none')
})

t.test('a store that fails is unavailable, says why, and is closed all the same', async (t) => {
  let closed = 0
  const store = Object.assign(lasting(), { list () { throw Object.assign(new Error('connection terminated'), { code: '57P01' }) } })
  const openStore = async (): Promise<OpenStore> => ({ store, facts: async () => ({ version: '', replica: false }), close: async () => { closed++ } })
  t.strictSame(await ask(['key', 'list', ...tenant], { openStore }), {
    code: 3,
    answer: null,
    failure: { error: 'AUTH_STORE_UNAVAILABLE', message: 'The credential cannot be looked up at the moment: connection terminated', mend: 'causeflow-auth doctor looks closer' }
  })
  t.equal(closed, 1)
})

t.test('the schema and the prefix reach the store', async (t) => {
  const requests: StoreRequest[] = []
  const openStore = async (request: StoreRequest): Promise<OpenStore> => {
    requests.push(request)
    return { store: new MemoryApiKeyStore(), facts: async () => ({ version: '', replica: false }), close: async () => {} }
  }
  await invoke(['key', 'list', ...tenant, '--schema', 'auth', '--prefix', 'cf_'], { openStore })
  await invoke(['key', 'list', ...tenant], { openStore })
  t.strictSame(requests, [{ schema: 'auth', prefix: 'cf_' }, {}])
})

t.test('a cursor that no page has answered is refused, and is not the first page', async (t) => {
  t.match(await ask(['key', 'list', ...tenant, '--cursor', 'garbage']), { code: 2, answer: null, failure: { error: 'usage', message: /^cursor must be/ } })
})

t.test('a name that would move the cursor or turn the line around is written as an escape', async (t) => {
  const store = new MemoryApiKeyStore()
  const { answer: { keyId } } = await ask(create(), { store })
  await store.rotate({ tenantId: 'ten_ACME', keyId, replacement: { ...(await store.get({ tenantId: 'ten_ACME', keyId }))!, keyId: 'key_2', digest: 'ab'.repeat(32), createdBy: 'x\u009b2J\u202e', name: 'a\u001b]0;owned\u0007\nb' }, at: new Date(now).toISOString(), until: new Date(now).toISOString(), by: null })
  const table = await invoke(['key', 'list', ...tenant], { store })
  t.notMatch(table.out, /(?!\n)[\p{Cc}\p{Cf}]/u)
  t.match(table.out, 'a\\u001b]0;owned\\u0007\\u000ab')
  const json = await invoke(['key', 'list', ...tenant, '--json'], { store })
  t.notMatch(json.out, /(?!\n)[\p{Cc}\p{Cf}]/u)
  t.equal(JSON.parse(json.out).keys[0].createdBy, 'x\u009b2J\u202e')
})

/** A store that does not say that it ends with the process. */
function lasting (): ApiKeyStore {
  const store = new MemoryApiKeyStore()
  return new Proxy(store, { get: (target, name) => name === 'ephemeral' ? undefined : typeof Reflect.get(target, name) === 'function' ? Reflect.get(target, name).bind(target) : Reflect.get(target, name) }) as ApiKeyStore
}
