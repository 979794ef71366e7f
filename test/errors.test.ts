import t from 'tap'
import { AuthError, errorCatalogue, isAuthError } from '../lib/errors.js'

t.test('an error has the status, sentence and challenge of its code and nothing enumerable beyond code, status and reason', async (t) => {
  const error = new AuthError('AUTH_TOKEN_EXPIRED', 'expired')
  t.equal(error.statusCode, 401)
  t.equal(error.message, 'The token has expired')
  t.equal(error.challenge, 'Bearer realm="causeflow", error="invalid_token"')
  t.strictSame({ ...error }, { code: 'AUTH_TOKEN_EXPIRED', statusCode: 401, reason: 'expired' })
  t.ok(isAuthError(error))
  t.notOk(isAuthError(new Error('AUTH_TOKEN_EXPIRED')))
})

t.test('a challenge carries an error parameter only where a credential was presented', async (t) => {
  for (const { code, status } of errorCatalogue()) {
    const { challenge } = new AuthError(code, 'absent')
    if (status !== 401 && status !== 403) t.equal(challenge, null, code)
    else t.equal(challenge?.includes('error='), !code.endsWith('_MISSING') && code !== 'AUTH_DENIED', code)
  }
})

t.test('where several credentials would do, each has its challenge', async (t) => {
  t.equal(new AuthError('AUTH_CREDENTIAL_MISSING', 'absent', { schemes: ['jwt', 'apiKey'] }).challenge,
    'Bearer realm="causeflow", ApiKey realm="causeflow"')
})

t.test('a missing scope names the scopes that would be enough', async (t) => {
  t.equal(new AuthError('AUTH_SCOPE_REQUIRED', 'scope', { schemes: ['apiKey'], scopes: ['a', 'b'] }).challenge,
    'ApiKey realm="causeflow", error="insufficient_scope", scope="a b"')
})

t.test('only a 503 says when to try again', async (t) => {
  t.equal(new AuthError('AUTH_STORE_UNAVAILABLE', 'unreachable', { retryAfter: 7 }).retryAfter, 7)
  t.equal(new AuthError('AUTH_TOKEN_INVALID', 'signature', { retryAfter: 7 }).retryAfter, null)
})
