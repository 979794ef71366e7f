/** `verify`: whether a delivery would be accepted, and if not, what it lacks. */
import { Option, type Command } from 'commander'
import { isAuthError, type AuthError } from '../../errors.js'
import { verifyWebhook } from '../../webhook/sign.js'
import { addCommand, answer, collect, exitFor, parsed, readMoment, type Seat } from '../command.js'
import { writeDistance } from '../duration.js'
import { usageFailure } from '../failure.js'
import { readBytes } from '../input.js'
import { nearMisses, presentedSchemes } from '../near-miss.js'
import { printable } from '../printable.js'
import { readBody, readScheme, readSecrets, secretHelp, withSigning, withVerifying, type SigningOptions } from '../signing.js'
import { renderPairs } from '../table.js'

interface VerifyOptions extends SigningOptions { json?: boolean, header?: string[], headersFile?: string, at?: number }

interface Verdict {
  valid: boolean
  deliveryId: string | null
  /** Seconds since the epoch. */
  timestamp: number | null
  code: string | null
  reason: string | null
  message: string
  /** What may be wrong; empty where nothing more is known. */
  hints: readonly string[]
}

export function addVerify (parent: Command, { world, end }: Seat): void {
  const command = addCommand(parent, 'verify', 'tell whether a delivery\'s signature is right, and why not', {
    notes: ['It judges as a route of the plugin does and, where it refuses, tries what usually went wrong. Replays are not looked for.', secretHelp],
    examples: [
      'causeflow-auth verify --body event.json --header "X-Webhook-Signature: sha256=a5af…" --secret-env WEBHOOK_SECRET',
      'causeflow-auth verify --scheme stripe --headers-file headers.txt --body event.json --at 2026-01-31T12:00:00Z'
    ]
  })
  withVerifying(withSigning(command))
    .option('-H, --header <line>', 'a header of the delivery, "Name: value"; once for each', collect)
    .option('--headers-file <file>', 'its headers, one on a line')
    .addOption(new Option('--at <time>', 'judge the time as at this time, for a delivery that was kept (default: now)').argParser(parsed(readMoment)))
    .action(async (options: VerifyOptions) => {
      const scheme = readScheme(options)
      const headers = readHeaders([...options.header ?? [], ...options.headersFile === undefined ? [] : await readLines(options.headersFile)])
      const secrets = await readSecrets(options, scheme, world)
      const body = await readBody(options, world)
      const clock = options.at === undefined ? world.clock : () => options.at as number
      const verdict: Verdict = { valid: true, deliveryId: null, timestamp: null, code: null, reason: null, message: 'The signature is right', hints: [] }
      try {
        const { deliveryId, timestamp } = verifyWebhook(body, headers, secrets, scheme, { clock })
        Object.assign(verdict, { deliveryId, timestamp })
      } catch (error) {
        if (!isAuthError(error)) throw error
        const { code, reason, message } = error
        Object.assign(verdict, { valid: false, code, reason, message, hints: hintsOf(error) })
      }
      answer(world, options, verdict, () => describe(verdict, clock()))
      end(exitFor(verdict.valid))

      function hintsOf ({ code, reason }: AuthError): string[] {
        if (code === 'AUTH_SIGNATURE_STALE') return ['Its time is outside the tolerance: compare the clocks of both sides, or judge a delivery that was kept with --at']
        if (code === 'AUTH_SIGNATURE_MISSING') {
          const others = presentedSchemes(headers).filter((name) => name !== scheme.name)
          return others.length > 0
            ? [`The headers are those of --scheme ${others.join(' or ')}`]
            : [`It needs the header ${scheme.headers.join(' or ')}: give it with --header`]
        }
        const found = nearMisses({ body, headers, secrets, scheme, clock })
        if (found.length > 0) return found
        return reason === 'form'
          ? ['A header has another form than this scheme\'s: compare it with what causeflow-auth sign prints']
          : ['Another secret, or other bytes: a body that was parsed and written again is another body']
      }
    })

  async function readLines (file: string): Promise<string[]> {
    return (await readBytes(file, world)).toString('utf8').split(/\r?\n/).filter((line) => line.trim() !== '')
  }
}

function readHeaders (lines: readonly string[]): Record<string, string[]> {
  const headers: Record<string, string[]> = Object.create(null)
  for (const line of lines) {
    const [, name, value] = /^([!#$%&'*+.^_`|~0-9A-Za-z-]+):\s*(.*?)\s*$/.exec(line) ?? []
    // A captured request begins with its request line, which is no header and no mistake.
    if (name === undefined || value === undefined) {
      if (/ HTTP\/\d(?:\.\d)?\s*$/.test(line)) continue
      throw usageFailure('A header is a name, a colon and a value: "X-Webhook-Signature: sha256=…"')
    }
    (headers[name.toLowerCase()] ??= []).push(value)
  }
  return headers
}

function describe (verdict: Verdict, now: number): string {
  if (!verdict.valid) {
    return `Refused: ${verdict.message} (${verdict.code}, ${verdict.reason})\n${verdict.hints.map((hint) => `  ${printable(hint)}\n`).join('')}`
  }
  const { deliveryId, timestamp } = verdict
  return `${verdict.message}\n${renderPairs([
    ...deliveryId === null ? [] : [['Delivery id', deliveryId] as const],
    ...timestamp === null ? [] : [['Signed', `${new Date(timestamp * 1000).toISOString()}, ${writeDistance(timestamp, now)}`] as const]
  ], '  ')}`
}
