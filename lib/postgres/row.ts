/** A record as a row. */
import type { StoredApiKey } from '../api-key/record.js'

type Kind = 'text' | 'time' | 'json' | 'texts' | 'digest'

const columns: Record<keyof StoredApiKey, readonly [column: string, kind: Kind]> = {
  keyId: ['key_id', 'text'],
  tenantId: ['tenant_id', 'text'],
  name: ['name', 'text'],
  prefix: ['prefix', 'text'],
  environment: ['environment', 'text'],
  scopes: ['scopes', 'texts'],
  digest: ['digest', 'digest'],
  sealedSecrets: ['sealed_secrets', 'json'],
  createdAt: ['created_at', 'time'],
  createdBy: ['created_by', 'text'],
  expiresAt: ['expires_at', 'time'],
  revokedAt: ['revoked_at', 'time'],
  revokedBy: ['revoked_by', 'text'],
  rotatedFrom: ['rotated_from', 'text'],
  replacedBy: ['replaced_by', 'text'],
  lastUsedAt: ['last_used_at', 'time'],
  metadata: ['metadata', 'json']
}

const fields = Object.entries(columns) as Array<[keyof StoredApiKey, readonly [column: string, kind: Kind]]>

/** The columns in the order of `rowValues`. */
export const columnList = fields.map(([, [column]]) => column).join(', ')

/** The parameters of a row, $1 and on. */
export const parameterList = fields.map(([, [, kind]], index) => parameter(kind, index + 1)).join(', ')

/** How many parameters a row has. */
export const columnCount = fields.length

/** The parameter of one field in that list. */
export function parameterOf (field: keyof StoredApiKey): string {
  return parameter(columns[field][1], fields.findIndex(([name]) => name === field) + 1)
}

export function rowValues (record: StoredApiKey): unknown[] {
  return fields.map(([field, [, kind]]) => kind === 'json' || kind === 'texts' ? JSON.stringify(record[field]) : record[field])
}

/**
 * One column, `record`, that holds the whole record as text. So it is read alike whatever type parsers
 * the application has set in its driver, and a time keeps its milliseconds and its zone.
 */
export const recordColumn = `json_build_object(${fields.map(([field, [column, kind]]) => `'${field}', ${read(kind, column)}`).join(', ')})::text as record`

export interface RecordRow { record: string }

export function recordOf (row: RecordRow): StoredApiKey {
  return JSON.parse(row.record) as StoredApiKey
}

/** Whether PostgreSQL can hold a text: no NUL, and no half of a character, which would be stored as another one. */
export function isStorable (text: string): boolean {
  return !/[\0\p{Surrogate}]/u.test(text)
}

function parameter (kind: Kind, position: number): string {
  switch (kind) {
    case 'text': return `$${position}::text`
    case 'time': return `$${position}::timestamptz`
    case 'json': return `$${position}::json`
    case 'texts': return `array(select json_array_elements_text($${position}::json))`
    case 'digest': return `decode($${position}::text, 'hex')`
  }
}

function read (kind: Kind, column: string): string {
  switch (kind) {
    case 'digest': return `encode(${column}, 'hex')`
    case 'time': return `to_char(${column} at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')`
    case 'text':
    case 'json':
    case 'texts': return column
  }
}
