/** `token inspect`: what a token says, whether an issuer stands behind it, and if not, why. */
import { Option, type Command } from 'commander'
import { isAuthError } from '../../errors.js'
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
import { hintFor } from '../token-hints.js'
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
          hint: failure.mend ?? hintFor(error.reason, { ...inspection, settings })
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

function requireNoRules ({ issuer, ...rules }: IssuerOptions & { json?: boolean, at?: number }): void {
  const { json, at, audience, impersonation, ...others } = rules
  // Those with a --no- are there without being given.
  if (Object.values(others).some((option) => option !== undefined) || Array.isArray(audience) || audience === false || impersonation === false) {
    throw usageFailure('Without --issuer nothing is verified', 'Name the issuer, or take the other options off')
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
