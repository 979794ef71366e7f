// Random rules against random headers: reading a request's credentials starts nothing.
import t from 'tap'
import fc from 'fast-check'
import type { FastifyRequest } from 'fastify'
import { randomBytes } from 'node:crypto'
import { createKeyVerifier } from '../lib/api-key/verify.js'
import { MemoryApiKeyStore } from '../lib/api-key/memory-store.js'
import { createApiKeys } from '../lib/api-key/manage.js'
import { compileRule, type Offer } from '../lib/compiled-rule.js'
import { Presentation, type Verifiers } from '../lib/presentation.js'
import { parseToken } from '../lib/jwt/bearer.js'
import { auth, nodeOf, type AuthRule } from '../lib/rule.js'
import { causeflow, causeflowClaims, github } from '../lib/index.js'
import { createSignatureVerifier } from '../lib/webhook/verify.js'
import { settingsFor } from './api-key/scripted-store.js'
import { claims, encode, header, jwkOf, mint, rsa, scripted, start, verifierOf } from './jwt/fixture.js'

/** Whatever is called while this is set has been started by reading. */
let called: string[] | null = null
const spied = <A extends unknown[], R> (name: string, work: (...args: A) => R) => (...args: A): R => {
  called?.push(name)
  return work(...args)
}
/** An object all of whose methods are spied upon. */
const spiedObject = <T extends object> (name: string, object: T): T => new Proxy(object, {
  get (target, key, receiver) {
    const value: unknown = Reflect.get(target, key, receiver)
    return typeof value === 'function' ? spied(`${name}.${String(key)}`, value.bind(target) as (...args: unknown[]) => unknown) : value
  }
})

t.test('building the credentials of a request calls no clock, timer, network, store, resolver or application code', async (t) => {
  let now = start
  const clock = spied('clock', () => now)
  const pair = rsa()
  const long = { exp: start / 1000 + 86_400 }
  const set = scripted(() => ({ keys: [jwkOf(pair)] }))
  const fetch = spied('fetch', set.fetch) as typeof globalThis.fetch
  const random = spied('random', () => 0.5)
  const isRevoked = spied('isRevoked', () => false)
  const mapping = { ...causeflowClaims(), principal: spied('claims', causeflowClaims().principal) }
  const tokens = [
    await verifierOf({ isRevoked }, { clock, fetch, random }),
    await verifierOf({ name: 'other', issuer: 'other', isRevoked, claims: mapping }, { clock, fetch, random })
  ]
  const good = mint(header(), claims(long), pair.privateKey)
  const short = mint(header(), claims(), pair.privateKey)
  const rotated = mint(header({ kid: 'k1' }), claims({ ...long, jti: 'other' }), pair.privateKey)
  for (const one of [good, short, rotated]) await tokens[0]!.verify(parseToken(one))

  const store = spiedObject('store', new MemoryApiKeyStore())
  const settings = settingsFor(store)
  const timers = spiedObject('timers', { setTimeout, clearTimeout }) as never
  const tools = { clock, randomBytes: (size: number) => randomBytes(size), timers }
  const keys = createKeyVerifier(settings, tools)
  t.teardown(() => keys.close())
  const { plaintextKey } = await createApiKeys(settings, tools).create({ tenantId: 'ten_1', name: 'a key' })
  await keys.verify(plaintextKey)

  const replay = spiedObject('replay', { begin: () => 'new' as const, finish: () => {}, release: () => {} })
  const secret = spied('resolver', () => 'a secret')
  const webhooks = new Map([
    ['default', createSignatureVerifier<FastifyRequest>({ name: 'default', scheme: spiedObject('scheme', causeflow()), secret, replay }, { clock, timers })],
    ['github', createSignatureVerifier<FastifyRequest>({ name: 'github', scheme: spiedObject('scheme', github()), secret, replay }, { clock, timers })]
  ])
  const verifiers: Verifiers = { tokens, keys, keySource: { header: 'x-api-key', bearer: true, query: 'key' }, webhooks, timers }
  const offer: Offer = {
    issuers: ['default', 'other'],
    apiKeys: true,
    webhooks: [...webhooks].map(([name, { scheme }]) => ({ name, headers: scheme.headers, needsKey: false, literal: false })),
    tenant: { param: 'tenantId', required: true }
  }
  const check = spied('check', () => true)
  const rules: AuthRule[] = [
    auth.jwt(), auth.jwt('other'), auth.jwt('default', 'other').check('own', check), auth.jwt().optional(), auth.apiKey().check('own', check),
    auth.apiKey().optional(), auth.any(auth.jwt(), auth.apiKey()), auth.all(auth.jwt('default', 'other'), auth.apiKey()), auth.webhook(), auth.webhook('default', 'github'),
    auth.any(auth.jwt(), auth.webhook('github')), auth.all(auth.apiKey(), auth.webhook()), auth.all(auth.jwt().optional(), auth.webhook()), auth.public(), auth.deny()
  ]
  const compiled = rules.map((rule) => compileRule(nodeOf(rule)!, offer, { label: 'GET /', params: null }))

  const unseen = mint(header(), claims({ ...long, sub: 'usr_2' }), pair.privateKey)
  const texts = fc.oneof(
    fc.constantFrom(good, short, rotated, unseen, `${good}x`, good.slice(1), plaintextKey, `${plaintextKey}x`, 'cflo_', '', mint(header(), claims({ iss: 'other', ...long }), pair.privateKey),
      mint(header(), claims({ iss: 'nobody' }), pair.privateKey), `${encode(header())}.${encode('null')}.x`, mint({ alg: 'none' }, claims(), pair.privateKey)),
    fc.string({ maxLength: 40 })
  )
  const optional = <T> (values: fc.Arbitrary<T>): fc.Arbitrary<T | undefined> => fc.option(values, { nil: undefined })
  const requests = fc.record({
    authorization: optional(fc.tuple(fc.constantFrom('Bearer ', 'bearer  ', 'Basic ', ''), texts).map((parts) => parts.join(''))),
    repeated: fc.boolean(),
    'x-api-key': optional(fc.oneof(texts, fc.constant(`${plaintextKey}, b`), fc.array(texts, { maxLength: 2 }))),
    'x-webhook-signature': optional(texts),
    'x-hub-signature-256': optional(texts),
    key: optional(fc.oneof(texts, fc.array(texts, { maxLength: 2 })))
  })
  // The entries of the cache are of every age: valid, under a key set that has to be read again, expired.
  const ages = fc.constantFrom(0, 59_000, 66_000, 599_000, 601_000, 5_000_000, -1_000)

  const world = { Date: Date.now, performance: performance.now, setTimeout: globalThis.setTimeout, setImmediate: globalThis.setImmediate, nextTick: process.nextTick, fetch: globalThis.fetch }
  const build = (...[index, { repeated, key, ...sent }, age]: [number, Record<string, unknown>, number]): string[] => {
    now = start + age
    const headers = Object.fromEntries(Object.entries(sent).filter(([, value]) => value !== undefined))
    const rawHeaders = Object.entries(headers).flatMap(([name, value]) => Array.from({ length: repeated === true ? 2 : 1 }, () => [name, String(value)]).flat())
    const request = { headers, raw: { rawHeaders }, query: { key }, params: { tenantId: 'ten_1' } } as unknown as FastifyRequest
    called = []
    Date.now = spied('Date.now', world.Date)
    performance.now = spied('performance.now', world.performance.bind(performance))
    globalThis.setTimeout = spied('setTimeout', world.setTimeout) as typeof setTimeout
    globalThis.setImmediate = spied('setImmediate', world.setImmediate) as typeof setImmediate
    process.nextTick = spied('nextTick', world.nextTick) as typeof process.nextTick
    globalThis.fetch = spied('fetch', world.fetch)
    try {
      const presentation = new Presentation(compiled[index]!, verifiers, request)
      const members = Object.values(presentation).concat(presentation.kinds)
      if (members.some((value) => typeof (value as { then?: unknown } | null)?.then === 'function')) called.push('a promise')
      return called
    } finally {
      called = null
      Date.now = world.Date
      performance.now = world.performance
      globalThis.setTimeout = world.setTimeout
      globalThis.setImmediate = world.setImmediate
      process.nextTick = world.nextTick
      globalThis.fetch = world.fetch
    }
  }
  const seen = new Set<number>()
  fc.assert(fc.property(fc.nat({ max: rules.length - 1 }), requests, ages, (index, request, age) => {
    const started = build(index, request, age)
    seen.add(index)
    if (started.length > 0) throw new Error(`${rules[index]!.describe()}: ${started.join()}`)
  }), { numRuns: 4000 })
  t.equal(seen.size, rules.length)

  // The spies work: deciding calls what reading does not.
  called = []
  const { authorization, ...rest } = { authorization: `Bearer ${good}` }
  const read = new Presentation(compiled[0]!, verifiers, { headers: { authorization, ...rest }, raw: { rawHeaders: [] }, query: {}, params: {} } as unknown as FastifyRequest)
  t.strictSame(called, [])
  now = start
  await read.token()
  t.strictSame(called, ['clock', 'isRevoked'])
  called = null
})
