import neostandard, { plugins, resolveIgnoresFromGitignore } from 'neostandard'

/*
 * The walls of the house. Imports point inward: index → plugin → decide → the rooms of the credentials →
 * principal and errors. A wall stands for types as well: what a file knows of another it knows by import.
 */
const rooms = ['jwt', 'api-key', 'webhook']
const subpaths = ['postgres', 'redis', 'openapi', 'testing', 'cli']
const rim = ['index', 'plugin', 'options', 'rule', 'decide']

/** Files that stand directly in lib/, seen from a file of lib/ (`./x.js`) or from a room (`../x.js`). */
const files = (from, names, message) => ({ regex: `^${from}(${names.join('|')})\\.js$`, caseSensitive: true, message })
const folders = (names, message) => ({ regex: `^(\\./)?(\\.\\./)*(${names.join('|')})/`, caseSensitive: true, message })
const beside = '(\\./)+'
const above = '(\\./)?(\\.\\./)+'

const fastifyTypesOnly = ['fastify', 'fastify-plugin'].map((name) => (
  { name, allowTypeImports: true, message: 'Take Fastify as types only here: what hooks, decorates or registers is plugin.ts or a subpath entry.' }))

const noOwnName = { regex: '^fastify-causeflow-auth($|/)', message: 'Import the file itself: the package by its own name is dist/, a second copy.' }
const noFastifyJwt = { regex: '^@fastify/jwt($|/)', message: 'Only lib/fastify-jwt.ts meets @fastify/jwt: its types would give every user `request.user` and `app.jwt`.' }
const everywhere = [noOwnName, noFastifyJwt]
const outward = folders(subpaths, 'A subpath may import the house, the house imports no subpath.')

const noImports = (...restrictions) => ({
  '@typescript-eslint/no-restricted-imports': ['error', {
    paths: restrictions.filter((restriction) => 'name' in restriction),
    patterns: restrictions.filter((restriction) => 'regex' in restriction)
  }]
})

const walls = [
  { files: ['lib/**/*.ts'], rules: noImports(...everywhere) },
  { files: ['lib/*.ts'], rules: noImports(...everywhere, outward) },
  {
    files: ['lib/plugin.ts'],
    rules: noImports(...everywhere, outward, files(beside, ['index'], 'index.ts only re-exports; import what it re-exports.'))
  },
  {
    files: ['lib/fastify-jwt.ts'],
    rules: noImports(noOwnName, outward, files(beside, rim, 'The verifier is handed to the rim and knows nothing of it.'))
  },
  {
    files: ['lib/options.ts', 'lib/rule.ts', 'lib/decide.ts', 'lib/schemas.ts'],
    rules: noImports(...everywhere, outward, ...fastifyTypesOnly, files(beside, ['index', 'plugin'], 'Imports point inward: plugin.ts stands around this file.'))
  },
  {
    files: ['lib/errors.ts', 'lib/principal.ts'],
    rules: noImports(...everywhere, outward, ...fastifyTypesOnly,
      folders(rooms, 'The innermost files import no room.'),
      files(beside, [...rim, 'schemas', 'fastify-jwt'], 'The innermost files import only one another.'))
  },
  ...rooms.map((room) => ({
    files: [`lib/${room}/**/*.ts`],
    rules: noImports(...everywhere, outward, ...fastifyTypesOnly,
      folders(rooms.filter((other) => other !== room), 'The rooms of the credentials never import one another: hand in what is needed.'),
      files(above, [...rim, 'fastify-jwt'], 'A room never imports the rim: hand in what is needed.'))
  }))
]

export default [
  ...neostandard({ ts: true, noJsx: true, ignores: resolveIgnoresFromGitignore() }),
  {
    files: ['lib/**/*.ts'],
    plugins: { '@typescript-eslint': plugins['typescript-eslint'].plugin },
    languageOptions: { parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname } },
    rules: {
      '@typescript-eslint/no-floating-promises': 'error',
      '@typescript-eslint/no-misused-promises': 'error',
      '@typescript-eslint/await-thenable': 'error',
      '@typescript-eslint/consistent-type-imports': ['error', { fixStyle: 'inline-type-imports' }],
      '@typescript-eslint/switch-exhaustiveness-check': ['error', { considerDefaultExhaustiveForUnions: true }],
      '@typescript-eslint/no-explicit-any': 'error',
      '@typescript-eslint/no-empty-object-type': 'error'
    }
  },
  ...walls,
  {
    // import() and import('…').Type would pass the walls unseen.
    files: ['lib/*.ts', ...rooms.map((room) => `lib/${room}/**/*.ts`)],
    rules: {
      'no-restricted-syntax': ['error', ...['ImportExpression', 'TSImportType'].map((selector) => (
        { selector, message: 'Import at the top of the file: the walls of the house are held there.' }))]
    }
  }
]
