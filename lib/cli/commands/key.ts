/** `key create|list|revoke|rotate`: the calls of ApiKeys, for an operator. */
import { Option, type Command } from 'commander'
import { createApiKeys, type ApiKeys, type IssuedApiKey, type IssuedWebhookSecret } from '../../api-key/manage.js'
import type { ApiKeyEnvironment } from '../../api-key/key.js'
import type { ApiKeyRecord } from '../../api-key/record.js'
import type { ApiKeyStore } from '../../api-key/store.js'
import { createSealer } from '../../api-key/seal.js'
import { readOptions } from '../../options.js'
import { addCommand, answer, collect, parsed, readCount, readMoment, remark, type Seat } from '../command.js'
import { databaseHelp, storeRequest, withDatabase, type DatabaseOptions } from '../database.js'
import { readDuration } from '../duration.js'
import { readSealingKeys, sealingKeyForm } from '../environment.js'
import { exit } from '../exit-code.js'
import { Failure, usageFailure } from '../failure.js'
import { printable } from '../printable.js'
import { openTeller, redisHelp, withRedis, type RedisOptions } from '../redis.js'
import { renderPairs, renderTable } from '../table.js'
import type { World } from '../world.js'

const sealingHelp = 'CAUSEFLOW_SEALING_KEYS holds what seals webhook secrets at rest, the same keys as the application\'s sealingKeys: 32 bytes each in base64 or hex, separated by commas, the newest first. Without it keys get no webhook secret.'

interface KeyOptions extends DatabaseOptions, RedisOptions { json?: boolean, tenant: string, quota?: number }

export function addKeyCommands (parent: Command, { world, end }: Seat): void {
  addCreate()
  addList()
  addRevoke()
  addRotate()

  function addCreate (): void {
    const command = addCommand(parent, 'create', 'make a key and show it, this once', {
      notes: [databaseHelp, redisHelp, sealingHelp],
      examples: [
        'causeflow-auth key create --tenant ten_ACME --name Datadog --scope report:read',
        'causeflow-auth key create --tenant ten_ACME --name CI --environment test --expires-in 30d --json'
      ]
    })
    withTenant(command)
      .requiredOption('--name <name>', 'what people call it, 1 to 100 characters (required)')
      .option('--scope <scope>', 'what it may do; once for each scope', collect)
      .addOption(new Option('--environment <name>', 'what it is for').choices(['live', 'test']).default('live'))
      .addOption(new Option('--expires-in <duration>', 'when it stops working: 90s, 15m, 24h, 30d, 2w (default: never)').argParser(parsed(readDuration)))
      .addOption(new Option('--expires-at <time>', 'the same as a time').argParser(parsed(readMoment)).conflicts('expiresIn'))
      .option('--created-by <who>', 'who makes it, for the record')
      .option('--metadata <json>', 'an object to keep with it', parsed(readMetadata))
      .option('--quota <count>', 'active keys that the tenant may have; use what the application uses (default: 5)', parsed(readCount))
      .action(async (options: KeyOptions & { name: string, scope?: string[], environment: ApiKeyEnvironment, expiresIn?: number, expiresAt?: number, createdBy?: string, metadata?: Record<string, unknown> }) => {
        const expires = options.expiresAt ?? (options.expiresIn === undefined ? null : world.clock() + options.expiresIn * 1000)
        // That it was not told is no failure: a process that has refused this key before it was made asks again within a second.
        const { outcome: issued } = await changeKeys(options, (keys) => keys.create({
          tenantId: options.tenant,
          name: options.name,
          scopes: options.scope,
          environment: options.environment,
          expiresAt: expires === null ? null : new Date(expires),
          createdBy: options.createdBy,
          metadata: options.metadata
        }))
        show(issued, options)
        end(exit.done)
      })
    withDatabase(command)
    withRedis(command)
  }

  function addList (): void {
    const command = addCommand(parent, 'list', 'the keys of a tenant, newest first', {
      notes: ['Revoked and expired keys are listed too.', databaseHelp],
      examples: ['causeflow-auth key list --tenant ten_ACME', 'causeflow-auth key list --tenant ten_ACME --all --json']
    })
    withTenant(command)
      .option('--limit <count>', 'keys on a page, 1 to 100 (default: 50)', parsed(readCount))
      .option('--cursor <cursor>', 'where the page before ended')
      .addOption(new Option('--all', 'every page').conflicts(['cursor', 'limit']))
      .action(async (options: KeyOptions & { limit?: number, cursor?: string, all?: boolean }) => {
        const page = await withKeys(options, async (keys) => options.all === true
          ? { keys: await everyPage(keys, options.tenant), cursor: null }
          : await keys.list({ tenantId: options.tenant, cursor: options.cursor, limit: options.limit }))
        answer(world, options, page, () => tableOf(page.keys))
        if (page.cursor !== null) remark(world, options, `There are more: --cursor ${page.cursor}`)
        end(exit.done)
      })
    withDatabase(command)
  }

  function addRevoke (): void {
    const command = addCommand(parent, 'revoke', 'end a key, or every key of a tenant', {
      notes: ['It works nowhere from then on and cannot be brought back. A key that is revoked already is no failure, and is told again.', databaseHelp, redisHelp],
      examples: [
        'causeflow-auth key revoke key_01HX9VTPQR3KF8MZWBYD5N6JCE --tenant ten_ACME --by ops@example.com',
        'causeflow-auth key revoke --all --created-before 2026-01-01T00:00:00Z --tenant ten_ACME'
      ]
    })
    withTenant(command.argument('[key-id]', 'the key'))
      .option('--by <who>', 'who revokes it, for the record')
      .option('--all', 'every key of the tenant instead of one')
      .addOption(new Option('--created-before <time>', 'with --all: only keys made before this time').argParser(parsed(readMoment)))
      .action(async (keyId: string | undefined, options: KeyOptions & { by?: string, all?: boolean, createdBefore?: number }) => {
        if ((keyId === undefined) === (options.all !== true)) throw usageFailure('Name one key, or give --all')
        if (options.createdBefore !== undefined && options.all !== true) throw usageFailure('--created-before goes with --all')
        if (keyId === undefined) {
          const { outcome: keyIds, untold } = await changeKeys(options, (keys) => keys.revokeAll({
            tenantId: options.tenant,
            createdBefore: options.createdBefore === undefined ? null : new Date(options.createdBefore),
            revokedBy: options.by
          }))
          answer(world, options, { revoked: keyIds }, () => keyIds.length === 0 ? 'No key was left to revoke\n' : keyIds.map((id) => `${printable(id)} is revoked\n`).join(''))
          requireTold(untold, again)
          return end(exit.done)
        }
        const { outcome, untold } = await changeKeys(options, (keys) => keys.revoke({ tenantId: options.tenant, keyId, revokedBy: options.by }))
        if (outcome === 'not-found') throw notFound(options)
        answer(world, options, { keyId, outcome }, () => `${printable(keyId)} ${outcome === 'revoked' ? 'is revoked' : 'was revoked before'}\n`)
        requireTold(untold, again)
        end(exit.done)
      })
    withDatabase(command)
    withRedis(command)
  }

  function addRotate (): void {
    const command = addCommand(parent, 'rotate', 'replace a key, or its webhook secret, and show the new one, this once', {
      notes: ['The new key has the name, scopes, environment and length of life of the old one.', databaseHelp, redisHelp, sealingHelp],
      examples: [
        'causeflow-auth key rotate key_01HX9VTPQR3KF8MZWBYD5N6JCE --tenant ten_ACME --overlap 24h',
        'causeflow-auth key rotate key_01HX9VTPQR3KF8MZWBYD5N6JCE --tenant ten_ACME --webhook-secret --overlap 1h'
      ]
    })
    withTenant(command.argument('<key-id>', 'the key'))
      .addOption(new Option('--overlap <duration>', 'for how long the old one works beside the new one: 15m, 24h, at most 30d (default: not at all)').argParser(parsed(readDuration)))
      .option('--webhook-secret', 'replace the key\'s webhook secret and leave the key')
      .option('--by <who>', 'who replaces it, for the record')
      .action(async (keyId: string, options: KeyOptions & { overlap?: number, webhookSecret?: boolean, by?: string }) => {
        const name = { tenantId: options.tenant, keyId, overlap: options.overlap }
        const { outcome: issued, untold } = await changeKeys<IssuedApiKey | IssuedWebhookSecret | 'conflict' | 'not-found'>(options, (keys) => (
          options.webhookSecret === true ? keys.rotateWebhookSecret(name) : keys.rotate({ ...name, rotatedBy: options.by })))
        if (issued === 'not-found') throw notFound(options)
        if (issued === 'conflict') {
          throw new Failure(exit.refused, 'conflict', 'The key is not active, is replaced already, or has itself replaced a key that still works', 'See causeflow-auth key list, and revoke the key that still works first')
        }
        show(issued, options)
        requireTold(untold, options.webhookSecret === true || (options.overlap ?? 0) > 0 ? waits : `Once Redis answers, run causeflow-auth key revoke ${keyId}: it is revoked already, and that is told`)
        end(exit.done)
      })
    withDatabase(command)
    withRedis(command)
  }

  function show (issued: IssuedApiKey | IssuedWebhookSecret, options: KeyOptions): void {
    answer(world, options, issued, () => renderPairs('plaintextKey' in issued
      ? [...pairsOf(issued), ['API key', issued.plaintextKey], ['Webhook secret', issued.webhookSecret]]
      : [['Key id', issued.keyId], ['The one before works until', issued.previousUntil], ['Webhook secret', issued.webhookSecret]]))
    remark(world, options, 'Keep it now: it cannot be shown again.')
  }

  /** Changes keys, and tells of it over Redis where one is named; `untold` says why it could not. */
  async function changeKeys<T> (options: KeyOptions, work: (keys: ApiKeys) => Promise<T>): Promise<{ outcome: T, untold: string | null }> {
    const teller = await openTeller(options, world)
    try {
      const outcome = await withKeys(options, work, teller?.tellOf)
      return { outcome, untold: teller?.untold() ?? null }
    } finally {
      teller?.close()
    }
  }

  async function withKeys<T> (options: KeyOptions, work: (keys: ApiKeys) => Promise<T>, tellOf = (store: ApiKeyStore) => store): Promise<T> {
    const sealingKeys = sealingKeysOf(world)
    const opened = await world.openStore(storeRequest(options))
    try {
      const { apiKey } = readOptions({ apiKey: { store: tellOf(opened.store), ...sealingKeys.length > 0 && { sealingKeys }, ...options.quota !== undefined && { quota: options.quota } } })
      if (apiKey === null) throw new TypeError('API keys are configured')
      return await work(createApiKeys(apiKey, { clock: world.clock, randomBytes: world.randomBytes, timers: world.timers }))
    } catch (error) {
      // What ApiKeys throws for an argument that cannot be.
      if (error instanceof TypeError) throw usageFailure(error.message)
      throw error
    } finally {
      await opened.close()
    }
  }
}

const again = 'Run it again once Redis answers: what is revoked already is told again'
const waits = 'They hear of the new one when what they hold has reached the end of its ttl, 30 s by default'

/** Ends with a failure where the change was not told. What was changed has been answered before: a new key is shown only once. */
function requireTold (untold: string | null, mend: string): void {
  if (untold === null) return
  throw new Failure(exit.unavailable, 'not_told', `It is done in the database, and Redis was not told: a process that has the key in its cache may go on by that. ${untold}`, mend)
}

/** Records one below the other. */
function tableOf (keys: readonly ApiKeyRecord[]): string {
  if (keys.length === 0) return 'No keys\n'
  return renderTable(
    ['key id', 'name', 'prefix', 'environment', 'status', 'scopes', 'created', 'last used', 'expires'],
    keys.map(({ keyId, name, prefix, environment, status, scopes, createdAt, lastUsedAt, expiresAt }) => (
      [keyId, name, prefix, environment, status, scopes.join(' '), minute(createdAt), minute(lastUsedAt), minute(expiresAt)]))
  )
}

/** What a record says, for people. */
export function pairsOf (record: ApiKeyRecord): Array<readonly [string, string | null]> {
  return [
    ['Key id', record.keyId],
    ['Tenant', record.tenantId],
    ['Name', record.name],
    ['Prefix', record.prefix],
    ['Environment', record.environment],
    ['Scopes', record.scopes.join(' ')],
    ['Status', record.status],
    ['Created', byWhom(record.createdAt, record.createdBy)],
    ['Expires', record.expiresAt ?? 'never'],
    ['Last used', record.lastUsedAt],
    ...record.revokedAt === null ? [] : [['Revoked', byWhom(record.revokedAt, record.revokedBy)] as const],
    ...record.rotatedFrom === null ? [] : [['Replaces', record.rotatedFrom] as const],
    ...record.replacedBy === null ? [] : [['Replaced by', record.replacedBy] as const],
    ...Object.keys(record.metadata).length === 0 ? [] : [['Metadata', JSON.stringify(record.metadata)] as const]
  ]
}

/**
 * The keys that seal webhook secrets, out of the environment. Throws a Failure of usage that shows none of
 * them.
 */
export function sealingKeysOf ({ env }: Pick<World, 'env'>): string[] {
  const keys = readSealingKeys(env)
  try {
    createSealer(keys, false, () => new Uint8Array())
  } catch {
    throw new Failure(exit.usage, 'AUTH_CONFIG_OPTION', 'CAUSEFLOW_SEALING_KEYS holds something that is no key', sealingKeyForm)
  }
  return keys
}

function withTenant (command: Command): Command {
  return command.requiredOption('--tenant <id>', 'whose key it is (required)')
}

async function everyPage (keys: ApiKeys, tenantId: string): Promise<ApiKeyRecord[]> {
  const all: ApiKeyRecord[] = []
  let cursor: string | null = null
  do {
    const page: Awaited<ReturnType<ApiKeys['list']>> = await keys.list({ tenantId, cursor, limit: 100 })
    all.push(...page.keys)
    cursor = page.cursor
  } while (cursor !== null)
  return all
}

function readMetadata (text: string): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(text)
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Record<string, unknown>
  } catch {
    // A SyntaxError quotes what it read.
  }
  throw usageFailure('It is to be a JSON object: \'{"team":"payments"}\'.')
}

function notFound ({ tenant }: KeyOptions): Failure {
  return new Failure(exit.refused, 'not_found', `${tenant} has no key of that id`, 'A key of another tenant is not found either: see causeflow-auth key list')
}

function byWhom (time: string, who: string | null): string {
  return who === null ? time : `${time} by ${who}`
}

/** A time to the minute: tables are narrow. */
function minute (time: string | null): string | null {
  return time === null ? null : `${time.slice(0, 16).replace('T', ' ')}Z`
}
