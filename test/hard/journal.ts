/**
 * The record of what several processes were asked and what they acknowledged, and the judgement of it. The judge knows nothing of how keys or
 * deliveries work: it has times of sending and of answering, taken on one clock by whoever sent, and three sentences.
 */

/** A change of a key: it may count from when it was sent, and has to count once it was acknowledged. */
export interface Change { what: 'made' | 'ended', keyId: string, sent: number, acknowledged: number }
/** A request with a key. */
export interface Use { keyId: string, status: number, sent: number, answered: number, process: number }
/** A delivery that a process answered. */
export interface Delivered { id: string, status: number, sent: number, answered: number, process: number }

export interface Journal { changes: Change[], uses: Use[], deliveries: Delivered[] }

export interface Judgement {
  violations: string[]
  /** Milliseconds after its end at which a key was still accepted, by the time of sending: one for each ended key. */
  latest: number[]
}

export function judge ({ changes, uses, deliveries }: Journal, promised: number): Judgement {
  const violations: string[] = []
  const lives = new Map<string, { made: Change | null, ended: Change | null, latest: number }>()
  for (const change of changes) {
    const life = lives.get(change.keyId) ?? { made: null, ended: null, latest: 0 }
    life[change.what] = change
    lives.set(change.keyId, life)
  }
  for (const { keyId, status, sent, answered, process } of uses) {
    const life = lives.get(keyId)
    const ended = life?.ended ?? null
    if (status === 200) {
      if (life === undefined) violations.push(`${keyId} was accepted and nobody has made it`)
      else if (ended !== null && sent > ended.acknowledged) {
        life.latest = Math.max(life.latest, sent - ended.acknowledged)
        if (sent - ended.acknowledged > promised) violations.push(`${keyId} was accepted by process ${process} ${Math.round(sent - ended.acknowledged)} ms after its end was acknowledged`)
      }
    } else if (status === 401) {
      // Between the sending of the change and its acknowledgement either answer is right.
      const wasGood = life?.made != null && sent >= life.made.acknowledged && (ended === null || answered <= ended.sent)
      if (wasGood) violations.push(`${keyId} is good and was refused by process ${process}`)
    } else {
      violations.push(`${keyId} was answered ${status} by process ${process}`)
    }
  }
  const received = new Map<string, number>()
  for (const { id, status, process } of deliveries) {
    if (status === 200) received.set(id, (received.get(id) ?? 0) + 1)
    else if (status !== 409) violations.push(`the delivery ${id} was answered ${status} by process ${process}`)
  }
  for (const id of new Set(deliveries.map((one) => one.id))) {
    const times = received.get(id) ?? 0
    if (times !== 1) violations.push(`the delivery ${id} was received ${times} times`)
  }
  return { violations, latest: [...lives.values()].filter(({ ended }) => ended !== null).map(({ latest }) => latest) }
}
