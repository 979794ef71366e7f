import t from 'tap'
import { checkConfirmation, checkRegistered, checkTimes } from '../../lib/jwt/registered-claims.js'
import type { RegisteredClaimsSettings } from '../../lib/jwt/registered-claims.js'
import { audience, claims, issuer, outcome, start } from './fixture.js'
import type { Json } from './fixture.js'

const check = (members: Json, settings: Partial<RegisteredClaimsSettings> = {}): Promise<unknown> =>
  outcome(() => checkRegistered(JSON.parse(JSON.stringify(claims(members))), { issuer, audience: [audience], authorizedParties: null, azp: 'off', clockTolerance: 5, ...settings }))
const accepted = { iss: issuer, sub: 'usr_1', exp: start / 1000 + 60 }
const wrong = [undefined, null, '', 0, 7, true, [], {}, ['x']]

t.test('iss must be exactly the configured one', async (t) => {
  t.strictSame(await check({}), accepted)
  for (const iss of [...wrong, `${issuer}/`, issuer.toUpperCase(), `${issuer}.evil.example`, `${issuer}#`, [issuer]]) t.equal(await check({ iss }), 'AUTH_TOKEN_CLAIMS issuer', String(iss))
})

t.test('sub must be a string that is not empty', async (t) => {
  for (const sub of wrong) t.equal(await check({ sub }), 'AUTH_TOKEN_CLAIMS subject', String(sub))
})

t.test('exp must be a finite number', async (t) => {
  for (const exp of [undefined, null, '', '1700000060', true, [], {}, [1700000060]]) t.equal(await check({ exp }), 'AUTH_TOKEN_CLAIMS claims', String(exp))
  const infinite = JSON.parse('{"exp":1e999}')
  t.equal(await outcome(() => checkRegistered({ ...claims(), ...infinite }, { issuer, audience: null, authorizedParties: null, azp: 'off', clockTolerance: 5 })), 'AUTH_TOKEN_CLAIMS claims')
  t.equal(await outcome(() => checkRegistered(claims({ exp: NaN }), { issuer, audience: [audience], authorizedParties: null, azp: 'off', clockTolerance: 5 })), 'AUTH_TOKEN_CLAIMS claims')
})

t.test('exp must be a time that a Date can hold', async (t) => {
  t.strictSame(await check({ exp: 8.64e12 }), { ...accepted, exp: 8.64e12 })
  for (const exp of [8.64e12 + 1, 1e15, 1e300, Number.MAX_VALUE, -8.64e12 - 1, -1e300]) t.equal(await check({ exp }), 'AUTH_TOKEN_CLAIMS claims', `${exp}`)
})

t.test('sub must be Unicode: half of a surrogate pair is one text in JSON and another in UTF-8', async (t) => {
  for (const sub of ['\ud800', 'usr_\udfff', '\ud800x\udc00', '\udc00\ud800']) t.equal(await check({ sub }), 'AUTH_TOKEN_CLAIMS subject', JSON.stringify(sub))
  for (const sub of ['usr_\u{1f600}', 'ключ', '\uffff', '\u202e']) t.strictSame(await check({ sub }), { ...accepted, sub }, JSON.stringify(sub))
})

t.test('nbf and iat may be absent, and otherwise must be finite numbers', async (t) => {
  for (const name of ['nbf', 'iat']) {
    for (const value of [null, '', '1', false, [], {}]) t.equal(await check({ [name]: value }), 'AUTH_TOKEN_CLAIMS claims', `${name} ${String(value)}`)
    t.equal(await outcome(() => checkRegistered(claims({ [name]: Infinity }), { issuer, audience: [audience], authorizedParties: null, azp: 'off', clockTolerance: 5 })), 'AUTH_TOKEN_CLAIMS claims')
  }
})

t.test('aud must name one of the configured audiences, as a string or in an array of strings', async (t) => {
  for (const aud of [...wrong, 'https://api.causeflow.ai/', 'https://other.example', ['https://other.example'], [audience, 7], [[audience]], { 0: audience }]) {
    t.equal(await check({ aud }), 'AUTH_TOKEN_CLAIMS audience', JSON.stringify(aud))
  }
  t.strictSame(await check({ aud: ['https://other.example', audience] }), accepted)
  t.strictSame(await check({ aud: 'second' }, { audience: ['first', 'second'] }), accepted)
})

t.test('aud is not looked at where the tokens carry none', async (t) => {
  for (const aud of [undefined, 'anything']) t.strictSame(await check({ aud }, { audience: null }), accepted)
})

t.test('a foreign azp is refused where parties are listed, and a missing one where it is required', async (t) => {
  const parties = { authorizedParties: ['https://app.example.com'] }
  const run = async (azp: unknown): Promise<unknown[]> => Promise.all((['require', 'ifPresent', 'off'] as const).map((mode) => check({ azp }, { ...parties, azp: mode })))
  const no = 'AUTH_TOKEN_CLAIMS azp'
  t.strictSame(await run('https://app.example.com'), [accepted, accepted, accepted])
  t.strictSame(await run(undefined), [no, accepted, accepted])
  for (const azp of ['https://evil.example', 'https://app.example.com/', '', null, 7, ['https://app.example.com']]) t.strictSame(await run(azp), [no, no, accepted], String(azp))
  t.equal(await check({ azp: 'anybody' }, { azp: 'ifPresent', authorizedParties: [] }), no)
  t.strictSame(await check({ azp: 'anybody' }, { azp: 'require' }), accepted)
  for (const azp of ['', null, 7, ['anybody'], {}]) t.equal(await check({ azp }, { azp: 'ifPresent' }), no, `${JSON.stringify(azp)} names no party`)
})

t.test('a token is expired when exp and the tolerance have passed, and not a millisecond before', async (t) => {
  const at = (now: number): Promise<unknown> => outcome(() => checkTimes({ exp: 1000 }, now, 5))
  t.equal(await at(1_004_999), undefined)
  t.equal(await at(1_005_000), 'AUTH_TOKEN_EXPIRED expired')
  t.equal(await at(2_000_000), 'AUTH_TOKEN_EXPIRED expired')
  t.equal(await outcome(() => checkTimes({ exp: 1000 }, 1_000_000, 0)), 'AUTH_TOKEN_EXPIRED expired')
})

t.test('no token is in time where the clock gives no number', async (t) => {
  for (const now of [NaN, undefined, {}, [1, 2], Promise.resolve(0), 'now', Symbol.iterator.description]) {
    t.equal(await outcome(() => checkTimes({ exp: 1e9 }, now as number, 5)), 'AUTH_TOKEN_EXPIRED expired', String(now))
    t.equal(await outcome(() => checkTimes({ exp: 1e9, nbf: 0, iat: 0 }, now as number, 5)), 'AUTH_TOKEN_EXPIRED expired', String(now))
  }
  for (const [name, reason] of [['nbf', 'not-yet-valid'], ['iat', 'issued-in-future']] as const) {
    t.equal(await outcome(() => checkTimes({ exp: 9999, [name]: 0 }, 1_000_000, NaN)), 'AUTH_TOKEN_EXPIRED expired')
    t.equal(await outcome(() => checkTimes({ exp: 9999, [name]: NaN }, 1_000_000, 5)), `AUTH_TOKEN_CLAIMS ${reason}`)
  }
})

t.test('a token is early when nbf or iat lie further ahead than the tolerance', async (t) => {
  for (const [name, reason] of [['nbf', 'not-yet-valid'], ['iat', 'issued-in-future']] as const) {
    t.equal(await outcome(() => checkTimes({ exp: 9999, [name]: 1005 }, 1_000_000, 5)), undefined)
    t.equal(await outcome(() => checkTimes({ exp: 9999, [name]: 1005.001 }, 1_000_000, 5)), `AUTH_TOKEN_CLAIMS ${reason}`)
  }
})

t.test('a token that is bound to a key of its sender is no bearer token', async (t) => {
  const run = (cnf: unknown): Promise<unknown> => outcome(() => checkConfirmation(JSON.parse(JSON.stringify({ cnf }))))
  const thumbprint = '0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I'
  for (const cnf of [{ jkt: thumbprint }, { 'x5t#S256': thumbprint }, { jwk: {}, jkt: thumbprint }, { jkt: '' }, { jkt: null }, { jkt: 7 }, { jkt: [thumbprint] }, { 'x5t#S256': null }, { 'x5t#S256': {} }, null, '', 'jkt', 0, 7, true, false, [], [{ jkt: thumbprint }]]) {
    t.equal(await run(cnf), 'AUTH_TOKEN_INVALID sender-constrained', JSON.stringify(cnf))
  }
  for (const cnf of [undefined, {}, { jwk: { kty: 'EC' } }, { kid: 'k1' }, { JKT: thumbprint }, { x5t: thumbprint }]) t.equal(await run(cnf), undefined, JSON.stringify(cnf))
})
