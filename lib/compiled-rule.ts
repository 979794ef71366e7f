/**
 * A rule made ready for deciding: its alternatives multiplied out into branches, once, when the app starts.
 * After that a request costs one look-up by what it presented and a walk over a few conditions.
 */
import { configError } from './errors.js'
import { describeRule, type NamedCheck, type RuleNode } from './rule.js'
import { selector, type Selection } from './selection.js'
import { isNear } from './spelling.js'
import type { Scheme } from './principal.js'

/** What a registration has to offer to its rules. */
export interface Offer {
  /** The names of the configured issuers. */
  readonly issuers: readonly string[]
  readonly apiKeys: boolean
  readonly webhooks: readonly OfferedWebhook[]
  readonly tenant: { readonly param: string, readonly required: boolean } | null
}

/** What a rule needs to know of a configured webhook. */
export interface OfferedWebhook {
  readonly name: string
  /** The headers that show a signature; webhooks that share one are one kind of credential. */
  readonly headers: readonly string[]
  /** Whether its secret belongs to an API key that has to be proved first. */
  readonly needsKey: boolean
  /** Whether its secrets are literal, so that it can never name a tenant. */
  readonly literal: boolean
}

/** Where a rule stands. */
export interface Place {
  /** For messages: `POST /v1/tenants/:tenantId`. */
  readonly label: string
  /** The names of the URL's parameters; null where no URL is known. */
  readonly params: readonly string[] | null
  /**
   * True where a request may come by other URLs than the one that is known, as in a not-found handler: a parameter that
   * `.tenant()` names is then looked for in each request, and a request without it is rejected.
   */
  readonly open?: boolean
}

/** One credential that a request may present: a bit in the set of those presented. */
export type Kind =
  | { readonly scheme: 'jwt', readonly bit: number, readonly issuer: string }
  | { readonly scheme: 'apiKey', readonly bit: number }
  | { readonly scheme: 'webhook', readonly bit: number, readonly names: readonly string[], readonly headers: readonly string[] }

/** A credential of a branch. */
export interface Leaf {
  readonly kind: Kind
  /** For a webhook: the names that this leaf accepts. */
  readonly names: readonly string[]
}

/** A condition on one principal of a branch: the leaf at `subject`. */
export type Step =
  | {
    readonly type: 'tenant'
    readonly subject: number
    /** The parameter that is compared; null where the URL is known to have none, or `.anyTenant()` says so. */
    readonly param: string | null
    /**
     * The configured parameter, where `param` is another or none and nothing lifts the binding: it is
     * compared as soon as the request itself has it. What is known of a URL is a copy, and what serves the
     * request may be another.
     */
    readonly implicit: string | null
    readonly required: boolean
    readonly alone: boolean
  }
  | { readonly type: 'roles' | 'scopes', readonly subject: number, readonly values: readonly string[] }
  | { readonly type: 'check', readonly subject: number, readonly check: NamedCheck }
  | { readonly type: 'agreement', readonly subjects: readonly number[] }

/** One way to satisfy a rule: exactly these kinds, and these conditions. */
export interface Branch {
  readonly kinds: number
  readonly leaves: readonly Leaf[]
  /** The leaf that becomes `request.principal`; -1 where nothing is asked for. */
  readonly principal: number
  /** Decided in onRequest. */
  readonly before: readonly Step[]
  /** Decided once the signature is. */
  readonly after: readonly Step[]
  readonly proofs: readonly Scheme[]
  /** A parameter that the rule itself names; null where it names none. */
  readonly boundTo: string | null
  /** The parameters that are compared with a tenant; null where none is. */
  readonly tenantParams: readonly string[] | null
  /** The same where a webhook next to a token or a key has named a tenant: it is compared only then. */
  readonly signedTenantParams: readonly string[] | null
}

/** A rule ready for deciding. */
export interface CompiledRule {
  readonly node: RuleNode
  /** The rule in words. */
  readonly words: string
  readonly standing: 'public' | 'deny' | 'examined'
  readonly kinds: readonly Kind[]
  /** The bits of the issuers, by name. */
  readonly issuerBits: ReadonlyMap<string, number>
  /** Those of all issuers together. */
  readonly tokenBits: number
  readonly keyBit: number
  readonly webhookBits: number
  readonly webhookKinds: ReadonlyArray<Extract<Kind, { scheme: 'webhook' }>>
  readonly branches: readonly Branch[]
  /** The candidates for what was presented, or the refusal. */
  select (presented: number): Selection
}

/** Compiles a rule for a place. Throws AUTH_CONFIG_… for what can never be decided. */
export function compileRule (node: RuleNode, offer: Offer, place: Place): CompiledRule {
  const words = describeRule(node)
  if (node.type === 'public' || node.type === 'deny') {
    return { node, words, standing: node.type, kinds: [], issuerBits: new Map(), tokenBits: 0, keyBit: 0, webhookBits: 0, webhookKinds: [], branches: [], select: () => ({ branches: [], signatures: [], refuse: null }) }
  }
  const kinds = kindsOf(node, offer, place)
  const branches = expand(node, { offer, place, kinds })
    .filter((draft) => isPossible(draft))
    .map((draft) => branchOf(draft, offer, place))
  // An optional rule is satisfied by nothing: that alone would be a riddle, too.
  if (branches.every(({ kinds }) => kinds === 0)) throw configError('rule', `${place.label}: the rule "${words}" can never be satisfied: a request carries one token, one API key and one signature of a kind. Use auth.any() for alternatives`)
  for (const branch of branches) checkBranch(branch, offer, place, words)
  return {
    node,
    words,
    standing: 'examined',
    kinds,
    issuerBits: new Map(kinds.flatMap((kind) => kind.scheme === 'jwt' ? [[kind.issuer, kind.bit] as const] : [])),
    tokenBits: bitsOf(kinds, 'jwt'),
    keyBit: bitsOf(kinds, 'apiKey'),
    webhookBits: bitsOf(kinds, 'webhook'),
    webhookKinds: kinds.filter((kind) => kind.scheme === 'webhook'),
    branches,
    select: selector(branches, kinds, node)
  }
}

function bitsOf (kinds: readonly Kind[], wanted: Scheme): number {
  return kinds.reduce((bits, { scheme, bit }) => scheme === wanted ? bits | bit : bits, 0)
}

/** Names an issuer where a rule names none. */
function issuersOf (node: RuleNode, offer: Offer, place: Place): readonly string[] {
  if (offer.issuers.length === 0) throw configError('credential', `${place.label}: the rule "${describeRule(node)}" takes a token and no issuer is configured. Give the plugin jwt: { issuer }`)
  if (node.names.length === 0) {
    if (offer.issuers.length === 1) return offer.issuers
    if (offer.issuers.includes('default')) return ['default']
    throw configError('credential', `${place.label}: auth.jwt() without a name is ambiguous among the issuers ${list(offer.issuers)}. Name one, auth.jwt('${offer.issuers[0] ?? ''}'), or call one 'default'`)
  }
  for (const name of node.names) {
    if (!offer.issuers.includes(name)) throw configError('credential', `${place.label}: auth.jwt('${name}') names no configured issuer. Configured: ${list(offer.issuers)}`)
  }
  return node.names
}

function webhooksOf (node: RuleNode, offer: Offer, place: Place): readonly string[] {
  const names = offer.webhooks.map(({ name }) => name)
  if (names.length === 0) throw configError('credential', `${place.label}: the rule "${describeRule(node)}" takes a signature and no webhook is configured. Give the plugin webhook: { secret }`)
  if (node.names.length === 0) {
    if (names.length === 1) return names
    if (names.includes('default')) return ['default']
    throw configError('credential', `${place.label}: auth.webhook() without a name is ambiguous among the webhooks ${list(names)}. Name one, auth.webhook('${names[0] ?? ''}'), or call one 'default'`)
  }
  for (const name of node.names) {
    if (!names.includes(name)) throw configError('credential', `${place.label}: auth.webhook('${name}') names no configured webhook. Configured: ${list(names)}`)
  }
  return node.names
}

function kindsOf (root: RuleNode, offer: Offer, place: Place): Kind[] {
  const issuers = new Set<string>()
  const webhooks = new Set<string>()
  let apiKey = false
  const visit = (node: RuleNode): void => {
    if (node.type === 'jwt') issuersOf(node, offer, place).forEach((name) => issuers.add(name))
    if (node.type === 'webhook') webhooksOf(node, offer, place).forEach((name) => webhooks.add(name))
    if (node.type === 'apiKey') apiKey = true
    node.children.forEach(visit)
  }
  visit(root)
  if (apiKey && !offer.apiKeys) throw configError('credential', `${place.label}: the rule "${describeRule(root)}" takes an API key and no store is configured. Give the plugin apiKey: { store }`)
  // In the order of the rule: of several whose secret verifies, the first listed counts.
  const groups = grouped([...webhooks].map((name) => offer.webhooks.find((webhook) => webhook.name === name) as OfferedWebhook))
  // The bits of a set have to fit a small integer.
  if (issuers.size + groups.length + 1 > 30) throw configError('rule', `${place.label}: the rule mentions more than 29 kinds of credential. Split the route`)
  let bit = 1
  const next = (): number => { const mine = bit; bit *= 2; return mine }
  return [
    ...[...issuers].map((issuer): Kind => ({ scheme: 'jwt', bit: next(), issuer })),
    ...(apiKey ? [{ scheme: 'apiKey', bit: next() } as const] : []),
    ...groups.map((group): Kind => ({ scheme: 'webhook', bit: next(), names: group.map(({ name }) => name), headers: [...new Set(group.flatMap(({ headers }) => headers))] }))
  ]
}

/** Webhooks that share a header, directly or through others, are one kind: the request cannot say which it means. */
function grouped (webhooks: readonly OfferedWebhook[]): OfferedWebhook[][] {
  let groups: OfferedWebhook[][] = []
  for (const webhook of webhooks) {
    const touching = groups.filter((group) => group.some(({ headers }) => headers.some((header) => webhook.headers.includes(header))))
    groups = [...groups.filter((group) => !touching.includes(group)), [...touching.flat(), webhook]]
  }
  return groups
}

interface Expansion { readonly offer: Offer, readonly place: Place, readonly kinds: readonly Kind[] }

/** A branch in the making: leaves in the order of listing, and each condition with the leaves below its node. */
interface Draft {
  readonly leaves: readonly DraftLeaf[]
  readonly conditions: ReadonlyArray<{ readonly node: RuleNode, readonly leaves: readonly DraftLeaf[] }>
}

interface DraftLeaf extends Leaf {
  /** The parameter of the node itself, of the nearest node above it that says, or null. */
  tenantParam: string | null
  anyTenant: boolean
  tenantOptional: boolean
}

// More would take seconds at start and is no rule that a person can read.
const maxBranches = 512

function expand (node: RuleNode, world: Expansion): Draft[] {
  const drafts = expandCredential(node, world).map(({ leaves, conditions }): Draft => {
    for (const leaf of leaves) {
      if (leaf.tenantParam === null && !leaf.anyTenant) {
        leaf.tenantParam = node.tenantParam
        leaf.anyTenant = node.anyTenant
      }
      leaf.tenantOptional ||= node.tenantOptional
    }
    const conditioned = node.roles.length > 0 || node.scopes.length > 0 || node.checks.length > 0
    return { leaves, conditions: conditioned && leaves.length > 0 ? [...conditions, { node, leaves }] : conditions }
  })
  if (node.optional) drafts.push({ leaves: [], conditions: [] })
  if (drafts.length > maxBranches) throw configError('rule', `${world.place.label}: the rule "${describeRule(node)}" has more than ${maxBranches} combinations. Split the route`)
  return drafts
}

function expandCredential (node: RuleNode, world: Expansion): Draft[] {
  switch (node.type) {
    case 'jwt':
      return issuersOf(node, world.offer, world.place).map((issuer) => leafDraft(world.kinds.find((kind) => kind.scheme === 'jwt' && kind.issuer === issuer), []))
    case 'apiKey':
      return [leafDraft(world.kinds.find(({ scheme }) => scheme === 'apiKey'), [])]
    case 'webhook': {
      const names = webhooksOf(node, world.offer, world.place)
      const mine = new Set(names.map((name) => world.kinds.find((kind) => kind.scheme === 'webhook' && kind.names.includes(name)) as Extract<Kind, { scheme: 'webhook' }>))
      return [...mine].map((kind) => leafDraft(kind, names.filter((name) => kind.names.includes(name))))
    }
    case 'any':
      return node.children.flatMap((child) => expand(child, world))
    case 'all':
      return node.children.map((child) => expand(child, world)).reduce<Draft[]>((before, drafts) => {
        if (before.length * drafts.length > maxBranches) throw configError('rule', `${world.place.label}: the rule "${describeRule(node)}" has more than ${maxBranches} combinations. Split the route`)
        return before.flatMap((left) => drafts.map((right) => joined(left, right)))
      }, [{ leaves: [], conditions: [] }])
    /* c8 ignore next 3 -- they stand alone, so that compileRule has answered */
    case 'public':
    case 'deny':
      return []
  }
}

function leafDraft (kind: Kind | undefined, names: readonly string[]): Draft {
  return { leaves: [{ kind: kind as Kind, names, tenantParam: null, anyTenant: false, tenantOptional: false }], conditions: [] }
}

/** Both together. They may share leaves with other combinations: what a node above says, it says of all of them. */
function joined (left: Draft, right: Draft): Draft {
  return { leaves: [...left.leaves, ...right.leaves], conditions: [...left.conditions, ...right.conditions] }
}

/** One token and one signature of a kind: a combination that needs two different ones of them is nobody's. */
function isPossible ({ leaves }: Draft): boolean {
  const tokens = new Set(leaves.flatMap(({ kind }) => kind.scheme === 'jwt' ? [kind.issuer] : []))
  if (tokens.size > 1) return false
  // A name that every leaf of the kind accepts, and not two by two: one signature proves one name.
  return leaves.every((leaf) => leaf.kind.scheme !== 'webhook' || leaf.names.some((name) => leaves.every((other) => other.kind !== leaf.kind || other.names.includes(name))))
}

function branchOf ({ leaves, conditions }: Draft, offer: Offer, place: Place): Branch {
  const before: Step[] = []
  const after: Step[] = []
  const identified = leaves.some(({ kind }) => kind.scheme !== 'webhook')
  if (offer.tenant !== null) {
    const { param, required } = offer.tenant
    // Bound without being asked: a URL that names a tenant serves that tenant.
    const bound = place.params?.includes(param) === true ? param : null
    if (bound === null && leaves.some(({ tenantParam, anyTenant }) => tenantParam === null && !anyTenant)) refuseLookAlike(param, place)
    leaves.forEach((leaf, subject) => {
      const signed = leaf.kind.scheme === 'webhook'
      ;(signed ? after : before).push({
        type: 'tenant',
        subject,
        param: leaf.anyTenant ? null : leaf.tenantParam ?? bound,
        // Also next to `.tenant('org')`: a URL that names the tenant twice serves one that is both.
        implicit: leaf.anyTenant || param === (leaf.tenantParam ?? bound) ? null : param,
        // A webhook has a tenant only where its resolver names one, so none is required of it …
        required: required && !leaf.tenantOptional && !signed,
        // … except where nobody else could answer for the tenant in the URL.
        alone: signed && !identified
      })
    })
    const subjects = leaves.map((_, subject) => subject)
    const known = subjects.filter((subject) => leaves[subject]?.kind.scheme !== 'webhook')
    if (known.length > 1) before.push({ type: 'agreement', subjects: known })
    if (known.length < subjects.length && subjects.length > 1) after.push({ type: 'agreement', subjects })
  }
  for (const { node, leaves: below } of conditions) {
    const subject = leaves.indexOf(principalOfLeaves(below) as DraftLeaf)
    const steps = below.some(({ kind }) => kind.scheme === 'webhook') ? after : before
    if (node.roles.length > 0) steps.push({ type: 'roles', subject, values: node.roles })
    if (node.scopes.length > 0) steps.push({ type: 'scopes', subject, values: node.scopes })
    for (const check of node.checks) steps.push({ type: 'check', subject, check })
  }
  const schemes = leaves.map(({ kind }) => kind.scheme)
  const tenantSteps = [...before, ...after].filter((step) => step.type === 'tenant')
  const isAlwaysCompared = (step: typeof tenantSteps[number]): boolean => step.alone || leaves[step.subject]?.kind.scheme !== 'webhook'
  return {
    kinds: leaves.reduce((bits, { kind }) => bits | kind.bit, 0),
    leaves: leaves.map(({ kind, names }) => ({ kind, names })),
    principal: leaves.indexOf(principalOfLeaves(leaves) as DraftLeaf),
    before,
    after,
    proofs: Object.freeze((['jwt', 'apiKey', 'webhook'] as const).filter((scheme) => schemes.includes(scheme))),
    boundTo: leaves.find(({ tenantParam }) => tenantParam !== null)?.tenantParam ?? null,
    tenantParams: paramsOf(tenantSteps.filter(isAlwaysCompared)),
    signedTenantParams: paramsOf(tenantSteps)
  }
}

function paramsOf (steps: ReadonlyArray<Extract<Step, { type: 'tenant' }>>): readonly string[] | null {
  const names = new Set(steps.flatMap(({ param, implicit }) => [param ?? [], implicit ?? []].flat()))
  return names.size > 0 ? Object.freeze([...names]) : null
}

/**
 * `:tenant_id`, `:tenantIdd` or `:tenant`, where the tenant is in `:tenantId`, would be compared with no
 * tenant.
 */
function refuseLookAlike (param: string, { label, params }: Place): void {
  const plain = (name: string): string => name.toLowerCase().replace(/[^a-z0-9]/g, '')
  const alike = params?.find((name) => plain(name) === plain(param) || `${plain(name)}id` === plain(param) || isNear(name, param))
  if (alike !== undefined) throw configError('route', `${label}: :${alike} is not :${param}, so no tenant is compared with it. Write :${param} in the URL, or say .tenant('${alike}') or .anyTenant() of the rule`)
}

/** The first listed that identifies somebody; a sender of webhooks only where nobody else is there. */
function principalOfLeaves (leaves: readonly DraftLeaf[]): DraftLeaf | undefined {
  return leaves.find(({ kind }) => kind.scheme !== 'webhook') ?? leaves[0]
}

function checkBranch (branch: Branch, offer: Offer, place: Place, rule: string): void {
  const hasKey = branch.leaves.some(({ kind }) => kind.scheme === 'apiKey')
  for (const { kind, names } of branch.leaves) {
    if (kind.scheme !== 'webhook' || hasKey) continue
    const keyless = names.filter((name) => offer.webhooks.some((webhook) => webhook.name === name && webhook.needsKey))
    if (keyless.length > 0) throw configError('credential', `${place.label}: the rule "${rule}" verifies with the secret of an API key (apiKeySecret()) and proves no key. Use auth.all(auth.apiKey(), auth.webhook())`)
  }
  if (offer.tenant === null && branch.boundTo !== null) throw configError('rule', `${place.label}: .tenant('${branch.boundTo}') in an application without tenants. Take it off, or take tenant: false off`)
  if (place.params === null) return
  for (const step of branch.after) {
    if (step.type !== 'tenant' || step.param === null || !step.alone) continue
    const names = branch.leaves[step.subject]?.names ?? []
    if (names.every((name) => offer.webhooks.some((webhook) => webhook.name === name && webhook.literal))) {
      throw configError('route', `${place.label}: the URL names a tenant in :${step.param}, and a webhook with a literal secret belongs to none, so that nobody would be let in. Have its secret resolver answer { secrets, tenantId }, add a key, auth.all(auth.apiKey(), auth.webhook()), or lift the binding: .anyTenant()`)
    }
  }
  if (place.open === true) return
  for (const step of [...branch.before, ...branch.after]) {
    if (step.type !== 'tenant' || step.param === null) continue
    if (!place.params.includes(step.param)) throw configError('route', `${place.label}: .tenant('${step.param}') names no parameter of this URL. ${place.params.length > 0 ? `It has ${list(place.params)}` : 'It has none'}: name one of its own, or use .anyTenant()`)
  }
}

function list (names: readonly string[]): string {
  return names.map((name) => `'${name}'`).join(', ')
}
