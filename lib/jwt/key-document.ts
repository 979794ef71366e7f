/** Reads an issuer's key set over the network, from configured places only. */
import { configError } from '../errors.js'
import type { AuthErrorReason } from '../errors.js'

/** Where an issuer's keys are. */
export type KeyLocation = { readonly from: 'jwks', readonly url: string } | { readonly from: 'discovery', readonly url: string }

/** Why a key set could not be read. */
export class KeyDocumentError extends Error {
  readonly reason: Extract<AuthErrorReason, 'unreachable' | 'time-limit' | 'rejected'>
  constructor (reason: KeyDocumentError['reason'], message: string, options?: ErrorOptions) {
    super(message, options)
    this.reason = reason
  }
}
KeyDocumentError.prototype.name = 'KeyDocumentError'

/** The largest answer that is read. Clerk's set has about 1 kB. */
const maxBytes = 1024 * 1024
/** Levels of arrays and objects in an answer. A key set has three. */
const maxDepth = 32
/** Characters of the address that a discovery document names. It is written into messages. */
const maxAddressLength = 2048

/**
 * A reader of the members of one issuer's key set. They are not checked, and nothing is kept: with discovery, each reading
 * asks for the OpenID configuration first, so that an issuer whose keys moved is found while the old address still responds.
 * Rejects with KeyDocumentError, or with the signal's reason.
 */
export function createKeyDocument (issuer: string, location: KeyLocation, fetch: typeof globalThis.fetch): (signal: AbortSignal) => Promise<readonly unknown[]> {
  requireSafe(location.url)

  return async function read (signal) {
    const url = location.from === 'jwks' ? location.url : await discover(signal)
    const { keys } = await readObject(url, fetch, signal)
    if (!Array.isArray(keys)) throw new KeyDocumentError('rejected', `${url} has no array "keys"`)
    if (keys.length === 0) throw new KeyDocumentError('rejected', `${url} has no key`)
    return keys
  }

  async function discover (signal: AbortSignal): Promise<string> {
    const document = await readObject(location.url, fetch, signal)
    if (document.issuer !== issuer) throw new KeyDocumentError('rejected', `${location.url} is the document of another issuer`)
    const address = document.jwks_uri
    // Otherwise whoever can write that document could send us to any address that this host reaches.
    if (typeof address !== 'string' || address.length > maxAddressLength || originOf(address) === null || originOf(address) !== originOf(issuer)) {
      throw new KeyDocumentError('rejected', `${location.url} names no jwks_uri on the issuer's origin`)
    }
    // As URL writes it: without characters that a log or a terminal would act on.
    return new URL(address).href
  }
}

async function readObject (url: string, fetch: typeof globalThis.fetch, signal: AbortSignal): Promise<Record<string, unknown>> {
  let text: string
  try {
    // A redirect would lead where no configuration points.
    const response = await fetch(url, { redirect: 'manual', headers: { accept: 'application/json' }, signal })
    if (signal.aborted || response.status !== 200) {
      response.body?.cancel().catch(ignore)
      // Of a fetch that did not listen to its signal.
      signal.throwIfAborted()
      throw new KeyDocumentError('rejected', `${url} answered ${response.status}`)
    }
    text = await readText(url, response, signal)
  } catch (error) {
    if (error instanceof KeyDocumentError) throw error
    throw new KeyDocumentError('unreachable', `${url} could not be read`, { cause: error })
  }
  // JSON.parse takes 0.3 s for 1 MB of opening brackets.
  if (isNestedDeeper(text, maxDepth)) throw new KeyDocumentError('rejected', `${url} is nested deeper than ${maxDepth} levels`)
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    // Without its cause: a SyntaxError quotes what it read.
    throw new KeyDocumentError('rejected', `${url} is not JSON`)
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw new KeyDocumentError('rejected', `${url} is not a JSON object`)
  return value as Record<string, unknown>
}

/**
 * Counts the bytes as they come, decompressed: 200 MB inside the time limit cost 840 MB of memory when read at once.
 * A body that is given up is canceled, also where it does not listen to the signal itself.
 */
async function readText (url: string, response: Response, signal: AbortSignal): Promise<string> {
  const reader = response.body?.getReader()
  if (reader === undefined) throw new KeyDocumentError('rejected', `${url} answered without a body`)
  const cancel = (): void => { reader.cancel().catch(ignore) }
  signal.addEventListener('abort', cancel, { once: true })
  const chunks: Uint8Array[] = []
  let size = 0
  try {
    for (;;) {
      const { done, value } = await reader.read()
      signal.throwIfAborted()
      if (done) return Buffer.concat(chunks).toString('utf8')
      size += value.byteLength
      if (size > maxBytes) {
        cancel()
        throw new KeyDocumentError('rejected', `${url} is larger than ${maxBytes} bytes`)
      }
      chunks.push(value)
    }
  } finally {
    signal.removeEventListener('abort', cancel)
  }
}

/** Whether a JSON text opens more arrays and objects inside one another than that. */
function isNestedDeeper (text: string, most: number): boolean {
  let depth = 0
  let quoted = false
  for (let index = 0; index < text.length; index++) {
    switch (text.charCodeAt(index)) {
      case 0x5c: index++; break // a backslash, which is in strings only
      case 0x22: quoted = !quoted; break
      case 0x5b: case 0x7b:
        if (!quoted && ++depth > most) return true
        break
      case 0x5d: case 0x7d:
        if (!quoted) depth--
    }
  }
  return false
}

function requireSafe (url: string): void {
  if (originOf(url) === null) throw configError('option', `The keys of an issuer are read over https, or http on this machine: ${url} is neither`)
}

/** The origin of an address that may be asked; null for any other. */
function originOf (address: string): string | null {
  if (!URL.canParse(address)) return null
  const url = new URL(address)
  if (url.username !== '' || url.password !== '') return null
  if (url.protocol === 'https:') return url.origin
  return url.protocol === 'http:' && /^(?:localhost|127(?:\.\d+){3}|\[::1\])$/.test(url.hostname) ? url.origin : null
}

function ignore (): void {}
