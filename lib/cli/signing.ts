/** What `sign` and `verify` share: the scheme, the secrets, the body. */
import { Option, type Command } from 'commander'
import { hashedSecret, signingMac } from '../webhook/secret.js'
import { causeflow, type CauseflowSchemeOptions } from '../webhook/schemes/causeflow.js'
import { github } from '../webhook/schemes/github.js'
import { sentry } from '../webhook/schemes/sentry.js'
import { slack } from '../webhook/schemes/slack.js'
import { standardWebhooks } from '../webhook/schemes/standard-webhooks.js'
import { stripe } from '../webhook/schemes/stripe.js'
import type { SignatureScheme } from '../webhook/signature.js'
import { collect, parsed, readCount } from './command.js'
import { isSet } from './environment.js'
import { usageFailure } from './failure.js'
import { askHidden } from './hidden-prompt.js'
import { readBytes, readSecretFile } from './input.js'
import type { World } from './world.js'

export interface SigningOptions {
  scheme: SchemeName
  signatureHeader?: string
  bareHex?: boolean
  timestampField?: string
  tolerance?: number
  secretEnv?: string[]
  secretFile?: string[]
  hashedSecret?: boolean
  body?: string
}

type SchemeName = 'causeflow' | 'standard-webhooks' | 'github' | 'slack' | 'stripe' | 'sentry'

export const schemeNames: readonly SchemeName[] = ['causeflow', 'standard-webhooks', 'github', 'slack', 'stripe', 'sentry']

export const secretHelp = 'The secret is never an argument. It comes from the variables and files that are named; where none is, from CAUSEFLOW_WEBHOOK_SECRET, or from a prompt that shows nothing when stdin is a terminal.'

/** Adds the options that both commands take. */
export function withSigning (command: Command): Command {
  return command
    .addOption(new Option('--scheme <name>', 'how the service signs').choices(schemeNames).default('causeflow'))
    .option('--body <file>', 'the body, byte for byte; - is stdin (default: stdin)')
    .option('--secret-env <name>', 'an environment variable that holds a secret', collect)
    .option('--secret-file <file>', 'a file that holds a secret, - for stdin; a line feed at its end is not part of it', collect)
    .option('--hashed-secret', 'the HMAC key is the hex SHA-256 digest of the secret, as some installations have it')
    .option('--signature-header <name>', 'causeflow: the header of the signature (default: x-webhook-signature)')
}

/** Adds what only a verifier asks. */
export function withVerifying (command: Command): Command {
  return command
    .option('--bare-hex', 'causeflow: take the digits without sha256= as well')
    .option('--timestamp-field <name>', 'causeflow: the field of the body that holds its time')
    .addOption(new Option('--tolerance <seconds>', 'by how much a signed time may differ from now (default: 300)').argParser(parsed(readCount)))
}

/** The scheme that is asked for. Throws for options that it does not know. */
export function readScheme ({ scheme, signatureHeader, bareHex, timestampField, tolerance }: SigningOptions): SignatureScheme {
  const own: CauseflowSchemeOptions = {
    ...signatureHeader !== undefined && { header: signatureHeader },
    ...bareHex !== undefined && { bareHex },
    ...timestampField !== undefined && { timestampField }
  }
  const timed = tolerance === undefined ? {} : { tolerance }
  if (scheme !== 'causeflow' && Object.keys(own).length > 0) throw usageFailure('--signature-header, --bare-hex and --timestamp-field are for --scheme causeflow')
  switch (scheme) {
    case 'causeflow': return causeflow({ ...own, ...timed })
    case 'standard-webhooks': return standardWebhooks(timed)
    case 'slack': return slack(timed)
    case 'stripe': return stripe(timed)
    case 'github':
    case 'sentry':
      if (tolerance !== undefined) throw usageFailure(`--scheme ${scheme} signs no time: take --tolerance off`)
      return scheme === 'github' ? github() : sentry()
  }
}

/**
 * The secrets, at least one, each of which the scheme can read. They are read before the body, so that a
 * prompt comes first. Throws a Failure of usage that names where a secret is from and never shows it.
 */
export async function readSecrets (options: SigningOptions, scheme: SignatureScheme, world: World): Promise<string[]> {
  const found = await findSecrets(options, world)
  return found.map(({ secret, from }) => {
    const text = options.hashedSecret === true ? hashedSecret(secret) : secret
    try {
      signingMac(text, scheme)
    } catch (error) {
      throw usageFailure(`The secret in ${from} is none for --scheme ${scheme.name}: ${(error as Error).message}`)
    }
    return text
  })
}

interface FoundSecret { secret: string, from: string }

async function findSecrets (options: SigningOptions, world: World): Promise<FoundSecret[]> {
  const { secretEnv = [], secretFile = [] } = options
  const fromStdin = secretFile.filter((file) => file === '-').length
  if (fromStdin > 0 && (options.body === undefined || options.body === '-')) throw usageFailure('stdin cannot hold the secret and the body: give --body <file>')
  if (fromStdin > 1) throw usageFailure('stdin holds one secret')
  const secrets: FoundSecret[] = []
  for (const name of secretEnv) {
    const value = world.env[name]
    if (!isSet(value)) throw usageFailure(`The environment has no secret in ${name}`, `Set it, and export it: export ${name}`)
    secrets.push({ secret: value, from: name })
  }
  for (const file of secretFile) {
    const secret = await readSecretFile(file, world)
    if (secret === '') throw usageFailure(`There is no secret in ${file}: it is empty`)
    secrets.push({ secret, from: file === '-' ? 'stdin' : file })
  }
  if (secrets.length > 0) return secrets
  const usual = world.env.CAUSEFLOW_WEBHOOK_SECRET
  if (isSet(usual)) return [{ secret: usual, from: 'CAUSEFLOW_WEBHOOK_SECRET' }]
  if (world.stdin.isTTY === true) return [{ secret: await askHidden('Webhook secret', world), from: 'the prompt' }]
  throw usageFailure('There is no secret', 'Set CAUSEFLOW_WEBHOOK_SECRET, or name a variable with --secret-env or a file with --secret-file')
}

/** The body, byte for byte. */
export async function readBody (options: SigningOptions, world: World): Promise<Buffer> {
  const body = await readBytes(options.body ?? null, world)
  if (body.length === 0) throw usageFailure('The body is empty, and an empty body never verifies', 'Give it on stdin, or in a file with --body')
  return body
}
