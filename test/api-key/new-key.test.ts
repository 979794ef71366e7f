import t from 'tap'
import { readTime } from '../../lib/api-key/new-key.js'

t.test('a time is a Date, or ISO 8601 with its zone, and comes out in UTC', async (t) => {
  const times: Array<[string | Date, string]> = [
    ['2126-01-02T03:04Z', '2126-01-02T03:04:00.000Z'],
    ['2126-01-02T03:04:05Z', '2126-01-02T03:04:05.000Z'],
    ['2126-01-02T03:04:05.6Z', '2126-01-02T03:04:05.600Z'],
    ['2126-01-02T03:04:05.678901234Z', '2126-01-02T03:04:05.678Z'],
    ['2126-01-02T03:04:05+02:30', '2126-01-02T00:34:05.000Z'],
    ['2126-01-02T03:04-05:00', '2126-01-02T08:04:00.000Z'],
    [new Date(Date.UTC(2126, 0, 2)), '2126-01-02T00:00:00.000Z']
  ]
  for (const [given, read] of times) t.equal(readTime('expiresAt', given), read)
})

t.test('what is no time, or means another one on each machine, is refused by the name of its field', async (t) => {
  // What has only a text in it is no text: JSON from a stranger may hold either.
  const text = '2126-01-02T03:04:05Z'
  // Date.parse reads no further than a NUL.
  const times: unknown[] = [`${text}\0 or so`, '', 'soon', '2126', '2126-01-02', '2126-01-02T03:04:05', '+002126-01-02T03:04:05Z', `${text} `, '2126-13-02T03:04:05Z', 4_922_000_000_000, [text], { toString: () => text }, new Date(NaN)]
  for (const time of times) t.throws(() => readTime('expiresAt', time as string), { name: 'TypeError', message: /^expiresAt must be a Date, or a time in ISO 8601/ }, JSON.stringify(time))
})
