/** What the API knows, in memory. A database would stand here. */
import { randomUUID } from 'node:crypto'
import { RequestError, Table, type Row } from './table.js'

export const provisioningSteps = ['database', 'queue', 'knowledge'] as const
export type ProvisioningStep = typeof provisioningSteps[number]

export interface Tenant {
  readonly id: string
  readonly name: string
  readonly status: 'provisioning' | 'active' | 'suspended'
  readonly provisioning: Readonly<Record<ProvisioningStep, 'pending' | 'done' | 'failed'>>
  readonly plan: string
}
export interface User extends Row { readonly email: string, readonly role: 'admin' | 'billing' | 'member' }
export interface Invite extends Row { readonly email: string, readonly role: User['role'], readonly status: 'open' | 'accepted' }
export interface Incident extends Row { readonly title: string, readonly source: string, readonly status: 'open' | 'acknowledged' | 'resolved' }
export interface Investigation extends Row { readonly incidentId: string, readonly status: 'running' | 'cancelled' | 'completed' }
export interface Remediation extends Row {
  readonly incidentId: string
  readonly action: string
  readonly status: 'proposed' | 'approved' | 'rejected' | 'executed'
  readonly decidedBy: string | null
}
export interface Notification extends Row { readonly userId: string, readonly text: string, readonly read: boolean }
/** The id is the user's. */
export interface Preferences extends Row { readonly channels: readonly string[] }
/** The id is the provider's name. */
export interface Integration extends Row { readonly account: string }
export interface Feedback extends Row { readonly text: string }

export function createData () {
  return {
    tenants: new Map<string, Tenant>(),
    users: new Table<User>('user'),
    invites: new Table<Invite>('invite'),
    incidents: new Table<Incident>('incident'),
    investigations: new Table<Investigation>('investigation'),
    remediations: new Table<Remediation>('remediation'),
    notifications: new Table<Notification>('notification'),
    preferences: new Table<Preferences>('preferences'),
    integrations: new Table<Integration>('integration'),
    feedback: new Table<Feedback>('feedback'),
    /** Ids of users and tenants whose tokens are good for nothing, whatever their time of expiry. */
    revoked: new Set<string>()
  }
}

export type Data = ReturnType<typeof createData>

export function newId (kind: string): string {
  return `${kind}_${randomUUID().replaceAll('-', '')}`
}

export function provisioned (state: 'pending' | 'done'): Tenant['provisioning'] {
  return { database: state, queue: state, knowledge: state }
}

export function tenantIn ({ tenants }: Pick<Data, 'tenants'>, tenantId: string): Tenant {
  const tenant = tenants.get(tenantId)
  if (tenant === undefined) throw new RequestError(404, 'There is no such tenant')
  return tenant
}
