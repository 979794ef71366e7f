/** How much is run, from which seed, and how figures are printed. `HARD=long` is minutes of each; CI runs seconds of each from a fixed seed. */
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import type { Test } from 'tap'

export const long = process.env['HARD'] === 'long'

/** In the long mode another one each time, printed with the figures; `HARD_SEED` repeats a run. */
export const seed = Number(process.env['HARD_SEED'] ?? (long ? Date.now() % 2_147_483_647 : 20_300_101))

export function scaled (ci: number, whenLong: number): number {
  return long ? whenLong : ci
}

setFlagsFromString('--expose-gc')
const gc = runInNewContext('gc') as () => void

/** Bytes in use once everything that can be collected is: several passes, because a finalizer lets go of more. */
export async function settledHeap (): Promise<number> {
  for (let pass = 0; pass < 4; pass++) {
    gc()
    await new Promise((resolve) => setImmediate(resolve))
  }
  return process.memoryUsage().heapUsed
}

/** Prints figures as a table of the documentation's form. */
export function table (t: Pick<Test, 'comment'>, title: string, head: readonly string[], rows: ReadonlyArray<readonly unknown[]>): void {
  const line = (cells: readonly unknown[]): string => `| ${cells.map((cell) => typeof cell === 'number' && !Number.isInteger(cell) ? cell.toFixed(1) : `${cell}`).join(' | ')} |`
  t.comment([title, line(head), `|${head.map(() => '---').join('|')}|`, ...rows.map(line)].join('\n'))
}

/** How often each thing was seen. */
export class Counts<K> {
  readonly #seen = new Map<K, number>()

  add (key: K, times = 1): void {
    this.#seen.set(key, (this.#seen.get(key) ?? 0) + times)
  }

  get (key: K): number {
    return this.#seen.get(key) ?? 0
  }

  entries (): Array<[K, number]> {
    return [...this.#seen].sort(([one], [other]) => one < other ? -1 : 1)
  }

  total (): number {
    return [...this.#seen.values()].reduce((sum, times) => sum + times, 0)
  }

  toString (): string {
    return this.entries().map(([key, times]) => `${key}×${times}`).join(' ')
  }
}

export function quantile (values: readonly number[], q: number): number {
  const sorted = [...values].sort((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))] ?? NaN
}
