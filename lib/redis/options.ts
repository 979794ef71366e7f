/** The refusal of bad options. */
import { configError, refuseUndefined } from '../errors.js'

type Expectation = readonly [test: (value: unknown) => boolean, words: string]

export const isText: Expectation = [(value) => typeof value === 'string' && value !== '', 'a text that is not empty']
export const isSeconds: Expectation = [(value) => typeof value === 'number' && value > 0 && value <= 60, 'seconds, more than 0 and 60 at most']
export const isFunction: Expectation = [(value) => typeof value === 'function', 'a function']
export const isTimers: Expectation = [(value) => typeof (value as { setTimeout?: unknown } | null)?.setTimeout === 'function', 'an object with setTimeout and clearTimeout']

/** Throws for an option that is unknown or of a wrong form; null: whoever uses it looks at it. */
export function checkOptions (owner: string, options: object, expectations: Record<string, Expectation | null>): void {
  if (typeof options !== 'object' || options === null) throw configError('option', `${owner} takes an object of options: { client }`)
  refuseUndefined((name) => `${owner}({ ${name} })`, options)
  for (const [name, value] of Object.entries(options)) {
    if (!Object.hasOwn(expectations, name)) throw configError('option', `${owner} has no option '${name}'. It has ${Object.keys(expectations).join(', ')}`)
    const expectation = expectations[name]
    if (expectation != null && !expectation[0](value)) throw configError('option', `${owner}({ ${name} }) must be ${expectation[1]}`)
  }
}
