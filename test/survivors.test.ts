import { existsSync, readFileSync } from 'node:fs'
import t from 'tap'

interface Entry { file: string, text: string }
const { knownSurvivors } = await import(new URL('mutation/survivors.js', import.meta.url).href) as { knownSurvivors (): Entry[] }
const oneLine = (text: string): string => text.replace(/\s+/g, ' ').trim()

// Whether a change still survives only npm run test:mutation can tell; that there is nothing left to change is seen at once.
t.test('every survivor of the mutation tests is listed with a line that is there, and says what stood there and what in its place', async (t) => {
  const entries = knownSurvivors()
  t.ok(entries.length > 50)
  for (const { file, text } of entries) {
    const [line = '', before = '', after = '', ...rest] = text.split('\n')
    t.ok(existsSync(new URL(`../${file}`, import.meta.url)), file)
    const source = readFileSync(new URL(`../${file}`, import.meta.url), 'utf8')
    t.ok(source.split('\n').some((candidate) => `  ${oneLine(candidate)}` === line), `${file}: ${line}`)
    t.ok(before.startsWith('- ') && oneLine(source).includes(before.slice(2)), `${file}: ${before}`)
    t.ok(after.startsWith('+') && rest.length === 0, `${file}: ${after}`)
  }
})

t.test('every survivor stands below a reason', async (t) => {
  const page = readFileSync(new URL('mutation/survivors.md', import.meta.url), 'utf8')
  const reasons = [...page.matchAll(/^(.*)\n\n```diff$/gm)].map(([, reason = '']) => reason)
  t.ok(reasons.length > 20)
  t.strictSame(reasons.filter((reason) => !/^[A-Z`].{15,}\.$/.test(reason)), [])
})
