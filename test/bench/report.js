/** docs/performance.md and its plot, from what a run has measured. */
import { readFileSync, writeFileSync } from 'node:fs'

const begin = '<!-- measured: begin -->'
const end = '<!-- measured: end -->'

export function report (outcome, docs) {
  const page = readFileSync(`${docs}/performance.md`, 'utf8')
  const [before, , after] = [page.slice(0, page.indexOf(begin)), null, page.slice(page.indexOf(end) + end.length)]
  writeFileSync(`${docs}/performance.md`, `${before}${begin}\n${tables(outcome)}\n\n![Throughput against the reference of each case](performance.svg)\n${end}${after}`)
  writeFileSync(`${docs}/performance.svg`, plot(outcome))
}

function tables ({ node, cpu, cores, rounds, results, footprint }) {
  const goals = results.map(({ title, ours, against, goal }) => `| ${title} | ${against} | ${ours.ratio.toFixed(2)} (${ours.low.toFixed(2)} – ${ours.high.toFixed(2)}) | ${ours.cpuRatio.toFixed(2)} | ${goal ?? ''} |`)
  const details = results.map(({ title, rows, against }) => [
    `### ${title}`, '',
    `| server | requests/s | CPU a request, µs | p50, ms | p99, ms | allocated a request, kB | against ${against} |`, '|---|---|---|---|---|---|---|',
    ...rows.map((row) => `| ${row.contender} | ${Math.round(row.rate)} | ${row.cpu.toFixed(1)} | ${row.p50.toFixed(2)} | ${row.p99.toFixed(2)} | ${(row.bytes / 1000).toFixed(1)} | ${row.ratio.toFixed(2)} (${row.low.toFixed(2)} – ${row.high.toFixed(2)}) |`), ''
  ].join('\n'))
  return [
    `Node ${node}, ${cores} cores of ${cpu}, ${rounds} rounds; in parentheses the quartiles.`, '',
    '| case | against | throughput | CPU | aim |', '|---|---|---|---|---|', ...goals, '', ...weight(footprint), ...details
  ].join('\n')
}

function weight (footprint) {
  if (footprint === undefined) return []
  const { startUp, memory, installed } = footprint
  return [
    `Start, from an empty process to an application that is ready: ${startUp.without.toFixed(0)} ms without the plugin, ${startUp.withPlugin.toFixed(0)} ms with it.`,
    `Heap after a collection: ${memory.before.toFixed(1)} MB before and ${memory.after.toFixed(1)} MB after ${memory.requests.toLocaleString('en').replaceAll(',', ' ')} requests with 1 000 tokens.`,
    `Installed with the package: ${installed.packages} packages, ${installed.kilobytes} kB, and its own ${installed.own} kB.`, ''
  ]
}

/** Throughput of every case against its reference, as bars with their spread. */
function plot ({ results }) {
  const [width, row, left, unit] = [900, 22, 260, 460]
  const x = (ratio) => left + Math.min(ratio, 1.3) * unit
  const text = (value) => value.replaceAll('&', '&amp;').replaceAll('<', '&lt;')
  const bars = results.map(({ title, ours, against }, index) => {
    const y = 40 + index * row
    return [
      `<text x="${left - 8}" y="${y + 11}" text-anchor="end">${text(title.slice(0, 46))}</text>`,
      `<rect x="${left}" y="${y}" width="${x(ours.ratio) - left}" height="14" fill="#4a7ebb"/>`,
      `<line x1="${x(ours.low)}" x2="${x(ours.high)}" y1="${y + 7}" y2="${y + 7}" stroke="#222"/>`,
      `<text x="${x(Math.max(ours.ratio, ours.high)) + 6}" y="${y + 11}">${ours.ratio.toFixed(2)} of ${text(against)}</text>`
    ].join('')
  })
  const height = 60 + results.length * row
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" font-family="sans-serif" font-size="11"><rect width="100%" height="100%" fill="#fff"/><text x="${left}" y="22" font-size="14">Throughput against the reference of each case (1 is equal)</text><line x1="${x(1)}" x2="${x(1)}" y1="32" y2="${height - 16}" stroke="#999" stroke-dasharray="3 3"/>${bars.join('')}</svg>\n`
}
