/** What all commands have in common. */
import { InvalidArgumentError, type Command } from 'commander'
import { exit, exitMeanings, type ExitCode } from './exit-code.js'
import { Failure, usageFailure } from './failure.js'
import { printable, printableJson, printableLines } from './printable.js'
import type { World } from './world.js'

/** What a command is added to: the program, its surroundings, and where the exit code goes. */
export interface Seat {
  readonly world: World
  readonly end: (code: ExitCode) => void
}

/**
 * A command below another, with a help that names examples and exit codes. An argument too many is refused.
 */
export function addCommand (parent: Command, name: string, summary: string, help: { notes?: readonly string[], examples: readonly string[] }): Command {
  const command = parent.command(name).summary(summary).description([sentence(summary), ...help.notes ?? []].join('\n\n'))
  return command
    .allowExcessArguments(false)
    .addHelpText('after', `\nExamples:\n${help.examples.map((example) => `  ${example}\n`).join('')}\n${exitHelp()}`)
    .showHelpAfterError(`Run "causeflow-auth ${pathOf(command)} --help" to see what it takes.`)
}

/** Adds `--json` to every command, behind its own options. */
export function addJson (program: Command): void {
  for (const command of program.commands) {
    if (command.commands.length > 0) addJson(command)
    else command.option('--json', 'answer in JSON, for programs; a failure is JSON on stderr')
  }
}

/** A summary as the sentence that a description begins with. */
export function sentence (summary: string): string {
  return `${summary.charAt(0).toUpperCase()}${summary.slice(1)}.`
}

/** The exit codes, as every help ends with them. */
export function exitHelp (): string {
  return `Exit codes:\n${exitMeanings.map(([code, words]) => `  ${String(code).padEnd(4)} ${words}`).join('\n')}`
}

/** Collects an option that may be given several times. */
export function collect (value: string, before: readonly string[] = []): string[] {
  return [...before, value]
}

/** A reader as commander wants one: what it refuses is said together with the option's name. */
export function parsed<T> (read: (text: string) => T): (text: string) => T {
  return (text) => {
    try {
      return read(text)
    } catch (error) {
      throw error instanceof Failure ? new InvalidArgumentError(error.message) : error
    }
  }
}

/** A whole number, 0 or more. */
export function readCount (text: string): number {
  if (!/^\d{1,9}$/.test(text)) throw usageFailure('It is to be a whole number.')
  return Number(text)
}

/** A time in ISO 8601 or in seconds since the epoch, in milliseconds. */
export function readMoment (text: string): number {
  const time = /^\d{1,11}$/.test(text) ? Number(text) * 1000 : Date.parse(text)
  if (Number.isNaN(time)) throw usageFailure('A time is ISO 8601 (2026-01-31T12:00:00Z) or seconds since the epoch.')
  return time
}

/**
 * Writes an answer: JSON for programs, or the text for people. Values from outside are to be made printable
 * by the caller, who alone knows which line feeds are theirs; every other control and format character is
 * escaped here.
 */
export function answer (world: World, options: { json?: boolean }, value: unknown, text: () => string): void {
  world.stdout.write(options.json === true ? `${printableJson(value, 2)}\n` : printableLines(text()))
}

/** A remark beside the answer, on stderr. Programs are not told. */
export function remark (world: World, options: { json?: boolean }, text: string): void {
  if (options.json !== true) world.stderr.write(`${printable(text)}\n`)
}

/** Done, or refused. */
export function exitFor (right: boolean): ExitCode {
  return right ? exit.done : exit.refused
}

function pathOf (command: Command): string {
  const parent = command.parent
  return parent === null || parent.parent === null ? command.name() : `${pathOf(parent)} ${command.name()}`
}
