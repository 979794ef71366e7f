/** One document while @fastify/swagger writes it: the security schemes that its routes make known, and the routes that have to wait. */
import type { FastifyInstance, RouteOptions } from 'fastify'
import { planEarly } from '../early-routes.js'
import { isAuthError } from '../errors.js'
import { registrationOf, type Registration } from '../registration.js'
import type { Plan } from '../route.js'
import { SchemeRegister, type SchemeNames, type SecurityScheme } from './security-schemes.js'
import type { DocumentedSchema, Operation } from './operation.js'

/** An OpenAPI Object, as far as it is read here. */
export interface OpenApiObject {
  openapi: string
  components: { securitySchemes?: Record<string, object> }
  security?: Array<Record<string, string[]>>
  paths?: Record<string, Record<string, unknown>>
  webhooks?: Record<string, Record<string, unknown>>
}

const kWaiting = 'x-causeflow-waiting'

export class Document {
  readonly #object: OpenApiObject
  readonly #written: Record<string, object>
  readonly #register = new SchemeRegister()
  readonly #waiting: RouteOptions[] = []
  #root: Registration | null = null
  #rootInstance: FastifyInstance | undefined

  /** `written`: the security schemes written by hand. `delivered`: that of documented events. */
  constructor (object: OpenApiObject, written: Record<string, object>, delivered: SecurityScheme | null) {
    this.#object = object
    this.#written = written
    if (delivered !== null) this.#register.add('signature', delivered)
    // A copy: the next document begins with the one that was there.
    object.components.securitySchemes = { ...object.components.securitySchemes }
  }

  /** The names under which a registration's credentials stand here from now on. */
  namesOf (registration: Registration): SchemeNames {
    const names = this.#register.namesOf(registration)
    // At once: @fastify/swagger looks up what an operation's security names while it writes the operation.
    Object.assign(this.#object.components.securitySchemes as object, this.#register.entries(), this.#written)
    return names
  }

  /** Learns from the instance of a route what decides the routes that the plugin has not seen. */
  noteInstance (instance: FastifyInstance): void {
    if (this.#root !== null) return
    this.#rootInstance = rootOf(instance)
    this.#root = registrationOf(this.#rootInstance)
  }

  /**
   * Marks a route that was there before the plugin: its options do not tell its instance, so its registration is learned
   * from the routes that came after. Where none did, it stays as it was written.
   */
  postpone (schema: DocumentedSchema | undefined, route: RouteOptions): DocumentedSchema {
    return { ...schema, [kWaiting]: this.#waiting.push(route) - 1 } as DocumentedSchema
  }

  /** Describes what had to wait, and takes out the schemes that nothing names and nobody takes. */
  finish (describe: (operation: Operation, plan: Plan, names: SchemeNames) => void): void {
    for (const operation of operationsOf(this.#object.paths)) {
      const { [kWaiting]: index } = operation
      delete operation[kWaiting]
      const plan = typeof index === 'number' ? this.#planWaiting(this.#waiting[index] as RouteOptions) : null
      if (plan !== null) describe(operation, plan, this.namesOf(plan.registration))
    }
    const named = [this.#object, ...operationsOf(this.#object.paths), ...operationsOf(this.#object.webhooks)]
      .flatMap(({ security }) => Array.isArray(security) ? security.flatMap((requirement: object) => Object.keys(requirement)) : [])
    const offered = { ...this.#register.entries(), ...this.#written }
    this.#object.components.securitySchemes = Object.fromEntries(Object.entries(this.#object.components.securitySchemes as object)
      .filter(([name]) => Object.hasOwn(offered, name) || named.includes(name))) as Record<string, object>
  }

  /** Where a child scope has its own registration, its early routes are described by the root's all the same. */
  #planWaiting ({ method, url, config, schema }: RouteOptions): Plan | null {
    if (this.#root === null) return null
    const plan = planEarly({ config: { ...config, method, url }, schema, server: this.#rootInstance }, this.#root)
    return isAuthError(plan) ? null : plan
  }
}

/** The application itself: its registration, if it has one, decides every route that no other does. */
function rootOf (instance: FastifyInstance): FastifyInstance {
  let root = instance
  for (let next = parentOf(root); next !== null; next = parentOf(root)) root = next
  return root
}

/** Fastify makes a scope from its parent by inheritance. */
function parentOf (instance: FastifyInstance): FastifyInstance | null {
  const parent = Object.getPrototypeOf(instance) as FastifyInstance | null
  return typeof parent?.addHook === 'function' ? parent : null
}

function operationsOf (paths: Record<string, Record<string, unknown>> | undefined): Operation[] {
  return Object.values(paths ?? {}).flatMap((path) => Object.values(path)).filter((one): one is Operation => typeof one === 'object' && one !== null && 'responses' in one)
}
