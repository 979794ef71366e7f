import t from 'tap'
import { MemoryApiKeyStore } from '../../lib/api-key/memory-store.js'
import { Failure } from '../../lib/cli/failure.js'
import { checkNode } from '../../lib/cli/checks/runtime.js'
import type { Finding } from '../../lib/cli/checks/finding.js'
import type { InvalidationChannel } from '../../lib/api-key/invalidation.js'
import { createTestIssuer } from '../../lib/testing/index.js'
import { ask, invoke, now, type Surroundings } from './fixture.js'

const issuer = await createTestIssuer({ clock: () => now })
t.teardown(() => issuer.close())

const database = { DATABASE_URL: 'postgres://db/x' }

/** What the doctor found, by check, and how it ended. */
async function examine (args: string[], surroundings: Surroundings = {}) {
  const { code, answer } = await ask(['doctor', ...args], surroundings)
  const findings = Object.fromEntries((answer.findings as Finding[]).map(({ check, status, detail, mend }) => [check, { status, detail, mend }]))
  return { code, well: answer.well, findings }
}

/** The issuer's own answers with another header or body. */
function answering (change: (response: Response, url: string) => Promise<Response> | Response): typeof fetch {
  return async (url, options) => await change(await fetch(url, options), String(url))
}

const dated = (date: string, more: Record<string, string> = {}) => answering(async (response) => new Response(await response.text(), { status: response.status, headers: { date, ...more } }))

t.test('where nothing is configured nothing is asked, and all is well', async (t) => {
  const { code, well, findings } = await examine([])
  t.strictSame([code, well], [0, true])
  t.strictSame(Object.entries(findings).map(([check, { status }]) => [check, status]), [['node', 'well'], ['fastify', 'well'], ['issuer', 'not-asked'], ['store', 'not-asked'], ['redis', 'not-asked'], ['sealing keys', 'not-asked']])
})

t.test('a good issuer is well: its name, its keys, its clock', async (t) => {
  for (const args of [[], ['--discovery']]) {
    const { code, findings } = await examine(['--issuer', issuer.issuer, ...args], { fetch: dated('Sat, 31 Jan 2026 12:00:00 GMT') })
    t.equal(code, 0)
    t.strictSame(findings['issuer'], { status: 'well', detail: `${issuer.issuer} calls itself so`, mend: null })
    t.strictSame(findings['key set'], { status: 'well', detail: '1 usable: test-key-1', mend: null })
    t.match(findings['clock'], { status: 'well', mend: null })
  }
})

t.test('a clock is judged by what it is surely off, and a copy\'s age is added to its date', async (t) => {
  const at = async (seconds: number, more: Record<string, string> = {}) => (await examine(['--issuer', issuer.issuer], { fetch: dated(new Date(now + seconds * 1000).toUTCString(), more) })).findings['clock']
  for (const [seconds, status] of [[-7, 'wrong'], [-6, 'warning'], [-2, 'well'], [0, 'well'], [1, 'well'], [2, 'warning'], [5, 'warning'], [6, 'wrong']] as const) {
    t.match(await at(seconds), { status }, `${seconds} s`)
  }
  t.match(await at(-600), { detail: /^This clock is 10 min ahead of the issuer's, and 5 s are tolerated/, mend: /NTP/ })
  t.match(await at(600), { detail: /^This clock is 10 min behind the issuer's/ })
  t.match(await at(-600, { age: '600' }), { status: 'well' })
  t.match((await examine(['--issuer', issuer.issuer, '--clock-tolerance', '60'], { fetch: dated(new Date(now - 30_000).toUTCString()) })).findings['clock'], { status: 'warning' })
  t.match((await examine(['--issuer', issuer.issuer], { fetch: dated('never') })).findings['clock'], { status: 'not-asked' })
})

t.test('an issuer that calls itself otherwise is wrong: a slash too many refuses every token', async (t) => {
  const { code, findings } = await examine(['--issuer', `${issuer.issuer}/`], { fetch: dated('Sat, 31 Jan 2026 12:00:00 GMT') })
  t.equal(code, 1)
  t.match(findings['issuer'], { status: 'wrong', detail: /names another issuer/, mend: /a slash at the end included/ })
  t.match(findings['key set'], { status: 'well' })
})

t.test('an issuer without an OpenID configuration is as well as one with it', async (t) => {
  const own = answering((response, url) => url.endsWith('openid-configuration') ? new Response('', { status: 404 }) : response)
  const { code, findings } = await examine(['--issuer', issuer.issuer, '--clock-tolerance', '300'], { fetch: own, clock: Date.now })
  t.equal(code, 0)
  t.equal(findings['issuer'], undefined)
})

t.test('an issuer that does not answer is unreachable, one that answers something else is wrong', async (t) => {
  const fails = async () => { throw new TypeError('fetch failed', { cause: Object.assign(new AggregateError([]), { code: 'ECONNREFUSED', message: '' }) }) }
  const down = await examine(['--issuer', issuer.issuer], { fetch: fails })
  t.equal(down.code, 3)
  t.match(down.findings['key set'], { status: 'unreachable', detail: /could not be read: ECONNREFUSED$/, mend: /firewall/ })
  for (const answer of [() => new Response('<html>'), () => new Response('{}'), () => new Response(null, { status: 302, headers: { location: 'https://elsewhere' } }), () => new Response('', { status: 404 })]) {
    const other = await examine(['--issuer', issuer.issuer], { fetch: async () => answer() })
    t.equal(other.code, 1)
    t.match(other.findings['key set'], { status: 'wrong', mend: /--jwks-path or --discovery/ })
  }
})

t.test('keys that cannot be used are named with the reason', async (t) => {
  const withBad = answering(async (response, url) => {
    if (!url.endsWith('jwks.json')) return response
    const { keys } = await response.json() as { keys: object[] }
    return Response.json({ keys: [...keys, { kid: 'weak', kty: 'oct', k: 'AA' }] })
  })
  const some = await examine(['--issuer', issuer.issuer], { fetch: withBad, clock: Date.now })
  t.match(some, { code: 0, findings: { 'key set': { status: 'warning', detail: /^1 usable: test-key-1; passed over: weak \(its kty is none of RSA, EC, OKP\)$/ } } })
  const none = await examine(['--issuer', issuer.issuer, '--algorithm', 'ES256'], { fetch: withBad, clock: Date.now })
  t.match(none, { code: 1, findings: { 'key set': { status: 'wrong', detail: /^None of its 2 keys can be used: test-key-1 \(/, mend: /--algorithm/ } } })
})

t.test('a key set of any size and with any key ids is described in a few lines that a terminal can take', async (t) => {
  const withMore = (more: unknown[]) => answering(async (response, url) => {
    if (!url.endsWith('jwks.json')) return response
    const { keys } = await response.json() as { keys: object[] }
    return Response.json({ keys: [...keys, ...more] })
  })
  const examined = async (more: unknown[]) => await examine(['--issuer', issuer.issuer], { fetch: withMore(more), clock: Date.now })
  const { code, findings } = await examined([{ kid: { toString: 1 } }, { kid: 'x'.repeat(300), kty: 'oct' }, { kid: '\u001b[2J', kty: 'oct' }])
  t.equal(code, 0)
  t.equal(findings['key set']?.detail, `1 usable: test-key-1; passed over: without a kid (it has no usable kid), ${'x'.repeat(64)}… (it has no usable kid), \u001b[2J (its kty is none of RSA, EC, OKP)`)
  const { out } = await invoke(['doctor', '--issuer', issuer.issuer], { fetch: withMore([{ kid: '\u001b[2J\n', kty: 'oct' }]), clock: Date.now })
  t.ok(out.includes('\\u001b[2J\\u000a (its kty'))
  t.notOk(out.includes('\u001b'))
  const many = await examined(Array.from({ length: 3_000 }, (_, index) => ({ kid: `${'x'.repeat(250)}${index}` })))
  t.match(many.findings['key set'], { status: 'warning', detail: /and others$/ })
  t.ok((many.findings['key set']?.detail ?? '').length < 4_000)
  const { keys: [own] } = await (await fetch(`${issuer.issuer}/.well-known/jwks.json`)).json() as { keys: object[] }
  const beyond = await examined([...Array.from({ length: 99 }, () => own), { kid: 'late' }])
  t.equal(beyond.findings['key set']?.detail, '1 usable: test-key-1; passed over: late (it comes after the first 100 keys)')
})

t.test('an issuer that the plugin would not start with is a finding, and the rest is looked at', async (t) => {
  const { code, findings } = await examine(['--issuer', 'http://example.com'], { env: database })
  t.equal(code, 1)
  t.match(findings['issuer'], { status: 'wrong', detail: /neither https nor http on a loopback address/ })
  t.match(findings['store'], { status: 'well' })
})

t.test('a store is looked at by what it answers: its tables, the primary, the time of a lookup', async (t) => {
  t.match(await examine([], { env: database }), { code: 0, findings: { store: { status: 'well', detail: /^PostgreSQL 15\.4, its tables are complete, a lookup takes \d+ ms$/ } } })
  t.match(await examine([], { env: database, facts: { version: '15.4', replica: true } }), { code: 1, findings: { store: { status: 'wrong', detail: /replica/, mend: 'Name the primary' } } })
  for (const [exitCode, status] of [[2, 'wrong'], [3, 'unreachable']] as const) {
    const openStore = async () => { throw new Failure(exitCode, 'x', 'It is not so', 'Mend it') }
    t.match(await examine([], { env: database, openStore }), { code: exitCode === 3 ? 3 : 1, findings: { store: { status, detail: 'It is not so', mend: 'Mend it' } } })
  }
})

t.test('a store that stops answering while it is looked at is unreachable, and is closed', async (t) => {
  let closed = 0
  const openStore = async () => ({ store: new MemoryApiKeyStore(), facts: async () => { throw new Failure(3, 'x', 'gone') }, close: async () => { closed++ } })
  t.match(await examine([], { env: database, openStore }), { code: 3, findings: { store: { status: 'unreachable', detail: 'gone' } } })
  t.equal(closed, 1)
})

t.test('a channel is well when it hears itself, wrong when it does not in time, and its subscription ends', async (t) => {
  let waited = 0
  let subscribed = 0
  // Time passes at once.
  const timers = { setTimeout (callback: () => void, milliseconds: number) { waited += milliseconds; setImmediate(callback); return { unref () {} } }, clearTimeout () {} }
  const store = (hearsAfter: number): MemoryApiKeyStore => {
    const channel: InvalidationChannel = {
      get healthy () { return waited >= hearsAfter },
      subscribe () { subscribed++; return () => { subscribed-- } }
    }
    return Object.defineProperty(new MemoryApiKeyStore(), 'invalidation', { value: channel })
  }
  t.match(await examine([], { env: database, timers, store: store(4000) }), { code: 0, findings: { channel: { status: 'well' } } })
  waited = 0
  t.match(await examine([], { env: database, timers, store: store(Infinity) }), { code: 1, findings: { channel: { status: 'wrong', mend: /transaction mode/ } } })
  t.equal(subscribed, 0)
  t.match(await examine([], { env: database, store: Object.defineProperty(new MemoryApiKeyStore(), 'invalidation', { value: undefined }) }), { code: 0, findings: { channel: { status: 'warning' } } })
})

t.test('sealing keys are tried and never shown', async (t) => {
  const good = Buffer.alloc(32, 7).toString('base64')
  t.match(await examine([], { env: { CAUSEFLOW_SEALING_KEYS: `${good},${'ab'.repeat(32)}` } }), { code: 0, findings: { 'sealing keys': { status: 'well', detail: '2: the first seals, all open' } } })
  const bad = await examine([], { env: { CAUSEFLOW_SEALING_KEYS: `${good},short` } })
  t.match(bad, { code: 1, findings: { 'sealing keys': { status: 'wrong', mend: /openssl rand -base64 32/ } } })
  t.notMatch(JSON.stringify(bad), /short|BwcH/)
})

t.test('a Node.js below the lowest is wrong', async (t) => {
  for (const [version, status] of [['v20.18.3', 'wrong'], ['v18.99.0', 'wrong'], ['v20.19.0', 'well'], ['v22.0.0', 'well'], ['v100.0.0', 'well']] as const) t.match(checkNode(version), { status }, version)
})

t.test('for people each finding is a line, with its mend below it', async (t) => {
  const { code, out, err } = await invoke(['doctor', '--issuer', issuer.issuer], { fetch: async () => { throw new TypeError('fetch failed') } })
  t.strictSame([code, err], [3, ''])
  t.match(out, /^ok {9}node {10}Node\.js v/)
  t.match(out, /\nNO ANSWER {2}key set {7}http:\/\/127\.0\.0\.1:\d+\/\.well-known\/jwks\.json could not be read: fetch failed\n {25}Look whether/)
})
