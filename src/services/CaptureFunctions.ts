/**
 * The trigger functions that capture changes, one set for each watched table. What is known when a function is made is
 * written into it, since every argument that a trigger reads costs its writer about a microsecond; what may change
 * without us is not: no function names a column of the table, so no change of the table can make a write fail.
 *
 * A function inserts straight into the open partition, so that writers never lock the partitioned table itself and
 * partitions come and go without anybody waiting. `Partitions` replaces the name of the partition in all of them.
 */
import type { ChangeType } from "../domain/EventType.ts"
import { literal } from "./Quoting.ts"

/** What fires a function: a statement of one kind, or each row of any. */
export type CaptureKind = Lowercase<ChangeType> | "row"

/** A role by its name, which may change, and its `oid`, which does not. */
export interface RoleRef {
  readonly oid: number
  readonly name: string
}

/** What a table's functions are made from. */
export interface CapturedTable {
  readonly id: number
  readonly schema: string
  readonly name: string
  /** The table's owner where that is not the role that the service connects as. */
  readonly otherOwner: RoleRef | null
  readonly primaryKey: ReadonlyArray<string>
  /** Columns that are left out, because they are null inside every trigger. */
  readonly virtualColumns: ReadonlyArray<string>
  /** Whether the JSON of some column depends on more settings of the session than its time zone. */
  readonly sessionTypes: boolean
  /** The largest body in bytes; a larger one is reduced to the primary key. */
  readonly maxPayload: number
}

/** A function's name in the schema `truss`. */
export const functionName = (tableId: number, kind: CaptureKind): string => `capture_${tableId}_${kind}`

const textArray = (values: ReadonlyArray<string>) => `ARRAY[${values.map(literal).join(", ")}]::text[]`

const ownersFunctionName = (tableId: number, owner: RoleRef): string => `capture_${tableId}_json_${owner.oid}`

/**
 * A row's JSON, made with the rights of the table's owner: `row_to_json` calls casts to `json`, which the owner of an
 * enum or a range type makes as they like, and a capture function runs as the service.
 */
export const ownersFunction = (tableId: number, owner: RoleRef) => {
  const name = ownersFunctionName(tableId, owner)
  const source = "BEGIN RETURN pg_catalog.row_to_json(r); END"
  return {
    name,
    source,
    create: `CREATE OR REPLACE FUNCTION truss.${name}(r record) RETURNS json
LANGUAGE plpgsql SECURITY DEFINER AS ${literal(source)}`,
    signature: `truss.${name}(record)`
  }
}

const json = (table: CapturedTable, row: string) => {
  const made = table.otherOwner === null
    ? `row_to_json(${row})`
    : `truss.${ownersFunctionName(table.id, table.otherOwner)}(${row})`
  return table.virtualColumns.length === 0
    ? `${made}::text`
    : `truss.without(${made}, ${textArray(table.virtualColumns)})`
}

/** The body up to the first row that it has. */
const head = (table: CapturedTable, event: ChangeType) =>
  JSON.stringify({ event, schema: table.schema, table: table.name }).slice(0, -1) + ",\"row\":"

/** The value of `body`, from `n` and `o`, the JSON of the new and the old row. */
const bodyOf = (table: CapturedTable, event: "INSERT" | "UPDATE" | "DELETE") => {
  const start = head(table, event) + (event === "DELETE" ? "null,\"old_row\":" : "")
  const key = (row: string) => `truss.only(${row}::json, ${textArray(table.primaryKey)})`
  const shape = {
    INSERT: { whole: `n || ',"old_row":null`, reduced: `${key("n")} || ',"old_row":null`, size: "octet_length(n)" },
    UPDATE: {
      whole: `n || ',"old_row":' || o || '`,
      reduced: `${key("n")} || ',"old_row":' || ${key("o")} || '`,
      size: "octet_length(n) + octet_length(o)"
    },
    DELETE: { whole: "o || '", reduced: `${key("o")} || '`, size: "octet_length(o)" }
  }[event]
  const rest = { INSERT: 55, UPDATE: 51, DELETE: 40 }[event]
  const room = table.maxPayload - new TextEncoder().encode(start).length - rest
  const time = `,"timestamp":"' || to_char(at, 'YYYY-MM-DD"T"HH24:MI:SS.MS') || 'Z"`
  return `CASE WHEN ${shape.size} <= ${room}
      THEN ${literal(start)} || ${shape.whole}${time}}'
      ELSE ${literal(start)} || ${shape.reduced}${time},"truncated":true}' END`
}

const bell = "pg_catalog.pg_sequence_last_value('truss.bell'::pg_catalog.regclass)"

// A bell above 1 is the time, in seconds since 1970, until which the listener sleeps and wants to be rung. Every name
// has its schema: code of the table's owner, which has run by now, may have changed the search_path. One condition an IF:
// PostgreSQL prepares a whole expression before it evaluates its first part, in each transaction anew.
const ring = (table: CapturedTable) =>
  `  IF ${bell} OPERATOR(pg_catalog.>) 1 THEN
    IF FOUND AND ${bell} OPERATOR(pg_catalog.>) extract(epoch FROM pg_catalog.clock_timestamp()) THEN
      PERFORM pg_catalog.pg_notify('truss', pg_catalog.concat('${table.id} ', TG_OP));
    END IF;
  END IF;
  RETURN NULL;`

// Alone on its line: this is what `Partitions` replaces.
const into = (slot: number) => `INSERT INTO truss.events_${slot} (created_at, table_id, event_type, body)`

const select = (table: CapturedTable, event: "INSERT" | "UPDATE" | "DELETE", from: string) =>
  `SELECT at, ${table.id}, '${event}', ${bodyOf(table, event)}
    FROM (${from}) r;`

const sources = (table: CapturedTable) => ({
  insert: `SELECT ${json(table, "t.*")} AS n, clock_timestamp() AS at FROM truss_new t OFFSET 0`,
  // Both transition tables are filled row by row in the same order, so position pairs them.
  update: `SELECT n.j AS n, o.j AS o, clock_timestamp() AS at
      FROM (SELECT row_number() OVER () AS i, ${json(table, "t.*")} AS j FROM truss_new t) n
      JOIN (SELECT row_number() OVER () AS i, ${json(table, "t.*")} AS j FROM truss_old t) o ON o.i = n.i
      ORDER BY n.i`,
  delete: `SELECT ${json(table, "t.*")} AS o, clock_timestamp() AS at FROM truss_old t OFFSET 0`
})

const sourceOf = (table: CapturedTable, kind: CaptureKind, slot: number): string => {
  const { delete: deleted, insert, update } = sources(table)
  const row = (event: "INSERT" | "UPDATE" | "DELETE", columns: string) =>
    `${into(slot)}
    ${select(table, event, `SELECT ${columns}, clock_timestamp() AS at OFFSET 0`)}`
  switch (kind) {
    case "insert":
      return `${into(slot)}\n    ${select(table, "INSERT", insert)}`
    case "update":
      return `${into(slot)}\n    ${select(table, "UPDATE", update)}`
    case "delete":
      return `${into(slot)}\n    ${select(table, "DELETE", deleted)}`
    case "truncate":
      return `${into(slot)}
    SELECT at, ${table.id}, 'TRUNCATE', ${literal(head(table, "TRUNCATE") + "null,\"old_row\":null,\"timestamp\":\"")}
      || to_char(at, 'YYYY-MM-DD"T"HH24:MI:SS.MS') || 'Z"}'
    FROM (SELECT clock_timestamp() AS at) r;`
    case "row":
      return `IF TG_OP = 'INSERT' THEN
${row("INSERT", `${json(table, "NEW")} AS n`)}
ELSIF TG_OP = 'UPDATE' THEN
${row("UPDATE", `${json(table, "NEW")} AS n, ${json(table, "OLD")} AS o`)}
ELSE
${row("DELETE", `${json(table, "OLD")} AS o`)}
END IF;`
  }
}

// The bytes must not depend on who writes. Each setting costs a microsecond, so those that few types heed are set
// only for tables that have such types.
const settings = (table: CapturedTable) =>
  table.sessionTypes
    ? `SET "DateStyle" = 'ISO, MDY' SET "IntervalStyle" = 'postgres' SET bytea_output = 'hex' SET extra_float_digits = '1'`
    : ""

/** One function as it should stand for the partition `slot`: what `pg_proc.prosrc` holds, and how to make it so. */
export const captureFunction = (table: CapturedTable, kind: CaptureKind, slot: number) => {
  const extra = settings(table)
  const source = `
-- ${extra === "" ? "TimeZone" : "all settings"}
BEGIN
${sourceOf(table, kind, slot)}
${ring(table)}
END`
  const create = `CREATE OR REPLACE FUNCTION truss.${functionName(table.id, kind)}() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET "TimeZone" = 'UTC'
${extra}
AS ${literal(source)}`
  return { name: functionName(table.id, kind), source, create }
}

/** `pg_get_functiondef` of a capture function, with another partition in it. */
export const withPartition = (definition: string, slot: number): string =>
  definition.replaceAll(/^INSERT INTO truss\.events_\d+ \(/gm, `INSERT INTO truss.events_${slot} (`)
