// The package as its users get it: built, packed, and unpacked beside what it names as its dependencies and nothing else.
import t from 'tap'
import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, realpathSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, dirname, join } from 'node:path'
import { promisify } from 'node:util'

const repository = dirname(import.meta.dirname)
const tsc = join(repository, 'node_modules', 'typescript', 'bin', 'tsc')

// Outside the repository, so that nothing but the links below can be found by walking up.
const directory = realpathSync(mkdtempSync(join(tmpdir(), 'consumers-')))
const consumer = join(directory, 'consumer')
const installed = join(consumer, 'node_modules', 'fastify-causeflow-auth')
// Three compilers read the types of Fastify and Node twice each, which takes its time on a busy machine.
t.setTimeout(900_000)
t.teardown(() => rmSync(directory, { recursive: true, force: true }))

const archive = await pack()
await install(archive)
const manifest = JSON.parse(readFileSync(join(installed, 'package.json'), 'utf8'))
const entries = Object.keys(manifest.exports).filter((path) => path !== './package.json').map((path) => join(manifest.name, path))
writeFileSync(join(consumer, 'entries.ts'), entries.map((entry, i) => `import * as entry${i} from '${entry}'\nconsole.log(Object.keys(entry${i}))\n`).join(''))

t.test('the archive holds the build, the documents and nothing else', async (t) => {
  const files = readdirSync(installed, { recursive: true, withFileTypes: true }).filter((file) => file.isFile())
    .map((file) => join(file.parentPath, file.name).slice(installed.length + 1).replaceAll('\\', '/'))
  t.strictSame(files.filter((file) => !/^dist\/.+\.(js|d\.ts)$|^docs\/.+\.(md|svg|ts|yaml)$|^(package\.json|README\.md|LICENSE)$/.test(file)), [])
  const promised = [...Object.values(manifest.exports).flatMap((entry) => typeof entry === 'string' ? [entry] : Object.values(entry as Record<string, string>)),
    ...Object.values(manifest.bin ?? {}) as string[]]
  t.strictSame(promised.filter((file) => !existsSync(join(installed, file))), [], 'every entry is there')
})

t.test('what the installed documents link to is installed, but for what only the repository has: tests and the source', async (t) => {
  const pages = ['README.md', ...readdirSync(join(installed, 'docs'), { recursive: true, encoding: 'utf8' }).filter((name) => name.endsWith('.md')).map((name) => join('docs', name))]
  const links = pages.flatMap((page) => [...readFileSync(join(installed, page), 'utf8').matchAll(/\]\(([^)\s#]+)[^)]*\)/g)].map(([, link = '']) => ({ page, link })))
    .filter(({ link }) => !/^[a-z]+:/.test(link))
  const leads = ({ page, link }: { page: string, link: string }): string => join(page, '..', link)
  t.ok(links.length > 100, `${links.length} links`)
  t.strictSame(links.filter((one) => !/^(test|lib|\.github)\b/.test(leads(one)) && !existsSync(join(installed, leads(one)))), [])
})

t.test('no published type mentions @fastify/jwt, whose augmentation would become the user\'s', async (t) => {
  const types = readdirSync(join(installed, 'dist'), { recursive: true, encoding: 'utf8' }).filter((file) => file.endsWith('.d.ts'))
  t.not(types.length, 0)
  t.strictSame(types.filter((file) => /['"]@fastify\/jwt['"]/.test(readFileSync(join(installed, 'dist', file), 'utf8'))), [])
})

t.test('import gives the plugin as the default export, require gives the plugin itself with every named export on it', async (t) => {
  const esm = await node('esm.js')
  const commonjs = await node('commonjs.cjs')
  t.equal(esm.decorated, true)
  t.match(commonjs, { decorated: true, isPlugin: true, different: [] })
  // 'module.exports' is what require reads; `default` and its name in camel case are what fastify-plugin puts on every plugin.
  const named = (names: string[]) => names.filter((name) => !['module.exports', 'default', 'fastifyCauseflowAuth'].includes(name)).sort()
  t.strictSame(named(commonjs.names), named(esm.names))
  t.ok(named(esm.names).includes('auth'))
})

t.test('every subpath can be imported and required, with the declared dependencies alone', async (t) => {
  t.strictSame(await node('entries.cjs', ...entries), [])
})

for (const language of ['esm', 'commonjs']) {
  t.test(`fastify-cli starts an application of its template (${language}) with options of its own, and its routes are guarded`, async (t) => {
    const app = `fastify-cli/${language}/app.js`
    const parameters = ['start', app, '--port', '0', '--log-level', 'info', '--', '--greeting', 'hi']
    const cli = spawn(process.execPath, [join(repository, 'node_modules', 'fastify-cli', 'cli.js'), ...parameters], { cwd: consumer })
    t.teardown(() => cli.kill('SIGKILL'))
    let log = ''
    for (const stream of [cli.stdout, cli.stderr]) stream.on('data', (chunk) => { log += String(chunk) })
    const listening = /listening at http:\/\/[^:]+:(\d+)/
    while (!listening.test(log) && cli.exitCode === null) await Promise.race([once(cli.stdout, 'data'), once(cli, 'exit')])
    const [, port] = listening.exec(log) ?? []
    t.ok(port, log)
    const ask = async (path: string): Promise<Response> => await fetch(`http://127.0.0.1:${port}${path}`)
    t.equal((await ask('/incidents')).status, 401)
    t.match(await (await ask('/rules')).json(), { greeting: 'hi', routes: [{ method: 'GET', url: '/incidents', rule: 'token' }, {}, { method: 'GET', url: '/rules', rule: 'public' }] })
  })
}

t.test('the oldest TypeScript that the documentation names is the oldest that is compiled with', async (t) => {
  const { version } = JSON.parse(readFileSync(join(repository, 'node_modules/typescript56/package.json'), 'utf8'))
  t.ok(String(version).startsWith(`${stated(/^\| TypeScript \| (\d+\.\d+) or newer/m)}.`))
})

// The oldest compiler that can read our types (names of exports in quotes), the one that the package is built with, and the newest.
for (const compiler of ['typescript56', 'typescript', 'typescript7']) {
  const { version } = JSON.parse(readFileSync(join(repository, 'node_modules', compiler, 'package.json'), 'utf8'))
  for (const resolution of ['nodenext', 'bundler']) {
    t.test(`TypeScript ${version} under ${resolution} compiles against every entry, and the types of the package are sound`, { timeout: 300_000 }, async (t) => {
      // `import x = require()` of an ES module is read as Node does it since 5.9: 5.6 is given the rest.
      t.strictSame(await compile(compiler, compiler === 'typescript56' ? withoutRequire(`tsconfig.${resolution}.json`) : `tsconfig.${resolution}.json`), [])
    })
  }
}

t.test('size and dependencies are what the documentation says, to a fifth', async (t) => {
  const { dependencies } = manifest
  t.equal(Number(stated(/^\| direct dependencies \| (\d+)/m)), Object.keys(dependencies).length)
  const about = (words: string, measured: number, said: number): void => { t.ok(Math.abs(said - measured) <= measured / 5, `${words}: ${said} is said, ${measured} measured`) }
  about('packages', installedWith(dependencies).size, Number(stated(/^\| packages that come with it \| (\d+)/m)))
  about('kB packed', statSync(archive).size / 1000, Number(stated(/^\| packed \| (\d+) kB/m)))
  const unpacked = readdirSync(installed, { recursive: true, withFileTypes: true }).filter((file) => file.isFile())
    .reduce((sum, { parentPath, name }) => sum + statSync(join(parentPath, name)).size, 0)
  about('kB unpacked', unpacked / 1000, Number(stated(/^\| unpacked \| (\d+) kB/m)))
})

/** Builds and packs a copy, so that neither dist/ nor anything else in the repository is touched. */
async function pack (): Promise<string> {
  const stage = join(directory, 'stage')
  mkdirSync(stage)
  for (const name of ['package.json', 'README.md', 'LICENSE', 'docs']) {
    if (existsSync(join(repository, name))) cpSync(join(repository, name), join(stage, name), { recursive: true })
  }
  await promisify(execFile)(process.execPath, [tsc, '-p', join(repository, 'lib'), '--outDir', join(stage, 'dist')])
  const npm = process.platform === 'win32' ? 'npm.cmd' : 'npm'
  const { stdout } = await promisify(execFile)(npm, ['pack', '--ignore-scripts', '--json', '--pack-destination', directory], { cwd: stage, shell: process.platform === 'win32' })
  return join(directory, JSON.parse(stdout)[0].filename)
}

/** Unpacks the archive; its dependencies and peers, and what the consumers themselves use, are linked. Nothing is fetched. */
async function install (archive: string): Promise<void> {
  // The folders with packages of their own are for other tests.
  const filter = (source: string): boolean => !['nestjs', 'ecosystem'].includes(basename(source))
  cpSync(join(import.meta.dirname, 'consumers'), consumer, { recursive: true, filter })
  mkdirSync(installed, { recursive: true })
  writeFileSync(join(consumer, 'package.json'), JSON.stringify({ type: 'module', private: true }))
  await promisify(execFile)('tar', ['-xzf', archive, '-C', installed, '--strip-components=1'])
  const { dependencies, peerDependencies, peerDependenciesMeta = {} } = JSON.parse(readFileSync(join(installed, 'package.json'), 'utf8'))
  const needed = [...Object.keys(dependencies), ...Object.keys(peerDependencies).filter((name) => !peerDependenciesMeta[name]?.optional)]
  for (const name of [...needed, '@fastify/autoload', '@fastify/type-provider-typebox', '@types/node']) {
    const link = join(consumer, 'node_modules', name)
    mkdirSync(dirname(link), { recursive: true })
    symlinkSync(join(repository, 'node_modules', name), link, 'junction')
  }
}

/** What a consumer's program prints, as JSON. */
async function node (...parameters: string[]) {
  const { stdout } = await promisify(execFile)(process.execPath, parameters, { cwd: consumer, env: { ...process.env, NODE_OPTIONS: '' } })
  return JSON.parse(stdout)
}

/** The project without its CommonJS files. */
function withoutRequire (project: string): string {
  const { files, ...rest } = JSON.parse(readFileSync(join(consumer, project), 'utf8')) as { files: string[] }
  writeFileSync(join(consumer, `import.${project}`), JSON.stringify({ ...rest, files: files.filter((file) => !file.endsWith('.cts')) }))
  return `import.${project}`
}

/** A compiler's complaints about the consumer and about our types; those of other packages are parsed and not judged. */
async function compile (compiler: string, project: string): Promise<string[]> {
  const [program = '', ...script] = await commandOf(compiler)
  const { stdout } = await promisify(execFile)(program, [...script, '-p', project, '--pretty', 'false', '--listFiles'], { cwd: consumer, maxBuffer: 1 << 24 })
    .catch((error: { stdout: string }) => error)
  const lines = stdout.split('\n')
  // A compiler that has read nothing of ours has nothing to complain of.
  if (!lines.some((line) => line.endsWith('fastify-causeflow-auth/dist/index.d.ts'))) return [`${project}: the types of the package were not read: ${stdout.slice(0, 1000)}`]
  return lines.filter((line) => /error TS\d+/.test(line) && !line.startsWith('..') && !line.includes(join(repository, 'node_modules')))
}

/** What the page on support says, by the first group of a pattern. */
function stated (pattern: RegExp): string | undefined {
  return pattern.exec(readFileSync(join(repository, 'docs/UPGRADING.md'), 'utf8'))?.[1]
}

/** The folders, in the lock file, of everything that npm installs along with these dependencies. */
function installedWith (dependencies: Record<string, string>): Set<string> {
  const { packages } = JSON.parse(readFileSync(join(repository, 'package-lock.json'), 'utf8')) as { packages: Record<string, { dependencies?: Record<string, string> }> }
  const found = new Set<string>()
  const walk = (from: string, names: string[]): void => {
    for (const name of names) {
      let above = from
      while (above !== '' && packages[`${above}/node_modules/${name}`] === undefined) above = above.includes('/node_modules/') ? above.slice(0, above.lastIndexOf('/node_modules/')) : ''
      const folder = `${above === '' ? '' : `${above}/`}node_modules/${name}`
      if (found.has(folder)) continue
      found.add(folder)
      walk(folder, Object.keys(packages[folder]?.dependencies ?? {}))
    }
  }
  walk('', Object.keys(dependencies))
  return found
}

/** How a compiler is started: from 7 on it is a program of its own, and the script in front of it loses its output under the test runner. */
async function commandOf (compiler: string): Promise<string[]> {
  const directory = join(repository, 'node_modules', compiler)
  const native = join(directory, 'lib', 'getExePath.js')
  if (existsSync(native)) return [((await import(native)) as { default (): string }).default()]
  return [process.execPath, join(directory, 'bin', 'tsc')]
}
