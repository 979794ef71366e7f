import { AuthError } from '../errors.js'
import type { AuthErrorReason } from '../errors.js'
import type { JwtPrincipal } from '../principal.js'

/** Whether a principal whose token is good is to be refused all the same. Asked for every request; `true` refuses. */
export type RevocationCheck = (principal: JwtPrincipal) => boolean | Promise<boolean>

/** Milliseconds that a revocation check may take. */
const timeLimit = 2000

/**
 * The principal, where the check does not call it revoked: AUTH_TOKEN_INVALID otherwise. A check that throws, hangs or
 * answers anything but a boolean is AUTH_STORE_UNAVAILABLE: not knowing is no permission, and no fault of the token.
 */
export function checkRevocation (principal: JwtPrincipal, isRevoked: RevocationCheck): JwtPrincipal | Promise<JwtPrincipal> {
  let answer: unknown
  try {
    answer = isRevoked(principal)
  } catch (cause) {
    throw unavailable('unreachable', cause)
  }
  return isThenable(answer) ? waitFor(answer, principal) : admit(answer, principal)
}

function admit (answer: unknown, principal: JwtPrincipal): JwtPrincipal {
  if (answer === false) return principal
  if (answer === true) throw new AuthError('AUTH_TOKEN_INVALID', 'revoked')
  throw unavailable('rejected', new TypeError('isRevoked answered neither true nor false'))
}

function waitFor (answer: PromiseLike<unknown>, principal: JwtPrincipal): Promise<JwtPrincipal> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => { reject(unavailable('time-limit', new Error(`isRevoked did not answer within ${timeLimit} ms`))) }, timeLimit)
    timer.unref()
    Promise.resolve(answer)
      .then((value) => admit(value, principal), (cause: unknown) => { throw unavailable('unreachable', cause) })
      .then(resolve, reject)
      .finally(() => { clearTimeout(timer) })
  })
}

function unavailable (reason: AuthErrorReason, cause: unknown): AuthError {
  const what = { 'time-limit': `no answer within ${timeLimit} ms`, rejected: 'answered neither true nor false' }[reason as string] ?? 'it failed'
  return new AuthError('AUTH_STORE_UNAVAILABLE', reason, { cause, detail: `isRevoked: ${what}` })
}

function isThenable (value: unknown): value is PromiseLike<unknown> {
  return typeof value === 'object' && value !== null && typeof (value as { then?: unknown }).then === 'function'
}
