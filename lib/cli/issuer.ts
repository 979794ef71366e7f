/** The issuer that a token is judged by: the options of the command line as the plugin's `jwt` option. */
import { readFile } from 'node:fs/promises'
import { Option, type Command } from 'commander'
import { allowedAlgorithms, type Algorithm } from '../jwt/algorithm.js'
import { causeflowClaims, type ClaimMapping } from '../jwt/claims.js'
import { clerkSession } from '../jwt/clerk.js'
import type { TokenIssuerSettings } from '../jwt/verify.js'
import { readOptions, type JwtOptions } from '../options.js'
import { claimHelp, claimsAt, readClaim, type ClaimPath } from './claim-paths.js'
import { collect, parsed, readCount } from './command.js'
import { isSet } from './environment.js'
import { usageFailure } from './failure.js'
import type { World } from './world.js'

export interface IssuerOptions {
  issuer?: string
  /** false: --no-audience. */
  audience?: string[] | false
  algorithm?: Algorithm[]
  clerkSession?: boolean
  authorizedParty?: string[]
  azp?: 'require' | 'ifPresent' | 'off'
  clerkAccept?: Array<'oauth' | 'machine'>
  /** false: --no-impersonation. */
  impersonation?: boolean
  type?: string[]
  claim?: ClaimPath[]
  jwksPath?: string
  discovery?: boolean
  publicKeyFile?: string
  secretEnv?: string
  clockTolerance?: number
}

/** Adds where the issuer's keys are, and what both its keys and its tokens are judged by. */
export function withIssuer (command: Command, purpose: string): Command {
  return command
    .option('--issuer <url>', `the issuer, exactly as its tokens name it: ${purpose}`)
    .option('--jwks-path <path>', 'the path of its key set (default: /.well-known/jwks.json)')
    .option('--discovery', 'find its key set through its OpenID configuration')
    .addOption(new Option('--algorithm <name>', `what may sign; once for each (default: RS256, or HS256 with a secret): ${allowedAlgorithms.join(', ')}`).argParser(readAlgorithm))
    .addOption(new Option('--clock-tolerance <seconds>', 'by how much clocks may differ (default: 5)').argParser(parsed(readCount)))
}

/** Adds what else a token is judged by. */
export function withTokenRules (command: Command): Command {
  return command
    .option('--public-key-file <file>', 'its public key in PEM, instead of a key set')
    .option('--secret-env <name>', 'an environment variable that holds its HS256 secret, instead of keys')
    .option('--audience <audience>', 'what must be in aud; once for each (default: https://api.causeflow.ai)', collect)
    .option('--no-audience', 'its tokens carry no audience')
    .option('--clerk-session', 'its tokens are session tokens of Clerk, which carry no audience and name organisations')
    .addOption(new Option('--clerk-accept <class>', 'with --clerk-session: accept tokens of OAuth clients (oauth) or of machines (machine), too').argParser(readClass))
    .option('--no-impersonation', 'with --clerk-session: reject sessions in which an actor impersonates the user')
    .option('--type <typ>', 'a value of typ that is accepted beside JWT, such as at+jwt; once for each', collect)
    .addOption(new Option('--claim <field=claim>', claimHelp).argParser(readClaim))
    .option('--authorized-party <origin>', 'an accepted value of azp; once for each', collect)
    .addOption(new Option('--azp <when>', 'whether azp must be there (default: ifPresent with --authorized-party, otherwise off)').choices(['require', 'ifPresent', 'off']))
}

/** The complete settings; null where no issuer is named. Throws AUTH_CONFIG_OPTION or a Failure for what does not go together. */
export async function readIssuer (options: IssuerOptions, world: Pick<World, 'env'>): Promise<TokenIssuerSettings | null> {
  if (options.issuer === undefined) return null
  const { issuer, audience, algorithm, jwksPath, discovery, authorizedParty, clockTolerance } = options
  const jwt: JwtOptions = {
    issuer,
    ...(Array.isArray(audience) || audience === false) && { audience },
    ...options.clerkSession === true && !Array.isArray(audience) && { audience: false },
    ...readMapping(options),
    ...algorithm !== undefined && { algorithms: algorithm },
    ...jwksPath !== undefined && { jwksPath },
    ...discovery !== undefined && { discovery },
    ...authorizedParty !== undefined && { authorizedParties: authorizedParty },
    ...options.azp !== undefined && { azp: options.azp },
    ...clockTolerance !== undefined && { clockTolerance },
    ...options.publicKeyFile !== undefined && { publicKey: await readPem(options.publicKeyFile) },
    ...options.secretEnv !== undefined && { secret: readSecret(options.secretEnv, world) }
  }
  return readOptions({ jwt }).jwt[0] ?? null
}

/** How the claims become a principal; nothing where the plugin's default applies. */
function readMapping ({ clerkSession: session, clerkAccept, impersonation, type = [], claim }: IssuerOptions): { claims?: ClaimMapping } {
  if (session !== true && (clerkAccept !== undefined || impersonation === false)) throw usageFailure('--clerk-accept and --no-impersonation go with --clerk-session')
  if (session === true && claim !== undefined) throw usageFailure('--claim and --clerk-session exclude each other')
  if (session !== true && claim === undefined && type.length === 0) return {}
  const mapping: ClaimMapping = session === true
    ? clerkSession({ ...clerkAccept !== undefined && { accept: clerkAccept }, ...impersonation === false && { impersonation } })
    : claim === undefined ? causeflowClaims() : claimsAt(claim)
  return { claims: { ...mapping, types: [...mapping.types ?? [], ...type] } }
}

function readClass (text: string, before: ReadonlyArray<'oauth' | 'machine'> = []): Array<'oauth' | 'machine'> {
  return [...before, parsed((name) => {
    if (name !== 'oauth' && name !== 'machine') throw usageFailure('It is to be oauth or machine.')
    return name
  })(text)]
}

async function readPem (file: string): Promise<string> {
  try {
    return await readFile(file, 'utf8')
  } catch (error) {
    throw usageFailure(`The file ${file} cannot be read: ${(error as NodeJS.ErrnoException).code ?? 'unknown'}`)
  }
}

function readSecret (name: string, { env }: Pick<World, 'env'>): string {
  const secret = env[name]
  if (!isSet(secret)) throw usageFailure(`The environment has no secret in ${name}`, `Set it, and export it: export ${name}`)
  if (Buffer.byteLength(secret) < 32) throw usageFailure(`The secret in ${name} has less than 32 bytes: it can be guessed from one token (RFC 7518 §3.2)`)
  return secret
}

function readAlgorithm (text: string, before: readonly Algorithm[] = []): Algorithm[] {
  const algorithm = parsed((name) => {
    const known = allowedAlgorithms.find((one) => one === name)
    if (known === undefined) throw usageFailure(`It is to be one of ${allowedAlgorithms.join(', ')}.`)
    return known
  })(text)
  return [...before, algorithm]
}
