/** Traffic of keys and deliveries while something is done to the stores, and who judges its answers. */
import { Redis } from 'ioredis'
import { redisUrl } from '../fixtures/services.js'
import { webhookSecret, type HardServer } from './fork.js'
import { byKey, delivery, ingest, strangers, type Ask, type Kind } from './traffic.js'

/** Milliseconds after an acknowledgement beyond which no request may be accepted. */
const promised = 250

export interface Issued { keyId: string, plaintextKey: string, webhookSecret: string | null }
export interface Revoked { key: Issued, at: number }

export interface Watch {
  kinds: Kind[]
  /** When each delivery was received last. */
  received: ReadonlyMap<string, number>
}

/** A delivery that was received when `mayForget` holds may be received once more: what a store has confirmed and then loses. */
export function watch (revoked: readonly Revoked[], kept: readonly Issued[], mayForget: (receivedAt: number) => boolean = () => false): Watch {
  const received = new Map<string, number>()
  const seen: Array<{ id: string, at: number }> = []
  const deliveries = new WeakMap<Ask, string>()
  let turn = 0
  const meant = (...statuses: number[]) => ({ status }: { status: number }) => statuses.includes(status) ? null : 'it was not meant'
  const count = ({ status }: { status: number }, ask: Ask, at: number): string | null => {
    const id = deliveries.get(ask)!
    if (status === 200 || (status === 503 && !received.has(id))) seen.push({ id, at })
    if (status !== 200) return null
    const before = received.get(id)
    received.set(id, at)
    return before === undefined || mayForget(before) ? null : 'it was received twice'
  }
  const kinds: Kind[] = [
    // 401 is never the answer to a good key, whatever the store does.
    { name: 'good keys', hostile: false, weight: 3, make: () => byKey(kept[turn++ % kept.length]!.plaintextKey), judge: meant(200, 503) },
    { name: 'good keys with a signature', hostile: false, weight: 1, make: () => ingest(kept[turn++ % kept.length]!, 'ten_A'), judge: meant(200, 503) },
    {
      name: 'revoked keys',
      hostile: false,
      weight: 3,
      make: () => revoked.length === 0 ? null : byKey(revoked[Math.max(0, revoked.length - 1 - turn++ % 4)]!.key.plaintextKey),
      judge ({ status }, { headers }, sent) {
        const { at } = revoked.find(({ key }) => key.plaintextKey === headers?.['x-api-key'])!
        if (status === 200) return sent - at > promised ? `it was accepted ${Math.round(sent - at)} ms after its revocation was acknowledged` : null
        return status === 401 || status === 503 ? null : 'it was not meant'
      }
    },
    {
      name: 'new deliveries',
      hostile: false,
      weight: 2,
      make () {
        const one = delivery()
        deliveries.set(one, one.id)
        return one
      },
      judge: (answer, ask, _sent, at) => count(answer, ask, at) ?? meant(200, 503)(answer)
    },
    {
      name: 'deliveries sent again',
      hostile: false,
      weight: 2,
      make () {
        // A delivery that its sender signs anew is a new one once the first could not be timely any more: after twice the tolerance of 30 s.
        while (seen[0] !== undefined && performance.now() - seen[0].at > 20_000) seen.shift()
        const id = seen[Math.floor(seen.length * Math.random())]?.id
        if (id === undefined) return null
        const one = delivery(webhookSecret, id)
        deliveries.set(one, id)
        return one
      },
      // 200 where the first was answered 503: it was not received then.
      judge: (answer, ask, _sent, at) => count(answer, ask, at) ?? meant(200, 409, 503)(answer)
    },
    ...strangers
  ]
  return { kinds, received }
}

export async function issue (server: HardServer, tenantId = 'ten_A'): Promise<Issued> {
  return await server.order('create', { tenantId, name: 'a key' })
}

/** Redis is other tests' as well. */
export async function sweep (prefix: string): Promise<void> {
  const redis = new Redis(redisUrl)
  for await (const names of redis.scanStream({ match: `${prefix}*`, count: 1000 })) if ((names as string[]).length > 0) await redis.del(...names as string[])
  redis.disconnect()
}
