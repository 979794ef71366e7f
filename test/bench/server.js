/** One contender in a process of its own: `node server.js <case> <contender>`. It tells its parent when it listens, and its CPU time and allocation when asked. */
import { Session } from 'node:inspector'
import { cases } from './cases.js'

const [, , caseName, contender] = process.argv
const started = performance.now()
const { app, requests, status = 200, end } = await cases[caseName].contenders[contender]()
await app.listen({ port: 0, host: '127.0.0.1' })
const ready = performance.now() - started

let cpu
const session = new Session()
session.connect()
const post = (method, parameters) => new Promise((resolve, reject) => session.post(method, parameters, (error, result) => error ? reject(error) : resolve(result)))

const answers = {
  start: async () => { cpu = process.cpuUsage() },
  stop: async () => { const { user, system } = process.cpuUsage(cpu); return { cpu: user + system } },
  // Sampled over everything that was allocated, whether collected since or not.
  'start allocation': () => post('HeapProfiler.startSampling', { samplingInterval: 4096, includeObjectsCollectedByMajorGC: true, includeObjectsCollectedByMinorGC: true }),
  'stop allocation': async () => {
    const { profile } = await post('HeapProfiler.stopSampling')
    const sum = (node) => node.selfSize + node.children.reduce((total, child) => total + sum(child), 0)
    return { bytes: sum(profile.head) }
  },
  memory: async () => { globalThis.gc?.(); return { heap: process.memoryUsage().heapUsed } }
}

process.on('message', async (question) => { process.send({ ...await answers[question]() }) })
process.on('disconnect', async () => {
  // What a server has made in a database goes with it.
  await Promise.race([app.close().then(() => end?.()), new Promise((resolve) => setTimeout(resolve, 2000))])
  process.exit(0)
})
process.send({ port: app.server.address().port, status, ready, requests: requests.map((request) => request.toString('base64')) })
