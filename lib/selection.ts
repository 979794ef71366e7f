/** From what a request presented to the branches of its rule that take just that, or to the refusal. */
import { AuthError } from './errors.js'
import { schemesOf, type RuleNode } from './rule.js'
import type { Branch, Kind } from './compiled-rule.js'

/** What the set of kinds presented leads to. */
export type Selection =
  | {
    readonly branches: readonly Branch[]
    /** The kinds of signature presented, each with the names that a candidate accepts: of refused ones, too, for whose signature it is decides whose refusal is answered. */
    readonly signatures: ReadonlyArray<{ readonly kind: Extract<Kind, { scheme: 'webhook' }>, readonly names: readonly string[] }>
    readonly refuse: null
  }
  | { readonly branches: null, readonly refuse: (reason: 'absent' | 'issuer-not-accepted') => AuthError }

/** Answers what a set of kinds leads to; what it has worked out, it remembers. */
export function selector (branches: readonly Branch[], kinds: readonly Kind[], root: RuleNode): (presented: number) => Selection {
  const selections = new Map<number, Selection>()
  return (presented) => {
    let selection = selections.get(presented)
    if (selection === undefined) {
      selection = selectionOf(presented, branches, kinds, root)
      // A client chooses the set: with many kinds of signature there may be more sets than are worth keeping.
      if (selections.size < 1024) selections.set(presented, selection)
    }
    return selection
  }
}

function selectionOf (presented: number, branches: readonly Branch[], kinds: readonly Kind[], root: RuleNode): Selection {
  const candidates = branches.filter((branch) => branch.kinds === presented)
  if (candidates.length > 0) {
    const accepts = (kind: Kind, name: string): boolean => candidates.some(({ leaves }) => leaves.some((leaf) => leaf.kind === kind && leaf.names.includes(name)))
    const signatures = kinds.filter((kind) => kind.scheme === 'webhook').filter(({ bit }) => (presented & bit) !== 0)
      .map((kind) => ({ kind, names: kind.names.filter((name) => accepts(kind, name)) }))
    return { branches: candidates, signatures, refuse: null }
  }
  // Asking for nothing is not having all one needs: an optional rule with half of a pair presented lacks the other half.
  if (branches.some((branch) => branch.kinds !== 0 && (branch.kinds & presented) === branch.kinds)) {
    return { branches: null, refuse: () => new AuthError('AUTH_CREDENTIAL_AMBIGUOUS', 'ambiguous') }
  }
  const code = missingCode(presented, branches, kinds)
  const schemes = [...schemesOf(root)]
  return { branches: null, refuse: (reason) => new AuthError(code, reason, { schemes }) }
}

/** What is missing: of the first branch that takes all that was presented, the first kind in the order token, key, signature. */
function missingCode (presented: number, branches: readonly Branch[], kinds: readonly Kind[]): 'AUTH_CREDENTIAL_MISSING' | 'AUTH_API_KEY_MISSING' | 'AUTH_SIGNATURE_MISSING' {
  const lacking = branches.filter((branch) => branch.kinds !== 0 && (branch.kinds & presented) === presented)
  const compatible = lacking.length > 0 ? lacking : branches.filter((branch) => branch.kinds !== 0)
  const firsts = new Set(compatible.map((branch) => kinds.find(({ bit }) => (branch.kinds & bit) !== 0 && (presented & bit) === 0)?.scheme))
  // With nothing presented and several ways in, no single credential is the missing one.
  const scheme = presented === 0 && firsts.size > 1 ? 'jwt' : [...firsts][0]
  if (scheme === 'apiKey') return 'AUTH_API_KEY_MISSING'
  if (scheme === 'webhook') return 'AUTH_SIGNATURE_MISSING'
  return 'AUTH_CREDENTIAL_MISSING'
}
