/** Typing errors in names. */
import { configError } from './errors.js'

/** Alike but for case, punctuation, or one character too many, too few or other. */
export function isNear (given: string, known: string): boolean {
  const a = given.toLowerCase().replace(/[^a-z]/g, '')
  const b = known.toLowerCase()
  if (a === b) return true
  if (Math.abs(a.length - b.length) > 1 || b.length < 4) return false
  let start = 0
  while (start < a.length && a[start] === b[start]) start++
  let end = 0
  while (end < Math.min(a.length, b.length) - start && a[a.length - 1 - end] === b[b.length - 1 - end]) end++
  return Math.max(a.length, b.length) - start - end <= 2
}

/**
 * Has an object throw AUTH_CONFIG_RULE where a name is read that it does not have and that is nearly one of its own: undefined in place of
 * a guard, `preHandler: app.causeflowAuth.apikey`, is passed over by Fastify, and the route would be open. Only what is not found gets
 * here, so that reading the names that are there costs nothing.
 */
export function withSpellingCheck<T extends object> (owner: string, target: T): T {
  const names = Object.keys(target)
  const prototype = new Proxy(Object.prototype, {
    get (object, name, receiver) {
      if (typeof name === 'string' && !(name in object)) {
        const nearest = names.find((known) => isNear(name, known))
        if (nearest !== undefined) throw configError('rule', `${owner} has no '${name}'. Did you mean '${nearest}'?`)
      }
      return Reflect.get(object, name, receiver) as unknown
    }
  })
  return Object.setPrototypeOf(target, prototype) as T
}
