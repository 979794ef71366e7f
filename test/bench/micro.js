/** `npm run bench:micro`: CPU time of single functions, in microseconds; strings are fresh for each call, as from a socket. */
import Fastify from 'fastify'
import { createHmac, hash, verify } from 'node:crypto'
import { compileRule } from '../../dist/compiled-rule.js'
import { decide } from '../../dist/decide.js'
import { registerSignatureCheck } from '../../dist/fastify-jwt.js'
import { parseToken } from '../../dist/jwt/bearer.js'
import { Presentation } from '../../dist/presentation.js'
import { createRegistration } from '../../dist/registration.js'
import { auth, nodeOf } from '../../dist/rule.js'
import { AuthError, MemoryApiKeyStore, signWebhook, verifyWebhook } from '../../dist/index.js'
import { audience, createIssuer, hmacToken, jsonBody, many, secret, webhookSecret } from './material.js'

// Another's signature check is not what is timed here; the real one has its own lines below.
const check = (token, key) => {
  const end = token.lastIndexOf('.')
  return createHmac('sha256', key).update(token.slice(0, end)).digest('base64url') === token.slice(end + 1)
}
const registration = await createRegistration({ jwt: { issuer: 'causeflow', secret }, apiKey: { store: new MemoryApiKeyStore(), quota: 5000 } }, null, async () => check)
const issuer = await createIssuer('RS256')
const app = Fastify()
const rsaCheck = await registerSignatureCheck(app, ['RS256'])
const rsa = await createRegistration({ jwt: { issuer: issuer.issuer, audience, publicKey: issuer.pem, algorithms: ['RS256'], tokenCache: false } }, null, async () => rsaCheck)
const pem = rsa.verifiers.tokens[0]
const place = { label: 'GET /', params: [] }
const token = registration.compile(nodeOf(auth.jwt()), place)
const key = registration.compile(nodeOf(auth.apiKey()), place)

const tokens = many(1000, (index) => Buffer.from(`Bearer ${hmacToken(index)}`))
const keys = []
for (let i = 0; i < 1000; i++) keys.push(Buffer.from((await registration.apiKeys.create({ tenantId: 'ten_bench', name: 'bench' })).plaintextKey))
const text = (list, index) => list[index % list.length].latin1Slice()
const request = (headers) => ({ headers, raw: { rawHeaders: ['Host', 'bench', 'Authorization', '', 'Accept', '*/*'] }, params: {}, query: {} })

const known = new Map(tokens.map((one) => [one.toString().slice(7), 1]))
const digests = new Map(keys.map((one) => [hash('sha256', one.toString(), 'hex'), 1]))
time('by hand: Map by token', (i) => known.get(text(tokens, i).slice(7)))
time('recall of a verified token', (i) => registration.verifiers.tokens[0].recall(text(tokens, i).slice(7)))
time('decision on a token', (i) => decide(token, new Presentation(token, registration.verifiers, request({ authorization: text(tokens, i) }))))
time('parse of a token', (i) => parseToken(text(tokens, i).slice(7)))
const rsaTokens = many(200, (index) => issuer.token(index))
const parts = rsaTokens.map((one) => { const end = one.lastIndexOf('.'); return { signed: one.slice(0, end), signature: Buffer.from(one.slice(end + 1), 'base64url') } })
time('crypto.verify of an RS256 token', (i) => { const { signed, signature } = parts[i % 200]; return verify('sha256', Buffer.from(signed), issuer.publicKey, signature) || undefined }, 50_000)
time('the check by @fastify/jwt', (i) => rsaCheck(rsaTokens[i % 200], issuer.pem) || undefined, 50_000)
time('a cold token: form to principal', (i) => pem.verify(parseToken(rsaTokens[i % 200])), 50_000)
time('by hand: digest and Map', (i) => digests.get(hash('sha256', text(keys, i), 'hex')))
time('verification of a key', (i) => registration.verifiers.keys.verify(text(keys, i)))
time('decision on a key', (i) => decide(key, new Presentation(key, registration.verifiers, request({ 'x-api-key': text(keys, i) }))))
time('compilation of a rule', () => compileRule(nodeOf(auth.any(auth.jwt().roles('admin'), auth.apiKey())), { issuers: ['default'], apiKeys: true, webhooks: [], tenant: null }, place), 20_000)
time('a refusal', () => new AuthError('AUTH_TOKEN_INVALID', 'signature'))
for (const bytes of [300, 1000, 64_000]) {
  const body = jsonBody(bytes)
  const headers = signWebhook(body, webhookSecret)
  time(`by hand: createHmac, ${body.length} B`, () => createHmac('sha256', webhookSecret).update(body).digest(), 100_000)
  time(`verifyWebhook, ${body.length} B`, () => verifyWebhook(body, headers, webhookSecret), 100_000)
}
await Promise.all([registration.close(), rsa.close(), app.close()])
issuer.close?.()

function time (name, action, count = 300_000) {
  // What is not looked at is not computed: the compiler knows that a look-up changes nothing.
  let seen = 0
  for (let i = 0; i < count / 5; i++) if (action(i) !== undefined) seen++
  const runs = many(5, () => {
    const before = process.cpuUsage()
    for (let i = 0; i < count / 5; i++) if (action(i) !== undefined) seen++
    const { user, system } = process.cpuUsage(before)
    return (user + system) / (count / 5)
  })
  console.log(`${name.padEnd(36)} ${runs.sort((a, b) => a - b)[2].toFixed(3)} µs${seen === 0 ? ' (nothing was found)' : ''}`)
}
