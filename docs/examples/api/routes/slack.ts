/** What Slack sends: events as JSON, and buttons that were pressed as a form. Both are signed in the same way. */
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Type, type Static } from '@sinclair/typebox'
import { Value } from '@sinclair/typebox/value'
import { auth } from '../../../../lib/index.js'
import type { Data } from '../data.js'
import type { Services } from '../settings.js'
import { RequestError } from '../table.js'

const signed = { auth: auth.webhook('slack') }
const EventSchema = Type.Object({ type: Type.String(), challenge: Type.Optional(Type.String()) })
const ActionsSchema = Type.Object({
  team: Type.Object({ id: Type.String() }),
  actions: Type.Array(Type.Object({ action_id: Type.String(), value: Type.String() }))
})

const slack: FastifyPluginAsyncTypebox<Services> = async (fastify, { data }) => {
  fastify.post('/v1/slack/events', { config: signed, schema: { body: EventSchema } }, async (request) => {
    const { type, challenge } = request.body
    return type === 'url_verification' ? { challenge } : {}
  })

  // A signature says that it is Slack who speaks, not that an administrator does: a button may acknowledge, and not approve.
  fastify.post('/v1/slack/actions', { config: signed }, async (request) => {
    const { team, actions } = actionsIn(request.body)
    const tenantId = tenantOfTeam(data, team.id)
    for (const { action_id: action, value } of actions) {
      if (action === 'acknowledge') data.incidents.change(tenantId, value, { status: 'acknowledged' })
    }
    return {}
  })
}
export default slack

/** A signed body that is neither JSON nor text is the bytes as they came. */
function actionsIn (body: unknown): Static<typeof ActionsSchema> {
  const payload = new URLSearchParams(String(body)).get('payload')
  const actions = payload === null ? null : readJson(payload)
  if (!Value.Check(ActionsSchema, actions)) throw new RequestError(400, 'The form has no actions')
  return actions
}

function readJson (text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return null
  }
}

/** The team is in the verified body: Slack says whose button it was. */
function tenantOfTeam ({ tenants, integrations }: Data, team: string): string {
  for (const tenantId of tenants.keys()) {
    if (integrations.list(tenantId).some(({ id, account }) => id === 'slack' && account === team)) return tenantId
  }
  throw new RequestError(404, 'No tenant has connected this team')
}
