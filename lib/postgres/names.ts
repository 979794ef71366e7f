/** How the things in the database are called. */
import { configError } from '../errors.js'

export interface NameOptions {
  /** The schema that holds the tables; made where it is missing. Default: 'causeflow_auth'. */
  schema?: string
  /** Goes before the name of each table and function, for a schema that others use too. Default: none. */
  prefix?: string
}

/** Names as they stand in statements, quoted, and as plain text where they are values. */
export interface Names {
  /** "schema" */
  schema: string
  keys: string
  migrations: string
  /** The function of the triggers of version 0.1. */
  tell: string
  /** The function of the triggers. */
  notify: string
  /** The row with the secret of notifications. */
  notification: string
  /** Makes a new secret. */
  renew: string
  /** On which processes of version 0.1 receive changes. */
  channel: string
  /** What the advisory locks of these tables are made of. */
  lock: string
}

export function readNames ({ schema = 'causeflow_auth', prefix = '' }: NameOptions): Names {
  // Names cannot be parameters of a statement, so nothing is let through that would have to be escaped. PostgreSQL
  // cuts names after 63 bytes, and two that were cut alike would share a channel.
  if (typeof schema !== 'string' || !/^[a-z_][a-z0-9_]{0,31}$/.test(schema)) throw configError('option', 'PostgresApiKeyStore: schema must be up to 32 lower-case letters, digits and _, not a digit first')
  if (typeof prefix !== 'string' || !/^([a-z_][a-z0-9_]{0,15})?$/.test(prefix)) throw configError('option', 'PostgresApiKeyStore: prefix must be up to 16 lower-case letters, digits and _, not a digit first')
  const named = (name: string): string => `"${schema}"."${prefix}${name}"`
  return {
    schema: `"${schema}"`,
    keys: named('api_key'),
    migrations: named('migration'),
    tell: named('tell_api_key'),
    notify: named('notify_api_key'),
    notification: named('notification'),
    renew: named('renew_notification_secret'),
    channel: `${schema}.${prefix}api_key`,
    lock: `${schema}.${prefix}`
  }
}
