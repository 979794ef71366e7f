/** Rows of one kind, each of one tenant. Nothing is read or written without saying whose it is, so no route can forget to ask. */
export interface Row {
  readonly id: string
  readonly tenantId: string
}

export class Table<R extends Row> {
  readonly #rows = new Map<string, Map<string, R>>()
  readonly #what: string

  /** `what` is for the sentence of a 404. */
  constructor (what: string) {
    this.#what = what
  }

  /** Adds a row, or puts it in the place of the one with its id. */
  put (row: R): R {
    const rows = this.#rows.get(row.tenantId) ?? new Map<string, R>()
    this.#rows.set(row.tenantId, rows.set(row.id, row))
    return row
  }

  list (tenantId: string): R[] {
    return [...this.#rows.get(tenantId)?.values() ?? []]
  }

  /** Another tenant's row is not there: 404 and not 403, which would tell that it exists. */
  find (tenantId: string, id: string): R {
    const row = this.#rows.get(tenantId)?.get(id)
    if (row === undefined) throw new RequestError(404, `There is no such ${this.#what}`)
    return row
  }

  /** Changes a row in its place. */
  change (tenantId: string, id: string, changes: Partial<Omit<R, keyof Row>>): R {
    return this.put({ ...this.find(tenantId, id), ...changes })
  }

  remove (tenantId: string, id: string): void {
    this.find(tenantId, id)
    this.#rows.get(tenantId)?.delete(id)
  }
}

/** What the error handler answers as it is. */
export class RequestError extends Error {
  readonly statusCode: number

  constructor (statusCode: number, message: string) {
    super(message)
    this.statusCode = statusCode
  }
}
