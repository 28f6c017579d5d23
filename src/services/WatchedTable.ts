import { PgClient } from "@effect/sql-pg"
import { Effect } from "effect"
import { TableNotWatchable } from "../domain/Errors.ts"
import type { RoleRef } from "./CaptureFunctions.ts"

/** A table as the catalog shows it now. */
export interface WatchedTable {
  readonly oid: number
  readonly schema: string
  readonly name: string
  /** Its owner where that is not the role that we connect as. */
  readonly otherOwner: RoleRef | null
  /** The table itself, its partitions and inheriting children: each needs statement triggers of its own. */
  readonly relations: ReadonlyArray<{ readonly oid: number; readonly name: string }>
  /** Whether only row triggers see all changes, in the order in which they were made, and fail no write. */
  readonly rowTriggers: boolean
  /** A partition or child that is a foreign table: statement triggers would fail the writes that reach it. */
  readonly foreignPartition: string | null
  readonly partitioned: boolean
  readonly primaryKey: ReadonlyArray<string>
  /** Virtual generated columns: null inside every trigger, so they are left out. */
  readonly virtualColumns: ReadonlyArray<string>
  /** Whether some column's JSON depends on settings of the session beside its time zone. */
  readonly sessionTypes: boolean
}

interface Row {
  readonly oid: number
  readonly kind: string
  readonly temporary: boolean
  readonly child: boolean
  readonly partitioned: boolean
  readonly owned: boolean
  readonly owner: string
  readonly other_owner: RoleRef | null
  readonly foreign_partition: string | null
  readonly relations: ReadonlyArray<{ oid: number; name: string; owned: boolean; owner: string }>
  readonly no_trigger: string | null
  readonly nested: boolean
  readonly primary_key: ReadonlyArray<string>
  readonly virtual_columns: ReadonlyArray<string>
  readonly session_types: boolean
}

/** The columns of a relation's primary key, in its order. */
export const primaryKeyOf = (oid: string) =>
  `ARRAY(SELECT a.attname::text FROM pg_index x JOIN pg_attribute a ON a.attrelid = ${oid} AND a.attnum = ANY (x.indkey)
    WHERE x.indrelid = ${oid} AND x.indisprimary ORDER BY array_position(x.indkey::int2[], a.attnum))`

/** A column's type as people know it, of `pg_attribute` as `a`: without the schema that they have on their path. */
export const typeName = "regexp_replace(format_type(a.atttypid, a.atttypmod), '^public[.]', '')"

// `reached` follows foreign keys that change the referencing rows: where they come back to the table, or reach a
// table with triggers, a change can cause another one of the same table inside the same statement.
const query = `
WITH RECURSIVE target AS (
  SELECT c.* FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = $1 AND c.relname = $2
), family AS (
  SELECT oid FROM target
  UNION
  SELECT i.inhrelid FROM family f JOIN pg_inherits i ON i.inhparent = f.oid
), reached AS (
  SELECT oid FROM family
  UNION
  SELECT k.conrelid FROM reached r JOIN pg_constraint k ON k.confrelid = r.oid AND k.contype = 'f'
    AND (k.confdeltype IN ('c', 'n', 'd') OR k.confupdtype IN ('c', 'n', 'd'))
), members AS (
  SELECT c.oid, c.oid::regclass::text AS name, c.relkind,
    pg_has_role(c.relowner, 'USAGE') AS owned, pg_get_userbyid(c.relowner) AS owner,
    has_table_privilege(c.oid, 'TRIGGER') AS may_trigger
  FROM family JOIN pg_class c USING (oid)
)
SELECT t.oid::int8::float8 AS oid, t.relkind::text AS kind, t.relpersistence = 't' AS temporary,
  t.relkind = 'p' AS partitioned,
  EXISTS (SELECT FROM pg_inherits i WHERE i.inhrelid = t.oid) AS child,
  pg_has_role(t.relowner, 'USAGE') AS owned, pg_get_userbyid(t.relowner)::text AS owner,
  CASE WHEN pg_get_userbyid(t.relowner) <> current_user
    THEN json_build_object('oid', t.relowner::int8, 'name', pg_get_userbyid(t.relowner)) END AS other_owner,
  (SELECT min(name) FROM members WHERE NOT may_trigger) AS no_trigger,
  (SELECT min(name) FROM members WHERE relkind = 'f') AS foreign_partition,
  (SELECT json_agg(json_build_object('oid', oid::int8, 'name', name, 'owned', owned, 'owner', owner) ORDER BY oid)
    FROM members) AS relations,
  EXISTS (
    SELECT FROM pg_trigger g JOIN pg_proc p ON p.oid = g.tgfoid JOIN pg_namespace n ON n.oid = p.pronamespace
    WHERE g.tgrelid IN (SELECT oid FROM reached) AND NOT g.tgisinternal AND n.nspname <> 'truss'
      AND (g.tgrelid NOT IN (SELECT oid FROM family) OR (g.tgtype & 1) = 1 AND (g.tgtype & 66) = 0)
  ) OR EXISTS (
    SELECT FROM pg_constraint k WHERE k.contype = 'f' AND k.conrelid IN (SELECT oid FROM family)
      AND k.confrelid IN (SELECT oid FROM reached)
      AND (k.confdeltype IN ('c', 'n', 'd') OR k.confupdtype IN ('c', 'n', 'd'))
  ) AS nested,
  ${primaryKeyOf("t.oid")} AS primary_key,
  ARRAY(SELECT a.attname::text FROM pg_attribute a
    WHERE a.attrelid = t.oid AND a.attgenerated = 'v' AND NOT a.attisdropped ORDER BY a.attnum) AS virtual_columns,
  EXISTS (SELECT FROM members m JOIN pg_attribute a ON a.attrelid = m.oid AND a.attnum > 0 AND NOT a.attisdropped
    JOIN pg_type y ON y.oid = a.atttypid LEFT JOIN pg_type b ON b.oid = y.typelem AND y.typcategory = 'A'
    WHERE coalesce(b.typtype, y.typtype) <> 'e' AND coalesce(b.oid, y.oid)::regtype::text NOT IN (
      'smallint', 'integer', 'bigint', 'numeric', 'boolean', 'text', 'character varying', 'character', 'name', 'uuid',
      'json', 'jsonb', 'date', 'timestamp without time zone', 'timestamp with time zone', 'time without time zone'
    )) AS session_types
FROM target t`

const kinds: Record<string, string> = {
  v: "a view",
  m: "a materialized view",
  f: "a foreign table",
  S: "a sequence",
  i: "an index",
  I: "an index",
  c: "a composite type",
  t: "a TOAST table"
}

/** What of a relation decides whether it can be watched. */
export interface WatchableFacts {
  /** Its `relkind`. */
  readonly kind: string
  readonly temporary: boolean
  /** The first of itself, its partitions and its children that belongs to a role which ours is no member of. */
  readonly foreign: { readonly name: string; readonly owner: string } | null | undefined
  /** One of those on which our role may make no trigger, though its owner could let it. */
  readonly no_trigger: string | null
  /** A partition or child that is a foreign table. */
  readonly foreign_partition: string | null
}

const foreignRefusal = (partition: string) =>
  new TableNotWatchable({
    reason: "foreign_partition",
    detail: `its partition ${partition} is a foreign table, for which PostgreSQL cannot capture changes`
  })

/** Why the relation called `label` cannot be watched; `undefined` when it can. */
export const refusalOf = (label: string, facts: WatchableFacts): TableNotWatchable | undefined => {
  const { foreign, foreign_partition, kind, no_trigger, temporary } = facts
  if (kind !== "r" && kind !== "p" || temporary) {
    return new TableNotWatchable({
      reason: "not_a_table",
      detail: `${label} is ${temporary ? "a temporary table" : kinds[kind] ?? "no table"}; only tables can be watched`
    })
  }
  if (foreign !== null && foreign !== undefined) {
    return new TableNotWatchable({
      reason: "not_owner",
      detail: `${foreign.name} belongs to the role ${foreign.owner}: adding and dropping triggers needs that role ` +
        `(GRANT ${foreign.owner} TO the role that Truss Webhooks connects as)`
    })
  }
  if (no_trigger !== null) {
    return new TableNotWatchable({
      reason: "not_owner",
      detail: `the privilege TRIGGER on ${no_trigger} was revoked (GRANT TRIGGER ON ${no_trigger} TO the role that ` +
        "Truss Webhooks connects as)"
    })
  }
  return foreign_partition === null ? undefined : foreignRefusal(foreign_partition)
}

/** Why nothing in this schema can be watched; `undefined` for the schemas of people. */
export const refusalOfSchema = (schema: string, label: string): TableNotWatchable | undefined => {
  if (schema === "truss") {
    return new TableNotWatchable({ reason: "own_table", detail: `${label} belongs to Truss Webhooks itself` })
  }
  return schema === "information_schema" || schema.startsWith("pg_")
    ? new TableNotWatchable({ reason: "system_table", detail: `${label} is a system table` })
    : undefined
}

/**
 * Looks a table up by its exact schema and name, and refuses what cannot be captured, with the reason. A foreign table
 * may have become a partition since the table is watched.
 */
export const findTable = Effect.fn("WatchedTable.find")(function*(schema: string, name: string) {
  const label = `${schema}.${name}`
  const reserved = refusalOfSchema(schema, label)
  if (reserved !== undefined) return yield* reserved
  const sql = yield* PgClient.PgClient
  const [row] = yield* sql.unsafe<Row>(query, [schema, name])
  if (row === undefined) {
    return yield* new TableNotWatchable({ reason: "not_found", detail: `there is no table ${label}` })
  }
  const foreign = row.relations.find((relation) => !relation.owned)
  const refusal = refusalOf(label, { ...row, foreign, foreign_partition: null })
  if (refusal !== undefined) return yield* refusal
  return {
    oid: row.oid,
    schema,
    name,
    otherOwner: row.other_owner,
    relations: row.relations,
    // A partition or child is also written through its parent, where its own statement triggers do not fire.
    rowTriggers: row.nested || row.child || row.foreign_partition !== null,
    foreignPartition: row.foreign_partition,
    partitioned: row.partitioned,
    primaryKey: row.primary_key,
    virtualColumns: row.virtual_columns,
    sessionTypes: row.session_types
  } satisfies WatchedTable
})

/** Looks up a table to be watched: one with a foreign table among its partitions is refused, too. */
export const lookUpTable = Effect.fn("WatchedTable.lookUp")(function*(schema: string, name: string) {
  const table = yield* findTable(schema, name)
  return table.foreignPartition === null ? table : yield* foreignRefusal(table.foreignPartition)
})
