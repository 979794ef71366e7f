/** The clock that an application hands in. */
import { configError } from './errors.js'

/** March 1973 and November 5138, in milliseconds. Seconds lie below them, microseconds above. */
const [earliest, latest] = [1e11, 1e14]

/**
 * Reads a clock once, and throws AUTH_CONFIG_OPTION where it gives no milliseconds since the epoch. The clock that it
 * returns gives NaN where the other one fails later: no comparison with NaN holds, so every check of a time then rejects.
 */
export function checkedClock (clock: () => number): () => number {
  const first = read(clock)
  if (Number.isNaN(timeOf(first))) {
    throw configError('option', `clock must return milliseconds since the epoch as a number, got ${describe(first)}`)
  }
  return () => timeOf(read(clock))
}

function timeOf (reading: unknown): number {
  return typeof reading === 'number' && reading >= earliest && reading < latest ? reading : NaN
}

/** Whatever the clock returns; what it throws, too. */
function read (clock: () => unknown): unknown {
  try {
    const reading = clock()
    // Nobody else awaits it, and a rejection that nobody handles ends the process.
    if (reading instanceof Promise) reading.catch(() => {})
    return reading
  } catch (error) {
    return error
  }
}

function describe (reading: unknown): string {
  if (typeof reading === 'number') {
    if (reading >= 0 && reading < earliest) return `${reading}: is that in seconds?`
    return reading >= latest && reading < Infinity ? `${reading}: is that in microseconds?` : String(reading)
  }
  if (reading instanceof Promise) return 'a promise: a clock is synchronous'
  if (reading instanceof Error) return 'an error'
  return typeof reading === 'object' && reading !== null ? 'an object' : reading === undefined || reading === null ? String(reading) : `a ${typeof reading}`
}
