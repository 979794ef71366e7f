/**
 * Principals that a test puts in the place of credentials. Nothing but /testing fills this, under an id of 128 random
 * bits and for one request at a time; while it is empty, which in production is always, a request pays one comparison.
 */
import type { Principal } from './principal.js'

export const standInHeader = 'x-causeflow-stand-in'

const standIns = new Map<string, readonly Principal[]>()

/** Whether any request may carry stand-ins at the moment. */
export function haveStandIns (): boolean {
  return standIns.size > 0
}

/** The stand-ins of an id; null for an unknown one. */
export function standInsOf (id: unknown): readonly Principal[] | null {
  return typeof id === 'string' ? standIns.get(id) ?? null : null
}

/** Has requests with this id carry the principals, until the answer is called. */
export function addStandIns (id: string, principals: readonly Principal[]): () => void {
  standIns.set(id, principals)
  return () => { standIns.delete(id) }
}
