/** An issuer that is down, slow, lying, or changes its keys, while tokens of all sorts are sent to a process of its own. */
import t from 'tap'
import { createHmac, generateKeyPairSync, randomBytes, sign, type KeyObject } from 'node:crypto'
import { once } from 'node:events'
import { createServer, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { startServer } from './fork.js'
import { Scanner } from './scanner.js'
import { long, scaled } from './scale.js'
import { byToken, createClient, pause, startTraffic, timeUntil, type Kind } from './traffic.js'
import { watchProcess } from '../fixtures/process-watch.js'

watchProcess(t)

t.setTimeout(scaled(150_000, 1_800_000))

interface SigningKey { kid: string, publicKey: KeyObject, privateKey: KeyObject }
let made = 0
const newKey = (kid = `key-${++made}`): SigningKey => ({ kid, ...generateKeyPairSync('rsa', { modulusLength: 2048 }) })
const jwkOf = ({ kid, publicKey }: SigningKey): object => ({ ...publicKey.export({ format: 'jwk' }), kid, use: 'sig', alg: 'RS256' })
const encode = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url')

t.test('whatever the issuer does, nobody comes in without a token that it signed, known keys serve, and all is well when it is', async (t) => {
  const [known, removed, attackers] = [newKey(), newKey(), newKey('key-1')]
  let published = [known, removed]
  let answer: (response: ServerResponse) => void = upright
  let asked = 0
  const server = createServer((_request, response) => {
    asked++
    answer(response)
  })
  // Where a lying issuer sends readers to: the attacker's keys, under the right id.
  let strayed = 0
  const elsewhere = createServer((_request, response) => {
    strayed++
    json(response, { keys: [jwkOf(attackers)] })
  })
  for (const one of [server, elsewhere]) {
    one.listen(0, '127.0.0.1')
    await once(one, 'listening')
    t.teardown(() => { one.close(); one.closeAllConnections() })
  }
  const url = (one: typeof server): string => `http://127.0.0.1:${(one.address() as AddressInfo).port}`
  const issuer = url(server)

  function json (response: ServerResponse, body: unknown): void {
    response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(body))
  }
  function upright (response: ServerResponse): void {
    json(response, { keys: published.map(jwkOf) })
  }
  const now = (): number => Math.floor(Date.now() / 1000)
  const claims = (more: object = {}): object => ({ iss: issuer, aud: 'https://api.causeflow.ai', sub: `usr_${randomBytes(6).toString('hex')}`, tenant_id: 'ten_A', exp: now() + 7_200, ...more })
  function tokenBy ({ kid, privateKey }: SigningKey, more?: object, header: object = {}): string {
    const signed = `${encode({ alg: 'RS256', typ: 'JWT', kid, ...header })}.${encode(claims(more))}`
    return `${signed}.${sign('sha256', Buffer.from(signed), privateKey).toString('base64url')}`
  }
  function symmetric (secret: string | Buffer): string {
    const signed = `${encode({ alg: 'HS256', typ: 'JWT', kid: known.kid })}.${encode(claims())}`
    return `${signed}.${createHmac('sha256', secret).update(signed).digest('base64url')}`
  }
  // Signed beforehand: what is measured is the server and not this process.
  const several = (make: () => string): (() => string) => {
    const list = Array.from({ length: 40 }, make)
    let next = 0
    return () => list[next++ % list.length]!
  }
  const [good, gone, forged, expired] = [several(() => tokenBy(known)), several(() => tokenBy(removed)), several(() => tokenBy(attackers)), several(() => tokenBy(known, { exp: now() - 60 }))]
  const bound = several(() => tokenBy(known, { cnf: { jkt: 'thumbprint' } }))
  const confused = several(() => symmetric(known.publicKey.export({ type: 'spki', format: 'pem' }) as string))
  const oct = symmetric('a symmetric key that the issuer hands out')
  const unsigned = several(() => `${tokenBy(known, {}, { alg: 'none' }).split('.').slice(0, 2).join('.')}.AA`)

  const config = { maxAge: 0.5, cooldown: 0.1, timeLimit: 0.3, staleFor: 1.5 }
  const target = await startServer(t, { jwt: { issuer, keySet: config }, postgres: null, redis: null, loud: true })
  const client = createClient(t)
  const ask = async (token: string): Promise<number> => (await client(target.port, byToken(token))).status
  const scanner = new Scanner().addToken('a good token', good()).addToken('a forged token', forged()).addToken('an expired token', expired())

  const unmeant = (allowed: readonly number[]) => ({ status }: { status: number }) => allowed.includes(status) ? null : 'it was not meant'
  const fresh = newKey()
  let unknown = several(() => tokenBy(fresh))
  const kinds: Kind[] = [
    // Never 401 for a good token: a client would throw it away. Where the issuer says that a key is gone it is.
    { name: 'known key', hostile: false, weight: 4, make: () => byToken(good()), judge: (answer) => unmeant(['an empty set', 'keys that are none'].includes(traffic.phase) ? [200, 401, 503] : [200, 503])(answer) },
    { name: 'key that nobody has published', hostile: true, weight: 1, make: () => byToken(unknown()), judge: unmeant([401, 503]) },
    { name: 'forged, under a known id', hostile: true, weight: 1, make: () => byToken(forged()), judge: unmeant([401, 503]) },
    { name: 'expired', hostile: true, weight: 1, make: () => byToken(expired()), judge: unmeant([401, 503]) },
    { name: 'bound to a key of its sender', hostile: true, weight: 1, make: () => byToken(bound()), judge: unmeant([401, 503]) },
    { name: 'unsigned or HS256', hostile: true, weight: 1, make: () => byToken([unsigned(), confused(), oct][Math.floor(Math.random() * 3)]!), judge: unmeant([401]) }
  ]
  const traffic = startTraffic(kinds, [target.port], client)
  const recovery = new Map<string, string>()
  const length = scaled(700, 20_000)

  async function phase (name: string, lie: (response: ServerResponse) => void, duration = length): Promise<void> {
    answer = lie
    traffic.phase = name
    await pause(duration)
    traffic.phase = 'well again'
    answer = upright
    // A key that was never seen before: only a set that was read anew has it.
    const next = newKey()
    published = [known, removed, next]
    const token = tokenBy(next)
    const took = await timeUntil(async () => await ask(token) === 200)
    recovery.set(name, `${Math.round(took)} ms`)
    // While it fails it is asked less and less often: at most as long as it has failed, and a quarter.
    t.ok(took < 10_000 + duration * 1.25, `${name}: well again after ${Math.round(took)} ms`)
  }

  await phase('up', upright)
  await phase('it answers 503', (response) => { response.writeHead(503).end() })
  await phase('connections are reset', (response) => { response.socket?.resetAndDestroy() })
  await phase('it never answers', () => {})
  await phase('it takes two thirds of its time limit', (response) => { setTimeout(() => upright(response), 200) })
  await phase('HTML', (response) => { response.writeHead(200, { 'content-type': 'text/html' }).end('<html>') })
  await phase('a redirect to the attacker', (response) => { response.writeHead(302, { location: `${url(elsewhere)}/.well-known/jwks.json` }).end() })
  await phase('half of an answer', (response) => { response.writeHead(200, { 'content-length': '5000' }).write('{"keys":['); setTimeout(() => response.destroy(), 20) })
  await phase('without end', (response) => {
    response.writeHead(200)
    const more = (): void => { while (!response.destroyed && response.write(Buffer.alloc(65_536, 32))); }
    response.on('drain', more)
    more()
  })
  await phase('an empty set', (response) => json(response, { keys: [] }))
  await phase('keys that are none', (response) => json(response, { keys: [null, 7, { kty: 'oct', kid: known.kid, k: Buffer.from('a symmetric key that the issuer hands out').toString('base64url'), alg: 'HS256' }, { ...attackers.privateKey.export({ format: 'jwk' }), kid: known.kid, alg: 'RS256' }] }))
  await t.test('numbers, lengths and depths of a hostile set do not stop the process, and its good keys serve', async (t) => {
    const number = (bytes: number): string => Buffer.alloc(bytes, 0xff).toString('base64url')
    const repeated = (count: number, make: (index: number) => object): object[] => Array.from({ length: count }, (_, index) => make(index))
    const p521 = generateKeyPairSync('ec', { namedCurve: 'P-521' }).publicKey.export({ format: 'jwk' })
    const hostile: Record<string, object[]> = {
      'a modulus of 100 kB': [{ ...jwkOf(attackers), kid: 'large', n: number(100_000) }],
      'a modulus of 700 kB': [{ ...jwkOf(attackers), kid: 'large', n: number(700_000) }],
      'an exponent of 100 kB': [{ ...jwkOf(attackers), kid: 'large', e: number(100_000) }],
      '90 moduli of 7 kB': repeated(90, (index) => ({ ...jwkOf(attackers), kid: `large-${index}`, n: number(7_000) })),
      '90 keys on P-521': repeated(90, (index) => ({ ...p521, kid: `slow-${index}` })),
      '100,000 members': repeated(100_000, () => ({})),
      'a kid that is an object': [{ ...jwkOf(attackers), kid: { toString: 1 } }]
    }
    const slowest = new Map<string, string>()
    for (const [name, keys] of Object.entries(hostile)) {
      traffic.phase = name
      const before = asked
      answer = (response) => json(response, { keys: [...published.map(jwkOf), ...keys] })
      let longest = 0
      const end = performance.now() + length
      const wasRead = (): boolean => asked >= before + 2
      while (performance.now() < end || !wasRead()) {
        const began = performance.now()
        t.equal(await ask(good()), 200, name)
        longest = Math.max(longest, performance.now() - began)
      }
      slowest.set(name, `${Math.round(longest)} ms`)
      t.ok(longest < 1_000, `${name}: the slowest request took ${Math.round(longest)} ms`)
    }
    answer = upright
    t.comment([...slowest].map(([name, took]) => `${name}: ${took}`).join(', '))
  })
  await phase('down for longer than keys may serve', (response) => { response.writeHead(503).end() }, 3_000)
  t.equal(traffic.counts.get('down for longer than keys may serve')?.get('known key')?.get(401), 0, 'not 401 even then')
  t.ok((traffic.counts.get('down for longer than keys may serve')?.get('known key')?.get(503) ?? 0) > 0, 'but 503')

  await t.test('keys change under load: the new one is learned at its first token, the old one ends with the next reading', async (t) => {
    const learned: number[] = []
    const ended: number[] = []
    traffic.phase = 'keys change without end'
    for (let round = 0; round < scaled(5, 60); round++) {
      const next = newKey()
      const before = published.at(-1)!
      const [old, young] = [tokenBy(before), tokenBy(next)]
      await timeUntil(async () => await ask(old) === 200)
      published = [known, removed, next]
      const began = performance.now()
      const [first, last] = await Promise.all([timeUntil(async () => await ask(young) === 200), timeUntil(async () => await ask(old) === 401)])
      learned.push(first)
      ended.push(last)
      t.ok(performance.now() - began < 20_000)
    }
    // A cooldown, and what a busy machine adds.
    t.ok(Math.max(...learned) < 5_000, `the new key was learned after at most ${Math.round(Math.max(...learned))} ms`)
    t.ok(Math.max(...ended) < 5_000, `the old key was refused after at most ${Math.round(Math.max(...ended))} ms: maxAge is ${config.maxAge * 1000}`)
    recovery.set('keys change without end', `learned ≤ ${Math.round(Math.max(...learned))} ms, ended ≤ ${Math.round(Math.max(...ended))} ms`)
  })
  t.equal(await ask(gone()), 200)
  published = [known]
  t.ok(await timeUntil(async () => await ask(gone()) === 401) < 5_000, 'a key that is taken away ends while its tokens are used')
  unknown = gone
  traffic.phase = 'a key was taken away'
  await pause(scaled(300, 5_000))

  await traffic.stop()
  t.strictSame(traffic.violations.slice(0, 5), [], 'nobody came in who may not, and every answer was meant')
  t.equal(strayed, 0, 'no redirect was followed')
  t.strictSame(scanner.scan(target.output()), [], `nothing of a token in ${Math.round(target.output().length / 1000)} kB of log`)
  t.equal(target.child.exitCode, null, 'and the process lives')
  traffic.print(t, `Faults of the issuer, ${long ? 'long' : 'CI'} mode: ${traffic.sent} requests, the issuer was asked ${asked} times (maxAge 0.5 s, cooldown 0.1 s, time limit 0.3 s, staleFor 1.5 s)`, recovery)
})
