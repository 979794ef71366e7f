#!/usr/bin/env node
/** The executable `causeflow-auth`. */
import { randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'
import type { Timers } from '../api-key/settings.js'
import { openPostgres } from './database.js'
import { exit } from './exit-code.js'
import { report, run } from './program.js'
import { openRedis } from './redis.js'

const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as { version: string }

// A reader that has seen enough (head, less) is no fault of ours, and there is nobody left to tell.
process.stdout.on('error', () => { process.exit(exit.fault) })

const timers = globalThis as unknown as Timers
const args = process.argv.slice(2)
const json = args.includes('--json')

// An uncaught error of a driver would end the process with 1, the exit code of a rejected credential.
process.on('uncaughtException', (error) => {
  report(error, process, json)
  process.exit(exit.fault)
})

// With --json a failure is all that is on stderr: drivers warn of options there.
if (json) process.removeAllListeners('warning')

// The limits on calls keep no process alive, and a driver that has given up on its connection does not
// either.
const alive = setInterval(() => {}, 60_000)

const code = await run(args, version, {
  stdin: process.stdin,
  stdout: process.stdout,
  stderr: process.stderr,
  env: process.env,
  clock: Date.now,
  fetch,
  randomBytes,
  timers,
  openStore: (request) => openPostgres(request, process.env),
  openRedis: () => openRedis(process.env, timers)
})

clearInterval(alive)
await Promise.all([process.stdout, process.stderr].map((stream) => new Promise<void>((resolve) => { stream.write('', () => { resolve() }) })))
// A connection that a silent server does not close would keep the process.
process.exit(code)
