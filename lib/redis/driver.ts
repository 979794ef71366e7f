/** The little that is used of a Redis client, from any of the three drivers. */
import { untilAborted } from '../api-key/channel.js'
import { configError } from '../errors.js'

/** `ioredis` 5 and newer, and `iovalkey`. */
export interface IoredisClient {
  call (command: string, args: string[]): Promise<unknown>
  duplicate (override?: object): IoredisClient
  connect (): Promise<unknown>
  subscribe (...channels: string[]): Promise<unknown>
  disconnect (): void
  on (event: string, listener: (...values: string[]) => void): unknown
}

/** `redis` 4 and newer, which is node-redis. */
export interface NodeRedisClient {
  sendCommand (command: string[]): Promise<unknown>
  duplicate (): NodeRedisClient
  connect (): Promise<unknown>
  subscribe (channels: string[], listener: (text: string, channel: string) => void): Promise<unknown>
  on (event: string, listener: () => void): unknown
  /** Version 5 and newer. */
  destroy? (): void
  /** Version 4. */
  disconnect? (): Promise<unknown>
}

/** A client of the application's own driver. It is used as it is and never ended. */
export type RedisClient = IoredisClient | NodeRedisClient

export interface Subscriber {
  /** Text of a channel. */
  message (channel: string, text: string): void
  /** The connection is broken. */
  lost (): void
}

export interface RedisDriver {
  command (...words: string[]): Promise<unknown>
  /**
   * Opens a connection of its own that receives these channels; answers how it is ended. Rejects with nothing left open, and as soon as
   * the signal is aborted.
   */
  subscribe (channels: string[], subscriber: Subscriber, signal: AbortSignal): Promise<() => void>
}

/** The driver of a client, told by its methods. `owner` is who is named when it is none. */
export function redisDriver (client: RedisClient, owner: string): RedisDriver {
  const given = client as Partial<Record<'call' | 'sendCommand' | 'duplicate' | 'subscribe', unknown>> | null | undefined
  if (typeof given?.duplicate === 'function' && typeof given.subscribe === 'function') {
    // ioredis has a sendCommand too, of another form.
    if (typeof given.call === 'function') return ioredisDriver(client as IoredisClient)
    if (typeof given.sendCommand === 'function') return nodeRedisDriver(client as NodeRedisClient)
  }
  throw configError('option', `${owner}({ client }) must be a client of ioredis, iovalkey or redis`)
}

function ioredisDriver (client: IoredisClient): RedisDriver {
  return {
    command: (name = '', ...args) => client.call(name, args),
    async subscribe (channels, { message, lost }, signal) {
      // Each connection is used once and then replaced: one that came back by itself would not say what it has missed.
      const own = client.duplicate({ lazyConnect: true, retryStrategy: null, reconnectOnError: null, autoResubscribe: false, enableOfflineQueue: true })
      for (const event of ['error', 'close', 'end']) own.on(event, lost)
      own.on('message', message)
      const end = (): void => {
        own.disconnect()
        // By itself it says goodbye first, and waits for a server that may say nothing.
        ;(own as { stream?: { destroy?: () => void } }).stream?.destroy?.()
      }
      const open = async (): Promise<void> => {
        await own.connect()
        await own.subscribe(...channels)
      }
      try {
        await untilAborted(open(), signal)
      } catch (error) {
        end()
        throw error
      }
      return end
    }
  }
}

function nodeRedisDriver (client: NodeRedisClient): RedisDriver {
  return {
    command: (...words) => client.sendCommand(words),
    async subscribe (channels, { message, lost }, signal) {
      const own = client.duplicate()
      let ended = false
      const end = (): void => {
        if (ended) return
        ended = true
        try {
          if (own.destroy !== undefined) own.destroy()
          else own.disconnect?.().catch(() => {})
        } catch {
          // It was never open, or is closed already.
        }
      }
      // The driver would connect again by itself, and without end; see above.
      const broken = (): void => {
        end()
        lost()
      }
      for (const event of ['error', 'end', 'reconnecting']) own.on(event, broken)
      const open = async (): Promise<void> => {
        await own.connect()
        await own.subscribe(channels, (text, channel) => { message(channel, text) })
      }
      try {
        await untilAborted(open(), signal)
      } catch (error) {
        end()
        throw error
      }
      return end
    }
  }
}
