/** Why a command ended without what was asked for: what to say, and the exit code. */
import { isAuthError } from '../errors.js'
import { exit, type ExitCode } from './exit-code.js'

export class Failure extends Error {
  readonly exitCode: ExitCode
  /** For programs: what `--json` gives as `error`. */
  readonly word: string
  /** What the user can do about it; null: nothing is known. */
  readonly mend: string | null

  constructor (exitCode: ExitCode, word: string, message: string, mend: string | null = null) {
    super(message)
    this.exitCode = exitCode
    this.word = word
    this.mend = mend
  }
}
Failure.prototype.name = 'Failure'

/** The command was not given as it has to be. */
export function usageFailure (message: string, mend: string | null = null): Failure {
  return new Failure(exit.usage, 'usage', message, mend)
}

/** Any error as a Failure. */
export function failureOf (error: unknown): Failure {
  if (error instanceof Failure) return error
  if (isAuthError(error)) {
    const unavailable = error.statusCode === 503
    return new Failure(unavailable ? exit.unavailable : exit.refused, error.code, unavailable ? `${error.message}: ${deepestMessage(error.cause) ?? error.reason}` : error.message, mendOf(error.code))
  }
  const message = error instanceof Error ? error.message : String(error)
  const code = (error as { code?: unknown } | null)?.code
  if (typeof code === 'string' && code.startsWith('AUTH_CONFIG_')) return new Failure(exit.usage, code, message)
  return new Failure(exit.fault, 'fault', message === '' ? 'An unexpected fault' : message)
}

/** What the failure at the bottom says. Node's own for a refused connection have a code and no message. */
export function deepestMessage (error: unknown): string | null {
  let said: string | null = null
  // Bounded: a chain of causes may be a ring.
  for (let depth = 0; depth < 8 && error instanceof Error; depth++) {
    const code = (error as { code?: unknown }).code
    if (error.message !== '') said = error.message
    else if (typeof code === 'string') said = code
    error = error.cause ?? (error as { errors?: unknown[] }).errors?.[0]
  }
  return said
}

function mendOf (code: string): string | null {
  switch (code) {
    case 'AUTH_QUOTA_EXCEEDED': return 'Revoke a key that is no longer used, or raise --quota together with the quota of the application'
    case 'AUTH_STORE_UNAVAILABLE': return 'causeflow-auth doctor looks closer'
    case 'AUTH_KEY_SET_UNAVAILABLE': return 'causeflow-auth doctor --issuer <url> looks closer'
    default: return null
  }
}
