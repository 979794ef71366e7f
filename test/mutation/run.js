/**
 * `npm run test:mutation [-- part…] [--survivors]`: changes lib/ a small piece at a time and sees whether a test notices. Without
 * a part it runs them all, which takes an hour or two. It fails where a mutant survives that survivors.md does not explain, and
 * where survivors.md explains one that is killed or no longer there. `--survivors` looks again at the lines on which something
 * survived in the run before, for whoever has written a test meanwhile: lib/ must not have changed since.
 */
import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { relative } from 'node:path'
import { parseArgs } from 'node:util'
import { parts } from './parts.js'
import { entryOf, knownSurvivors, missingFrom } from './survivors.js'

const { values: { survivors: again, concurrency }, positionals } = parseArgs({ options: { survivors: { type: 'boolean', default: false }, concurrency: { type: 'string', default: '1' } }, allowPositionals: true })
const names = positionals.length > 0 ? positionals : Object.keys(parts)
const unknown = names.filter((name) => !Object.hasOwn(parts, name))
if (unknown.length > 0) throw new Error(`There is no part ${unknown.join(', ')}. There are ${Object.keys(parts).join(', ')}`)

process.chdir(`${import.meta.dirname}/../..`)
if (!existsSync('test/mutation/node_modules')) execFileSync('npm', ['ci', '--no-audit', '--no-fund'], { cwd: 'test/mutation', stdio: 'inherit' })
// Thousands of random rules for each mutant would say little more than hundreds.
process.env.FC_RUNS ??= '600'
const { Stryker } = await import('@stryker-mutator/core')

const scores = []
for (const name of names) scores.push({ part: name, ...await run(name, parts[name]) })
console.table(scores)

async function run (name, { mutate, tests }) {
  const report = `test/mutation/report/${name}.json`
  const before = again ? JSON.parse(readFileSync(report, 'utf8')) : []
  const lines = again ? [...new Set(before.filter(survived).map(({ fileName, location: { start, end } }) => `${fileName}:${start.line}-${end.line}`))] : mutate
  const outcome = await new Stryker({
    mutate: lines,
    testRunner: 'in-one-process',
    plugins: ['./test/mutation/runner.js', './test/mutation/sentences.js'],
    ignorers: ['sentences'],
    inOneProcess: { mutate, tests },
    coverageAnalysis: 'perTest',
    // The sandbox is compiled, so that no test run compiles.
    buildCommand: 'tsc -p . --noEmit false --noCheck --sourceMap false',
    disableTypeChecks: false,
    ignorePatterns: ['/docs', '/dist', '/.git', '/.tap', '/lib/cli', '/lib/postgres', '/lib/redis', ...['mutation', 'bench', 'consumers', 'types', 'plugin', 'cli', 'openapi', 'postgres', 'redis', 'testing'].map((folder) => `/test/${folder}`)],
    tempDirName: `test/mutation/.sandbox/${name}`,
    cleanTempDir: 'always',
    concurrency: Number(concurrency),
    // What mutants leave behind in a process is left with it.
    maxTestRunnerReuse: 300,
    timeoutMS: 60_000,
    dryRunTimeoutMinutes: 20,
    allowConsoleColors: false,
    reporters: ['progress-append-only']
  }).runMutationTest()
  rmSync(`test/mutation/.sandbox/${name}`, { recursive: true, force: true })
  const mutants = new Map([...before, ...outcome.map(brief)].map((mutant) => [JSON.stringify([mutant.fileName, mutant.location, mutant.replacement]), mutant]))
  mkdirSync('test/mutation/report', { recursive: true })
  writeFileSync(report, JSON.stringify([...mutants.values()], null, 1))
  return judge([...mutants.values()], mutate)
}

function brief ({ fileName, location, replacement, status, statusReason }) {
  return { fileName: relative(process.cwd(), fileName), location, replacement, status, ...status === 'Timeout' && { statusReason } }
}

function survived ({ status }) {
  return status === 'Survived' || status === 'NoCoverage'
}

/** Compares the survivors with the list, says what differs, and counts. */
function judge (mutants, files) {
  const count = (...statuses) => mutants.filter(({ status }) => statuses.includes(status)).length
  const entries = mutants.filter(survived).map((mutant) => entryOf(mutant, readFileSync(mutant.fileName, 'utf8')))
  const known = knownSurvivors().filter(({ file }) => files.includes(file))
  const fresh = missingFrom(known, entries)
  const gone = missingFrom(entries, known)
  for (const [what, found] of [['Survives, and is not in survivors.md', fresh], ['Stands in survivors.md, and is killed or is no more', gone]]) {
    for (const { file, text } of found) console.error(`${what}: ${file}\n\`\`\`diff\n${text}\n\`\`\`\n`)
  }
  if (fresh.length > 0 || gone.length > 0) process.exitCode = 1
  const detected = count('Killed', 'Timeout')
  return {
    killed: count('Killed'),
    'timed out': count('Timeout'),
    explained: entries.length - fresh.length,
    unexplained: fresh.length,
    errors: count('RuntimeError', 'CompileError'),
    ignored: count('Ignored'),
    score: `${(detected / (detected + entries.length) * 100).toFixed(1)} %`
  }
}
