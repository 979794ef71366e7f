import t from 'tap'
import Fastify, { type FastifyInstance, type RouteOptions } from 'fastify'
import { auth, causeflowAuth, type AuthRule } from '../../lib/index.js'
import { authOptions, bearer, createApp, createLog, refusalOf, refusals, signed } from '../fixtures/app.js'

const handler = async (): Promise<object> => ({ reached: true })

interface Start { code: string | null, message: string, status: number | null }

/** Starts an application under `default: auth.public()` and asks GET /x without a credential: what a slip would open. */
async function start (build: (app: FastifyInstance) => unknown): Promise<Start> {
  const app = Fastify()
  try {
    await app.register(causeflowAuth, authOptions({ default: auth.public() }))
    await build(app)
    await app.ready()
    return { code: null, message: '', status: (await app.inject('/x')).statusCode }
  } catch (error) {
    return { code: (error as { code?: string }).code ?? null, message: (error as Error).message, status: null }
  } finally {
    await app.close()
  }
}

const rules: Record<string, AuthRule> = { admin: auth.jwt().roles('admin') }
const guardOf = (app: FastifyInstance): object => app.causeflowAuth.require(auth.jwt())
/** What a second copy of this package would build. */
const foreign = Object.freeze(Object.assign(Object.create({ describe: () => 'token' }) as object, { [Symbol.for('fastify-causeflow-auth.rule')]: true }))

/** Slips that would open a route: each fails at startup, with a message that says where to look. */
const slips: Array<[title: string, build: (app: FastifyInstance) => unknown, message: RegExp, code?: string]> = [
  // A mistyped constant is undefined.
  ['config.auth undefined', (app) => app.get('/x', { config: { auth: rules.adnim! } }, handler), /GET \/x: config\.auth is undefined: is the name of the rule mistyped\? Leave config\.auth out for the default/],
  ['config.auth null', (app) => app.get('/x', { config: { auth: null as never } }, handler), /config\.auth is null: is the name of the rule mistyped/],
  ['config.rawBody undefined', (app) => app.get('/x', { config: { rawBody: undefined as never } }, handler), /config\.rawBody is undefined: is the name of the value mistyped/],
  ['config undefined', (app) => app.get('/x', { config: undefined as never }, handler), /states no rule that asks for a credential, and its config is undefined: is the name of the config mistyped\? Leave config out, or write config: \{\}/],
  ['preHandler undefined', (app) => app.get('/x', { preHandler: undefined as never }, handler), /states no rule that asks for a credential, and its preHandler is undefined: is the name of the guard mistyped\? Leave preHandler out, or write preHandler: \[\]/],
  ['onRequest null', (app) => app.get('/x', { onRequest: null as never, preHandler: [] }, handler), /its onRequest is null/],
  ['a ready guard misspelled', (app) => app.get('/x', { preHandler: (app.causeflowAuth as unknown as Record<string, never>).apikey! }, handler), /causeflowAuth has no 'apikey'\. Did you mean 'apiKey'\?/, 'AUTH_CONFIG_RULE'],
  ['require() of undefined', (app) => app.get('/x', { preHandler: app.causeflowAuth.require(rules.adnim!) }, handler), /require\(\) takes a rule built by auth .* and got undefined/, 'AUTH_CONFIG_RULE'],
  ['require() of two rules', (app) => app.get('/x', { preHandler: (app.causeflowAuth.require as (...rules: AuthRule[]) => never)(auth.public(), auth.deny()) }, handler), /require\(\) takes one rule/, 'AUTH_CONFIG_RULE'],
  // The weaker of two statements.
  ['a weaker rule in config and a stricter one next to it', (app) => app.get('/x', { config: { auth: auth.public() }, auth: auth.jwt() } as object, handler), /the rule in auth is not read\. Write config: \{ auth: … \}/],
  ['a weaker rule in config.auth and a stricter one in config', (app) => app.get('/x', { config: { auth: auth.public(), rule: auth.jwt() } as object }, handler), /the rule in config\.rule is not read/],
  ['a weaker rule in config and a guard of another phase\'s name', (app) => app.get('/x', { config: { auth: auth.public() }, prehandler: guardOf(app) } as object, handler), /the guard in prehandler is not read/],
  // Guards and rules under other names.
  ...['prehandler', 'preHandlers', 'beforeHandler', 'onrequest', 'guard', 'preValidate'].flatMap((name) => [false, true].map((inList): typeof slips[number] => [
    `a guard in ${name}${inList ? ', in a list' : ''}`, (app) => app.get('/x', { [name]: inList ? [guardOf(app)] : guardOf(app) }, handler), new RegExp(`the guard in ${name}${inList ? '\\[0\\]' : ''} is not read\\. Write config: \\{ auth: … \\}, or put the guard in preHandler`)
  ])),
  ['a guard in the config', (app) => app.get('/x', { config: { preHandler: guardOf(app) } as object }, handler), /the guard in config\.preHandler is not read/],
  ['a guard for a handler', (app) => app.get('/x', guardOf(app) as never), /its handler is a guard\. Write \{ preHandler: guard \} before the handler/],
  ['a guard for an error handler', (app) => app.get('/x', { errorHandler: guardOf(app) as never }, handler), /the guard in errorHandler is not read/],
  ['Config', (app) => app.get('/x', { Config: { auth: auth.jwt() } } as object, handler), /the rule in Config\.auth is not read/],
  ['configs', (app) => app.get('/x', { configs: { auth: auth.jwt() } } as object, handler), /the rule in configs\.auth is not read/],
  ['a list of rules in the config', (app) => app.get('/x', { config: { guards: [auth.jwt()] } as object }, handler), /the rule in config\.guards\[0\] is not read/],
  ['an object of rules in the config', (app) => app.get('/x', { config: { security: { auth: auth.jwt() } } as object }, handler), /the rule in config\.security\.auth is not read/],
  ['the config one level too deep', (app) => app.get('/x', { config: { config: { auth: auth.jwt() } } as object }, handler), /the rule in config\.config\.auth is not read/],
  ['a rule in the schema', (app) => app.get('/x', { schema: { security: [auth.jwt()] } as object }, handler), /the rule in schema\.security\[0\] is not read/],
  ['a rule in the constraints', (app) => app.get('/x', { constraints: { auth: auth.jwt() } }, handler), /No strategy registered for constraint key 'auth'|auth/, 'any'],
  ['a plural', (app) => app.get('/x', { config: { auths: auth.jwt() } as object }, handler), /config\.auths is not read\. Write config\.auth/],
  ['capitals', (app) => app.get('/x', { config: { AUTH: auth.jwt() } as object }, handler), /config\.AUTH is not read/],
  ['punctuation', (app) => app.get('/x', { config: { _auth: undefined, raw_body: true } as object }, handler), /config\._auth is not read/],
  ['raw_body', (app) => app.post('/y', { config: { raw_body: true } as object }, handler), /config\.raw_body is not read\. Write config\.rawBody/],
  ['rawBody next to the config', (app) => app.post('/y', { rawBody: true } as object, handler), /rawBody is not read\. Write config: \{ rawBody: true \}/],
  ['auth next to the config, undefined', (app) => app.get('/x', { auth: rules.adnim } as object, handler), /auth is not read\. Write config: \{ auth: … \}/],
  ['a symbol', (app) => app.get('/x', { config: { [Symbol('auth')]: auth.jwt() } as object }, handler), /the rule in config\.Symbol\(auth\) is not read/],
  ['a list in config.auth', (app) => app.get('/x', { config: { auth: [auth.jwt()] as never } }, handler), /config\.auth takes a rule built by auth .* and got object/],
  ['an empty list in config.auth', (app) => app.get('/x', { config: { auth: [] as never } }, handler), /config\.auth takes a rule built by auth/],
  ['a promise in config.auth', (app) => app.get('/x', { config: { auth: Promise.resolve({ rule: auth.jwt() }) as never } }, handler), /config\.auth takes a rule built by auth/],
  ['a promise next to the config', (app) => app.get('/x', { auth: Promise.resolve({ rule: auth.jwt() }) } as object, handler), /auth is not read/],
  ['a function in config.auth', (app) => app.get('/x', { config: { auth: (() => auth.jwt()) as never } }, handler), /config\.auth takes a rule built by auth .* and got function/],
  ['a builder that is not called', (app) => app.get('/x', { config: { rule: auth.jwt } as object }, handler), /the rule in config\.rule is not read/],
  ['a builder in config.auth', (app) => app.get('/x', { config: { auth: auth.jwt as never } }, handler), /config\.auth takes a rule built by auth/],
  ['a rule of another copy of the package', (app) => app.get('/x', { config: { auth: foreign as never } }, handler), /config\.auth takes a rule built by auth \(of this very copy of the package\)/],
  ['a rule of another copy under another name', (app) => app.get('/x', { config: { rule: foreign } as object }, handler), /the rule in config\.rule is not read/],
  ['an inherited rule', (app) => app.get('/x', { config: Object.create({ auth: auth.jwt() }) as object }, handler), /config\.auth is inherited or hidden/],
  ['an inherited rule under another name', (app) => app.get('/x', { config: Object.create({ rule: auth.jwt() }) as object }, handler), /the rule in config\.rule is inherited, and nothing reads it/],
  ['a getter that returns undefined', (app) => app.get('/x', { config: { get auth () { return rules.adnim! } } }, handler), /config\.auth is undefined/],
  ['a rule for the config', (app) => app.get('/x', { config: auth.jwt() as object }, handler), /its config is a rule/],
  ['a rule spread into the config', (app) => app.get('/x', { config: { ...rules.admin } as object }, handler), /the rule in config is not read/],
  ['a rule spread into the options', (app) => app.get('/x', { ...rules.admin } as object, handler), /the rule in the options is not read/],
  ['a rule for the options', (app) => app.get('/x', auth.jwt() as object, handler), /Options for "?GET:\/x"? route must be an object/i, 'FST_ERR_ROUTE_OPTIONS_NOT_OBJ'],
  ['a guard for the options', (app) => app.get('/x', guardOf(app) as object, handler), /must be an object/i, 'FST_ERR_ROUTE_OPTIONS_NOT_OBJ'],
  ['an undefined guard in a list', (app) => app.get('/x', { preHandler: [undefined as never] }, handler), /preHandler hook should be a function/, 'FST_ERR_HOOK_INVALID_HANDLER'],
  ['an undefined guard in a scope', (app) => app.addHook('preHandler', undefined as never), /preHandler hook should be a function/, 'FST_ERR_HOOK_INVALID_HANDLER'],
  ['a rule that is written into the config after the route', (app) => { const options = { config: {} as { auth?: AuthRule } }; app.get('/x', options, handler); options.config.auth = auth.jwt() }, /config\.auth was written after the route had been added/],
  ['a function for the config', (app) => app.get('/x', { config: () => ({ auth: auth.jwt() }) }, handler), /its config is a function/],
  ['a promise for the config', (app) => app.get('/x', { config: Promise.resolve({ auth: auth.jwt() }) as object }, handler), /its config is a promise/],
  ['a Map for the config', (app) => app.get('/x', { config: new Map([['auth', auth.jwt()]]) as object }, handler), /its config is a promise or a Map/],
  ['a text for the config', (app) => app.get('/x', { config: 'jwt' as never }, handler), /its config is a string/],
  ['options after the handler of a not-found handler', (app) => app.setNotFoundHandler(handler as never, { config: { auth: auth.jwt() } } as never), /its options come after the handler/],
  ['a function under preHandlers', (app) => app.get('/x', { preHandlers: [async () => {}] } as object, handler), /GET \/x: preHandlers is not a hook of a route, and its functions never run\. Write preHandler$/],
  ['a function under prehandler', (app) => app.get('/x', { prehandler: async () => {} } as object, handler), /prehandler is not a hook of a route/],
  ['a function under beforeHandler', (app) => app.get('/x', { beforeHandler: [[async () => {}]] } as object, handler), /Write preHandler$/],
  ['a function under onrequest, next to a rule', (app) => app.get('/x', { config: { auth: auth.jwt() }, onrequest: async () => {} } as object, handler), /onrequest is not a hook of a route.* Write onRequest$/],
  ['a function in config.preHandler', (app) => app.get('/x', { config: { preHandler: async () => {} } } as object, handler), /config\.preHandler is not a hook of a route.* Write preHandler next to config/],
  ['a function under preValidatoin', (app) => app.get('/x', { preValidatoin: async () => {} } as object, handler), /Write preValidation$/],
  ['a function under middleware', (app) => app.get('/x', { middleware: async () => {} } as object, handler), /middleware is not a hook of a route/],
  ['a function in hooks.preHandler', (app) => app.get('/x', { hooks: { preHandler: async () => {} } } as object, handler), /hooks is not a hook of a route/],
  ['a function under preValidate', (app) => app.get('/x', { preValidate: [async () => {}] } as object, handler), /preValidate is not a hook of a route/],
  ["auth: 'jwt' next to the config", (app) => app.get('/x', { auth: 'jwt' } as object, handler), /GET \/x: auth is not read\. Write config: \{ auth: … \}/],
  ['auth: true', (app) => app.get('/x', { auth: true } as object, handler), /auth is not read/],
  ['auth: { strategy }', (app) => app.get('/x', { auth: { strategy: 'jwt' } } as object, handler), /auth is not read/],
  ['a function in auth: []', (app) => app.get('/x', { auth: [async () => {}] } as object, handler), /auth is not read/],
  ['a rule in a Set', (app) => app.get('/x', { config: { guards: new Set([auth.jwt()]) } } as object, handler), /the rule in config\.guards\[0\] is not read/],
  ['a rule in a Map', (app) => app.get('/x', { config: { security: new Map([['a', auth.jwt()]]) } } as object, handler), /the rule in config\.security\[0\] is not read/],
  ['a rule five levels deep', (app) => app.get('/x', { schema: { security: [{ bearer: [auth.jwt()] }] } } as object, handler), /the rule in schema\.security\[0\]\.bearer\[0\] is not read/],
  ['a guard in the options of register()', async (app) => await app.register(async (scope) => { scope.get('/x', handler) }, { prefix: '/v1', preHandler: app.causeflowAuth.jwt } as object), /register\(\) with the prefix '\/v1': the guard in its option preHandler is read by no route/],
  ['a list of guards in the options of register()', async (app) => await app.register(async (scope) => { scope.get('/x', handler) }, { onRequest: [app.causeflowAuth.jwt] } as object), /the guard in its option onRequest is read by no route/],
  ['a rule in the options of register()', async (app) => await app.register(async (scope) => { scope.get('/x', handler) }, { config: { auth: auth.jwt() } } as object), /the rule in its option config\.auth is read by no route/],
  ['a child registration without options', async (app) => await app.register(async (scope) => { await scope.register(causeflowAuth, (rules as { typo?: object }).typo as object); scope.get('/x', handler) }), /registered in a child scope without options/, 'AUTH_CONFIG_OPTION'],
  ['a child registration with a promise', async (app) => await app.register(async (scope) => { await scope.register(causeflowAuth, Promise.resolve({ default: auth.jwt() }) as object); scope.get('/x', handler) }), /The options of causeflowAuth are a promise\. Await it/, 'AUTH_CONFIG_OPTION'],
  ['a child registration with inherited options', async (app) => await app.register(async (scope) => { await scope.register(causeflowAuth, Object.create({ default: auth.jwt() }) as object); scope.get('/x', handler) }), /inherit 'default', and copies lose it/, 'AUTH_CONFIG_OPTION'],
  ['a child registration with an instance of a class', async (app) => await app.register(async (scope) => { await scope.register(causeflowAuth, new (class { get default (): AuthRule { return auth.jwt() } })() as object); scope.get('/x', handler) }), /are an instance of a class/, 'AUTH_CONFIG_OPTION'],
  ['a parameter that is nearly the tenant\'s', (app) => app.get('/:tenantIdd', { config: { auth: auth.jwt() } }, handler), /:tenantIdd is not :tenantId/],
  ['a parameter that is the tenant\'s without its end', (app) => app.get('/:tenant', { config: { auth: auth.jwt() } }, handler), /:tenant is not :tenantId/],
  ['an undefined guard next to auth.public()', (app) => app.get('/x', { config: { auth: auth.public() }, preHandler: rules.adnim as never }, handler), /asks for a credential, and its preHandler is undefined/],
  ['an undefined guard next to an optional rule', (app) => app.get('/x', { config: { auth: auth.jwt().optional() }, onRequest: rules.adnim as never }, handler), /its onRequest is undefined/],
  ['a builder in place of a guard', (app) => app.get('/x', { preHandler: auth.jwt as never }, handler), /auth\.jwt is the builder of a rule/],
  ['require in place of a guard', (app) => app.get('/x', { preHandler: app.causeflowAuth.require as never }, handler), /Call it with a rule: require\(auth\.jwt\(\)\)/],
  ['a rule in place of a guard', (app) => app.get('/x', { preHandler: auth.jwt() as never }, handler), /preHandler hook should be a function/, 'FST_ERR_HOOK_INVALID_HANDLER'],
  ['a route that @fastify/autoload would load with a rule in its options', (app) => app.register(async (scope, options) => { scope.get('/x', options as object, handler) }, { auth: auth.jwt() } as object), /the rule in auth is not read/]
]

for (const [title, build, message, code = 'AUTH_CONFIG_ROUTE'] of slips) {
  t.test(`a slip that would open a route fails at startup: ${title}`, async (t) => {
    const result = await start(build)
    if (code !== 'any') t.equal(result.code, code)
    t.match(result.message, message)
    t.equal(result.status, null)
  })
}

/** What looks like a slip and opens nothing: the route stays closed. */
const harmless: Array<[title: string, build: (app: FastifyInstance) => unknown, status: number]> = [
  ['a bound guard decides where it runs', (app) => app.get('/x', { preHandler: (guardOf(app) as () => void).bind(app) as never }, handler), 401],
  ['an automatic HEAD route has the rule of its GET', (app) => { app.get('/y', { config: { auth: auth.jwt() } }, handler); app.head('/x', { config: { auth: auth.jwt() } }, handler) }, 404],
  ['the rule that is stated may be there under another name as well', (app) => app.get('/x', { config: { auth: rules.admin!, also: rules.admin, list: [rules.admin] } as object, access: rules.admin } as object, handler), 401],
  ['a config may hold what it likes beside', (app) => app.get('/x', { config: { auth: auth.jwt(), oauth: undefined, cors: false, limit: { max: 1 }, when: new Date(0), buffer: Buffer.alloc(9) } as object, auth: 'another plugin\'s' } as object, handler), 401],
  ['a route with a rule may have hooks that are undefined', (app) => app.get('/x', { config: { auth: auth.jwt() }, preHandler: undefined as never }, handler), 401]
]

for (const [title, build, status] of harmless) {
  t.test(`what looks like a slip and opens nothing: ${title}`, async (t) => {
    t.strictSame(await start(build), { code: null, message: '', status })
  })
}

t.test('the names of causeflowAuth that other code may ask for are undefined', async (t) => {
  const app = await createApp(t)
  for (const name of ['then', 'toJSON', 'getter', 'setter', 'nodeType', '$$typeof', 'x']) t.equal((app.causeflowAuth as unknown as Record<string, unknown>)[name], undefined, name)
  t.equal(String(app.causeflowAuth), '[object Object]')
  for (const [name, known] of [['requires', 'require'], ['Jwt', 'jwt'], ['apikey', 'apiKey'], ['webhooks', 'webhook'], ['authentcate', 'authenticate']]) {
    t.throws(() => (app.causeflowAuth as unknown as Record<string, unknown>)[name as string], { code: 'AUTH_CONFIG_RULE', message: `causeflowAuth has no '${name}'. Did you mean '${known}'?` })
  }
})

const changes: Array<[title: string, hook: (route: RouteOptions) => void, message: RegExp | null, options?: object]> = [
  ['deletes the config', (route) => { delete route.config }, /GET \/x: stated the rule "token with role admin" when it was added, and states none now\. Another onRoute hook.*routeOptions\.config = \{ \.\.\.routeOptions\.config, … \}/],
  ['empties the config', (route) => { route.config = {} as never }, /states none now/],
  ['deletes the rule', (route) => { delete route.config?.auth }, /states none now/],
  ['replaces the rule with a weaker one', (route) => { route.config = { ...route.config, auth: auth.public() } as never }, /states "public" now/],
  ['replaces the rule with another one', (route) => { route.config = { auth: auth.jwt().roles('owner') } as never }, /states "token with role owner" now/],
  ['writes undefined in place of the rule', (route) => { route.config = { ...route.config, auth: undefined } as never }, /config\.auth is undefined/],
  ['empties the hooks', (route) => { route.preHandler = [] }, /states none now/, { guard: true }],
  ['deletes the hooks', (route) => { delete route.preHandler }, /states none now/, { guard: true }],
  ['replaces the hooks', (route) => { route.preHandler = (_request, _reply, done) => { done() } }, /states none now/, { guard: true }],
  ['replaces the guard with a weaker rule', (route) => { route.preHandler = []; route.config = { ...route.config, auth: auth.public() } as never }, /states "public" now/, { guard: true }],
  ['replaces the config of a guarded route', (route) => { route.config = {} as never }, /another onRoute hook has replaced its config/, { guard: true }],
  ['takes rawBody off', (route) => { route.config = { ...route.config, rawBody: false } as never }, /had rawBody: true when it was added, and has it no more/, { config: { auth: auth.jwt(), rawBody: true } }],
  ['replaces the config of a route that keeps its body', (route) => { route.config = { auth: route.config?.auth, rawBody: true } as never }, /has replaced its config/, { config: { auth: auth.jwt(), rawBody: true } }],
  ['copies the config', (route) => { route.config = { ...route.config } as never }, null],
  ['rebuilds the config with the same rule', (route) => { route.config = { auth: route.config?.auth } as never }, null],
  ['adds a hook', (route) => { route.preHandler = [route.preHandler ?? [], (_request: unknown, _reply: unknown, done: () => void) => { done() }].flat() as never }, null, { guard: true }]
]

for (const [title, hook, message, options] of changes) {
  t.test(`a route whose rule was stated ${message === null ? 'keeps it' : 'fails at startup'} where a later onRoute hook ${title}`, async (t) => {
    const result = await start((app) => {
      app.addHook('onRoute', hook)
      app.get('/x', options !== undefined && 'guard' in options ? { preHandler: app.causeflowAuth.require(auth.jwt().roles('admin')) } : options ?? { config: { auth: auth.jwt().roles('admin') } }, handler)
    })
    if (message === null) return t.strictSame(result, { code: null, message: '', status: 401 })
    t.equal(result.code, 'AUTH_CONFIG_ROUTE')
    t.match(result.message, message)
  })
}

t.test('a route whose rule is emptied after it was added fails at startup', async (t) => {
  const result = await start((app) => {
    const hooks = [guardOf(app)]
    app.get('/x', { preHandler: hooks as never }, handler)
    hooks.length = 0
  })
  t.match(result, { code: 'AUTH_CONFIG_ROUTE', message: /states none now/ })
})

t.test('a rule that a later onRoute hook adds where none was stated counts', async (t) => {
  for (const add of [
    (route: RouteOptions) => { route.config = { ...route.config, auth: auth.jwt() } as never },
    (route: RouteOptions) => { route.config = { auth: auth.jwt() } as never }
  ]) {
    t.strictSame(await start((app) => {
      app.addHook('onRoute', add)
      app.get('/x', handler)
    }), { code: null, message: '', status: 401 })
  }
  t.match(await start((app) => {
    app.addHook('onRoute', (route) => { route.config = { auth: auth.webhook() } as never })
    app.post('/x', handler)
  }), { code: 'AUTH_CONFIG_ROUTE', message: /POST \/x: another onRoute hook has replaced its config/ })
})

t.test('setNotFoundHandler: a rule in its config or its hooks is obeyed for unknown URLs and for callNotFound()', async (t) => {
  const rule = auth.jwt().roles('admin')
  for (const options of [() => ({ config: { auth: rule } }), (app: FastifyInstance) => ({ onRequest: app.causeflowAuth.require(rule) }), (app: FastifyInstance) => ({ preValidation: [app.causeflowAuth.require(rule)] }), (app: FastifyInstance) => ({ preHandler: app.causeflowAuth.require(rule) })]) {
    const app = await createApp(t, { auth: { default: auth.public() } })
    app.setNotFoundHandler(options(app) as object, async (request) => ({ not: 'found', who: request.principal?.scheme ?? null }))
    await app.register(async (scope) => {
      scope.setNotFoundHandler({ config: { auth: auth.apiKey(), mine: true } } as object, (request, reply) => { setImmediate(() => { reply.send({ later: request.routeOptions.config }) }) })
      scope.get('/gone', (_request, reply) => { reply.callNotFound() })
    }, { prefix: '/v1' })
    app.get('/gone', (_request, reply) => { reply.callNotFound() })
    app.get('/member', { config: { auth: auth.jwt() } }, (_request, reply) => { reply.callNotFound() })
    for (const url of ['/unknown', '/gone']) {
      t.strictSame(refusalOf(await app.inject(url)), refusals.noToken, url)
      t.equal((await app.inject({ url, headers: bearer() })).statusCode, 403, url)
      t.strictSame((await app.inject({ url, headers: bearer({ roles: ['admin'] }) })).json(), { not: 'found', who: 'jwt' }, url)
    }
    t.equal((await app.inject({ url: '/member', headers: bearer() })).statusCode, 403, 'the rule of the route that calls is not enough')
    for (const url of ['/v1/unknown', '/v1/gone']) t.strictSame(refusalOf(await app.inject(url)), refusals.noKey, url)
    await app.ready()
    const { plaintextKey } = await app.causeflowAuth.apiKeys.create({ tenantId: 'ten_a', name: 'a key' })
    for (const url of ['/v1/unknown', '/v1/gone']) t.match((await app.inject({ url, headers: { 'x-api-key': plaintextKey } })).json(), { later: { mine: true } }, url)
  }
})

t.test('setNotFoundHandler: a hook that throws undefined does not skip its rule', async (t) => {
  for (const options of [() => ({ config: { auth: auth.jwt() } }), (app: FastifyInstance) => ({ preHandler: app.causeflowAuth.jwt })]) {
    const app = await createApp(t, {
      auth: { default: auth.public() },
      // eslint-disable-next-line no-throw-literal -- the attack
      before: (app) => { for (const phase of ['onRequest', 'preHandler'] as const) app.addHook(phase, () => { throw undefined }) }
    })
    let reached = 0
    app.setNotFoundHandler(options(app) as object, async () => { reached++; return 'in' })
    const answer = await app.inject('/unknown')
    t.ok(answer.statusCode >= 400)
    t.equal(reached, 0)
  }
})

t.test('setNotFoundHandler without a rule is left alone', async (t) => {
  const app = await createApp(t)
  await app.register(async (scope) => { scope.setNotFoundHandler(async () => 'a') }, { prefix: '/a' })
  await app.register(async (scope) => { scope.setNotFoundHandler({ config: { mine: 1 } } as object, async ({ routeOptions }) => Object.keys(routeOptions.config).join()) }, { prefix: '/b' })
  await app.register(async (scope) => { (scope.setNotFoundHandler as unknown as () => void)() }, { prefix: '/c' })
  t.equal((await app.inject('/a/x')).body, 'a')
  t.equal((await app.inject('/b/x')).body, 'mine')
  t.equal((await app.inject('/c/x')).statusCode, 404)
  t.equal((await app.inject('/x')).statusCode, 404)
})

const notFoundSlips: Array<[title: string, options: (app: FastifyInstance) => object, message: RegExp]> = [
  ['an undefined rule', () => ({ config: { auth: rules.adnim } }), /The not-found handler of \/: config\.auth is undefined: is the name of the rule mistyped/],
  ['config.Auth', () => ({ config: { Auth: auth.jwt() } }), /config\.Auth is not read/],
  ['a rule under another name', () => ({ config: { rule: auth.jwt() } }), /the rule in config\.rule is not read/],
  ['a rule next to its config', () => ({ auth: auth.jwt() }), /the rule in auth is not read/],
  ['a guard under another name', (app) => ({ prehandler: guardOf(app) }), /the guard in prehandler is not read/],
  ['an undefined guard', () => ({ preHandler: undefined }), /its preHandler is undefined/],
  ['a guard behind the handler', (app) => ({ onSend: guardOf(app) }), /a rule in onSend would come after the handler/],
  ['two rules', (app) => ({ config: { auth: auth.apiKey() }, preHandler: guardOf(app) }), /states two rules/],
  ['a signature', () => ({ config: { auth: auth.webhook() } }), /The not-found handler of \/: cannot check a signature/],
  ['rawBody', () => ({ config: { rawBody: true } }), /keeps no raw body/]
]

for (const [title, options, message] of notFoundSlips) {
  t.test(`setNotFoundHandler with ${title} fails at startup`, async (t) => {
    const result = await start((app) => app.setNotFoundHandler(options(app), handler))
    t.equal(result.code, 'AUTH_CONFIG_ROUTE')
    t.match(result.message, message)
  })
}

t.test('a not-found handler that states a rule and was set before the plugin fails at startup', async (t) => {
  const build = async (options: object, register = {}): Promise<FastifyInstance> => {
    const app = Fastify()
    t.teardown(() => app.close())
    app.setNotFoundHandler(options, async () => 'in')
    await app.register(causeflowAuth, authOptions(register))
    await app.ready()
    return app
  }
  await t.rejects(build({ config: { auth: auth.jwt() } }), { code: 'AUTH_CONFIG_ROUTE', message: /A not-found handler states a rule and was set before causeflowAuth had loaded/ })
  for (const config of [{ auth: rules.adnim }, { Auth: auth.jwt() }, { rules: [auth.jwt()] }, { auth: auth.webhook() }]) await t.rejects(build({ config }), { code: 'AUTH_CONFIG_ROUTE' })
  t.equal((await (await build({}, { default: auth.public() })).inject('/x')).body, 'in', 'one that states nothing is served')
})

t.test('a not-found handler whose context cannot be read at startup is decided by the rule in its config, or rejected', async (t) => {
  const ask = async (config: object, headers = {}): Promise<ReturnType<typeof refusalOf>> => {
    const app = Fastify()
    t.teardown(() => app.close())
    const contexts = Object.getOwnPropertySymbols(app).find(({ description }) => description === 'fastify.404ContextKey') as symbol
    app.setNotFoundHandler({ config } as object, async () => 'in')
    await app.register(causeflowAuth, authOptions())
    // As in a Fastify that keeps it elsewhere.
    const symbols = Object.getOwnPropertySymbols
    const hide = (object: object): symbol[] => symbols(object).filter((symbol) => symbol !== contexts)
    Object.getOwnPropertySymbols = hide
    try {
      await app.ready()
    } finally {
      Object.getOwnPropertySymbols = symbols
    }
    return refusalOf(await app.inject({ url: '/x', headers }))
  }
  t.strictSame(await ask({ auth: auth.jwt() }), refusals.noToken)
  t.equal((await ask({ auth: auth.jwt() }, bearer())).status, 200)
  for (const config of [{ auth: undefined }, { Auth: auth.jwt() }, { rules: [auth.jwt()] }, { auth: auth.webhook() }]) {
    t.strictSame(await ask(config, signed('', bearer())), refusals.undecidable)
  }
})

t.test('a rule in a scope that no registration covers fails at startup', async (t) => {
  const options = authOptions({ default: auth.public() })
  const places: Record<string, (app: FastifyInstance) => unknown> = {
    'the parent': (app) => { app.get('/x', { config: { auth: auth.jwt() } }, handler) },
    'the parent, deny': (app) => { app.get('/x', { config: { auth: auth.deny() } }, handler) },
    'a sibling': async (app) => { await app.register(async (scope) => { scope.get('/x', { config: { auth: auth.jwt() } }, handler) }) },
    'a not-found handler of the parent': (app) => { app.setNotFoundHandler({ config: { auth: auth.jwt() } } as object, handler) }
  }
  for (const [title, build] of Object.entries(places)) {
    const app = Fastify()
    t.teardown(() => app.close())
    await app.register(async (scope) => { await scope.register(causeflowAuth, options) }, { prefix: '/v1' })
    await build(app)
    await t.rejects(async () => await app.ready(), { code: 'AUTH_CONFIG_ROUTE', message: /in a scope that no registration of causeflowAuth covers/ }, title)
  }
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(async (scope) => { await scope.register(causeflowAuth, options); scope.get('/in', { config: { auth: auth.jwt() } }, handler) }, { prefix: '/v1' })
  await app.register(async (scope) => { await scope.register(causeflowAuth, authOptions()); scope.get('/in', { config: { auth: auth.jwt() } }, handler) }, { prefix: '/v2' })
  app.get('/open', { config: { other: 1 } as object }, handler)
  await app.ready()
  t.equal((await app.inject('/v2/in')).statusCode, 401)
})

t.test('a route that another onRoute hook adds again with its handler alone fails at startup', async (t) => {
  const copies: Record<string, (route: RouteOptions) => object> = {
    'the handler alone': ({ method, handler }) => ({ method, handler }),
    'another config': ({ method, handler }) => ({ method, handler, config: { copy: true } }),
    'all but the config': ({ config: _config, ...rest }) => rest,
    'all but the hooks': ({ onRequest: _1, preHandler: _2, ...rest }) => rest,
    everything: (route) => route,
    'a rule of its own': ({ method, handler }) => ({ method, handler, config: { auth: auth.apiKey() } })
  }
  const statements: Record<string, (app: FastifyInstance) => object> = {
    'a rule': () => ({ config: { auth: auth.jwt() } }),
    'a guard': (app) => ({ preHandler: app.causeflowAuth.jwt })
  }
  for (const [stating, state] of Object.entries(statements)) {
    for (const [title, copy] of Object.entries(copies)) {
      const app = await createApp(t, { auth: { default: auth.public() }, fastify: { exposeHeadRoutes: false } })
      app.addHook('onRoute', (route) => {
        if (route.url === '/x') app.route({ ...copy(route), url: '/copy' } as RouteOptions)
      })
      const keeps = title === 'everything' || title === 'a rule of its own' || (stating === 'a guard' ? title === 'all but the config' : title === 'all but the hooks')
      const build = async (): Promise<unknown> => { app.get('/x', state(app), handler); return await app.ready() }
      if (!keeps) await t.rejects(build(), { code: 'AUTH_CONFIG_ROUTE', message: /GET \/copy: has the handler of GET \/x, which states the rule "token", and states none/ }, `${stating}, ${title}`)
      else {
        await build()
        t.equal((await app.inject('/copy')).statusCode, 401, `${stating}, ${title}`)
      }
    }
  }
})

t.test('options of register() that a plugin hands on to its routes or hooks start', async (t) => {
  const app = await createApp(t, { auth: { default: auth.public() } })
  const rule = auth.jwt()
  await app.register(async (scope, options: Partial<RouteOptions>) => {
    await scope.register(async (inner) => { inner.get('/x', { config: options.config!, preHandler: options.preHandler! }, handler) })
  }, { prefix: '/a', config: { auth: rule }, preHandler: app.causeflowAuth.require(rule) } as object)
  await app.register(async (scope, options: Partial<RouteOptions>) => {
    scope.addHook('onRequest', options.onRequest as never)
    scope.get('/x', handler)
  }, { prefix: '/b', onRequest: app.causeflowAuth.jwt } as object)
  for (const url of ['/a/x', '/b/x']) t.equal((await app.inject(url)).statusCode, 401, url)
})

t.test('the hooks of a route may be filled until the app is ready', async (t) => {
  const app = await createApp(t, { auth: { default: auth.public() } })
  const lists: Record<string, never[]> = { onRequest: [], preParsing: [], preValidation: [], preHandler: [] }
  for (const [name, list] of Object.entries(lists)) {
    app.post(`/guarded/${name}`, { [name]: list }, handler)
    app.post(`/raw/${name}`, { [name]: list, config: { rawBody: true } }, handler)
    list.push(app.causeflowAuth.jwt as never)
  }
  const own: never[] = []
  app.post('/own', { config: { auth: auth.jwt() }, preValidation: own }, handler)
  app.post('/frozen', { config: { auth: auth.jwt() }, preValidation: Object.freeze([]) as never }, handler)
  own.push((async () => { throw Object.assign(new Error('own'), { statusCode: 418 }) }) as never)
  for (const name of Object.keys(lists)) {
    for (const kind of ['guarded', 'raw']) t.equal((await app.inject({ method: 'POST', url: `/${kind}/${name}` })).statusCode, 401, `${kind} ${name}`)
  }
  t.equal((await app.inject({ method: 'POST', url: '/own', headers: bearer() })).statusCode, 418)
  t.equal((await app.inject({ method: 'POST', url: '/frozen', headers: bearer() })).statusCode, 200)
})

t.test('a handler of a route that states a rule rejects where another onRoute hook calls it from a route that states none', async (t) => {
  const wrappers: Record<string, (handler: RouteOptions['handler']) => RouteOptions['handler']> = {
    bound: (inner) => inner.bind(null as never),
    called: (inner) => function (request, reply) { return inner.call(this, request, reply) }
  }
  for (const [title, wrap] of Object.entries(wrappers)) {
    const app = await createApp(t, { auth: { default: auth.public() }, fastify: { exposeHeadRoutes: false } })
    app.addHook('onRoute', ({ url, method, handler }) => {
      if (url !== '/x') return
      app.route({ method, url: '/copy', handler: wrap(handler) })
      app.route({ method, url: '/stated', config: { auth: auth.apiKey() }, handler: wrap(handler) })
      app.route({ method, url: '/opened', config: { auth: auth.public() }, handler: wrap(handler) })
    })
    app.get('/x', { config: { auth: auth.jwt() } }, handler)
    t.strictSame(refusalOf(await app.inject('/copy')), refusals.undecidable, title)
    t.equal((await app.inject('/stated')).statusCode, 401)
    t.equal((await app.inject('/opened')).statusCode, 200, 'its own statement counts')
  }
})

t.test('a registration that guards no route says so', async (t) => {
  const log = createLog()
  const app = Fastify({ logger: log.logger })
  t.teardown(() => app.close())
  await app.register(async (scope) => { await scope.register(causeflowAuth, authOptions()) })
  app.get('/x', handler)
  await app.ready()
  t.match(log.text(), /causeflowAuth guards no route/)
})

t.test('names that every object inherits are no hooks', async (t) => {
  const app = await createApp(t)
  app.get('/x', { config: { auth: auth.public(), toString: () => 'x', valueOf: () => 1 } as object }, handler)
  app.get('/y', { config: Object.assign(new (class { a = 1 })(), { auth: auth.public() }) as object }, handler)
  t.equal((await app.inject('/x')).statusCode, 200)
  t.equal((await app.inject('/y')).statusCode, 200)
})
