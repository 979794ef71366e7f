/**
 * `npm run bench [-- --rounds N] [--only text] [--no-peers] [--quick]`: measures the built package against bare Fastify, the least
 * hand-written code and the peers; with `--write` it writes docs/performance.md. The servers of a case are alive together, one is measured
 * at a time, in short turns there and back (A B B A), so that what a noisy machine does to one it does to the others: a virtual machine
 * changes its speed within a second, and a turn takes a twentieth of one. Ratios are medians of the rounds' own ratios.
 */
import { execFileSync, fork } from 'node:child_process'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { cpus } from 'node:os'
import { parseArgs } from 'node:util'
import { cases } from './cases.js'
import { drive } from './client.js'
import { installed, memory, startUp } from './footprint.js'
import { report } from './report.js'

const { values } = parseArgs({ options: { rounds: { type: 'string' }, only: { type: 'string' }, 'no-peers': { type: 'boolean', default: false }, quick: { type: 'boolean' }, write: { type: 'boolean', default: false } } })
const here = import.meta.dirname
const rounds = Number(values.rounds ?? (values.quick ? 15 : 101))

const peers = !(values['no-peers'] || values.quick)
if (peers && !existsSync(`${here}/node_modules`)) execFileSync('npm', ['ci', '--no-audit', '--no-fund'], { cwd: here, stdio: 'inherit' })

const results = []
for (const [name, settings] of Object.entries(cases)) {
  if (values.only !== undefined && !name.includes(values.only)) continue
  const missing = await unanswered(settings.needs ?? [])
  if (missing.length > 0) console.log(`${name}: skipped, nothing answers on port ${missing.join(' and ')}. Start one: docker compose -f docs/examples/compose.yaml up -d --wait`)
  else results.push(await measure(name, settings))
}
const outcome = { node: process.version, cpu: cpus()[0].model, cores: cpus().length, rounds, results }
if (values.only === undefined && !values.quick) {
  outcome.footprint = { startUp: startUp(), memory: await memory(), installed: installed() }
  console.log(outcome.footprint)
}
if (values.write) report(outcome, `${here}/../../docs`)
const recorded = values.quick && existsSync(`${here}/recorded.json`) ? JSON.parse(readFileSync(`${here}/recorded.json`, 'utf8')) : null
if (values.write) writeFileSync(`${here}/recorded.json`, JSON.stringify(Object.fromEntries(results.map(({ name, ours }) => [name, ours.ratio])), null, 2) + '\n')
if (recorded !== null) {
  // Only what no noise explains: absolute times, and ratios a little lower, say nothing on a busy machine.
  const slower = results.filter(({ name, ours }) => recorded[name] !== undefined && ours.ratio < recorded[name] * 0.7)
  for (const { name, ours } of slower) console.error(`${name}: ${ours.ratio.toFixed(2)}, and ${recorded[name].toFixed(2)} is recorded`)
  process.exitCode = slower.length > 0 ? 1 : 0
}

async function measure (name, { contenders, against, goal, title = name, requests: total = 1500, pause = 5 }) {
  const servers = []
  try {
    for (const contender of Object.keys(contenders)) {
      if (peers || contender === 'ours' || contender === against) servers.push(await start(name, contender))
    }
    // Until the compiler has seen every one of them often enough.
    for (const server of servers) await drive(server, total * 8)
    for (let round = 0; round < rounds; round++) {
      for (const server of round % 2 === 0 ? servers : servers.toReversed()) {
        await ask(server, 'start')
        const { seconds, latencies } = await drive(server, total)
        const { cpu } = await ask(server, 'stop')
        server.rounds.push({ rate: total / seconds, cpu: cpu / total, p50: latencies[Math.floor(total * 0.5)], p99: latencies[Math.floor(total * 0.99)] })
        await new Promise((resolve) => setTimeout(resolve, pause))
      }
    }
    for (const server of servers) {
      await ask(server, 'start allocation')
      await drive(server, total)
      server.bytes = (await ask(server, 'stop allocation')).bytes / total
    }
    const reference = servers.find(({ contender }) => contender === against)
    const rows = servers.map((server) => summarise(server, reference))
    const result = { name, title, against, goal, rows, ours: rows[0] }
    console.log(`${title}: ${result.ours.ratio.toFixed(3)} of ${against} (cpu ${result.ours.cpuRatio.toFixed(3)})${goal === null ? '' : `, aimed at ${goal}`}`)
    for (const row of rows) console.log(`  ${row.contender.padEnd(46)} ${row.rate.toFixed(0).padStart(7)}/s  ${row.cpu.toFixed(1).padStart(8)} µs cpu  p50 ${row.p50.toFixed(2)} p99 ${row.p99.toFixed(2)} ms  ${row.bytes.toFixed(0).padStart(7)} B  ${row.ratio.toFixed(3)} [${row.low.toFixed(2)}–${row.high.toFixed(2)}]`)
    return result
  } finally {
    for (const { child } of servers) child.disconnect()
  }
}

/** Those of the ports on this machine that nobody listens on. */
async function unanswered (ports) {
  const answers = await Promise.all(ports.map((port) => new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1', () => { socket.destroy(); resolve(true) })
    socket.on('error', () => resolve(false))
  })))
  return ports.filter((_, index) => !answers[index])
}

async function start (name, contender) {
  const child = fork(`${here}/server.js`, [name, contender], { execArgv: ['--expose-gc'], stdio: ['ignore', 'inherit', 'inherit', 'ipc'] })
  const message = await new Promise((resolve, reject) => { child.once('message', resolve).once('exit', (code) => reject(new Error(`${name}, ${contender}: the server ended with ${code}`))) })
  return { contender, child, rounds: [], ...message, requests: message.requests.map((request) => Buffer.from(request, 'base64')) }
}

async function ask ({ child }, question) {
  const answer = new Promise((resolve) => child.once('message', resolve))
  child.send(question)
  return await answer
}

function summarise (server, reference) {
  const of = (field) => server.rounds.map((round) => round[field])
  const ratios = server.rounds.map(({ rate }, round) => rate / reference.rounds[round].rate)
  const cpuRatios = server.rounds.map(({ cpu }, round) => reference.rounds[round].cpu / cpu)
  return {
    contender: server.contender,
    rate: median(of('rate')),
    cpu: median(of('cpu')),
    p50: median(of('p50')),
    p99: median(of('p99')),
    bytes: server.bytes,
    ratio: median(ratios),
    low: quantile(ratios, 0.25),
    high: quantile(ratios, 0.75),
    cpuRatio: median(cpuRatios)
  }
}

function median (numbers) {
  return quantile(numbers, 0.5)
}

function quantile (numbers, part) {
  const sorted = [...numbers].sort((a, b) => a - b)
  const place = (sorted.length - 1) * part
  const below = Math.floor(place)
  return sorted[below] + (sorted[Math.ceil(place)] - sorted[below]) * (place - below)
}
