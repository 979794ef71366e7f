// Several copies of Fastify in one process, each with symbols of its own, and one whose symbols have other names.
import t from 'tap'
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import installed from 'fastify'
import { auth, causeflowAuth } from '../../lib/index.js'
import { authOptions, refusalOf, refusals, signed, type Teardown } from '../fixtures/app.js'
import { watchProcess } from '../fixtures/process-watch.js'

watchProcess(t)

t.setTimeout(120_000)
const repository = dirname(dirname(import.meta.dirname))
const symbol = 'fastify.request.contentType'

/** Loads another copy of the installed Fastify; its dependencies are the installed ones. */
function loadCopy (t: Teardown, change: (symbols: string) => string = (symbols) => symbols): typeof installed {
  const folder = mkdtempSync(join(tmpdir(), 'causeflow-fastify-'))
  t.teardown(() => { rmSync(folder, { recursive: true, force: true }) })
  symlinkSync(join(repository, 'node_modules'), join(folder, 'node_modules'))
  cpSync(join(repository, 'node_modules/fastify'), join(folder, 'copy/fastify'), { recursive: true })
  const file = join(folder, 'copy/fastify/lib/symbols.js')
  writeFileSync(file, change(readFileSync(file, 'utf8')))
  return createRequire(file)('../fastify.js') as typeof installed
}

/** Sends deliveries to an application whose own JSON parser notes what it sees. */
async function receive (t: Teardown, fastify: typeof installed, readsMediaType: boolean) {
  const app = fastify()
  t.teardown(() => app.close())
  const parsed: string[] = []
  app.removeContentTypeParser('application/json')
  app.addContentTypeParser('application/json', { parseAs: 'string' }, (_request, text, done) => { parsed.push(text as string); done(null, {}) })
  if (readsMediaType) app.addHook('onRequest', async (request) => { (request as { mediaType?: string }).mediaType?.toString() })
  await app.register(causeflowAuth, authOptions())
  app.post('/hook', { config: { auth: auth.webhook() } }, async (request) => ({ body: request.body, type: (request as { mediaType?: string }).mediaType ?? 'application/json' }))
  const send = async (headers: Record<string, string>) => await app.inject({ method: 'POST', url: '/hook', payload: '{"a":1}', headers })
  return { good: await send(signed('{"a":1}')), again: await send(signed('{"a":1}')), forged: await send(signed('{"a":2}')), parsed }
}

t.test('in each copy of Fastify a delivery is verified before it is parsed, where a hook has read its media type, too', async (t) => {
  for (const fastify of [installed, loadCopy(t), installed, loadCopy(t)]) {
    for (const readsMediaType of [true, false]) {
      const { good, again, forged, parsed } = await receive(t, fastify, readsMediaType)
      for (const answer of [good, again]) t.strictSame([answer.statusCode, answer.json()], [200, { body: { a: 1 }, type: 'application/json' }])
      t.strictSame(refusalOf(forged), refusals.badSignature)
      t.strictSame(parsed, [])
    }
  }
})

t.test('where Fastify has renamed what it remembers, no parser of the application sees a byte that is not verified', async (t) => {
  const source = readFileSync(join(repository, 'node_modules/fastify/lib/symbols.js'), 'utf8')
  if (!source.includes(symbol)) return
  const renamed = loadCopy(t, (symbols) => symbols.replace(symbol, 'fastify.request.renamed'))
  const unread = await receive(t, renamed, false)
  t.equal(unread.good.statusCode, 200)
  const read = await receive(t, renamed, true)
  for (const answer of [read.good, read.again, read.forged]) t.strictSame(refusalOf(answer), refusals.undecidable)
  t.strictSame([unread.parsed, read.parsed], [[], []])
})
