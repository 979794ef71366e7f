/** Keeps credentials out of what is said about an argument or a failure. */
import { configError } from '../errors.js'

const credentials: ReadonlyArray<readonly [form: RegExp, words: string]> = [
  [/cflo_[0-9A-Za-z_]{16,}/g, 'an API key'],
  [/whsec_[0-9A-Za-z+/=_-]{8,}/g, 'a webhook secret'],
  [/eyJ[\w-]+\.[\w-]+\.[\w-]*/g, 'a token'],
  // But for the word itself, which stands for one where it is said how a URL is written.
  [/(?<=:\/\/[^\s:/@]*:)(?!password@)[^\s/@]+(?=@)/g, 'a password']
]

/** The text without the credentials whose form is known here. A secret without a form of its own is not recognised. */
export function redact (text: string): string {
  return credentials.reduce((rest, [form]) => rest.replace(form, '[redacted]'), text)
}

/**
 * Refuses a credential among the arguments: every user of the machine can list them, and shells write them down.
 * It is not repeated in the refusal.
 */
export function refuseCredentials (args: readonly string[]): void {
  for (const [form, words] of credentials) {
    if (args.some((text) => text.search(form) !== -1)) {
      throw configError('option', `There is ${words} among the arguments, where other users of this machine and the shell's history can read it. Replace it by a new one, and give that on stdin, at the prompt, in a file or in the environment`)
    }
  }
}
