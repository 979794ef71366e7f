/** The `security` of an operation, from the compiled rule of its route. */
import type { Branch, Leaf } from '../compiled-rule.js'
import type { Plan } from '../route.js'
import type { SchemeNames } from './security-schemes.js'

/** A Security Requirement Object: all of its schemes together. A list of them: alternatives. */
export type SecurityRequirement = Record<string, string[]>

/**
 * The alternatives of a rule; none for `public` and `deny`, which ask for no credential. Roles and scopes are named where
 * `grants` says that the document's version allows it. Tenants and checks have no place in OpenAPI.
 */
export function securityOf ({ rule }: Plan, names: SchemeNames, grants: boolean): SecurityRequirement[] {
  const found = rule.branches.flatMap((branch) => requirementsOf(branch, names, grants))
  return [...new Map(found.map((requirement) => [JSON.stringify(requirement), requirement])).values()]
}

function requirementsOf (branch: Branch, names: SchemeNames, grants: boolean): SecurityRequirement[] {
  return branch.leaves.reduce<SecurityRequirement[]>((before, leaf, subject) => {
    const granted = grants ? grantsOf(branch, subject) : [[]]
    const ways = schemesOf(leaf, names).flatMap((scheme) => granted.map((words) => [scheme, words] as const))
    return before.flatMap((requirement) => ways.map(([scheme, words]) => (
      { ...requirement, [scheme]: [...new Set([...requirement[scheme] ?? [], ...words])] })))
  }, [{}])
}

/** A leaf that accepts several webhooks is as many alternatives. */
function schemesOf ({ kind, names: accepted }: Leaf, names: SchemeNames): string[] {
  switch (kind.scheme) {
    case 'jwt': return [names.tokens.get(kind.issuer) as string]
    case 'apiKey': return [names.apiKey as string]
    case 'webhook': return accepted.map((name) => names.webhooks.get(name) as string)
  }
}

/** What one credential of a branch has to be granted: every scope, and of each list of roles any one, which are as many alternatives. */
function grantsOf ({ before, after }: Branch, subject: number): string[][] {
  return [...before, ...after].reduce<string[][]>((found, step) => {
    if ((step.type !== 'roles' && step.type !== 'scopes') || step.subject !== subject) return found
    const { values } = step
    return step.type === 'scopes' ? found.map((words) => [...words, ...values]) : found.flatMap((words) => values.map((role) => [...words, role]))
  }, [[]])
}
