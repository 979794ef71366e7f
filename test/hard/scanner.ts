/**
 * Looks for secrets in what a process has written. Of each secret the text itself, its base64, base64url, hex and percent-encoded forms and its digest
 * are looked for, and any part of 23 characters of them: every form is known by its windows of twelve, one behind the other, and whatever
 * is that long holds one of these.
 */
import { createHash } from 'node:crypto'

const size = 12

export class Scanner {
  readonly #windows = new Map<string, string>()

  /** `visible` characters at its beginning are shown to everybody: a key's prefix. */
  add (name: string, secret: string, visible = 0): this {
    const hidden = secret.slice(visible)
    const bytes = Buffer.from(secret)
    const forms: Record<string, string> = {
      '': hidden,
      'base64 of ': bytes.toString('base64'),
      'base64url of ': bytes.toString('base64url'),
      'hex of ': bytes.toString('hex'),
      'percent-encoded ': encodeURIComponent(hidden),
      'reversed ': [...hidden].reverse().join(''),
      'digest of ': createHash('sha256').update(secret).digest('hex'),
      'digest in base64 of ': createHash('sha256').update(secret).digest('base64')
    }
    for (const [form, text] of Object.entries(forms)) {
      // The visible beginning, encoded, is no secret either.
      const from = form === 'hex of ' ? visible * 2 : form.startsWith('base64') ? Math.ceil(visible * 4 / 3) : 0
      for (let at = from; at + size <= text.length; at += size) {
        const window = text.slice(at, at + size)
        if (!this.#windows.has(window)) this.#windows.set(window, form + name)
      }
    }
    return this
  }

  /** A token: its header says nothing, its claims and its signature are the credential. */
  addToken (name: string, token: string): this {
    const [, claims = '', signature = ''] = token.split('.')
    return this.add(`the claims of ${name}`, claims).add(`the signature of ${name}`, signature)
  }

  /** An API key, of which lists show the prefix. */
  addKey (name: string, key: string): this {
    return this.add(name, key, 'cflo_live_sk_'.length + 6)
  }

  /** The shared secret of a webhook, its text and the bytes that it stands for. */
  addSecret (name: string, secret: string): this {
    return this.add(name, secret, 'whsec_'.length).add(`the bytes of ${name}`, Buffer.from(secret.slice('whsec_'.length), 'base64').toString('latin1'))
  }

  get count (): number {
    return this.#windows.size
  }

  /** What is found: names, and where. */
  scan (text: string): string[] {
    const found = new Set<string>()
    for (let at = 0; at + size <= text.length; at++) {
      const name = this.#windows.get(text.slice(at, at + size))
      if (name !== undefined && !found.has(name)) found.add(name)
    }
    return [...found]
  }
}
