/** What is measured: each case with its contenders, the one that the ratio is against, and the ratio that is aimed at. */
import { bare, coldKeys, combined, keys, refused, routes, tokens, unguarded, webhooks, withTokens, withWebhooks } from './contenders.js'
import { postgres, redisUrl } from './material.js'

const pick = (from, ...names) => Object.fromEntries(names.map((name) => [name, from[name]]))
const jwtPeers = ['@fastify/jwt + get-jwks', '@fastify/jwt + get-jwks, no cache', 'fastify-jwt-jwks', '@clerk/fastify', 'jose in a hook']
const rawPeers = ['fastify-raw-body + createHmac', 'fastify-raw-body + @octokit/webhooks-methods', 'fastify-raw-body + standardwebhooks']

export const cases = {
  'the same server twice': { contenders: { ours: bare(), hand: bare() }, against: 'hand', goal: null, title: 'How noisy this machine is: one server against itself' },
  'JWT warm, 1 token': { contenders: pick(tokens(1), 'ours', 'hand'), against: 'hand', goal: null },
  'JWT warm, 1 000 tokens': { contenders: pick(tokens(1000), 'ours', 'hand', 'bare route', ...jwtPeers), against: 'hand', goal: 0.97 },
  'JWT warm, 10 000 tokens': { contenders: pick(tokens(10_000, { algorithm: 'HS256' }), 'ours', 'hand'), against: 'hand', goal: null },
  'JWT cold, RS256': { contenders: pick(tokens(1000, { cold: true }), 'ours', 'hand'), against: 'hand', goal: 0.85, requests: 800 },
  'JWT cold, ES256': { contenders: pick(tokens(1000, { algorithm: 'ES256', cold: true }), 'ours', 'hand'), against: 'hand', goal: null, requests: 800 },
  'JWT cold, HS256': { contenders: pick(tokens(1000, { algorithm: 'HS256', cold: true }), 'ours', 'hand'), against: 'hand', goal: null },
  'API key warm': { contenders: pick(keys(1000), 'ours', 'hand', 'bare route', '@fastify/bearer-auth'), against: 'hand', goal: 0.97 },
  'API key cold, in memory': { contenders: coldKeys('memory'), against: 'hand', goal: null },
  'API key cold, PostgreSQL': { contenders: coldKeys('PostgreSQL'), against: 'hand', goal: null, requests: 800, needs: [postgres.port] },
  'API key cold, PostgreSQL and Redis': { contenders: coldKeys('Redis'), against: 'hand', goal: null, requests: 800, needs: [postgres.port, Number(new URL(redisUrl).port || 6379)] },
  'any of two, warm': { contenders: combined('any'), against: 'hand', goal: 0.93 },
  'all of two, warm': { contenders: combined('all'), against: 'hand', goal: 0.93 },
  'role and tenant, warm': { contenders: pick(combined('conditions'), 'ours', 'hand'), against: 'hand', goal: null },
  'webhook 0.3 kB': { contenders: pick(webhooks(300), 'ours', 'hand'), against: 'hand', goal: null },
  'webhook 1 kB': { contenders: pick(webhooks(1000), 'ours', 'hand', 'bare route', ...rawPeers), against: 'hand', goal: 1 },
  'webhook 1 kB, three secrets': { contenders: pick(webhooks(1000, 3), 'ours', 'hand'), against: 'hand', goal: null },
  'webhook 64 kB': { contenders: pick(webhooks(64_000), 'ours', 'hand'), against: 'hand', goal: null, requests: 400 },
  'webhook 1 MB': { contenders: pick(webhooks(1_000_000), 'ours', 'hand'), against: 'hand', goal: 0.98, requests: 30, pause: 50 },
  'a route without a rule': { contenders: unguarded(withTokens), against: 'bare route', goal: 0.99 },
  'a route without a rule, beside webhooks': { contenders: unguarded(withWebhooks), against: 'bare route', goal: 0.99 },
  'a body without a rule': { contenders: unguarded(withTokens, Buffer.from('{"a":1}')), against: 'bare route', goal: 0.99 },
  ...Object.fromEntries(['absent', 'malformed', 'expired', 'forged', 'unknown key', 'signature form 1 kB', 'signature 1 kB', 'signature 1 MB'].map((kind) => [
    `refused: ${kind}`, { contenders: refused(kind), against: 'bare 401', goal: ['absent', 'malformed', 'signature form 1 kB'].includes(kind) ? 0.95 : null, ...(kind === 'signature 1 MB' ? { requests: 30, pause: 50 } : {}) }])),
  '1 000 routes against 10': { contenders: { ours: routes(1000), 'with 10': routes(10), 'bare, 1 000 routes': routes(1000, false), 'bare, 10 routes': routes(10, false) }, against: 'with 10', goal: 0.97 },
  '100 000 keys against 10': { contenders: { ours: keys(100_000, 10).ours, 'with 10': keys(10, 10).ours }, against: 'with 10', goal: 0.97 }
}
