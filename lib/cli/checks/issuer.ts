/** The issuer: what it calls itself, its keys, and its clock beside ours. */
import { createKeyDocument } from '../../jwt/key-document.js'
import { createKeyReader } from '../../jwt/key-reader.js'
import type { KeySetReading } from '../../jwt/key-reader.js'
import type { TokenIssuerSettings } from '../../jwt/verify.js'
import { writeDuration } from '../duration.js'
import { deepestMessage } from '../failure.js'
import type { World } from '../world.js'
import { finding, type Finding } from './finding.js'

const unreachableMend = 'Look whether this machine reaches the address (a proxy, a firewall, DNS), and whether the issuer is written right'

/** Reads the key set as the plugin does, judges each key, and compares the clocks. */
export async function checkIssuer (settings: TokenIssuerSettings, world: Pick<World, 'clock' | 'fetch'>): Promise<Finding[]> {
  const { issuer, keys: location } = settings
  if (location.from !== 'jwks' && location.from !== 'discovery') return [finding('issuer', 'not-asked', 'Its key is configured: nobody is asked for it')]
  const seen: { clock: ClockReading | null } = { clock: null }
  const fetch: typeof globalThis.fetch = async (...request) => {
    const before = world.clock()
    const response = await world.fetch(...request)
    seen.clock = readClock(response.headers, before, world.clock()) ?? seen.clock
    return response
  }
  const named = location.from === 'jwks' ? [] : [finding('issuer', 'well', `${issuer} calls itself so`)]
  let reading: KeySetReading
  try {
    reading = await createKeyReader(issuer, location, settings.algorithms, fetch)(AbortSignal.timeout(settings.keySet.timeLimit * 1000))
  } catch (error) {
    // Answered, but not with keys: another address, and not another try, mends that.
    const answered = (error as { reason?: unknown }).reason === 'rejected'
    const detail = deepestMessage(error) ?? 'The issuer cannot be asked'
    return [
      finding('key set', answered ? 'wrong' : 'unreachable', answered ? (error as Error).message : `${location.url} could not be read: ${detail}`,
        answered ? 'Compare the issuer with the iss of a token, character by character; where its keys are elsewhere, name --jwks-path or --discovery' : unreachableMend),
      ...clockFindings(seen.clock, settings)
    ]
  }
  if (location.from === 'jwks') named.push(...await checkName(issuer, fetch, settings.keySet.timeLimit))
  return [...named, describeKeys(reading, settings), ...clockFindings(seen.clock, settings)]
}

/** Whether the OpenID configuration, if there is one, names the issuer as we do: a slash too many refuses every token. */
async function checkName (issuer: string, fetch: typeof globalThis.fetch, timeLimit: number): Promise<Finding[]> {
  const url = `${issuer.replace(/\/$/, '')}/.well-known/openid-configuration`
  try {
    await createKeyDocument(issuer, { from: 'discovery', url }, fetch)(AbortSignal.timeout(timeLimit * 1000))
    return [finding('issuer', 'well', `${issuer} calls itself so`)]
  } catch (error) {
    if (error instanceof Error && error.message.endsWith('is the document of another issuer')) {
      return [finding('issuer', 'wrong', `${url} names another issuer`, 'Write the issuer exactly as in that document: they are compared character by character, a slash at the end included')]
    }
    // Nobody has to publish one.
    return []
  }
}

function describeKeys ({ keys, refused }: KeySetReading, { algorithms }: TokenIssuerSettings): Finding {
  const good = listOf(keys.map(({ keyId }) => shorten(keyId)))
  const bad = listOf(refused.map(({ keyId, why }) => `${keyId === null ? 'without a kid' : shorten(keyId)} (${why})`))
  if (keys.length === 0) {
    const fix = `It needs a key for ${algorithms.join(' or ')}: name the issuer's own with --algorithm`
    return finding('key set', 'wrong', `None of its ${refused.length} keys can be used: ${bad}`, fix)
  }
  if (refused.length === 0) return finding('key set', 'well', `${keys.length} usable: ${good}`)
  return finding('key set', 'warning', `${keys.length} usable: ${good}; passed over: ${bad}`, 'Nothing, where no token names those keys')
}

/** How many keys are named, and how many characters of an id: the issuer chooses both. */
const maxListed = 20
const maxShown = 64

function listOf (items: readonly string[]): string {
  return items.length > maxListed ? `${items.slice(0, maxListed).join(', ')} and others` : items.join(', ')
}

function shorten (keyId: string): string {
  return keyId.length > maxShown ? `${keyId.slice(0, maxShown)}…` : keyId
}

/** Our clock less the issuer's, and how far that may be off; seconds. */
interface ClockReading { ahead: number, within: number }

/** The issuer's clock out of an answer; null where it does not tell. A cache's copy is as old as it says (RFC 9111 §5.1). */
function readClock (headers: Headers, before: number, after: number): ClockReading | null {
  const date = Date.parse(headers.get('date') ?? '')
  if (Number.isNaN(date)) return null
  const age = /^\d{1,9}$/.exec(headers.get('age') ?? '')?.[0]
  // Date is cut to the second, and so is Age; the answer was made somewhere between asking and hearing.
  const theirs = date / 1000 + 0.5 + Number(age ?? 0)
  const ours = (before + after) / 2000
  return { ahead: ours - theirs, within: 0.5 + (age === undefined ? 0 : 1) + (after - before) / 2000 }
}

function clockFindings (reading: ClockReading | null, { clockTolerance }: TokenIssuerSettings): Finding[] {
  if (reading === null) return [finding('clock', 'not-asked', 'The issuer tells no time to compare with')]
  const surely = Math.max(0, Math.abs(reading.ahead) - reading.within)
  const words = `This clock is ${writeDuration(reading.ahead)} ${reading.ahead > 0 ? 'ahead of' : 'behind'} the issuer's`
  const mend = 'Set the clock by NTP (timedatectl set-ntp true; in a container it is the host\'s)'
  if (surely > clockTolerance) return [finding('clock', 'wrong', `${words}, and ${clockTolerance} s are tolerated: good tokens are refused`, mend)]
  if (surely > 1) return [finding('clock', 'warning', `${words}, of ${clockTolerance} s that are tolerated`, mend)]
  return [finding('clock', 'well', 'This clock agrees with the issuer\'s, as far as a Date header tells')]
}
