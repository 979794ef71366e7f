// Runs the suite against other versions of Fastify than the one installed, each in a copy of the tree that is
// removed afterwards: the tree itself is not changed.
//
//   npm run test:compat                  the oldest version that package.json allows, and the newest of its major
//   npm run test:compat -- 5.2.0         this one; what begins with a dash is handed to tap
import { execFileSync, spawnSync } from 'node:child_process'
import { cpSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join, relative } from 'node:path'

const repository = dirname(import.meta.dirname)
const notCopied = new Set(['.git', '.tap', 'coverage', 'dist'])

const parameters = process.argv.slice(2)
const tapOptions = parameters.filter((parameter) => parameter.startsWith('-'))
const named = parameters.filter((parameter) => !parameter.startsWith('-'))
const { peerDependencies: { fastify: range } } = JSON.parse(readFileSync(join(repository, 'package.json'), 'utf8'))

const failed = (named.length > 0 ? named : [range.replace('^', ''), range]).filter((version) => !passes(version))
if (failed.length > 0) console.error(`Failed with fastify@${failed.join(' and fastify@')}`)
process.exitCode = failed.length > 0 ? 1 : 0

function passes (version) {
  const copy = mkdtempSync(join(tmpdir(), 'compat-'))
  try {
    cpSync(repository, copy, { recursive: true, verbatimSymlinks: true, filter: (source) => !notCopied.has(relative(repository, source)) })
    // A version named by a range is the newest in it: the registry is asked and not what npm has kept.
    execFileSync('npm', ['install', '--no-save', '--no-audit', '--no-fund', '--ignore-scripts', '--loglevel=error', `fastify@${version}`], { cwd: copy, stdio: ['ignore', 'ignore', 'inherit'] })
    console.error(`fastify ${JSON.parse(readFileSync(join(copy, 'node_modules/fastify/package.json'), 'utf8')).version}`)
    return spawnSync(process.execPath, ['node_modules/tap/dist/esm/run.mjs', ...tapOptions], { cwd: copy, stdio: 'inherit' }).status === 0
  } finally {
    rmSync(copy, { recursive: true, force: true })
  }
}
