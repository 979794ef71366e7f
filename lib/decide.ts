/**
 * Decides: a compiled rule and what a request presented go in, proved or refused comes out.
 * Nothing here knows HTTP or Fastify. Refusals are thrown as AuthError; an answer is a promise only
 * where a verifier or a check had to wait.
 */
import { AuthError } from './errors.js'
import type { Branch, CompiledRule, Kind, Step } from './compiled-rule.js'
import type { ApiKeyPrincipal, JwtPrincipal, Principal, WebhookPrincipal } from './principal.js'
import type { Selection } from './selection.js'
import { failureOf, TimeLimitError, withinTimeLimit, type Timers } from './webhook/time-limit.js'

/** What a request presented, of the kinds that the rule mentions. */
export interface Presented {
  /** The URL's parameters, for the binding of tenants. */
  readonly params: unknown
  /** Handed to checks; nothing else looks into it. */
  readonly request: unknown
  /** For the time limit of checks. */
  readonly timers: Timers
  /** The bits of the kinds presented. */
  readonly kinds: number
  /** Two credentials of one kind that the rule takes. */
  readonly duplicate: boolean
  /** A token that cannot even be assigned to an issuer: verifying it is to refuse it. */
  readonly badToken: AuthError | null
  /** A token of a configured issuer that the rule does not mention. */
  readonly foreignToken: boolean
  token (): JwtPrincipal | Promise<JwtPrincipal>
  apiKey (): ApiKeyPrincipal | Promise<ApiKeyPrincipal>
  /** Reads a signature's headers and finds its secrets, before the body is read. */
  open (kind: WebhookKind, names: readonly string[], proved: Principal | null): Opened | Promise<Opened>
}

/** A signature that waits for its body. */
export interface Opened {
  verify (body: Buffer): WebhookPrincipal
}

/** A satisfied rule. */
export interface Proof {
  readonly pending: false
  /** Null where nothing was asked for, or nothing was presented to an optional rule. */
  readonly principal: Principal | null
  /** What each credential of several proved; null where there is one at most. */
  readonly proofs: readonly Principal[] | null
  /** The parameters that were compared with the tenant; null where none was. */
  readonly tenantParams: readonly string[] | null
}

/** A rule that is satisfied but for its signature. */
export interface Pending {
  readonly pending: true
  conclude (body: Buffer): Proof | Promise<Proof>
}

const nobody: Proof = Object.freeze({ pending: false, principal: null, proofs: null, tenantParams: null })

/** Decides as far as can be without the body: proved, or pending until its bytes are there. */
export function decide (rule: CompiledRule, presented: Presented): Proof | Pending | Promise<Proof | Pending> {
  if (rule.standing === 'public') return nobody
  if (rule.standing === 'deny') throw new AuthError('AUTH_DENIED', 'denied')
  if (presented.duplicate) throw new AuthError('AUTH_CREDENTIAL_AMBIGUOUS', 'duplicate')
  if (presented.badToken !== null) throw presented.badToken
  const { kinds } = presented
  const evidence: Evidence = { token: null, apiKey: null, signatures: null }
  // The token first: a key is not looked up for a request whose token is bad.
  if ((kinds & rule.tokenBits) !== 0) {
    const token = presented.token()
    if (isPromise(token)) return token.then((proved) => { evidence.token = proved; return proveKey(rule, presented, evidence) })
    evidence.token = token
  }
  return proveKey(rule, presented, evidence)
}

interface Evidence {
  token: JwtPrincipal | null
  apiKey: ApiKeyPrincipal | null
  /** Null until they are verified. */
  signatures: readonly OpenedKind[] | null
}

/** The signature of one kind: opened before the body is read, and what it has proved once it was. */
interface OpenedKind {
  readonly kind: WebhookKind
  readonly opened: Opened
  principal: WebhookPrincipal | null
}

type WebhookKind = Extract<Kind, { scheme: 'webhook' }>

function proveKey (rule: CompiledRule, presented: Presented, evidence: Evidence): Proof | Pending | Promise<Proof | Pending> {
  if ((presented.kinds & rule.keyBit) !== 0) {
    const apiKey = presented.apiKey()
    if (isPromise(apiKey)) return apiKey.then((proved) => { evidence.apiKey = proved; return judge(rule, presented, evidence) })
    evidence.apiKey = apiKey
  }
  return judge(rule, presented, evidence)
}

function judge (rule: CompiledRule, presented: Presented, evidence: Evidence): Proof | Pending | Promise<Proof | Pending> {
  const selection = rule.select(presented.kinds)
  // Before the signature is looked at: no body is read for a request that cannot be let in.
  if (selection.refuse !== null) throw selection.refuse(presented.foreignToken ? 'issuer-not-accepted' : 'absent')
  // All candidates take exactly what was presented: one with a signature, all with a signature.
  if ((presented.kinds & rule.webhookBits) === 0) return firstSatisfied(selection.branches, 0, null, null, evidence, presented)
  const tried = tryUnsigned(selection.branches, 0, [], evidence, presented)
  return isPromise(tried)
    ? tried.then((known) => openFrom(selection, known, presented, evidence, 0, []))
    : openFrom(selection, tried, presented, evidence, 0, [])
}

type Candidates = Extract<Selection, { refuse: null }>

/** What the conditions before the signature came to, of the first candidates, which were asked: their refusal, or null. */
type Tried = ReadonlyArray<AuthError | null>

/**
 * The proof by the first branch whose conditions hold; if none, the refusal of the first. With `tried`, of those branches alone
 * that asked for the names whose secrets the signatures were made with.
 */
function firstSatisfied (branches: readonly Branch[], index: number, refusal: AuthError | null, tried: Tried | null, evidence: Evidence, presented: Presented): Proof | Promise<Proof> {
  for (let i = index; i < branches.length; i++) {
    const branch = branches[i] as Branch
    if (tried !== null && !asksFor(branch, evidence)) continue
    const fault = tried?.[i] ?? unmet(branch, remaining(branch, i, tried), 0, evidence, presented)
    if (isPromise(fault)) {
      return fault.then((error) => error === null ? proofOf(branch, evidence) : firstSatisfied(branches, i + 1, refusal ?? error, tried, evidence, presented))
    }
    if (fault === null) return proofOf(branch, evidence)
    refusal ??= fault
  }
  throw refusal ?? new AuthError('AUTH_SIGNATURE_INVALID', 'digest')
}

/** Two names of one kind: the branch has to have asked for the one whose secret it was. */
function asksFor (branch: Branch, evidence: Evidence): boolean {
  for (const { kind, names } of branch.leaves) {
    if (kind.scheme === 'webhook' && !names.includes(signerOf(kind, evidence)?.source ?? '')) return false
  }
  return true
}

function remaining (branch: Branch, index: number, tried: Tried | null): readonly Step[] {
  if (tried === null) return branch.before
  return index < tried.length ? branch.after : [...branch.before, ...branch.after]
}

/**
 * Tries what needs no signature, up to the first branch for which it holds: those behind it have their turn when that one
 * fails. Throws the first branch's refusal where all have failed: then no body is read.
 */
function tryUnsigned (branches: readonly Branch[], index: number, tried: Array<AuthError | null>, evidence: Evidence, presented: Presented): Tried | Promise<Tried> {
  for (let i = index; i < branches.length; i++) {
    const branch = branches[i] as Branch
    const fault = unmet(branch, branch.before, 0, evidence, presented)
    if (isPromise(fault)) {
      return fault.then((error) => {
        tried.push(error)
        return error === null ? tried : tryUnsigned(branches, i + 1, tried, evidence, presented)
      })
    }
    tried.push(fault)
    if (fault === null) return tried
  }
  throw tried[0] ?? new AuthError('AUTH_DENIED', 'denied')
}

/** Opens the signatures one after the other: a refusal of one must not leave another's promise to nobody. */
function openFrom (candidates: Candidates, tried: Tried, presented: Presented, evidence: Evidence, index: number, opened: OpenedKind[]): Pending | Promise<Pending> {
  // The secret of a delivery is its key's, where one was proved.
  const proved = evidence.apiKey ?? evidence.token
  for (let i = index; i < candidates.signatures.length; i++) {
    const { kind, names } = candidates.signatures[i] as Candidates['signatures'][number]
    const one = presented.open(kind, names, proved)
    if (isPromise(one)) {
      return one.then((signature) => {
        opened.push({ kind, opened: signature, principal: null })
        return openFrom(candidates, tried, presented, evidence, i + 1, opened)
      })
    }
    opened.push({ kind, opened: one, principal: null })
  }
  return { pending: true, conclude: (body) => conclude(opened, body, candidates, tried, evidence, presented) }
}

function conclude (signatures: readonly OpenedKind[], body: Buffer, { branches }: Candidates, tried: Tried, evidence: Evidence, presented: Presented): Proof | Promise<Proof> {
  for (const signature of signatures) signature.principal = signature.opened.verify(body)
  evidence.signatures = signatures
  return firstSatisfied(branches, 0, null, tried, evidence, presented)
}

/** The refusal by the first condition of a branch that does not hold; null where all do. */
function unmet (branch: Branch, steps: readonly Step[], index: number, evidence: Evidence, presented: Presented): AuthError | null | Promise<AuthError | null> {
  for (let i = index; i < steps.length; i++) {
    const step = steps[i] as Step
    if (step.type === 'agreement') {
      if (!agree(branch, step.subjects, evidence)) return refusal('AUTH_TENANT_MISMATCH', 'tenant-other', spokesman(branch, step.subjects, evidence))
      continue
    }
    const principal = principalOfLeaf(branch, step.subject, evidence)
    if (step.type === 'check') {
      const passed = ask(step, principal, presented)
      if (isPromise(passed)) {
        return passed.then((pass) => pass ? unmet(branch, steps, i + 1, evidence, presented) : refusal('AUTH_CHECK_FAILED', 'check', principal))
      }
      if (!passed) return refusal('AUTH_CHECK_FAILED', 'check', principal)
      continue
    }
    const failed = step.type === 'tenant' ? tenantFault(step, principal, presented) : membershipFault(step, principal)
    if (failed !== null) return failed
  }
  return null
}

function tenantFault (step: Extract<Step, { type: 'tenant' }>, principal: Principal, { params }: Presented): AuthError | null {
  const { tenantId, scheme } = principal
  const implicit = hasParam(params, step.implicit) ? step.implicit : null
  if (tenantId === null) {
    if (step.required) return refusal('AUTH_TENANT_REQUIRED', 'tenant-absent', principal)
    if ((step.param ?? implicit) === null || (scheme === 'webhook' && !step.alone)) return null
    return refusal('AUTH_TENANT_MISMATCH', 'tenant-absent', principal)
  }
  return paramFault(step.param, principal, params) ?? paramFault(implicit, principal, params)
}

function paramFault (param: string | null, principal: Principal, params: unknown): AuthError | null {
  if (param === null) return null
  const asked = (params as Record<string, unknown> | null | undefined)?.[param]
  if (asked === principal.tenantId && asked !== '') return null
  // A guard may run after a schema has made a number of it.
  if ((typeof asked === 'number' || typeof asked === 'bigint') && String(asked) === principal.tenantId) return null
  // An optional parameter may be absent: then nothing says whose route this is.
  return refusal('AUTH_TENANT_MISMATCH', typeof asked === 'string' && asked !== '' ? 'tenant-other' : 'tenant-parameter', principal)
}

/** Whether a request has a parameter that the URL of its rule does not show: the URL is a copy, the request is what is served. */
function hasParam (params: unknown, name: string | null): boolean {
  return name !== null && typeof params === 'object' && params !== null && Object.hasOwn(params, name)
}

function membershipFault (step: Extract<Step, { type: 'roles' | 'scopes' }>, principal: Principal): AuthError | null {
  if (step.type === 'roles') {
    const roles: readonly string[] = principal.roles
    return step.values.some((role) => roles.includes(role)) ? null : refusal('AUTH_ROLE_REQUIRED', 'role', principal)
  }
  const scopes: readonly string[] = principal.scopes
  return step.values.every((scope) => scopes.includes(scope))
    ? null
    : new AuthError('AUTH_SCOPE_REQUIRED', 'scope', { schemes: [principal.scheme], scopes: step.values, principal })
}

/** Milliseconds that a check may take. */
const checkTimeLimit = 2000

/** Whether a check passes. Only `true` does: a forgotten return or a truthy object is no consent. */
function ask (step: Extract<Step, { type: 'check' }>, principal: Principal, { request, timers }: Presented): boolean | Promise<boolean> {
  let answer: unknown
  try {
    answer = step.check.check(principal, request)
    if (!isPromise(answer)) return answer === true
  } catch (cause) {
    throw new AuthError('AUTH_RULE_UNDECIDABLE', 'check-threw', { cause })
  }
  // Through a promise of our own: an object with a `then` of the application's may throw when it is called.
  return withinTimeLimit(Promise.resolve(answer), checkTimeLimit, timers).then((value) => value === true, (cause: unknown) => {
    // A check that does not answer depends on something that failed, as a store does; one that throws is at fault itself.
    if (cause instanceof TimeLimitError) throw failureOf(`the check '${step.check.name}'`, cause)
    throw new AuthError('AUTH_RULE_UNDECIDABLE', 'check-threw', { cause })
  })
}

function agree (branch: Branch, subjects: readonly number[], evidence: Evidence): boolean {
  let tenant: string | null = null
  for (const subject of subjects) {
    const { tenantId } = principalOfLeaf(branch, subject, evidence)
    if (tenantId === null) continue
    if (tenant !== null && tenant !== tenantId) return false
    tenant = tenantId
  }
  return true
}

/** Of several that disagree, the one that the request would be of. */
function spokesman (branch: Branch, subjects: readonly number[], evidence: Evidence): Principal {
  return principalOfLeaf(branch, subjects.includes(branch.principal) ? branch.principal : subjects[0] as number, evidence)
}

function principalOfLeaf (branch: Branch, index: number, evidence: Evidence): Principal {
  const { kind } = branch.leaves[index] as Branch['leaves'][number]
  switch (kind.scheme) {
    case 'jwt': return evidence.token as Principal
    case 'apiKey': return evidence.apiKey as Principal
    case 'webhook': return signerOf(kind, evidence) as Principal
  }
}

function signerOf (kind: WebhookKind, { signatures }: Evidence): WebhookPrincipal | null {
  if (signatures !== null) for (const signature of signatures) if (signature.kind === kind) return signature.principal
  return null
}

function proofOf (branch: Branch, evidence: Evidence): Proof {
  if (branch.principal < 0) return nobody
  const principal = principalOfLeaf(branch, branch.principal, evidence)
  if (branch.proofs.length === 1) return { pending: false, principal, proofs: null, tenantParams: branch.tenantParams }
  const proofs = branch.leaves.map((_, index) => principalOfLeaf(branch, index, evidence))
  const isSigned = proofs.some(({ scheme, tenantId }) => scheme === 'webhook' && tenantId !== null)
  return { pending: false, principal: withProofs(principal, branch), proofs, tenantParams: isSigned ? branch.signedTenantParams : branch.tenantParams }
}

// Principals that are remembered come again and again, and copying one takes longer than deciding about it.
const combined = new WeakMap<Principal, Principal>()

/** A copy that names every credential of the branch, frozen like what it is copied from: one request's principal is never another's to change. */
function withProofs (principal: Principal, { proofs }: Branch): Principal {
  const known = combined.get(principal)
  if (known?.proofs === proofs) return known
  const copy = Object.freeze({ ...principal, proofs })
  combined.set(principal, copy)
  return copy
}

function refusal (code: 'AUTH_ROLE_REQUIRED' | 'AUTH_TENANT_REQUIRED' | 'AUTH_TENANT_MISMATCH' | 'AUTH_CHECK_FAILED', reason: 'role' | 'tenant-absent' | 'tenant-other' | 'tenant-parameter' | 'check', principal: Principal): AuthError {
  return new AuthError(code, reason, { schemes: [principal.scheme], principal })
}

function isPromise<T> (value: T | Promise<T>): value is Promise<T> {
  return typeof (value as { then?: unknown } | null | undefined)?.then === 'function'
}
