// A monorepo may install Fastify twice. Its symbols are then different for each copy, and one process may serve apps of both.
import t from 'tap'
import { createRequire } from 'node:module'
import { sep } from 'node:path'
import type Fastify from 'fastify'
import { auth, causeflowAuth } from '../../lib/index.js'
import { authOptions, bearer, issueKey, refusalOf, refusals, signed, watchProcess } from '../fixtures/app.js'

const require = createRequire(import.meta.url)

/** Fastify as if it were installed once more: none of its modules is shared with another copy. */
function loadCopy (): typeof Fastify {
  for (const file of Object.keys(require.cache)) {
    if (file.includes(`${sep}node_modules${sep}fastify${sep}`)) delete require.cache[file]
  }
  return require('fastify') as typeof Fastify
}

t.test('apps of two copies of Fastify in one process each obey their rules, whichever was there first', async (t) => {
  const faults = watchProcess(t)
  const copies = [loadCopy(), loadCopy()]
  t.not(copies[0], copies[1])
  const apps = await Promise.all(copies.map(async (copy) => {
    const app = copy()
    t.teardown(() => app.close())
    app.get('/early', async () => 'in')
    await app.register(causeflowAuth, authOptions())
    app.get('/v1/tenants/:tenantId', async () => 'in')
    app.get('/key', { preHandler: app.causeflowAuth.apiKey }, async () => 'in')
    app.post('/hook', { config: { auth: auth.webhook() } }, async (request) => ({ body: request.body, raw: request.rawBody?.toString() }))
    await app.ready()
    return app
  }))
  for (const app of [...apps, ...apps]) {
    for (const url of ['/early', '/v1/tenants/ten_a']) {
      t.strictSame(refusalOf(await app.inject(url)), refusals.noToken)
      t.equal((await app.inject({ url, headers: bearer() })).statusCode, 200)
    }
    t.equal((await app.inject({ url: '/v1/tenants/ten_b', headers: bearer() })).statusCode, 403)
    t.strictSame(refusalOf(await app.inject('/key')), refusals.noKey)
    t.equal((await app.inject({ url: '/key', headers: { 'x-api-key': (await issueKey(app)).plaintextKey } })).statusCode, 200)
    t.strictSame(refusalOf(await app.inject({ method: 'POST', url: '/hook', payload: '{"a":2}', headers: signed('{"a":1}') })), refusals.badSignature)
    t.strictSame((await app.inject({ method: 'POST', url: '/hook', payload: '{"a":1}', headers: signed('{"a":1}') })).json(), { body: { a: 1 }, raw: '{"a":1}' })
  }
  t.strictSame(faults, [])
})
