/** Whether a channel hears itself. */
import type { InvalidationChannel } from '../../api-key/invalidation.js'
import type { World } from '../world.js'

/** Seconds that it may take, with a connection that has to be made first. */
export const hearingLimit = 5
const pause = 10

/** Waits until a channel that has a listener hears itself; false where it does not in time. */
export async function hears (channel: InvalidationChannel, { timers }: Pick<World, 'timers'>): Promise<boolean> {
  for (let waited = 0; !channel.healthy; waited += pause) {
    if (waited >= hearingLimit * 1000) return false
    await new Promise<void>((resolve) => { timers.setTimeout(resolve, pause) })
  }
  return true
}
