import { PgClient } from "@effect/sql-pg"
import { Context, Effect, Layer } from "effect"
import type { DatabaseUnavailable, InvalidParameter } from "../domain/Errors.ts"
import type { Table, TableKind } from "../domain/Table.ts"
import { decodeNames, encodeNames } from "./PageCursor.ts"
import { pageRead } from "./PageRead.ts"
import { primaryKeyOf, refusalOf, typeName, type WatchableFacts } from "./WatchedTable.ts"

/** What `GET /tables` can ask for. */
export interface TableQuery {
  readonly limit: number
  readonly cursor?: string | undefined
  /** Whether partitions are listed beside the tables that they are partitions of. */
  readonly partitions?: boolean | undefined
}

/** A page of tables, by schema and name. */
export interface TablePage {
  readonly data: ReadonlyArray<Table>
  readonly next_cursor: string | null
}

interface Row extends WatchableFacts {
  readonly table_schema: string
  readonly table_name: string
  readonly columns: Table["columns"] | null
  readonly primary_key: ReadonlyArray<string>
  readonly estimated_rows: number | null
}

const kinds: Record<string, TableKind> = {
  r: "table",
  p: "partitioned_table",
  v: "view",
  m: "materialized_view",
  f: "foreign_table"
}

// The page is cut before anything is looked up for it: what it costs does not grow with the database. The columns of
// pg_class and pg_namespace are of type `name`, which sorts by bytes whatever the collation.
const listQuery = `
  WITH RECURSIVE page AS MATERIALIZED (
    SELECT c.oid, n.nspname, c.relname, c.relkind, c.relpersistence, c.relowner
    FROM pg_namespace n JOIN pg_class c ON c.relnamespace = n.oid
    WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND n.nspname NOT IN ('truss', 'information_schema')
      AND NOT starts_with(n.nspname::text, 'pg_') AND ($4::boolean OR NOT c.relispartition)
      AND ($1::text IS NULL OR (n.nspname, c.relname) > ($1::text::name, $2::text::name))
    ORDER BY n.nspname, c.relname LIMIT $3
  ), family AS (
    SELECT oid AS root, oid FROM page
    UNION
    SELECT f.root, i.inhrelid FROM family f JOIN pg_inherits i ON i.inhparent = f.oid
  ), families AS (
    SELECT f.root, sum(c.reltuples) FILTER (WHERE c.relkind <> 'p' AND c.reltuples >= 0) AS rows,
      min(c.oid::regclass::text) FILTER (WHERE c.relkind = 'f') AS foreign_partition,
      min(c.oid::regclass::text) FILTER (WHERE NOT has_table_privilege(c.oid, 'TRIGGER')) AS no_trigger,
      (array_agg(c.oid ORDER BY c.oid) FILTER (WHERE NOT pg_has_role(c.relowner, 'USAGE')))[1] AS foreign
    FROM family f JOIN pg_class c ON c.oid = f.oid GROUP BY f.root
  )
  SELECT p.nspname::text AS table_schema, p.relname::text AS table_name, p.relkind::text AS kind,
    p.relpersistence = 't' AS temporary, f.foreign_partition, f.no_trigger,
    (SELECT json_build_object('name', c.oid::regclass::text, 'owner', pg_get_userbyid(c.relowner))
      FROM pg_class c WHERE c.oid = f.foreign) AS foreign,
    CASE WHEN p.relkind <> 'v' THEN f.rows::float8 END AS estimated_rows,
    (SELECT json_agg(json_build_object('name', a.attname, 'type', ${typeName},
        'nullable', NOT (a.attnotnull OR y.typtype = 'd' AND y.typnotnull)) ORDER BY a.attnum)
      FROM pg_attribute a JOIN pg_type y ON y.oid = a.atttypid
      WHERE a.attrelid = p.oid AND a.attnum > 0 AND NOT a.attisdropped) AS columns,
    ${primaryKeyOf("p.oid")} AS primary_key
  FROM page p JOIN families f ON f.root = p.oid
  ORDER BY p.nspname, p.relname`

const toTable = (row: Row): Table => {
  const refusal = refusalOf(`${row.table_schema}.${row.table_name}`, row)
  return {
    table_schema: row.table_schema,
    table_name: row.table_name,
    kind: kinds[row.kind]!,
    columns: row.columns ?? [],
    primary_key: row.primary_key,
    estimated_rows: row.estimated_rows,
    watchable: refusal === undefined,
    reason: refusal?.detail ?? null
  }
}

/** The tables that people have, by the rules of `WatchedTable`. */
export class Tables extends Context.Service<Tables, {
  list(query: TableQuery): Effect.Effect<TablePage, InvalidParameter | DatabaseUnavailable>
}>()("truss/services/Tables") {
  static readonly layer = Layer.effect(
    Tables,
    Effect.gen(function*() {
      const sql = yield* PgClient.PgClient
      const inTime = pageRead(sql)
      const list = Effect.fn("Tables.list")(function*({ cursor, limit, partitions = false }: TableQuery) {
        const [schema = null, name = null] = cursor === undefined ? [] : yield* decodeNames("tables", cursor)
        const rows = yield* sql.unsafe<Row>(listQuery, [schema, name, limit + 1, partitions])
        const page = rows.slice(0, limit)
        const last = page.at(-1)
        return {
          data: page.map(toTable),
          next_cursor: rows.length > page.length && last !== undefined
            ? encodeNames("tables", [last.table_schema, last.table_name])
            : null
        }
      }, inTime)
      return Tables.of({ list })
    })
  )
}
