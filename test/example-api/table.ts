/**
 * Who is let in where: a row for every route, and in it what each sort of caller is answered. A case that cannot be has the
 * reason in its place, so that it was thought of.
 */
import type { Credential, World } from './world.js'

export type Case = readonly [credential: Credential, status: number]

export interface Row {
  /** As `app.causeflowAuth.routes()` has it. */
  readonly route: `${'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE'} /${string}`
  /** Where it differs from the route's URL: filled with what belongs to ACME. */
  readonly path?: string | ((world: World) => Promise<string>)
  /** Sent as JSON; a text as a form. */
  readonly body?: object | string
  readonly upgrade?: true
  /** Without a credential. */
  readonly none: number
  readonly good: readonly Case[]
  /** The right kind, with another role or another scope. */
  readonly wrongRole: readonly Case[] | string
  /** Good credentials of GLOBEX. Where the status is a good one, the answer may hold nothing of ACME's. */
  readonly wrongTenant: readonly Case[] | string
  /** Good credentials of a kind that the route does not take. */
  readonly wrongKind: readonly Case[] | string
}

const open = { none: 200, good: [], wrongRole: 'it asks nobody for anything', wrongTenant: 'it asks nobody for anything', wrongKind: 'it asks nobody for anything' } as const
const anyRole = 'any user of the tenant may'
const platform = 'the secret is the platform\'s: whose event it is stands in the verified body'
const noRoles = 'a signature has neither roles nor scopes'
const noTenant = 'operators belong to no tenant'

/** For routes of administrators: members may not, keys do not do, and another tenant's administrator finds what is his own. */
const byAdmin = (status: number, elsewhere: number): Pick<Row, 'none' | 'good' | 'wrongRole' | 'wrongTenant' | 'wrongKind'> => ({
  none: 401,
  good: [['admin', status]],
  wrongRole: [['member', 403], ['billing', 403]],
  wrongTenant: [['admin of GLOBEX', elsewhere]],
  wrongKind: [['reader', 401], ['relay', 401]]
})

/** For routes of every user. */
const byMember = (status: number, elsewhere: number): Pick<Row, 'none' | 'good' | 'wrongRole' | 'wrongTenant' | 'wrongKind'> => ({
  none: 401,
  good: [['member', status]],
  wrongRole: anyRole,
  wrongTenant: [['member of GLOBEX', elsewhere], ['newcomer', 403]],
  wrongKind: [['reader', 401], ['relay', 401]]
})

const byOperator = { none: 401, good: [['operator', 200]], wrongRole: [['admin', 403], ['member', 403]], wrongTenant: noTenant, wrongKind: [['reader', 401], ['relay', 401]] } as const

const keyId = async (world: World): Promise<string> => (await world.key('writer')).keyId

export const table: readonly Row[] = [
  { route: 'GET /health', ...open },
  { route: 'GET /v1/openapi.json', ...open },

  { route: 'POST /v1/tenants', body: { name: 'Initech' }, none: 401, good: [['newcomer', 201], ['member', 201]], wrongRole: 'everybody may found a tenant', wrongTenant: 'it is of no tenant yet', wrongKind: [['reader', 401], ['relay', 401]] },
  { route: 'GET /v1/tenants/:tenantId', path: '/v1/tenants/ten_ACME', ...byMember(200, 403) },
  { route: 'PATCH /v1/tenants/:tenantId', path: '/v1/tenants/ten_ACME', body: { name: 'Acme' }, ...byAdmin(200, 403) },
  { route: 'GET /v1/tenants/:tenantId/provisioning', path: '/v1/tenants/ten_ACME/provisioning', ...byMember(200, 403) },
  { route: 'POST /v1/tenants/:tenantId/provisioning', path: '/v1/tenants/ten_ACME/provisioning', ...byAdmin(202, 403) },

  { route: 'GET /v1/me', none: 401, good: [['member', 200], ['newcomer', 200]], wrongRole: anyRole, wrongTenant: [['member of GLOBEX', 200]], wrongKind: [['reader', 401], ['relay', 401]] },
  { route: 'GET /v1/users', ...byMember(200, 200) },
  { route: 'GET /v1/users/:userId', path: '/v1/users/usr_MEMBER_ACME', none: 401, good: [['admin', 200], ['member', 200]], wrongRole: [['billing', 403]], wrongTenant: [['admin of GLOBEX', 404], ['member of GLOBEX', 403]], wrongKind: [['reader', 401], ['relay', 401]] },
  { route: 'PATCH /v1/users/:userId', path: '/v1/users/usr_MEMBER_ACME', body: { role: 'billing' }, ...byAdmin(200, 404) },
  { route: 'DELETE /v1/users/:userId', path: '/v1/users/usr_MEMBER_ACME', ...byAdmin(204, 404) },

  { route: 'GET /v1/invites', ...byAdmin(200, 200) },
  { route: 'POST /v1/invites', body: { email: 'next@example.com', role: 'member' }, ...byAdmin(201, 201) },
  { route: 'DELETE /v1/invites/:inviteId', path: '/v1/invites/inv_ACME', ...byAdmin(204, 404) },
  { route: 'POST /v1/tenants/:tenantId/invites/:inviteId/accept', path: '/v1/tenants/ten_ACME/invites/inv_ACME/accept', none: 401, good: [['newcomer', 200]], wrongRole: 'who is invited has no role yet', wrongTenant: [['member of GLOBEX', 404]], wrongKind: [['reader', 401], ['relay', 401]] },

  { route: 'GET /v1/incidents', none: 401, good: [['member', 200], ['reader', 200]], wrongRole: [['writer', 403]], wrongTenant: [['member of GLOBEX', 200], ['reader of GLOBEX', 200], ['newcomer', 403]], wrongKind: [['relay', 401], ['member and reader', 400]] },
  { route: 'GET /v1/incidents/:incidentId', path: '/v1/incidents/inc_ACME', none: 401, good: [['member', 200], ['reader', 200]], wrongRole: [['writer', 403]], wrongTenant: [['member of GLOBEX', 404], ['reader of GLOBEX', 404]], wrongKind: [['relay', 401], ['member and reader', 400]] },
  { route: 'POST /v1/incidents', body: { title: 'Checkout is slow' }, none: 401, good: [['member', 201], ['writer', 201]], wrongRole: [['reader', 403]], wrongTenant: [['member of GLOBEX', 201], ['writer of GLOBEX', 201]], wrongKind: [['relay', 401], ['monitor signature', 401], ['member and writer', 400]] },
  { route: 'PATCH /v1/incidents/:incidentId', path: '/v1/incidents/inc_ACME', body: { status: 'resolved' }, none: 401, good: [['member', 200], ['writer', 200]], wrongRole: [['reader', 403]], wrongTenant: [['member of GLOBEX', 404], ['writer of GLOBEX', 404]], wrongKind: [['relay', 401], ['member and writer', 400]] },

  { route: 'POST /v1/incidents/:incidentId/investigations', path: '/v1/incidents/inc_ACME/investigations', ...byMember(201, 404) },
  { route: 'GET /v1/investigations/:investigationId', path: '/v1/investigations/ivg_ACME', ...byMember(200, 404) },
  { route: 'GET /v1/investigations/:investigationId/events', path: '/v1/investigations/ivg_ACME/events', ...byMember(200, 404) },
  { route: 'POST /v1/investigations/:investigationId/cancel', path: '/v1/investigations/ivg_ACME/cancel', ...byAdmin(200, 404) },

  { route: 'GET /v1/remediations', ...byMember(200, 200) },
  { route: 'POST /v1/remediations/:remediationId/approve', path: '/v1/remediations/rem_PROPOSED_ACME/approve', ...byAdmin(200, 404) },
  { route: 'POST /v1/remediations/:remediationId/reject', path: '/v1/remediations/rem_PROPOSED_ACME/reject', ...byAdmin(200, 404) },
  {
    route: 'POST /v1/remediations/:remediationId/execute',
    path: '/v1/remediations/rem_APPROVED_ACME/execute',
    none: 401,
    good: [['admin and runner', 200]],
    wrongRole: [['member and runner', 403], ['admin and reader', 403]],
    wrongTenant: [['admin of GLOBEX and runner', 403], ['admin and runner of GLOBEX', 403], ['admin of GLOBEX and runner of GLOBEX', 404]],
    wrongKind: [['admin', 401], ['runner', 401], ['relay and runner', 401]]
  },

  { route: 'GET /v1/notifications', ...byMember(200, 200) },
  { route: 'POST /v1/notifications/:notificationId/read', path: '/v1/notifications/ntf_ACME/read', ...byMember(200, 404) },
  { route: 'PUT /v1/notifications/preferences', body: { channels: ['email'] }, ...byMember(200, 200) },

  { route: 'GET /v1/integrations', ...byMember(200, 200) },
  { route: 'PUT /v1/integrations/:provider', path: '/v1/integrations/github', body: { account: 'octo' }, ...byAdmin(200, 200) },
  { route: 'DELETE /v1/integrations/:provider', path: '/v1/integrations/slack', ...byAdmin(204, 204) },

  { route: 'GET /v1/billing/subscription', none: 401, good: [['billing', 200], ['admin', 200]], wrongRole: [['member', 403]], wrongTenant: [['billing of GLOBEX', 200]], wrongKind: [['reader', 401], ['relay', 401]] },
  { route: 'POST /v1/billing/checkout', body: { plan: 'enterprise' }, none: 401, good: [['billing', 201], ['admin', 201]], wrongRole: [['member', 403]], wrongTenant: [['billing of GLOBEX', 201]], wrongKind: [['reader', 401], ['relay', 401], ['stripe signature', 401]] },
  { route: 'POST /v1/billing/stripe', body: { type: 'customer.subscription.updated', data: { object: { metadata: { tenant_id: 'ten_ACME', plan: 'enterprise' } } } }, none: 401, good: [['stripe signature', 200]], wrongRole: noRoles, wrongTenant: platform, wrongKind: [['admin', 401], ['monitor', 401], ['clerk signature', 401], ['monitor and monitor signature', 401]] },

  { route: 'POST /v1/clerk/events', body: { type: 'user.deleted', data: { id: 'usr_MEMBER_ACME' } }, none: 401, good: [['clerk signature', 200]], wrongRole: noRoles, wrongTenant: platform, wrongKind: [['admin', 401], ['monitor', 401], ['stripe signature', 401]] },

  { route: 'POST /v1/slack/events', body: { type: 'url_verification', challenge: 'c' }, none: 401, good: [['slack signature', 200]], wrongRole: noRoles, wrongTenant: platform, wrongKind: [['admin', 401], ['monitor', 401], ['clerk signature', 401]] },
  { route: 'POST /v1/slack/actions', body: `payload=${encodeURIComponent(JSON.stringify({ team: { id: 'T_ACME' }, actions: [{ action_id: 'acknowledge', value: 'inc_ACME' }] }))}`, none: 401, good: [['slack signature', 200]], wrongRole: noRoles, wrongTenant: platform, wrongKind: [['admin', 401], ['monitor', 401], ['stripe signature', 401]] },

  ...([['datadog', { title: 'Slow' }], ['grafana', { title: 'Slow' }], ['cloudwatch', { AlarmName: 'Slow' }], ['sentry', { data: { title: 'Slow' } }], ['custom', { title: 'Slow' }]] as const).map(([provider, body]): Row => ({
    route: 'POST /v1/webhooks/:tenantId/:provider',
    path: `/v1/webhooks/ten_ACME/${provider}`,
    body,
    none: 401,
    good: [['monitor and monitor signature', 201]],
    wrongRole: [['reader and reader signature', 403]],
    wrongTenant: [['monitor of GLOBEX and monitor of GLOBEX signature', 403]],
    wrongKind: [['monitor', 401], ['monitor signature', 401], ['admin and monitor signature', 401], ['monitor and reader signature', 401], ['monitor and stripe signature', 401]]
  })),

  { route: 'GET /v1/widget/status', none: 401, good: [['widget', 200]], wrongRole: [['reader', 403]], wrongTenant: [['widget of GLOBEX', 200]], wrongKind: [['admin', 401], ['relay', 401]] },
  { route: 'POST /v1/widget/feedback', body: { text: 'It is slow' }, none: 401, good: [['widget', 204]], wrongRole: [['reader', 403]], wrongTenant: [['widget of GLOBEX', 204]], wrongKind: [['admin', 401], ['relay', 401]] },

  { route: 'POST /v1/relay/tokens', ...byAdmin(201, 201) },
  { route: 'GET /v1/relay', upgrade: true, none: 401, good: [['relay', 101]], wrongRole: 'a relay has no roles', wrongTenant: [['relay of GLOBEX', 101]], wrongKind: [['admin', 401], ['reader', 401]] },

  { route: 'POST /v1/api-keys', body: { name: 'Grafana' }, ...byAdmin(201, 201) },
  { route: 'GET /v1/api-keys', ...byMember(200, 200) },
  { route: 'DELETE /v1/api-keys/:keyId', path: async (world) => `/v1/api-keys/${await keyId(world)}`, ...byAdmin(204, 404) },
  { route: 'POST /v1/api-keys/:keyId/rotate', path: async (world) => `/v1/api-keys/${await keyId(world)}/rotate`, ...byAdmin(201, 404) },
  { route: 'POST /v1/api-keys/:keyId/webhook-secret', path: async (world) => `/v1/api-keys/${await keyId(world)}/webhook-secret`, ...byAdmin(201, 404) },

  { route: 'GET /v1/admin/tenants', ...byOperator },
  { route: 'PUT /v1/admin/tenants/:tenantId/status', path: '/v1/admin/tenants/ten_ACME/status', body: { status: 'suspended' }, ...byOperator },
  { route: 'PUT /v1/admin/tenants/:tenantId/provisioning/:step', path: '/v1/admin/tenants/ten_ACME/provisioning/queue', body: { state: 'done' }, ...byOperator },
  { route: 'GET /v1/admin/routes', ...byOperator }
]
