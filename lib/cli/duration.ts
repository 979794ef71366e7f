/** Lengths of time as people write and read them. */
import { usageFailure } from './failure.js'

const units: Readonly<Record<string, number>> = { s: 1, m: 60, h: 3600, d: 86_400, w: 604_800 }

/** Seconds: `90`, `90s`, `15m`, `24h`, `30d`, `2w`. */
export function readDuration (text: string): number {
  const [, count, unit = 's'] = /^(\d{1,9})([smhdw])?$/.exec(text) ?? []
  if (count === undefined) throw usageFailure('A length of time is a number with s, m, h, d or w behind it: 90s, 15m, 24h, 30d, 2w.')
  return Number(count) * (units[unit] ?? 1)
}

/** Seconds in the largest unit that shows two digits or the whole: `45 s`, `15 min`, `36 h`, `30 d`. */
export function writeDuration (seconds: number): string {
  const length = Math.abs(seconds)
  if (length < 120) return `${round(length)} s`
  if (length < 7200) return `${Math.round(length / 60)} min`
  if (length < 172_800) return `${Math.round(length / 3600)} h`
  return `${Math.round(length / 86_400)} d`
}

/** Where a time (seconds since the epoch) lies from now (milliseconds): `in 5 min`, `3 h ago`. */
export function writeDistance (time: number, now: number): string {
  const seconds = time - now / 1000
  return seconds > 0 ? `in ${writeDuration(seconds)}` : `${writeDuration(seconds)} ago`
}

function round (seconds: number): string {
  return String(Math.round(seconds * 10) / 10)
}
