#!/usr/bin/env node
/** The executable `causeflow-auth`. */
import { randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'
import type { Timers } from '../api-key/settings.js'
import { openPostgres } from './database.js'
import { exit } from './exit-code.js'
import { run } from './program.js'
import { openRedis } from './redis.js'

const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as { version: string }

// A reader that has seen enough (head, less) is no fault of ours, and there is nobody left to tell.
process.stdout.on('error', () => { process.exit(exit.fault) })

const timers = globalThis as unknown as Timers

process.exitCode = await run(process.argv.slice(2), version, {
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
