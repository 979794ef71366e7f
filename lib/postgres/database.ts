/** A pool of connections, asked with limits: an answer that does not come must cost no connection and no memory. */
import { withinTimeLimit } from '../webhook/time-limit.js'
import type { Timers } from '../api-key/settings.js'

/** One statement, as `pg` takes it. */
export interface Statement {
  text: string
  values?: unknown[]
  /** Milliseconds; a driver that does not know it waits longer. */
  query_timeout?: number
}

/** A connection taken out of the pool. */
export interface PostgresPoolClient {
  query (statement: Statement): Promise<{ rows: unknown[] }>
  /** With true the connection is closed and not given to the next. */
  release (destroy?: boolean): void
  on? (event: 'error', listener: (error: Error) => void): unknown
  removeListener? (event: 'error', listener: (error: Error) => void): unknown
}

/** What is used of `pg`'s Pool; anything that is shaped like it will do, `fastify.pg` too. */
export interface PostgresPool {
  query (statement: Statement): Promise<{ rows: unknown[] }>
  connect (): Promise<PostgresPoolClient>
  on? (event: 'error', listener: (error: Error) => void): unknown
}

export type Ask = <Row>(text: string, values?: unknown[]) => Promise<Row[]>

export interface Database {
  /** One statement on any connection. */
  ask: Ask
  /** The same with a budget of its own: what waits elsewhere is not counted against it. */
  ownBudget (): Ask
  /**
   * Several statements on one connection, all or none of them. Past the time limit (seconds) nothing is committed
   * any more: whoever asked has been told that it failed.
   */
  transact<T> (work: (ask: Ask) => Promise<T>, seconds?: number): Promise<T>
}

// Beyond this a pool that hangs is not asked any more. Each call that waits there is a request that was answered long ago.
const maxUnsettled = 1000

export function createDatabase (pool: PostgresPool, timeLimit: number, { timers, monotonic }: { timers: Timers, monotonic: () => number }): Database {
  // pg tells the pool of an idle connection that broke; unheard, that would end the process.
  pool.on?.('error', ignore)
  const counted = createBudget()
  const askWithin = (budget: Budget): Ask => async <Row>(text: string, values: unknown[] = []) => {
    const { rows } = await budget(() => pool.query({ text, values, query_timeout: timeLimit * 1000 }))
    return rows as Row[]
  }

  return {
    ask: askWithin(counted),
    ownBudget: () => askWithin(createBudget()),

    async transact (work, seconds = timeLimit) {
      const end = monotonic() + seconds * 1000
      // A pool without a connectionTimeoutMillis of its own waits for ever.
      const client = await withinTimeLimit(counted(() => pool.connect()), seconds * 1000, timers, (late) => { late.release() })
      const ask = async <Row>(text: string, values: unknown[] = []): Promise<Row[]> => {
        // Also for a driver that does not know query_timeout: then the connection is closed below, and with it what it still does.
        const rest = end - monotonic()
        if (rest <= 0) throw new Error(`The transaction took longer than ${seconds} s`)
        const { rows } = await withinTimeLimit(client.query({ text, values, query_timeout: Math.ceil(rest) }), Math.ceil(rest), timers)
        return rows as Row[]
      }
      // Taken out, a connection that breaks between two statements tells nobody but us.
      client.on?.('error', ignore)
      let done = false
      try {
        await ask('begin')
        const answer = await work(ask)
        await ask('commit')
        done = true
        return answer
      } finally {
        client.removeListener?.('error', ignore)
        // Closing rolls back, whatever state the connection is in; a rollback would have to be answered first.
        client.release(!done)
      }
    }
  }
}

type Budget = <T>(call: () => Promise<T>) => Promise<T>

/** Counts calls until they settle, and makes no more than so many at once. */
function createBudget (): Budget {
  let unsettled = 0
  return <T>(call: () => Promise<T>) => {
    if (unsettled >= maxUnsettled) throw new Error(`The pool of PostgreSQL has left ${maxUnsettled} calls without an answer`)
    const answer = call()
    unsettled++
    const settled = (): void => { unsettled-- }
    answer.then(settled, settled)
    return answer
  }
}

function ignore (): void {}
