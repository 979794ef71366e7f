/** `key inspect`: what a key is, without ever showing it. */
import type { Command } from 'commander'
import { digestText, parseApiKey, readApiKey } from '../../api-key/key.js'
import { apiKeyStatus, publicRecord, type ApiKeyRecord } from '../../api-key/record.js'
import { checkStoredKey } from '../../api-key/stored-record.js'
import { askStore } from '../../api-key/time-limit.js'
import { addCommand, answer, exitFor, type Seat } from '../command.js'
import { databaseHelp, isDatabaseConfigured, storeRequest, withDatabase, type DatabaseOptions } from '../database.js'
import { readCredential } from '../input.js'
import { renderPairs } from '../table.js'
import type { World } from '../world.js'
import { pairsOf } from './key.js'

interface Inspection {
  form: 'current' | 'legacy' | null
  environment: 'live' | 'test' | null
  checksum: 'right' | 'wrong' | 'none' | null
  prefix: string | null
  /** What is wrong with its form; null: nothing. */
  fault: 'size' | 'form' | 'checksum' | null
  /** null: no such key, or nobody was asked. */
  record: ApiKeyRecord | null
  status: ApiKeyRecord['status'] | 'unknown' | 'not-asked'
}

const faults: Readonly<Record<NonNullable<Inspection['fault']>, string>> = {
  size: 'It is longer than 128 characters, and no key is',
  form: 'It has the form of no key: cflo_live_sk_ or cflo_test_sk_ and 38 letters and digits, or cflo_ and 64 lower-case hex digits. Look for a character lost, or a space inside',
  checksum: 'Its checksum is wrong: a character is mistyped, lost or doubled'
}

export function addKeyInspect (parent: Command, { world, end }: Seat): void {
  const command = addCommand(parent, 'inspect', 'read a key from stdin and tell what it is, never showing it', {
    notes: ['Without a database it tells form, environment and checksum; with one also its record.', databaseHelp],
    examples: ['causeflow-auth key inspect', 'printf %s "$API_KEY" | causeflow-auth key inspect --no-database --json']
  })
  command
    .option('--no-database', 'do not look for its record')
    .action(async (options: DatabaseOptions & { json?: boolean, database: boolean }) => {
      const key = await readCredential('API key', world)
      const inspection = readForm(key)
      // A malformed key is refused by the application without asking, too.
      if (inspection.fault === null && options.database && isDatabaseConfigured(world.env)) await lookUp(key, inspection, options, world)
      answer(world, options, inspection, () => describe(inspection))
      end(exitFor(inspection.fault === null && (inspection.status === 'active' || inspection.status === 'not-asked')))
    })
  withDatabase(command)
}

function readForm (key: string): Inspection {
  const form = readApiKey(key)
  const parsed = parseApiKey(key)
  if (typeof form === 'string' || parsed === null) {
    const fault = typeof form === 'string' ? form : 'form'
    return { form: fault === 'checksum' ? 'current' : null, environment: null, checksum: fault === 'checksum' ? 'wrong' : null, prefix: null, fault, record: null, status: 'not-asked' }
  }
  return {
    form: form.legacy ? 'legacy' : 'current',
    environment: form.environment,
    checksum: form.legacy ? 'none' : 'right',
    prefix: parsed.prefix,
    fault: null,
    record: null,
    status: 'not-asked'
  }
}

async function lookUp (key: string, inspection: Inspection, options: DatabaseOptions, world: World): Promise<void> {
  const opened = await world.openStore(storeRequest(options))
  try {
    const found = await askStore(() => opened.store.findByDigest(digestText(key)), 10, world.timers)
    if (found !== null) checkStoredKey(found, world.clock())
    inspection.record = found === null ? null : publicRecord(found, world.clock())
    inspection.status = found === null ? 'unknown' : apiKeyStatus(found, world.clock())
  } finally {
    await opened.close()
  }
}

function describe ({ form, environment, checksum, prefix, fault, record, status }: Inspection): string {
  if (fault !== null) return `${faults[fault]}.\n`
  const own = renderPairs([
    ['Form', form === 'legacy' ? 'the older one, cflo_ and 64 hex digits' : 'the current one'],
    ['Environment', environment],
    ['Checksum', checksum === 'none' ? 'none in this form' : checksum],
    ['Prefix', prefix],
    ['Record', status === 'not-asked' ? 'not asked for: no database is configured' : status === 'unknown' ? 'none: the database knows no such key' : status]
  ])
  return record === null ? own : `${own}\n${renderPairs(pairsOf(record))}`
}
