/**
 * The variables of the environment, checked before a driver reads them: it would fail late, or print a
 * secret.
 */
import { usageFailure } from './failure.js'
import type { World } from './world.js'

type Environment = World['env']

/** Whether a variable has a value. An empty one counts as absent, as it does for psql. */
export function isSet (value: string | undefined): value is string {
  return value !== undefined && value !== ''
}

/**
 * Checks the variables that name a PostgreSQL server, also those that only pg reads. Whether user, password
 * and database exist is for the server to say. Throws a Failure of usage that names the variable and never
 * its value.
 */
export function checkPostgresVariables (env: Environment): void {
  for (const [name, { isRight, words }] of Object.entries(postgresVariables)) {
    const value = env[name]
    if (isSet(value) && !isRight(value)) throw usageFailure(`${name} is not right: it must be ${words}`)
  }
}

/**
 * Milliseconds for a connection to the database: PGCONNECT_TIMEOUT in seconds, where 0 and more than 60 count
 * as 60. Default: 5 s.
 */
export function connectLimitOf ({ PGCONNECT_TIMEOUT: seconds }: Environment): number {
  if (!isSet(seconds)) return 5000
  return (Number(seconds) === 0 ? 60 : Math.min(Number(seconds), 60)) * 1000
}

/**
 * Whether a text can be the host of a PostgreSQL server: a name, an address, or the directory of a socket.
 */
export function isPostgresHost (host: string): boolean {
  return host.startsWith('/') || /^[\p{L}\p{N}._:%-]{1,255}$/u.test(host)
}

/** Whether a text can be the number of a port. */
export function isPort (text: string): boolean {
  return /^\d{1,5}$/.test(text) && Number(text) >= 1 && Number(text) <= 65_535
}

/**
 * A URL of PostgreSQL out of a variable, as far as pg's own parser leaves it unchecked. Throws a Failure of
 * usage.
 */
export function readPostgresUrl (name: string, url: string): string {
  // pg reads anything else as the path of a database on the host `base`. Its own complaints may hold the URL,
  // and with it the password.
  if (!/^(?:postgres|postgresql|socket):/i.test(url)) throw badUrl(name, 'is no URL of PostgreSQL', postgresForm)
  if (!isPercentEncoded(url)) throw badUrl(name, 'has a % that encodes no character', postgresForm)
  return url
}

/** A URL of Redis out of REDIS_URL. Throws a Failure of usage. */
export function readRedisUrl (env: Environment): string {
  const { REDIS_URL: url = '' } = env
  const parsed = URL.canParse(url) ? new URL(url) : null
  if (parsed === null || !['redis:', 'rediss:'].includes(parsed.protocol)) throw badUrl('REDIS_URL', 'is no URL of Redis', redisForm)
  if (!isPercentEncoded(url)) throw badUrl('REDIS_URL', 'has a % that encodes no character', redisForm)
  if (parsed.port !== '' && !isPort(parsed.port)) throw badUrl('REDIS_URL', 'names no port', redisForm)
  // The drivers send anything else to the server, and end the process by what it answers.
  if (!/^\/?$|^\/\d{1,9}$/.test(parsed.pathname)) throw badUrl('REDIS_URL', 'has a path that is no number of a database', redisForm)
  return url
}

/**
 * The keys of CAUSEFLOW_SEALING_KEYS; none where it is not set. Whether each is a key is for the sealer to
 * say. Throws a Failure of usage for a variable that is set and holds none.
 */
export function readSealingKeys ({ CAUSEFLOW_SEALING_KEYS: text }: Environment): string[] {
  if (!isSet(text)) return []
  const keys = text.split(',').map((key) => key.trim()).filter((key) => key !== '')
  if (keys.length === 0) throw usageFailure('CAUSEFLOW_SEALING_KEYS is set and holds no key', sealingKeyForm)
  return keys
}

/** What every sealing key must be. */
export const sealingKeyForm = 'Each is 32 bytes in base64 or hex, separated by commas: openssl rand -base64 32'

const postgresForm = 'Write it as postgres://user:password@host:5432/database, with % encoding in the password'
const redisForm = 'Write it as redis://user:password@host:6379/0, or rediss:// for TLS, with % encoding in the password'

interface Expectation { isRight: (value: string) => boolean, words: string }

const sslModes = ['disable', 'allow', 'prefer', 'require', 'verify-ca', 'verify-full', 'no-verify']

const postgresVariables: Readonly<Record<string, Expectation>> = {
  PGHOST: { isRight: isPostgresHost, words: 'one host name or address, or the directory of a socket; a URL goes into DATABASE_URL' },
  PGPORT: { isRight: isPort, words: 'the number of a port, from 1 to 65535' },
  // pg connects in the clear where it does not know the word.
  PGSSLMODE: { isRight: (mode) => sslModes.includes(mode), words: `one of ${sslModes.join(', ')}` },
  PGSSLNEGOTIATION: { isRight: (kind) => kind === 'postgres' || kind === 'direct', words: 'postgres or direct' },
  PGCONNECT_TIMEOUT: { isRight: (seconds) => /^\d{1,9}$/.test(seconds), words: 'whole seconds' },
  PGREPLICATION: { isRight: (value) => /^(?:false|off|no|0)$/i.test(value), words: 'unset: a replication connection runs no statements' }
}

/** Whether each % begins an encoded byte, and the bytes of each component are UTF-8. */
function isPercentEncoded (url: string): boolean {
  try {
    decodeURIComponent(url)
    return true
  } catch {
    return false
  }
}

function badUrl (name: string, what: string, form: string): Error {
  return usageFailure(`${name} ${what}`, form)
}
