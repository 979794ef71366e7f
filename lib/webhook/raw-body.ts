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
    forgetMediaType(request)
    setContentType(request, label, label)
  }

  /** Puts the client's content type back. Does nothing the second time. */
  restore (): void {
    if (this.#request === null) return
    setContentType(this.#request, this.#received, this.#contentType)
    forgetMediaType(this.#request)
    this.#request = null
  }
}

/** Whether a request announces a body (RFC 9112 §6.3). */
export function hasBody ({ headers }: FastifyRequest): boolean {
  return headers['transfer-encoding'] !== undefined || (headers['content-length'] !== undefined && headers['content-length'] !== '0')
}

function setContentType (request: FastifyRequest, received: string | undefined, contentType: string | undefined): void {
  if (received === undefined) delete request.raw.headers['content-type']
  else request.raw.headers['content-type'] = received
  if (request.headers['content-type'] === contentType) return
  // An earlier hook has set headers of its own over the received ones; where it took this one away, undefined stands over it.
  request.headers = { ...request.headers, 'content-type': contentType } as FastifyRequest['headers']
}

let mediaTypeSymbol: symbol | undefined

/**
 * An earlier hook that read `request.mediaType` has made Fastify remember the content type before the label:
 * the application's parser would then see unverified bytes. What was remembered is forgotten; and so is the
 * label once it is off, or the handler would read it there.
 */
function forgetMediaType (request: FastifyRequest): void {
  mediaTypeSymbol ??= Object.getOwnPropertySymbols(request).find(({ description }) => description === 'fastify.request.contentType')
  if (mediaTypeSymbol !== undefined) (request as unknown as Record<symbol, unknown>)[mediaTypeSymbol] = undefined
}
