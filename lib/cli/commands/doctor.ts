/** `doctor`: what is wrong around an installation, and what mends it. */
import type { Command } from 'commander'
import { addCommand, answer, type Seat } from '../command.js'
import { checkDatabase } from '../checks/database.js'
import { finding, type Finding } from '../checks/finding.js'
import { checkIssuer } from '../checks/issuer.js'
import { checkRedis } from '../checks/redis.js'
import { checkFastify, checkNode, checkSealingKeys } from '../checks/runtime.js'
import { databaseHelp, storeRequest, withDatabase, type DatabaseOptions } from '../database.js'
import { exit, type ExitCode } from '../exit-code.js'
import { failureOf } from '../failure.js'
import { readIssuer, withIssuer, type IssuerOptions } from '../issuer.js'
import { printable } from '../printable.js'
import { redisHelp, withRedis, type RedisOptions } from '../redis.js'
import type { World } from '../world.js'
import { sealingKeysOf } from './key.js'

export function addDoctor (parent: Command, { world, end }: Seat): void {
  const command = addCommand(parent, 'doctor', 'look at the issuer, the clock, the store, Redis and the channels, and tell what mends them', {
    notes: [
      'It changes nothing. With --issuer the key set is read as the plugin reads it, and this clock is compared with the issuer\'s. With a database: its tables, a lookup, and whether changes are heard. With a Redis: whether what is published there is heard, and how soon.',
      databaseHelp,
      'DATABASE_LISTEN_URL names the server itself where DATABASE_URL names a pooler.',
      redisHelp
    ],
    examples: ['causeflow-auth doctor --issuer https://acme.clerk.accounts.dev', 'DATABASE_URL=postgres://app@db/app causeflow-auth doctor --json']
  })
  withIssuer(command, 'its keys are fetched and judged')
    .action(async (options: IssuerOptions & DatabaseOptions & RedisOptions & { json?: boolean }) => {
      const redis = await checkRedis(options, world)
      const overRedis = redis.length > 1 && redis.every(({ status }) => status === 'well' || status === 'warning')
      const findings = [
        checkNode(process.version),
        await checkFastify(),
        ...await issuerFindings(options, world),
        ...await checkDatabase(storeRequest(options), overRedis, world),
        ...redis,
        checkSealingKeys(() => sealingKeysOf(world), world.randomBytes)
      ]
      const code = exitOf(findings)
      answer(world, options, { well: code === exit.done, findings }, () => findings.map(describe).join(''))
      end(code)
    })
  withDatabase(command)
  withRedis(command)
}

async function issuerFindings (options: IssuerOptions, world: World): Promise<Finding[]> {
  try {
    const settings = await readIssuer(options, world)
    if (settings === null) return [finding('issuer', 'not-asked', 'No issuer is named: give --issuer to have its keys and the clock looked at')]
    return await checkIssuer(settings, world)
  } catch (error) {
    const { exitCode, message, mend } = failureOf(error)
    // An issuer that the plugin would not start with is a finding like any other; a fault of ours is not.
    if (exitCode !== exit.usage) throw error
    return [finding('issuer', 'wrong', message, mend)]
  }
}

/** Something wrong, or else something that could not be asked, or else done: warnings do not count. */
function exitOf (findings: readonly Finding[]): ExitCode {
  if (findings.some(({ status }) => status === 'wrong')) return exit.refused
  return findings.some(({ status }) => status === 'unreachable') ? exit.unavailable : exit.done
}

const marks: Readonly<Record<Finding['status'], string>> = { well: 'ok', warning: 'warning', wrong: 'WRONG', unreachable: 'NO ANSWER', 'not-asked': '-' }

function describe ({ check, status, detail, mend }: Finding): string {
  const line = `${marks[status].padEnd(9)}  ${check.padEnd(12)}  ${printable(detail)}\n`
  return mend === null ? line : `${line}${' '.repeat(25)}${printable(mend)}\n`
}
