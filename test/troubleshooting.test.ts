// docs/troubleshooting.md has a row for every code and reason that a log line can carry, and for no other: both ways.
import t from 'tap'
import { readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import ts from 'typescript'
import { configErrors, errorCatalogue, reasons } from '../lib/errors.js'

// The whole of lib/ is compiled once, which takes its time on a busy machine.
t.setTimeout(120_000)

const repository = dirname(import.meta.dirname)
const page = readFileSync(join(repository, 'docs/troubleshooting.md'), 'utf8')

/** Rows of code, reason, cause and mend; a cell may name several codes or reasons. */
const rows = page.split('\n').filter((line) => line.startsWith('| `AUTH_')).map((line) => line.slice(1, -1).split(/(?<!\\)\|/).map((cell) => cell.trim()))
const listed = rows.filter(([, reason = '']) => reason.startsWith('`')).flatMap(([codes = '', why = '']) => quoted(codes).flatMap((code) => quoted(why).map((reason) => `${code} ${reason}`)))

t.test('the page has each code with each reason that the source gives it, and no others', async (t) => {
  const given = pairsOfSource()
  t.ok(given.length > reasons.length, 'the source was read')
  t.strictSame([...listed].sort(), given)
  t.equal(new Set(listed).size, listed.length, 'each once')
})

t.test('every code of the catalogue and every reason has its row', async (t) => {
  const [codes, whys] = [0, 1].map((part) => new Set(listed.map((pair) => pair.split(' ')[part])))
  t.strictSame([...codes as Set<string>].sort(), errorCatalogue().map(({ code }) => code as string).sort())
  t.strictSame([...whys as Set<string>].sort(), [...reasons].sort())
})

t.test('what stops the start has its row, too', async (t) => {
  const faults = rows.flatMap(([code = '']) => quoted(code)).filter((code) => code.startsWith('AUTH_CONFIG_'))
  t.strictSame(faults.sort(), Object.values(configErrors).map((Fault) => new Fault('').code).sort())
})

t.test('every row says what it comes from and how it is mended', async (t) => {
  t.strictSame(rows.filter((cells) => cells.at(-2) === '' || cells.at(-1) === '' || cells.length < 3).map(([code]) => code), [])
})

function quoted (cell: string): string[] {
  return [...cell.matchAll(/`([\w-]+)`/g)].map(([, text = '']) => text)
}

/** Every code with every reason that lib/ gives it: the literal arguments of `new AuthError`, through the functions that pass them on. */
function pairsOfSource (): string[] {
  const { config } = ts.readConfigFile(join(repository, 'lib/tsconfig.json'), ts.sys.readFile)
  const { fileNames, options } = ts.parseJsonConfigFileContent(config, ts.sys, join(repository, 'lib'))
  const program = ts.createProgram(fileNames, options)
  const checker = program.getTypeChecker()
  const found = new Set<string>()

  for (const file of program.getSourceFiles()) {
    if (file.isDeclarationFile || !file.fileName.startsWith(join(repository, 'lib'))) continue
    for (const creation of nodes(file, ts.isNewExpression)) {
      if (creation.expression.getText() !== 'AuthError') continue
      const [code, reason] = creation.arguments as unknown as [ts.Expression, ts.Expression]
      // A copy of another error says nothing of its own.
      if (ts.isPropertyAccessExpression(code) && ts.isPropertyAccessExpression(reason)) continue
      for (const [codeGiven, reasonGiven] of passed(file, creation, [code, reason])) {
        for (const one of texts(codeGiven)) for (const other of texts(reasonGiven)) found.add(`${one} ${other}`)
      }
    }
  }
  return [...found].sort()

  /** The two arguments as the callers give them, where the function around takes them as parameters. */
  function passed (file: ts.SourceFile, creation: ts.Node, given: [ts.Expression, ts.Expression]): Array<[ts.Expression, ts.Expression]> {
    const around = ts.findAncestor(creation, ts.isFunctionDeclaration)
    const index = given.map((one) => around?.parameters.findIndex(({ name }) => name.getText() === one.getText()) ?? -1)
    if (around?.name === undefined || index.every((position) => position < 0)) return [given]
    const name = around.name.text
    return nodes(file, ts.isCallExpression).filter(({ expression }) => expression.getText() === name)
      .map((call) => given.map((one, argument) => call.arguments[index[argument] as number] ?? one) as [ts.Expression, ts.Expression])
  }

  /** The texts that an expression can be. */
  function texts (expression: ts.Expression): string[] {
    const type = ts.isStringLiteral(expression) ? checker.getTypeAtLocation(expression) : checker.getBaseConstraintOfType(checker.getTypeAtLocation(expression)) ?? checker.getTypeAtLocation(expression)
    const members = type.isUnion() ? type.types : [type]
    if (!members.every((member) => member.isStringLiteral())) throw new Error(`${expression.getSourceFile().fileName}: ${expression.getText()} can be any text`)
    return members.map((member) => (member as ts.StringLiteralType).value)
  }
}

function nodes<N extends ts.Node> (root: ts.Node, is: (node: ts.Node) => node is N): N[] {
  const found: N[] = []
  const walk = (node: ts.Node): void => {
    if (is(node)) found.push(node)
    ts.forEachChild(node, walk)
  }
  walk(root)
  return found
}
