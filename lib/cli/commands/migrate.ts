/** `migrate`: makes or completes the tables. */
import type { Command } from 'commander'
import { migrationsSql } from '../../postgres/index.js'
import { addCommand, answer, type Seat } from '../command.js'
import { databaseHelp, storeRequest, withDatabase, type DatabaseOptions } from '../database.js'
import { exit } from '../exit-code.js'

export function addMigrate (parent: Command, { world, end }: Seat): void {
  const command = addCommand(parent, 'migrate', 'make or complete the tables of API keys', {
    notes: ['Running it again changes nothing. It needs the right to create the schema and its tables; where only somebody else has it, give them what --print prints.', databaseHelp],
    examples: ['causeflow-auth migrate', 'causeflow-auth migrate --print | psql "$DATABASE_URL" -v ON_ERROR_STOP=1', 'causeflow-auth migrate --check']
  })
  command
    .option('--print', 'print the SQL and run nothing; it needs no database')
    .option('--check', 'tell whether anything is missing and change nothing')
    .action(async (options: DatabaseOptions & { json?: boolean, print?: boolean, check?: boolean }) => {
      const request = storeRequest(options)
      if (options.print === true) {
        const sql = migrationsSql(request)
        answer(world, options, { sql }, () => sql)
        return end(exit.done)
      }
      const opened = await world.openStore({ ...request, migrate: options.check !== true })
      await opened.close()
      answer(world, options, { migrated: true }, () => options.check === true ? 'Nothing is missing\n' : 'The tables are complete\n')
      end(exit.done)
    })
  withDatabase(command)
}
