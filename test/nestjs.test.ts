// A NestJS application that is made of the blocks of docs/nestjs.md, with the built package next to
// Nest's own copy of Fastify.
import t, { type Test } from 'tap'
import { execFile } from 'node:child_process'
import { cpSync, mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { promisify } from 'node:util'
import type { FastifyInstance, InjectOptions, LightMyRequestResponse } from 'fastify'
import {
  MemoryApiKeyStore,
  MemoryReplayStore,
  signWebhook,
  type ApiKeyStore,
  type CauseflowAuthOptions
} from '../lib/index.js'
import { bearer, createTestIssuer } from '../lib/testing/index.js'
import type { Teardown } from './fixtures/app.js'
import { consumerFolder, packagesMissing, repository } from './fixtures/consumer-packages.js'
import { watchProcess } from './fixtures/process-watch.js'

watchProcess(t)

// The package and the application are compiled, which takes its time on a busy machine.
t.setTimeout(300_000)

interface NestApp {
  inject (options: InjectOptions): Promise<LightMyRequestResponse>
  init (): Promise<unknown>
  close (): Promise<void>
  getHttpAdapter (): { getInstance (): FastifyInstance }
}
interface Variants {
  ran: string[]
  createVariant(options: CauseflowAuthOptions, variant?: Record<string, unknown>): Promise<NestApp>
}

const skip = await packagesMissing('nestjs')
t.test('NestJS', { skip }, async (t) => {
  const build = await compile(t)
  const load = createRequire(join(build, 'package.json'))
  const { createVariant, ran } = load('./src/variants.js') as Variants
  const { auth } = load('fastify-causeflow-auth') as typeof import('../lib/index.js')
  const { createApp } = load('./src/create-app.js') as {
    createApp (options: CauseflowAuthOptions): Promise<NestApp>
  }

  const issuer = await createTestIssuer()
  t.teardown(() => issuer.close())
  const secret = 'whsec_of_the_tests_of_nest'
  const token = bearer(issuer.token({ tenant_id: 'ten_a' }))
  const json = { 'content-type': 'application/json' }
  const event = JSON.stringify({
    event: 'incident.created',
    timestamp: '2026-01-01T00:00:00Z',
    tenantId: 'ten_a',
    data: { incidentId: 'inc_1' }
  })
  const options = (own: Partial<CauseflowAuthOptions> = {}): CauseflowAuthOptions => ({
    jwt: issuer.jwtOptions(),
    apiKey: { store: new MemoryApiKeyStore() },
    webhook: { secret, replay: new MemoryReplayStore() },
    ...own
  })

  async function start (
    t: Teardown,
    variant?: Record<string, unknown>,
    own?: Partial<CauseflowAuthOptions>
  ): Promise<NestApp> {
    const app = await createVariant(options(own), variant)
    t.teardown(() => app.close())
    return app
  }

  t.test('every rejection has its own status and headers, without a filter', async (t) => {
    const app = await start(t, {}, { apiKey: { store: downStore() } })
    t.strictSame(await rejections(app), {
      absent: [401, 'Bearer realm="causeflow"', null, 'A credential is required'],
      forged: [401, 'Bearer realm="causeflow", error="invalid_token"', null, 'The token is invalid'],
      'another tenant': [403, null, null, 'The credential does not belong to this tenant'],
      'no role': [403, null, null, 'A role is missing'],
      unsigned: [401, 'Signature realm="causeflow"', null, 'A webhook signature is required'],
      'changed body': [
        401,
        'Signature realm="causeflow", error="invalid_signature"',
        null,
        'The webhook signature is invalid'
      ],
      replayed: [409, null, null, 'This delivery was already received'],
      'a check that throws': [500, null, null, 'Internal Server Error'],
      'a store that is down': [503, null, '5', 'Service Unavailable'],
      'thrown in a handler': [401, null, null, 'A credential is required']
    })
  })

  t.test('the filter of the page adds the code, and the headers of what a handler throws', async (t) => {
    const app = await start(t, { filter: 'page' }, { apiKey: { store: downStore() } })
    t.strictSame(await rejections(app), {
      absent: [401, 'Bearer realm="causeflow"', null, 'AUTH_CREDENTIAL_MISSING'],
      forged: [401, 'Bearer realm="causeflow", error="invalid_token"', null, 'AUTH_TOKEN_INVALID'],
      'another tenant': [403, null, null, 'AUTH_TENANT_MISMATCH'],
      'no role': [403, null, null, 'AUTH_ROLE_REQUIRED'],
      unsigned: [401, 'Signature realm="causeflow"', null, 'AUTH_SIGNATURE_MISSING'],
      'changed body': [
        401,
        'Signature realm="causeflow", error="invalid_signature"',
        null,
        'AUTH_SIGNATURE_INVALID'
      ],
      replayed: [409, null, null, 'AUTH_DELIVERY_REPLAYED'],
      'a check that throws': [500, null, null, 'AUTH_RULE_UNDECIDABLE'],
      'a store that is down': [503, null, '5', 'AUTH_STORE_UNAVAILABLE'],
      'thrown in a handler': [401, 'Bearer realm="causeflow"', null, 'AUTH_CREDENTIAL_MISSING']
    })
  })

  t.test('a filter that catches everything reads the status and keeps the headers', async (t) => {
    const app = await start(t, { filter: 'catch-all' })
    const { statusCode, headers } = await app.inject({ url: '/me' })
    t.strictSame([statusCode, headers['www-authenticate']], [401, 'Bearer realm="causeflow"'])
    t.equal((await app.inject({ url: '/unknown' })).statusCode, 404)
  })

  t.test('the application of the page: prefix, tenants, roles, keys, webhooks and preflights', async (t) => {
    const app = await createApp(options())
    t.teardown(() => app.close())
    await app.init()
    const { causeflowAuth } = app.getHttpAdapter().getInstance()
    const { plaintextKey } = await causeflowAuth.apiKeys.create({
      tenantId: 'ten_a',
      name: 'a key of the tests'
    })
    const ask = async (url: string, headers = {}): Promise<[number, unknown]> => {
      const { statusCode, body } = await app.inject({ url, headers })
      return [statusCode, statusCode === 200 ? JSON.parse(body) : null]
    }
    t.strictSame(await ask('/v1/health'), [200, { status: 'ok' }])
    t.strictSame(await ask('/v1/me', token), [200, { scheme: 'jwt', tenantId: 'ten_a' }])
    t.strictSame(await ask('/v1/me'), [401, null])
    t.strictSame(await ask('/me', token), [404, null])
    t.strictSame(await ask('/v1/tenants/ten_a/incidents', { 'x-api-key': plaintextKey }), [
      200,
      { tenantId: 'ten_a', incidents: [] }
    ])
    t.strictSame(await ask('/v1/tenants/ten_b/incidents', { 'x-api-key': plaintextKey }), [403, null])
    const admin = bearer(issuer.token({ tenant_id: 'ten_a', roles: ['admin'] }))
    t.equal((await app.inject({ method: 'DELETE', url: '/v1/incidents/1', headers: admin })).statusCode, 204)
    const delivery = await app.inject({
      method: 'POST',
      url: '/v1/events',
      headers: { ...json, ...signWebhook(event, secret) },
      payload: event
    })
    t.strictSame([delivery.statusCode, delivery.json()], [202, { received: 'incident.created' }])
    t.match(causeflowAuth.routes(), [{ method: 'GET', url: '/v1/health', rule: 'public' }])
  })

  t.test('a prefix with the tenant binds every route to it', async (t) => {
    const webhook = { secret: () => ({ secrets: [secret], tenantId: 'ten_a' }) }
    const app = await start(t, { prefix: 'tenants/:tenantId' }, { webhook })
    t.equal((await app.inject({ url: '/tenants/ten_a/me', headers: token })).statusCode, 200)
    t.equal((await app.inject({ url: '/tenants/ten_b/me', headers: token })).statusCode, 403)
  })

  for (const cors of ['before', 'after'] as const) {
    t.test(
      `enableCors() ${cors} the plugin: preflights pass, and rejections have CORS headers`,
      async (t) => {
        const app = await start(t, { cors })
        const headers = { origin: 'https://app.example.com' }
        const preflight = await app.inject({
          method: 'OPTIONS',
          url: '/me',
          headers: { ...headers, 'access-control-request-method': 'GET' }
        })
        const rejected = await app.inject({ url: '/me', headers })
        t.strictSame([preflight.statusCode, rejected.statusCode], [204, 401])
        for (const answer of [preflight, rejected]) {
          t.equal(answer.headers['access-control-allow-origin'], 'https://app.example.com')
        }
      }
    )
  }

  for (const rawBody of [false, true]) {
    t.test(
      `rawBody: ${rawBody}: a signature is over the bytes, and other routes are parsed by Nest`,
      async (t) => {
        const app = await start(t, { rawBody })
        const post = async (
          url: string,
          payload: string,
          headers: Record<string, string>
        ): Promise<unknown> => {
          const answer = await app.inject({ method: 'POST', url, payload, headers })
          return answer.statusCode === 201 ? answer.json() : answer.statusCode
        }
        const [body, form] = ['{ "a": 1 }', 'a=1&b=2']
        const typeOfForm = { 'content-type': 'application/x-www-form-urlencoded' }
        t.strictSame(await post('/bytes', body, { ...json, ...signWebhook(body, secret) }), {
          raw: body,
          body: { a: 1 }
        })
        t.match(await post('/bytes', form, { ...typeOfForm, ...signWebhook(form, secret) }), {
          raw: form,
          body: { type: 'Buffer' }
        })
        t.equal(await post('/bytes', '{"a":1}', { ...json, ...signWebhook(body, secret) }), 401)
        t.equal(await post('/bytes', '{{', json), 401, 'rejected before it is parsed')
        t.strictSame(await post('/plain', body, { ...json, ...token }), {
          ...(rawBody ? { raw: body } : {}),
          body: { a: 1 }
        })
        t.strictSame(await post('/plain', form, { ...typeOfForm, ...token }), {
          ...(rawBody ? { raw: form } : {}),
          body: { a: '1', b: '2' }
        })
        t.strictSame(await post('/kept', body, { ...json, ...token }), { raw: body, body: { a: 1 } })
        t.equal(await post('/plain', '{{', json), 401)
      }
    )
  }

  t.test(
    'guards of Nest run after the rule; its middleware runs before it, and may respond to everyone',
    async (t) => {
      const app = await start(t)
      ran.length = 0
      t.equal((await app.inject({ url: '/guarded' })).statusCode, 401)
      t.strictSame(ran.splice(0), ['middleware'])
      t.equal((await app.inject({ url: '/guarded', headers: token })).statusCode, 200)
      t.strictSame(ran.splice(0), ['middleware', 'guard of ten_a'])
      t.equal((await app.inject({ url: '/guarded?respond' })).body, 'from middleware')
    }
  )

  t.test('@RouteConfig on a class is not read: its routes take the default', async (t) => {
    const protectedByDefault = await start(t)
    t.equal((await protectedByDefault.inject({ url: '/class-rule' })).statusCode, 401)
    const open = await start(t, {}, { default: auth.public() })
    t.equal((await open.inject({ url: '/class-rule' })).statusCode, 200)
  })

  t.test('of two @RouteConfig on a method the upper one counts', async (t) => {
    const app = await start(t)
    t.equal((await app.inject({ url: '/twice' })).statusCode, 403)
  })

  t.test('registered after init(), it rejects what it cannot protect', async (t) => {
    await t.rejects(createVariant(options(), { late: true }), {
      code: 'AUTH_CONFIG_ROUTE',
      message: /cannot check a signature/
    })
  })

  t.test('the test of the page passes', async (t) => {
    const { stdout } = await promisify(execFile)(
      process.execPath,
      ['--test', join(build, 'test/app.test.js')],
      {
        env: { PATH: process.env['PATH'] }
      }
    ).catch((failure) => failure)
    t.match(stdout, /pass 1\b/)
  })

  /** Of each rejection its status, its challenge, its Retry-After, and its code or message. */
  async function rejections (app: NestApp): Promise<Record<string, unknown>> {
    const { apiKeys } = app.getHttpAdapter().getInstance().causeflowAuth
    const { plaintextKey } = await apiKeys.create({ tenantId: 'ten_a', name: 'a key of the tests' })
    const signature = { ...json, ...signWebhook(event, secret) }
    const post = { method: 'POST', url: '/events', headers: signature, payload: event } as const
    await app.inject(post)
    const requests: Record<string, InjectOptions> = {
      absent: { url: '/me' },
      forged: { url: '/me', headers: bearer(issuer.forged()) },
      'another tenant': { url: '/tenants/ten_b/incidents', headers: token },
      'no role': { method: 'DELETE', url: '/incidents/1', headers: token },
      unsigned: { ...post, headers: json },
      'changed body': { ...post, payload: `${event} ` },
      replayed: post,
      'a check that throws': { url: '/broken', headers: token },
      'a store that is down': { url: '/tenants/ten_a/incidents', headers: { 'x-api-key': plaintextKey } },
      'thrown in a handler': { url: '/thrown' }
    }
    const answered: Record<string, unknown> = {}
    for (const [name, request] of Object.entries(requests)) {
      const { statusCode, headers, body } = await app.inject(request)
      const { code, message } = JSON.parse(body)
      answered[name] = [
        statusCode,
        headers['www-authenticate'] ?? null,
        headers['retry-after'] ?? null,
        code ?? message
      ]
    }
    return answered
  }
})

/** A store that keeps keys and finds none. */
function downStore (): ApiKeyStore {
  return Object.assign(new MemoryApiKeyStore(), {
    findByDigest: async () => {
      throw new Error('The database is down')
    }
  })
}

/** Compiles the application of the page, its variants and the package. Returns the folder of the first. */
async function compile (t: Pick<Test, 'testdir'>): Promise<string> {
  const folder = consumerFolder('nestjs')
  const directory = t.testdir({})
  const tsc = async (...parameters: string[]): Promise<void> => {
    await promisify(execFile)(
      process.execPath,
      [join(repository, 'node_modules/typescript/bin/tsc'), ...parameters],
      {
        env: { ...process.env, NODE_OPTIONS: '' }
      }
    ).catch(({ stdout, stderr }) => {
      throw new Error(`${stdout}${stderr}`)
    })
  }

  const installed = join(folder, 'node_modules/fastify-causeflow-auth')
  rmSync(installed, { recursive: true, force: true })
  // npm run typecheck checks the types of the source.
  await tsc('-p', join(repository, 'lib'), '--noCheck', '--outDir', join(installed, 'dist'))
  cpSync(join(repository, 'package.json'), join(installed, 'package.json'))

  symlinkSync(join(folder, 'node_modules'), join(directory, 'node_modules'), 'junction')
  for (const name of ['src', 'tsconfig.json']) {
    cpSync(join(folder, name), join(directory, name), { recursive: true })
  }
  // A Nest project is CommonJS unless it says otherwise.
  for (const path of ['package.json', 'build/package.json']) {
    mkdirSync(dirname(join(directory, path)), { recursive: true })
    writeFileSync(join(directory, path), '{ "private": true }')
  }
  const page = readFileSync(join(repository, 'docs/nestjs.md'), 'utf8')
  for (const [, source = ''] of page.matchAll(/^```ts nestjs\n([\s\S]*?)^```$/gm)) {
    const [, path = ''] = /^\/\/ (\S+)$/m.exec(source) ?? []
    mkdirSync(dirname(join(directory, path)), { recursive: true })
    writeFileSync(join(directory, path), source)
  }
  await tsc('-p', directory, '--typeRoots', join(repository, 'node_modules/@types'))
  return join(directory, 'build')
}
