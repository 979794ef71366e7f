// What comes from a database, a token or a server moves no cursor, hides no text and writes no line of its own.
import t, { type Test } from 'tap'
import { MemoryApiKeyStore } from '../../lib/api-key/memory-store.js'
import type { StoredApiKey } from '../../lib/api-key/record.js'
import type { ApiKeyStore } from '../../lib/api-key/store.js'
import { Failure } from '../../lib/cli/failure.js'
import { printable } from '../../lib/cli/printable.js'
import type { OpenRedis } from '../../lib/cli/redis.js'
import { createTestIssuer } from '../../lib/testing/index.js'
import { ask, invoke, now, type Surroundings } from './fixture.js'

/** An escape of a terminal, a line, a carriage return, a separator, and text from right to left. */
const hostile = '\u001b[2Jx\nFORGED\r\u009b1A\u2028FORGED\u202e\u2066\u200f'
const tenant = ['--tenant', 'ten_ACME']
const database = { DATABASE_URL: 'postgres://db/x' }

/** Runs a command and checks all that it writes, for people and for programs. Returns both texts. */
async function isHarmless (t: Pick<Test, 'notMatch' | 'match'>, args: string[], surroundings: Surroundings = {}): Promise<string> {
  // TAP has lines, too.
  const name = printable(args.join(' '))
  let written = ''
  for (const json of [[], ['--json']]) {
    const { out, err } = await invoke([...args, ...json], surroundings)
    const text = out + err
    t.notMatch(text, /(?!\n)[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u, name)
    t.notMatch(text, /^FORGED/m, name)
    written += text
  }
  t.match(written, 'FORGED', name)
  return written
}

/** A store in which somebody has written what they like. */
async function hostileStore (): Promise<ApiKeyStore> {
  const store = new MemoryApiKeyStore()
  const { answer: { keyId } } = await ask(['key', 'create', ...tenant, '--name', 'CI'], { store })
  const record: StoredApiKey = { ...(await store.get({ tenantId: 'ten_ACME', keyId }))!, name: hostile, createdBy: hostile, revokedBy: hostile, metadata: { [hostile]: hostile } }
  return {
    findByDigest: () => record,
    create: () => { throw new Error(hostile) },
    get: () => record,
    list: ({ cursor }) => ({ records: cursor === null ? [record] : [], cursor: cursor === null ? hostile : null }),
    revoke: () => { throw new Error('no', { cause: new Error(hostile) }) },
    rotate: () => 'conflict',
    replaceSecrets: () => { throw new Error(hostile) },
    revokeAll: () => [hostile, `key_${hostile}`],
    touch () {}
  }
}

t.test('of a database: records, ids, cursors, versions and errors', async (t) => {
  const store = await hostileStore()
  await isHarmless(t, ['key', 'list', ...tenant], { store })
  await isHarmless(t, ['key', 'revoke', '--all', ...tenant], { store })
  for (const args of [['create', '--name', 'n'], ['revoke', 'key_1']]) await isHarmless(t, ['key', ...args, ...tenant], { store })
  await isHarmless(t, ['key', 'inspect'], { store, env: database, stdin: 'cflo_live_sk_0123456789ABCDEFGHIJKLMNOPQRSTUV4WDIK4' })
  await isHarmless(t, ['doctor'], { store: new MemoryApiKeyStore(), env: database, facts: { version: hostile, replica: false } })
  for (const error of [new Failure(3, 'x', hostile, hostile), new Error(hostile), new Failure(4, 'x', hostile)]) {
    const openStore = async () => { throw error }
    for (const args of [['migrate'], ['doctor'], ['key', 'list', ...tenant]]) await isHarmless(t, args, { openStore, env: database })
  }
})

t.test('of Redis: what it says of itself, and its errors', async (t) => {
  const env = { REDIS_URL: 'redis://127.0.0.1:1' }
  const store = new MemoryApiKeyStore()
  const failing = async (): Promise<OpenRedis> => { throw new Failure(3, 'redis_unavailable', hostile) }
  await isHarmless(t, ['doctor'], { store, env, openRedis: failing })
  await isHarmless(t, ['key', 'revoke', '--all', ...tenant], { store: await hostileStore(), env, openRedis: failing })
  const client = {
    call: async (command: string) => { if (command === 'INFO') return `redis_version:${hostile}`; throw new Error(hostile) },
    duplicate () { throw new Error(hostile) },
    subscribe: async () => {},
    connect: async () => {},
    disconnect () {},
    on () {}
  }
  const timers = { setTimeout: (callback: () => void) => { setImmediate(callback); return { unref () {} } }, clearTimeout () {} }
  await isHarmless(t, ['doctor'], { store, env, timers, openRedis: async () => ({ client: client as never, driver: hostile, close () {} }) })
})

t.test('of a token and its issuer', async (t) => {
  const issuer = await createTestIssuer({ clock: () => now })
  t.teardown(() => issuer.close())
  const inspect = ['token', 'inspect', '--issuer', issuer.issuer]
  for (const token of [
    issuer.token({ [hostile]: hostile, aud: hostile }), issuer.token({ iss: hostile }), issuer.token({ azp: hostile, sub: hostile }),
    issuer.token({}, { kid: hostile }), issuer.token({}, { alg: hostile }), issuer.token({}, { typ: hostile, [hostile]: hostile })
  ]) {
    await isHarmless(t, ['token', 'inspect'], { stdin: token })
    await isHarmless(t, [...inspect, '--authorized-party', 'x'], { stdin: token, fetch })
  }
  const failing = async () => { throw new TypeError(hostile) }
  await isHarmless(t, inspect, { stdin: issuer.token(), fetch: failing })
  await isHarmless(t, ['doctor', '--issuer', issuer.issuer], { fetch: failing })
  await isHarmless(t, ['doctor', '--issuer', issuer.issuer], { fetch: async () => Response.json({ keys: [{ kid: hostile, kty: hostile }] }) })
})

t.test('of a delivery and of arguments', async (t) => {
  for (const args of [['verify', '-H', hostile], ['sign', '--secret-env', hostile], ['sign', '--secret-file', hostile], ['doctor', hostile], ['doctor', '--issuer', hostile], [hostile], ['sign', '--scheme', hostile]]) {
    const { out, err } = await invoke(args, { stdin: 'x' })
    t.notMatch(out + err, /(?!\n)[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u, printable(args.join(' ')))
  }
})
