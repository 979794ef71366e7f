import t from 'tap'
import { auth, bindPrincipalToLog } from '../lib/index.js'
import { bearer, createApp, createLog, issueKey, signed } from './fixtures/app.js'
import { watchProcess } from './fixtures/process-watch.js'

watchProcess(t)

t.test('after the hook every line of a request says whose it is, Fastify\'s own last one included', async (t) => {
  const log = createLog()
  const app = await createApp(t, { fastify: { logger: log.logger } })
  app.addHook('preValidation', bindPrincipalToLog)
  app.get('/', { config: { auth: auth.any(auth.jwt(), auth.apiKey()).optional() } }, async (request) => { request.log.info('handling'); return {} })
  app.post('/hook', { config: { auth: auth.webhook() } }, async (request) => { request.log.info('handling'); return {} })
  const { plaintextKey: key, ...record } = await issueKey(app)
  await app.inject({ url: '/', headers: bearer() })
  await app.inject({ url: '/', headers: { 'x-api-key': key } })
  await app.inject({ method: 'POST', url: '/hook', payload: '{}', headers: signed('{}') })
  await app.inject('/')
  await app.inject({ url: '/', headers: bearer({ exp: 1 }) })
  const said = (message: string): unknown[] => log.lines.filter(({ msg }) => msg === message).map(({ scheme, tenantId, subject, keyId, source }) => ({ scheme, tenantId, subject, keyId, source }))
  const nobody = { scheme: undefined, tenantId: undefined, subject: undefined, keyId: undefined, source: undefined }
  const principals = [
    { ...nobody, scheme: 'jwt', tenantId: 'ten_a', subject: 'usr_1' },
    { ...nobody, scheme: 'apiKey', tenantId: record.tenantId, keyId: record.keyId },
    { ...nobody, scheme: 'webhook', tenantId: null, source: 'default' },
    nobody
  ]
  t.strictSame(said('handling'), principals)
  t.strictSame(said('request completed'), [...principals, nobody])
  t.notMatch(log.text(), /ada@example\.com/, 'no e-mail address')
  t.notOk(log.text().includes(key), 'no key')
})

t.test('a log line has no more of a subject and a tenant than 256 characters, and escapes what it has', async (t) => {
  const log = createLog()
  const app = await createApp(t, { fastify: { logger: log.logger } })
  app.addHook('preValidation', bindPrincipalToLog)
  app.get('/', { config: { auth: auth.jwt().anyTenant() } }, async () => ({}))
  app.get('/denied', { config: { auth: auth.jwt().anyTenant().roles('admin') } }, async () => ({}))
  const long = '\u001b[2J\n\u202e' + 'x'.repeat(2_000)
  for (const url of ['/', '/denied']) await app.inject({ url, headers: bearer({ sub: long, tenant_id: long }) })
  const cut = `${long.slice(0, 256)}…`
  const shown = log.lines.flatMap((line) => [line, line['principal'] as typeof line | undefined]).filter((line) => line?.['subject'] !== undefined)
  t.strictSame(shown.map((line) => [line?.['subject'], line?.['tenantId']]), shown.map(() => [cut, cut]))
  t.equal(shown.length, 2)
  t.notOk(log.text().includes('\u001b'))
  t.notOk(log.text().includes('x'.repeat(257)))
})
