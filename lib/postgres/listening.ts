/** Changes received by LISTEN, and texts that prove it sent by NOTIFY, on two connections of their own. */
import { randomBytes } from 'node:crypto'
import { untilAborted, type Arrivals, type Connection, type Transport } from '../api-key/channel.js'
import type { Timers } from '../api-key/settings.js'
import { withinTimeLimit } from '../webhook/time-limit.js'
import { createReader, type NotificationSecret } from './notification.js'

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

export interface ListeningOptions {
  makeListener: () => PostgresListener | Promise<PostgresListener>
  /** The row that the triggers read, from the database in which keys are changed. */
  readSecret: () => Promise<NotificationSecret>
  /** Sends a text through the pool if the row is still this one. */
  probe: (channel: string, text: string, secret: NotificationSecret) => Promise<unknown>
  /** A notification on the channel of the triggers that no trigger sent, or that was sent before. */
  onRejected: () => void
  timers: Timers
}

/** Milliseconds in which a server takes leave; after that the socket is closed without it. */
const leaveLimit = 1000
/** Milliseconds after which a connection that does not answer is broken. */
const sendLimit = 2000

/**
 * Texts are sent on a connection that nothing else waits for. Once a second one goes through the pool as well: the listening connection could be
 * connected to another database than the one in which keys are changed.
 */
export function listeningTransport ({ makeListener, readSecret, probe, onRejected, timers }: ListeningOptions): Transport {
  // Of this process alone: otherwise each text would wake every other process, a hundred times a second among ten.
  const echoChannel = `causeflow_echo_${randomBytes(8).toString('hex')}`

  async function open (arrivals: Arrivals, signal: AbortSignal): Promise<Connection> {
    const clients: PostgresListener[] = []
    const make = async (): Promise<PostgresListener> => {
      const client = await makeListener()
      // First of all: a client that breaks and has no listener for it ends the process.
      for (const event of ['error', 'end'] as const) client.on(event, () => { arrivals.lost() })
      if (signal.aborted) {
        leave(client, 0).catch(ignore)
        throw new Error('The connection is not wanted any more')
      }
      clients.push(client)
      await client.connect()
      return client
    }
    // One after the other and not side by side: what fails leaves no second one behind that is still connecting.
    const connect = async (): Promise<Connection> => {
      const secret = await readSecret()
      const listening = await make()
      const read = createReader(secret)
      listening.on('notification', ({ channel: from, payload = '' }) => {
        if (from === echoChannel) return arrivals.echo(payload)
        if (from !== secret.channel) return
        const change = read(payload)
        if (change === null) onRejected()
        else arrivals.changes(change)
      })
      await listening.query(`listen "${secret.channel}"; listen "${echoChannel}"`)
      const sending = await make()
      for (const client of clients) client.unref?.()
      return {
        maxUnsettled: 1,
        send: (text) => sendOn(sending, text, arrivals),
        probe: (text) => probe(echoChannel, text, secret),
        end: async () => { await Promise.all(clients.map((client) => leave(client, leaveLimit))) }
      }
    }
    try {
      return await untilAborted(connect(), signal)
    } catch (error) {
      // Not waited for, and not asked: it may be a server that does not answer.
      for (const client of clients) leave(client, 0).catch(ignore)
      throw error
    }
  }

  async function sendOn (client: PostgresListener, text: string, { lost }: Arrivals): Promise<void> {
    try {
      await withinTimeLimit(client.query(`select pg_notify('${echoChannel}', '${text}')`), sendLimit, timers)
    } catch (error) {
      lost()
      throw error
    }
  }

  /** Ends a connection, and closes its socket where the server has not taken leave so many milliseconds later. */
  async function leave (client: PostgresListener, milliseconds: number): Promise<void> {
    try {
      const left = client.end()
      if (milliseconds === 0) closeSocket(client)
      await withinTimeLimit(left, milliseconds === 0 ? leaveLimit : milliseconds, timers)
    } catch {
      closeSocket(client)
    }
  }

  return { open }
}

/** Where the driver is pg: a half-open connection to a server that is gone would stay for a quarter of an hour. */
function closeSocket (client: PostgresListener): void {
  const { connection } = client as { connection?: { stream?: { destroy?: () => void } } }
  connection?.stream?.destroy?.()
}

function ignore (): void {}
