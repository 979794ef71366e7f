/** The entries of `components.securitySchemes`: one for each credential that a registration takes. */
import type { Registration } from '../registration.js'
import { causeflow } from '../webhook/schemes/causeflow.js'
import type { SignatureScheme } from '../webhook/signature.js'
import { describeSignature, type SignatureDescription } from './signature-description.js'

/** A Security Scheme Object, of the kinds that are written here. */
export type SecurityScheme =
  | { type: 'http', scheme: 'bearer', bearerFormat: 'JWT', description: string }
  | { type: 'apiKey', in: 'header', name: string, description: string, 'x-causeflow-signature'?: SignatureDescription }

/** Under which names the credentials of one registration stand in a document. */
export interface SchemeNames {
  /** By the name of the issuer. */
  readonly tokens: ReadonlyMap<string, string>
  readonly apiKey: string | null
  /** By the name of the webhook. */
  readonly webhooks: ReadonlyMap<string, string>
}

/** What stands in a document before any registration is known, so that security written by hand can name it. */
export function standardSchemes (): Record<string, SecurityScheme> {
  return { bearer: bearerScheme(null), apiKey: keyScheme('x-api-key', []), signature: signatureScheme(causeflow()) }
}

/** The security schemes of a document, as its routes make them known. */
export class SchemeRegister {
  readonly #schemes = new Map<string, SecurityScheme>()
  readonly #names = new Map<Registration, SchemeNames>()

  /** Names of the schemes of a registration. Entries that are the same in two registrations are one. */
  namesOf (registration: Registration): SchemeNames {
    const known = this.#names.get(registration)
    if (known !== undefined) return known
    const { verifiers: { tokens, keySource, keys }, settings: { webhook } } = registration
    const names: SchemeNames = {
      tokens: new Map(tokens.map(({ name, issuer }) => [name, this.add(named('bearer', name), bearerScheme(issuer))])),
      apiKey: keys === null || keySource === null ? null : this.add('apiKey', keyScheme(keySource.header, alsoTakenAs(keySource))),
      webhooks: new Map(webhook.map(({ name, scheme }) => [name, this.add(named('signature', name), signatureScheme(scheme))]))
    }
    this.#names.set(registration, names)
    return names
  }

  /** Adds a scheme, under another name where the name is another's: two scopes may each have an issuer of the same name. */
  add (base: string, scheme: SecurityScheme): string {
    for (let count = 1; ; count++) {
      const name = count === 1 ? base : `${base}_${count}`
      const there = this.#schemes.get(name)
      if (there === undefined) this.#schemes.set(name, scheme)
      if (there === undefined || JSON.stringify(there) === JSON.stringify(scheme)) return name
    }
  }

  entries (): Record<string, SecurityScheme> {
    return Object.fromEntries(this.#schemes)
  }
}

function bearerScheme (issuer: string | null): SecurityScheme {
  return { type: 'http', scheme: 'bearer', bearerFormat: 'JWT', description: issuer === null ? 'A token' : `A token issued by ${issuer}` }
}

function keyScheme (header: string, also: readonly string[]): SecurityScheme {
  return { type: 'apiKey', in: 'header', name: header, description: `An API key: cflo_…${also.length > 0 ? `. Also taken ${also.join(' and ')}` : ''}` }
}

function alsoTakenAs ({ bearer, query }: NonNullable<Registration['verifiers']['keySource']>): string[] {
  return [...bearer ? ['as a bearer credential'] : [], ...query === null ? [] : [`in the query parameter ${query}`]]
}

export function signatureScheme (scheme: SignatureScheme): SecurityScheme {
  const description = describeSignature(scheme)
  // The first that shows a signature: OpenAPI has one header for one scheme, and the others stand in the description.
  const name = scheme.headers[0] as string
  const others = Object.entries(description.headers).filter(([header]) => header !== name).map(([header, value]) => `, with ${header}: ${value}`)
  return {
    type: 'apiKey',
    in: 'header',
    name,
    description: `A signature: ${description.headers[name] ?? '{hex}'} of HMAC-SHA256 over ${description.signed}${others.join('')}`,
    'x-causeflow-signature': description
  }
}

function named (base: string, name: string): string {
  // What a component may be called (OpenAPI 3.1 §4.8.7).
  return name === 'default' ? base : `${base}_${name.replaceAll(/[^A-Za-z0-9._-]/g, '_')}`
}
