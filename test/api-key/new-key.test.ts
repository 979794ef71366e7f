import t from 'tap'
import { createHash } from 'node:crypto'
import { readActor, readNewKey, readTime } from '../../lib/api-key/new-key.js'

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

t.test('a time outside the years 1 to 9999 in UTC is rejected: no database holds it', async (t) => {
  t.equal(readTime('expiresAt', '9999-12-31T23:59:59.999Z'), '9999-12-31T23:59:59.999Z')
  t.equal(readTime('expiresAt', '0001-01-01T00:00:00Z'), '0001-01-01T00:00:00.000Z')
  const times = ['9999-12-31T23:59:59-12:00', '0001-01-01T00:00:00+12:00', '0000-06-01T00:00:00Z', new Date(Date.UTC(10_000, 0)), new Date(-1e15), new Date(8.64e15)]
  for (const time of times) t.throws(() => readTime('expiresAt', time), { name: 'TypeError', message: 'expiresAt must be a time in the years 1 to 9999, in UTC' }, String(time))
})

t.test('who acted is stored as it is, or as its beginning and its digest where it is too long or cannot be stored', async (t) => {
  for (const actor of ['usr_1', '', 'DOMAIN\\user', 'é 🔑', 'x'.repeat(256), 'a…sha256:no']) t.equal(readActor('revokedBy', actor), actor)
  for (const none of [null, undefined]) t.equal(readActor('revokedBy', none), null)
  const digest = (text: string): string => `…sha256:${createHash('sha256').update(text).digest('hex')}`
  const long = 'x'.repeat(8192)
  t.equal(readActor('revokedBy', long), 'x'.repeat(160) + digest(long))
  t.equal(readActor('revokedBy', 'a\0b\nc'), 'a\ufffdb\ufffdc' + digest('a\0b\nc'))
  const half = `${'x'.repeat(159)}🔑${'x'.repeat(100)}`
  t.equal(readActor('revokedBy', half), `${'x'.repeat(159)}\ufffd${digest(half)}`)
  const forged = readActor('revokedBy', long) as string
  t.not(readActor('revokedBy', forged), forged, 'a subject that is written like a shortened one is shortened, too')
  for (const value of [7, {}, ['usr_1'], true]) t.throws(() => readActor('revokedBy', value as never), { name: 'TypeError', message: 'revokedBy must be a string or null' })
})

t.test('a new key is bounded in each of its parts, and a message never repeats what was given', async (t) => {
  const read = (change: object) => () => readNewKey({ tenantId: 'ten_A', name: 'n', ...change }, ['live'], 0)
  const ring: Record<string, unknown> = {}
  ring['ring'] = ring
  // eslint-disable-next-line no-sparse-arrays -- `every` passes over the hole
  const holes = [, 'a'] as string[]
  const bad: Array<[object, RegExp]> = [
    [{ name: 'x'.repeat(101) }, /^name must/], [{ name: '🔑'.repeat(101) }, /^name must/], [{ name: 'a\ud800' }, /^name must/], [{ name: 'a\0' }, /^name must/], [{ name: '\u0085' }, /^name must/],
    [{ scopes: Array.from({ length: 101 }, (_, index) => `s${index}`) }, /^scopes must/], [{ scopes: ['x'.repeat(129)] }, /^scopes must/], [{ scopes: holes }, /^scopes must/],
    [{ scopes: { length: 0 } }, /^scopes must/], [{ scopes: new Array(1e9) }, /^scopes must/],
    [{ tenantId: 'x'.repeat(257) }, /^tenantId must/], [{ tenantId: 'a\0' }, /^tenantId must/], [{ tenantId: '\ud800' }, /^tenantId must/], [{ tenantId: 'a\nb' }, /^tenantId must/],
    [{ expiresAt: '9999-12-31T23:59:59-12:00' }, /^expiresAt must/], [{ expiresAt: new Date(8.64e15) }, /^expiresAt must/],
    [{ metadata: { text: 'x'.repeat(4096) } }, /^metadata must/], [{ metadata: { text: 'é'.repeat(2048) } }, /^metadata must/], [{ metadata: ring }, /^metadata must/], [{ metadata: { big: 1n } }, /^metadata must/],
    [{ metadata: { toJSON: () => undefined } }, /^metadata must/], [{ metadata: { toJSON: () => 'text' } }, /^metadata must/],
    [{ metadata: { 'a\0': 1 } }, /^metadata must/], [{ metadata: { deep: [{ text: 'a\ud800' }] } }, /^metadata must/], [{ metadata: { text: '\\\0' } }, /^metadata must/]
  ]
  for (const [change, message] of bad) t.throws(read(change), { name: 'TypeError', message }, Object.keys(change).join())
  for (const [change] of bad) {
    try {
      read(change)()
    } catch (error) {
      t.ok((error as Error).message.length < 200)
    }
  }
  t.throws(() => readNewKey({ tenantId: 'ten_A', name: 'n', expiresAt: '2030-01-01T00:00:00Z' }, ['live'], NaN), { name: 'TypeError', message: /^expiresAt/ }, 'a clock that returns no number')
  t.match(read({
    name: '🔑'.repeat(100), scopes: Array.from({ length: 100 }, (_, index) => `${index}`.padEnd(128, 'x')), tenantId: 'x'.repeat(256), metadata: { text: 'x'.repeat(4085) }
  })(), { name: '🔑'.repeat(100) })
  t.strictSame(read({ metadata: { plain: '\\u0000 \\ud800', 'line\n': '🔑' } })().metadata, { plain: '\\u0000 \\ud800', 'line\n': '🔑' }, 'an escape that is only text')
})
