// The way from a clone to a new scheme that CONTRIBUTING describes can be walked, with the text that stands there.
import t from 'tap'
import { execFile } from 'node:child_process'
import { cpSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { promisify } from 'node:util'

// Five starts of tsx and one of eslint.
t.setTimeout(300_000)

const repository = dirname(import.meta.dirname)
const page = readFileSync(join(repository, '.github', 'CONTRIBUTING.md'), 'utf8')
const files = [...page.matchAll(/```ts unchecked\n\/\/ ((?:lib|test)\/\S+)\n([\s\S]*?)```/g)].map(([, path = '', text = '']) => ({ path, text }))

t.test('the scheme of the walk-through is red before its file is there, green with it, lint-free, and red again when it is broken', { timeout: 300_000 }, async (t) => {
  const [test, scheme] = files
  if (test === undefined || scheme === undefined) throw new Error('The walk-through has no files')
  const clone = t.testdir({})
  for (const name of ['lib', 'package.json', 'tsconfig.json', 'eslint.config.js']) cpSync(join(repository, name), join(clone, name), { recursive: true })
  symlinkSync(join(repository, 'node_modules'), join(clone, 'node_modules'), 'junction')
  const write = ({ path, text }: { path: string, text: string }): void => {
    mkdirSync(dirname(join(clone, path)), { recursive: true })
    writeFileSync(join(clone, path), text)
  }
  const run = async (...parameters: string[]): Promise<boolean> => await promisify(execFile)(process.execPath, parameters, { cwd: clone, env: { ...process.env, NODE_OPTIONS: '' } }).then(() => true, () => false)
  const passes = async (): Promise<boolean> => await run('--import', 'tsx', test.path)
  write(test)
  t.equal(await passes(), false)
  write(scheme)
  t.equal(await passes(), true)
  t.equal(await run(join('node_modules', 'eslint', 'bin', 'eslint.js'), scheme.path), true)
  for (const [right, wrong] of [['timestamp}:', 'timestamp}.'], ['77, pattern', '78, /^([0-9]{1,12})\\.([0-9a-f]{64})0?$/'], ['tolerance: 300', 'tolerance: 400']]) {
    write({ path: scheme.path, text: scheme.text.replace(right as string, wrong as string) })
    t.equal(await passes(), false, `${wrong} in place of ${right}`)
  }
})
