/** What differs between a developer's machine, a test and production. */
import type { ApiKeyStore, JwtOptions, ReplayStore } from '../../../lib/index.js'
import type { Data } from './data.js'
import type { LongLived } from './long-lived.js'
import type { Progress } from './progress.js'

/** Calls the action once, after so many milliseconds; the answer takes it back. */
export type Schedule = (action: () => void, milliseconds: number) => () => void

export interface Settings {
  /** Whose tokens people bring. */
  readonly jwt: JwtOptions
  /** Signs the tokens of relays: 32 bytes or more. */
  readonly relaySecret: string
  readonly store: ApiKeyStore
  /** Remembers deliveries, so that a second one counts for nothing. */
  readonly replay: ReplayStore
  /** With which each sender signs what it delivers. */
  readonly secrets: Readonly<Record<'clerk' | 'slack' | 'stripe', string>>
  /** Web pages that may read the answers. */
  readonly origins: readonly string[]
  /** Requests a minute. */
  readonly limits: { readonly perAddress: number, readonly perTenant: number }
  readonly data: Data
  /** Milliseconds since the epoch. */
  readonly clock: () => number
  readonly schedule: Schedule
  readonly log: { readonly level: string, readonly stream?: { write (line: string): void } }
}

/** What every file of routes/ is given. */
export interface Services extends Pick<Settings, 'data' | 'clock' | 'relaySecret'> {
  readonly longLived: LongLived
  readonly progress: Progress
}
