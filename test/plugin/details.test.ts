// The log line and the event of a rejection say which part failed and what was expected. The answer does not.
import t from 'tap'
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { readdirSync, readFileSync } from 'node:fs'
import { mock } from 'node:test'
import Fastify, { type FastifyInstance, type InjectOptions } from 'fastify'
import { Type } from '@sinclair/typebox'
import { auth, causeflowAuth, createApiKey, MemoryApiKeyStore, type CauseflowAuthOptions, type ClaimMapping } from '../../lib/index.js'
import { authOptions, bearer, createLog, now, signed, token, tokenSecret, watchProcess, webhookSecret } from '../fixtures/app.js'

watchProcess(t)

const schema = Type.Object({ groups: Type.Array(Type.String()) })
const mapping = (principal: unknown): ClaimMapping => ({ schema, principal: (() => principal) as never })
const whole = { tenantId: 'ten_a', roles: [], scopes: [], email: null }
const jwt = { issuer: 'causeflow', audience: 'causeflow-api', secret: tokenSecret }
const down = async (): Promise<never> => await Promise.reject(new Error('the password is hunter2'))
const silent = async (): Promise<never> => await new Promise(() => {})
const replay = { begin: () => 'new' as const, finish: () => {}, release: () => {} }

const byToken: InjectOptions = { url: '/jwt', headers: bearer() }
const withGroups: InjectOptions = { url: '/jwt', headers: bearer({ groups: [] }) }
const byKey: InjectOptions = { url: '/key', headers: { 'x-api-key': createApiKey().key } }
const byHook: InjectOptions = { method: 'POST', url: '/hook', payload: '{}', headers: signed('{}') }

const cases: Array<[title: string, options: Partial<CauseflowAuthOptions>, request: InjectOptions, detail: RegExp]> = [
  ['a claim that is missing', { jwt: { ...jwt, claims: mapping(whole) } }, byToken, /^\/groups: required$/],
  ['a claim of another type', { jwt: { ...jwt, claims: mapping(whole) } }, { url: '/jwt', headers: bearer({ groups: [7] }) }, /^\/groups\/0: expected string$/],
  ['a mapping that is asynchronous', { jwt: { ...jwt, claims: mapping(Promise.resolve(whole)) } }, withGroups, /^the claim mapping has to be synchronous, and returned a promise$/],
  ['a mapping without a tenant', { jwt: { ...jwt, claims: mapping({ ...whole, tenantId: undefined }) } }, withGroups, /^the claim mapping returned no tenantId: a string that is not empty, or null$/],
  ['a mapping without roles', { jwt: { ...jwt, claims: mapping({ ...whole, roles: 'admin' }) } }, withGroups, /returned no roles: a list of strings$/],
  ['a mapping without scopes', { jwt: { ...jwt, claims: mapping({ ...whole, scopes: undefined }) } }, withGroups, /returned no scopes: a list of strings$/],
  ['a mapping without an e-mail address', { jwt: { ...jwt, claims: mapping({ ...whole, email: undefined }) } }, withGroups, /returned no email: a string, or null$/],
  ['a mapping that answers nothing', { jwt: { ...jwt, claims: mapping(undefined) } }, withGroups, /returned no object/],
  ['a party that is not listed', { jwt: { ...jwt, authorizedParties: ['https://app.example.com'] } }, { url: '/jwt', headers: bearer({ azp: 'https://evil.example.com\nx' }) },
    /^azp is "https:\/\/evil\.example\.com\\nx", and must be one of \["https:\/\/app\.example\.com"\]$/],
  ['another audience', {}, { url: '/jwt', headers: bearer({ aud: 'x'.repeat(2000) }) }, /^aud is "x{255}…, and must contain one of \["causeflow-api"\]$/],
  ['a token from the future', {}, { url: '/jwt', headers: bearer({ iat: now / 1000 + 60 }) }, /^iat is 55 s ahead of this clock and its tolerance$/],
  ['an expiry that is no number', {}, { url: '/jwt', headers: bearer({ exp: 'soon' }) }, /^exp: expected seconds since the epoch$/],
  ['a store that fails', { apiKey: { store: Object.assign(new MemoryApiKeyStore(), { findByDigest: down }) } }, byKey, /^the API key store: it failed$/],
  ['a store that is silent', { apiKey: { store: Object.assign(new MemoryApiKeyStore(), { findByDigest: silent }) } }, byKey, /^the API key store: no answer within 2000 ms$/],
  ['isRevoked that fails', { jwt: { ...jwt, isRevoked: down } }, byToken, /^isRevoked: it failed$/],
  ['isRevoked that is silent', { jwt: { ...jwt, isRevoked: silent } }, byToken, /^isRevoked: no answer within 2000 ms$/],
  ['isRevoked that answers nothing', { jwt: { ...jwt, isRevoked: (() => undefined) as never } }, byToken, /^isRevoked: answered neither true nor false$/],
  ['a secret that cannot be found', { webhook: { name: 'clerk', secret: down } }, byHook, /^the secret of webhook 'clerk': it failed$/],
  ['a secret that does not come', { webhook: { name: 'clerk', secret: silent } }, byHook, /^the secret of webhook 'clerk': no answer within 2000 ms$/],
  ['a replay store that fails', { webhook: { name: 'clerk', secret: webhookSecret, replay: { ...replay, begin: down } } }, byHook, /^the replay store of webhook 'clerk': it failed$/],
  ['a replay store that is silent', { webhook: { name: 'clerk', secret: webhookSecret, replay: { ...replay, begin: silent } } }, byHook, /^the replay store of webhook 'clerk': no answer within 2000 ms$/],
  ['an issuer that cannot be reached', { jwt: { issuer: 'http://127.0.0.1:1', audience: false, warmup: false } }, { url: '/jwt', headers: { authorization: `Bearer ${token({ iss: 'http://127.0.0.1:1' }, tokenSecret, { alg: 'RS256', kid: 'k' })}` } },
    /^the key set of the issuer http:\/\/127\.0\.0\.1:1 cannot be read$/],
  ['a check that is silent', {}, { url: '/check', headers: bearer() }, /^the check 'oneself': no answer within 2000 ms$/]
]

function routes (app: FastifyInstance, { webhook }: Partial<CauseflowAuthOptions>): void {
  const name = (webhook as { name?: string } | undefined)?.name
  app.get('/jwt', { config: { auth: auth.jwt() } }, async () => 'in')
  app.get('/key', { config: { auth: auth.apiKey() } }, async () => 'in')
  app.get('/check', { config: { auth: auth.jwt().check('oneself', silent as never) } }, async () => 'in')
  app.post('/hook', { config: { auth: name === undefined ? auth.webhook() : auth.webhook(name) } }, async () => 'in')
}

for (const [title, options, request, detail] of cases) {
  t.test(`the log and the event say what failed, and the answer does not: ${title}`, async (t) => {
    const log = createLog()
    const app = Fastify({ logger: log.logger })
    t.teardown(() => app.close())
    await app.register(causeflowAuth, authOptions(options))
    routes(app, options)
    await app.ready()
    const events: Array<{ detail: string | null }> = []
    const listener = (event: unknown): void => { events.push(event as { detail: string | null }) }
    subscribe('causeflow-auth:decision', listener)
    t.teardown(() => { unsubscribe('causeflow-auth:decision', listener) })
    const isSilent = title.endsWith('silent') || title.endsWith('not come')
    if (isSilent) mock.timers.enable({ apis: ['setTimeout'] })
    t.teardown(() => { mock.timers.reset() })
    const answering = app.inject(request)
    const asked = answering.then(() => true)
    const progress = { isDone: !isSilent }
    asked.then(() => { progress.isDone = true }, () => { progress.isDone = true })
    for (let turns = 0; !progress.isDone && turns < 1000; turns++) {
      await new Promise((resolve) => setImmediate(resolve))
      mock.timers.tick(100)
    }
    const answer = await answering
    t.ok(answer.statusCode === 401 || answer.statusCode === 503, `${answer.statusCode}`)
    const line = log.lines.find(({ code }) => code !== undefined)
    t.match(line, { detail })
    t.match(events, [{ detail }])
    for (const word of ['detail', String(line?.detail)]) t.notOk(answer.body.includes(word))
    if (typeof line?.detail === 'string') t.notMatch(line.detail, 'hunter2')
  })
}

t.test('every 503 that is made in lib names the part that failed', async (t) => {
  const lib = new URL('../../lib/', import.meta.url)
  const places = readdirSync(lib, { recursive: true, encoding: 'utf8' }).filter((file) => file.endsWith('.ts')).flatMap((file) => {
    const source = readFileSync(new URL(file, lib), 'utf8')
    return [...source.matchAll(/new AuthError\('AUTH_(?:STORE|KEY_SET)_UNAVAILABLE'[^]*?\}\)$/gm)].map(([text]) => ({ file, text }))
  })
  t.ok(places.length > 8, `${places.length}`)
  t.strictSame(places.filter(({ text }) => !text.includes('detail')), [])
})
