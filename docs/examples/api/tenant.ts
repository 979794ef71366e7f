import type { FastifyRequest } from 'fastify'
import { principalOf } from '../../../lib/index.js'

/** The tenant of whoever asks. Rules let nobody in without one, unless they say `.tenantOptional()`. */
export function tenantOf (request: Pick<FastifyRequest, 'principal'>): string {
  const { tenantId } = principalOf(request)
  if (tenantId === null) throw new Error('The rule of this route lets in who has no tenant')
  return tenantId
}
