// A store as somebody writes it who has the package and the contract, and nothing else of this repository.
import t from 'tap'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { countsTowardQuota, keysToPurge, replaceSecrets, revokeRecord, rotateRecord, type ApiKeyStore, type StoredApiKey } from '../../lib/index.js'
import { storeContract } from './store-contract.js'

/** A database that several processes share: texts under two keys, read and written with a delay, and a lock for each tenant. */
class Table {
  readonly #items = new Map<string, string>()
  readonly #locks = new Map<string, Promise<unknown>>()

  async all (): Promise<StoredApiKey[]> {
    await new Promise((resolve) => setImmediate(resolve))
    return [...this.#items.values()].map((text) => JSON.parse(text))
  }

  async write (...records: StoredApiKey[]): Promise<void> {
    await new Promise((resolve) => setImmediate(resolve))
    for (const record of records) this.#items.set(record.keyId, JSON.stringify(record))
  }

  async remove (...keyIds: string[]): Promise<void> {
    await new Promise((resolve) => setImmediate(resolve))
    for (const keyId of keyIds) this.#items.delete(keyId)
  }

  /** One after the other. */
  async alone<T> (tenantId: string, work: () => Promise<T>): Promise<T> {
    const turn = (this.#locks.get(tenantId) ?? Promise.resolve()).then(work, work)
    this.#locks.set(tenantId, turn)
    return await turn
  }
}

function tableStore (table: Table): ApiKeyStore {
  const ofTenant = async (tenant: string) => (await table.all()).filter(({ tenantId }) => tenantId === tenant)
  const find = async (tenant: string, id: string | null) => (await ofTenant(tenant)).find(({ keyId }) => keyId === id) ?? null
  const add = async (record: StoredApiKey): Promise<void> => {
    if ((await table.all()).some(({ keyId, digest }) => keyId === record.keyId || digest === record.digest)) throw new Error('The key id or the digest is taken')
    await table.write(record)
  }
  return {
    findByDigest: async (wanted) => (await table.all()).find(({ digest }) => digest === wanted) ?? null,
    get: ({ tenantId, keyId }) => find(tenantId, keyId),
    create: (record, quota) => table.alone(record.tenantId, async () => {
      const others = await ofTenant(record.tenantId)
      const counted = others.filter((other) => countsTowardQuota(other, record.createdAt, others.find(({ keyId }) => keyId === other.replacedBy) ?? null))
      if (counted.length >= quota) return 'quota-exceeded'
      await add(record)
      await table.remove(...keysToPurge([...others, record], record.createdAt))
      return 'created'
    }),
    async list ({ tenantId, cursor, limit }) {
      // A form of its own, as databases have it: nothing else is taken for one.
      const after = cursor === null ? null : /^after:(key_[0-9A-Z]{26})$/.exec(cursor)?.[1]
      if (after === undefined) return 'invalid-cursor'
      const rest = (await ofTenant(tenantId)).filter(({ keyId }) => after === null || keyId < after).sort((one, other) => one.keyId < other.keyId ? 1 : -1)
      const records = rest.slice(0, limit)
      return { records, cursor: rest.length > limit ? `after:${records.at(-1)?.keyId}` : null }
    },
    revoke: ({ tenantId, keyId, at, by }) => table.alone(tenantId, async () => {
      const record = await find(tenantId, keyId)
      if (record === null) return 'not-found'
      if (record.revokedAt !== null) return 'already-revoked'
      await table.write(revokeRecord(record, { at, by }))
      return 'revoked'
    }),
    rotate: (rotation) => table.alone(rotation.tenantId, async () => {
      const record = await find(rotation.tenantId, rotation.keyId)
      if (record === null) return 'not-found'
      const replaced = rotateRecord(record, await find(rotation.tenantId, record.rotatedFrom), rotation)
      if (replaced === 'conflict') return 'conflict'
      await table.write(rotation.replacement, replaced)
      await table.remove(...keysToPurge(await ofTenant(rotation.tenantId), rotation.at))
      return 'rotated'
    }),
    replaceSecrets: (replacement) => table.alone(replacement.tenantId, async () => {
      const record = await find(replacement.tenantId, replacement.keyId)
      if (record === null) return 'not-found'
      const changed = replaceSecrets(record, replacement)
      if (changed === 'conflict') return 'conflict'
      await table.write(changed)
      return 'replaced'
    }),
    revokeAll: ({ tenantId, createdBefore, at, by }) => table.alone(tenantId, async () => {
      const due = (await ofTenant(tenantId)).filter(({ revokedAt, createdAt }) => revokedAt === null && (createdBefore === null || createdAt < createdBefore))
      await table.write(...due.map((record) => revokeRecord(record, { at, by })))
      return due.map(({ keyId }) => keyId)
    }),
    async touch (uses) {
      for (const record of await table.all()) {
        const last = uses.filter(({ keyId }) => keyId === record.keyId).map(({ usedAt }) => usedAt).sort().at(-1)
        if (last !== undefined && (record.lastUsedAt === null || record.lastUsedAt < last)) await table.write({ ...record, lastUsedAt: last })
      }
    }
  }
}

storeContract(t, () => {
  const table = new Table()
  return { store: tableStore(table), other: tableStore(table) }
})

t.test('what is copied imports the face of the package, its own fixture and the test runner, and nothing else of this repository', async (t) => {
  const tests = join(import.meta.dirname, '..')
  for (const file of ['api-key/store-contract.ts', 'api-key/record-fixture.ts', 'webhook/replay-contract.ts']) {
    const imported = [...readFileSync(join(tests, file), 'utf8').matchAll(/^import .* from '([^']+)'/gm)].map(([, from]) => from)
    t.strictSame(imported.filter((from) => !['tap', 'node:crypto', '../../lib/index.js', './record-fixture.js'].includes(from ?? '')), [], file)
  }
})
