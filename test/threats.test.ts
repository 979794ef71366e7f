// docs/threats.md is compared with the tests, both ways: a number that a test names is in the list, and a test that the list names exists.
import t from 'tap'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'

const repository = dirname(import.meta.dirname)
const list = readFileSync(join(repository, 'docs/threats.md'), 'utf8')
const testFiles = readdirSync(join(repository, 'test'), { recursive: true, encoding: 'utf8' })
  .filter((file) => file.endsWith('.test.ts') && !file.includes('node_modules')).map((file) => join('test', file))

interface Threat { number: number, text: string }

/** The entries of the list: a number at the start of a line, up to the next one or the next heading. */
function threatsOf (page: string): Threat[] {
  return page.split(/^(?=\d+\. |#+ )/m).flatMap((part) => {
    const number = /^(\d+)\. /.exec(part)?.[1]
    return number === undefined ? [] : [{ number: Number(number), text: part }]
  })
}

/** Every quoted test: `test/file.test.ts` and words of its title. */
function quotedTests (page: string): Array<{ file: string, words: string }> {
  return [...page.matchAll(/`(test\/[^`]+)` “([^”]+)”/g)].map(([, file = '', words = '']) => ({ file, words }))
}

/** The lines of a test file that hold titles, as they are read: a title in single quotes escapes its apostrophes. */
function titlesOf (file: string): string[] {
  if (!existsSync(join(repository, file))) return []
  return readFileSync(join(repository, file), 'utf8').split('\n').filter((line) => line.includes('t.test(')).map((line) => line.replaceAll("\\'", "'"))
}

const threats = threatsOf(list)

t.test('the list is numbered from 1 to 42 without a gap', async (t) => {
  t.strictSame(threats.map(({ number }) => number), Array.from({ length: 42 }, (_, index) => index + 1))
})

t.test('each entry names a test, or says what is not protected', async (t) => {
  const bare = threats.filter(({ text }) => quotedTests(text).length === 0 && !text.includes('**Not protected:**'))
  t.strictSame(bare.map(({ number }) => number), [])
})

t.test('each test that the list and the security page quote exists under these words', async (t) => {
  const quoted = [...quotedTests(list), ...quotedTests(readFileSync(join(repository, 'docs/security.md'), 'utf8'))]
  t.ok(quoted.length > 100)
  t.strictSame(quoted.filter(({ file, words }) => !titlesOf(file).some((title) => title.includes(words))), [])
})

t.test('no file of a test is named without words of a title', async (t) => {
  const withoutTitle = threats.filter(({ text }) => (text.match(/`test\//g) ?? []).length !== quotedTests(text).length)
  t.strictSame(withoutTitle.map(({ number }) => number), [])
})

t.test('each number that a test names is in the list, and that entry quotes a test of the same file', async (t) => {
  const numbers = new Map(threats.map((threat) => [threat.number, threat]))
  const named = testFiles.flatMap((file) => titlesOf(file).flatMap((title) => [...title.matchAll(/\bthreat (\d+)/g)].map(([, number]) => ({ file, number: Number(number) }))))
  t.ok(named.length > 40)
  t.strictSame(named.filter(({ number }) => !numbers.has(number)), [])
  const unlisted = named.filter(({ file, number }) => !quotedTests(numbers.get(number)?.text ?? '').some((quoted) => quoted.file === file))
  t.strictSame([...new Set(unlisted.map(({ file, number }) => `${number}: ${file}`))], [])
})
