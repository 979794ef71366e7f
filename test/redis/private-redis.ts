import { execFileSync, spawn, type ChildProcess } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Redis } from 'ioredis'
import type { Test } from 'tap'
import { freePort } from '../fixtures/free-port.js'

/** Whether the program is on this machine. */
export function hasRedisServer (): boolean {
  try {
    execFileSync('redis-server', ['--version'], { stdio: 'ignore' })
    return true
  } catch {
    return false
  }
}

/** A server of this test alone, which may be hurt. It writes down what it is told before it answers. */
export async function privateRedis (t: Test): Promise<PrivateRedis> {
  const data = mkdtempSync(join(tmpdir(), 'causeflow-redis-'))
  const redis = new PrivateRedis(data, await freePort())
  t.teardown(async () => {
    await redis.kill()
    rmSync(data, { recursive: true, force: true })
  })
  await redis.start()
  return redis
}

export class PrivateRedis {
  readonly port: number
  readonly #data: string
  #server: ChildProcess | null = null
  #ended: Promise<unknown> = Promise.resolve()

  constructor (data: string, port: number) {
    this.port = port
    this.#data = data
  }

  get url (): string {
    return `redis://127.0.0.1:${this.port}`
  }

  /** Resolves when it answers. */
  async start (): Promise<void> {
    const server = spawn('redis-server', ['--port', `${this.port}`, '--bind', '127.0.0.1', '--dir', this.#data, '--save', '', '--appendonly', 'yes', '--repl-diskless-sync-delay', '0'], { stdio: 'ignore' })
    this.#server = server
    this.#ended = new Promise((resolve) => server.on('exit', resolve))
    await this.command('PING')
  }

  /** Ends as an operator ends it. */
  async quit (): Promise<void> {
    this.#server?.kill('SIGTERM')
    await this.#ended
  }

  async kill (): Promise<void> {
    this.#server?.kill('SIGKILL')
    await this.#ended
  }

  async command (name: string, ...args: string[]): Promise<unknown> {
    const client = new Redis(this.url, { retryStrategy: () => 20, maxRetriesPerRequest: null })
    client.on('error', () => {})
    try {
      return await client.call(name, ...args)
    } finally {
      client.disconnect()
    }
  }
}
