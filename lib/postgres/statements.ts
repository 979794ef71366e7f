/** Every statement on the keys. Names stand in them, values never do. */
import { maxEndedKeys, maxPageBytes } from '../api-key/limits.js'
import type { Names } from './names.js'
import { columnCount, columnList, parameterList, parameterOf, recordColumn } from './row.js'

export type Statements = ReturnType<typeof statementsOn>

/** A key that is neither revoked nor expired at a time. */
function works (row: string, at: string): string {
  return `${row}.revoked_at is null and (${row}.expires_at is null or ${row}.expires_at > ${at})`
}

export function statementsOn ({ keys, notification }: Pick<Names, 'keys' | 'notification'>) {
  // As keysToPurge has it.
  const endedBeyond = `select key_id from ${keys} as own where own.tenant_id = $1 and not (${works('own', '$2::timestamptz')}) order by key_id desc offset ${maxEndedKeys}`
  return {
    /** $1: the digest in hex. */
    findByDigest: `select ${recordColumn} from ${keys} where digest = decode($1::text, 'hex')`,

    /** $1: tenant, $2: key id. */
    get: `select ${recordColumn} from ${keys} where tenant_id = $1 and key_id = $2`,

    /** The same, held until the transaction ends. */
    getForChange: `select ${recordColumn} from ${keys} where tenant_id = $1 and key_id = $2 for update`,

    /**
     * $1: tenant, $2: the last key id of the page before, which comes first, or null, $3: how many. What is beyond the bytes of a page
     * is counted and not read: records of older versions may have a megabyte each.
     */
    list: `select record, found from (
      select record, key_id, count(*) over ()::int as found, row_number() over newest as place, sum(octet_length(record)) over newest as bytes from (
        select key_id, ${recordColumn} from ${keys} where tenant_id = $1 and ($2::text is null or key_id <= $2) order by key_id desc limit $3::int
      ) as page window newest as (order by key_id desc)
    ) as measured where place <= 2 or bytes <= ${maxPageBytes} order by key_id desc`,

    /** $1: the tenant's lock, $2: milliseconds. Whoever dies holding it must not hold it for ever. */
    lockTenant: `select set_config('lock_timeout', $2::text, true), set_config('statement_timeout', $2::text, true),
      set_config('idle_in_transaction_session_timeout', $2::text, true), pg_advisory_xact_lock(hashtextextended($1, 0))`,

    insert: `insert into ${keys} (${columnList}) values (${parameterList})`,

    /** The parameters of a row, and the quota after them; under the tenant's lock. As countsTowardQuota has it. */
    insertWithinQuota: `insert into ${keys} (${columnList}) select ${parameterList} where $${columnCount + 1}::float8 > (
      select count(*) from ${keys} as own where own.tenant_id = ${parameterOf('tenantId')} and ${works('own', parameterOf('createdAt'))} and not exists (
        select from ${keys} as next where next.tenant_id = own.tenant_id and next.key_id = own.replaced_by and next.replaced_by is null
        and ${works('next', parameterOf('createdAt'))})) returning true as created`,

    /** $1: tenant, $2: when. Whether there are ended keys beyond those that are kept, and this role may delete them. */
    purgeDue: `select has_table_privilege('${keys}', 'delete') and exists (${endedBeyond}) as due`,

    /** $1: tenant, $2: when. A hundred at most, so that a table of an older version is worked off in steps that each take little time. */
    purge: `delete from ${keys} where key_id in (${endedBeyond} limit 100)`,

    /** $1: tenant, $2: key id, $3: when, $4: by whom. One step: a second one waits for the first and then finds it done. */
    revoke: `with changed as (
      update ${keys} set revoked_at = $3::timestamptz, revoked_by = $4 where tenant_id = $1 and key_id = $2 and revoked_at is null returning true
    ) select exists (select from changed) as revoked, exists (select from ${keys} where tenant_id = $1 and key_id = $2) as known`,

    /** $1: tenant, $2: key id, then what a rotation may change. */
    replace: `update ${keys} set replaced_by = $3, expires_at = $4::timestamptz, revoked_at = $5::timestamptz, revoked_by = $6 where tenant_id = $1 and key_id = $2`,

    /** $1: tenant, $2: key id, $3: the secrets as JSON. */
    setSecrets: `update ${keys} set sealed_secrets = $3::json where tenant_id = $1 and key_id = $2`,

    // Rows are taken in one order wherever several are, so that no two of these wait for each other.
    /** $1: tenant, $2: made before, or null, $3: when, $4: by whom. */
    revokeAll: `with due as (
      select key_id from ${keys} where tenant_id = $1 and revoked_at is null and ($2::timestamptz is null or created_at < $2::timestamptz) order by key_id for update
    ) update ${keys} as own set revoked_at = $3::timestamptz, revoked_by = $4 from due where own.key_id = due.key_id and own.revoked_at is null returning own.key_id`,

    notificationSecret: `select channel, encode(secret, 'hex') as secret from ${notification}`,

    /** $1: the channel of a process's own texts, $2: the text, then the row that it knows: where it is another by now, nothing comes back. */
    probe: `select pg_notify($1, $2) from ${notification} where channel = $3 and secret = decode($4, 'hex')`,

    /** $1: the uses as JSON. */
    touch: `with used as (
      select use.key_id, max(use.used_at) as used_at from json_to_recordset($1::json) as use (key_id text, used_at timestamptz) group by use.key_id
    ), due as (
      select own.key_id, used.used_at from ${keys} as own join used on own.key_id = used.key_id
      where own.last_used_at is null or own.last_used_at < used.used_at order by own.key_id for no key update of own
    ) update ${keys} as own set last_used_at = due.used_at from due where own.key_id = due.key_id and (own.last_used_at is null or own.last_used_at < due.used_at)`
  }
}
