import type { PgClient } from "@effect/sql-pg"
import { Effect } from "effect"

/**
 * Everything that a database's catalog says of what is not PostgreSQL's own, a line each, for where there is no
 * `pg_dump` of the server's version: objects with their owners, privileges, comments, definitions, dependencies.
 */
const query = `
WITH mine AS (
  SELECT oid FROM pg_namespace WHERE nspname NOT LIKE 'pg\\_%' AND nspname <> 'information_schema'
)
SELECT line FROM (
  SELECT format('schema %s %s %s', nspname, nspowner::regrole, nspacl) AS line FROM pg_namespace 
    WHERE oid IN (SELECT oid FROM mine)
  UNION ALL
  SELECT format('relation %s.%s %s %s %s %s %s %s', relnamespace::regnamespace, relname, relkind, relpersistence,
    relowner::regrole, relacl, reloptions, relrowsecurity) FROM pg_class WHERE relnamespace IN (SELECT oid FROM mine)
  UNION ALL
  SELECT format('column %s %s %s %s %s %s %s %s', attrelid::regclass, attnum, attname, format_type(atttypid, atttypmod),
    attnotnull, attidentity, attgenerated, pg_get_expr(d.adbin, d.adrelid))
    FROM pg_attribute a JOIN pg_class c ON c.oid = attrelid LEFT JOIN pg_attrdef d ON d.adrelid = attrelid AND d.adnum = attnum
    WHERE c.relnamespace IN (SELECT oid FROM mine) AND attnum > 0
  UNION ALL
  SELECT format('index %s', pg_get_indexdef(indexrelid)) FROM pg_index JOIN pg_class c ON c.oid = indrelid
    WHERE c.relnamespace IN (SELECT oid FROM mine)
  UNION ALL
  SELECT format('constraint %s %s %s', conrelid::regclass, conname, pg_get_constraintdef(oid)) FROM pg_constraint
    WHERE connamespace IN (SELECT oid FROM mine)
  UNION ALL
  SELECT format('trigger %s %s %s', tgrelid::regclass, tgenabled, pg_get_triggerdef(oid))
    FROM pg_trigger WHERE NOT tgisinternal
  UNION ALL
  SELECT format('function %s %s %s %s', oid::regprocedure, proowner::regrole, proacl, pg_get_functiondef(oid)) FROM pg_proc
    WHERE pronamespace IN (SELECT oid FROM mine) AND prokind IN ('f', 'p')
  UNION ALL
  SELECT format('type %s %s %s', oid::regtype, typowner::regrole, typacl) FROM pg_type WHERE typnamespace IN (SELECT oid FROM mine)
  UNION ALL
  SELECT format('rule %s', pg_get_ruledef(oid)) FROM pg_rewrite r WHERE EXISTS (SELECT FROM pg_class c
    WHERE c.oid = ev_class AND c.relnamespace IN (SELECT oid FROM mine))
  UNION ALL
  SELECT format('partition %s %s', inhrelid::regclass, inhparent::regclass) FROM pg_inherits JOIN pg_class c ON c.oid = inhrelid
    WHERE c.relnamespace IN (SELECT oid FROM mine)
  UNION ALL
  SELECT format('comment %s %s %s', classoid::regclass, objoid, description) FROM pg_description WHERE objoid >= 16384
  UNION ALL
  SELECT format('policy %s %s', polrelid::regclass, polname) FROM pg_policy
  UNION ALL
  SELECT format('extension %s', extname) FROM pg_extension
  UNION ALL
  SELECT format('event trigger %s', evtname) FROM pg_event_trigger
  UNION ALL
  SELECT format('default privileges %s', d.*) FROM pg_default_acl d
  UNION ALL
  SELECT format('setting %s', s.setconfig) FROM pg_db_role_setting s WHERE setdatabase = (SELECT oid FROM pg_database WHERE datname = current_database())
  UNION ALL
  SELECT format('statistics %s', pg_get_statisticsobjdef(oid)) FROM pg_statistic_ext
  UNION ALL
  SELECT format('publication %s', pubname) FROM pg_publication
) t ORDER BY line COLLATE "C"`

export const schemaText = (sql: PgClient.PgClient) =>
  Effect.map(sql.unsafe<{ line: string }>(query), (rows) => rows.map(({ line }) => line).join("\n"))
