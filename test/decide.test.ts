import t from 'tap'
import { compileRule, type CompiledRule, type Offer } from '../lib/compiled-rule.js'
import { urlParams } from '../lib/url-params.js'
import { decide, type Presented } from '../lib/decide.js'
import { AuthError } from '../lib/errors.js'
import { auth, nodeOf, type AuthRule } from '../lib/rule.js'
import { fakeTime, settle as settled } from './api-key/fake-time.js'
import type { Timers } from '../lib/webhook/time-limit.js'
import type { ApiKeyPrincipal, JwtPrincipal, Principal, WebhookPrincipal } from '../lib/principal.js'

const body = Buffer.from('{}')

const offer: Offer = {
  issuers: ['default', 'other'],
  apiKeys: true,
  webhooks: [
    { name: 'default', headers: ['x-webhook-signature'], needsKey: false, literal: false },
    { name: 'second', headers: ['x-webhook-signature'], needsKey: false, literal: false },
    { name: 'github', headers: ['x-hub-signature-256'], needsKey: false, literal: false },
    { name: 'forge', headers: ['x-hub-signature-256'], needsKey: false, literal: false }
  ],
  tenant: { param: 'tenantId', required: true }
}

const token = (more: Partial<JwtPrincipal> = {}): JwtPrincipal =>
  ({ scheme: 'jwt', tenantId: 'ten_1', roles: [], scopes: [], proofs: ['jwt'], subject: 'usr_1', email: null, issuer: 'https://default', expiresAt: 1, claims: {}, ...more } as JwtPrincipal)
const key = (more: Partial<ApiKeyPrincipal> = {}): ApiKeyPrincipal =>
  ({ scheme: 'apiKey', tenantId: 'ten_1', roles: [], scopes: [], proofs: ['apiKey'], keyId: 'key_1', name: 'one', environment: 'live', createdBy: null, ...more })
const delivery = (more: Partial<WebhookPrincipal> = {}): WebhookPrincipal =>
  ({ scheme: 'webhook', tenantId: null, roles: [], scopes: [], proofs: ['webhook'], source: 'default', deliveryId: null, timestamp: null, ...more })

/** What a request brings. An error in place of a principal: the credential is bad. */
interface Request {
  jwt?: JwtPrincipal | AuthError
  issuer?: string
  apiKey?: ApiKeyPrincipal | AuthError
  /** By the first header of their kind. */
  webhooks?: Record<string, WebhookPrincipal | AuthError>
  /** Signatures whose headers or secrets fail already. */
  unopened?: Record<string, AuthError>
  duplicate?: boolean
  badToken?: AuthError
  foreignToken?: boolean
  params?: Record<string, unknown> | null
  /** Verifiers that answer at once, or later. */
  later?: boolean
  timers?: Timers
}

interface Trace { steps: string[], proved: Array<Principal | null>, request: unknown }

function present (rule: CompiledRule, request: Request, trace: Trace): Presented {
  const { webhooks = {}, unopened = {}, later = false } = request
  const answer = <T> (step: string, value: T | AuthError | undefined): T | Promise<T> => {
    trace.steps.push(step)
    if (value === undefined) throw new Error(`${step} was asked for and is not there`)
    if (value instanceof AuthError) {
      if (later) return Promise.reject(value)
      throw value
    }
    return later ? Promise.resolve(value) : value
  }
  let kinds = 0
  if (request.jwt !== undefined) kinds |= rule.issuerBits.get(request.issuer ?? 'default') ?? 0
  if (request.apiKey !== undefined) kinds |= rule.keyBit
  for (const kind of rule.webhookKinds) if (kind.headers[0]! in webhooks || kind.headers[0]! in unopened) kinds |= kind.bit
  return {
    params: 'params' in request ? request.params : {},
    request: trace.request,
    timers: request.timers ?? globalThis,
    kinds,
    duplicate: request.duplicate ?? false,
    badToken: request.badToken ?? null,
    foreignToken: request.foreignToken ?? false,
    token: () => answer('token', request.jwt),
    apiKey: () => answer('apiKey', request.apiKey),
    open (kind, names, proved) {
      const header = kind.headers[0]!
      trace.proved.push(proved)
      return answer(`open ${names.join('|')}`, unopened[header] ?? {
        verify (bytes: Buffer) {
          trace.steps.push('verify')
          if (bytes !== body) throw new Error('Other bytes were handed over')
          const principal = webhooks[header]!
          if (principal instanceof AuthError) throw principal
          if (!names.includes(principal.source)) throw new AuthError('AUTH_SIGNATURE_INVALID', 'digest')
          return principal
        }
      })
    }
  }
}

interface Outcome { principal: Principal | null, proofs: readonly Principal[] | null, synchronous: boolean, steps: string[], proved: Array<Principal | null> }

/** Decides to the end, the body included. Rejects with the refusal. */
async function decided (rule: AuthRule, request: Request = {}, { url = '/x', trace = { steps: [], proved: [], request }, ...world }: Partial<Offer> & { url?: string, trace?: Trace } = {}): Promise<Outcome> {
  const compiled = compileRule(nodeOf(rule)!, { ...offer, ...world }, { label: `POST ${url}`, params: urlParams(url) })
  const answer = decide(compiled, present(compiled, request, trace))
  const begun = await answer
  const concluded = begun.pending ? begun.conclude(body) : begun
  const { principal, proofs } = await concluded
  return { principal, proofs, synchronous: !(answer instanceof Promise || concluded instanceof Promise), steps: trace.steps, proved: trace.proved }
}

async function errorOf (...parameters: Parameters<typeof decided>): Promise<AuthError> {
  try {
    await decided(...parameters)
  } catch (error) {
    if (error instanceof AuthError) return error
    throw error
  }
  throw new Error('It was let in')
}

async function refusal (...parameters: Parameters<typeof decided>): Promise<{ code: string, reason: string, challenge: string | null }> {
  const { code, reason, challenge } = await errorOf(...parameters)
  return { code, reason, challenge }
}

const codeOf = async (...parameters: Parameters<typeof decided>) => (await refusal(...parameters)).code
const principalOf = async (...parameters: Parameters<typeof decided>) => (await decided(...parameters)).principal

const expired = new AuthError('AUTH_TOKEN_EXPIRED', 'expired')
const badKey = new AuthError('AUTH_API_KEY_INVALID', 'unknown')
const badSignature = new AuthError('AUTH_SIGNATURE_INVALID', 'digest')
const signature = 'x-webhook-signature'

t.test('public examines nothing: nobody is proved, whatever was presented', async (t) => {
  const outcome = await decided(auth.public(), { jwt: expired, apiKey: badKey, duplicate: true, badToken: expired })
  t.strictSame(outcome, { principal: null, proofs: null, synchronous: true, steps: [], proved: [] })
})

t.test('deny lets nobody in, and examines nothing either', async (t) => {
  const trace: Trace = { steps: [], proved: [], request: null }
  t.strictSame(await refusal(auth.deny(), { jwt: token({ roles: ['admin'] }) }, { trace }), { code: 'AUTH_DENIED', reason: 'denied', challenge: null })
  t.strictSame(trace.steps, [])
  t.equal(await codeOf(auth.deny(), { duplicate: true, badToken: expired }), 'AUTH_DENIED', 'however bad it is')
})

t.test('verifiers that answer at once are answered at once', async (t) => {
  const whole = { jwt: token(), apiKey: key(), webhooks: { [signature]: delivery() } }
  for (const [rule, request] of [
    [auth.jwt().roles('a').check('x', () => true), { jwt: token({ roles: ['a'] }) }],
    [auth.apiKey(), { apiKey: key() }],
    [auth.webhook(), { webhooks: { [signature]: delivery() } }],
    [auth.all(auth.jwt(), auth.apiKey(), auth.webhook()), whole]
  ] as Array<[AuthRule, Request]>) {
    const at = await decided(rule, request)
    const later = await decided(rule, { ...request, later: true })
    t.strictSame([at.synchronous, later.synchronous], [true, false], rule.describe())
    t.strictSame({ ...later, synchronous: true }, at, 'and say the same later')
  }
})

t.test('deciding: kinds that the rule does not mention are ignored, bad ones too', async (t) => {
  const outcome = await decided(auth.jwt(), { jwt: token(), apiKey: badKey, webhooks: { [signature]: badSignature } })
  t.strictSame(outcome.steps, ['token'])
  t.strictSame(await codeOf(auth.apiKey(), { jwt: token() }), 'AUTH_API_KEY_MISSING')
})

t.test('deciding: a token of an issuer that the rule does not mention is as if absent, and the reason says so', async (t) => {
  t.strictSame(await refusal(auth.jwt(), { jwt: token(), issuer: 'other', foreignToken: true }), { code: 'AUTH_CREDENTIAL_MISSING', reason: 'issuer-not-accepted', challenge: 'Bearer realm="causeflow"' })
  t.equal(await principalOf(auth.jwt().optional(), { foreignToken: true }), null)
})

t.test('deciding: token, key and signature are verified in that order, whatever the order of listing', async (t) => {
  const request = { jwt: token(), apiKey: key(), webhooks: { [signature]: delivery() } }
  for (const later of [false, true]) {
    t.strictSame((await decided(auth.all(auth.webhook(), auth.apiKey(), auth.jwt()), { ...request, later })).steps, ['token', 'apiKey', 'open default', 'verify'])
  }
})

t.test('deciding: a bad credential ends it, and what comes after it is not asked', async (t) => {
  const rule = auth.all(auth.webhook(), auth.apiKey(), auth.jwt())
  for (const later of [false, true]) {
    const steps = async (request: Request) => {
      const trace: Trace = { steps: [], proved: [], request: null }
      return [await codeOf(rule, { jwt: token(), apiKey: key(), webhooks: { [signature]: delivery() }, later, ...request }, { trace }), ...trace.steps]
    }
    t.strictSame(await steps({ jwt: expired, apiKey: badKey }), ['AUTH_TOKEN_EXPIRED', 'token'])
    t.strictSame(await steps({ apiKey: badKey, webhooks: { [signature]: badSignature } }), ['AUTH_API_KEY_INVALID', 'token', 'apiKey'])
    t.strictSame(await steps({ unopened: { [signature]: badSignature } }), ['AUTH_SIGNATURE_INVALID', 'token', 'apiKey', 'open default'])
    t.strictSame(await steps({ webhooks: { [signature]: badSignature } }), ['AUTH_SIGNATURE_INVALID', 'token', 'apiKey', 'open default', 'verify'])
    t.strictSame(await steps({ badToken: new AuthError('AUTH_TOKEN_MALFORMED', 'form') }), ['AUTH_TOKEN_MALFORMED'])
  }
})

t.test('deciding: a bad credential is never made up for by a good one of another branch', async (t) => {
  const rule = auth.any(auth.jwt(), auth.apiKey(), auth.all(auth.jwt(), auth.apiKey()))
  t.equal(await codeOf(rule, { jwt: expired, apiKey: key() }), 'AUTH_TOKEN_EXPIRED')
  t.equal(await codeOf(rule, { jwt: token(), apiKey: badKey }), 'AUTH_API_KEY_INVALID')
  t.equal(await codeOf(auth.jwt().optional(), { jwt: expired }), 'AUTH_TOKEN_EXPIRED', 'optional is what is absent')
  t.equal(await codeOf(auth.jwt().optional(), { badToken: expired }), 'AUTH_TOKEN_EXPIRED')
  t.equal(await codeOf(auth.all(auth.jwt().optional(), auth.apiKey()), { jwt: expired, apiKey: key() }), 'AUTH_TOKEN_EXPIRED')
})

t.test('deciding: two credentials of one kind are ambiguous before either is verified', async (t) => {
  const trace: Trace = { steps: [], proved: [], request: null }
  t.strictSame(await refusal(auth.jwt(), { jwt: expired, duplicate: true, badToken: expired }, { trace }), { code: 'AUTH_CREDENTIAL_AMBIGUOUS', reason: 'duplicate', challenge: null })
  t.strictSame(trace.steps, [])
})

t.test('deciding: the branches that take every kind presented, and need no other, are tried', async (t) => {
  const rule = auth.any(auth.apiKey(), auth.all(auth.apiKey(), auth.webhook()))
  const signed = await decided(rule, { apiKey: key(), webhooks: { [signature]: delivery() } })
  t.strictSame(signed.principal?.proofs, ['apiKey', 'webhook'])
  t.strictSame((await decided(rule, { apiKey: key() })).principal?.proofs, ['apiKey'])
  t.equal(await codeOf(rule, { apiKey: key(), webhooks: { [signature]: badSignature } }), 'AUTH_SIGNATURE_INVALID', 'the key alone would do, but a bad signature was presented')
})

t.test('deciding: more kinds than any branch takes are ambiguous where a branch has all it needs', async (t) => {
  const rule = auth.any(auth.jwt(), auth.apiKey())
  t.strictSame(await refusal(rule, { jwt: token(), apiKey: key() }), { code: 'AUTH_CREDENTIAL_AMBIGUOUS', reason: 'ambiguous', challenge: null })
  t.equal(await codeOf(rule, { jwt: expired, apiKey: key() }), 'AUTH_TOKEN_EXPIRED', 'but they are verified first')
})

t.test('deciding: a set of kinds that no branch takes is refused before the signature in it is opened', async (t) => {
  const trace: Trace = { steps: [], proved: [], request: null }
  t.equal(await codeOf(auth.any(auth.jwt(), auth.webhook()), { jwt: token(), webhooks: { [signature]: badSignature } }, { trace }), 'AUTH_CREDENTIAL_AMBIGUOUS')
  t.strictSame(trace.steps, ['token'])
})

t.test('deciding: an optional rule asks for nothing, which is not to have all it needs', async (t) => {
  const rule = auth.all(auth.jwt(), auth.apiKey()).optional()
  t.equal(await codeOf(rule, { apiKey: key() }), 'AUTH_CREDENTIAL_MISSING')
  t.equal(await codeOf(rule, { jwt: token() }), 'AUTH_API_KEY_MISSING')
  t.equal(await principalOf(rule), null)
})

t.test('deciding: what is missing is named', async (t) => {
  const both = 'Bearer realm="causeflow", ApiKey realm="causeflow"'
  const answers: ReadonlyArray<readonly [AuthRule, Request, string, string]> = [
    [auth.jwt(), {}, 'AUTH_CREDENTIAL_MISSING', 'Bearer realm="causeflow"'],
    [auth.apiKey(), {}, 'AUTH_API_KEY_MISSING', 'ApiKey realm="causeflow"'],
    [auth.webhook(), {}, 'AUTH_SIGNATURE_MISSING', 'Signature realm="causeflow"'],
    [auth.all(auth.webhook(), auth.apiKey()), {}, 'AUTH_API_KEY_MISSING', 'ApiKey realm="causeflow"'],
    [auth.all(auth.apiKey(), auth.webhook()), { apiKey: key() }, 'AUTH_SIGNATURE_MISSING', 'Signature realm="causeflow"'],
    [auth.all(auth.apiKey(), auth.webhook()), { webhooks: { [signature]: badSignature } }, 'AUTH_API_KEY_MISSING', 'ApiKey realm="causeflow"'],
    [auth.any(auth.jwt(), auth.apiKey()), {}, 'AUTH_CREDENTIAL_MISSING', both],
    [auth.any(auth.jwt('default'), auth.jwt('other')), {}, 'AUTH_CREDENTIAL_MISSING', 'Bearer realm="causeflow"'],
    [auth.any(auth.apiKey(), auth.webhook()), {}, 'AUTH_CREDENTIAL_MISSING', 'ApiKey realm="causeflow", Signature realm="causeflow"']
  ]
  for (const [rule, request, code, challenge] of answers) t.strictSame(await refusal(rule, request), { code, reason: 'absent', challenge }, rule.describe())
})

t.test('deciding: a failed condition tries the next candidate', async (t) => {
  const asked: string[] = []
  const check = (name: string, answer: boolean) => [name, () => { asked.push(name); return answer }] as const
  const rule = auth.any(auth.jwt().roles('admin'), auth.jwt().check(...check('owner', false)), auth.jwt().scopes('s').check(...check('third', true)), auth.jwt().check(...check('fourth', true)))
  t.equal((await principalOf(rule, { jwt: token({ roles: ['member'], scopes: ['s'] }) }))?.scheme, 'jwt')
  t.strictSame(asked, ['owner', 'third'])
})

t.test('deciding: when every candidate fails, the first one\'s refusal is the answer', async (t) => {
  const rule = auth.any(auth.jwt().scopes('a', 'b'), auth.jwt().roles('admin'), auth.jwt().check('never', () => false))
  for (const later of [false, true]) {
    t.strictSame(await refusal(rule, { jwt: token(), later }), { code: 'AUTH_SCOPE_REQUIRED', reason: 'scope', challenge: 'Bearer realm="causeflow", error="insufficient_scope", scope="a b"' })
  }
})

t.test('deciding: when every candidate fails, the first one\'s refusal is the answer, also where it fails only after its signature', async (t) => {
  const first = auth.all(auth.apiKey(), auth.webhook()).roles('admin')
  const second = auth.all(auth.apiKey().scopes('s'), auth.webhook())
  const request = { apiKey: key(), webhooks: { [signature]: delivery() } }
  for (const check of [() => true, async () => true]) {
    t.equal(await codeOf(auth.any(first.check('x', check), second), request), 'AUTH_ROLE_REQUIRED')
    t.equal(await codeOf(auth.any(second, first), request), 'AUTH_SCOPE_REQUIRED')
    t.equal(await codeOf(auth.any(auth.all(auth.apiKey().check('x', check), auth.webhook()).roles('admin'), second), request), 'AUTH_ROLE_REQUIRED')
  }
})

t.test('deciding: conditions that need no signature are tried before it, and if none holds no secret is asked for', async (t) => {
  for (const later of [false, true]) {
    const trace: Trace = { steps: [], proved: [], request: null }
    const rule = auth.any(auth.all(auth.apiKey().scopes('s'), auth.webhook()), auth.all(auth.apiKey().roles('r'), auth.webhook()))
    t.equal(await codeOf(rule, { apiKey: key(), webhooks: { [signature]: badSignature }, later }, { trace }), 'AUTH_SCOPE_REQUIRED')
    t.strictSame(trace.steps, ['apiKey'])
  }
})

t.test('deciding: a candidate behind one that holds is not tried, before the signature neither', async (t) => {
  const asked: string[] = []
  const fault = () => { asked.push('fault'); throw new Error('fault') }
  const request = { apiKey: key(), webhooks: { [signature]: delivery() } }
  const pair = () => auth.all(auth.apiKey(), auth.webhook())
  for (const check of [() => true, async () => true]) {
    t.ok(await principalOf(auth.any(auth.all(auth.apiKey().check('x', check), auth.webhook()), auth.all(auth.apiKey().check('faulty', fault), auth.webhook())), request))
    t.strictSame(asked, [])
    // It has its turn, with all of its conditions, when the first fails after the signature.
    t.ok(await principalOf(auth.any(pair().roles('admin'), auth.all(auth.apiKey().check('x', check), auth.webhook())), request))
    t.equal(await codeOf(auth.any(pair().roles('admin'), auth.all(auth.apiKey().check('x', check).check('no', () => false), auth.webhook()).scopes('s')), request), 'AUTH_ROLE_REQUIRED')
    t.equal(await codeOf(auth.any(pair().roles('admin'), auth.all(auth.apiKey().check('faulty', fault), auth.webhook())), request), 'AUTH_RULE_UNDECIDABLE')
    asked.length = 0
  }
})

t.test('deciding: where no signature was presented no body is waited for, also where the rule has a way with one', async (t) => {
  const waits = async (rule: AuthRule, request: Request): Promise<boolean> => {
    const compiled = compileRule(nodeOf(rule)!, offer, { label: 'POST /x', params: [] })
    return (await decide(compiled, present(compiled, request, { steps: [], proved: [], request }))).pending
  }
  const rule = auth.any(auth.jwt(), auth.webhook())
  t.strictSame([await waits(rule, { jwt: token() }), await waits(rule, { webhooks: { [signature]: delivery() } })], [false, true])
  t.equal(await waits(auth.jwt().optional(), {}), false)
})

t.test('deciding: no secret is asked for of a webhook whose branch needs what was not presented', async (t) => {
  const rule = auth.any(auth.all(auth.apiKey(), auth.webhook('default')), auth.webhook('second'))
  const bySecond = { [signature]: delivery({ source: 'second' }) }
  t.strictSame((await decided(rule, { webhooks: bySecond })).steps, ['open second', 'verify'])
  t.equal(await codeOf(rule, { webhooks: { [signature]: delivery() } }), 'AUTH_SIGNATURE_INVALID', 'it never verifies without the key')
  t.strictSame((await decided(rule, { apiKey: key(), webhooks: { [signature]: delivery() } })).steps, ['apiKey', 'open default', 'verify'])
})

t.test('deciding: each branch keeps its own issuer and its own conditions', async (t) => {
  const rule = auth.any(auth.jwt('default').roles('admin'), auth.jwt('other').scopes('s'))
  t.equal((await principalOf(rule, { jwt: token({ roles: ['admin'] }) }))?.scheme, 'jwt')
  t.equal((await principalOf(rule, { jwt: token({ scopes: ['s'] }), issuer: 'other' }))?.scheme, 'jwt')
  t.equal(await codeOf(rule, { jwt: token({ roles: ['admin'] }), issuer: 'other' }), 'AUTH_SCOPE_REQUIRED')
  t.equal(await codeOf(rule, { jwt: token({ scopes: ['s'] }) }), 'AUTH_ROLE_REQUIRED')
})

t.test('deciding: of two names of one kind, the branch has to have asked for the one whose signature it is', async (t) => {
  const rule = auth.any(auth.all(auth.apiKey(), auth.webhook('default')).check('first', () => true), auth.all(auth.apiKey().scopes('s'), auth.webhook('second')))
  const by = (source: string, scopes: string[] = []): Request => ({ apiKey: key({ scopes }), webhooks: { [signature]: delivery({ source }) } })
  t.strictSame((await decided(rule, by('second', ['s']))).proofs?.map((proof) => proof.scheme === 'webhook' && proof.source), [false, 'second'])
  t.strictSame((await decided(rule, by('default'))).proofs?.map((proof) => proof.scheme === 'webhook' && proof.source), [false, 'default'])
  t.equal(await codeOf(rule, by('second')), 'AUTH_SCOPE_REQUIRED', 'the signature is good: the answer is about the scope')
  t.equal(await codeOf(rule, by('third', ['s'])), 'AUTH_SIGNATURE_INVALID')
})

t.test('deciding: two good signatures that no branch asks for together are refused', async (t) => {
  const rule = auth.any(auth.all(auth.webhook('default'), auth.webhook('github')), auth.all(auth.webhook('second'), auth.webhook('forge')))
  const by = (one: string, other: string): Request => ({ webhooks: { [signature]: delivery({ source: one }), 'x-hub-signature-256': delivery({ source: other }) } })
  t.ok(await principalOf(rule, by('second', 'forge')))
  t.strictSame(await refusal(rule, by('default', 'forge')), { code: 'AUTH_SIGNATURE_INVALID', reason: 'digest', challenge: 'Signature realm="causeflow", error="invalid_signature"' })
})

t.test('deciding: signatures of two kinds are both needed, and opened one after the other', async (t) => {
  const rule = auth.all(auth.webhook('default'), auth.webhook('github'))
  const good = { [signature]: delivery(), 'x-hub-signature-256': delivery({ source: 'github' }) }
  const outcome = await decided(rule, { webhooks: good })
  t.strictSame(outcome.steps, ['open default', 'open github', 'verify', 'verify'])
  t.same(outcome.principal, delivery())
  t.equal(await codeOf(rule, { webhooks: { [signature]: delivery() } }), 'AUTH_SIGNATURE_MISSING')
  t.equal(await codeOf(rule, { webhooks: { ...good, 'x-hub-signature-256': badSignature } }), 'AUTH_SIGNATURE_INVALID')
  const trace: Trace = { steps: [], proved: [], request: null }
  t.equal(await codeOf(rule, { webhooks: good, unopened: { [signature]: badSignature }, later: true }, { trace }), 'AUTH_SIGNATURE_INVALID')
  t.strictSame(trace.steps, ['open default'], 'a refused signature leaves no other one\'s promise to nobody')
})

t.test('all: the resolver receives what is proved, the key before the token, and null where nothing is', async (t) => {
  const webhooks = { [signature]: delivery() }
  t.same((await decided(auth.all(auth.webhook(), auth.apiKey()), { apiKey: key(), webhooks })).proved, [key()])
  t.same((await decided(auth.all(auth.jwt(), auth.webhook()), { jwt: token(), webhooks })).proved, [token()])
  t.same((await decided(auth.all(auth.jwt(), auth.apiKey(), auth.webhook()), { jwt: token(), apiKey: key(), webhooks })).proved, [key()])
  t.strictSame((await decided(auth.webhook(), { webhooks })).proved, [null])
})

t.test('all: the principal is the first listed that identifies somebody, with every proof beside it', async (t) => {
  const request = { jwt: token(), apiKey: key(), webhooks: { [signature]: delivery() } }
  const outcome = async (rule: AuthRule) => {
    const { principal, proofs } = await decided(rule, request)
    return { scheme: principal?.scheme, names: principal?.proofs, proofs: proofs?.map(({ scheme }) => scheme), frozen: Object.isFrozen(principal) }
  }
  const names = ['jwt', 'apiKey', 'webhook']
  t.strictSame(await outcome(auth.all(auth.webhook(), auth.apiKey(), auth.jwt())), { scheme: 'apiKey', names, proofs: ['webhook', 'apiKey', 'jwt'], frozen: true })
  t.strictSame(await outcome(auth.all(auth.webhook(), auth.jwt(), auth.apiKey())), { scheme: 'jwt', names, proofs: ['webhook', 'jwt', 'apiKey'], frozen: true })
  t.same((await decided(auth.all(auth.jwt(), auth.apiKey()), request)).principal, { ...token(), proofs: ['jwt', 'apiKey'] })
})

t.test('all: one credential is its own proof, the very object that was verified', async (t) => {
  const jwt = token()
  t.strictSame(await decided(auth.jwt(), { jwt }), { principal: jwt, proofs: null, synchronous: true, steps: ['token'], proved: [] })
  t.equal(await principalOf(auth.jwt(), { jwt }), jwt)
  t.equal(await principalOf(auth.all(auth.jwt(), auth.apiKey().optional()), { jwt }), jwt)
})

t.test('all: conditions of a part are its own principal\'s, those of the whole the first identified one\'s', async (t) => {
  const jwt = token({ roles: ['admin'], scopes: ['t'] })
  const apiKey = key({ scopes: ['k'] })
  const seen: string[] = []
  const note = ({ scheme }: Principal) => { seen.push(scheme); return true }
  const webhooks = { [signature]: delivery() }
  t.ok(await principalOf(auth.all(auth.apiKey().scopes('k').check('part', note), auth.jwt().roles('admin').check('part', note)).scopes('k').check('whole', note), { jwt, apiKey }))
  t.strictSame(seen.splice(0), ['apiKey', 'jwt', 'apiKey'])
  t.equal(await codeOf(auth.all(auth.apiKey(), auth.jwt()).roles('admin'), { jwt, apiKey }), 'AUTH_ROLE_REQUIRED', 'the key is listed first')
  t.ok(await principalOf(auth.all(auth.webhook().check('part', note), auth.jwt()).roles('admin').check('whole', note), { jwt, webhooks }))
  t.strictSame(seen, ['webhook', 'jwt'])
})

t.test('all: conditions of a node with a webhook run after its signature, those of the others before it', async (t) => {
  const trace: Trace = { steps: [], proved: [], request: null }
  const note = (name: string) => [name, () => { trace.steps.push(name); return true }] as const
  const rule = auth.all(auth.webhook().check(...note('signed')), auth.apiKey().check(...note('key'))).check(...note('whole'))
  await decided(rule, { apiKey: key(), webhooks: { [signature]: delivery() } }, { trace })
  t.strictSame(trace.steps, ['apiKey', 'key', 'open default', 'verify', 'signed', 'whole'])
})

t.test('optional: absent passes with null and is asked nothing', async (t) => {
  const outcome = await decided(auth.jwt().roles('admin').check('never', () => false).optional(), {}, { url: '/:tenantId' })
  t.strictSame(outcome, { principal: null, proofs: null, synchronous: true, steps: [], proved: [] })
  t.equal(await codeOf(auth.jwt().roles('admin').optional(), { jwt: token() }), 'AUTH_ROLE_REQUIRED')
  t.same(await principalOf(auth.all(auth.jwt().optional(), auth.apiKey()), { apiKey: key() }), key())
})

t.test('roles are any of them, scopes all of them', async (t) => {
  const jwt = token({ roles: ['member', 'viewer'], scopes: ['a', 'b'] })
  t.ok(await principalOf(auth.jwt().roles('admin', 'viewer').scopes('b', 'a'), { jwt }))
  t.strictSame(await refusal(auth.jwt().roles('admin', 'Viewer'), { jwt }), { code: 'AUTH_ROLE_REQUIRED', reason: 'role', challenge: null })
  t.strictSame(await refusal(auth.apiKey().scopes('a', 'c'), { apiKey: key({ scopes: ['a', 'b'] }) }), { code: 'AUTH_SCOPE_REQUIRED', reason: 'scope', challenge: 'ApiKey realm="causeflow", error="insufficient_scope", scope="a c"' })
})

t.test('a webhook that reaches roles through any has none', async (t) => {
  t.equal(await codeOf(auth.any(auth.jwt(), auth.webhook()).roles('admin'), { webhooks: { [signature]: delivery() } }), 'AUTH_ROLE_REQUIRED')
})

t.test('tenants: a bound URL serves the principal\'s own tenant alone', async (t) => {
  const url = '/:tenantId'
  t.ok(await principalOf(auth.jwt(), { jwt: token(), params: { tenantId: 'ten_1' } }, { url }))
  const mismatch = (reason: string) => ({ code: 'AUTH_TENANT_MISMATCH', reason, challenge: null })
  t.strictSame(await refusal(auth.jwt(), { jwt: token(), params: { tenantId: 'ten_2' } }, { url }), mismatch('tenant-other'))
  t.strictSame(await refusal(auth.apiKey(), { apiKey: key(), params: { tenantId: 'ten_2' } }, { url }), mismatch('tenant-other'))
  t.strictSame(await refusal(auth.webhook(), { webhooks: { [signature]: delivery({ tenantId: 'ten_1' }) }, params: { tenantId: 'ten_2' } }, { url }), mismatch('tenant-other'))
  t.equal(await codeOf(auth.jwt(), { jwt: token(), params: { tenantId: 'TEN_1' } }, { url }), 'AUTH_TENANT_MISMATCH')
})

t.test('tenants: an absent, empty or strange parameter refuses', async (t) => {
  for (const params of [{}, { tenantId: '' }, { tenantId: undefined }, { tenantId: ['ten_1'] }, null]) {
    t.equal((await refusal(auth.jwt(), { jwt: token(), params }, { url: '/:tenantId?' })).reason, 'tenant-parameter')
    t.equal(await codeOf(auth.all(auth.apiKey(), auth.webhook()), { apiKey: key(), webhooks: { [signature]: delivery() }, params }, { url: '/:tenantId?' }), 'AUTH_TENANT_MISMATCH')
  }
})

t.test('tenants: under all they must agree, on an unbound URL and with the binding lifted', async (t) => {
  const rule = auth.all(auth.jwt(), auth.apiKey(), auth.webhook())
  const request = (jwt: string | null, apiKey: string, webhook: string | null): Request =>
    ({ jwt: token({ tenantId: jwt }), apiKey: key({ tenantId: apiKey }), webhooks: { [signature]: delivery({ tenantId: webhook }) } })
  t.ok(await principalOf(rule, request('a', 'a', 'a')))
  t.ok(await principalOf(rule, request('a', 'a', null)), 'who has no tenant disagrees with nobody')
  t.strictSame(await refusal(rule, request('a', 'b', null)), { code: 'AUTH_TENANT_MISMATCH', reason: 'tenant-other', challenge: null })
  t.equal(await codeOf(rule, request('a', 'a', 'b')), 'AUTH_TENANT_MISMATCH')
  t.equal(await codeOf(rule.anyTenant(), request('a', 'b', null)), 'AUTH_TENANT_MISMATCH')
  t.equal(await codeOf(rule.tenantOptional(), request(null, 'a', 'b')), 'AUTH_TENANT_MISMATCH')
  t.ok(await principalOf(rule, request('a', 'b', 'c'), { tenant: null }), 'an application without tenants compares none')
})

t.test('tenants: a disagreement of token and key is known before the signature is opened', async (t) => {
  const trace: Trace = { steps: [], proved: [], request: null }
  await codeOf(auth.all(auth.jwt(), auth.apiKey(), auth.webhook()), { jwt: token({ tenantId: 'a' }), apiKey: key({ tenantId: 'b' }), webhooks: { [signature]: delivery() } }, { trace })
  t.strictSame(trace.steps, ['token', 'apiKey'])
})

t.test('a 403 knows who was refused, and nobody else: of several that disagree the one whose request it would be, where it is one of them', async (t) => {
  const [person, machine] = [token({ tenantId: 'a', roles: ['member'] }), key({ tenantId: 'b' })]
  const from = (source: string, tenantId: string | null): WebhookPrincipal => delivery({ source, tenantId })
  const both = { [signature]: from('default', 'a'), 'x-hub-signature-256': from('github', null) }
  const at = { url: '/:tenantId' }
  for (const [rule, request, who, world] of [
    [auth.jwt().roles('admin'), { jwt: person }, person],
    [auth.jwt().scopes('x'), { jwt: person }, person],
    [auth.jwt().check('never', () => false), { jwt: person }, person],
    [auth.jwt().check('never', async () => false), { jwt: person }, person],
    [auth.jwt(), { jwt: person, params: { tenantId: 'c' } }, person, at],
    [auth.jwt(), { jwt: person, params: {} }, person, { url: '/:tenantId?' }],
    [auth.jwt(), { jwt: token({ tenantId: null, subject: 'usr_2' }) }, token({ tenantId: null, subject: 'usr_2' })],
    [auth.webhook(), { webhooks: { [signature]: from('default', null) }, params: { tenantId: 'c' } }, from('default', null), at],
    [auth.all(auth.jwt(), auth.apiKey()), { jwt: person, apiKey: machine }, person],
    [auth.all(auth.jwt(), auth.apiKey().scopes('x')).anyTenant(), { jwt: token({ tenantId: 'b' }), apiKey: machine }, machine],
    [auth.all(auth.webhook(), auth.apiKey()), { apiKey: machine, webhooks: { [signature]: from('default', 'a') } }, machine],
    [auth.all(auth.webhook('github'), auth.webhook('default'), auth.apiKey()), { apiKey: machine, webhooks: both }, machine],
    [auth.any(auth.jwt().roles('admin'), auth.jwt().roles('owner')), { jwt: person }, person],
    [auth.deny(), { jwt: person }, null],
    [auth.jwt(), {}, null],
    [auth.jwt(), { jwt: expired }, null]
  ] as Array<[AuthRule, Request, Principal | null, (Partial<Offer> & { url?: string })?]>) {
    t.strictSame((await errorOf(rule, request, world)).principal, who, rule.describe())
  }
})

t.test('tenants: a rule of webhooks alone on a bound URL needs a resolver that names the tenant, or .anyTenant()', async (t) => {
  const at = { url: '/:tenantId' }
  const params = { tenantId: 'ten_1' }
  const from = (tenantId: string | null): Request => ({ webhooks: { [signature]: delivery({ tenantId }) }, params })
  t.ok(await principalOf(auth.webhook(), from('ten_1'), at))
  t.strictSame(await refusal(auth.webhook(), from(null), at), { code: 'AUTH_TENANT_MISMATCH', reason: 'tenant-absent', challenge: null })
  t.ok(await principalOf(auth.webhook().anyTenant(), from(null), at))
  t.equal(await codeOf(auth.webhook().tenantOptional(), from(null), at), 'AUTH_TENANT_MISMATCH', 'it never lifts the binding')
  t.equal(await codeOf(auth.webhook(), from(null), { ...at, tenant: { param: 'tenantId', required: false } }), 'AUTH_TENANT_MISMATCH')
  t.ok(await principalOf(auth.webhook(), { ...from(null), params: {} }), 'on an unbound URL a delivery needs no tenant')
  t.equal(await codeOf(auth.webhook(), from(null)), 'AUTH_TENANT_MISMATCH', 'a parameter that the request has and the known URL lacks counts')
  t.ok(await principalOf(auth.all(auth.apiKey(), auth.webhook()), { ...from(null), apiKey: key() }, at), 'beside a key, the key answers for the tenant')
  t.equal(await codeOf(auth.all(auth.apiKey().optional(), auth.webhook()), from(null), at), 'AUTH_TENANT_MISMATCH', 'an optional key that is not there answers for nothing')
})

t.test('tenants: a request that has the configured parameter is bound, though the URL of its rule does not show it', async (t) => {
  const params = { tenantId: 'ten_2' }
  const jwt = token({ tenantId: 'ten_1' })
  t.equal(await codeOf(auth.jwt(), { jwt, params }), 'AUTH_TENANT_MISMATCH')
  t.equal(await codeOf(auth.jwt(), { jwt, params: { tenantId: undefined } }), 'AUTH_TENANT_MISMATCH', 'an optional parameter that is absent is no consent')
  t.equal(await codeOf(auth.jwt().tenantOptional(), { jwt: token({ tenantId: null }), params }), 'AUTH_TENANT_MISMATCH')
  t.ok(await principalOf(auth.jwt(), { jwt, params: { tenantId: 'ten_1' } }))
  for (const none of [{}, null, undefined, Object.create(params) as Record<string, unknown>]) t.ok(await principalOf(auth.jwt(), { jwt, params: none as never }))
  t.ok(await principalOf(auth.jwt().anyTenant(), { jwt, params }))
  t.ok(await principalOf(auth.jwt(), { jwt, params }, { tenant: null }))
  t.equal(await codeOf(auth.jwt().tenant('org'), { jwt, params: { ...params, org: 'ten_1' } }, { url: '/:org' }), 'AUTH_TENANT_MISMATCH', '.tenant() adds a parameter')
  t.ok(await principalOf(auth.jwt().tenant('org'), { jwt, params: { tenantId: 'ten_1', org: 'ten_1' } }, { url: '/:org' }))
})

t.test('tenants: a token without a tenant is refused unless tenants are optional, and on a bound URL always', async (t) => {
  const jwt = token({ tenantId: null })
  const params = { tenantId: 'ten_1' }
  t.strictSame(await refusal(auth.jwt(), { jwt }), { code: 'AUTH_TENANT_REQUIRED', reason: 'tenant-absent', challenge: null })
  t.equal(await codeOf(auth.jwt().anyTenant(), { jwt }), 'AUTH_TENANT_REQUIRED', 'it lifts the binding, not the need')
  t.ok(await principalOf(auth.jwt().tenantOptional(), { jwt }))
  t.ok(await principalOf(auth.jwt(), { jwt }, { tenant: { param: 'tenantId', required: false } }))
  t.ok(await principalOf(auth.jwt(), { jwt, params }, { tenant: null, url: '/:tenantId' }))
  t.equal(await codeOf(auth.jwt(), { jwt, params }, { url: '/:tenantId' }), 'AUTH_TENANT_REQUIRED')
  t.equal(await codeOf(auth.jwt().tenantOptional(), { jwt, params }, { url: '/:tenantId' }), 'AUTH_TENANT_MISMATCH')
  t.equal(await codeOf(auth.jwt(), { jwt, params }, { url: '/:tenantId', tenant: { param: 'tenantId', required: false } }), 'AUTH_TENANT_MISMATCH')
  t.ok(await principalOf(auth.jwt().tenantOptional().anyTenant(), { jwt, params }, { url: '/:tenantId' }))
})

t.test('tenants: .tenant(param) binds to another parameter, and to no prototype\'s', async (t) => {
  const at = { url: '/:tenantId/:org' }
  t.ok(await principalOf(auth.jwt().tenant('org'), { jwt: token(), params: { tenantId: 'ten_1', org: 'ten_1' } }, at))
  t.ok(await principalOf(auth.jwt().tenant('org'), { jwt: token(), params: { org: 'ten_1' } }, { url: '/:org' }))
  t.equal(await codeOf(auth.jwt().tenant('org'), { jwt: token(), params: { tenantId: 'ten_2', org: 'ten_1' } }, at), 'AUTH_TENANT_MISMATCH', 'a URL that names two tenants')
  t.equal(await codeOf(auth.jwt().tenant('org'), { jwt: token(), params: { tenantId: 'ten_1', org: 'ten_2' } }, at), 'AUTH_TENANT_MISMATCH')
  t.equal(await codeOf(auth.jwt(), { jwt: token(), params: { toString: 'ten_2' } }, { url: '/:toString', tenant: { param: 'toString', required: true } }), 'AUTH_TENANT_MISMATCH')
})

t.test('tenants come before roles: who does not belong here learns nothing about roles', async (t) => {
  t.equal(await codeOf(auth.jwt().roles('admin'), { jwt: token(), params: { tenantId: 'ten_2' } }, { url: '/:tenantId' }), 'AUTH_TENANT_MISMATCH')
})

t.test('a check gets its principal and the request, after roles and scopes', async (t) => {
  const calls: unknown[][] = []
  const rule = auth.jwt().check('note', (...parameters) => { calls.push(parameters); return true }).roles('admin')
  const trace: Trace = { steps: [], proved: [], request: { url: '/x' } }
  await codeOf(rule, { jwt: token() }, { trace })
  t.strictSame(calls, [])
  const jwt = token({ roles: ['admin'] })
  await decided(rule, { jwt }, { trace })
  t.equal(calls.length, 1)
  t.equal(calls[0]?.[0], jwt)
  t.equal(calls[0]?.[1], trace.request)
})

t.test('a check passes by answering true, at once or later, and by nothing else', async (t) => {
  const answering = (answer: unknown) => auth.jwt().check('odd', () => answer as boolean)
  for (const answer of [true, Promise.resolve(true), { then: (resolve: (value: unknown) => void) => { resolve(true) } }]) {
    t.ok(await principalOf(answering(answer), { jwt: token() }))
  }
  for (const answer of [false, undefined, null, 1, 'true', {}, [], () => true, Promise.resolve(1), Promise.resolve(undefined), Promise.resolve(false), { then: (resolve: (value: unknown) => void) => { resolve('yes') } }]) {
    t.strictSame(await refusal(answering(answer), { jwt: token() }), { code: 'AUTH_CHECK_FAILED', reason: 'check', challenge: null })
  }
})

t.test('a check that throws or rejects, anything, is undecidable and tries no other candidate', async (t) => {
  const undecidable = { code: 'AUTH_RULE_UNDECIDABLE', reason: 'check-threw', challenge: null }
  const faults: Array<() => unknown> = [
    () => { throw new Error('fault') },
    () => { throw undefined }, // eslint-disable-line no-throw-literal
    () => { throw expired },
    () => Promise.reject(new Error('fault')),
    () => Promise.reject(), // eslint-disable-line prefer-promise-reject-errors
    () => ({ get then () { throw new Error('fault') } }),
    () => ({ then () { throw new Error('fault') } })
  ]
  for (const fault of faults) {
    t.strictSame(await refusal(auth.jwt().check('faulty', fault as () => boolean), { jwt: token() }), undecidable)
    t.strictSame(await refusal(auth.any(auth.jwt().check('faulty', fault as () => boolean), auth.jwt()), { jwt: token() }), undecidable)
    t.strictSame(await refusal(auth.webhook().check('faulty', fault as () => boolean), { webhooks: { [signature]: delivery() } }), undecidable)
    t.strictSame(await refusal(auth.all(auth.apiKey().check('faulty', fault as () => boolean), auth.webhook()), { apiKey: key(), webhooks: { [signature]: delivery() } }), undecidable)
  }
})

t.test('a check that does not answer within 2 seconds is unavailable, and what it answers later counts for nothing', async (t) => {
  const unavailable = { code: 'AUTH_STORE_UNAVAILABLE', reason: 'time-limit', challenge: null }
  const late: Record<string, (settle: { resolve (value: boolean): void, reject (cause: unknown): void }) => void> = {
    nothing: () => {},
    true: ({ resolve }) => { resolve(true) },
    'a rejection': ({ reject }) => { reject(new Error('late')) }
  }
  for (const [title, answerLate] of Object.entries(late)) {
    for (const [name, of] of Object.entries({ before: auth.jwt, after: auth.webhook })) {
      const time = fakeTime()
      const asked: Array<Parameters<typeof answerLate>[0]> = []
      const rule = (of() as ReturnType<typeof auth.jwt>).check('silent', () => new Promise((resolve, reject) => { asked.push({ resolve, reject }) }))
      const answer = refusal(rule, { jwt: token(), webhooks: name === 'after' ? { [signature]: delivery() } : {}, timers: time.timers as Timers })
      while (asked.length === 0) await settled()
      time.pass(1999)
      await settled()
      t.equal(time.waiting(), 1, 'it is waited for')
      t.equal(time.holding(), 0, 'and keeps no process alive')
      time.pass(1)
      t.strictSame(await answer, unavailable, `${name} the body, ${title}`)
      answerLate(asked[0]!)
      await settled()
    }
  }
  const time = fakeTime()
  t.ok(await principalOf(auth.jwt().check('quick', async () => true), { jwt: token(), timers: time.timers as Timers }))
  t.equal(time.waiting(), 0, 'the timer of one that answers ends with it')
  t.ok(await principalOf(auth.jwt().check('synchronous', () => true), { jwt: token(), timers: { setTimeout: () => { throw new Error('no timer is needed') }, clearTimeout: () => {} } }))
})

t.test('what a check has thrown is the cause, for logs', async (t) => {
  const fault = new Error('fault')
  await t.rejects(decided(auth.jwt().check('faulty', () => { throw fault }), { jwt: token() }), { cause: fault })
  await t.rejects(decided(auth.jwt().check('faulty', async () => { throw fault }), { jwt: token() }), { cause: fault })
})

t.test('checks are asked one after the other, and none after one that fails', async (t) => {
  const asked: string[] = []
  const check = (name: string, answer: boolean | Promise<boolean>) => [name, () => { asked.push(name); return answer }] as const
  const rule = auth.jwt().check(...check('one', Promise.resolve(true))).check(...check('two', true)).check(...check('three', Promise.resolve(false))).check(...check('four', true))
  t.equal(await codeOf(rule, { jwt: token() }), 'AUTH_CHECK_FAILED')
  t.strictSame(asked, ['one', 'two', 'three'])
})

t.test('one decision leaves nothing to the next', async (t) => {
  const compiled = compileRule(nodeOf(auth.all(auth.apiKey(), auth.webhook()))!, offer, { label: 'POST /x', params: [] })
  const run = async (tenantId: string) => {
    const pending = await decide(compiled, present(compiled, { apiKey: key({ tenantId }), webhooks: { [signature]: delivery() }, later: true }, { steps: [], proved: [], request: null }))
    return pending.pending ? pending : t.fail('a signature waits for its body') as never
  }
  const [a, b] = await Promise.all([run('a'), run('b')])
  t.equal((await b.conclude(body)).principal?.tenantId, 'b')
  t.equal((await a.conclude(body)).principal?.tenantId, 'a')
})
