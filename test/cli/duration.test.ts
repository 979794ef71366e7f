import t from 'tap'
import { Failure } from '../../lib/cli/failure.js'
import { readDuration, writeDistance, writeDuration } from '../../lib/cli/duration.js'

t.test('a length of time is read in its unit, seconds where there is none', async (t) => {
  for (const [text, seconds] of [['0', 0], ['90', 90], ['90s', 90], ['15m', 900], ['24h', 86_400], ['30d', 2_592_000], ['2w', 1_209_600]] as const) t.equal(readDuration(text), seconds, text)
  for (const text of ['', 's', '1.5h', '-1s', '1 h', '1y', '1h30m', '1H', '9999999999']) t.throws(() => readDuration(text), new Failure(2, 'usage', 'A length of time is a number with s, m, h, d or w behind it: 90s, 15m, 24h, 30d, 2w.'), text)
})

t.test('a length of time is written in the unit that tells most', async (t) => {
  for (const [seconds, text] of [[0.25, '0.3 s'], [59, '59 s'], [119, '119 s'], [120, '2 min'], [7199, '120 min'], [7200, '2 h'], [172_799, '48 h'], [172_800, '2 d'], [-90, '90 s']] as const) t.equal(writeDuration(seconds), text)
  t.equal(writeDistance(100, 40_000), 'in 60 s')
  t.equal(writeDistance(40, 100_000), '60 s ago')
})
