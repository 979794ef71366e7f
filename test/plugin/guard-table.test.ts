/**
 * Every guard in every way to write it, at every place, with every kind of credential. Whatever an application has written, a request
 * without a good credential never reaches a handler behind a guard, and the process lives on.
 */
import t from 'tap'
import fastifyAuth from '@fastify/auth'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { guardRules } from '../../lib/route.js'
import { setImmediate } from 'node:timers/promises'
import { auth, MemoryApiKeyStore, type AuthRule, type Guard } from '../../lib/index.js'
import { bearer, createApp, issueKey, signed, tokenSecret, watchProcess } from '../fixtures/app.js'

type Done = (error?: Error) => void
type Hook = (request: FastifyRequest, reply: FastifyReply, ...rest: never[]) => unknown
type Outcome = 'passes' | 'rejects'
/** What JavaScript lets an application do with a guard, and TypeScript would not. */
type Loose = (...given: unknown[]) => Promise<void>

interface Way {
  /** Makes a hook of a guard, which is fetched at each use: an early route is written before there is one. */
  hook (app: FastifyInstance, guard: () => Guard): Hook
  /** What comes of a request with a good credential. */
  good: Outcome
  /** Written as the guard itself, so that a route recognizes it. */
  direct?: boolean
}

const last = (rest: unknown[]): Done => rest[rest.length - 1] as Done
const loose = (guard: Guard): Loose => guard as unknown as Loose

const ways: Record<string, Way> = {
  'the guard itself': { hook: (_app, guard) => guard() as Hook, good: 'passes', direct: true },
  'bound to the instance': { hook: (app, guard) => guard().bind(app) as Hook, good: 'passes', direct: true },
  'from a decorator': { hook: (app, guard) => { app.decorate('authenticate', guard() as never); return (app as unknown as { authenticate: Hook }).authenticate }, good: 'passes', direct: true },
  'with the callback handed on': { hook: (_app, guard) => (request, reply, ...rest) => { guard()(request, reply, last(rest)) }, good: 'passes' },
  'with the callback returned': { hook: (_app, guard) => (request, reply, ...rest) => guard()(request, reply, last(rest)), good: 'passes' },
  'by call()': { hook: (app, guard) => (request, reply, ...rest) => { (guard() as Hook).call(app, request, reply, ...rest) }, good: 'passes' },
  'by apply()': { hook: (app, guard) => (request, reply, ...rest) => { (guard() as Hook).apply(app, [request, reply, ...rest]) }, good: 'passes' },
  'bound with arguments': { hook: (_app, guard) => (request, reply, ...rest) => { (guard() as Hook).bind(null, request, reply)(...rest) }, good: 'passes' },
  awaited: { hook: (_app, guard) => async (request, reply) => { await guard()(request, reply) }, good: 'passes' },
  'returned from an async function': { hook: (_app, guard) => async (request, reply) => guard()(request, reply), good: 'passes' },
  'returned from an arrow': { hook: (_app, guard) => (request, reply) => guard()(request, reply), good: 'passes' },
  'with then() and the callback': { hook: (_app, guard) => (request, reply, ...rest) => { guard()(request, reply).then(() => { last(rest)() }, last(rest)) }, good: 'passes' },
  'with then(), returned': { hook: (_app, guard) => (request, reply) => guard()(request, reply).then(() => {}), good: 'passes' },
  'with catch() that throws on': { hook: (_app, guard) => (request, reply) => guard()(request, reply).catch((error: unknown) => { throw error }), good: 'passes' },
  'with finally()': { hook: (_app, guard) => (request, reply) => guard()(request, reply).finally(() => {}), good: 'passes' },
  'without the reply': { hook: (_app, guard) => async (request) => { await loose(guard())(request) }, good: 'passes' },
  'called twice': { hook: (_app, guard) => async (request, reply) => { await guard()(request, reply); await guard()(request, reply) }, good: 'passes' },
  'two at once by Promise.all()': { hook: (_app, guard) => async (request, reply) => { await Promise.all([guard()(request, reply), guard()(request, reply)]) }, good: 'passes' },
  'with a request that inherits from this one': { hook: (_app, guard) => async (request, reply) => { await guard()(Object.create(request) as FastifyRequest, reply) }, good: 'passes' },
  'in app.auth()': { hook: (app, guard) => app.auth([(request, reply, done) => { guard()(request, reply, done) }]) as Hook, good: 'passes' },
  'itself in app.auth()': { hook: (app, guard) => app.auth([guard()]) as Hook, good: 'passes', direct: false },
  'in app.auth() with and': { hook: (app, guard) => app.auth([guard(), guard()], { relation: 'and' }) as Hook, good: 'passes' },
  'in app.auth() with or and run: all': { hook: (app, guard) => app.auth([guard(), guard()], { relation: 'or', run: 'all' }) as Hook, good: 'passes' },
  'in app.auth() with and and run: all': { hook: (app, guard) => app.auth([guard(), guard()], { relation: 'and', run: 'all' }) as Hook, good: 'passes' },
  'in a list in app.auth()': { hook: (app, guard) => app.auth([[guard(), guard()]], { relation: 'or' }) as Hook, good: 'passes' },
  'awaited in app.auth()': { hook: (app, guard) => app.auth([async (request: FastifyRequest, reply: FastifyReply) => { await guard()(request, reply) }]) as Hook, good: 'passes' },
  'returned in app.auth()': { hook: (app, guard) => app.auth([async (request: FastifyRequest, reply: FastifyReply) => guard()(request, reply)]) as Hook, good: 'passes' },
  'returned from an arrow in app.auth()': { hook: (app, guard) => app.auth([(request: FastifyRequest, reply: FastifyReply) => guard()(request, reply)]) as Hook, good: 'passes' },

  // Slips: each rejects everyone, so that nobody overlooks it.
  'a rule returned from an async function': { hook: () => async () => auth.jwt(), good: 'rejects' },
  'a rule returned from an arrow': { hook: () => () => auth.apiKey(), good: 'rejects' },
  'with then(), not awaited': { hook: (_app, guard) => async (request, reply) => { guard()(request, reply).then(() => {}) }, good: 'rejects' },
  'with finally(), not awaited': { hook: (_app, guard) => async (request, reply) => { guard()(request, reply).finally(() => {}) }, good: 'rejects' },
  'a rule awaited': { hook: () => async () => { await (auth.any(auth.jwt(), auth.apiKey()).roles('admin') as unknown as Promise<void>) }, good: 'rejects' },
  'called and not awaited': { hook: (_app, guard) => async (request, reply) => { guard()(request, reply) }, good: 'rejects' },
  'called without a callback before done()': { hook: (_app, guard) => (request, reply, ...rest) => { guard()(request, reply); last(rest)() }, good: 'rejects' },
  'awaited and not called': { hook: (_app, guard) => async () => { await (guard() as unknown) }, good: 'rejects' },
  'returned from an async function and not called': { hook: (_app, guard) => async () => guard(), good: 'rejects' },
  'returned and not called': { hook: (_app, guard) => () => guard(), good: 'rejects' },
  'called without arguments': { hook: (_app, guard) => async () => { await loose(guard())() }, good: 'rejects' },
  'called without arguments, not awaited': { hook: (_app, guard) => () => { loose(guard())() }, good: 'rejects' },
  'called with undefined': { hook: (_app, guard) => async () => { await loose(guard())(undefined, undefined) }, good: 'rejects' },
  'called with the request of Node': { hook: (_app, guard) => async (request, reply) => { await loose(guard())(request.raw, reply.raw) }, good: 'rejects' },
  'called with the request of Node and the callback': { hook: (_app, guard) => (request, reply, ...rest) => { loose(guard())(request.raw, reply.raw, last(rest)) }, good: 'rejects' },
  'called with a copied request': { hook: (_app, guard) => async (request, reply) => { await guard()({ ...request } as FastifyRequest, reply) }, good: 'rejects' },
  'called with the callback in place of the reply': { hook: (_app, guard) => (request, _reply, ...rest) => { loose(guard())(request, last(rest)) }, good: 'rejects' },
  'made in the hook and not called': { hook: (app) => async () => { app.causeflowAuth.require(auth.jwt()) }, good: 'rejects' },
  'require as the hook\'s function': { hook: (app) => (request, reply, ...rest) => (app.causeflowAuth.require as unknown as Loose)(request, reply, ...rest), good: 'rejects' },
  'not called in app.auth()': { hook: (app, guard) => app.auth([async () => guard()]) as Hook, good: 'rejects' },
  'not awaited in app.auth()': { hook: (app, guard) => app.auth([async (request: FastifyRequest, reply: FastifyReply) => { guard()(request, reply) }]) as Hook, good: 'rejects' }
}

const phases = ['onRequest', 'preParsing', 'preValidation', 'preHandler'] as const

/** The guards, and how each is fetched. */
const guards: Record<string, (app: FastifyInstance) => Guard> = {
  jwt: (app) => app.causeflowAuth.jwt,
  apiKey: (app) => app.causeflowAuth.apiKey,
  webhook: (app) => app.causeflowAuth.webhook,
  require: (app) => (app as unknown as { adminGuard: Guard }).adminGuard
}

interface Site {
  app: FastifyInstance
  /** How often the handler of a URL was reached. */
  reached: Map<string, number>
}

async function createSite (t: Tap, defaultRule: AuthRule, before?: (app: FastifyInstance, reached: Map<string, number>) => unknown): Promise<Site> {
  const reached = new Map<string, number>()
  const app = await createApp(t, {
    auth: {
      default: defaultRule,
      jwt: { issuer: 'causeflow', audience: 'causeflow-api', secret: tokenSecret, isRevoked: async ({ subject }) => subject === 'usr_gone' },
      apiKey: { store: new MemoryApiKeyStore() }
    },
    before: async (app) => {
      await app.register(fastifyAuth)
      await before?.(app, reached)
    }
  })
  app.decorate('adminGuard', app.causeflowAuth.require(auth.jwt().roles('admin')) as never)
  return { app, reached }
}

type Tap = Parameters<typeof createApp>[0] & Pick<typeof t, 'strictSame'>

/** The headers of each kind of credential. */
async function credentials (app: FastifyInstance): Promise<Record<string, Record<string, Record<string, string>>>> {
  const { plaintextKey } = await issueKey(app)
  const gone = await issueKey(app)
  await app.causeflowAuth.apiKeys.revoke({ tenantId: 'ten_a', keyId: gone.keyId })
  return {
    jwt: { none: {}, bad: { authorization: 'Bearer a.b.c' }, revoked: bearer({ sub: 'usr_gone' }), good: bearer() },
    require: { none: {}, bad: bearer({ roles: ['member'] }), revoked: bearer({ sub: 'usr_gone', roles: ['admin'] }), good: bearer({ roles: ['admin'] }) },
    apiKey: { none: {}, bad: { 'x-api-key': `${plaintextKey}x` }, revoked: { 'x-api-key': gone.plaintextKey }, good: { 'x-api-key': plaintextKey } },
    webhook: { none: {}, bad: signed('[]'), revoked: signed('{}', {}, 'whsec_replaced'), good: signed('{}') }
  }
}

function pathOf (guard: string, way: string): string {
  return `/${guard}/${Object.keys(ways).indexOf(way)}`
}

function handlerOf (path: string, reached: Map<string, number>) {
  return async (): Promise<object> => {
    reached.set(path, (reached.get(path) ?? 0) + 1)
    return { content: true }
  }
}

/** Asks every route of a site with every credential, and compares who came in. */
async function ask (t: Tap, { app, reached }: Site, expected: (guard: string, way: Way) => Outcome | null): Promise<void> {
  await app.ready()
  const headers = await credentials(app)
  const faults: string[] = []
  for (const guard of Object.keys(guards)) {
    for (const [name, way] of Object.entries(ways)) {
      const outcome = expected(guard, way)
      if (outcome === null) continue
      const path = pathOf(guard, name)
      for (const [kind, sent] of Object.entries(headers[guard] ?? {})) {
        const before = reached.get(path) ?? 0
        const answer = await app.inject({ method: 'POST', url: path, payload: '{}', headers: { 'content-type': 'application/json', ...sent } })
        await setImmediate()
        const came = (reached.get(path) ?? 0) - before
        const wanted = kind === 'good' && outcome === 'passes' ? 1 : 0
        const fits = wanted === 1 ? answer.statusCode === 200 : answer.statusCode >= 400 && !answer.body.includes('content')
        if (came !== wanted || !fits) faults.push(`${guard}, ${name}, ${kind}: ${answer.statusCode}, reached ${came} times: ${answer.body}`)
      }
    }
  }
  t.strictSame(faults, [])
}

const defaults = { 'auth.public()': auth.public(), 'auth.deny()': auth.deny() }

for (const [words, rule] of Object.entries(defaults)) {
  const open = words === 'auth.public()'
  // Where the guard decides by itself a signature is undecidable, and the rule of the route is asked as well.
  const alone = (guard: string, way: Way): Outcome => open && guard !== 'webhook' ? way.good : 'rejects'

  for (const phase of phases) {
    // @fastify/auth and a callback have another form in preParsing.
    const fits = (name: string): boolean => phase !== 'preParsing' || !name.includes('app.auth()')

    t.test(`on a route, in ${phase}, with ${words}, a guard lets in only good credentials`, async (t) => {
      const faults = watchProcess(t)
      const site = await createSite(t, rule)
      for (const guard of Object.keys(guards)) {
        for (const [name, way] of Object.entries(ways)) {
          if (!fits(name)) continue
          await site.app.register(async (scope) => {
            const hook = way.hook(scope, () => (guards[guard] as (app: FastifyInstance) => Guard)(site.app))
            scope.post(pathOf(guard, name), { [phase]: hook }, handlerOf(pathOf(guard, name), site.reached))
          })
        }
      }
      await ask(t, site, (guard, way) => !fits(nameOf(way)) ? null : way.direct === true ? 'passes' : alone(guard, way))
      t.strictSame(faults, [])
    })

    t.test(`in a scope's ${phase}, with ${words}, a guard lets in only good credentials`, async (t) => {
      const faults = watchProcess(t)
      const site = await createSite(t, rule)
      for (const guard of Object.keys(guards)) {
        for (const [name, way] of Object.entries(ways)) {
          if (!fits(name)) continue
          await site.app.register(async (scope) => {
            scope.addHook(phase as 'preHandler', way.hook(scope, () => (guards[guard] as (app: FastifyInstance) => Guard)(site.app)) as never)
            scope.post(pathOf(guard, name), handlerOf(pathOf(guard, name), site.reached))
          })
        }
      }
      await ask(t, site, (guard, way) => fits(nameOf(way)) ? alone(guard, way) : null)
      t.strictSame(faults, [])
    })

    t.test(`on a route from before the plugin, in ${phase}, with ${words}, a guard lets in only good credentials`, async (t) => {
      const faults = watchProcess(t)
      // The guard itself is not there yet, and require() is only asked for in a request.
      const early = (name: string, way: Way): boolean => way.direct !== true && !/itself|with (and|or)|in a list/.test(name) && fits(name)
      const site = await createSite(t, rule, async (app, reached) => {
        for (const guard of Object.keys(guards)) {
          for (const [name, way] of Object.entries(ways)) {
            if (!early(name, way)) continue
            await app.register(async (scope) => {
              const hook = way.hook(scope, () => (guards[guard] as (app: FastifyInstance) => Guard)(app))
              scope.post(pathOf(guard, name), { [phase]: hook, ...(words === 'auth.public()' ? { config: { auth: auth.public() } } : {}) }, handlerOf(pathOf(guard, name), reached))
            })
          }
        }
      })
      await ask(t, site, (guard, way) => early(nameOf(way), way) ? alone(guard, way) : null)
      t.strictSame(faults, [])
    })
  }

  for (const phase of ['preValidation', 'preHandler'] as const) {
    t.test(`on a not-found handler, in ${phase}, with ${words}, a guard lets in only good credentials`, async (t) => {
      const faults = watchProcess(t)
      const site = await createSite(t, rule)
      for (const guard of Object.keys(guards)) {
        for (const [name, way] of Object.entries(ways)) {
          const path = pathOf(guard, name)
          await site.app.register(async (scope) => {
            const hook = way.hook(scope, () => (guards[guard] as (app: FastifyInstance) => Guard)(site.app)) as Guard
            // A not-found handler that states a rule with a signature fails at startup.
            if (guard === 'webhook' && [hook].flat().some((one) => guardRules.has(one))) return
            scope.setNotFoundHandler({ [phase]: hook }, handlerOf(path, site.reached))
          }, { prefix: path })
        }
      }
      await ask(t, site, (guard, way) => guard === 'webhook' ? 'rejects' : way.good)
      t.strictSame(faults, [])
    })
  }
}

function nameOf (way: Way): string {
  return Object.entries(ways).find(([, candidate]) => candidate === way)?.[0] ?? ''
}
