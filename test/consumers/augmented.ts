import type { FastifyRequest } from 'fastify'
import { auth, principalOf } from 'fastify-causeflow-auth'

declare module 'fastify-causeflow-auth' {
  interface CauseflowAuthTypes {
    role: 'admin' | 'member'
    claims: { readonly plan: string }
  }
}

export const rule = auth.jwt().roles('admin')
export const planOf = (request: FastifyRequest): string => principalOf(request, 'jwt').claims.plan

// @ts-expect-error -- the application has named its roles, and this is none of them
export const misspelled = auth.jwt().roles('amdin')
