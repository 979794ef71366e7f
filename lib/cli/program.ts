/** The whole command line as a function of its arguments and its surroundings. */
import { Command, CommanderError } from 'commander'
import { addJson, exitHelp, sentence, type Seat } from './command.js'
import { addDoctor } from './commands/doctor.js'
import { addKeyInspect } from './commands/key-inspect.js'
import { addKeyCommands } from './commands/key.js'
import { addMigrate } from './commands/migrate.js'
import { addSign } from './commands/sign.js'
import { addTokenInspect } from './commands/token-inspect.js'
import { addVerify } from './commands/verify.js'
import { exit, type ExitCode } from './exit-code.js'
import { failureOf, usageFailure } from './failure.js'
import { printable, printableJson, printableLines } from './printable.js'
import { redact, refuseCredentials } from './redaction.js'
import type { World } from './world.js'

/** Runs one command line (without the names of node and program) and resolves to its exit code. Never rejects. */
export async function run (args: readonly string[], version: string, world: World): Promise<ExitCode> {
  const json = args.includes('--json')
  let code: ExitCode = exit.done
  try {
    refuseCredentials(args)
    const program = createProgram(version, { world, end: (ended) => { code = ended } }, json)
    await program.parseAsync([...args], { from: 'user' })
    return code
  } catch (error) {
    if (error instanceof CommanderError) {
      if (error.exitCode === 0) return exit.done
      // What is wrong has been said, except to programs.
      if (json) report(usageFailure(error.message.replace(/^error: /, '')), world, json)
      return exit.usage
    }
    report(error, world, json)
    return failureOf(error).exitCode
  }
}

/** Every command, for run and for a test that compares them with the documentation. */
export function createProgram (version: string, seat: Seat, json = false): Command {
  const { stdout, stderr } = seat.world
  const program = new Command('causeflow-auth')
    .description('API keys, webhook signatures and tokens of fastify-causeflow-auth, from the command line.')
    .version(version, '-V, --version', 'print the version')
    .helpOption('-h, --help', 'print what a command takes')
    .helpCommand(false)
    .exitOverride()
    .configureOutput({
      writeOut: (text) => { stdout.write(text) },
      writeErr: (text) => { if (!json) stderr.write(text) },
      // It repeats what was given, and that may be a secret in a place where none belongs.
      outputError: (text, write) => { write(`${printableLines(redact(text.trim()).replace(/^error: /, 'causeflow-auth: '))}\n`) }
    })
    .addHelpText('after', `\nSecrets are read from stdin, a hidden prompt, a file or the environment, and never from arguments.\n\n${exitHelp()}`)
    .showHelpAfterError('Run "causeflow-auth --help" to see the commands.')
  const key = addGroup(program, 'key', 'make, list, replace, revoke and inspect API keys')
  addKeyCommands(key, seat)
  addKeyInspect(key, seat)
  addMigrate(program, seat)
  addSign(program, seat)
  addVerify(program, seat)
  addTokenInspect(addGroup(program, 'token', 'inspect bearer tokens'), seat)
  addDoctor(program, seat)
  addJson(program)
  return program
}

function addGroup (program: Command, name: string, summary: string): Command {
  return program.command(name).summary(summary).description(sentence(summary)).helpCommand(false).showHelpAfterError(`Run "causeflow-auth ${name} --help" to see its commands.`)
}

/** Says a failure on stderr, as JSON for programs. */
export function report (error: unknown, { stderr }: Pick<World, 'stderr'>, json: boolean): void {
  const failure = failureOf(error)
  const message = redact(failure.message)
  const mend = failure.mend === null ? null : redact(failure.mend)
  if (json) {
    stderr.write(`${printableJson({ error: failure.word, message, mend })}\n`)
    return
  }
  stderr.write(`causeflow-auth: ${printable(message)}\n${mend === null ? '' : `  ${printable(mend)}\n`}`)
  // A fault is ours, and only its stack tells where.
  if (failure.exitCode === exit.fault && error instanceof Error && error.stack !== undefined) stderr.write(`${printableStack(error, error.stack)}\n`)
}

/**
 * The lines of a stack. The message in it may be a server's, with line feeds that would look like lines of
 * ours.
 */
function printableStack ({ message }: Error, stack: string): string {
  return printableLines(redact(stack.replace(message, () => printable(message))))
}
