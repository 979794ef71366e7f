// The generated reference of everything that is exported is that of the source.
import t from 'tap'
import { execFile } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { promisify } from 'node:util'

const repository = dirname(import.meta.dirname)
const typedoc = join(repository, 'node_modules', 'typedoc', 'bin', 'typedoc')

t.test('docs/reference is what npm run docs:reference writes', { timeout: 300_000 }, async (t) => {
  const directory = t.testdir({})
  await promisify(execFile)(process.execPath, [typedoc, '--tsconfig', 'lib/tsconfig.json', '--out', directory], { cwd: repository })
  const pages = readdirSync(directory).sort()
  t.strictSame(pages, ['README.md', 'index.md', 'openapi.md', 'postgres.md', 'redis.md', 'testing.md'])
  for (const page of pages) t.equal(readFileSync(join(repository, 'docs', 'reference', page), 'utf8'), readFileSync(join(directory, page), 'utf8'), `${page}: run npm run docs:reference`)
})
