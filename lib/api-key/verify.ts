/** From the text of a key to its holder. */
import { AuthError } from '../errors.js'
import type { ApiKeyPrincipal } from '../principal.js'
import { digestText, maxKeyLength, readApiKey } from './key.js'
import { eventTime, publishKeyEvent } from './key-event.js'
import { createLastUse, lastUsePrecision } from './last-use.js'
import { createLookup, type KeyRefusal, type ProvedKey } from './lookup.js'
import { createSealer } from './seal.js'
import type { ApiKeySettings, ApiKeyTools } from './settings.js'
import { storeUnavailable } from './time-limit.js'

export interface KeyVerifier {
  /**
   * The holder of a key that is well formed, known, active and of an accepted environment. Answers at once for a key
   * that is held in memory, and for any key of a store that does; it then also throws at once. This does not look at
   * scopes or at the tenant of the request: put a rule behind it.
   *
   * AUTH_API_KEY_INVALID: malformed, unknown, revoked, expired, not accepted here. AUTH_STORE_UNAVAILABLE: nobody can say.
   */
  verify (text: string): ApiKeyPrincipal | Promise<ApiKeyPrincipal>
  /**
   * The webhook secrets of the key that proved this very principal, newest first; none for a principal made elsewhere.
   * AUTH_STORE_UNAVAILABLE when it has some and none of them can be opened.
   */
  webhookSecrets (principal: ApiKeyPrincipal): readonly string[]
  /** Whether webhook secrets can be opened at all: there is a sealing key. */
  readonly opensSecrets: boolean
  /** What is held in memory, for metrics: active keys, refusals, readings in the air. */
  size (): { proved: number, refused: number, loads: number }
  /** Forgets everything, writes the last uses and ends the timers. */
  close (): Promise<void>
}

export function createKeyVerifier (settings: ApiKeySettings, tools: ApiKeyTools): KeyVerifier {
  const { clock, randomBytes } = tools
  const sealer = createSealer(settings.sealingKeys, settings.store.ephemeral === true, randomBytes)
  const lookup = createLookup(settings, tools)
  const lastUse = createLastUse(settings, tools)

  function verify (text: string): ApiKeyPrincipal | Promise<ApiKeyPrincipal> {
    if (typeof text !== 'string') throw refusal('form')
    if (text.length > maxKeyLength) throw refusal('size')
    // By digest, so that the time a search takes tells nothing of the keys it passes. A text whose digest is held had a good form
    // when it was found: judging it comes second, and is spared 0.7 of a warm key's 1.7 µs.
    const digest = digestText(text)
    const held = lookup.held(digest)
    if (held !== undefined) return accept(held)
    const form = readApiKey(text)
    if (typeof form === 'string') throw refusal(form)
    if (form.legacy && !settings.legacyKeys) throw refusal('form')
    if (!settings.environments.includes(form.environment)) throw refusal('environment')
    const found = lookup.find(digest)
    return found instanceof Promise ? found.then(accept) : accept(found)
  }

  function accept (found: ProvedKey | KeyRefusal): ApiKeyPrincipal {
    if (typeof found === 'string') throw refusal(found)
    const now = clock()
    if (now - found.noted >= lastUsePrecision) {
      found.noted = now
      lastUse.note(found.record.keyId, now)
    }
    return found.principal
  }

  function webhookSecrets (principal: ApiKeyPrincipal): readonly string[] {
    const key = lookup.keyOf(principal)
    if (key === null || sealer === null) return []
    const now = clock()
    if (key.opened === null || !(now < key.opened.until)) key.opened = open(key.record, now)
    return key.opened.secrets
  }

  function open (record: ProvedKey['record'], now: number): NonNullable<ProvedKey['opened']> {
    const live = record.sealedSecrets.filter(({ until }) => until === null || now < Date.parse(until))
    const secrets = live.map(({ sealed }) => sealer?.open(sealed, record) ?? null).filter((secret) => secret !== null)
    if (secrets.length < live.length) {
      publishKeyEvent({ event: 'webhook-secret-unreadable', tenantId: record.tenantId, keyId: record.keyId, at: eventTime(now) })
      // The sender has done nothing wrong: 401 would send him looking for a fault that is here.
      if (secrets.length === 0) throw storeUnavailable(new Error('No configured sealing key opens the webhook secrets of this key'))
    }
    const until = Math.min(...live.map(({ until }) => until === null ? Infinity : Date.parse(until)))
    return { secrets: Object.freeze(secrets), until }
  }

  return {
    verify,
    webhookSecrets,
    opensSecrets: sealer !== null,
    size: lookup.size,
    close () {
      lookup.close()
      return lastUse.close()
    }
  }
}

function refusal (reason: 'size' | 'form' | 'checksum' | KeyRefusal): AuthError {
  return new AuthError('AUTH_API_KEY_INVALID', reason)
}
