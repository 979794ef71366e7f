/** Error handlers for the application's own `setErrorHandler`. The plugin never sets one. */
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { AnyReply, AnyRequest } from './any-server.js'
import { challengeHeader, errorWord, isAuthError, retryAfterHeader, type AuthError } from './errors.js'

/** What an application's errors may carry. */
interface RequestError extends Error {
  code?: string
  statusCode?: number
  /** Set by Fastify where a schema refused a request. */
  validation?: unknown
}

/** A handler for `app.setErrorHandler`, of any server. */
export type ErrorHandler = (error: unknown, request: AnyRequest, reply: AnyReply) => void

const words: Readonly<Record<number, string>> = {
  400: 'bad_request',
  401: 'unauthorized',
  403: 'forbidden',
  404: 'not_found',
  405: 'method_not_allowed',
  408: 'request_timeout',
  409: 'conflict',
  413: 'payload_too_large',
  415: 'unsupported_media_type',
  422: 'unprocessable_entity',
  429: 'too_many_requests',
  503: 'service_unavailable'
}

const hidden = 'Something went wrong on our side'

/**
 * Answers every error as CauseFlow's wire contract says: `{ error, message }`. A refused schema is 400
 * `validation_error`; what was not expected is 500 `internal_error` with a message that tells nothing. Every error is logged.
 */
export function causeflowErrorHandler (): ErrorHandler {
  return handler((thrown, request, reply) => {
    const { error, status, word, message } = read(thrown, request)
    answer(error, status, reply)
    send(reply, 'application/json; charset=utf-8', { error: word, message })
  })
}

/** Answers every error as `application/problem+json` (RFC 9457), with the code of an AuthError as `code`. Every error is logged. */
export function problemErrorHandler (): ErrorHandler {
  return handler((thrown, request, reply) => {
    const { error, status, word, message } = read(thrown, request)
    answer(error, status, reply)
    // Of no type of its own, a problem's title is its status in words (RFC 9457 §4.2.1).
    const problem = { type: 'about:blank', title: titleOf(word), status, detail: message, ...(isAuthError(error) ? { code: error.code } : {}) }
    send(reply, 'application/problem+json', problem)
  })
}

function handler (handle: (thrown: unknown, request: FastifyRequest, reply: FastifyReply) => void): ErrorHandler {
  return handle as ErrorHandler
}

interface Reading { error: RequestError | AuthError, status: number, word: string, message: string }

function read (thrown: unknown, request: FastifyRequest): Reading {
  // Anything may be thrown, undefined included.
  const error: RequestError | AuthError = thrown instanceof Error ? thrown : new Error('Something that is no Error was thrown', { cause: thrown })
  const given = error.statusCode
  const status = 'validation' in error && error.validation !== undefined ? 400 : Number.isInteger(given) && (given as number) >= 400 && (given as number) < 600 ? given as number : 500
  if (status >= 500) request.log.error({ err: error }, error.message)
  else request.log.info({ err: error }, error.message)
  if (isAuthError(error)) return { error, status, word: errorWord(error.code), message: error.message }
  if ('validation' in error && error.validation !== undefined) return { error, status, word: 'validation_error', message: error.message }
  const word = status >= 500 && status !== 503 ? 'internal_error' : words[status] ?? 'bad_request'
  return { error, status, word, message: status >= 500 ? hidden : error.message }
}

function answer (error: RequestError | AuthError, status: number, reply: FastifyReply): void {
  reply.code(status)
  if (!isAuthError(error)) return
  // Set already where the plugin refused; not where the application threw, as principalOf may.
  const challenge = challengeHeader(error)
  if (challenge !== null && !reply.hasHeader('www-authenticate')) reply.header('www-authenticate', challenge)
  const retryAfter = retryAfterHeader(error)
  if (retryAfter !== null && !reply.hasHeader('retry-after')) reply.header('retry-after', retryAfter)
}

/** Serialised here: a response schema of the route, or a serializer that it has set, is for its own answers and would garble this one. */
function send (reply: FastifyReply, type: string, body: object): void {
  reply.type(type).serializer(String).send(JSON.stringify(body))
}

function titleOf (word: string): string {
  return word.charAt(0).toUpperCase() + word.slice(1).replaceAll('_', ' ')
}

/**
 * Paths for pino's `redact`: where credentials stand in requests and replies that an application logs itself. The
 * plugin logs none. Header names of your own go beside these.
 */
export const logRedactPaths: readonly string[] = Object.freeze(['req', 'request', 'res', 'response'].flatMap((object) => [
  'authorization', 'cookie', '"set-cookie"', '"x-api-key"', '"x-webhook-signature"', '"webhook-signature"', '"svix-signature"',
  '"stripe-signature"', '"x-slack-signature"', '"x-hub-signature-256"', '"sentry-hook-signature"'
].map((name) => `${object}.headers${name.startsWith('"') ? `[${name}]` : `.${name}`}`)))
