/** Servers in processes of their own, and what they say. */
import { fork, type ChildProcess } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { join } from 'node:path'
import type { Test } from 'tap'
import type { HardServerConfig, Orders } from './server.js'

export interface HardServer {
  readonly port: number
  readonly child: ChildProcess
  /** Rejects with the code of what it fails with. */
  order<O extends keyof Orders> (order: O, ...input: Orders[O]['input'] extends null ? [] : [Orders[O]['input']]): Promise<Orders[O]['answer']>
  /** What it has written on stdout and stderr: all, or the last 200 MB. */
  output (): string
  /** Its exit code, and the requests that it had begun. */
  ended: Promise<{ code: number | null, begun: string[] }>
}

export const webhookSecret = `whsec_${randomBytes(24).toString('base64')}`
export const sealingKey = randomBytes(32).toString('base64')

/** Starts one, which ends with the test. */
export async function startServer (t: Test, config: Omit<HardServerConfig, 'webhookSecret' | 'sealingKey'>): Promise<HardServer> {
  const complete: HardServerConfig = { webhookSecret, sealingKey, ...config }
  const child = fork(join(import.meta.dirname, 'server.ts'), [JSON.stringify(complete)], { execArgv: ['--import', 'tsx'], stdio: ['ignore', 'pipe', 'pipe', 'ipc'], env: { ...process.env, NODE_ENV: 'production' } })
  const written: string[] = []
  let length = 0
  for (const stream of [child.stdout, child.stderr]) {
    stream?.setEncoding('utf8').on('data', (text: string) => {
      written.push(text)
      length += text.length
      // No text of JavaScript is longer than half a gigabyte, and minutes of trace are.
      while (length > 200_000_000) length -= written.shift()?.length ?? length
    })
  }
  let begun: string[] = []
  const ended = new Promise<{ code: number | null, begun: string[] }>((resolve) => child.on('close', (code) => resolve({ code, begun })))
  t.teardown(async () => {
    child.kill('SIGKILL')
    const { code } = await ended
    // Ended by a signal it has no code. An unhandled rejection or an exception that nobody caught ends it with one.
    if (code !== null && code !== 0) throw new Error(`The server ended by itself with ${code}: ${written.join('').slice(-2000)}`)
  })
  const waiting = new Map<number, { resolve: (answer: never) => void, reject: (error: Error) => void }>()
  let listening: (port: number) => void
  const port = new Promise<number>((resolve) => { listening = resolve })
  child.on('message', (message: { port?: number, begun?: string[], id?: number, answer?: unknown, error?: string }) => {
    if (message.port !== undefined) return listening(message.port)
    if (message.begun !== undefined) { begun = message.begun; return }
    const one = waiting.get(message.id ?? -1)
    waiting.delete(message.id ?? -1)
    if (message.error !== undefined) one?.reject(new Error(message.error))
    else one?.resolve(message.answer as never)
  })
  let id = 0
  return {
    port: await Promise.race([port, ended.then(({ code }) => { throw new Error(`The server ended with ${code} before it listened: ${written.join('').slice(-2000)}`) })]),
    child,
    order: (order, ...input) => new Promise((resolve, reject) => {
      waiting.set(++id, { resolve, reject })
      child.send({ id, order, input: input[0] ?? null })
    }),
    output: () => written.join(''),
    ended
  }
}
