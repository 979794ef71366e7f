import t from 'tap'
import { ESLint } from 'eslint'

// Files are judged by their imaginary path: no types are needed, so no project is opened.
const eslint = new ESLint({
  cwd: import.meta.dirname + '/..',
  overrideConfig: [{ languageOptions: { parserOptions: { projectService: false } } }],
  ruleFilter: ({ ruleId }) => ruleId === '@typescript-eslint/no-restricted-imports' || ruleId === 'no-restricted-syntax'
})

/** How many lines of a file are refused. */
async function refusals (filePath: string, ...lines: string[]): Promise<number> {
  const [result] = await eslint.lintText(lines.join('\n') + '\n', { filePath })
  if (result === undefined || result.fatalErrorCount > 0) throw new Error(`${filePath} cannot be read`)
  return new Set(result.messages.map(({ line }) => line)).size
}

const value = (from: string) => `import { x } from '${from}'`
const type = (from: string) => `import type { X } from '${from}'`
const reexport = (from: string) => `export { x } from '${from}'`
const everyForm = (from: string) => [value(from), type(from), reexport(from), `export * from '${from}'`, `import '${from}'`]

const rooms = ['jwt', 'api-key', 'webhook']

for (const room of rooms) {
  t.test(`lib/${room} imports no other room, not even a type, at any depth`, async (t) => {
    for (const other of rooms.filter((name) => name !== room)) {
      t.equal(await refusals(`lib/${room}/new.ts`, ...everyForm(`../${other}/verify.js`), ...everyForm(`./../${other}/verify.js`)), 10)
      t.equal(await refusals(`lib/${room}/deeper/new.ts`, ...everyForm(`../../${other}/verify.js`)), 5)
    }
  })

  t.test(`lib/${room} imports neither the rim nor a subpath`, async (t) => {
    for (const file of ['plugin', 'index', 'options', 'rule', 'decide', 'fastify-jwt']) {
      t.equal(await refusals(`lib/${room}/new.ts`, ...everyForm(`../${file}.js`)), 5, file)
      t.equal(await refusals(`lib/${room}/deeper/new.ts`, ...everyForm(`../../${file}.js`)), 5, file)
    }
    for (const folder of ['postgres', 'redis', 'openapi', 'testing', 'cli']) {
      t.equal(await refusals(`lib/${room}/new.ts`, ...everyForm(`../${folder}/index.js`)), 5, folder)
    }
  })

  t.test(`lib/${room} takes Fastify as types only`, async (t) => {
    t.equal(await refusals(`lib/${room}/new.ts`, value('fastify'), "import Fastify from 'fastify'", "import fp from 'fastify-plugin'"), 3)
    t.equal(await refusals(`lib/${room}/new.ts`, type('fastify'), "import { type FastifyRequest } from 'fastify'"), 0)
  })

  t.test(`lib/${room} may import itself, the innermost files and packages`, async (t) => {
    t.equal(await refusals(`lib/${room}/new.ts`, ...['./verify.js', './rule.js', '../errors.js', '../principal.js', 'node:crypto', 'lru-cache', '@sinclair/typebox'].map(value)), 0)
    t.equal(await refusals(`lib/${room}/deeper/new.ts`, ...['../verify.js', './options.js', '../../errors.js'].map(value)), 0)
  })
}

t.test('errors.ts and principal.ts import only one another and packages', async (t) => {
  for (const file of ['lib/errors.ts', 'lib/principal.ts']) {
    for (const from of ['./jwt/verify.js', './api-key/record.js', './webhook/verify.js', './plugin.js', './index.js', './options.js', './rule.js', './decide.js', './schemas.js', './postgres/index.js']) {
      t.equal(await refusals(file, ...everyForm(from)), 5, `${file} ← ${from}`)
    }
    t.equal(await refusals(file, value('fastify')), 1)
    t.equal(await refusals(file, value('./errors.js'), type('./principal.js'), value('@fastify/error'), type('fastify')), 0)
  }
})

t.test('rules and their decision import the rooms, but no plugin and no value of Fastify', async (t) => {
  for (const file of ['lib/rule.ts', 'lib/decide.ts', 'lib/options.ts']) {
    for (const from of ['./plugin.js', './index.js', './testing/index.js']) t.equal(await refusals(file, ...everyForm(from)), 5, `${file} ← ${from}`)
    t.equal(await refusals(file, value('fastify'), value('fastify-plugin')), 2)
    t.equal(await refusals(file, type('fastify'), ...['./jwt/verify.js', './webhook/signature.js', './errors.js', './principal.js'].map(value)), 0)
  }
})

t.test('the plugin imports everything but the public face and the subpaths', async (t) => {
  t.equal(await refusals('lib/plugin.ts', ...everyForm('./index.js'), ...everyForm('./redis/index.js')), 10)
  t.equal(await refusals('lib/plugin.ts', ...['fastify', 'fastify-plugin', './decide.js', './fastify-jwt.js', './jwt/verify.js', './api-key/verify.js', './webhook/verify.js'].map(value)), 0)
})

t.test('only fastify-jwt.ts meets @fastify/jwt, and it knows nothing of the rim', async (t) => {
  for (const file of ['lib/plugin.ts', 'lib/index.ts', 'lib/options.ts', 'lib/errors.ts', 'lib/jwt/verify.ts', 'lib/testing/index.ts', 'lib/openapi/index.ts']) {
    t.equal(await refusals(file, ...everyForm('@fastify/jwt')), 5, file)
  }
  t.equal(await refusals('lib/fastify-jwt.ts', "import fastifyJwt from '@fastify/jwt'", value('./jwt/verify.js')), 0)
  t.equal(await refusals('lib/fastify-jwt.ts', value('./plugin.js'), value('./options.js')), 2)
})

t.test('a subpath may import the rooms', async (t) => {
  for (const subpath of ['postgres', 'redis', 'openapi', 'testing', 'cli']) {
    t.equal(await refusals(`lib/${subpath}/index.ts`, value('../api-key/store.js'), value('../webhook/replay.js'), value('../errors.js'), value('../jwt/claims.js')), 0)
    t.equal(await refusals(`lib/${subpath}/index.ts`, value('fastify-causeflow-auth')), 1)
  }
})

t.test('no import slips past the walls as an expression or inside a type', async (t) => {
  for (const file of ['lib/decide.ts', 'lib/jwt/verify.ts', 'lib/webhook/schemes/github.ts']) {
    t.equal(await refusals(file, "const late = await import('../plugin.js')", "type Late = import('../plugin.js').X"), 2, file)
  }
})
