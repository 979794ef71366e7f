import t from 'tap'
import { printable, printableJson } from '../../lib/cli/printable.js'
import { renderPairs, renderTable } from '../../lib/cli/table.js'

t.test('columns are as wide as their widest cell, and an absent one is a dash', async (t) => {
  t.equal(renderTable(['id', 'long head', 'x'], [['1', null, 'ü'], ['three', '', 'é𝕏']]), 'ID     LONG HEAD  X\n1      -          ü\nthree  -          é𝕏\n')
})

t.test('names stand before their values', async (t) => {
  t.equal(renderPairs([['a', '1'], ['long', null]], '  '), '  a     1\n  long  -\n')
  t.equal(renderPairs([]), '')
})

t.test('what is not to be seen is written as an escape that JSON reads back', async (t) => {
  const text = 'a\u0000\u001b[31m\u007f\u009b\u00ad\u200b\u202e\u2028\u{e0001}\n"b"'
  t.equal(printable(text), 'a\\u0000\\u001b[31m\\u007f\\u009b\\u00ad\\u200b\\u202e\\u2028\\udb40\\udc01\\u000a"b"')
  const json = printableJson({ [text]: [text] }, 2)
  t.strictSame(JSON.parse(json), { [text]: [text] })
  t.notMatch(json, /(?!\n)[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u)
  t.equal(printable('naïve 日本 👍'), 'naïve 日本 👍')
})
