// docs/command-line.md says what the program takes, and nothing else: both ways.
import t from 'tap'
import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import type { Command } from 'commander'
import { exitMeanings } from '../../lib/cli/exit-code.js'
import { createProgram } from '../../lib/cli/program.js'
import type { World } from '../../lib/cli/world.js'
import { invoke } from './fixture.js'

const repository = dirname(dirname(import.meta.dirname))
const page = readFileSync(join(repository, 'docs/command-line.md'), 'utf8')
const sections = new Map(page.split(/^## /m).slice(1).map((section) => [section.slice(0, section.indexOf('\n')), section]))

const program = createProgram('1.2.3', { world: {} as World, end () {} })
const commands = new Map(leaves(program, ''))
const shared = rows('Every command')

t.test('every command has a section, and every section of a command is one of a command', async (t) => {
  t.strictSame([...sections.keys()].filter((title) => /^[a-z]/.test(title)), [...commands.keys()])
})

t.test('the options of each command are those of its help, in its words', async (t) => {
  for (const [name, command] of commands) {
    const help = command.createHelp()
    const taken = [
      ...help.visibleArguments(command).map((argument) => [argument.required ? `<${argument.name()}>` : `[${argument.name()}]`, help.argumentDescription(argument)]),
      ...help.visibleOptions(command).map((option) => [option.flags, help.optionDescription(option)])
    ]
    t.strictSame([...rows(name), ...shared], taken, name)
    // What is compared is what is printed.
    const { out } = await invoke([...name.split(' '), '--help'])
    const printed = out.replace(/\s+/g, ' ')
    for (const [flags, words] of taken) t.ok(printed.includes(`${flags?.replace(/^[<[](.*)[>\]]$/, '$1')} ${words}`), `${name} ${flags}`)
  }
})

t.test('the exit codes are those of every help', async (t) => {
  t.strictSame(rows('Exit codes'), exitMeanings.map(([code, words]) => [String(code), words]))
  for (const path of [[], ...[...commands.keys()].map((name) => name.split(' '))]) {
    const { out } = await invoke([...path, '--help'])
    t.ok(out.trimEnd().endsWith(exitMeanings.map(([code, words]) => `  ${String(code).padEnd(4)} ${words}`).join('\n')), path.join(' '))
  }
})

t.test('the variables of the environment are those that the source names', async (t) => {
  const source = readdirSync(join(repository, 'lib/cli'), { recursive: true, encoding: 'utf8' }).filter((file) => file.endsWith('.ts'))
    .map((file) => readFileSync(join(repository, 'lib/cli', file), 'utf8')).join('\n')
  const named = new Set(source.match(/\b(?:CAUSEFLOW_[A-Z_]+|DATABASE_[A-Z_]+|REDIS_[A-Z_]+|PG[A-Z_]+)\b/g))
  t.strictSame(rows('Environment').map(([name]) => name).sort(), [...named].sort())
})

t.test('every example is a command that exists, with options that it takes', async (t) => {
  const helps = await Promise.all([...commands.keys()].map(async (name) => (await invoke([...name.split(' '), '--help'])).out))
  const lines = [...page.matchAll(/^```sh\n([\s\S]*?)^```$/gm)].map(([, block = '']) => block).concat(helps.map((help) => help.slice(help.indexOf('\nExamples:'))))
    .flatMap((text) => text.split('\n')).filter((line) => line.includes('causeflow-auth'))
  t.ok(lines.length > 20)
  for (const line of lines) {
    // Up to where the next program takes over.
    const words = (/causeflow-auth ([^|)]*)/.exec(line)?.[1] ?? '').trim().split(' ')
    const name = [words.slice(0, 2).join(' '), words[0] ?? ''].find((candidate) => commands.has(candidate))
    const flags = words.filter((word) => word.startsWith('-'))
    if (name === undefined) t.strictSame([words.filter((word) => !word.startsWith('-')).join(' '), flags], ['', ['--help']], line)
    else t.strictSame(flags.filter((flag) => flag !== '--help' && !commands.get(name)?.options.some(({ short, long }) => short === flag || long === flag)), [], line)
  }
})

/** The commands that do something, by their whole names. */
function leaves (command: Command, path: string): Array<[string, Command]> {
  return command.commands.flatMap((below): Array<[string, Command]> => {
    const name = path === '' ? below.name() : `${path} ${below.name()}`
    return below.commands.length > 0 ? leaves(below, name) : [[name, below]]
  })
}

/** The cells of a section's table, without the backquotes around the first. */
function rows (title: string): string[][] {
  return (sections.get(title) ?? '').split('\n').filter((line) => line.startsWith('| ')).slice(1)
    .map((line) => line.slice(2, -2).split(' | ').map((cell, index) => index === 0 ? cell.replace(/^`(.*)`$/, '$1') : cell))
}
