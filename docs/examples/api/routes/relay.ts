/** Relays: programs inside a customer's network that hold a socket open and report what they see. */
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Type } from '@sinclair/typebox'
import { Value } from '@sinclair/typebox/value'
import { auth, principalOf } from '../../../../lib/index.js'
import { newId, type Data } from '../data.js'
import { relayToken } from '../relay-token.js'
import type { Services } from '../settings.js'
import { tenantOf } from '../tenant.js'

const MessageSchema = Type.Object({ investigationId: Type.String(), text: Type.String() })
/** RFC 6455: a message that breaks the rules of this endpoint. */
const policyViolation = 1008

const relay: FastifyPluginAsyncTypebox<Services> = async (fastify, { data, clock, relaySecret, longLived, progress }) => {
  fastify.post('/v1/relay/tokens', { config: { auth: auth.jwt().roles('admin') } }, async (request, reply) => {
    const relayId = newId('rly')
    return await reply.code(201).send({ relayId, ...await relayToken({ tenantId: tenantOf(request), relayId, secret: relaySecret, clock }) })
  })

  // The rule is decided before the upgrade: a stranger gets 401 and no socket. The token is in the Authorization header, which
  // no web page can set on a socket, so that none can open one in somebody's name.
  fastify.get('/v1/relay', { websocket: true, exposeHeadRoute: false, config: { auth: auth.jwt('relay') } }, (socket, request) => {
    const principal = principalOf(request, 'jwt')
    const tenantId = tenantOf(request)
    // Listeners first: what comes in before them is lost.
    socket.on('message', (bytes: Buffer) => {
      const message = messageIn(data, tenantId, String(bytes))
      if (message === null) return socket.close(policyViolation, 'message')
      progress.publish(tenantId, message.investigationId, { type: 'log', text: message.text })
    })
    const forget = longLived.begin(principal, (reason) => { socket.close(policyViolation, reason) })
    socket.on('close', forget)
    socket.send(JSON.stringify({ type: 'ready', relayId: principal.subject, tenantId }))
  })
}
export default relay

/** What a relay may report, about an investigation of its own tenant; null: nothing of the sort. */
function messageIn ({ investigations }: Data, tenantId: string, text: string): { investigationId: string, text: string } | null {
  try {
    const message: unknown = JSON.parse(text)
    if (!Value.Check(MessageSchema, message)) return null
    investigations.find(tenantId, message.investigationId)
    return message
  } catch {
    return null
  }
}
