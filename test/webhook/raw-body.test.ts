import { randomUUID } from 'node:crypto'
import t, { type Test } from 'tap'
import Fastify, { type FastifyRequest } from 'fastify'
import { bodyFormOf, createLabels, hasBody, mediaTypeOf, Relabelled } from '../../lib/webhook/raw-body.js'
import { watchProcess } from '../fixtures/process-watch.js'

watchProcess(t)

type RawBody = typeof import('../../lib/webhook/raw-body.js')

const labels = createLabels('random')
const nothing: ReadonlySet<string> = new Set()

/** A request as Fastify hands it to a hook. */
async function received (t: Test, headers: Record<string, string> = {}): Promise<FastifyRequest> {
  const app = Fastify()
  t.teardown(() => app.close())
  let request: FastifyRequest | undefined
  app.get('/', async (given) => { request = given })
  await app.inject({ url: '/', headers })
  return request!
}

/** The module as a process has it that has seen no request. */
async function loadedAnew (): Promise<RawBody> {
  return await import(`${new URL('../../lib/webhook/raw-body.js', import.meta.url).href}?${randomUUID()}`) as RawBody
}

t.test('each label carries what no client can guess, and the media type that schemas go by', async (t) => {
  t.equal(mediaTypeOf(labels.json), 'application/json')
  t.equal(mediaTypeOf(labels.of('text/csv')), 'text/csv')
  for (const label of [labels.json, labels.other, labels.of('text/csv'), labels.of('application/json')]) t.match(label, /^[a-z]+\/.*random/, label)
  t.not(mediaTypeOf(labels.other), 'application/json')
  const others = createLabels('another')
  for (const label of [labels.json, labels.other, labels.of('text/csv')]) t.notOk([others.json, others.other, others.of('text/csv')].includes(label), label)
})

t.test('a media type is the content type without parameters, in lower case', async (t) => {
  for (const [contentType, mediaType] of [
    [undefined, ''],
    ['', ''],
    ['text/plain', 'text/plain'],
    ['Application/JSON', 'application/json'],
    ['application/json; charset=utf-8', 'application/json'],
    ['application/json;a=1;b=2', 'application/json'],
    [' text/plain ', 'text/plain'],
    ['text/plain ; charset=utf-8', 'text/plain'],
    [';charset=utf-8', '']
  ] as const) t.equal(mediaTypeOf(contentType), mediaType, String(contentType))
})

t.test('JSON and its relatives are read as JSON, text/ as text, and all else as bytes', async (t) => {
  for (const mediaType of ['application/json', 'application/vnd.api+json', 'application/problem+json']) t.equal(bodyFormOf(mediaType), 'json', mediaType)
  for (const mediaType of ['text/plain', 'text/csv', 'text/json', 'text/x+json']) t.equal(bodyFormOf(mediaType), 'text', mediaType)
  for (const mediaType of ['', 'application/octet-stream', 'application/xml', 'application/jsonl', 'application/json+xml', '+json/application', 'image/svg+json', 'image/text/']) t.equal(bodyFormOf(mediaType), 'bytes', mediaType)
})

t.test('a request has a body where its headers announce one, and 0 bytes are none', async (t) => {
  const answer = (headers: Record<string, string>): boolean => hasBody({ headers, raw: { httpVersionMajor: 1 } } as unknown as FastifyRequest)
  for (const headers of [{ 'content-length': '1' }, { 'content-length': '10' }, { 'transfer-encoding': 'chunked' }, { 'transfer-encoding': 'chunked', 'content-length': '0' }]) t.equal(answer(headers), true, JSON.stringify(headers))
  for (const headers of [{}, { 'content-length': '0' }, { 'content-type': 'application/json' }, { '': '1' }]) t.equal(answer(headers), false, JSON.stringify(headers))
})

t.test('a request gets the label of its content type, says how its body is read, and gets back what the client sent', async (t) => {
  const declared = new Set(['text/csv', 'application/vnd.api+json'])
  for (const [sent, label, form] of [
    ['application/json', labels.json, 'json'],
    ['Application/JSON; charset=utf-8', labels.json, 'json'],
    ['application/problem+json', labels.json, 'json'],
    ['text/plain; charset=utf-8', labels.other, 'text'],
    ['application/octet-stream', labels.other, 'bytes'],
    ['', labels.other, 'bytes'],
    ['Text/CSV; header=present', labels.of('text/csv'), 'text'],
    ['application/vnd.api+json', labels.of('application/vnd.api+json'), 'json']
  ] as const) {
    const request = await received(t, { 'content-type': sent })
    const relabelled = new Relabelled(request, labels, declared)
    t.equal(relabelled.form, form, sent)
    t.equal(request.headers['content-type'], label, sent)
    t.equal(request.raw.headers['content-type'], label, sent)
    relabelled.restore()
    t.equal(request.headers['content-type'], sent)
    t.equal(request.raw.headers['content-type'], sent)
  }
})

t.test('a request without a content type has none again', async (t) => {
  const request = await received(t, { 'x-mine': '1' })
  const before = { ...request.headers }
  const relabelled = new Relabelled(request, labels, nothing)
  t.equal(relabelled.form, 'bytes')
  t.equal(request.headers['content-type'], labels.other)
  t.equal(request.raw.headers['content-type'], labels.other)
  relabelled.restore()
  t.strictSame(request.headers, before)
  t.notOk('content-type' in request.raw.headers)
})

t.test('what is restored once is left alone afterwards', async (t) => {
  const request = await received(t, { 'content-type': 'text/plain' })
  const relabelled = new Relabelled(request, labels, nothing)
  relabelled.restore()
  request.raw.headers['content-type'] = 'text/markdown'
  relabelled.restore()
  t.equal(request.headers['content-type'], 'text/markdown')
})

t.test('no copy of the headers is made: what is changed in node:http\'s later is seen in Fastify\'s', async (t) => {
  for (const headers of [{}, { 'content-type': 'text/plain' }] as Array<Record<string, string>>) {
    const request = await received(t, headers)
    const relabelled = new Relabelled(request, labels, nothing)
    request.raw.headers['x-first'] = 'first'
    relabelled.restore()
    request.raw.headers['user-agent'] = 'another'
    t.match(request.headers, { 'x-first': 'first', 'user-agent': 'another' })
    t.equal(request.headers, request.raw.headers)
  }
})

t.test('where an earlier hook has set headers over the received ones, both get the label and both get theirs back', async (t) => {
  const request = await received(t, { 'content-type': 'text/plain', 'x-mine': 'received' })
  request.headers = { 'content-type': 'application/json; charset=utf-8', 'x-mine': 'set' }
  const relabelled = new Relabelled(request, labels, nothing)
  t.equal(relabelled.form, 'json', 'the hook\'s content type counts, as it does for Fastify')
  t.equal(request.headers['content-type'], labels.json)
  t.equal(request.raw.headers['content-type'], labels.json)
  t.equal(request.headers['x-mine'], 'set')
  relabelled.restore()
  t.equal(request.headers['content-type'], 'application/json; charset=utf-8')
  t.equal(request.headers['x-mine'], 'set')
  t.equal(request.raw.headers['content-type'], 'text/plain')
  t.equal(request.raw.headers['x-mine'], 'received')
})

t.test('a content type of an earlier hook\'s own is put back also where the client sent none', async (t) => {
  const request = await received(t)
  request.headers = { 'content-type': 'application/json' }
  const relabelled = new Relabelled(request, labels, nothing)
  t.equal(relabelled.form, 'json')
  relabelled.restore()
  t.equal(request.headers['content-type'], 'application/json')
  t.notOk('content-type' in request.raw.headers)
})

t.test('a content type that an earlier hook has taken away stays away', async (t) => {
  const request = await received(t, { 'content-type': 'application/json', 'x-other': '1' })
  request.headers = { 'content-type': undefined } as unknown as FastifyRequest['headers']
  const relabelled = new Relabelled(request, labels, nothing)
  t.equal(relabelled.form, 'bytes')
  t.equal(request.headers['content-type'], labels.other)
  relabelled.restore()
  t.equal(request.headers['content-type'], undefined)
  t.equal(request.headers['x-other'], '1')
})

t.test('a media type that an earlier hook has read is forgotten under the label, and the label is forgotten after it', async (t) => {
  const { Relabelled } = await loadedAnew()
  const mediaType = (request: object): unknown => (request as { mediaType?: string }).mediaType
  for (const round of ['the first request', 'the next one']) {
    const request = await received(t, { 'content-type': 'text/plain; charset=utf-8' })
    const { id, url, routeOptions } = request
    // Older versions of Fastify know no media type, and have none to forget.
    if (!('mediaType' in request)) return
    t.equal(mediaType(request), 'text/plain')
    const relabelled = new Relabelled(request, labels, nothing)
    t.equal(mediaType(request), labels.other, round)
    relabelled.restore()
    t.equal(mediaType(request), 'text/plain', round)
    t.strictSame([request.id, request.url, request.routeOptions.url], [id, url, routeOptions.url], 'and nothing else is')
  }
})

t.test('a media type that was read before is forgotten under whatever symbol it is remembered, or the label has no effect', async (t) => {
  /** A request of a copy of Fastify that remembers what its content type is under a symbol of its own, or out of reach. */
  const requestOf = (kind: object, read: boolean): FastifyRequest => {
    const request = Object.assign(Object.create(kind) as object, { headers: { 'content-type': 'application/json' }, raw: { headers: {} as Record<string, string> } })
    request.raw.headers = request.headers
    if (read) void (request as unknown as FastifyRequest).mediaType // eslint-disable-line no-void
    return request as unknown as FastifyRequest
  }
  const kindOf = (symbol: symbol) => ({
    get mediaType (): string {
      const self = this as unknown as Record<symbol, { text: string } | undefined> & FastifyRequest
      self[symbol] ??= { text: self.headers['content-type'] ?? '' }
      return self[symbol].text.split(';')[0]!
    },
    get seen (): string { return (this as unknown as Record<symbol, { text: string }>)[symbol]!.text }
  })
  for (const [description, readFirst, isEffective] of [
    ['fastify.request.contentType', true, true],
    ['fastify.request.contentType', false, true],
    ['fastify.request.renamed', false, true],
    ['fastify.request.renamed', true, false]
  ] as const) {
    const kind = kindOf(Symbol(description))
    for (const round of [1, 2]) {
      const request = requestOf(kind, readFirst)
      const relabelled = new Relabelled(request, labels, nothing)
      t.equal(relabelled.isEffective, isEffective, `${description} ${round}`)
      void request.mediaType // eslint-disable-line no-void
      if (isEffective) t.equal((request as unknown as { seen: string }).seen, labels.json)
    }
  }
  const learned = kindOf(Symbol('fastify.request.renamed'))
  t.equal(new Relabelled(requestOf(learned, false), labels, nothing).isEffective, true)
  t.equal(new Relabelled(requestOf(learned, true), labels, nothing).isEffective, true, 'once it is known where, it can be forgotten')
})

t.test('over HTTP/2 a body needs no length: it is there unless the headers end the request', async (t) => {
  const answer = (headers: Record<string, string>, stream?: object): boolean => hasBody({ headers, raw: { httpVersionMajor: 2, stream } } as unknown as FastifyRequest)
  t.equal(answer({}, { endAfterHeaders: false }), true)
  t.equal(answer({}, {}), true)
  t.equal(answer({}, { endAfterHeaders: true }), false)
  t.equal(answer({ 'content-length': '5' }, { endAfterHeaders: false }), true)
  t.equal(answer({ 'content-length': '0' }, { endAfterHeaders: false }), false)
})
