/** `token inspect`: what a token says, whether an issuer stands behind it, and if not, why. */
import { Option, type Command } from 'commander'
import { isAuthError, type AuthErrorReason } from '../../errors.js'
import { parseToken, type UnverifiedToken } from '../../jwt/bearer.js'
import { createTokenVerifier, type TokenIssuerSettings } from '../../jwt/verify.js'
import type { JwtPrincipal } from '../../principal.js'
import { addCommand, answer, exitFor, parsed, readMoment, type Seat } from '../command.js'
import { writeDistance } from '../duration.js'
import { exit, type ExitCode } from '../exit-code.js'
import { failureOf, usageFailure } from '../failure.js'
import { readCredential } from '../input.js'
import { readIssuer, withIssuer, withTokenRules, type IssuerOptions } from '../issuer.js'
import { printable } from '../printable.js'
import { renderPairs } from '../table.js'
import type { World } from '../world.js'

interface Inspection {
  /** null: it cannot be taken apart. */
  header: Readonly<Record<string, unknown>> | null
  claims: Readonly<Record<string, unknown>> | null
  /** null: nobody was asked, or nobody could answer. */
  verified: boolean | null
  principal: Pick<JwtPrincipal, 'subject' | 'tenantId' | 'roles' | 'scopes' | 'email'> | null
  code: string | null
  reason: string | null
  message: string | null
  hint: string | null
}

export function addTokenInspect (parent: Command, { world, end }: Seat): void {
  const command = addCommand(parent, 'inspect', 'read a token from stdin, print its header and claims, and tell whether it verifies', {
    notes: ['Without --issuer nothing is verified: the claims may be anybody\'s. With it the token is judged as a route of the plugin would judge it, with the same defaults. The token itself is never printed.'],
    examples: [
      'printf %s "$TOKEN" | causeflow-auth token inspect',
      'causeflow-auth token inspect --issuer https://acme.clerk.accounts.dev --clerk-session'
    ]
  })
  withTokenRules(withIssuer(command, 'its keys are fetched from there, and the token is verified'))
    .addOption(new Option('--at <time>', 'judge its times as at this time (default: now)').argParser(parsed(readMoment)))
    .action(async (options: IssuerOptions & { json?: boolean, at?: number }) => {
      const settings = await readIssuer(options, world)
      if (settings === null) requireNoRules(options)
      const text = (await readCredential('token', world)).replace(/^(?:authorization: *)?bearer +/i, '')
      const clock = options.at === undefined ? world.clock : () => options.at as number
      const inspection: Inspection = { header: null, claims: null, verified: null, principal: null, code: null, reason: null, message: null, hint: null }
      let code: ExitCode = exit.done
      try {
        const token = parseToken(text)
        inspection.header = token.header
        // The verifier cleans and freezes what it accepts.
        inspection.claims = structuredClone(token.payload)
        if (settings !== null) {
          const { subject, tenantId, roles, scopes, email } = await verifyToken(token, settings, { ...world, clock })
          Object.assign(inspection, { verified: true, principal: { subject, tenantId, roles, scopes, email } })
        }
      } catch (error) {
        if (!isAuthError(error)) throw error
        const failure = failureOf(error)
        code = failure.exitCode
        Object.assign(inspection, {
          verified: failure.exitCode === exit.unavailable ? null : false,
          code: error.code,
          reason: error.reason,
          message: failure.message,
          hint: failure.mend ?? hintFor(error.reason, inspection, settings)
        })
      }
      answer(world, options, inspection, () => describe(inspection, clock()))
      end(code === exit.done ? exitFor(inspection.verified !== false) : code)
    })
}

async function verifyToken (token: UnverifiedToken, settings: TokenIssuerSettings, world: Pick<World, 'clock' | 'fetch'>): Promise<JwtPrincipal> {
  // Only here, because loading Fastify takes most of the time of a command that needs it.
  const [{ default: Fastify }, { registerSignatureCheck }] = await Promise.all([import('fastify'), import('../../fastify-jwt.js')])
  const app = Fastify()
  try {
    const check = await registerSignatureCheck(app, settings.algorithms)
    const verifier = createTokenVerifier(settings, { clock: world.clock, fetch: world.fetch, random: Math.random, check })
    try {
      return await verifier.verify(token)
    } finally {
      verifier.close()
    }
  } finally {
    await app.close()
  }
}

function requireNoRules ({ jwksPath, discovery, publicKeyFile, secretEnv, algorithm, audience, clerkSession, authorizedParty, clockTolerance }: IssuerOptions): void {
  const given = [jwksPath, discovery, publicKeyFile, secretEnv, algorithm, clerkSession, authorizedParty, clockTolerance]
  if (given.some((option) => option !== undefined) || Array.isArray(audience) || audience === false) {
    throw usageFailure('Without --issuer nothing is verified', 'Name the issuer, or take the other options off')
  }
}

/** What may be wrong, from what the token says and what was asked for. */
function hintFor (reason: AuthErrorReason, { header, claims }: Inspection, settings: TokenIssuerSettings | null): string | null {
  const said = (name: string): string => JSON.stringify(claims?.[name]) ?? 'absent'
  switch (reason) {
    case 'size': return 'It is longer than any token that is looked at'
    case 'form': return 'A token has three parts with full stops between them, and nothing around them'
    case 'encoding': return 'A part is no base64url: a character was lost or changed'
    case 'header': return 'Its first part is no JSON object'
    case 'algorithm': return `It is signed with ${JSON.stringify(header?.alg) ?? 'no algorithm'}, and ${settings?.algorithms.join(', ')} is accepted: see --algorithm`
    case 'key-id-absent': return 'It names no key (kid), and the issuer has a set of them: it is not one of this issuer\'s tokens'
    case 'key-unknown': return `The issuer publishes no key ${JSON.stringify(header?.kid)}: the token is another issuer's, or its key was withdrawn`
    case 'signature': return 'It was changed, or another key signed it: the token of another environment is the usual case'
    case 'sender-constrained': return 'It is bound to a key of its sender (DPoP or a client certificate, see cnf), and is no bearer token'
    case 'issuer': return `It names the issuer ${said('iss')}, and ${JSON.stringify(settings?.issuer)} is expected: they are compared character by character`
    case 'audience': return claims?.sid !== undefined && claims.aud === undefined
      ? 'It has no audience and looks like a session token of Clerk: see --clerk-session'
      : `It is for ${said('aud')}, and ${settings?.audience?.join(' or ')} is expected: see --audience and --no-audience`
    case 'azp': return `It was asked for by ${said('azp')}: see --authorized-party`
    case 'claims': return 'A claim has another type than the mapping wants, or is missing: tenant_id and email are texts, roles is a list of them, exp is a number'
    case 'session-pending': return 'The user has not finished signing in: to the application nobody is signed in'
    case 'token-class': return 'It is a token of another class of the same issuer (a machine\'s, an OAuth client\'s, an id_token)'
    case 'expired': return 'Ask for a new one. Session tokens of Clerk live for 60 seconds'
    case 'not-yet-valid':
    case 'issued-in-future': return 'It is from the future: compare this clock with the issuer\'s (causeflow-auth doctor --issuer <url>)'
    default: return null
  }
}

function describe ({ header, claims, verified, principal, code, reason, message, hint }: Inspection, now: number): string {
  const parts: string[] = []
  if (header !== null) parts.push(`Header\n${renderPairs(Object.entries(header).map(([name, value]) => [name, plain(value)]), '  ')}`)
  if (claims !== null) {
    const whose = verified === true ? 'Claims' : 'Claims, of which nothing is verified'
    parts.push(`${whose}\n${renderPairs(Object.entries(claims).map(([name, value]) => [name, claimText(name, value, now)]), '  ')}`)
  }
  if (verified === true && principal !== null) {
    parts.push(`Verified\n${renderPairs([
      ['Subject', principal.subject],
      ['Tenant', principal.tenantId],
      ['Roles', principal.roles.join(' ')],
      ['Scopes', principal.scopes.join(' ')],
      ['E-mail', principal.email]
    ], '  ')}`)
  } else if (code !== null) {
    parts.push(`${verified === false ? 'Refused' : 'Not decided'}: ${printable(message ?? '')} (${code}, ${reason})\n${hint === null ? '' : `  ${printable(hint)}\n`}`)
  } else {
    parts.push('Not verified: name the issuer with --issuer to have it judged.\n')
  }
  return parts.join('\n')
}

function claimText (name: string, value: unknown, now: number): string {
  const isTime = (name === 'exp' || name === 'iat' || name === 'nbf') && typeof value === 'number' && Math.abs(value) < 1e11
  return isTime ? `${plain(value)}  ${new Date(value * 1000).toISOString()}, ${writeDistance(value, now)}` : plain(value)
}

function plain (value: unknown): string {
  return typeof value === 'string' ? value : JSON.stringify(value)
}
