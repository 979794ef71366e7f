/** What the plugin weighs: its start, its memory after a million requests, and what is installed with it. */
import { execFileSync, fork } from 'node:child_process'
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { drive } from './client.js'

const here = import.meta.dirname
const repository = join(here, '..', '..')

/** Milliseconds from an empty process to an application that is ready: medians of turns, without the plugin and with it. */
export function startUp (turns = 15) {
  const bare = 'const { default: Fastify } = await import("fastify"); const app = Fastify();'
  const plugin = `const { default: plugin } = await import(${JSON.stringify(join(repository, 'dist/index.js'))}); await app.register(plugin, { jwt: { issuer: 'causeflow', secret: 'a secret of the benchmark alone, of 32 bytes and more' } });`
  const time = (program) => Number(execFileSync(process.execPath, ['--input-type=module', '-e', `const began = performance.now(); ${program} app.get('/', async () => 'in'); await app.ready(); console.log(performance.now() - began)`], { cwd: here, encoding: 'utf8' }))
  const [without, withPlugin] = [[], []]
  for (let turn = 0; turn < turns; turn++) {
    without.push(time(bare))
    withPlugin.push(time(bare + plugin))
  }
  const median = (numbers) => numbers.sort((a, b) => a - b)[numbers.length >> 1]
  return { without: median(without), withPlugin: median(withPlugin) }
}

/** Megabytes of heap after a collection, before and after a million requests with 1 000 tokens. */
export async function memory (requests = 1_000_000) {
  const child = fork(join(here, 'server.js'), ['JWT warm, 1 000 tokens', 'ours'], { execArgv: ['--expose-gc'], stdio: ['ignore', 'inherit', 'inherit', 'ipc'] })
  const next = () => new Promise((resolve) => child.once('message', resolve))
  const { requests: bytes, ...server } = await next()
  const target = { ...server, requests: bytes.map((request) => Buffer.from(request, 'base64')) }
  const heap = async () => { child.send('memory'); return (await next()).heap / 1e6 }
  await drive(target, 20_000)
  const before = await heap()
  await drive(target, requests)
  const after = await heap()
  child.disconnect()
  return { requests, before, after }
}

/** Packages and kilobytes that come with the package, its own included; fastify itself is the application's. */
export function installed () {
  const found = new Set()
  const visit = (name, from) => {
    let place = from
    while (!existsSync(join(place, 'node_modules', name))) place = join(place, '..')
    const directory = join(place, 'node_modules', name)
    if (found.has(directory)) return
    found.add(directory)
    const { dependencies = {} } = JSON.parse(readFileSync(join(directory, 'package.json'), 'utf8'))
    for (const dependency of Object.keys(dependencies)) visit(dependency, directory)
  }
  for (const name of Object.keys(JSON.parse(readFileSync(join(repository, 'package.json'), 'utf8')).dependencies)) visit(name, repository)
  const size = (directory) => readdirSync(directory, { recursive: true, withFileTypes: true })
    // What a package has below itself is counted under its own name.
    .filter((file) => file.isFile() && !file.parentPath.slice(directory.length).includes('node_modules'))
    .reduce((sum, file) => sum + statSync(join(file.parentPath, file.name)).size, 0)
  return { packages: found.size, kilobytes: Math.round([...found].reduce((sum, directory) => sum + size(directory), 0) / 1000), own: Math.round(size(join(repository, 'dist')) / 1000) }
}
