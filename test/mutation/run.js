/**
 * `npm run test:mutation [-- part…] [--only file:from-to]`: changes lib/ a small piece at a time and sees whether a test notices.
 * Without a part it runs them all, which takes hours. It fails where a mutant survives that survivors.md does not explain, and
 * where survivors.md explains one that is killed. `--only` looks at some lines, and then only for new survivors.
 */
import { execFileSync } from 'node:child_process'
import { existsSync, readFileSync, rmSync } from 'node:fs'
import { relative } from 'node:path'
import { parseArgs } from 'node:util'
import { parts } from './parts.js'
import { entryOf, knownSurvivors, missingFrom } from './survivors.js'

const { values: { only, concurrency }, positionals } = parseArgs({ options: { only: { type: 'string' }, concurrency: { type: 'string', default: '1' } }, allowPositionals: true })
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
  const mutants = await new Stryker({
    mutate: only === undefined ? mutate : [only],
    testRunner: 'in-one-process',
    plugins: ['./test/mutation/runner.js', './test/mutation/sentences.js'],
    ignorers: ['sentences'],
    inOneProcess: { mutate, tests },
    coverageAnalysis: 'perTest',
    // The sandbox is compiled, so that no test run compiles.
    buildCommand: 'tsc -p . --noEmit false --noCheck --sourceMap false',
    disableTypeChecks: false,
    ignorePatterns: ['/docs', '/dist', '/.git', '/.tap', '/lib/cli', '/lib/postgres', '/lib/redis', ...['mutation', 'bench', 'consumers', 'types', 'plugin', 'cli', 'openapi', 'postgres', 'redis', 'testing'].map((name) => `/test/${name}`)],
    tempDirName: `test/mutation/.sandbox/${name}`,
    cleanTempDir: 'always',
    concurrency: Number(concurrency),
    maxTestRunnerReuse: 300,
    timeoutMS: 60_000,
    dryRunTimeoutMinutes: 20,
    thresholds: { high: 100, low: 100, break: null },
    allowConsoleColors: false,
    reporters: ['progress-append-only', 'json'],
    jsonReporter: { fileName: `test/mutation/report/${only === undefined ? name : 'only'}.json` },
    incremental: false
  }).runMutationTest()
  rmSync(`test/mutation/.sandbox/${name}`, { recursive: true, force: true })
  return judge(mutants, mutate)
}

/** Compares the survivors with the list, says what differs, and counts. */
function judge (mutants, files) {
  const count = (...statuses) => mutants.filter(({ status }) => statuses.includes(status)).length
  const entries = mutants.filter(({ status }) => status === 'Survived' || status === 'NoCoverage').map((mutant) => {
    const fileName = relative(process.cwd(), mutant.fileName)
    return entryOf({ ...mutant, fileName }, readFileSync(fileName, 'utf8'))
  })
  const known = knownSurvivors().filter(({ file }) => files.includes(file))
  const fresh = missingFrom(known, entries)
  for (const { file, text } of fresh) console.error(`Survives, and is not in survivors.md: ${file}\n\`\`\`diff\n${text}\n\`\`\`\n`)
  const killed = only === undefined ? missingFrom(entries, known) : []
  for (const { file, text } of killed) console.error(`Is killed (or is no more), and stands in survivors.md: ${file}\n\`\`\`diff\n${text}\n\`\`\`\n`)
  if (fresh.length > 0 || killed.length > 0) process.exitCode = 1
  const detected = count('Killed', 'Timeout')
  const survived = entries.length
  return { killed: count('Killed'), 'timed out': count('Timeout'), explained: survived - fresh.length, unexplained: fresh.length, errors: count('RuntimeError', 'CompileError'), ignored: count('Ignored'), score: `${(detected / (detected + survived) * 100).toFixed(1)} %` }
}
