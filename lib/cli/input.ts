/** What a command reads: bodies byte for byte, credentials as one line of text. */
import { isUtf8 } from 'node:buffer'
import { readFile } from 'node:fs/promises'
import { usageFailure } from './failure.js'
import { askHidden } from './hidden-prompt.js'
import type { World } from './world.js'

/** The most that is read from stdin. Fastify's own limit on a body is 1 MB. */
const maxBytes = 64 * 1024 * 1024

/** The bytes of a file; `-` or null is stdin. Nothing is taken off their end. */
export async function readBytes (file: string | null, world: Pick<World, 'stdin'>): Promise<Buffer> {
  if (file === null || file === '-') return await readAll(world.stdin)
  try {
    return await readFile(file)
  } catch (error) {
    throw usageFailure(`The file ${file} cannot be read: ${(error as NodeJS.ErrnoException).code ?? 'unknown'}`)
  }
}

/** A secret out of a file, `-` for stdin, without the line feed that editors and echo put behind it. */
export async function readSecretFile (file: string, world: Pick<World, 'stdin'>): Promise<string> {
  const bytes = await readBytes(file, world)
  if (!isUtf8(bytes)) throw usageFailure('A secret is read as UTF-8 text, and this one is none')
  return bytes.toString('utf8').replace(/\r?\n$/, '')
}

/** A key or token: at a hidden prompt where stdin is a terminal, otherwise all of stdin. White space around it is taken off. */
export async function readCredential (what: string, world: Pick<World, 'stdin' | 'stderr'>): Promise<string> {
  const text = world.stdin.isTTY === true ? await askHidden(what, world) : (await readAll(world.stdin)).toString('utf8')
  const credential = text.trim()
  if (credential === '') throw usageFailure(`Nothing came on stdin. Give it ${what === 'API key' ? 'an' : 'a'} ${what}: printf %s "$VALUE" | causeflow-auth …`)
  return credential
}

async function readAll (stream: AsyncIterable<Buffer | string>): Promise<Buffer> {
  const chunks: Buffer[] = []
  let size = 0
  for await (const chunk of stream) {
    const bytes = typeof chunk === 'string' ? Buffer.from(chunk) : chunk
    size += bytes.length
    if (size > maxBytes) throw usageFailure(`stdin has more than ${maxBytes} bytes`)
    chunks.push(bytes)
  }
  return Buffer.concat(chunks)
}
