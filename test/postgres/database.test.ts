import t from 'tap'
import { createDatabase, type PostgresPool, type PostgresPoolClient, type Statement } from '../../lib/postgres/database.js'
import { fakeTime, settle } from '../api-key/fake-time.js'

/** A client that answers nothing of interest, and what was done to it. */
function clientUnderTest (query: (statement: Statement) => Promise<{ rows: unknown[] }> = async () => ({ rows: [] })) {
  const done: string[] = []
  const client: PostgresPoolClient = {
    query (statement) {
      done.push(statement.text)
      return query(statement)
    },
    release: (destroy) => { done.push(destroy === true ? 'closed' : 'given back') },
    on: (event) => { done.push(`on ${event}`) },
    removeListener: (event) => { done.push(`off ${event}`) }
  }
  return { client, done }
}

function databaseOver (pool: Partial<PostgresPool>) {
  const time = fakeTime()
  return { time, database: createDatabase({ query: async () => ({ rows: [] }), connect: () => new Promise(() => {}), ...pool }, 2, { ...time, monotonic: () => time.now }) }
}

t.test('a statement carries its values and its time limit', async (t) => {
  const statements: Statement[] = []
  const { database } = databaseOver({ query: async (statement) => { statements.push(statement); return { rows: [{ one: 1 }] } } })
  t.strictSame(await database.ask('select $1', ["'; drop"]), [{ one: 1 }])
  t.strictSame(statements, [{ text: 'select $1', values: ["'; drop"], query_timeout: 2000 }])
})

t.test('a transaction that ends well is committed and its connection given back', async (t) => {
  const { client, done } = clientUnderTest()
  const { database } = databaseOver({ connect: async () => client })
  t.equal(await database.transact(async (ask) => { await ask('insert'); return 'answer' }), 'answer')
  t.strictSame(done, ['on error', 'begin', 'insert', 'commit', 'off error', 'given back'])
})

t.test('one that fails is not committed and its connection is closed, so that nothing of it stays', async (t) => {
  for (const failing of ['begin', 'insert', 'commit']) {
    const { client, done } = clientUnderTest(async ({ text }) => {
      if (text === failing) throw new Error(`no ${text}`)
      return { rows: [] }
    })
    const { database } = databaseOver({ connect: async () => client })
    await t.rejects(database.transact((ask) => ask('insert')), { message: `no ${failing}` })
    t.equal(done.at(-1), 'closed')
    t.equal(done.includes('commit'), failing === 'commit')
  }
})

t.test('past its time limit nothing is committed: whoever asked has been told 503', async (t) => {
  const { client, done } = clientUnderTest()
  const { database, time } = databaseOver({ connect: async () => client })
  await t.rejects(database.transact(async (ask) => {
    await ask('insert')
    time.pass(2000)
  }), { message: 'The transaction took longer than 2 s' })
  t.strictSame(done, ['on error', 'begin', 'insert', 'off error', 'closed'])
})

t.test('a connection that comes too late is given back unused', async (t) => {
  const { client, done } = clientUnderTest()
  let comes = (_client: PostgresPoolClient): void => {}
  const { database, time } = databaseOver({ connect: () => new Promise((resolve) => { comes = resolve }) })
  const refused = t.rejects(database.transact(async () => {}), { message: 'No answer within 2000 ms' })
  time.pass(2000)
  await refused
  comes(client)
  await settle()
  t.strictSame(done, ['given back'])
})

t.test('a pool that hangs holds a thousand calls and no more, and is asked again when it goes on', async (t) => {
  const answers: Array<() => void> = []
  const { database } = databaseOver({ query: () => new Promise((resolve) => { answers.push(() => resolve({ rows: [] })) }) })
  const asked = Array.from({ length: 1000 }, () => database.ask('select'))
  await t.rejects(database.ask('select'), { message: 'The pool of PostgreSQL has left 1000 calls without an answer' })
  await t.rejects(database.transact(async () => {}), { message: /1000 calls/ })
  t.equal(answers.length, 1000)
  for (const answer of answers.splice(0)) answer()
  await Promise.all(asked)
  const again = database.ask('select')
  answers[0]?.()
  t.strictSame(await again, [])
})

t.test('a pool that throws or rejects counts no longer, and an idle connection that breaks ends no process', async (t) => {
  const events: string[] = []
  const { database } = databaseOver({ query: () => { throw new Error('now') }, connect: async () => { throw new Error('later') }, on: (event) => events.push(event) })
  const said = new Set<string>()
  for (let call = 0; call < 600; call++) {
    await database.ask('select').catch((error: Error) => said.add(error.message))
    await database.transact(async () => {}).catch((error: Error) => said.add(error.message))
  }
  t.strictSame(said, new Set(['now', 'later']))
  t.strictSame(events, ['error'])
})

t.test('a driver that does not know query_timeout: past the time limit the connection is closed, and nothing is committed', async (t) => {
  const { client, done } = clientUnderTest(async ({ text }) => text === 'insert' ? await new Promise(() => {}) : { rows: [] })
  const { database, time } = databaseOver({ connect: async () => client })
  const failed = t.rejects(database.transact((ask) => ask('insert')), { message: 'No answer within 2000 ms' })
  await settle()
  time.pass(2000)
  await failed
  t.strictSame(done, ['on error', 'begin', 'insert', 'off error', 'closed'])
})

t.test('a connection that comes too late and cannot be given back ends no process', async (t) => {
  const { client } = clientUnderTest()
  let comes = (_client: PostgresPoolClient): void => {}
  const { database, time } = databaseOver({ connect: () => new Promise((resolve) => { comes = resolve }) })
  const failed = t.rejects(database.transact(async () => {}), { message: 'No answer within 2000 ms' })
  time.pass(2000)
  await failed
  comes({ ...client, release () { throw new Error('it was ended') } })
  await settle()
})

t.test('a budget of its own is not used up by what waits elsewhere', async (t) => {
  const { database } = databaseOver({ query: async ({ text }) => text === 'hangs' ? await new Promise(() => {}) : { rows: [{ one: 1 }] } })
  const lookUp = database.ownBudget()
  for (let call = 0; call < 1000; call++) lookUp('hangs').catch(() => {})
  await t.rejects(lookUp('select'), { message: /1000 calls/ })
  t.strictSame(await database.ask('select'), [{ one: 1 }])
  t.strictSame(await database.ownBudget()('select'), [{ one: 1 }])
})
