import { configError, refuseUndefined } from '../../errors.js'
import { isHeaderName } from '../signature.js'

/** The form that each option of a scheme must have. */
export type OptionForms = Record<string, 'seconds' | 'boolean' | 'header' | 'field'>

/**
 * Refuses an option that is unknown or of a wrong form, at the time the scheme is made: a typo in `tolerance`
 * or an undefined value would otherwise leave the default in force without a word.
 */
export function checkSchemeOptions (scheme: string, options: unknown, forms: OptionForms): void {
  if (typeof options !== 'object' || options === null || Array.isArray(options)) {
    throw configError('option', `${scheme}() takes an object of options`)
  }
  refuseUndefined((name) => `${scheme}({ ${name} })`, options)
  for (const [name, value] of Object.entries(options)) {
    const form = Object.hasOwn(forms, name) ? forms[name] : undefined
    if (form === undefined) throw configError('option', `${scheme}() has no option ${name}: it knows ${Object.keys(forms).join(', ')}`)
    if (!hasForm[form](value)) throw configError('option', `${scheme}({ ${name} }) must be ${formWords[form]}`)
  }
}

const hasForm: Record<OptionForms[string], (value: unknown) => boolean> = {
  seconds: (value) => typeof value === 'number' && Number.isFinite(value) && value > 0,
  boolean: (value) => typeof value === 'boolean',
  header: isHeaderName,
  field: (value) => typeof value === 'string' && value !== ''
}

const formWords: Record<OptionForms[string], string> = {
  seconds: 'a number of seconds above 0',
  boolean: 'true or false',
  header: 'the name of a header',
  field: 'the name of a field of the body'
}
