// What docs/composition.md says next to its recipes, with the packages of test/consumers/ecosystem.
// The recipes themselves are run by test/docs.test.ts.
import t from 'tap'
import { once } from 'node:events'
import { request as httpRequest } from 'node:http'
import type { AddressInfo } from 'node:net'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import { pathToFileURL } from 'node:url'
import websocket from '@fastify/websocket'
import Fastify, { type FastifyInstance, type FastifyPluginAsync, type FastifyRequest } from 'fastify'
import { WebSocket, WebSocketServer } from 'ws'
import { auth, signWebhook, type Principal } from '../lib/index.js'
import {
  bearer,
  createApp,
  issueKey,
  signed,
  webhookSecret,
  type AppSetup,
  type Teardown
} from './fixtures/app.js'
import { consumerFolder, packagesMissing } from './fixtures/consumer-packages.js'

// The first import of each package takes its time on a busy machine.
t.setTimeout(120_000)

const skip = await packagesMissing('ecosystem')
const { resolve } = createRequire(join(consumerFolder('ecosystem'), 'package.json'))
type Options = Record<string, unknown>

/** A package of the consumer, whose types the blocks of the documentation are compiled with. */
async function load (name: string) {
  const module = await import(pathToFileURL(resolve(name)).href)
  return module as Record<string, unknown> & { default: FastifyPluginAsync<Options> }
}

const originOf = (app: FastifyInstance): string => `127.0.0.1:${(app.server.address() as AddressInfo).port}`

/** The status of a request whose path is sent as it is written. */
async function statusOf (
  app: FastifyInstance,
  path: string,
  headers: Record<string, string>
): Promise<number | undefined> {
  const [host, port] = originOf(app).split(':')
  const asking = httpRequest({ host, port, path, headers, agent: false }).end()
  const [response] = await once(asking, 'response')
  response.resume()
  return response.statusCode
}

/** The first message of a socket, or why there is no socket. */
async function firstOf (
  t: Teardown,
  url: string,
  headers: Record<string, string>,
  { protocol, send }: { protocol?: string, send?: string[] } = {}
): Promise<string> {
  const socket = new WebSocket(url, protocol ?? [], { headers })
  t.teardown(() => socket.terminate())
  const failure = once(socket, 'error').then(([error]) => String(error.message))
  socket.on('open', () => {
    for (const one of send ?? []) socket.send(one)
  })
  return await Promise.race([failure, once(socket, 'message').then(([text]) => String(text))])
}

t.test('@fastify/multipart', { skip }, async (t) => {
  const { default: multipart } = await load('@fastify/multipart')
  const body =
    '--x\r\ncontent-disposition: form-data; name="log"; filename="app.log"\r\n\r\nerror\r\n--x--\r\n'
  const type = { 'content-type': 'multipart/form-data; boundary=x' }

  async function start (
    t: Teardown,
    options: Options = {}
  ): Promise<{ app: FastifyInstance, handled: string[] }> {
    const handled: string[] = []
    const app = await createApp(t)
    await app.register(multipart, options)
    const read = async (request: FastifyRequest): Promise<unknown> => {
      handled.push(request.routeOptions.url ?? '')
      return (await (request as unknown as { file (): Promise<unknown> }).file()) === undefined
        ? 'no file'
        : 'a file'
    }
    app.post('/uploads', read)
    app.post('/signed', { config: { auth: auth.webhook() } }, read)
    app.post('/signed/bytes', { config: { auth: auth.webhook() } }, async ({ rawBody }) => rawBody)
    app.post('/attached', async (request) => Object.keys(request.body as object))
    return { app, handled }
  }

  t.test('rejects an upload before its body is read', async (t) => {
    const { app, handled } = await start(t)
    await app.listen({ host: '127.0.0.1', port: 0 })
    const [host, port] = originOf(app).split(':')
    // The body never ends: the answer comes without it.
    const asking = httpRequest({
      host,
      port,
      path: '/uploads',
      method: 'POST',
      headers: { ...type, 'content-length': 1e6 },
      agent: false
    })
    asking.on('error', () => {}).write(body)
    const [response] = await once(asking, 'response')
    asking.destroy()
    t.equal(response.statusCode, 401)
    t.strictSame(handled, [])
    t.equal(
      (
        await app.inject({
          method: 'POST',
          url: '/uploads',
          headers: { ...type, ...bearer() },
          payload: body
        })
      ).body,
      'a file'
    )
  })

  t.test('verifies a signed multipart body and gives its bytes, and no file', async (t) => {
    const { app } = await start(t)
    const send = async (url: string, headers: Record<string, string>) =>
      await app.inject({ method: 'POST', url, headers, payload: body })
    t.equal((await send('/signed', signed(body, type))).statusCode, 406)
    t.equal((await send('/signed/bytes', signed(body, type))).body, body)
    t.equal((await send('/signed/bytes', signed(`${body} `, type))).statusCode, 401)
  })

  t.test('decides before fields are attached to the body', async (t) => {
    const { app } = await start(t, { attachFieldsToBody: true })
    t.strictSame(
      (
        await app.inject({
          method: 'POST',
          url: '/attached',
          headers: { ...type, ...bearer() },
          payload: body
        })
      ).json(),
      ['log']
    )
    t.equal(
      (await app.inject({ method: 'POST', url: '/attached', headers: type, payload: body })).statusCode,
      401
    )
  })
})

t.test('@fastify/http-proxy', { skip }, async (t) => {
  const { default: httpProxy } = await load('@fastify/http-proxy')

  /** An upstream that notes what reaches it. */
  async function startUpstream (t: Teardown): Promise<{ upstream: string, seen: string[] }> {
    const seen: string[] = []
    const app = Fastify()
    app.addContentTypeParser(
      '*',
      { parseAs: 'string' },
      async (request: FastifyRequest, body: string) => body
    )
    app.addContentTypeParser(
      'application/json',
      { parseAs: 'string' },
      async (request: FastifyRequest, body: string) => body
    )
    app.all('/*', async ({ url, body, headers }) => {
      seen.push(url)
      return { url, body, key: headers['x-api-key'] ?? null }
    })
    const sockets = new WebSocketServer({ server: app.server })
    sockets.on('connection', (socket, { url, headers }) => {
      seen.push(`socket ${url}`)
      socket.send(
        JSON.stringify({ key: headers['x-api-key'] ?? null, authorization: headers.authorization ?? null })
      )
    })
    t.teardown(() => {
      sockets.close()
    })
    t.teardown(() => app.close())
    await app.listen({ host: '127.0.0.1', port: 0 })
    return { upstream: `http://${originOf(app)}`, seen }
  }

  t.test(
    'fails at startup where no rule is stated, also with a default that asks for a credential',
    async (t) => {
      const app = await createApp(t)
      await app
        .register(httpProxy, { upstream: 'http://127.0.0.1:1', prefix: '/v1' })
        .then(() => app.ready())
        .then(
          () => t.fail('started'),
          (error: Error & { code: string }) => {
            t.equal(error.code, 'AUTH_CONFIG_ROUTE')
            t.match(error.message, /its preHandler is undefined/)
          }
        )
    }
  )

  t.test('is open where config and preHandler say so', async (t) => {
    const { upstream } = await startUpstream(t)
    const app = await createApp(t)
    await app.register(httpProxy, {
      upstream,
      prefix: '/open',
      config: { auth: auth.public() },
      preHandler: []
    })
    t.match((await app.inject('/open/page')).json(), { url: '/page' })
  })

  t.test('takes a guard as preHandler', async (t) => {
    const { upstream, seen } = await startUpstream(t)
    const app = await createApp(t, { auth: { default: auth.public() } })
    await app.register(httpProxy, { upstream, prefix: '/v1', preHandler: app.causeflowAuth.apiKey })
    const { plaintextKey } = await issueKey(app)
    t.equal((await app.inject({ url: '/v1/page', headers: { 'x-api-key': plaintextKey } })).statusCode, 200)
    t.equal((await app.inject({ url: '/v1/page', headers: { 'x-api-key': 'guessed' } })).statusCode, 401)
    t.equal((await app.inject('/v1/page')).statusCode, 401)
    t.strictSame(seen, ['/page'])
  })

  t.test(
    'decides the rule of a socket before the upstream is called, and forwards no credential',
    async (t) => {
      const { upstream, seen } = await startUpstream(t)
      const app = await createApp(t)
      await app.register(httpProxy, {
        upstream,
        prefix: '/ws',
        websocket: true,
        config: { auth: auth.apiKey() }
      })
      await app.listen({ host: '127.0.0.1', port: 0 })
      const { plaintextKey } = await issueKey(app)
      const url = `ws://${originOf(app)}/ws/feed`
      t.equal(await firstOf(t, url, {}), 'Unexpected server response: 401')
      t.equal(await firstOf(t, url, { 'x-api-key': 'guessed' }), 'Unexpected server response: 401')
      t.strictSame(seen, [])
      t.equal(await firstOf(t, url, { 'x-api-key': plaintextKey }), '{"key":null,"authorization":null}')
      t.strictSame(seen, ['socket /feed'])
    }
  )

  t.test('verifies a signature and forwards the parsed JSON', async (t) => {
    const { upstream, seen } = await startUpstream(t)
    const app = await createApp(t)
    await app.register(httpProxy, {
      upstream,
      prefix: '/v1',
      httpMethods: ['POST'],
      config: { auth: auth.webhook() }
    })
    const body = '{ "a": 1 }'
    const send = async (headers: Record<string, string>) =>
      await app.inject({ method: 'POST', url: '/v1/events', headers, payload: body })
    t.match((await send(signed(body))).json(), { url: '/events', body: '{"a":1}' })
    t.equal((await send(signed('{}'))).statusCode, 401)
    t.equal((await send({ 'content-type': 'application/json' })).statusCode, 401)
    t.strictSame(seen, ['/events'])
  })

  t.test('binds a tenant in the prefix, and lets no path climb out of it', async (t) => {
    const { upstream, seen } = await startUpstream(t)
    const app = await createApp(t)
    await app.register(httpProxy, {
      upstream,
      prefix: '/v1/tenants/:tenantId',
      rewritePrefix: '/v1/tenants/:tenantId',
      config: { auth: auth.jwt() }
    })
    await app.listen({ host: '127.0.0.1', port: 0 })
    t.equal(await statusOf(app, '/v1/tenants/ten_a/incidents', bearer()), 200)
    t.equal(await statusOf(app, '/v1/tenants/ten_b/incidents', bearer()), 403)
    for (const path of [
      '/v1/tenants/ten_a/../ten_b/incidents',
      '/v1/tenants/ten_a/%2e%2e/ten_b/incidents',
      '/v1/tenants/ten_a/..%2ften_b/incidents',
      '/v1/tenants/ten_a/%252e%252e/ten_b/x'
    ]) {
      await statusOf(app, path, bearer())
    }
    t.strictSame(
      seen.filter((url) => new URL(url, upstream).pathname.startsWith('/v1/tenants/ten_b')),
      []
    )
  })
})

t.test('@fastify/under-pressure', { skip }, async (t) => {
  const { default: underPressure } = await load('@fastify/under-pressure')
  const atOnce = { maxRssBytes: 1, sampleInterval: 10 }

  async function start (
    t: Teardown,
    options: Options,
    order: 'before' | 'after' = 'after',
    own: AppSetup['auth'] = {}
  ): Promise<FastifyInstance> {
    const setUp = async (app: FastifyInstance): Promise<void> => {
      await app.register(underPressure, options)
    }
    const app = await createApp(t, { auth: own, ...(order === 'before' ? { before: setUp } : {}) })
    if (order === 'after') await setUp(app)
    app.get('/page', async () => 'in')
    await app.ready()
    return app
  }

  t.test('its status route takes the default where it states no rule', async (t) => {
    for (const exposeStatusRoute of [true, '/status']) {
      const app = await start(t, { exposeStatusRoute })
      t.equal((await app.inject('/status')).statusCode, 401)
      t.equal((await app.inject({ url: '/status', headers: bearer() })).statusCode, 200)
    }
  })

  t.test('its status route takes a rule of its own, in either order', async (t) => {
    for (const order of ['before', 'after'] as const) {
      const app = await start(
        t,
        {
          exposeStatusRoute: {
            url: '/status',
            routeOpts: { config: { auth: auth.apiKey().scopes('status') } }
          }
        },
        order
      )
      const ask = async (headers: Record<string, string>): Promise<number> =>
        (await app.inject({ url: '/status', headers })).statusCode
      t.equal(await ask({ 'x-api-key': (await issueKey(app, { scopes: ['status'] })).plaintextKey }), 200)
      t.equal(await ask({ 'x-api-key': (await issueKey(app)).plaintextKey }), 403)
      t.equal(await ask({}), 401)
    }
  })

  t.test(
    'before the plugin, its status route needs a rule where the default admits everyone',
    async (t) => {
      await t.rejects(start(t, { exposeStatusRoute: true }, 'before', { default: auth.public() }), {
        code: 'AUTH_CONFIG_ROUTE'
      })
    }
  )

  t.test('under pressure, after the plugin: 401 without a valid credential, otherwise 503', async (t) => {
    const app = await start(t, atOnce)
    const { isUnderPressure } = app as unknown as { isUnderPressure (): boolean }
    while (!isUnderPressure()) await setTimeout(5)
    t.equal((await app.inject('/page')).statusCode, 401)
    t.equal((await app.inject({ url: '/page', headers: bearer() })).statusCode, 503)
  })
})

t.test('mercurius', { skip }, async (t) => {
  const { default: mercurius } = await load('mercurius')
  const schema = 'type Query { tenant: String } type Subscription { tenant: String }'
  const resolvers = {
    Query: {
      tenant: async (_: unknown, __: unknown, { principal }: { principal: Principal | null }) =>
        principal?.tenantId
    },
    Subscription: {
      tenant: {
        async * subscribe (_: unknown, __: unknown, { principal }: { principal: Principal | null }) {
          yield { tenant: principal?.tenantId }
        }
      }
    }
  }
  const context = async ({ principal }: FastifyRequest) => ({ principal })
  const rule = { config: { auth: auth.jwt() } }

  async function start (t: Teardown, options: Options = {}, setup: AppSetup = {}): Promise<FastifyInstance> {
    const app = await createApp(t, { ...setup, auth: { default: auth.deny(), ...setup.auth } })
    await app.register(mercurius, { schema, resolvers, context, additionalRouteOptions: rule, ...options })
    return app
  }

  const post = async (
    app: FastifyInstance,
    headers: Record<string, string>,
    payload: object = { query: '{ tenant }' }
  ) => {
    return await app.inject({ method: 'POST', url: '/graphql', headers, payload })
  }

  t.test('decides queries by GET and POST, and batches as one request', async (t) => {
    const app = await start(t, { allowBatchedQueries: true })
    t.strictSame((await post(app, bearer())).json(), { data: { tenant: 'ten_a' } })
    t.strictSame((await post(app, bearer(), [{ query: '{ tenant }' }, { query: '{ tenant }' }])).json(), [
      { data: { tenant: 'ten_a' } },
      { data: { tenant: 'ten_a' } }
    ])
    t.strictSame(
      (await app.inject({ url: '/graphql', query: { query: '{ tenant }' }, headers: bearer() })).json(),
      { data: { tenant: 'ten_a' } }
    )
    for (const headers of [{}, { authorization: 'Bearer guessed' }]) {
      const rejected = await post(app, headers)
      t.equal(rejected.statusCode, 401)
      t.match(rejected.headers['www-authenticate'], /^Bearer /)
      t.equal((await post(app, headers, [{ query: '{ tenant }' }])).statusCode, 401)
      t.equal(
        (await app.inject({ url: '/graphql', query: { query: '{ tenant }' }, headers })).statusCode,
        401
      )
    }
  })

  t.test(
    'keeps a guard in preHandler, and loses one in onRequest: the route takes the default',
    async (t) => {
      for (const [hook, status] of [
        ['preHandler', 200],
        ['onRequest', 403]
      ] as const) {
        const app = await createApp(t, { auth: { default: auth.deny() } })
        await app.register(mercurius, {
          schema,
          resolvers,
          context,
          additionalRouteOptions: { [hook]: app.causeflowAuth.jwt }
        })
        t.equal((await post(app, bearer())).statusCode, status, hook)
      }
    }
  )

  t.test('its pages take the default', async (t) => {
    const app = await start(t, { ide: true })
    for (const url of ['/graphiql', '/graphiql/main.js', '/graphiql/config.js']) {
      t.equal((await app.inject(url)).statusCode, 403, url)
    }
  })

  t.test('a subscription is decided on the handshake and has its principal', async (t) => {
    const subscription = { context: async (_: unknown, request: FastifyRequest) => await context(request) }
    const app = await start(t, { subscription }, { before: (app) => app.register(websocket) })
    await app.listen({ host: '127.0.0.1', port: 0 })
    const url = `ws://${originOf(app)}/graphql`
    const send = [
      { type: 'connection_init' },
      { id: '1', type: 'subscribe', payload: { query: 'subscription { tenant }' } }
    ].map((one) => JSON.stringify(one))
    t.equal(
      await firstOf(t, url, {}, { protocol: 'graphql-transport-ws', send }),
      'Unexpected server response: 401'
    )
    t.equal(
      await firstOf(t, url, { authorization: 'Bearer guessed' }, { protocol: 'graphql-transport-ws', send }),
      'Unexpected server response: 401'
    )
    const socket = new WebSocket(url, 'graphql-transport-ws', { headers: bearer() })
    t.teardown(() => socket.terminate())
    await once(socket, 'open')
    socket.send(send[0] as string)
    t.match(String((await once(socket, 'message'))[0]), /connection_ack/)
    socket.send(send[1] as string)
    t.match(JSON.parse(String((await once(socket, 'message'))[0])), {
      id: '1',
      payload: { data: { tenant: 'ten_a' } }
    })
  })

  t.test('with subscriptions, fails at startup without @fastify/websocket before the plugin', async (t) => {
    const app = await createApp(t, { auth: { default: auth.deny() } })
    await t.rejects(
      async () => {
        await app.register(mercurius, {
          schema,
          resolvers,
          context,
          subscription: true,
          additionalRouteOptions: rule
        })
        await app.ready()
      },
      { code: 'AUTH_CONFIG_REGISTRATION' }
    )
  })
})

t.test('tRPC', { skip }, async (t) => {
  const { initTRPC } = await load('@trpc/server')
  const { fastifyTRPCPlugin } = await load('@trpc/server/adapters/fastify')
  interface Context {
    principal: Principal | null | undefined
  }
  const { router, procedure } = (
    initTRPC as {
      context(): {
        create(): {
          router: (shape: object) => unknown
          procedure: Record<'query' | 'mutation', (resolve: (call: { ctx: Context }) => unknown) => unknown>
        }
      }
    }
  )
    .context()
    .create()
  const tenant = ({ ctx }: { ctx: Context }): unknown => ctx.principal?.tenantId ?? 'none'
  const appRouter = router({ tenant: procedure.query(tenant), rename: procedure.mutation(tenant) })

  t.test('decides queries, mutations and batches before a procedure runs', async (t) => {
    const app = await createApp(t)
    await app.register(fastifyTRPCPlugin as FastifyPluginAsync<Options>, {
      prefix: '/trpc',
      trpcOptions: {
        router: appRouter,
        createContext: ({ req }: { req: FastifyRequest }) => ({ principal: req.principal })
      }
    })
    const requests = [
      { method: 'GET', url: '/trpc/tenant' },
      { method: 'POST', url: '/trpc/rename', payload: {} },
      { method: 'GET', url: '/trpc/tenant,tenant?batch=1' },
      { method: 'POST', url: '/trpc/rename,rename?batch=1', payload: {} }
    ] as const
    for (const request of requests) {
      const accepted = await app.inject({ ...request, headers: bearer() })
      t.strictSame(
        [accepted.statusCode, [accepted.json()].flat().every(({ result }) => result.data === 'ten_a')],
        [200, true],
        request.url
      )
      for (const headers of [{}, { authorization: 'Bearer guessed' }]) {
        t.equal((await app.inject({ ...request, headers })).statusCode, 401, request.url)
      }
    }
  })

  t.test('a socket is decided on the handshake; its principal is found by the raw request', async (t) => {
    const app = await createApp(t, { before: (app) => app.register(websocket) })
    const principals = new WeakMap<object, Principal | null>()
    const contexts: unknown[] = []
    await app.register(async (scope) => {
      scope.addHook('preHandler', async ({ raw, principal }) => {
        principals.set(raw, principal)
      })
      const createContext = ({ req }: { req: FastifyRequest }): Context => {
        contexts.push(req.principal)
        return { principal: principals.get(req) }
      }
      await scope.register(fastifyTRPCPlugin as FastifyPluginAsync<Options>, {
        prefix: '/trpc',
        useWSS: true,
        trpcOptions: { router: appRouter, createContext }
      })
    })
    await app.listen({ host: '127.0.0.1', port: 0 })
    const url = `ws://${originOf(app)}/trpc`
    const send = [JSON.stringify({ id: 1, method: 'query', params: { path: 'tenant' } })]
    t.equal(await firstOf(t, url, {}, { send }), 'Unexpected server response: 401')
    t.equal(
      await firstOf(t, url, { authorization: 'Bearer guessed' }, { send }),
      'Unexpected server response: 401'
    )
    t.match(JSON.parse(await firstOf(t, url, bearer(), { send })), { id: 1, result: { data: 'ten_a' } })
    t.strictSame(contexts, [undefined])
  })
})

t.test('@fastify/aws-lambda', { skip }, async (t) => {
  const { default: awsLambdaFastify } = (await load('@fastify/aws-lambda')) as unknown as {
    default: (
      app: FastifyInstance,
      options?: Options
    ) => (
      event: object,
      context: object
    ) => Promise<{ statusCode: number; body: string; headers: Record<string, string> }>
  }

  async function start (t: Teardown, options: Options = {}) {
    const app = await createApp(t)
    app.post('/events', { config: { auth: auth.webhook() } }, async ({ rawBody }) => rawBody?.toString('hex'))
    app.get('/key', { config: { auth: auth.apiKey() } }, async ({ principal }) => principal?.tenantId)
    app.get('/me', async ({ principal }) => principal?.tenantId)
    const handler = awsLambdaFastify(app, options)
    await app.ready()
    return { handler, key: (await issueKey(app)).plaintextKey }
  }

  t.test(
    'a signature is over the bytes that were sent, as text or in base64, from every kind of gateway',
    async (t) => {
      const { handler } = await start(t)
      const binary = Buffer.from([0xff, 0x00, 0xfe, 0x0a])
      const text = Buffer.from('{"name":"Zoë"}')
      const shapes = {
        'REST API': { httpMethod: 'POST', path: '/events' },
        'HTTP API': { version: '2.0', rawPath: '/events', requestContext: { http: { method: 'POST' } } },
        'load balancer': { httpMethod: 'POST', path: '/events', requestContext: { elb: {} } }
      }
      for (const [name, shape] of Object.entries(shapes)) {
        for (const [body, encoding] of [
          [binary, 'base64'],
          [text, 'base64'],
          [text, 'utf8']
        ] as const) {
          const send = async (headers: object, sent = body) =>
            await handler(
              { ...shape, headers, body: sent.toString(encoding), isBase64Encoded: encoding === 'base64' },
              {}
            )
          const headers = signWebhook(body, webhookSecret)
          const accepted = await send({
            ...headers,
            'Content-Type': body === text ? 'application/json' : 'application/octet-stream'
          })
          t.strictSame([accepted.statusCode, accepted.body], [200, body.toString('hex')], name)
          t.equal((await send(headers, Buffer.concat([body, Buffer.from(' ')]))).statusCode, 401, name)
          const unsigned = await send({})
          t.strictSame(
            [unsigned.statusCode, unsigned.headers['www-authenticate']],
            [401, 'Signature realm="causeflow"'],
            name
          )
        }
        // Bytes that a gateway has decoded as text are other bytes.
        t.equal(
          (
            await handler(
              {
                ...shape,
                headers: signWebhook(binary, webhookSecret),
                body: binary.toString(),
                isBase64Encoded: false
              },
              {}
            )
          ).statusCode,
          401,
          name
        )
      }
    }
  )

  t.test(
    'keys and tokens are found under any case of their header, and rejected when sent twice',
    async (t) => {
      const { handler, key } = await start(t)
      const ask = async (path: string, event: object): Promise<number> =>
        (await handler({ httpMethod: 'GET', path, headers: {}, ...event }, {})).statusCode
      const token = bearer().authorization
      t.equal(await ask('/key', { headers: { 'X-Api-Key': key } }), 200)
      t.equal(await ask('/key', { headers: { 'X-Api-Key': 'guessed' } }), 401)
      t.equal(await ask('/key', {}), 401)
      t.equal(await ask('/me', { headers: { Authorization: token } }), 200)
      t.equal(
        await ask('/me', {
          headers: { Authorization: token },
          multiValueHeaders: { Authorization: [token, 'Bearer another'] }
        }),
        400
      )
      t.equal(
        await ask('/key', {
          headers: { 'X-Api-Key': key },
          multiValueHeaders: { 'X-Api-Key': [key, 'another'] }
        }),
        400
      )
    }
  )

  t.test('a client cannot claim another event in a header', async (t) => {
    const { handler } = await start(t, { serializeLambdaArguments: true })
    const { statusCode } = await handler(
      { httpMethod: 'GET', path: '/me', headers: { 'x-apigateway-event': encodeURIComponent('{}') } },
      {}
    )
    t.equal(statusCode, 401)
  })
})
