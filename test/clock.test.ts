/** A clock that gives no time: at startup, and once the application runs. */
import t from 'tap'
import { checkedClock } from '../lib/clock.js'
import { auth, causeflowAuth } from '../lib/index.js'
import { bearer as bearerOf, createTestIssuer } from '../lib/testing/index.js'
import Fastify from 'fastify'
import { bearer, createApp, now } from './fixtures/app.js'

const soon = now / 1000 + 60
const bad: ReadonlyArray<readonly [name: string, read: () => unknown, words: RegExp]> = [
  ['undefined', () => undefined, /got undefined$/],
  ['null', () => null, /got null$/],
  ['NaN', () => NaN, /got NaN$/],
  ['Infinity', () => Infinity, /got Infinity$/],
  ['-Infinity', () => -Infinity, /got -Infinity$/],
  ['a string', () => String(now), /got a string$/],
  ['a BigInt', () => BigInt(now), /got a bigint$/],
  ['a Date', () => new Date(now), /got an object$/],
  ['an object', () => ({}), /got an object$/],
  ['a boolean', () => false, /got a boolean$/],
  ['a promise', async () => now, /got a promise: a clock is synchronous$/],
  ['a promise that is rejected', async () => { throw new Error('no time') }, /got a promise: a clock is synchronous$/],
  ['an error', () => { throw new Error('no time') }, /got an error$/],
  ['a time before 1970', () => -1, /got -1$/],
  ['zero', () => 0, /got 0: is that in seconds\?$/],
  ['seconds', () => now / 1000, /: is that in seconds\?$/],
  ['microseconds', () => now * 1000, /: is that in microseconds\?$/]
]

t.test('an app with such a clock fails to start, and the message says what the clock returned', async (t) => {
  for (const [name, read, words] of bad) {
    const app = Fastify()
    await t.rejects(async () => await app.register(causeflowAuth, { clock: read as never, default: auth.public() }), { code: 'AUTH_CONFIG_OPTION', message: words }, name)
    await app.close().catch(() => {})
  }
  t.equal(checkedClock(() => now)(), now)
})

t.test('where the clock fails later, no token is accepted: verified or remembered, under a secret or a key set', async (t) => {
  const issuer = await createTestIssuer({ clock: () => now })
  t.teardown(() => issuer.close())
  for (const [name, read] of bad) {
    let clock: () => unknown = () => now
    const app = await createApp(t, {
      auth: {
        clock: (() => clock()) as never,
        jwt: [{ name: 'secret', issuer: 'causeflow', audience: 'causeflow-api', secret: 'a secret of the tests alone, 32 bytes and more' }, { name: 'set', ...issuer.jwtOptions() }],
        default: auth.jwt('secret', 'set')
      }
    })
    app.get('/', async () => 'in')
    const credentials = [bearer({ exp: soon }), bearerOf(issuer.token({ exp: soon }))]
    const ask = async (headers: Record<string, string>): Promise<number> => (await app.inject({ url: '/', headers })).statusCode
    for (const headers of credentials) t.equal(await ask(headers), 200)
    clock = read
    // 401 for its time, and 503 where nobody can say how old the key set is.
    t.strictSame(await Promise.all(credentials.map(ask)), [401, 401], `${name}: remembered`)
    t.strictSame(await Promise.all([bearer({ exp: soon, jti: '2' }), bearerOf(issuer.token({ exp: soon, jti: '2' }))].map(ask)), [401, 503], `${name}: verified`)
    t.strictSame(await Promise.all([bearer({ exp: 1 }), bearerOf(issuer.token({ exp: 1 }))].map(ask)), [401, 503], `${name}: expired`)
    clock = () => now
    t.strictSame(await Promise.all([bearer({ exp: soon, jti: '3' }), bearerOf(issuer.token({ exp: soon, jti: '3' }))].map(ask)), [200, 200], `${name}: it recovers`)
  }
})
