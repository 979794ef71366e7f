/** Tables for people. */
import { printable } from './printable.js'

/** Columns under their heads, two spaces apart. An absent cell is a dash. */
export function renderTable (heads: readonly string[], rows: ReadonlyArray<ReadonlyArray<string | null>>): string {
  const cells = [heads.map((head) => head.toUpperCase()), ...rows.map((row) => row.map(cellOf))]
  const widths = heads.map((_, column) => Math.max(...cells.map((row) => widthOf(row[column] ?? ''))))
  return cells.map((row) => row.map((cell, column) => pad(cell, widths[column] ?? 0)).join('  ').trimEnd() + '\n').join('')
}

/** Names before their values, one a line. An absent value is a dash. */
export function renderPairs (pairs: ReadonlyArray<readonly [name: string, value: string | null]>, indent = ''): string {
  const width = Math.max(0, ...pairs.map(([name]) => widthOf(printable(name))))
  return pairs.map(([name, value]) => `${indent}${pad(printable(name), width)}  ${cellOf(value)}`.trimEnd() + '\n').join('')
}

function cellOf (value: string | null): string {
  return value === null || value === '' ? '-' : printable(value)
}

function pad (text: string, width: number): string {
  return text + ' '.repeat(Math.max(0, width - widthOf(text)))
}

/** Characters and not code units. Those that are two columns wide count as one: their rows end a little to the right. */
function widthOf (text: string): number {
  return [...text].length
}
