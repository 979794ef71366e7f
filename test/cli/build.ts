import type { Test } from 'tap'
import { execFileSync } from 'node:child_process'
import { copyFileSync } from 'node:fs'
import { dirname, join } from 'node:path'

const repository = dirname(dirname(import.meta.dirname))

/** Builds the package into a directory of this test and answers where its executable is. Types are judged elsewhere. */
export function buildProgram (t: Pick<Test, 'testdir'>): string {
  // Inside of the repository, where the dependencies are found by walking up.
  const directory = t.testdir({})
  copyFileSync(join(repository, 'package.json'), join(directory, 'package.json'))
  execFileSync(process.execPath, [join(repository, 'node_modules/typescript/bin/tsc'), '-p', join(repository, 'lib'), '--noCheck', '--declaration', 'false', '--outDir', join(directory, 'dist')])
  return join(directory, 'dist/cli/index.js')
}
