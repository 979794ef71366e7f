/** `--once`: sends every request and runs every printed command, and compares each answer with what was expected. */
import { execFile } from 'node:child_process'
import { once as onceEmitted } from 'node:events'
import { request as httpRequest, type IncomingMessage } from 'node:http'
import { commandsOf, type Command } from './commands.js'
import { requestsOf, type DemoRequest } from './requests.js'
import type { World } from './world.js'

type Row = readonly [method: string, url: string, credential: string, expected: string, got: string]

/** The exit status: 0 where every answer is the one expected, 1 where one is not. */
export async function once (world: World, print: (line: string) => void, requests: readonly DemoRequest[] = requestsOf(world)): Promise<0 | 1> {
  const rows: Row[] = []
  for (const request of requests) rows.push([request.method, request.path, request.credential, request.expected, await send(world.origin, request)])
  for (const command of commandsOf(world)) {
    const [, method = '', url = ''] = describe(command)
    rows.push([method, url, `in a shell: ${command.title.toLowerCase().replace(/[,:(].*/, '').trim()}`, String(command.status), await run(command)])
  }
  const wrong = rows.filter(([, , , expected, got]) => expected !== got)
  for (const line of table(rows)) print(line)
  print('')
  print(wrong.length === 0 ? `${rows.length} requests, all answered as expected` : `${rows.length} requests, ${wrong.length} answered otherwise than expected`)
  return wrong.length === 0 ? 0 : 1
}

/** The status and, where the answer names one, the word of the error. */
async function send (origin: string, request: DemoRequest): Promise<string> {
  try {
    return await exchange(origin, request)
  } catch (error) {
    return `no answer: ${String(error)}`
  }
}

async function exchange (origin: string, { method, path, headers, body }: DemoRequest): Promise<string> {
  // A list of names and values, for a header may be sent twice. Node adds none of its own then.
  const own = ['Host', new URL(origin).host, 'Connection', 'close', ...(body === undefined ? [] : ['Content-Type', 'application/json', 'Content-Length', String(Buffer.byteLength(body))])]
  const request = httpRequest(`${origin}${path}`, { method, agent: false, headers: [...own, ...headers] })
  request.end(body)
  const [response] = await onceEmitted(request, 'response') as [IncomingMessage]
  response.setEncoding('utf8')
  let text = ''
  for await (const chunk of response) text += String(chunk)
  const { error } = text === '' ? { error: undefined } : JSON.parse(text) as { error?: string }
  return error === undefined ? String(response.statusCode) : `${response.statusCode} ${error}`
}

/** The status of a command that prints the head of its answer. */
async function run ({ script }: Command): Promise<string> {
  return await new Promise((resolve) => {
    execFile('sh', ['-c', script], { timeout: 5000 }, (error, stdout, stderr) => {
      const status = /^HTTP\/[\d.]+ (\d{3})/m.exec(stdout)?.[1]
      resolve(status ?? `no answer: ${stderr.trim().split('\n').at(-1) ?? String(error)}`)
    })
  })
}

function describe ({ script }: Command): [command: string, method: string, url: string] {
  const url = /curl -i (\S+)/.exec(script)?.[1] ?? ''
  return ['curl', script.includes('--data') ? 'POST' : 'GET', URL.canParse(url) ? new URL(url).pathname : url]
}

function table (rows: readonly Row[]): string[] {
  const all: Array<readonly string[]> = [['method', 'URL', 'credential', 'expected', 'got'], ...rows.map((row) => row[3] === row[4] ? row : [...row, '←'])]
  const widths = [0, 1, 2, 3, 4].map((column) => Math.max(...all.map((row) => row[column]?.length ?? 0)))
  return all.map((row) => row.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join('  ').trimEnd())
}
