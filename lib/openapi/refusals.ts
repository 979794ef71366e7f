/** The refusals that an operation documents, from the compiled rule of its route. */
import type { Plan } from '../route.js'

export interface Refusal {
  readonly status: 401 | 403 | 409 | 415 | 503
  readonly description: string
  readonly headers: Readonly<Record<string, { readonly type: 'string' | 'integer', readonly description: string }>>
}

const challenge = { 'www-authenticate': { type: 'string', description: 'The credential that is wanted, and what was wrong with the one presented' } } as const

const refusals = {
  unauthorized: { status: 401, description: 'A credential is absent or is not accepted', headers: challenge },
  forbidden: { status: 403, description: 'The credential is good, and not enough for this', headers: challenge },
  denied: { status: 403, description: 'Nobody is let in', headers: {} },
  replayed: { status: 409, description: 'This delivery was received before, or is being handled: then retry-after says when to try again', headers: { 'retry-after': { type: 'integer', description: 'Seconds after which to ask again' } } },
  encoded: { status: 415, description: 'The body is compressed or of a type that is not taken; a signed body cannot be compressed', headers: {} },
  unavailable: { status: 503, description: 'The credential cannot be verified at the moment', headers: { 'retry-after': { type: 'integer', description: 'Seconds after which to ask again' } } }
} as const satisfies Record<string, Refusal>

/** In the order of their statuses; none for `public`. */
export function refusalsOf ({ rule, registration, signed }: Plan): Refusal[] {
  if (rule.standing === 'public') return []
  if (rule.standing === 'deny') return [refusals.denied]
  const remembering = new Set(registration.settings.webhook.filter(({ replay }) => replay !== null).map(({ name }) => name))
  const replayable = rule.branches.some(({ leaves }) => leaves.some(({ kind, names }) => kind.scheme === 'webhook' && names.some((name) => remembering.has(name))))
  return [
    refusals.unauthorized,
    refusals.forbidden,
    ...replayable ? [refusals.replayed] : [],
    ...signed ? [refusals.encoded] : [],
    refusals.unavailable
  ]
}
