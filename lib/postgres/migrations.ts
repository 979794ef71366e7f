/** The tables, as numbered steps that only ever add: an older process goes on working beside a newer one. */
import { configError } from '../errors.js'
import type { Ask, Database } from './database.js'
import { readNames, type NameOptions, type Names } from './names.js'

/**
 * The SQL that makes or completes the tables, for a tool or a database owner to run; then give the store `migrate: 'check'`.
 * It is one transaction, and running it again changes nothing.
 */
export function migrationsSql (options: NameOptions = {}): string {
  const names = readNames(options)
  const steps = migrations.map((migration, index) => `${migration(names).trim()}\n\ninsert into ${names.migrations} (version) values (${index + 1}) on conflict do nothing;`)
  return ['begin;', `select pg_advisory_xact_lock(hashtextextended('${migrationLock(names)}', 0));`, `create schema if not exists ${names.schema};`, bookkeeping(names), ...steps, 'commit;', ''].join('\n\n')
}

/** Applies what is missing. Where nothing is, this needs no right to create anything. */
export async function migrate (database: Database, names: Names): Promise<void> {
  if (await appliedVersion(database.ask, names) >= migrations.length) return
  await database.transact(async (ask) => {
    // Processes that start together make the tables one after the other.
    await ask('select pg_advisory_xact_lock(hashtextextended($1, 0))', [migrationLock(names)])
    // Looked for first: "if not exists" asks for the right to create schemas even where there is one.
    const [schema] = await ask<{ missing: boolean }>('select to_regnamespace($1) is null as missing', [names.schema])
    if (schema?.missing !== false) await ask(`create schema if not exists ${names.schema}`)
    await ask(bookkeeping(names))
    const applied = await appliedVersion(ask, names)
    for (const [index, migration] of migrations.entries()) {
      if (index < applied) continue
      await ask(migration(names))
      await ask(`insert into ${names.migrations} (version) values ($1)`, [index + 1])
    }
  }, migrationLimit)
}

/** Rejects where something is missing, and changes nothing. */
export async function checkMigrations (database: Database, names: Names): Promise<void> {
  const applied = await appliedVersion(database.ask, names)
  if (applied < migrations.length) {
    throw configError('store', `The tables of API keys in schema ${names.schema} are at version ${applied} and have to be at ${migrations.length}. Run the SQL of migrationsSql(), or use migrate: 'auto'`)
  }
}

/** Seconds: an index on a large table takes its time, and so does waiting for the process that makes it. */
const migrationLimit = 60

async function appliedVersion (ask: Ask, names: Names): Promise<number> {
  const [table] = await ask<{ missing: boolean }>('select to_regclass($1) is null as missing', [names.migrations])
  if (table?.missing !== false) return 0
  const [row] = await ask<{ version: number }>(`select coalesce(max(version), 0)::int as version from ${names.migrations}`)
  return row?.version ?? 0
}

// The schema alone: two prefixes in it would race to create it.
function migrationLock ({ schema }: Names): string {
  return `causeflow-auth:migrate:${schema}`
}

function bookkeeping ({ migrations }: Names): string {
  return `create table if not exists ${migrations} (
  version integer primary key,
  applied_at timestamptz not null default now()
);`
}

const migrations: ReadonlyArray<(names: Names) => string> = [
  ({ keys, tell, channel }) => `
create table if not exists ${keys} (
  -- Compared byte by byte, whatever the language of the database: the order of lists, and an exact tenant.
  key_id text collate "C" primary key,
  tenant_id text collate "C" not null,
  name text not null,
  prefix text not null,
  environment text not null check (environment in ('live', 'test')),
  scopes text[] not null,
  digest bytea not null unique check (octet_length(digest) = 32),
  sealed_secrets json not null,
  created_at timestamptz not null check (isfinite(created_at)),
  created_by text,
  expires_at timestamptz check (isfinite(expires_at)),
  revoked_at timestamptz check (isfinite(revoked_at)),
  revoked_by text,
  rotated_from text,
  replaced_by text,
  last_used_at timestamptz check (isfinite(last_used_at)),
  metadata json not null
) with (fillfactor = 90);

create index if not exists ${own(keys, '_tenant')} on ${keys} (tenant_id, key_id);

create or replace function ${tell} () returns trigger language plpgsql set search_path = pg_catalog, pg_temp as $body$
begin
  if tg_op = 'TRUNCATE' then
    -- Names nothing, which means everything.
    perform pg_notify('${channel}', '');
    return null;
  end if;
  if tg_op = 'INSERT' then
    perform pg_notify('${channel}', json_build_object('keyId', new.key_id, 'digest', encode(new.digest, 'hex'))::text);
    return null;
  end if;
  if tg_op = 'UPDATE' then
    -- A last use is no change of the key: told, it would empty every cache each minute.
    old.last_used_at := new.last_used_at;
    if old::text = new::text then
      return null;
    end if;
    if old.key_id <> new.key_id or old.digest <> new.digest then
      perform pg_notify('${channel}', json_build_object('keyId', new.key_id, 'digest', encode(new.digest, 'hex'))::text);
    end if;
  end if;
  perform pg_notify('${channel}', json_build_object('keyId', old.key_id, 'digest', encode(old.digest, 'hex'))::text);
  return null;
end
$body$;

drop trigger if exists tell_change on ${keys};
create trigger tell_change after insert or update or delete on ${keys} for each row execute function ${tell} ();
drop trigger if exists tell_truncate on ${keys};
create trigger tell_truncate after truncate on ${keys} for each statement execute function ${tell} ();
-- Also where changes come by replication, which passes ordinary triggers over.
alter table ${keys} enable always trigger tell_change;
alter table ${keys} enable always trigger tell_truncate;
`,
  // NOTIFY and LISTEN need no privilege, so a channel that anyone can name tells anyone of changes and takes anyone's word for them.
  ({ keys, tell, notify, notification, renew, channel }) => `
create table if not exists ${notification} (
  only_row boolean primary key default true check (only_row),
  -- Where changes are sent. Whoever cannot read this table cannot name it.
  channel text not null,
  secret bytea not null check (octet_length(secret) = 32),
  -- The secret as HMAC (RFC 2104) wants it, which needs no extension then.
  inner_key bytea not null check (octet_length(inner_key) = 64),
  outer_key bytea not null check (octet_length(outer_key) = 64)
);
revoke all on ${notification} from public;

create or replace function ${renew} () returns void language plpgsql set search_path = pg_catalog, pg_temp as $body$
declare
  source text := 'pg_catalog';
  new_channel text;
  new_secret bytea;
  new_inner bytea := decode(repeat('36', 64), 'hex');
  new_outer bytea := decode(repeat('5c', 64), 'hex');
begin
  if to_regprocedure('pg_catalog.gen_random_uuid()') is null then
    select quote_ident(n.nspname) into source from pg_extension e join pg_namespace n on n.oid = e.extnamespace where e.extname = 'pgcrypto';
    if not found then
      raise exception 'PostgreSQL 12 has no random bytes of its own: create extension pgcrypto';
    end if;
  end if;
  execute format('select ''causeflow_'' || replace(%1$s.gen_random_uuid()::text, ''-'', ''''), sha256(convert_to(%1$s.gen_random_uuid()::text || %1$s.gen_random_uuid()::text, ''UTF8''))', source)
    into new_channel, new_secret;
  for place in 0 .. 31 loop
    new_inner := set_byte(new_inner, place, get_byte(new_inner, place) # get_byte(new_secret, place));
    new_outer := set_byte(new_outer, place, get_byte(new_outer, place) # get_byte(new_secret, place));
  end loop;
  delete from ${notification};
  insert into ${notification} (channel, secret, inner_key, outer_key) values (new_channel, new_secret, new_inner, new_outer);
end
$body$;
revoke all on function ${renew} () from public;
select ${renew} () where not exists (select from ${notification});

-- Whoever may revoke keys may read it: the roles of applications.
do $body$
declare
  grantee text;
begin
  for grantee in
    select distinct r.rolname from pg_class c cross join aclexplode(c.relacl) a join pg_roles r on r.oid = a.grantee
    where c.oid = '${keys}'::regclass and a.privilege_type = 'UPDATE' and a.grantee <> c.relowner
  loop
    execute format('grant select on ${notification} to %I', grantee);
  end loop;
end
$body$;

-- As the owner, so that whoever changes a key by hand need not be able to read the secret.
create or replace function ${notify} () returns trigger language plpgsql security definer set search_path = pg_catalog, pg_temp as $body$
declare
  changes text[] := '{}';
  change text;
  message text;
  own record;
begin
  if tg_op = 'TRUNCATE' then
    -- Names nothing, which means everything.
    changes := array[''];
  elsif tg_op = 'INSERT' then
    changes := array[json_build_object('keyId', new.key_id, 'created', true)::text];
  else
    if tg_op = 'UPDATE' then
      -- A last use is no change of the key: told, it would empty every cache each minute.
      old.last_used_at := new.last_used_at;
      if old::text = new::text then
        return null;
      end if;
      if old.key_id <> new.key_id or old.digest <> new.digest then
        changes := array[json_build_object('keyId', new.key_id, 'created', true)::text];
      end if;
    end if;
    changes := changes || json_build_object('keyId', old.key_id)::text;
  end if;
  -- Without the secret nobody would be told: then nothing is changed either.
  select channel, inner_key, outer_key into strict own from ${notification};
  foreach change in array changes loop
    message := txid_current()::text || ' ' || change;
    perform pg_notify(own.channel, encode(sha256(own.outer_key || sha256(own.inner_key || convert_to(message, 'UTF8'))), 'hex') || ' ' || message);
    -- For processes of version 0.1, as long as they run beside newer ones. A newer one does not listen here.
    perform pg_notify('${channel}', change);
  end loop;
  return null;
end
$body$;
-- Otherwise it could be put on a table of anyone's own, to send what he likes.
revoke all on function ${notify} () from public;
revoke all on function ${tell} () from public;

-- Under other names: the SQL of version 0.1, run once more, must not take these away.
drop trigger if exists tell_change on ${keys};
drop trigger if exists tell_truncate on ${keys};
drop trigger if exists notify_change on ${keys};
create trigger notify_change after insert or update or delete on ${keys} for each row execute function ${notify} ();
drop trigger if exists notify_truncate on ${keys};
create trigger notify_truncate after truncate on ${keys} for each statement execute function ${notify} ();
alter table ${keys} enable always trigger notify_change;
alter table ${keys} enable always trigger notify_truncate;
`
]

/** The name of something that lives in the schema of its table. */
function own (table: string, suffix: string): string {
  return `"${table.slice(table.lastIndexOf('.') + 2, -1)}${suffix}"`
}
