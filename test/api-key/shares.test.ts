import t from 'tap'
import { createShares } from '../../lib/api-key/shares.js'

t.test('an owner takes half of the budget if it is alone, and others find what is left', async (t) => {
  const { take, giveBack } = createShares(8)
  const takeAll = (owner: string): number => {
    let taken = 0
    while (take(owner)) taken++
    return taken
  }
  t.strictSame(['a', 'b', 'c', 'd', 'e'].map(takeAll), [4, 2, 1, 1, 0])
  for (let index = 0; index < 4; index++) giveBack('a')
  t.strictSame(['e', 'a'].map(takeAll), [2, 1], 'what was given back can be taken again')
})

t.test('a budget is used up by as many owners as it has places', async (t) => {
  const { take } = createShares(100)
  t.equal(Array.from({ length: 100 }, (_, index) => take(`${index}`)).every(Boolean), true)
  t.equal(take('one more'), false)
})

t.test('what belongs to no owner may take the whole budget', async (t) => {
  const { take, giveBack } = createShares(3)
  t.strictSame([take(null), take(null), take(null), take(null), take('a')], [true, true, true, false, false])
  giveBack(null)
  t.strictSame([take('a'), take(null)], [true, false])
})
