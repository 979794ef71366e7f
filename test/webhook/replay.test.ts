import t from 'tap'
import { replayKey } from '../../lib/webhook/replay.js'

t.test('a key tells its parts apart, wherever their borders are, and null from the word', async (t) => {
  const keys = [['a', 'b'], ['ab'], ['a,b'], ['a","b'], ['', 'ab'], ['ab', ''], ['a', null, 'b'], ['a', 'null', 'b'], ['a', '', 'b'], ['b', 'a']].map((parts) => replayKey(...parts))
  t.equal(new Set(keys).size, keys.length)
  t.equal(replayKey('a', 'b'), replayKey('a', 'b'))
  for (const key of keys) t.match(key, /^[A-Za-z0-9_-]{43}$/)
})
