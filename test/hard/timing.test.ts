/**
 * Does the time of a refusal tell where the first wrong byte of a signature, or of a key's digest, is? One that is wrong at its first byte and one
 * that is wrong only later are measured side by side, in the order that chance decides, and the mean of their difference is held against its
 * error, as dudect holds two means: |t| above 4.5 is a difference. Between neighbours the machine has no time to change its pace. The
 * quarter of the pairs that lie farthest apart, where it did something else, is left out.
 *
 * What such a test cannot see it cannot find, so the same measurement is made with a comparison that leaks, put under the very code of lib/,
 * and has to find it.
 */
import t, { type Test } from 'tap'
import crypto, { createHmac, randomBytes } from 'node:crypto'
import { syncBuiltinESMExports } from 'node:module'
import { createLookup } from '../../lib/api-key/lookup.js'
import { causeflow } from '../../lib/index.js'
import { createSignatureVerifier } from '../../lib/webhook/verify.js'
import { newRecord } from '../api-key/record-fixture.js'
import { MemoryApiKeyStore, type ApiKeyStore } from '../../lib/index.js'
import { long, scaled, table } from './scale.js'

t.setTimeout(scaled(170_000, 3_600_000))
const samples = scaled(10_000, 400_000)
/** Of operations in one half of a pair: one alone is near to what the clock can tell. */
const batch = 4
const threshold = 4.5
const rows: unknown[][] = []

interface Comparison { t: number, difference: number, detectable: number, kept: number }

/** Measures two ways of being wrong against one another. */
function compare (prepare: (late: boolean) => () => void, pairs = samples): Comparison {
  const differences: number[] = []
  const chunk = 200
  for (let from = 0; from < pairs; from += chunk) {
    // All of a chunk beforehand: what is made right before the clock starts leaves the processor in a state of its own.
    const coins = randomBytes(chunk)
    const works = Array.from(coins, (coin) => [(coin & 1) === 1, (coin & 1) === 0].map((late) => Array.from({ length: batch }, () => prepare(late))))
    for (const [index, [first, second]] of works.entries()) {
      const difference = (time(second!) - time(first!)) * ((coins[index]! & 1) === 1 ? -1 : 1)
      // The first tenth compiles.
      if (from > pairs / 10) differences.push(difference)
    }
  }
  const kept = differences.sort((a, b) => Math.abs(a) - Math.abs(b)).slice(0, Math.floor(differences.length * 0.75))
  const mean = kept.reduce((sum, difference) => sum + difference, 0) / kept.length
  const variance = kept.reduce((sum, difference) => sum + (difference - mean) ** 2, 0) / (kept.length - 1)
  const error = Math.sqrt(variance / kept.length)
  return { t: mean / error, difference: mean, detectable: threshold * error, kept: kept.length }
}

function time (works: Array<() => void>): number {
  const began = process.hrtime.bigint()
  for (const work of works) work()
  return Number(process.hrtime.bigint() - began) / works.length
}

function note (name: string, { t: value, difference, detectable, kept }: Comparison): void {
  rows.push([name, kept, value.toFixed(2), difference.toFixed(1), detectable.toFixed(1)])
}

/** A difference is one that is there each time it is looked for, in one direction: of a thousand runs on a busy machine some begin with one. */
function isEqual (t: Test, name: string, measure: () => Comparison): unknown {
  const signs: number[] = []
  for (let tries = 0; tries < 3; tries++) {
    const one = measure()
    note(tries === 0 ? name : `${name}, again`, one)
    if (Math.abs(one.t) < threshold) return t.pass(`${name}: t = ${one.t.toFixed(2)}`)
    signs.push(Math.sign(one.t))
  }
  t.equal(new Set(signs).size, 2, `${name}: a difference, three times over`)
}

/** On a machine that has much else to do it takes more samples. */
function isFound (t: Test, name: string, measure: (count: number) => Comparison): void {
  let one = measure(samples)
  for (let tries = 1; tries < 4 && one.t < threshold; tries++) one = measure(samples * 2 ** tries)
  note(name, one)
  t.ok(one.t > threshold, `${name}: t = ${one.t.toFixed(2)}`)
}

const body = Buffer.from('{"n":1}')
const secret = 'whsec_of_the_tests'
const right = createHmac('sha256', secret).update(body).digest()

/**
 * A wrong digest: one that agrees with the right one up to a byte, or with another that nobody has up to the same byte, so that it is wrong at its
 * first. Both classes begin alike all the time and are made by the same work: a fresh random beginning is told from a constant one by
 * caches of the machine, whatever it is compared with.
 */
function wrongDigests (digest: Buffer): (late: boolean, place: number) => Buffer {
  const foreign = randomBytes(digest.length)
  foreign[0] = digest[0]! ^ 0x55
  return (late, place) => {
    const like = late ? digest : foreign
    const other = randomBytes(digest.length)
    for (let index = 0; index < place; index++) other[index] = like[index]!
    if (other[place] === digest[place]) other[place]! ^= 1
    return other
  }
}

const verifier = createSignatureVerifier({ name: 'default', scheme: causeflow(), secret, replay: null }, { clock: Date.now })

function signatureWrongAt (place: number): (late: boolean) => () => void {
  const wrong = wrongDigests(right)
  return (late) => {
    const header = `sha256=${wrong(late, place).toString('hex')}`
    const opened = verifier.open({ 'x-webhook-signature': header }, null, null) as { verify (body: Buffer): unknown }
    return () => {
      try {
        opened.verify(body)
      } catch {
        return
      }
      throw new Error('It was accepted')
    }
  }
}

/** Ends at the first byte that differs, as a comparison written by hand does. */
function leaks (one: Uint8Array, other: Uint8Array): boolean {
  for (let index = 0; index < one.length; index++) if (one[index] !== other[index]) return false
  return true
}

t.test('signatures: the place of the first wrong byte takes no time', async (t) => {
  for (const place of [1, 16, 31]) isEqual(t, `signature, first wrong byte 0 against ${place}`, () => compare(signatureWrongAt(place)))
})

t.test('and a comparison that leaks it, under the same code, is found', async (t) => {
  const real = crypto.timingSafeEqual
  Object.assign(crypto, { timingSafeEqual: leaks })
  syncBuiltinESMExports()
  t.teardown(() => {
    Object.assign(crypto, { timingSafeEqual: real })
    syncBuiltinESMExports()
  })
  isFound(t, 'leaking comparison, first wrong byte 0 against 31', (count) => compare(signatureWrongAt(31), count))
})

t.test('API keys: how much of its digest a wrong key has in common with a good one takes no time', async (t) => {
  const { key, record } = newRecord()
  const memory = new MemoryApiKeyStore()
  memory.create(record, Infinity)
  for (let index = 0; index < 200; index++) memory.create(newRecord({ tenantId: `ten_${index}` }).record, Infinity)
  const digest = Buffer.from(record.digest, 'hex')
  const digestWrongAt = (store: ApiKeyStore) => {
    const lookup = createLookup({ store, cache: { max: 100, ttl: 30 }, environments: ['live'], timeLimit: 2 }, { clock: Date.now, timers: globalThis as never })
    t.teardown(() => lookup.close())
    if (typeof lookup.find(record.digest) !== 'object') throw new Error('The key is not found')
    const wrong = wrongDigests(digest)
    return (place: number) => (late: boolean) => {
      const text = wrong(late, place).toString('hex')
      return () => { if (lookup.find(text) !== 'unknown') throw new Error('It was found') }
    }
  }
  t.ok(key.startsWith('cflo_'))
  // Fewer places than a signature's: of the last bytes there are not enough wrong values for as many distinct digests.
  for (const place of [1, 16, 28]) isEqual(t, `digest, first wrong byte 0 against ${place}`, () => compare(digestWrongAt(memory)(place)))
  // Stores that look through their keys one by one, character by character, exist.
  const scanning = Object.assign(Object.create(memory) as ApiKeyStore, {
    findByDigest (wanted: string) {
      const held = record.digest
      let index = 0
      while (index < held.length && held[index] === wanted[index]) index++
      return index === held.length ? memory.findByDigest(wanted) : null
    }
  })
  isFound(t, 'a store that leaks, first wrong byte 0 against 28', (count) => compare(digestWrongAt(scanning)(28), count))
})

t.teardown(() => table(t, `Time of a refusal by the place of the first wrong byte, ${long ? 'long' : 'CI'} mode: a difference is |t| > ${threshold}; what is detectable is the difference that would give it`,
  ['compared', 'pairs', 't', 'difference, ns', 'detectable, ns'], rows))
