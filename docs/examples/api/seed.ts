/** Two tenants with a row of everything, for a developer's machine and for tests. */
import { provisioned, type Data } from './data.js'

export const tenants = ['ACME', 'GLOBEX'] as const

/** Ids end in the tenant's name: `usr_ADMIN_ACME`, `inc_ACME`, `rem_PROPOSED_GLOBEX`. */
export function seed (data: Data): void {
  for (const name of tenants) {
    const tenantId = `ten_${name}`
    const id = (kind: string): string => `${kind}_${name}`
    data.tenants.set(tenantId, { id: tenantId, name, status: 'active', provisioning: provisioned('done'), plan: 'team' })
    for (const role of ['admin', 'billing', 'member'] as const) {
      data.users.put({ id: id(`usr_${role.toUpperCase()}`), tenantId, email: `${role}@${name.toLowerCase()}.example.com`, role })
    }
    data.invites.put({ id: id('inv'), tenantId, email: `newcomer@${name.toLowerCase()}.example.com`, role: 'member', status: 'open' })
    data.incidents.put({ id: id('inc'), tenantId, title: `Error rate above 5 % at ${name}`, source: 'datadog', status: 'open' })
    data.investigations.put({ id: id('ivg'), tenantId, incidentId: id('inc'), status: 'running' })
    for (const status of ['proposed', 'approved'] as const) {
      data.remediations.put({ id: id(`rem_${status.toUpperCase()}`), tenantId, incidentId: id('inc'), action: 'Roll back checkout', status, decidedBy: null })
    }
    data.notifications.put({ id: id('ntf'), tenantId, userId: id('usr_MEMBER'), text: `An incident began at ${name}`, read: false })
    data.integrations.put({ id: 'slack', tenantId, account: id('T') })
  }
}
