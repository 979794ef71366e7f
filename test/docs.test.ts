// What the documentation says can be done: its links lead somewhere, its commands exist, its code compiles.
import t from 'tap'
import { execFile } from 'node:child_process'
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { promisify } from 'node:util'

const repository = dirname(import.meta.dirname)
const pages = new Map(['.', 'docs', '.github'].flatMap((folder) => markdown(folder)).map((page) => [page, readFileSync(join(repository, page), 'utf8')]))

t.test('every link inside the repository leads to a file and to a heading that exist', async (t) => {
  const broken: string[] = []
  for (const [page, text] of pages) {
    for (const [, target = ''] of prose(text).matchAll(/\]\(([^)\s]+)\)/g)) {
      if (/^[a-z]+:/.test(target)) continue
      const [path = '', anchor] = target.split('#')
      const file = path === '' ? page : join(dirname(page), path)
      if (!existsSync(join(repository, file))) broken.push(`${page}: ${target}`)
      else if (anchor !== undefined && !anchors(pages.get(file) ?? '').includes(anchor)) broken.push(`${page}: ${target} (no such heading)`)
    }
  }
  t.strictSame(broken, [])
})

t.test('every npm script that is named exists', async (t) => {
  const { scripts } = JSON.parse(readFileSync(join(repository, 'package.json'), 'utf8'))
  const unknown: string[] = []
  for (const [page, text] of pages) {
    for (const [, script = ''] of text.matchAll(/\bnpm run ([a-z:-]+)/g)) if (!(script in scripts)) unknown.push(`${page}: ${script}`)
  }
  t.strictSame(unknown, [])
})

t.test('every TypeScript block compiles', async (t) => {
  const directory = t.testdir({})
  const sources = [...pages].flatMap(([page, text]) => programs(page, text))
  if (sources.length === 0) return
  for (const { name, source } of sources) writeFileSync(join(directory, name), source)
  writeFileSync(join(directory, 'tsconfig.json'), JSON.stringify({
    extends: join(repository, 'tsconfig.json'),
    compilerOptions: {
      rootDir: repository,
      paths: { 'fastify-causeflow-auth': [join(repository, 'lib/index.ts')], 'fastify-causeflow-auth/*': [join(repository, 'lib/*/index.ts')] }
    },
    include: ['*.ts'],
    exclude: []
  }))
  const tsc = join(repository, 'node_modules', 'typescript', 'bin', 'tsc')
  const { stdout } = await promisify(execFile)(process.execPath, [tsc, '-p', directory, '--pretty', 'false'], { cwd: directory }).catch((failure) => failure)
  t.strictSame(stdout.split('\n').filter((line: string) => line !== ''), [])
})

/** The pages of a folder; those of docs/ at any depth. */
function markdown (folder: string): string[] {
  if (!existsSync(join(repository, folder))) return []
  return readdirSync(join(repository, folder), { recursive: folder === 'docs', encoding: 'utf8' })
    .filter((file) => file.endsWith('.md')).map((file) => join(folder, file))
}

/** A page without its code, where brackets and number signs mean other things. */
function prose (text: string): string {
  return text.replace(/^ *```[\s\S]*?^ *```$/gm, '').replace(/`[^`\n]*`/g, '')
}

/** The anchors of a page's headings, made as GitHub makes them. */
function anchors (text: string): string[] {
  const seen = new Map<string, number>()
  return [...text.replace(/^ *```[\s\S]*?^ *```$/gm, '').matchAll(/^#{1,6} +(.+?) *$/gm)].map(([, heading = '']) => {
    const anchor = heading.toLowerCase().replace(/\]\([^)]*\)/g, ']').replace(/[^\p{L}\p{N}\s_-]/gu, '').replace(/\s/g, '-')
    const count = seen.get(anchor) ?? 0
    seen.set(anchor, count + 1)
    return count === 0 ? anchor : `${anchor}-${count}`
  })
}

/**
 * The `ts` blocks of a page as files. A block that imports something is a program; one that does not
 * continues the program before it, in a scope of its own. `ts unchecked` is left out.
 */
function programs (page: string, text: string): Array<{ name: string, source: string }> {
  const found: Array<{ name: string, source: string }> = []
  let program = ''
  for (const block of text.matchAll(/^( *)```ts *\n([\s\S]*?)^ *```$/gm)) {
    const code = block[2] ?? ''
    const starts = /^ *import /m.test(code)
    // In a file of its own the position is the page's, so that a complaint can be found.
    const line = text.slice(0, block.index).split('\n').length
    const name = `${page.replace(/\W+/g, '-')}-line-${line}.ts`
    if (starts) program = code
    found.push({ name, source: starts ? code : `${program}\n{\n${code}}\nexport {}\n` })
  }
  return found
}
