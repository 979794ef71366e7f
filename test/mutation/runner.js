/**
 * A test runner for Stryker that stays in one process. Stryker's own tap runner starts a process for each test file and
 * mutant: with tsx and tap that is a second each, and hours for a room. Here lib/ is loaded once, as JavaScript; a mutant is
 * a switch, and the tests that reach it run against tap's own `Test`. What is decided while a module is loaded (a pattern, a
 * table) is tested too: the modules are loaded anew while such a mutant is active.
 */
import crypto from 'node:crypto'
import { register, syncBuiltinESMExports } from 'node:module'
import { performance } from 'node:perf_hooks'
import { mock } from 'node:test'
import { pathToFileURL } from 'node:url'
import { declareClassPlugin, commonTokens, PluginKind, tokens } from '@stryker-mutator/api/plugin'
import { determineHitLimitReached, DryRunStatus, MutantRunStatus, TestStatus } from '@stryker-mutator/api/test-runner'
import { takeTests } from './tap.js'

// Nothing here waits for a clock or for another machine: who is idle for so long waits for what never comes.
const idleLimit = 4000

/** Stryker's switches, which the instrumented code reads. */
const stryker = globalThis.__stryker__ ??= {}
let loads = 0

class Runner {
  static inject = tokens(commonTokens.options)

  constructor (options) {
    this.settings = options.inOneProcess
  }

  capabilities () {
    return { reloadEnvironment: true }
  }

  async init () {
    // What a mutant leaves behind in nobody's test must not end the process.
    this.stray = []
    for (const event of ['uncaughtException', 'unhandledRejection']) process.on(event, (error) => this.stray.push(error))
    this.sandbox = pathToFileURL(process.cwd() + '/').href
    keepKeyPairs()
    register('./loader.js', import.meta.url, { data: { sandbox: this.sandbox, tap: new URL('./tap.js', import.meta.url).href } })
    // tap takes whoever listens for a tap of its own, and speaks to it in objects; Stryker speaks in strings.
    const { send } = process
    process.send = (message, ...rest) => typeof message !== 'string' || send.call(process, message, ...rest)
    process.env.TAP_TIMEOUT = '0'
    ;({ Test: this.Test } = await import(this.sandbox + 'node_modules/tap/dist/esm/index.js'))
  }

  async dryRun () {
    await this.#loadOnce()
    stryker.activeMutant = undefined
    const coverage = stryker.mutantCoverage ??= { static: {}, perTest: {} }
    const results = []
    for (const file of this.settings.tests) {
      const importing = stryker.currentTestId = `import of ${file}`
      const tests = await this.#testsOf(file)
      for (const test of tests) {
        stryker.currentTestId = test.id
        const started = performance.now()
        const failure = await this.#outcome(test)
        const timeSpentMs = performance.now() - started
        results.push({ id: test.id, name: test.id, fileName: file, timeSpentMs, ...failure === null ? { status: TestStatus.Success } : { status: TestStatus.Failed, failureMessage: failure } })
      }
      // What a file does before its tests, it does for each of them.
      stryker.currentTestId = undefined
      const first = coverage.perTest[importing] ?? {}
      delete coverage.perTest[importing]
      for (const { id } of tests) coverage.perTest[id] = { ...coverage.perTest[id], ...first }
    }
    stryker.mutantCoverage = undefined
    return { status: DryRunStatus.Complete, tests: results, mutantCoverage: coverage }
  }

  async mutantRun ({ activeMutant, testFilter, reloadEnvironment, hitLimit }) {
    if (!reloadEnvironment) await this.#loadOnce()
    stryker.activeMutant = activeMutant.id
    stryker.hitCount = hitLimit === undefined ? undefined : 0
    stryker.hitLimit = hitLimit
    try {
      let nrOfTests = 0
      for (const file of this.settings.tests) {
        if (testFilter !== undefined && !testFilter.some((id) => id.startsWith(file + ' '))) continue
        const tests = await hurried(() => this.#testsOf(file, reloadEnvironment))
        if (tests === idle) return { status: MutantRunStatus.Timeout, reason: `${file} never ends loading` }
        for (const test of tests) {
          if (testFilter !== undefined && !testFilter.includes(test.id)) continue
          nrOfTests++
          let failure = await hurried(() => this.#outcome(test))
          // On a machine with other work a process may look idle that only has no turn: not twice.
          if (failure === idle) failure = await hurried(() => this.#outcome(test))
          const endless = determineHitLimitReached(stryker.hitCount, stryker.hitLimit)
          if (endless !== undefined) return endless
          if (failure === idle) return { status: MutantRunStatus.Timeout, reason: `${test.id} never ends` }
          if (failure !== null) return { status: MutantRunStatus.Killed, killedBy: [test.id], failureMessage: failure, nrOfTests }
        }
      }
      return { status: MutantRunStatus.Survived, nrOfTests }
    } catch (error) {
      // A file that cannot be loaded is a file whose tests fail.
      return { status: MutantRunStatus.Killed, killedBy: testFilter?.slice(0, 1) ?? [], failureMessage: String(error), nrOfTests: 1 }
    } finally {
      stryker.activeMutant = undefined
    }
  }

  /** Loads what is changed outside of every test, so that Stryker knows what happens at that time. */
  async #loadOnce () {
    stryker.currentTestId = undefined
    for (const file of this.settings.mutate) await import(this.#javascript(file))
  }

  #javascript (file) {
    return this.sandbox + file.replace(/ts$/, 'js')
  }

  async #testsOf (file, anew = false) {
    takeTests()
    pairs.startAgain()
    await import(`${this.#javascript(file)}?${anew ? 'load' : 'file'}=${++loads}`)
    return takeTests()
      .map((test, index) => ({ ...test, id: `${file} ${index} ${test.name}` }))
      .filter(({ name }) => !this.settings.leftOut.some((word) => name.includes(word)))
  }

  /** What failed first in a test; null where nothing did. */
  async #outcome ({ name, options, body }) {
    this.stray = []
    // A test that never ended has not put them back, and whoever waits after it would wait for ever.
    mock.timers.reset()
    const root = new this.Test({ name: 'mutation' })
    root.on('data', () => {})
    const result = await root.test(name, options, body)
    root.end()
    if (result?.ok === false) return result.failures?.[0]?.fullname ?? name
    return this.stray.length > 0 ? String(this.stray[0]) : null
  }
}

/**
 * RSA keys take longer to make than all that is done with them. The first key of a file's tests may be the same one for
 * each mutant, and the second one, and so on.
 */
const pairs = { made: new Map(), given: new Map(), startAgain () { this.given.clear() } }

function keepKeyPairs () {
  const { generateKeyPairSync } = crypto
  crypto.generateKeyPairSync = (type, options) => {
    const kind = JSON.stringify([type, options], (_, value) => typeof value === 'bigint' ? `${value}` : value)
    const made = pairs.made.get(kind) ?? []
    const given = pairs.given.get(kind) ?? 0
    made[given] ??= generateKeyPairSync(type, options)
    pairs.made.set(kind, made)
    pairs.given.set(kind, given + 1)
    return made[given]
  }
  syncBuiltinESMExports()
}

const idle = Symbol('idle')

/** What comes of it, or `idle` where the process has nothing to do and it has not come. Only Stryker's own limit ends who is busy. */
async function hurried (work) {
  let timer
  const waiting = new Promise((resolve) => {
    let quiet = 0
    let before = performance.eventLoopUtilization()
    timer = setInterval(() => {
      const now = performance.eventLoopUtilization()
      quiet = performance.eventLoopUtilization(now, before).utilization < 0.02 ? quiet + 250 : 0
      before = now
      if (quiet >= idleLimit) resolve(idle)
    }, 250)
  })
  try {
    return await Promise.race([work(), waiting])
  } finally {
    clearInterval(timer)
  }
}

export const strykerPlugins = [declareClassPlugin(PluginKind.TestRunner, 'in-one-process', Runner)]
export const strykerValidationSchema = { properties: { inOneProcess: { type: 'object' } } }
