import { Schema } from "effect"

export const TableKind = Schema.Literals(["table", "partitioned_table", "view", "materialized_view", "foreign_table"])
export type TableKind = typeof TableKind.Type

/** A table of the database as its catalog shows it, and whether it can be watched. */
export const Table = Schema.Struct({
  table_schema: Schema.String,
  table_name: Schema.String,
  kind: TableKind,
  columns: Schema.Array(Schema.Struct({
    name: Schema.String,
    type: Schema.String,
    nullable: Schema.Boolean
  })),
  /** Empty when there is none. */
  primary_key: Schema.Array(Schema.String),
  /** What the last ANALYZE or VACUUM found, partitions and children included; null before the first one. */
  estimated_rows: Schema.NullOr(Schema.Finite),
  watchable: Schema.Boolean,
  /** Why it cannot be watched, for people to read; null when it can. */
  reason: Schema.NullOr(Schema.String)
}).annotate({ identifier: "Table" })
export type Table = typeof Table.Type
