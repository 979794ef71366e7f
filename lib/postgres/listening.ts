/** Changes heard by LISTEN, on a connection of its own. */
import { randomBytes } from 'node:crypto'
import type { Arrivals, Transport } from '../api-key/channel.js'
import type { Timers } from '../api-key/settings.js'

/** What is used of `pg`'s Client. */
export interface PostgresListener {
  connect (): Promise<unknown>
  query (text: string): Promise<unknown>
  end (): Promise<void>
  on (event: 'notification', listener: (message: { channel: string, payload?: string | undefined }) => void): unknown
  on (event: 'error' | 'end', listener: (error?: Error) => void): unknown
  /** Lets the process end although the connection is open. */
  unref? (): void
}

/** Milliseconds in which a server takes leave; after that the socket is closed without it. */
const leaveLimit = 1000

/**
 * Echoes are sent by `send`, through the pool, for a text that the listening connection sends to itself would prove nothing:
 * it could be connected to another database, or to a pooler that loses notifications.
 */
export function listeningTransport (
  makeListener: () => PostgresListener | Promise<PostgresListener>,
  channel: string,
  send: (channel: string, text: string) => Promise<unknown>,
  timers: Timers
): Transport {
  // Of this process alone: otherwise each text would wake every other process, a hundred times a second among ten.
  const echoChannel = `causeflow_echo_${randomBytes(8).toString('hex')}`

  async function open (arrivals: Arrivals): Promise<() => Promise<void>> {
    const client = await makeListener()
    // First of all: a client that breaks and has no listener for it ends the process.
    client.on('error', () => { arrivals.lost() })
    client.on('end', () => { arrivals.lost() })
    client.on('notification', ({ channel: from, payload = '' }) => {
      if (from === channel) arrivals.changes(payload)
      else if (from === echoChannel) arrivals.echo(payload)
    })
    try {
      await client.connect()
      await client.query(`listen "${channel}"; listen "${echoChannel}"`)
    } catch (error) {
      void leave(client)
      throw error
    }
    client.unref?.()
    return () => leave(client)
  }

  function leave (client: PostgresListener): Promise<void> {
    return new Promise((resolve) => {
      const timer = timers.setTimeout(() => {
        closeSocket(client)
        resolve()
      }, leaveLimit)
      timer.unref()
      const left = (): void => {
        timers.clearTimeout(timer)
        resolve()
      }
      try {
        client.end().then(left, left)
      } catch {
        left()
      }
    })
  }

  return { open, send: (text) => send(echoChannel, text) }
}

/** Where the driver is pg: a half-open connection to a server that is gone would stay for a quarter of an hour. */
function closeSocket (client: PostgresListener): void {
  const { connection } = client as { connection?: { stream?: { destroy?: () => void } } }
  connection?.stream?.destroy?.()
}
