/**
 * What is changed, a part at a time, and the tests that are about it: those that stand at the same path. `runs` is FC_RUNS for the
 * tests that draw at random, and a test whose name has one of the words of `leftOut` is not run.
 */
import { readdirSync } from 'node:fs'

const repository = `${import.meta.dirname}/../..`

export const parts = {
  decide: { mutate: ['lib/decide.ts'], tests: ['test/decide.test.ts', 'test/decide.property.test.ts'], runs: 600 },
  rule: { mutate: ['lib/rule.ts'], tests: ['test/rule.test.ts', 'test/compiled-rule.test.ts'] },
  'compiled-rule': { mutate: ['lib/compiled-rule.ts', 'lib/selection.ts', 'lib/url-params.ts'], tests: ['test/compiled-rule.test.ts', 'test/url-params.test.ts', 'test/decide.test.ts', 'test/decide.property.test.ts'], runs: 600 },
  // oracle.test.ts compares with another implementation: thousands of signatures for each mutant.
  jwt: { mutate: below('lib/jwt', '.ts'), tests: below('test/jwt', '.test.ts', 'oracle') },
  // flood.test.ts measures memory, and this process is not for that.
  'api-key': { mutate: below('lib/api-key', '.ts'), tests: below('test/api-key', '.test.ts', 'flood') },
  // Programs of other languages take seconds to start.
  webhook: { mutate: below('lib/webhook', '.ts'), tests: below('test/webhook', '.test.ts', 'documentation'), runs: 50, leftOut: ['openssl', 'python3'] }
}

function below (folder, ending, without = null) {
  return readdirSync(`${repository}/${folder}`, { recursive: true }).filter((name) => name.endsWith(ending) && name !== `${without}${ending}`).map((name) => `${folder}/${name}`).sort()
}
