/** The key set against a real server on this machine, with a clock that stands still until it is moved. */
import diagnostics from 'node:diagnostics_channel'
import type { ServerResponse } from 'node:http'
import { gzipSync } from 'node:zlib'
import t from 'tap'
import { isAuthError } from '../../lib/errors.js'
import type { Algorithm } from '../../lib/jwt/algorithm.js'
import type { KeySetEvent, KeySource } from '../../lib/jwt/key-set.js'
import { createFixedKey, createKeySet } from '../../lib/jwt/key-set.js'
import type { VerificationKey } from '../../lib/jwt/verification-key.js'
import { ec, jwkOf, listen, outcome, pemOf, rsa, scripted, standingClock, start } from './fixture.js'
import type { Json } from './fixture.js'
import { watchProcess } from '../fixtures/process-watch.js'

watchProcess(t)

const [a, b, c] = [rsa(), rsa(), rsa()]
const times = { maxAge: 600, cooldown: 30, timeLimit: 5, staleFor: 3600 }
const path = '/.well-known/jwks.json'

/** An issuer on this machine, whose next answers are what `answer` writes. */
async function served (t: { teardown (work: () => void): unknown }, overrides: { times?: Partial<typeof times>, random?: () => number, discovery?: boolean } = {}): Promise<{
  set: KeySource
  clock: ReturnType<typeof standingClock>
  url: string
  requests: () => number
  answer: (next: unknown) => void
  pems: (keyId: string) => Promise<unknown>
}> {
  let next: unknown = { keys: [] }
  const server = await listen(t, (request, response) => {
    if (typeof next === 'function') (next as (response: ServerResponse, url: string) => void)(response, request.url ?? '')
    else response.end(typeof next === 'string' ? next : JSON.stringify(next))
  })
  const clock = standingClock()
  const set = createKeySet({
    name: 'main',
    issuer: server.url,
    location: overrides.discovery ? { from: 'discovery', url: `${server.url}/.well-known/openid-configuration` } : { from: 'jwks', url: server.url + path },
    algorithms: ['RS256'],
    times: { ...times, ...overrides.times }
  }, { clock, fetch, random: overrides.random ?? (() => 0) })
  t.teardown(() => { set.close() })
  return {
    set,
    clock,
    ...server,
    answer: (value) => { next = value },
    pems: (keyId) => outcome(async () => (await set.find(keyId)).map((key) => key.pem))
  }
}
const keysOf = (...keys: unknown[]): Json => ({ keys })
/** Lets a refresh behind a request's back come to its end. */
async function until (done: () => boolean): Promise<void> {
  for (let round = 0; !done(); round++) {
    if (round > 2000) throw new Error('It did not come to its end')
    await new Promise((resolve) => setTimeout(resolve, 1))
  }
}
const unknown = 'AUTH_TOKEN_INVALID key-unknown'
const rejected = 'AUTH_KEY_SET_UNAVAILABLE rejected'
const unreachable = 'AUTH_KEY_SET_UNAVAILABLE unreachable'

t.test('a key is found at the configured address, once, and then at once', async (t) => {
  const { set, answer, pems, requests } = await served(t)
  answer(keysOf(jwkOf(a), jwkOf(b, { kid: 'k2' })))
  t.strictSame(await pems('k1'), [pemOf(a)])
  const held = set.find('k2')
  t.notOk(held instanceof Promise)
  t.strictSame((held as readonly VerificationKey[]).map(({ pem }) => pem), [pemOf(b)])
  t.equal(requests(), 1)
})

t.test('a hundred requests for the first key are one request to the issuer', async (t) => {
  const { answer, pems, requests } = await served(t)
  answer(keysOf(jwkOf(a)))
  const found = await Promise.all(Array.from({ length: 100 }, (_, index) => pems(index % 2 ? 'k1' : 'k2')))
  t.strictSame(found, found.map((_, index) => index % 2 ? [pemOf(a)] : unknown))
  t.equal(requests(), 1)
})

t.test('a bad key in the set harms only itself', async (t) => {
  const { answer, pems } = await served(t)
  answer(keysOf(null, 7, [], {}, jwkOf(rsa(1024), { kid: 'weak' }), jwkOf(b, { kid: 'enc', use: 'enc' }), { ...b.privateKey.export({ format: 'jwk' }), kid: 'private' }, jwkOf(b, { kid: '\ud800' }),
    { kty: 'RSA', kid: 'broken', n: 'AAAA', e: 'AQAB' }, { get kid () { return 'k3' }, kty: 'oct', k: 'AAAA' }, jwkOf(ec('P-256'), { kid: 'ec', alg: 'ES256' }), jwkOf(a)))
  t.strictSame(await pems('k1'), [pemOf(a)])
  for (const keyId of ['weak', 'enc', 'private', 'broken', 'k3', 'ec', '\ud800', '', 'toString', '__proto__']) t.equal(await pems(keyId), unknown, keyId)
})

t.test('several keys under one id are all tried, at most four, and the same one once', async (t) => {
  const { answer, pems } = await served(t)
  answer(keysOf(jwkOf(a), jwkOf(a), jwkOf(b), jwkOf(a, { e: 'AQ' }), jwkOf(c), jwkOf(rsa()), jwkOf(rsa()), jwkOf(rsa())))
  const found = await pems('k1') as string[]
  t.strictSame(found.slice(0, 3), [pemOf(a), pemOf(b), pemOf(c)])
  t.equal(found.length, 4)
})

t.test('random key ids cost one request a cooldown and no memory, harm no good key, and do not hide a rotation', async (t) => {
  const { answer, pems, requests, clock } = await served(t)
  answer(keysOf(jwkOf(a)))
  await pems('k1')
  for (let index = 0; index < 500; index++) t.equal(await pems(`random-${index}`), unknown)
  t.equal(requests(), 1)
  t.strictSame(await pems('k1'), [pemOf(a)])
  answer(keysOf(jwkOf(a), jwkOf(b, { kid: 'k2' })))
  clock.tick(29.999)
  t.equal(await pems('k2'), unknown, 'still in the cooldown')
  clock.tick(0.001)
  t.equal(await pems('random'), unknown)
  t.equal(requests(), 2)
  t.strictSame(await pems('k2'), [pemOf(b)], 'the flood itself has learned it')
  t.equal(requests(), 2)
})

t.test('an unknown key id during the cooldown is 401 if the last attempt succeeded, and 503 with Retry-After if it failed', async (t) => {
  const { set, answer, pems, requests, clock } = await served(t)
  answer((response: ServerResponse) => { response.writeHead(500).end() })
  t.equal(await pems('k1'), rejected)
  clock.tick(10)
  t.equal(await pems('k1'), rejected)
  t.equal(requests(), 1)
  try {
    await set.find('k1')
  } catch (error) {
    t.match(error, { statusCode: 503, retryAfter: 20 })
    t.match((error as Error).cause, { message: /answered 500/ })
  }
  answer(keysOf(jwkOf(a)))
  clock.tick(20)
  t.strictSame(await pems('k1'), [pemOf(a)], 'it recovers by itself')
  t.equal(await pems('k2'), unknown)
  t.equal(requests(), 2)
})

t.test('a set is read again before it is too old, behind the request\'s back', async (t) => {
  const { set, answer, requests, clock } = await served(t)
  answer(keysOf(jwkOf(a)))
  await set.warm()
  clock.tick(449)
  t.notOk(set.find('k1') instanceof Promise)
  t.equal(requests(), 1)
  answer(keysOf(jwkOf(a), jwkOf(b, { kid: 'k2' })))
  clock.tick(1)
  t.notOk(set.find('k1') instanceof Promise, 'nobody waits')
  await until(() => requests() === 2)
  await until(() => !(set.find('k2') instanceof Promise))
  t.equal(requests(), 2)
})

/** A set whose issuer answers at once and tells what it was asked. */
function atOnce (answer: () => unknown, overrides: { algorithms?: Algorithm[], random?: () => number } = {}) {
  const { fetch, asked } = scripted(answer)
  const clock = standingClock()
  const signals: AbortSignal[] = []
  const inits: RequestInit[] = []
  const set = createKeySet({ name: 'main', issuer: 'https://issuer.example.com', location: { from: 'jwks', url: 'https://issuer.example.com/keys' }, algorithms: overrides.algorithms ?? ['RS256'], times }, {
    clock,
    random: overrides.random ?? (() => 0),
    fetch: (url, init) => {
      signals.push(init!.signal!)
      inits.push(init!)
      return fetch(url, init)
    }
  })
  return { set, asked, clock, signals, inits }
}

t.test('a young set is not read again, by whomever it is asked for', async (t) => {
  for (const [random, age] of [[0, 450], [1, 540]] as const) {
    const { set, asked, clock } = atOnce(() => keysOf(jwkOf(a)), { random: () => random })
    await set.warm()
    const [key] = await set.find('k1') as [VerificationKey]
    clock.tick(age - 1)
    await set.warm()
    await set.find('k1')
    await set.confirm(key, clock())
    t.equal(asked.length, 1)
    clock.tick(1)
    await set.find('k1')
    t.equal(asked.length, 2, `at ${age} seconds it is`)
  }
})

t.test('a set is asked for as JSON, without following a redirect, and a read that is over is ended by nothing', async (t) => {
  const { mock } = await import('node:test')
  mock.timers.enable({ apis: ['setTimeout'] })
  t.teardown(() => { mock.timers.reset() })
  const { set, inits, signals } = atOnce(() => keysOf(jwkOf(a)))
  await set.warm()
  t.strictSame(inits.map(({ redirect, headers }) => ({ redirect, headers })), [{ redirect: 'manual', headers: { accept: 'application/json' } }])
  await new Promise(setImmediate)
  mock.timers.tick(10_000)
  set.close()
  t.strictSame(signals.map(({ aborted }) => aborted), [false])
})

t.test('a set that is closed before it was ever read is unavailable, and says so for a second', async (t) => {
  const { set, asked } = atOnce(() => keysOf(jwkOf(a)))
  set.close()
  t.throws(() => set.find('k1'), { code: 'AUTH_KEY_SET_UNAVAILABLE', reason: 'unreachable', retryAfter: 1 })
  t.equal(asked.length, 0)
})

t.test('of a set the first hundred keys are looked at', async (t) => {
  const { set } = atOnce(() => keysOf(...Array.from({ length: 101 }, (_, index) => jwkOf(a, { kid: `k${index}` }))))
  t.equal((await set.find('k99')).length, 1)
  t.equal(await outcome(() => set.find('k100')), unknown)
})

t.test('one key that is there for several algorithms is several', async (t) => {
  const { set } = atOnce(() => keysOf(jwkOf(a), jwkOf(a, { alg: 'PS256' }), jwkOf(a, { alg: undefined }), jwkOf(a)), { algorithms: ['RS256', 'PS256'] })
  t.strictSame((await set.find('k1')).map(({ algorithms }) => algorithms), [['RS256'], ['PS256'], ['RS256', 'PS256']])
})

t.test('an answer without a body is no key set', async (t) => {
  t.equal(await outcome(() => atOnce(() => new Response(null)).set.find('k1')), rejected)
})

t.test('a body of exactly 1 MB is read, and one of a byte more is not', async (t) => {
  const text = JSON.stringify(keysOf(jwkOf(a)))
  for (const [length, expected] of [[1024 * 1024, 1], [1024 * 1024 + 1, rejected]] as const) {
    const found = await outcome(() => atOnce(() => text.padEnd(length)).set.find('k1'))
    t.equal(Array.isArray(found) ? found.length : found, expected)
  }
})

t.test('why a set could not be read is the cause, for logs', async (t) => {
  const fault = new TypeError('fetch failed')
  const { set } = atOnce(() => { throw fault })
  await t.rejects(Promise.resolve(set.find('k1')), { code: 'AUTH_KEY_SET_UNAVAILABLE', cause: { name: 'KeyDocumentError', reason: 'unreachable', cause: fault } })
})

t.test('a key that the issuer has removed is dead once the set is read again, and so is what it verified', async (t) => {
  const { set, answer, pems, clock } = await served(t)
  answer(keysOf(jwkOf(a), jwkOf(b, { kid: 'k2' })))
  const [key] = await set.find('k1') as [VerificationKey]
  const [other] = await set.find('k2') as [VerificationKey]
  t.equal(set.confirm(key, clock()), true)
  answer(keysOf(jwkOf(b, { kid: 'k2' })))
  clock.tick(600)
  t.equal(await set.confirm(key, clock()), false)
  t.equal(set.confirm(other, clock()), true, 'the other is the same key still')
  t.equal((set.find('k2') as readonly VerificationKey[])[0], other)
  t.equal(await pems('k1'), unknown)
})

t.test('a set that is too old makes requests wait for a new one, and does not outlive an issuer that answers', async (t) => {
  const { answer, pems, requests, clock } = await served(t)
  answer(keysOf(jwkOf(a)))
  await pems('k1')
  answer(keysOf(jwkOf(b, { kid: 'k2' })))
  clock.tick(86_400)
  t.equal(await pems('k1'), unknown)
  t.equal(requests(), 2)
})

t.test('while the issuer is down known keys serve until staleFor, unknown ones are 503, and it recovers by itself', async (t) => {
  const { set, answer, pems, requests, clock } = await served(t)
  answer(keysOf(jwkOf(a)))
  const [key] = await set.find('k1') as [VerificationKey]
  answer((response: ServerResponse) => { response.destroy() })
  clock.tick(600)
  t.strictSame(await pems('k1'), [pemOf(a)], 'the first waits for the failure')
  t.equal(requests(), 2)
  clock.tick(30)
  t.notOk(set.find('k1') instanceof Promise, 'the next do not')
  await until(() => requests() === 3)
  t.equal(await pems('k2'), unreachable)
  t.equal(set.confirm(key, clock()), true)
  clock.tick(3569)
  t.strictSame(await pems('k1'), [pemOf(a)], '4199 seconds old')
  await until(() => requests() === 4)
  t.equal(await pems('k2'), unreachable)
  clock.tick(1)
  t.equal(await pems('k1'), unreachable, '4200 seconds old')
  t.equal(await set.confirm(key, clock()), false)
  answer(keysOf(jwkOf(a)))
  clock.tick(400)
  t.strictSame(await pems('k1'), [pemOf(a)])
  t.equal(set.confirm(key, clock()), true, 'the same key: its tokens are good again')
})

t.test('failures back off, with jitter, up to five minutes, and never below the cooldown', async (t) => {
  const { set, answer, pems, clock } = await served(t, { random: () => 0.8 })
  answer('x')
  const waits: number[] = []
  for (let failure = 0; failure < 7; failure++) {
    await pems('k1')
    const error = await Promise.resolve().then(() => set.find('k1')).catch((error: unknown) => error)
    if (!isAuthError(error)) throw error
    waits.push(error.retryAfter as number)
    clock.tick(error.retryAfter as number)
  }
  t.strictSame(waits, [30, 72, 144, 288, 288, 288, 288])
  answer(keysOf(jwkOf(a)))
  t.strictSame(await pems('k1'), [pemOf(a)])
  t.equal(await pems('k2'), unknown)
  clock.tick(30)
  answer(keysOf(jwkOf(b, { kid: 'k2' })))
  t.strictSame(await pems('k2'), [pemOf(b)], 'a success ends it')
})

t.test('a cooldown that is longer than the longest back-off is the distance of all attempts', async (t) => {
  const { answer, pems, clock, requests } = await served(t, { times: { cooldown: 400 }, random: () => 0.8 })
  answer('x')
  for (let attempt = 1; attempt < 5; attempt++) {
    t.equal(await pems('k1'), rejected)
    clock.tick(399)
    t.equal(await pems('k1'), rejected)
    t.equal(requests(), attempt)
    clock.tick(1)
  }
})

t.test('threat 6: invented key ids during an outage harm no good token, and five minutes after its end one with a new key works', async (t) => {
  const seen: Record<string, { attempts: number, served: number, waited: number }> = {}
  for (const random of [0, 0.999]) {
    for (const outage of [40, 100, 601, 2000]) {
      let answer = keysOf(jwkOf(a))
      let isDown = false
      const { set, asked, clock } = atOnce(() => {
        if (isDown) throw new TypeError('fetch failed')
        return answer
      }, { random: () => random })
      /** A second in which invented key ids are sent; whether tokens with this key id are verified in it. */
      const isFound = async (keyId: string): Promise<boolean> => {
        clock.tick(1)
        for (const invented of ['x', 'y']) await outcome(() => set.find(`${invented}-${clock()}`))
        return Array.isArray(await outcome(() => set.find(keyId)))
      }
      await set.warm()
      clock.tick(60)
      isDown = true
      let served = 0
      while (served < outage && await isFound('k1')) served++
      const attempts = asked.length - 1
      isDown = false
      answer = keysOf(jwkOf(a), jwkOf(b, { kid: 'k2' }))
      let waited = 0
      while (waited < 1000 && !await isFound('k2')) waited++
      seen[`${outage} s, jitter ${random}`] = { attempts, served, waited }
    }
  }
  t.comment(JSON.stringify(seen))
  t.strictSame(Object.values(seen).map(({ served }) => served), [40, 100, 601, 2000, 40, 100, 601, 2000], 'known keys serve')
  t.strictSame(Object.entries(seen).filter(([, { waited }]) => waited > 300), [])
  t.strictSame(Object.values(seen).map(({ attempts }) => attempts), [2, 3, 5, 11, 2, 2, 5, 9])
})

t.test('a clock that is set back does not stop the set from being read', async (t) => {
  const { answer, pems, requests, clock } = await served(t)
  answer(keysOf(jwkOf(a)))
  await pems('k1')
  clock.tick(-86_400)
  answer(keysOf(jwkOf(b)))
  t.strictSame(await pems('k1'), [pemOf(b)])
  t.equal(requests(), 2)
})

t.test('where the clock gives no number no key is good, nothing is asked, and it recovers', async (t) => {
  const now = start
  let time: unknown = now
  const { fetch, asked } = scripted(() => keysOf(jwkOf(a)))
  const make = (): KeySource => createKeySet({ name: 'main', issuer: 'https://issuer.example.com', location: { from: 'jwks', url: 'https://issuer.example.com/keys' }, algorithms: ['RS256'], times }, { clock: () => time as number, fetch, random: () => 0 })
  for (const bad of [NaN, undefined, {}, 'now']) {
    time = now
    const set = make()
    const [key] = await set.find('k1') as [VerificationKey]
    const before = asked.length
    time = bad
    t.equal(await set.confirm(key, bad as number), false)
    for (const keyId of ['k1', 'k2']) t.match(await Promise.resolve().then(() => set.find(keyId)).catch((error: unknown) => error), { code: 'AUTH_KEY_SET_UNAVAILABLE', retryAfter: 1 })
    t.equal(set.doubt('k1', []), null)
    const fresh = make()
    t.equal(await outcome(() => fresh.warm()), unreachable)
    t.equal(asked.length, before)
    time = now
    t.equal(set.confirm(key, now), true)
    t.equal((await fresh.find('k1')).length, 1)
    t.equal(asked.length, before + 1)
  }
  t.equal(await createFixedKey({ keyId: '', pem: '', algorithms: ['RS256'], live: true }).confirm({} as never, NaN), false)
})

t.test('a clock that fails while the set is read does not make the set young', async (t) => {
  let time = start
  const { fetch, asked } = scripted(() => {
    time = NaN
    return keysOf(jwkOf(a))
  })
  const set = createKeySet({ name: 'main', issuer: 'https://issuer.example.com', location: { from: 'jwks', url: 'https://issuer.example.com/keys' }, algorithms: ['RS256'], times }, { clock: () => time, fetch, random: () => 0 })
  t.equal(await outcome(() => set.find('k1')), unreachable)
  time = start + 30_000
  t.equal(await outcome(() => set.find('k1')), unreachable)
  t.equal(asked.length, 2)
})

t.test('a clock that is set back does not make keys serve longer while the issuer fails', async (t) => {
  const { answer, pems, clock } = await served(t)
  answer(keysOf(jwkOf(a)))
  await pems('k1')
  answer((response: ServerResponse) => { response.destroy() })
  clock.tick(-4199)
  t.strictSame(await pems('k1'), [pemOf(a)])
  clock.tick(-1)
  t.equal(await pems('k1'), unreachable)
})

t.test('what is not a key set with a key in it is a failure, and nothing else is believed for it', async (t) => {
  const answers: Record<string, unknown> = {
    'an empty set': { keys: [] },
    'a set of unusable keys': keysOf(null, {}),
    'no keys': {},
    'keys that are no array': { keys: { 0: jwkOf(a), length: 1 } },
    'an array': [jwkOf(a)],
    null: 'null',
    nothing: '',
    HTML: '<!doctype html><title>Sign in</title>',
    'half an answer': JSON.stringify(keysOf(jwkOf(a))).slice(0, -2),
    'a status of 404': (response: ServerResponse) => { response.writeHead(404).end(JSON.stringify(keysOf(jwkOf(a)))) },
    'a status of 201': (response: ServerResponse) => { response.writeHead(201).end(JSON.stringify(keysOf(jwkOf(a)))) },
    'a status of 204': (response: ServerResponse) => { response.writeHead(204).end() }
  }
  for (const [name, value] of Object.entries(answers)) {
    const { set, answer, pems } = await served(t)
    answer(value)
    t.equal(await pems('k1'), rejected, name)
    t.equal(await outcome(() => set.warm()), rejected, name)
  }
})

t.test('a failure after a good set leaves its keys, an answer of unusable keys does not', async (t) => {
  for (const [value, expected] of [[{ keys: [] }, [pemOf(a)]], ['<html>', [pemOf(a)]], [keysOf(jwkOf(a, { use: 'enc' })), rejected]] as const) {
    const { answer, pems, clock } = await served(t)
    answer(keysOf(jwkOf(a)))
    await pems('k1')
    answer(value)
    clock.tick(600)
    t.strictSame(await pems('k1'), expected, JSON.stringify(value))
  }
})

t.test('a redirect is not followed', async (t) => {
  let led = 0
  const elsewhere = await listen(t, (_, response) => {
    led++
    response.end(JSON.stringify(keysOf(jwkOf(a))))
  })
  for (const status of [301, 302, 303, 307, 308]) {
    const { answer, pems } = await served(t)
    answer((response: ServerResponse, url: string) => {
      if (url !== path) return response.end(JSON.stringify(keysOf(jwkOf(a))))
      response.writeHead(status, { location: status === 301 ? '/elsewhere' : elsewhere.url }).end()
    })
    t.equal(await pems('k1'), rejected, String(status))
  }
  t.equal(led, 0)
})

t.test('a body of more than 1 MB is not read to its end, whatever its form', async (t) => {
  let written = 0
  const { answer, pems } = await served(t)
  answer((response: ServerResponse) => {
    const chunk = Buffer.alloc(65_536, ' ')
    const pump = (): void => {
      while (written < 100 * 1024 * 1024 && !response.destroyed) {
        written += chunk.length
        if (response.write(chunk)) continue
        response.once('drain', pump)
        return
      }
      response.end()
    }
    pump()
  })
  t.equal(await pems('k1'), rejected)
  t.ok(written < 20 * 1024 * 1024, `${written} bytes were written`)

  const bomb = await served(t)
  bomb.answer((response: ServerResponse) => { response.writeHead(200, { 'content-encoding': 'gzip' }).end(gzipSync(Buffer.alloc(50 * 1024 * 1024, ' '))) })
  t.equal(await bomb.pems('k1'), rejected, 'compressed')

  const large = await served(t)
  large.answer({ keys: [jwkOf(a)], padding: 'x'.repeat(1_000_000) })
  t.strictSame(await large.pems('k1'), [pemOf(a)], 'just under it is read')
})

t.test('an issuer that hangs, before or inside its body, fails at the time limit for all who wait', async (t) => {
  for (const hang of [() => {}, (response: ServerResponse) => { response.write('{"keys":[') }]) {
    const { answer, pems, requests } = await served(t, { times: { timeLimit: 0.05 } })
    answer(hang)
    const found = await Promise.all([pems('k1'), pems('k1'), pems('k2')])
    t.strictSame(found, Array(3).fill('AUTH_KEY_SET_UNAVAILABLE time-limit'))
    t.equal(requests(), 1)
  }
})

t.test('a fetch that does not listen to its signal is bounded all the same, and its late answer is not believed', async (t) => {
  // The time limit keeps no process alive, and here there is no socket that does.
  const alive = setInterval(() => {}, 1000)
  t.teardown(() => { clearInterval(alive) })
  const clock = standingClock()
  let answer: (response: Response) => void = () => {}
  const set = createKeySet({ name: 'main', issuer: 'https://issuer.example.com', location: { from: 'jwks', url: 'https://issuer.example.com/keys' }, algorithms: ['RS256'], times: { ...times, timeLimit: 0.01 } },
    { clock, random: () => 0, fetch: () => new Promise((resolve) => { answer = resolve }) })
  t.equal(await outcome(() => set.find('k1')), 'AUTH_KEY_SET_UNAVAILABLE time-limit')
  answer(new Response(JSON.stringify(keysOf(jwkOf(a)))))
  await new Promise(setImmediate)
  t.equal(await outcome(() => set.find('k1')), 'AUTH_KEY_SET_UNAVAILABLE time-limit')
})

t.test('a doubted key is asked for once a cooldown, and only what is new under its id is answered', async (t) => {
  const { set, answer, requests, clock } = await served(t)
  answer(keysOf(jwkOf(a)))
  const tried = await set.find('k1')
  t.equal(set.doubt('k1', tried), null, 'in the cooldown')
  clock.tick(30)
  t.strictSame(await set.doubt('k1', tried), [], 'nothing new')
  t.equal(requests(), 2)
  t.equal(set.doubt('k1', tried), null)
  answer(keysOf(jwkOf(b), jwkOf(a)))
  clock.tick(30)
  t.strictSame((await set.doubt('k1', tried))?.map(({ pem }) => pem), [pemOf(b)])
  answer('x')
  clock.tick(30)
  t.strictSame(await set.doubt('k1', await set.find('k1')), [], 'a failure answers nothing')
  t.equal(requests(), 4)
})

t.test('those who doubt a key at one time wait for one answer; while the issuer fails nobody waits', async (t) => {
  let next: unknown = keysOf(jwkOf(a))
  const { set, asked, clock } = atOnce(() => next)
  const tried = await set.find('k1')
  next = keysOf(jwkOf(b, { kid: 'k2' }))
  clock.tick(30)
  const [one, other] = [set.doubt('k1', tried), set.doubt('k1', tried)]
  t.strictSame([await one, await other], [[], []], 'its id is gone')
  t.equal(asked.length, 2)
  next = 'x'
  clock.tick(30)
  t.strictSame(await set.doubt('k2', []), await set.find('k2'))
  t.equal(asked.length, 3)
  clock.tick(400)
  const first = set.doubt('k2', [])
  t.ok(first instanceof Promise, 'behind the cooldown it is asked for again')
  t.equal(set.doubt('k2', []), null, 'and the next does not wait for it')
  await first
  t.equal(asked.length, 4)
})

t.test('warm reads the set once, and says when it cannot', async (t) => {
  const { set, answer, requests, clock } = await served(t)
  answer('x')
  t.equal(await outcome(() => set.warm()), rejected)
  t.equal(await outcome(() => set.warm()), rejected)
  t.equal(requests(), 1)
  answer(keysOf(jwkOf(a)))
  clock.tick(30)
  await Promise.all([set.warm(), set.warm()])
  await set.warm()
  t.equal(requests(), 2)
})

t.test('close ends what is under way, and nothing is asked afterwards', async (t) => {
  const { set, answer, pems, requests } = await served(t)
  answer(() => {})
  const waiting = pems('k1')
  await until(() => requests() === 1)
  set.close()
  t.equal(await waiting, unreachable)
  t.equal(await pems('k1'), unreachable)
  t.equal(await outcome(() => set.warm()), unreachable)
  t.equal(requests(), 1)
})

/** An issuer with discovery, whose keys are at `address`; the old addresses go on with what they had. */
async function discovered (t: Parameters<typeof served>[0]) {
  const issuer = await served(t, { discovery: true })
  const sets = new Map<string, Json>([['/keys', keysOf(jwkOf(a))]])
  const asked: string[] = []
  let address = '/keys'
  issuer.answer((response: ServerResponse, requested: string) => {
    asked.push(requested)
    if (requested === '/.well-known/openid-configuration') response.end(JSON.stringify({ issuer: issuer.url, jwks_uri: issuer.url + address }))
    else if (sets.has(requested)) response.end(JSON.stringify(sets.get(requested)))
    else response.writeHead(404).end()
  })
  return { ...issuer, asked, sets, moveTo (next: string) { address = next } }
}

t.test('discovery reads the address of the keys at each reading of the set', async (t) => {
  const { pems, asked, clock, moveTo } = await discovered(t)
  t.strictSame(await pems('k1'), [pemOf(a)])
  clock.tick(30)
  t.equal(await pems('k2'), unknown)
  t.strictSame(asked, ['/.well-known/openid-configuration', '/keys', '/.well-known/openid-configuration', '/keys'])
  moveTo('/nowhere')
  clock.tick(30)
  t.equal(await pems('k2'), rejected)
  moveTo('/keys')
  clock.tick(30)
  t.equal(await pems('k2'), unknown)
  t.strictSame(asked.slice(4), ['/.well-known/openid-configuration', '/nowhere', '/.well-known/openid-configuration', '/keys'])
})

t.test('keys that moved are found by the first token with a new one, while the old address goes on', async (t) => {
  const { pems, asked, clock, sets, moveTo } = await discovered(t)
  t.strictSame(await pems('k1'), [pemOf(a)])
  sets.set('/moved', keysOf(jwkOf(a), jwkOf(b, { kid: 'k2' })))
  moveTo('/moved')
  clock.tick(29)
  t.equal(await pems('k2'), unknown, 'in the cooldown')
  t.equal(asked.length, 2)
  clock.tick(1)
  t.strictSame(await pems('k2'), [pemOf(b)])
  t.equal(asked.length, 4, 'one attempt is both documents')
})

t.test('a key that is gone from the new address is refused once the set is older than maxAge, while the old address goes on with it', async (t) => {
  const { set, pems, clock, sets, moveTo } = await discovered(t)
  const [key] = await set.find('k1') as [VerificationKey]
  sets.set('/moved', keysOf(jwkOf(b, { kid: 'k2' })))
  moveTo('/moved')
  clock.tick(600)
  t.equal(await set.confirm(key, clock()), false)
  t.equal(await pems('k1'), unknown)
})

t.test('while the OpenID configuration cannot be read, known keys serve until staleFor, and no longer', async (t) => {
  const { pems, clock, answer } = await discovered(t)
  t.strictSame(await pems('k1'), [pemOf(a)])
  answer((response: ServerResponse, requested: string) => {
    if (requested === '/keys') response.end(JSON.stringify(keysOf(jwkOf(a))))
    else response.writeHead(500).end()
  })
  clock.tick(4199)
  t.strictSame(await pems('k1'), [pemOf(a)])
  clock.tick(1)
  t.equal(await pems('k1'), rejected)
})

t.test('a discovery document of another issuer, or one that leads away from the issuer, is refused', async (t) => {
  let led = 0
  const elsewhere = await listen(t, (_, response) => {
    led++
    response.end(JSON.stringify(keysOf(jwkOf(a))))
  })
  const changes: Array<Json | 'in a list' | 'longer than an address may be'> = [{ issuer: 'https://other.example' }, { issuer: undefined }, { jwks_uri: undefined }, { jwks_uri: 7 }, { jwks_uri: '/keys' }, 'in a list', { jwks_uri: elsewhere.url }, { jwks_uri: 'file:///etc/passwd' }, { jwks_uri: 'http://10.0.0.1/keys' }, 'longer than an address may be']
  for (const change of changes) {
    const { answer, pems, url } = await served(t, { discovery: true })
    answer((response: ServerResponse, requested: string) => {
      response.end(JSON.stringify(requested.startsWith('/.well-known') ? { issuer: url, jwks_uri: `${url}/keys`, ...change === 'in a list' ? { jwks_uri: [`${url}/keys`] } : typeof change === 'string' ? { jwks_uri: `${url}/${'x'.repeat(2048)}` } : change } : keysOf(jwkOf(a))))
    })
    t.equal(await pems('k1'), rejected, JSON.stringify(change))
  }
  t.equal(led, 0)
  // Of such an issuer no address has an origin that may be asked, and two of them are not the same one.
  const { fetch, asked } = scripted(() => ({ issuer: 'http://issuer.example.com', jwks_uri: 'file:///etc/passwd' }))
  const set = createKeySet({ name: 'main', issuer: 'http://issuer.example.com', location: { from: 'discovery', url: 'https://issuer.example.com/document' }, algorithms: ['RS256'], times }, { clock: standingClock(), fetch, random: () => 0 })
  t.equal(await outcome(() => set.find('k1')), rejected)
  t.strictSame(asked, ['https://issuer.example.com/document'])
})

t.test('the address of the keys is written as a URL, whatever the issuer wrote', async (t) => {
  const { answer, set, url } = await served(t, { discovery: true })
  answer((response: ServerResponse, requested: string) => {
    if (requested.startsWith('/.well-known')) response.end(JSON.stringify({ issuer: url, jwks_uri: `${url}/\u001b[2J\n\u202ekeys"\ud800` }))
    else response.writeHead(404).end()
  })
  await t.rejects(set.warm(), { cause: { message: `${url}/%1B[2J%E2%80%AEkeys%22%EF%BF%BD answered 404` } })
})

t.test('no rejection is left to nobody: not in the background, not of a doubted key, not of a work that was given up', async (t) => {
  const unhandled: unknown[] = []
  const listener = (reason: unknown): void => { unhandled.push(reason) }
  process.on('unhandledRejection', listener)
  t.teardown(() => { process.off('unhandledRejection', listener) })
  const alive = setInterval(() => {}, 1000)
  t.teardown(() => { clearInterval(alive) })
  const fault = new Error('no answer')
  const failing = (chunks: number): Response => new Response(new ReadableStream({ pull (controller) { if (chunks-- > 0) controller.enqueue(Buffer.from('{"keys":[')); else controller.error(fault) } }))
  const rejections: Record<string, () => unknown> = {
    'fetch rejects': async () => { throw fault },
    'fetch throws': () => { throw fault },
    'fetch answers nothing': () => undefined,
    'the body fails at once': () => failing(0),
    'the body fails half-way': () => failing(1),
    'the body is locked': () => { const response = new Response('{}'); response.body?.getReader(); return response },
    'the status is another, and its body cannot be canceled': () => { const response = new Response('x', { status: 500 }); response.body?.getReader(); return response },
    'fetch rejects after the time limit': async () => { await new Promise((resolve) => setTimeout(resolve, 60)); throw fault }
  }
  for (const [name, answer] of Object.entries(rejections)) {
    let good = true
    const clock = standingClock()
    const make = (): KeySource => createKeySet({ name: 'main', issuer: 'https://issuer.example.com', location: { from: 'jwks', url: 'https://issuer.example.com/keys' }, algorithms: ['RS256'], times: { ...times, timeLimit: 0.02 } },
      { clock, random: () => 0, fetch: (async () => good ? Response.json(keysOf(jwkOf(a))) : await answer()) as typeof fetch })
    const set = make()
    await set.warm()
    good = false
    clock.tick(450)
    t.notOk(set.find('k1') instanceof Promise, `${name}: in the background`)
    await new Promise((resolve) => setTimeout(resolve, 30))
    clock.tick(60)
    t.strictSame(await set.doubt('k1', []), await set.find('k1'), `${name}: a doubted key`)
    t.match(await outcome(() => make().warm()), /^AUTH_KEY_SET_UNAVAILABLE/, `${name}: warm`)
    const closed = make()
    const waiting = outcome(() => closed.find('k1'))
    closed.close()
    t.match(await waiting, /^AUTH_KEY_SET_UNAVAILABLE/, `${name}: closed`)
    clock.tick(60)
    t.notOk(set.find('k1') instanceof Promise, `${name}: closed in the background`)
    set.close()
  }
  await new Promise((resolve) => setTimeout(resolve, 100))
  t.strictSame(unhandled, [])
})

t.test('a fault while a set is taken over is a failed attempt, and ends nothing', async (t) => {
  const unhandled: unknown[] = []
  const listener = (reason: unknown): void => { unhandled.push(reason) }
  process.on('unhandledRejection', listener)
  t.teardown(() => { process.off('unhandledRejection', listener) })
  let faulty = false
  const { set, clock } = atOnce(() => keysOf(jwkOf(a)), {
    random: () => {
      if (!faulty) return 0
      faulty = false
      throw new Error('no randomness')
    }
  })
  await set.warm()
  faulty = true
  clock.tick(450)
  t.notOk(set.find('k1') instanceof Promise)
  await until(() => !faulty)
  await new Promise(setImmediate)
  t.strictSame(unhandled, [])
  t.equal((await set.find('k1')).length, 1)
})

t.test('close ends the timer of an attempt at once, also where the fetch does not listen to its signal', async (t) => {
  const { mock } = await import('node:test')
  const started = mock.method(globalThis, 'setTimeout')
  const ended = mock.method(globalThis, 'clearTimeout')
  t.teardown(() => { mock.restoreAll() })
  let aborted = 0
  const set = createKeySet({ name: 'main', issuer: 'https://issuer.example.com', location: { from: 'jwks', url: 'https://issuer.example.com/keys' }, algorithms: ['RS256'], times },
    { clock: standingClock(), random: () => 0, fetch: (_, init) => new Promise(() => { init?.signal?.addEventListener('abort', () => { aborted++ }) }) })
  const waiting = outcome(() => set.find('k1'))
  const timers = started.mock.calls.filter(({ arguments: [, milliseconds] }) => milliseconds === 5000).map(({ result }) => result)
  t.equal(timers.length, 1)
  set.close()
  t.ok(ended.mock.calls.some(({ arguments: [timer] }) => timer === timers[0]))
  t.equal(await waiting, unreachable)
  t.equal(aborted, 1)
})

t.test('a body that is given up is canceled, whether or not it listens to its signal', async (t) => {
  const alive = setInterval(() => {}, 1000)
  t.teardown(() => { clearInterval(alive) })
  for (const cancel of [() => {}, async () => { throw new Error('not canceled') }, () => { throw new Error('not canceled') }]) {
    for (const late of [false, true]) {
      let canceled = 0
      const body = (): Response => new Response(new ReadableStream({ cancel () { canceled++; return cancel() } }))
      let respond: () => void = () => {}
      const set = createKeySet({ name: 'main', issuer: 'https://issuer.example.com', location: { from: 'jwks', url: 'https://issuer.example.com/keys' }, algorithms: ['RS256'], times: { ...times, timeLimit: 0.01 } },
        { clock: standingClock(), random: () => 0, fetch: () => late ? new Promise((resolve) => { respond = () => { resolve(body()) } }) : Promise.resolve(body()) })
      t.equal(await outcome(() => set.find('k1')), 'AUTH_KEY_SET_UNAVAILABLE time-limit')
      respond()
      await until(() => canceled === 1)
    }
  }
  for (const [name, response] of Object.entries({
    'a status': (cancel: () => unknown) => new Response(new ReadableStream({ cancel () { return cancel() as never } }), { status: 500 }),
    'a size': (cancel: () => unknown) => new Response(new ReadableStream({ pull (controller) { controller.enqueue(new Uint8Array(600_000)) }, cancel () { return cancel() as never } }))
  })) {
    let canceled = 0
    const { set } = atOnce(() => response(async () => { canceled++; throw new Error('not canceled') }))
    t.equal(await outcome(() => set.find('k1')), rejected, name)
    t.equal(canceled, 1, name)
  }
})

t.test('only https, or http on this machine, is asked', async (t) => {
  const { fetch } = scripted(() => keysOf(jwkOf(a)))
  const create = (url: string): KeySource => createKeySet({ name: 'main', issuer: 'x', location: { from: 'jwks', url }, algorithms: ['RS256'], times }, { clock: Date.now, fetch, random: Math.random })
  for (const url of ['https://a.example/keys', 'http://localhost:1/keys', 'http://127.0.0.1:1/', 'http://127.1.2.3/', 'http://127.0.0.12/', 'http://[::1]:1/']) t.doesNotThrow(() => create(url), url)
  for (const url of ['http://a.example/keys', 'http://127.0.0.1.evil.example/', 'http://localhost.evil.example/', 'http://10.0.0.1/', 'ftp://a.example/', 'file:///keys', 'data:application/json,{}', '/keys', '', 'https://user:password@a.example/', 'https://user@a.example/', 'https://:password@a.example/', 'ftp://localhost/', 'http://not-localhost/']) {
    t.throws(() => create(url), { code: 'AUTH_CONFIG_OPTION' }, url)
  }
})

t.test('the channel tells what happened to the set, and no key and no token', async (t) => {
  const told: KeySetEvent[] = []
  const listener = (event: unknown): void => { told.push(event as KeySetEvent) }
  diagnostics.subscribe('causeflow-auth:key-set', listener)
  t.teardown(() => { diagnostics.unsubscribe('causeflow-auth:key-set', listener) })
  const { answer, pems, clock } = await served(t)
  answer(keysOf(jwkOf(a), null, jwkOf(b, { kid: 'enc', use: 'enc' })))
  await pems('k1')
  answer(keysOf(jwkOf(b, { kid: 'k2' })))
  clock.tick(600)
  await pems('k2')
  answer('7')
  clock.tick(600)
  await pems('k2')
  await pems('k2')
  t.equal(told.length, 5, 'that it is stale is told at the first request after the failure')
  for (let request = 0; request < 4; request++) await pems('k2')
  t.match(told, [
    { issuer: 'main', event: 'fetched', keyIds: ['k1'], refused: [{ keyId: null, why: 'it is not an object' }, { keyId: 'enc', why: 'it is not for signatures' }] },
    { issuer: 'main', event: 'fetched', keyIds: ['k2'], refused: [] },
    { issuer: 'main', event: 'rotated', added: ['k2'], removed: ['k1'] },
    { issuer: 'main', event: 'failed', reason: 'rejected', cause: { message: /is not a JSON object$/ }, failures: 1, retryIn: 30 },
    { issuer: 'main', event: 'stale', age: 600 }
  ])
  t.equal(told.length, 5)
  t.notOk(/BEGIN|"n"/.test(JSON.stringify(told)))
})

t.test('the channel tells of a rotation only what came and went, of an unchanged set no rotation, and of no set nothing stale', async (t) => {
  const told: KeySetEvent[] = []
  const listener = (event: unknown): void => { told.push(event as KeySetEvent) }
  diagnostics.subscribe('causeflow-auth:key-set', listener)
  t.teardown(() => { diagnostics.unsubscribe('causeflow-auth:key-set', listener) })
  let next: unknown = 'x'
  const { set, clock } = atOnce(() => next)
  for (let request = 0; request < 3; request++) t.equal(await outcome(() => set.find('k1')), rejected)
  t.strictSame(told.splice(0).map(({ event }) => event), ['failed'])
  for (const keys of [[jwkOf(a)], [jwkOf(a)], [jwkOf(a), jwkOf(b, { kid: 'k2' })], [jwkOf(b, { kid: 'k2' })]]) {
    next = keysOf(...keys)
    clock.tick(600)
    await outcome(() => set.find('k2'))
  }
  t.strictSame(told.filter(({ event }) => event === 'rotated'), [
    { issuer: 'main', event: 'rotated', added: ['k2'], removed: [] },
    { issuer: 'main', event: 'rotated', added: [], removed: ['k1'] }
  ])
})

t.test('a refresh in the background that fails in every way leaves no rejection, and the known keys serve', async (t) => {
  const faults = watchProcess(t)
  const failures: Record<string, { answer?: () => unknown, clockFails?: boolean }> = {
    'the network': { answer: () => { throw new Error('down') } },
    'a rejection with nothing': { answer: async () => await Promise.reject() }, // eslint-disable-line prefer-promise-reject-errors -- the case
    'no JSON': { answer: () => 'no JSON' },
    'no keys': { answer: () => ({ keys: [] }) },
    'a status': { answer: () => new Response('', { status: 500 }) },
    'a body that breaks': { answer: () => new Response(new ReadableStream({ pull (controller) { controller.error(new Error('cut')) } })) },
    'the clock, when the set is adopted': { clockFails: true }
  }
  for (const [title, { answer, clockFails = false }] of Object.entries(failures)) {
    let set: () => unknown = () => ({ keys: [jwkOf(a)] })
    let fails = false
    const clock = standingClock()
    const { fetch, asked } = scripted(async () => {
      // Not in the step that asks for the key.
      await Promise.resolve()
      if (clockFails && asked.length > 1) fails = true
      return await set()
    })
    const source = createKeySet({ name: 'main', issuer: 'https://issuer.example.com', location: { from: 'jwks', url: 'https://issuer.example.com/keys' }, algorithms: ['RS256'], times }, {
      clock: () => { if (fails) throw new Error('no clock'); return clock() },
      random: () => 0,
      fetch
    })
    await source.warm()
    if (answer !== undefined) set = answer
    clock.tick(599)
    t.notOk(source.find('k1') instanceof Promise, `${title}: nobody waits`)
    await until(() => asked.length === 2)
    for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setImmediate(resolve))
    fails = false
    t.strictSame(faults, [], title)
    source.close()
  }
})
