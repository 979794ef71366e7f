/**
 * The bytes of a body as they were received. A request whose bytes are wanted gets a content type of this
 * process alone, under which parsers of our own are registered, so that no parser of the application
 * is touched or in the way. The parser puts the client's content type back before anything looks at the body.
 */
import type { FastifyRequest } from 'fastify'

/** The private content types of one registration. */
export interface Labels {
  /** For JSON; its media type stays application/json, so that `body.content` schemas apply. */
  readonly json: string
  /** For everything else, and for no content type at all. */
  readonly other: string
  /** The label of a media type that a route's `body.content` names. */
  of (mediaType: string): string
}

/** Makes labels that no client can guess. */
export function createLabels (random: string): Labels {
  const labelled = (mediaType: string): string => `${mediaType}; x=${random}`
  return { json: labelled('application/json'), other: `application/x-${random}`, of: labelled }
}

/** How a body is read once its bytes are known: as JSON, as text, or as the bytes themselves. */
export type BodyForm = 'json' | 'text' | 'bytes'

/** The media type of a content type, in lower case and without parameters; empty for none. */
export function mediaTypeOf (contentType: string | undefined): string {
  if (contentType === undefined) return ''
  const end = contentType.indexOf(';')
  return (end < 0 ? contentType : contentType.slice(0, end)).trim().toLowerCase()
}

/** How a media type is read. */
export function bodyFormOf (mediaType: string): BodyForm {
  if (mediaType === 'application/json' || (mediaType.startsWith('application/') && mediaType.endsWith('+json'))) return 'json'
  return mediaType.startsWith('text/') ? 'text' : 'bytes'
}

/** A request whose content type is ours for the moment. */
export class Relabelled {
  readonly form: BodyForm
  /**
   * Whether Fastify goes by the label. Where it does not, the application's parser would get the bytes:
   * reject the request.
   */
  readonly isEffective: boolean
  readonly #contentType: string | undefined
  /** As the client sent it; another one where an earlier hook has set headers of its own. */
  readonly #received: string | undefined
  #request: FastifyRequest | null

  /** Puts the label on. `declared` are the media types of the route's `body.content`. */
  constructor (request: FastifyRequest, labels: Labels, declared: ReadonlySet<string>) {
    this.#request = request
    this.#contentType = request.headers['content-type']
    this.#received = request.raw.headers['content-type']
    const mediaType = mediaTypeOf(this.#contentType)
    this.form = bodyFormOf(mediaType)
    const label = declared.has(mediaType) ? labels.of(mediaType) : this.form === 'json' ? labels.json : labels.other
    setContentType(request, label, label)
    this.isEffective = rereadMediaType(request)
  }

  /** Puts the client's content type back. Does nothing the second time. */
  restore (): void {
    if (this.#request === null) return
    setContentType(this.#request, this.#received, this.#contentType)
    forgetMediaType(this.#request)
    this.#request = null
  }
}

/**
 * Whether a request announces a body: by its headers (RFC 9112 §6.3), over HTTP/2 by not ending with them
 * (RFC 9113 §8.1).
 */
export function hasBody ({ headers, raw }: FastifyRequest): boolean {
  if (raw.httpVersionMajor === 2 && headers['content-length'] === undefined) {
    return (raw as { stream?: { endAfterHeaders?: boolean } }).stream?.endAfterHeaders !== true
  }
  return headers['transfer-encoding'] !== undefined || (headers['content-length'] !== undefined && headers['content-length'] !== '0')
}

function setContentType (request: FastifyRequest, received: string | undefined, contentType: string | undefined): void {
  if (received === undefined) delete request.raw.headers['content-type']
  else request.raw.headers['content-type'] = received
  if (request.headers['content-type'] === contentType) return
  // An earlier hook has set headers of its own over the received ones; where it took this one away, undefined stands over it.
  request.headers = { ...request.headers, 'content-type': contentType } as FastifyRequest['headers']
}

type Memory = Record<symbol, unknown>

/**
 * Under which symbol the requests of one kind remember their media type. Each copy of Fastify that the
 * process has loaded has a symbol of its own, and a prototype of requests for each scope. In here only where
 * clearing it was seen to work.
 */
const mediaTypeSymbols = new WeakMap<object, symbol>()

/**
 * Has Fastify read the content type anew. Under one that an earlier hook's `request.mediaType` has made it
 * remember, the application's parser would get bytes that nobody has verified. False where that cannot be
 * made sure.
 */
function rereadMediaType (request: FastifyRequest): boolean {
  if (!('mediaType' in request)) return true
  const kind = Object.getPrototypeOf(request) as object
  const memory = request as unknown as Memory
  const known = mediaTypeSymbols.get(kind)
  if (known !== undefined) {
    memory[known] = undefined
    return true
  }
  if (!Object.hasOwn(fastifyPrototypeOf(request), 'mediaType')) return true
  const remembered = Object.getOwnPropertySymbols(request).find(({ description }) => description === 'fastify.request.contentType')
  if (remembered !== undefined) memory[remembered] = undefined
  // What is read now is remembered under the symbol that counts, whatever its name is. If nothing changes, it
  // was remembered before.
  const before = new Map(Object.getOwnPropertySymbols(request).map((symbol) => [symbol, memory[symbol]]))
  if (request.mediaType === undefined) return false
  const changed = Object.getOwnPropertySymbols(request).find((symbol) => memory[symbol] !== before.get(symbol))
  if (changed === undefined) return false
  mediaTypeSymbols.set(kind, changed)
  return true
}

/**
 * The prototype of all requests of a copy of Fastify. Before 5.9 it has no media type, and remembers none:
 * one that is there is the application's own.
 */
function fastifyPrototypeOf (request: object): object {
  const next = Object.getPrototypeOf(request) as object | null
  return next === null || next === Object.prototype ? request : fastifyPrototypeOf(next)
}

/** Forgets the label once it is off: the handler would read it. */
function forgetMediaType (request: FastifyRequest): void {
  const known = mediaTypeSymbols.get(Object.getPrototypeOf(request) as object)
  if (known !== undefined) (request as unknown as Memory)[known] = undefined
}
