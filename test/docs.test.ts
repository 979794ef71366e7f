// What the documentation says can be done: its links lead somewhere, its commands exist, its code compiles and runs, and its
// references name what is there and nothing else.
import t from 'tap'
import { execFile } from 'node:child_process'
import { existsSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { promisify } from 'node:util'
import ts from 'typescript'
import { MemoryApiKeyStore } from '../lib/api-key/memory-store.js'
import { configErrors, errorCatalogue, reasons } from '../lib/errors.js'
import * as face from '../lib/index.js'
import { readOptions } from '../lib/options.js'
import * as openapiFace from '../lib/openapi/index.js'
import * as testingFace from '../lib/testing/index.js'
import { consumerFolder, packagesMissing } from './fixtures/consumer-packages.js'

type Tap = Pick<typeof t, 'testdir'>

// One block is compiled against the types of Fastify, Node and TypeBox, which takes its time on a busy machine.
t.setTimeout(600_000)

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

t.test('every test that the tables of standards name is there under the words that they quote', async (t) => {
  const named = [...(pages.get('docs/security.md') ?? '').matchAll(/\]\(\.\.\/(test\/[^)]+)\) “([^”]+)”/g)]
  t.ok(named.length > 50)
  const missing = named.filter(([, file = '', words = '']) => !readFileSync(join(repository, file), 'utf8').split('\n').some((line) => line.includes('t.test(') && line.replaceAll("\\'", "'").includes(words)))
  t.strictSame(missing.map(([match]) => match), [])
})

t.test('every npm script that is named exists', async (t) => {
  const { scripts } = JSON.parse(readFileSync(join(repository, 'package.json'), 'utf8'))
  const unknown: string[] = []
  for (const [page, text] of pages) {
    for (const [, script = ''] of text.matchAll(/\bnpm run ([a-z:-]+)/g)) if (!(script in scripts)) unknown.push(`${page}: ${script}`)
  }
  t.strictSame(unknown, [])
})

// What is generated repeats the comments of the source, and they show parts of programs.
const withoutPackages = await packagesMissing('ecosystem')
const blocks = [...pages].filter(([page]) => !page.startsWith('docs/reference/')).flatMap(([page, text]) => programs(page, text))

t.test('every package of test/consumers/ecosystem has a block', { skip: withoutPackages }, async (t) => {
  const { dependencies } = JSON.parse(readFileSync(join(consumerFolder('ecosystem'), 'package.json'), 'utf8'))
  // graphql is what mercurius takes from its application.
  const names = Object.keys(dependencies).filter((name) => name !== 'graphql')
  t.strictSame(names.filter((name) => !blocks.some(({ source }) => source.includes(`from '${name}`))), [])
})

t.test('every TypeScript block compiles against the source', { timeout: 250_000 }, async (t) => {
  const directory = writeBlocks(t, blocks)
  const { config } = ts.readConfigFile(join(directory, 'tsconfig.json'), ts.sys.readFile)
  const { options } = ts.parseJsonConfigFileContent(config, ts.sys, directory)
  const host = ts.createCompilerHost(options)
  // Read and parsed once for both.
  const read = host.getSourceFile
  const files = new Map<string, ReturnType<typeof read>>()
  host.getSourceFile = (file, ...rest) => {
    if (!files.has(file)) files.set(file, read(file, ...rest))
    return files.get(file)
  }
  // An augmentation holds for everything that is compiled with it, so the blocks that have one are compiled apart.
  const augmenting = blocks.filter(({ source }) => /^declare module /m.test(source))
  for (const group of [augmenting, blocks.filter((block) => !augmenting.includes(block))]) {
    const program = ts.createProgram(group.map(({ name }) => join(directory, name)), options, host)
    t.strictSame(ts.getPreEmitDiagnostics(program).map((complaint) => ts.formatDiagnostic(complaint, host).trim()), [])
  }
})

t.test('every TypeScript block runs, starts its app, and prints what its comments say', { timeout: 250_000 }, async (t) => {
  const directory = writeBlocks(t, blocks)
  writeFileSync(join(directory, 'run.mts'), runner)
  const { stdout, stderr } = await promisify(execFile)(process.execPath, ['--import', 'tsx', join(directory, 'run.mts'), ...blocks.map(({ name }) => name)], {
    cwd: directory,
    // What the blocks take from the environment; ports are free ones.
    env: {
      ...process.env,
      TSX_TSCONFIG_PATH: join(directory, 'tsconfig.json'),
      PORT: '0',
      WEBHOOK_SECRET: 'whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD',
      JWT_SECRET: 'a shared secret of more than thirty-two bytes',
      SEALING_KEY: Buffer.alloc(32, 7).toString('base64')
    }
  }).catch((failure) => failure)
  const answers = JSON.parse(stdout.split('\n').at(-2) || '{}') as Record<string, { failure: string | null, printed: string[] }>
  t.equal(stderr, '')
  for (const { name, source } of blocks) t.strictSame(answers[name], { failure: null, printed: promised(source) }, name)
})

t.test('every console.log of a block is followed by what it prints', async (t) => {
  const silent = blocks.flatMap(({ name, source }) => source.split('\n').filter((line) => line.includes('console.log(') && !/\) \/\/ \S/.test(line)).map((line) => `${name}: ${line}`))
  t.strictSame(silent, [])
})

t.test('the options in the reference are those of the source, with the defaults of the source', async (t) => {
  const rows = table('docs/options.md')
  t.strictSame(rows.map(([option]) => option).sort(), optionsOfSource().sort())
  const { tenant, jwt: [jwt], apiKey, webhook: [webhook], clock } = readOptions({
    jwt: { issuer: 'https://acme.clerk.accounts.dev' },
    apiKey: { store: new MemoryApiKeyStore() },
    webhook: { secret: 'whsec_test_secret' }
  })
  t.equal(clock, Date.now)
  const settings: Record<string, unknown> = flat({ tenant, jwt: { ...jwt, audience: jwt?.audience?.[0] }, apiKey, webhook })
  for (const [option = '', , fallback = ''] of rows) {
    if (/^('|\d|true|\[)/.test(fallback)) t.strictSame(settings[option], JSON.parse(fallback.replaceAll("'", '"').replaceAll('_', '')), option)
  }
})

t.test('the errors in the reference are those of the catalogue, with status, word and sentence', async (t) => {
  const rows = table('docs/errors.md')
  const catalogue = errorCatalogue().map(({ code, status, error, message }) => [code, String(status), error, message])
  t.strictSame(rows.filter(([code = '']) => code.startsWith('AUTH_') && !code.startsWith('AUTH_CONFIG_')).map((row) => row.slice(0, 4)), catalogue)
  t.strictSame(rows.filter(([code = '']) => code.startsWith('AUTH_CONFIG_')).map(([code]) => code), Object.values(configErrors).map((Fault) => new Fault('').code))
  t.strictSame(rows.filter(([reason = '']) => /^[a-z-]+$/.test(reason)).map(([reason]) => reason).sort(), [...reasons].sort())
})

t.test('everything that is exported is named in the documentation', async (t) => {
  const everything = [...pages.values()].join('\n')
  const exported = [...Object.keys(face), ...Object.keys(testingFace), ...Object.keys(openapiFace)].filter((name) => !['default', 'module.exports'].includes(name))
  t.strictSame(exported.filter((name) => !new RegExp(`\\b${name}\\b`).test(everything)), [])
})

t.test('the reference of fastify.causeflowAuth has its members and no others', async (t) => {
  const rows = table('docs/decorators.md').map(([name = '']) => name)
  t.strictSame(rows.filter((name) => name.startsWith('causeflowAuth.')).map((name) => name.slice(14).replace(/\(.*/, '')), members('lib/plugin.ts', 'CauseflowAuth'))
  const calls = table('docs/api-keys.md').map(([name = '']) => name).filter((name) => /^\w+\(/.test(name))
  t.strictSame(calls.map((name) => name.replace(/\(.*/, '')), members('lib/api-key/manage.ts', 'ApiKeys'))
})

/** Imports the blocks one after the other and answers, as one line of JSON, how each ended and what it printed. */
const runner = `
import diagnostics from 'node:diagnostics_channel'
import { syncBuiltinESMExports } from 'node:module'
import { format } from 'node:util'
const own = globalThis.fetch
// No block leaves this machine. The issuers that they name are not there.
globalThis.fetch = async (url, options) => {
  if (!['127.0.0.1', 'localhost'].includes(new URL(url instanceof Request ? url.url : url).hostname)) throw new TypeError('Not from a test')
  return await own(url, options)
}
// What a block subscribes to ends with it.
const { subscribe, unsubscribe } = diagnostics
let subscriptions = []
diagnostics.subscribe = (...subscription) => {
  subscriptions.push(subscription)
  subscribe(...subscription)
}
syncBuiltinESMExports()
const answers = {}
const print = console.log
for (const name of process.argv.slice(2)) {
  const answer = answers[name] = { failure: null, printed: [] }
  console.log = (...values) => answer.printed.push(format(...values))
  try {
    const { app } = await import('./' + name)
    await app?.ready()
    await app?.close()
  } catch (error) {
    answer.failure = String(error?.stack ?? error)
  }
  for (const subscription of subscriptions) unsubscribe(...subscription)
  subscriptions = []
}
print('\\n' + JSON.stringify(answers))
process.exit()
`

/** What the comments behind console.log promise, in their order. */
function promised (source: string): string[] {
  return [...source.matchAll(/^.*console\.log\(.*\) \/\/ (.+)$/gm)].map(([, printed = '']) => printed)
}

function writeBlocks (t: Tap, group: typeof blocks): string {
  const directory = t.testdir({})
  for (const { name, source } of group) writeFileSync(join(directory, name), source)
  writeFileSync(join(directory, 'package.json'), '{ "type": "module" }')
  if (withoutPackages === false) symlinkSync(join(consumerFolder('ecosystem'), 'node_modules'), join(directory, 'node_modules'), 'junction')
  writeFileSync(join(directory, 'tsconfig.json'), JSON.stringify({
    extends: join(repository, 'tsconfig.json'),
    compilerOptions: {
      rootDir: repository,
      paths: { 'fastify-causeflow-auth': [join(repository, 'lib/index.ts')], 'fastify-causeflow-auth/*': [join(repository, 'lib/*/index.ts')] }
    },
    include: ['*.ts'],
    exclude: []
  }))
  return directory
}

/** The rows of a page's tables without their heads; each cell without the backquotes around it. */
function table (page: string): string[][] {
  const lines = (pages.get(page) ?? '').split('\n')
  return lines.flatMap((line, index) => {
    if (!line.startsWith('|') || line.startsWith('|--') || lines[index + 1]?.startsWith('|--')) return []
    return [line.slice(1, -1).split(/(?<!\\)\|/).map((cell) => cell.trim().replaceAll('\\|', '|').replace(/^`([^`]*)`$/, '$1'))]
  })
}

/** The paths of all options: `jwt.keySet.maxAge`. */
function optionsOfSource (): string[] {
  const interfaces: Record<string, string> = { jwt: 'JwtOptions', apiKey: 'ApiKeyOptions', webhook: 'WebhookOptions', tenant: 'TenantOptions' }
  return members('lib/options.ts', 'CauseflowAuthOptions').flatMap((name) => {
    const inner = interfaces[name]
    return inner === undefined ? [name] : [name, ...members('lib/options.ts', inner).map((option) => `${name}.${option}`)]
  })
}

/** The names of an interface's members; those of object types inside after the name and a full stop. */
function members (file: string, name: string): string[] {
  const source = ts.createSourceFile(file, readFileSync(join(repository, file), 'utf8'), ts.ScriptTarget.ES2022)
  const found: string[] = []
  const collect = (nodes: readonly ts.TypeElement[], before: string): void => {
    for (const node of nodes) {
      const own = before + (node.name as ts.Identifier).text
      found.push(own)
      const type = ts.isPropertySignature(node) ? node.type : undefined
      for (const part of type === undefined ? [] : ts.isUnionTypeNode(type) ? type.types : [type]) {
        if (ts.isTypeLiteralNode(part)) collect([...part.members], `${own}.`)
      }
    }
  }
  for (const statement of source.statements) {
    if (ts.isInterfaceDeclaration(statement) && statement.name.text === name) collect([...statement.members], '')
  }
  return found
}

/** An object's values by their paths. */
function flat (value: object, before = ''): Record<string, unknown> {
  return Object.fromEntries(Object.entries(value).flatMap(([key, one]) => {
    const path = before + key
    const inner = typeof one === 'object' && one !== null && !Array.isArray(one) ? Object.entries(flat(one, `${path}.`)) : []
    return [[path, one], ...inner]
  }))
}

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
  const placed = [...text.matchAll(/<a id="([^"]+)"><\/a>/g)].map(([, id = '']) => id)
  return [...placed, ...[...text.replace(/^ *```[\s\S]*?^ *```$/gm, '').matchAll(/^#{1,6} +(.+?) *$/gm)].map(([, heading = '']) => {
    const anchor = heading.toLowerCase().replace(/\]\([^)]*\)/g, ']').replace(/[^\p{L}\p{N}\s_-]/gu, '').replace(/\s/g, '-')
    const count = seen.get(anchor) ?? 0
    seen.set(anchor, count + 1)
    return count === 0 ? anchor : `${anchor}-${count}`
  })]
}

/**
 * The `ts` blocks of a page as files. A block that imports something is a program; one that does not
 * continues the program before it, in a scope of its own. `ts unchecked` is left out, and so is `ts ecosystem` where the packages of
 * test/consumers/ecosystem cannot be installed.
 */
function programs (page: string, text: string): Array<{ name: string, source: string }> {
  const found: Array<{ name: string, source: string }> = []
  let program = ''
  for (const block of text.matchAll(/^( *)```ts( ecosystem)? *\n([\s\S]*?)^ *```$/gm)) {
    if (block[2] !== undefined && withoutPackages !== false) continue
    const code = block[3] ?? ''
    const starts = /^ *import /m.test(code)
    // In a file of its own the position is the page's, so that a complaint can be found.
    const line = text.slice(0, block.index).split('\n').length
    const name = `${page.replace(/\W+/g, '-')}-line-${line}.ts`
    if (starts) program = code
    const source = starts ? code : `${program}\n{\n${code}}\n`
    // Exported, so that the app of a block can be started: only then are its rules compiled.
    found.push({ name, source: /^const app = /m.test(source) ? `${source}\nexport { app }\n` : `${source}\nexport {}\n` })
  }
  return found
}
