// The API of docs/examples/api: who is let in where, every route by its row, and no route without one.
import t from 'tap'
import type { FastifyInstance } from 'fastify'
import { table, type Case, type Row } from './table.js'
import { createWorld, type Answer, type World } from './world.js'

t.setTimeout(170_000)

// What is only read is read in one world; what is changed, in one of its own.
const reading = createWorld(t)

for (const row of table) {
  t.test(`${row.route}${typeof row.path === 'string' ? ` at ${row.path}` : ''}`, async (t) => {
    const world = row.route.startsWith('GET ') ? await reading : await createWorld(t)

    t.equal((await ask(world, row)).status, row.none, 'no credential')
    // The good ones last: a refused request that had changed something would spoil what they ask for.
    for (const column of ['wrongKind', 'wrongRole', 'wrongTenant', 'good'] as const) {
      const cases = row[column]
      if (typeof cases === 'string') {
        t.comment(`${column}: ${cases}`)
        continue
      }
      for (const [credential, status] of cases) {
        const answer = await ask(world, row, credential)
        t.equal(answer.status, status, `${column}: ${credential}`)
        if (column === 'wrongTenant') t.notMatch(answer.text, /acme/i, `${credential} is told nothing of ACME`)
        if (answer.status >= 400) t.match(JSON.parse(answer.text), { error: /^[a-z_]+$/, message: String }, `${credential} is refused in CauseFlow's words`)
      }
    }
  })
}

t.test('every route has a row, and every row a route', async (t) => {
  const { app } = await createWorld(t, {}, { listening: false })
  t.strictSame(compare(app), { withoutRow: [], withoutRoute: [] })
})

t.test('a new route without a row is noticed, and so is a row whose route has gone', async (t) => {
  const { app } = await createWorld(t, {}, { listening: false })
  app.get('/v1/new', async () => 'in')
  t.strictSame(compare(app, table.filter(({ route }) => route !== 'GET /v1/users')), { withoutRow: ['GET /v1/new', 'GET /v1/users'], withoutRoute: [] })
  t.strictSame(compare(app, [...table, { ...table[0]!, route: 'GET /v1/gone' }]), { withoutRow: ['GET /v1/new'], withoutRoute: ['GET /v1/gone'] })
})

t.test('a HEAD is decided by the rule of its GET, and a stream has none', async (t) => {
  const { app } = await createWorld(t, {}, { listening: false })
  const routes = app.causeflowAuth.routes()
  const rules = (method: string): Map<string, string> => new Map(routes.filter((route) => route.method === method).map(({ url, rule }) => [url, rule]))
  const [gets, heads] = [rules('GET'), rules('HEAD')]
  for (const [url, rule] of heads) t.equal(rule, gets.get(url), url)
  t.strictSame([...gets.keys()].filter((url) => !heads.has(url)).sort(), ['/v1/investigations/:investigationId/events', '/v1/relay'])
})

t.test('the document has every route with its rule, but the socket and itself', async (t) => {
  const { app } = await createWorld(t, {}, { listening: false })
  await app.ready()
  const { paths } = app.swagger() as { paths: Record<string, Record<string, { 'x-causeflow-rule'?: string }>> }
  const documented = Object.entries(paths).flatMap(([path, operations]) => Object.entries(operations).map(([method, operation]) =>
    `${method.toUpperCase()} ${path.replace(/\{(\w+)\}/g, ':$1')} ${operation['x-causeflow-rule']}`))
  const registered = app.causeflowAuth.routes().filter(({ method, url }) => method !== 'HEAD' && url !== '/v1/relay' && url !== '/v1/openapi.json')
  t.strictSame(documented.sort(), registered.map(({ method, url, rule }) => `${String(method)} ${url} ${rule}`).sort())
})

/** The difference between the routes of an application and the table. The HEAD of a GET is no route of its own. */
function compare (app: FastifyInstance, rows: readonly Row[] = table): { withoutRow: string[], withoutRoute: string[] } {
  const routes = new Set(app.causeflowAuth.routes().filter(({ method }) => method !== 'HEAD').flatMap(({ method, url }) => [method].flat().map((one) => `${one} ${url}`)))
  const stated = new Set<string>(rows.map(({ route }) => route))
  return { withoutRow: [...routes].filter((route) => !stated.has(route)).sort(), withoutRoute: [...stated].filter((route) => !routes.has(route)).sort() }
}

async function ask (world: World, { route, path, body, upgrade }: Row, credential?: Case[0]): Promise<Answer> {
  const [method = '', url = ''] = route.split(' ')
  const text = body === undefined || typeof body === 'string' ? body : JSON.stringify(body)
  const type: Record<string, string> = body === undefined ? {} : { 'content-type': typeof body === 'string' ? 'application/x-www-form-urlencoded' : 'application/json' }
  const proof = credential === undefined ? {} : await world.headers(credential, text)
  return await world.ask({
    method,
    path: typeof path === 'function' ? await path(world) : path ?? url,
    headers: { ...type, ...proof },
    upgrade: upgrade ?? false,
    ...(text === undefined ? {} : { body: text })
  })
}
