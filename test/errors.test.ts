import t from 'tap'
import { AuthError, challengeHeader, errorCatalogue, isAuthError, retryAfterHeader } from '../lib/errors.js'

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
    if (status !== 401 && code !== 'AUTH_SCOPE_REQUIRED') t.equal(challenge, null, code)
    else t.equal(challenge?.includes('error='), !code.endsWith('_MISSING'), code)
  }
})

t.test('an error has the form of http-errors: status, and whether its message may be sent', async (t) => {
  for (const { code, status } of errorCatalogue()) {
    const error = new AuthError(code, 'absent')
    t.strictSame([error.status, error.statusCode, error.expose], [status, status, status < 500], code)
    t.notOk(Object.keys(error).includes('expose'), 'a logger prints neither')
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

t.test('a challenge is bounded, and names no scope that could end its parameter', async (t) => {
  const challengeOf = (...scopes: string[]): string => new AuthError('AUTH_SCOPE_REQUIRED', 'scope', { schemes: ['apiKey'], scopes }).challenge as string
  const base = 'ApiKey realm="causeflow", error="insufficient_scope"'
  t.equal(challengeOf('a', 'b", Bearer realm="evil', 'c d', '', 'é', 'e\r\nset-cookie: f', 'g\\'), `${base}, scope="a"`)
  t.equal(challengeOf('x'.repeat(900_000)), base)
  t.equal(challengeOf('b"'), base)
  const many = challengeOf(...Array.from({ length: 200 }, (_, index) => `${index}`.padEnd(128, 'x')))
  t.ok(many.length < 2200, `${many.length}`)
  t.match(many, /scope="0x+ 1x+ .*"$/)
})

t.test('what another copy of this package, or a forgery of its error, says in a header is bounded, too', async (t) => {
  const error = (challenge: unknown, code = 'AUTH_TOKEN_INVALID'): Parameters<typeof challengeHeader>[0] => ({ code, challenge }) as never
  const ours = 'Bearer realm="causeflow", error="invalid_token"'
  t.equal(challengeHeader(error('Bearer realm="theirs"')), 'Bearer realm="theirs"')
  for (const challenge of [undefined, null, 7, '', 'a\r\nset-cookie: b', 'é', 'x'.repeat(4097), {}]) t.equal(challengeHeader(error(challenge)), ours)
  t.equal(challengeHeader(error(null, 'AUTH_STORE_UNAVAILABLE')), null)
  t.equal(challengeHeader(error('Bearer error="insufficient_scope"', 'AUTH_ROLE_REQUIRED')), null)
  const waiting = (retryAfter: unknown, code = 'AUTH_STORE_UNAVAILABLE'): string | null => retryAfterHeader({ code, retryAfter } as never)
  t.strictSame([1, 0.1, 0, -5, 2.5, 86_400].map((seconds) => waiting(seconds)), ['1', '1', '1', '1', '3', '86400'])
  for (const seconds of [NaN, Infinity, -Infinity, 86_401, 1e21, undefined, null, '7\r\n', {}]) t.match(waiting(seconds), /^[15]$/, String(seconds))
  t.equal(waiting(7, 'AUTH_TOKEN_INVALID'), null)
})
