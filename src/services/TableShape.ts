import { PgClient } from "@effect/sql-pg"
import { Effect } from "effect"
import { type CatalogType, type JsonShape, shapeOf, type TypeUse } from "../domain/JsonShape.ts"
import { primaryKeyOf, typeName } from "./WatchedTable.ts"

/** What a row of a relation is in the JSON of a delivery. */
export interface TableShape {
  /** Its `relkind`. */
  readonly kind: string
  readonly temporary: boolean
  /** Empty when there is none. */
  readonly primaryKey: ReadonlyArray<string>
  /** Without virtual generated columns, which are left out of deliveries. */
  readonly columns: ReadonlyArray<{
    readonly name: string
    /** The column's type as people know it. */
    readonly type: string
    readonly nullable: boolean
    readonly shape: JsonShape
  }>
}

interface Row {
  readonly kind: string
  readonly temporary: boolean
  readonly primary_key: ReadonlyArray<string>
  readonly columns: ReadonlyArray<TypeUse & { name: string; label: string; nullable: boolean }> | null
  readonly types: ReadonlyArray<CatalogType> | null
}

/** An attribute's type, of `pg_attribute` as `a`. */
const use = `'name', a.attname, 'type', a.atttypid::int8, 'modifier', a.atttypmod, 'dimensions', a.attndims`

const isArray = "t.typsubscript = 'pg_catalog.array_subscript_handler'::regproc"

const isField = "a.attnum > 0 AND NOT a.attisdropped"

// Since PostgreSQL 18 a NOT NULL may not have been checked yet for the rows that were there before it. A NOT NULL of a
// domain holds for the domains that are made of it. 16384: types from there on are not PostgreSQL's own.
const query = `
WITH RECURSIVE relation AS (
  SELECT c.* FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = $1 AND c.relname = $2
), fields AS (
  SELECT a.* FROM relation r JOIN pg_attribute a ON a.attrelid = r.oid AND ${isField} AND a.attgenerated <> 'v'
), reached AS (
  SELECT a.atttypid AS oid, a.attnum AS domain_of FROM fields a
  UNION
  SELECT next.oid, CASE WHEN t.typtype = 'd' THEN r.domain_of END
  FROM reached r JOIN pg_type t ON t.oid = r.oid CROSS JOIN LATERAL (
    SELECT t.typbasetype WHERE t.typtype = 'd'
    UNION ALL SELECT t.typelem WHERE ${isArray}
    UNION ALL SELECT a.atttypid FROM pg_attribute a WHERE t.typtype = 'c' AND a.attrelid = t.typrelid AND ${isField}
  ) next (oid)
)
SELECT r.relkind::text AS kind, r.relpersistence = 't' AS temporary, ${primaryKeyOf("r.oid")} AS primary_key,
  (SELECT json_agg(json_build_object(${use}, 'label', ${typeName}, 'nullable', NOT (
      a.attnotnull AND NOT EXISTS (SELECT FROM pg_constraint k
        WHERE k.conrelid = r.oid AND k.contype = 'n' AND k.conkey = ARRAY[a.attnum] AND NOT k.convalidated)
      OR EXISTS (SELECT FROM reached d JOIN pg_type t ON t.oid = d.oid WHERE d.domain_of = a.attnum AND t.typnotnull)
    )) ORDER BY a.attnum) FROM fields a) AS columns,
  (SELECT json_agg(json_build_object(
      'oid', t.oid::int8,
      'base', CASE WHEN t.typtype = 'd' THEN
        json_build_object('type', t.typbasetype::int8, 'modifier', t.typtypmod, 'dimensions', t.typndims) END,
      'item', CASE WHEN ${isArray} THEN t.typelem::int8 END,
      'fields', CASE WHEN t.typtype = 'c' THEN coalesce((SELECT json_agg(json_build_object(${use}) ORDER BY a.attnum)
        FROM pg_attribute a WHERE a.attrelid = t.typrelid AND ${isField}), '[]') END,
      'labels', CASE WHEN t.typtype = 'e' THEN coalesce((SELECT json_agg(e.enumlabel ORDER BY e.enumsortorder)
        FROM pg_enum e WHERE e.enumtypid = t.oid), '[]') END,
      'castToJson', t.oid >= 16384 AND EXISTS (SELECT FROM pg_cast c
        WHERE c.castsource = t.oid AND c.casttarget = 'pg_catalog.json'::regtype AND c.castmethod = 'f')
    )) FROM pg_type t WHERE t.oid IN (SELECT oid FROM reached)) AS types
FROM relation r`

/** Looks a relation up by its exact schema and name; `undefined` where there is none. Anybody may ask. */
export const readTableShape = Effect.fn("TableShape.read")(function*(schema: string, name: string) {
  const sql = yield* PgClient.PgClient
  const [row] = yield* sql.unsafe<Row>(query, [schema, name])
  if (row === undefined) return undefined
  const of = shapeOf(new Map(row.types?.map((type) => [type.oid, type])))
  return {
    kind: row.kind,
    temporary: row.temporary,
    primaryKey: row.primary_key,
    columns: row.columns?.map((column) => ({
      name: column.name,
      type: column.label,
      nullable: column.nullable,
      shape: of(column)
    })) ?? []
  } satisfies TableShape
})
