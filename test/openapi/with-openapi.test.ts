// The options that are made, what is composed with them, and what is refused.
import t from 'tap'
import type { FastifySchema } from 'fastify'
import { auth } from '../../lib/index.js'
import { withCauseflowOpenApi } from '../../lib/openapi/index.js'
import { documentOf, securities, v31 } from './fixture.js'

const answer = async (): Promise<string> => 'ok'

t.test('the caller\'s options are not changed, and those that are not read here are passed on', async (t) => {
  const options = Object.freeze({ openapi: Object.freeze({ info: Object.freeze({ title: 'T', version: '1' }) }), hideUntagged: true, stripBasePath: false })
  const made = withCauseflowOpenApi(options)
  t.match(made, { openapi: { info: { title: 'T', version: '1' } }, hideUntagged: true, stripBasePath: false })
  t.strictSame(Object.keys(options), ['openapi', 'hideUntagged', 'stripBasePath'])
  t.type(withCauseflowOpenApi().transform, 'function')
})

t.test('the application\'s own transform comes first: what it writes wins, what it hides is hidden', async (t) => {
  const seen: string[] = []
  const document = await documentOf(t, {
    swagger: {
      openapi: {},
      transform: ({ schema, url, route }) => {
        seen.push(`${String(route.method)} ${url}`)
        const own: FastifySchema & { hide?: boolean } = { ...schema }
        if (url === '/open') own.security = []
        if (url === '/hidden') own.hide = true
        return { schema: own, url: `/v1${url}` }
      },
      transformObject: (input) => ({ ...'openapiObject' in input ? input.openapiObject : {}, tags: [{ name: 'mine' }] })
    },
    routes (app) {
      app.get('/open', answer)
      app.get('/closed', { schema: { summary: 'Kept' } }, answer)
      app.get('/hidden', answer)
    }
  })
  t.strictSame(seen, ['GET /open', 'GET /closed', 'GET /hidden'])
  t.strictSame(securities(document), { 'GET /v1/open': [], 'GET /v1/closed': [{ bearer: [] }] })
  t.match(document, { tags: [{ name: 'mine' }], paths: { '/v1/closed': { get: { summary: 'Kept' } } } })
})

t.test('a route\'s own swaggerTransform can call the one of the options', async (t) => {
  const made = withCauseflowOpenApi(v31)
  const document = await documentOf(t, {
    swagger: made,
    routes (app) {
      app.get('/own', { config: { auth: auth.apiKey(), swaggerTransform: (input) => made.transform({ ...input, schema: { ...input.schema, summary: 'Own' } }) } }, answer)
      app.get('/plain', { config: { swaggerTransform: false } }, answer)
    }
  })
  t.match(document.paths['/own']?.get, { summary: 'Own', security: [{ apiKey: [] }] })
  t.equal(document.paths['/plain']?.get?.security, undefined)
})

t.test('a scheme of the same name that was written by hand stands', async (t) => {
  const mine = { type: 'openIdConnect' as const, openIdConnectUrl: 'https://acme.clerk.accounts.dev/.well-known/openid-configuration' }
  const document = await documentOf(t, { swagger: { openapi: { components: { securitySchemes: { bearer: mine } } } }, routes: (app) => app.get('/', answer) })
  t.strictSame(document.components.securitySchemes.bearer, mine)
  t.strictSame(securities(document), { 'GET /': [{ bearer: [] }] })
})

t.test('security of the whole document may name a scheme before any route has', async (t) => {
  const document = await documentOf(t, { auth: { apiKey: undefined }, swagger: { openapi: { security: [{ apiKey: [] }] } }, routes: (app) => app.get('/', answer) })
  t.strictSame(Object.keys(document.components.securitySchemes).sort(), ['apiKey', 'bearer', 'signature'])
})

t.test('what cannot be done does not start, with the mend', async (t) => {
  t.throws(() => withCauseflowOpenApi({ mode: 'static' } as never), { code: 'AUTH_CONFIG_OPTION', message: /Take mode off/ })
  t.throws(() => withCauseflowOpenApi({ swagger: {} } as never), { code: 'AUTH_CONFIG_OPTION', message: /Give openapi instead/ })
  t.throws(() => withCauseflowOpenApi({}, { webhook: true } as never), { code: 'AUTH_CONFIG_OPTION', message: /no option 'webhook'. It has webhooks and error/ })
  t.throws(() => withCauseflowOpenApi({}, { webhooks: 'all' } as never), { code: 'AUTH_CONFIG_OPTION', message: /webhooks is true, false or/ })
  t.throws(() => withCauseflowOpenApi({}, { webhooks: { events: ['incident.craeted'] } } as never), { code: 'AUTH_CONFIG_OPTION', message: /has 'incident.craeted', which is none of the events/ })
  t.throws(() => withCauseflowOpenApi({ openapi: { openapi: '3.0.3' } }, { webhooks: true }), { code: 'AUTH_CONFIG_OPTION', message: /need OpenAPI 3.1, and the document is 3.0.3/ })
})
