/** Node.js, Fastify and the keys that seal: what can be looked at without asking anybody. */
import { readFile } from 'node:fs/promises'
import { createSealer } from '../../api-key/seal.js'
import { failureOf } from '../failure.js'
import { finding, type Finding } from './finding.js'

const lowestNode = [20, 19, 0] as const

export function checkNode (version: string): Finding {
  const parts = version.replace(/^v/, '').split('.').map(Number)
  const difference = lowestNode.map((low, index) => (parts[index] ?? 0) - low).find((one) => one !== 0) ?? 0
  return difference < 0
    ? finding('node', 'wrong', `Node.js ${version} runs here`, `Use ${lowestNode.join('.')} or newer`)
    : finding('node', 'well', `Node.js ${version}`)
}

/** The Fastify that this package finds beside it. */
export async function checkFastify (): Promise<Finding> {
  try {
    const { version } = JSON.parse(await readFile(new URL(import.meta.resolve('fastify/package.json')), 'utf8')) as { version: string }
    return version.startsWith('5.')
      ? finding('fastify', 'well', `Fastify ${version}`)
      : finding('fastify', 'wrong', `Fastify ${version} is installed, and the plugin is for 5`, 'npm install fastify@5')
  } catch {
    return finding('fastify', 'wrong', 'Fastify is not installed here', 'npm install fastify@5')
  }
}

/** `readKeys` throws a Failure where what is configured is no key. */
export function checkSealingKeys (readKeys: () => readonly string[], randomBytes: (size: number) => Uint8Array): Finding {
  let keys: readonly string[]
  try {
    keys = readKeys()
  } catch (error) {
    const { message, mend } = failureOf(error)
    return finding('sealing keys', 'wrong', message, mend)
  }
  if (keys.length === 0) return finding('sealing keys', 'not-asked', 'CAUSEFLOW_SEALING_KEYS is not set: keys made here get no webhook secret')
  const sealer = createSealer(keys, false, randomBytes)
  const binding = { tenantId: 'a tenant', keyId: 'a key' }
  if (sealer?.open(sealer.seal('a secret', binding), binding) !== 'a secret') return finding('sealing keys', 'wrong', 'What CAUSEFLOW_SEALING_KEYS seals does not open')
  return finding('sealing keys', 'well', keys.length === 1 ? 'one, which seals and opens' : `${keys.length}: the first seals, all open`)
}
