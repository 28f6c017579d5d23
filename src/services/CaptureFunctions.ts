/**
 * The trigger functions that capture changes. They name no column of the user's table, so no change of the table can
 * make a write fail, and they insert straight into the open partition, so that writers never lock the partitioned
 * table itself: partitions come and go without anybody waiting. Opening a partition replaces the functions.
 *
 * Arguments of a trigger: the table's number, the body up to the (first) row, the largest body in bytes, the primary
 * key's columns and the columns to leave out, both as array literals.
 */
import { createHash } from "node:crypto"

/** What a trigger is fired by, and how. */
export const captureFunctions = ["insert", "update", "delete", "truncate", "row"] as const
export type CaptureFunction = typeof captureFunctions[number]

// Bytes must not depend on who writes: each of these changes what JSON holds for some type.
const header = (name: string) =>
  `CREATE OR REPLACE FUNCTION truss.capture_${name}() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET "TimeZone" = 'UTC'
SET "DateStyle" = 'ISO, MDY'
SET "IntervalStyle" = 'postgres'
SET bytea_output = 'hex'
SET extra_float_digits = '1'
AS `

const json = (row: string) =>
  `CASE WHEN TG_ARGV[4] = '{}' THEN row_to_json(${row})::text ELSE truss.without(row_to_json(${row}), TG_ARGV[4]::text[]) END`

// A bell above 1 is the time, in seconds since 1970, until which the listener sleeps and wants to be rung.
const ring = `IF FOUND AND pg_sequence_last_value('truss.bell'::regclass) > 1
    AND pg_sequence_last_value('truss.bell'::regclass) > extract(epoch FROM clock_timestamp()) THEN
    PERFORM pg_notify('truss', TG_ARGV[0] || ' ' || TG_OP);
  END IF;`

const time = `',"timestamp":"' || to_char(at, 'YYYY-MM-DD"T"HH24:MI:SS.MS') || 'Z"`

/** `rest` is how many bytes the body has beside its head and rows. */
const body = (parts: { whole: string; size: string; rest: number; reduced: string }) =>
  `CASE WHEN ${parts.size} + octet_length(TG_ARGV[1]) + ${parts.rest} <= TG_ARGV[2]::int
      THEN TG_ARGV[1] || ${parts.whole} || ${time}}'
      ELSE TG_ARGV[1] || ${parts.reduced} || ${time},"truncated":true}' END`

const keyOf = (row: string) => `truss.only(${row}::json, TG_ARGV[3]::text[])`

const inserted = body({
  whole: `n || ',"old_row":null'`,
  size: "octet_length(n)",
  rest: 55,
  reduced: `${keyOf("n")} || ',"old_row":null'`
})
const updated = body({
  whole: `n || ',"old_row":' || o`,
  size: "octet_length(n) + octet_length(o)",
  rest: 51,
  reduced: `${keyOf("n")} || ',"old_row":' || ${keyOf("o")}`
})
const deleted = body({ whole: "o", size: "octet_length(o)", rest: 40, reduced: keyOf("o") })

const insertInto = (slot: number) => `INSERT INTO truss.events_${slot} (created_at, table_id, slot, event_type, body)`

const statement = (slot: number, event: string, bodyOf: string, from: string) =>
  `BEGIN
  ${insertInto(slot)}
    SELECT at, TG_ARGV[0]::int, ${slot}, '${event}', ${bodyOf}
    FROM (${from}) r;
  ${ring}
  RETURN NULL;
END`

const row = (slot: number, event: string, bodyOf: string, values: string) =>
  `${insertInto(slot)}
      SELECT at, TG_ARGV[0]::int, ${slot}, '${event}', ${bodyOf} FROM (SELECT ${values}, clock_timestamp() AS at OFFSET 0) r;`

/** The body of each function for the partition `slot`. */
const bodies = (slot: number): Record<CaptureFunction, string> => ({
  insert: statement(
    slot,
    "INSERT",
    inserted,
    `SELECT ${json("t.*")} AS n, clock_timestamp() AS at FROM truss_new t OFFSET 0`
  ),
  // Both transition tables are filled row by row in the same order, so position pairs them.
  update: statement(
    slot,
    "UPDATE",
    updated,
    `SELECT n.j AS n, o.j AS o, clock_timestamp() AS at
      FROM (SELECT row_number() OVER () AS i, ${json("t.*")} AS j FROM truss_new t) n
      JOIN (SELECT row_number() OVER () AS i, ${json("t.*")} AS j FROM truss_old t) o ON o.i = n.i
      ORDER BY n.i`
  ),
  delete: statement(
    slot,
    "DELETE",
    deleted,
    `SELECT ${json("t.*")} AS o, clock_timestamp() AS at FROM truss_old t OFFSET 0`
  ),
  truncate: `BEGIN
  ${insertInto(slot)}
    SELECT at, TG_ARGV[0]::int, ${slot}, 'TRUNCATE',
      TG_ARGV[1] || ${time}}'
    FROM (SELECT clock_timestamp() AS at) r;
  ${ring}
  RETURN NULL;
END`,
  row: `BEGIN
  CASE TG_OP
    WHEN 'INSERT' THEN ${row(slot, "INSERT", inserted, `${json("NEW")} AS n`)}
    WHEN 'UPDATE' THEN ${row(slot, "UPDATE", updated, `${json("NEW")} AS n, ${json("OLD")} AS o`)}
    ELSE ${row(slot, "DELETE", deleted, `${json("OLD")} AS o`)}
  END CASE;
  ${ring}
  RETURN NULL;
END`
})

/** Helpers for the two rare cases: a body over the limit, and virtual generated columns. */
export const captureHelpers: ReadonlyArray<string> = [
  `CREATE OR REPLACE FUNCTION truss.only(r json, keys text[]) RETURNS text LANGUAGE sql IMMUTABLE
   SET search_path = pg_catalog, pg_temp AS
   $truss$ SELECT coalesce((SELECT '{' || string_agg(to_json(e.key) || ':' || e.value, ',' ORDER BY e.n) || '}'
     FROM json_each(r) WITH ORDINALITY AS e (key, value, n) WHERE e.key = ANY (keys)), '{}') $truss$`,
  `CREATE OR REPLACE FUNCTION truss.without(r json, keys text[]) RETURNS text LANGUAGE sql IMMUTABLE
   SET search_path = pg_catalog, pg_temp AS
   $truss$ SELECT coalesce((SELECT '{' || string_agg(to_json(e.key) || ':' || e.value, ',' ORDER BY e.n) || '}'
     FROM json_each(r) WITH ORDINALITY AS e (key, value, n) WHERE e.key <> ALL (keys)), '{}') $truss$`
]

/** The statements that make the functions write to partition `slot`, and a fingerprint to compare with what stands. */
export const captureFunctionsFor = (slot: number): { statements: ReadonlyArray<string>; fingerprint: string } => {
  const parts = [
    ...captureHelpers,
    ...Object.entries(bodies(slot)).map(([name, source]) => `${header(name)}$truss$${source}$truss$`)
  ]
  const fingerprint = createHash("sha256").update(parts.join(";")).digest("hex")
  // The comment is what tells later starts that the functions are as they should be.
  const statements = [...parts, `COMMENT ON FUNCTION truss.capture_insert() IS '${fingerprint}'`]
  return { statements, fingerprint }
}
