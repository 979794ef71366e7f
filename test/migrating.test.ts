// The migration guides, run: the application before and the one after stand before the same requests, and answer as the guide's table says.
import t, { type Test } from 'tap'
import { createHash } from 'node:crypto'
import { existsSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { pathToFileURL } from 'node:url'
import type { FastifyInstance, InjectOptions } from 'fastify'
import ts from 'typescript'
import { bearer, createTestIssuer, type TestIssuer } from '../lib/testing/index.js'
import { watchProcess } from './fixtures/process-watch.js'

watchProcess(t)

// The first import of each package takes its time on a busy machine.
t.setTimeout(120_000)

const repository = dirname(import.meta.dirname)
const docs = join(repository, 'docs')
/** What the guides compare with and this package does not need itself is installed for npm run bench. */
const peers = join(repository, 'test/bench/node_modules')

const guides = {
  'migrating-from-fastify-jwt.md': { packages: ['@fastify/jwt', 'get-jwks'], requests: tokenRequests },
  'migrating-from-fastify-jwt-jwks.md': { packages: ['fastify-jwt-jwks'], requests: tokenRequests },
  'migrating-from-clerk-fastify.md': { packages: ['@clerk/fastify'], requests: sessionRequests },
  'migrating-from-bearer-auth.md': { packages: ['@fastify/bearer-auth'], requests: keyRequests }
}

// Nothing leaves this machine, whatever the packages compared would like to ask.
const own = globalThis.fetch
const refused: string[] = []
globalThis.fetch = async (input, options) => {
  const url = new URL(input instanceof Request ? input.url : input)
  if (url.hostname === '127.0.0.1') return await own(input, options)
  refused.push(url.href)
  throw new TypeError('Not from a test')
}
t.teardown(() => { globalThis.fetch = own })

t.test('every JavaScript block of the documentation can be parsed', async (t) => {
  const faults = readdirSync(docs).filter((file) => file.endsWith('.md')).flatMap((file) => blocks(file, 'js').flatMap((source) => {
    const { diagnostics = [] } = ts.transpileModule(source, { reportDiagnostics: true, compilerOptions: { allowJs: true, module: ts.ModuleKind.ESNext, target: ts.ScriptTarget.ES2022 }, fileName: 'block.js' })
    return diagnostics.map(({ messageText }) => `${file}: ${ts.flattenDiagnosticMessageText(messageText, ' ')}`)
  }))
  t.strictSame(faults, [])
})

t.test('every guide has an application before and one after', async (t) => {
  const names = readdirSync(docs).filter((file) => file.startsWith('migrating-'))
  t.ok(names.length >= 6)
  t.strictSame(names.filter((file) => blocks(file, 'js').length === 0 || blocks(file, 'ts').length === 0 || !readFileSync(join(docs, file), 'utf8').includes('\n## What answers differently\n')), [])
})

for (const [file, { packages, requests }] of Object.entries(guides)) {
  const absent = packages.filter((name) => !isInstalled(name))
  if (absent.length > 0) {
    t.comment(`${absent.join(', ')}: npm ci in test/bench to compare what answers differently in docs/${file}`)
    continue
  }

  t.test(`docs/${file}: both applications answer as its table says`, { timeout: 60_000 }, async (t) => {
    const issuer = await createTestIssuer()
    t.teardown(() => issuer.close())
    Object.assign(process.env, {
      API_KEY: 'the-old-shared-key',
      CLERK_JWT_KEY: issuer.publicKey,
      CLERK_PUBLISHABLE_KEY: `pk_live_${Buffer.from('clerk.example.com$').toString('base64')}`,
      CLERK_SECRET_KEY: 'sk_live_of_the_tests',
      CLERK_TELEMETRY_DISABLED: '1'
    })
    const applications = await startBoth(t, file, issuer)
    const answered: string[][] = []
    for (const [label, make] of Object.entries(requests(issuer))) {
      issuer.outage(label === withoutIssuer)
      const asked = label === withoutIssuer ? await startBoth(t, file, issuer) : applications
      const cells = [label]
      for (const { language, app, headers } of asked) {
        const answer = await app.inject(make(language, headers))
        cells.push(cellOf(answer.statusCode, answer.body))
      }
      answered.push(cells)
    }
    t.strictSame(refused, [])
    t.strictSame(tableOf(file).map((cells) => cells.map((cell, index) => index === 0 ? cell : cell.replace(/(?:,| \(| with `Retry).*$/, ''))), answered)
  })
}

t.test('the application before and the plugin stand side by side in one scope, in either order', async (t) => {
  const issuer = await createTestIssuer()
  t.teardown(() => issuer.close())
  for (const [file, { packages }] of Object.entries(guides)) {
    if (!packages.every(isInstalled) || file.includes('bearer')) continue
    const { causeflowAuth, auth } = await import('../lib/index.js')
    for (const order of ['before', 'after'] as const) {
      const { app } = await start(t, file, 'js', issuer, order === 'before'
        ? (source) => source.replace(/^const app = Fastify\(\)$/m, '$&\nawait app.register(causeflowAuth, { jwt: jwtOptions, default: auth.public() })')
        : (source) => source.replace("app.get('/health'", 'await app.register(causeflowAuth, { jwt: jwtOptions, default: auth.public() })\n$&'), { causeflowAuth, auth, jwtOptions: issuer.jwtOptions() })
      app.get('/moved', { config: { auth: auth.jwt() } }, async (request) => request.principal?.scheme)
      t.equal((await app.inject({ url: '/moved', headers: bearer(issuer.token()) })).body, 'jwt', `${file}: ${order}`)
    }
  }
})

type Language = 'js' | 'ts'
/** Requests by what they are called in the table, for the application before (js) and the one after (ts). */
type Requests = Record<string, (language: Language, headers: Record<string, string>) => InjectOptions>

const withoutIssuer = 'a good token, the issuer down since the start'
const badBody = { method: 'PUT', url: '/v1/settings', headers: { 'content-type': 'application/json' }, payload: '{' } as const

function tokenRequests (issuer: TestIssuer): Requests {
  const ask = (token: string): InjectOptions => ({ url: '/v1/me', headers: bearer(token) })
  return {
    'a good token': () => ask(issuer.token()),
    'no token': () => ({ url: '/v1/me' }),
    '`Bearer` and two words': () => ({ url: '/v1/me', headers: { authorization: 'Bearer one two' } }),
    'something that is no JWT': () => ask('opaque'),
    'an expired token': () => ask(issuer.expired()),
    'a token that expired 3 seconds ago': () => ask(issuer.token({ exp: inSeconds(-3) })),
    'a wrong signature': () => ask(issuer.forged()),
    'another audience': () => ask(issuer.token({ aud: 'https://another.example.com' })),
    'another issuer': () => ask(issuer.token({ iss: 'https://another.example.com' })),
    'an unknown key id': () => ask(issuer.token({}, { kid: 'another' })),
    'no `exp`': () => ask(issuer.token({ exp: undefined })),
    'no `aud`': () => ask(issuer.token({ aud: undefined })),
    'no `sub`': () => ask(issuer.token({ sub: undefined })),
    '`iat` in the future': () => ask(issuer.token({ iat: inSeconds(3600) })),
    '`nbf` in the future': () => ask(issuer.token({ nbf: inSeconds(3600) })),
    '`typ: at+jwt`': () => ask(issuer.token({}, { typ: 'at+jwt' })),
    '`roles` that is no list': () => ask(issuer.token({ roles: 'admin' })),
    'a token without `tenant_id`': () => ask(issuer.token({ tenant_id: undefined })),
    [withoutIssuer]: () => ask(issuer.token()),
    'no token and a body that is no JSON': () => badBody
  }
}

function sessionRequests (issuer: TestIssuer): Requests {
  const ask = (token: string): InjectOptions => ({ url: '/v1/me', headers: bearer(token) })
  const settings = (token: string): InjectOptions => ({ method: 'PUT', url: '/v1/settings', headers: bearer(token) })
  const session = (claims?: Record<string, unknown>): string => issuer.clerkSession(2, claims)
  return {
    'a session': () => ask(session()),
    'a session without an active organisation': () => ask(session({ o: undefined })),
    'an administrator, at `/v1/settings`': () => settings(session()),
    'a member, at `/v1/settings`': () => settings(session({ o: { id: 'org_1', rol: 'member' } })),
    'a session without an active organisation, at `/v1/settings`': () => settings(session({ o: undefined })),
    'no token': () => ({ url: '/v1/me' }),
    'something that is no JWT': () => ask('opaque'),
    'an expired session': () => ask(session({ exp: inSeconds(-60) })),
    'a wrong signature': () => ask(issuer.forged({ sid: 'sess_1' })),
    'a pending session': () => ask(session({ sts: 'pending' })),
    'another origin in `azp`': () => ask(session({ azp: 'https://another.example.com' })),
    'no `azp`': () => ask(session({ azp: undefined })),
    'another issuer': () => ask(session({ iss: 'https://another.example.com' })),
    'an unknown key id': () => ask(issuer.token({ sid: 'sess_1', azp: 'https://app.example.com' }, { kid: 'another' })),
    'no token and a body that is no JSON': () => badBody
  }
}

function keyRequests (): Requests {
  const own = (language: Language, headers: Record<string, string>): string => language === 'js' ? 'the-old-shared-key' : headers['authorization']?.slice(7) ?? ''
  return {
    'a good key': (language, headers) => ({ url: '/v1/report', headers: bearer(own(language, headers)) }),
    'no key': () => ({ url: '/v1/report' }),
    'another key': () => ({ url: '/v1/report', headers: bearer('another') }),
    '`bearer` in lower case': (language, headers) => ({ url: '/v1/report', headers: { authorization: `bearer ${own(language, headers)}` } }),
    'two spaces behind `Bearer`': (language, headers) => ({ url: '/v1/report', headers: { authorization: `Bearer  ${own(language, headers)}` } }),
    'the key in `X-API-Key`': (language, headers) => ({ url: '/v1/report', headers: { 'x-api-key': own(language, headers) } }),
    'no key and a body that is no JSON': () => ({ method: 'POST', url: '/v1/report', headers: { 'content-type': 'application/json' }, payload: '{' })
  }
}

async function startBoth (t: Test, file: string, issuer: TestIssuer) {
  return [{ language: 'js' as const, ...await start(t, file, 'js', issuer) }, { language: 'ts' as const, ...await start(t, file, 'ts', issuer) }]
}

/** The application of a guide's first block, its issuer on this machine; `headers` are those of a credential that the block made. */
async function start (t: Test, file: string, language: 'js' | 'ts', issuer: TestIssuer, change: (source: string) => string = (source) => source, lent: Record<string, unknown> = {}): Promise<{ app: FastifyInstance, headers: Record<string, string> }> {
  const [block = ''] = blocks(file, language)
  const names = Object.keys(lent)
  const source = change(block.replaceAll('https://acme.clerk.accounts.dev', issuer.issuer).replace(/^console\.log.*$/gm, ''))
    .replaceAll("'fastify-causeflow-auth'", `'${pathToFileURL(join(repository, 'lib/index.ts')).href}'`)
    .replaceAll("'fastify-causeflow-auth/testing'", `'${pathToFileURL(join(repository, 'lib/testing/index.ts')).href}'`)
  const name = `${createHash('sha256').update(file + language + source).digest('hex').slice(0, 12)}-${started++}.${language === 'js' ? 'mjs' : 'mts'}`
  const lending = `globalThis[Symbol.for('${name}')]`
  const directory = t.testdirName
  if (!existsSync(directory)) t.testdir({})
  if (!existsSync(join(directory, 'node_modules')) && existsSync(peers)) symlinkSync(peers, join(directory, 'node_modules'), 'junction')
  Object.assign(globalThis, { [Symbol.for(name)]: lent })
  writeFileSync(join(directory, name), `${names.length > 0 ? `const { ${names.join(', ')} } = ${lending}\n` : ''}${source}\nexport { app }\nexport const made = typeof headers === 'object' ? headers : {}\n`)
  const { app, made } = await import(pathToFileURL(join(directory, name)).href)
  t.teardown(() => app.close())
  return { app, headers: made }
}

let started = 0

function inSeconds (seconds: number): number {
  return Math.floor(Date.now() / 1000) + seconds
}

/** A status and, where the answer names one, its code: as a cell of the table has them. */
function cellOf (status: number, body: string): string {
  const code = status < 300 || !body.startsWith('{') ? undefined : JSON.parse(body).code
  return code === undefined ? String(status) : `${status} \`${code}\``
}

/** The rows of the guide's last table. */
function tableOf (file: string): string[][] {
  const [, section = ''] = readFileSync(join(docs, file), 'utf8').split('\n## What answers differently\n')
  return section.split('\n').filter((line) => line.startsWith('| ')).slice(1).map((line) => line.slice(2, -2).split(' | ').map((cell) => cell.trim()))
}

function blocks (file: string, language: string): string[] {
  return [...readFileSync(join(docs, file), 'utf8').matchAll(new RegExp(`^\`\`\`${language} *\n([\\s\\S]*?)^\`\`\`$`, 'gm'))].map(([, source = '']) => source)
}

function isInstalled (name: string): boolean {
  if (existsSync(join(peers, name, 'package.json'))) return true
  return createRequire(import.meta.url).resolve.paths(name)?.some((folder) => existsSync(join(folder, name, 'package.json'))) ?? false
}
