import { createInterface } from 'node:readline'
import { Writable } from 'node:stream'
import { exit } from './exit-code.js'
import { Failure, usageFailure } from './failure.js'
import type { World } from './world.js'

/**
 * One line from the terminal, with nothing of it shown. The question goes to stderr, so that stdout stays the answer's.
 * Only for a stdin that is a terminal. Rejects when the line is empty, ended or interrupted.
 */
export async function askHidden (question: string, { stdin, stderr }: Pick<World, 'stdin' | 'stderr'>): Promise<string> {
  // As a terminal, readline takes the echo away from the real one; what it would echo itself ends here.
  const nowhere = new Writable({ write (_chunk, _encoding, done) { done() } })
  const reader = createInterface({ input: stdin, output: nowhere, terminal: true, historySize: 0 })
  // Not before the echo is off: what is pasted at once would be shown.
  stderr.write(`${question} (not shown): `)
  try {
    return await new Promise<string>((resolve, reject) => {
      reader.once('SIGINT', () => { reject(new Failure(exit.interrupted, 'interrupted', 'Interrupted')) })
      reader.once('line', (line) => { if (line.trim() === '') reject(usageFailure('Nothing was entered')); else resolve(line) })
      reader.once('close', () => { reject(usageFailure('Nothing was entered')) })
    })
  } finally {
    reader.close()
    stderr.write('\n')
  }
}
