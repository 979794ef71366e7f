/** What a test file imports as `tap` in runner.js: it keeps the file's tests, for the runner to run one by one. */
let kept = []

/** The tests that were kept since the last call. */
export function takeTests () {
  const tests = kept
  kept = []
  return tests
}

export default {
  async test (name, ...rest) { kept.push({ name, body: rest.at(-1), options: rest.length > 1 ? rest[0] : {} }) },
  setTimeout () {}
}
