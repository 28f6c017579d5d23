import { PgClient } from "@effect/sql-pg"
import { Effect } from "effect"
import type { SqlError } from "effect/sql"

/** The metadata that Hasura 2 keeps in this database; undefined where it keeps none. */
export const readHasuraCatalog: Effect.Effect<unknown, SqlError.SqlError, PgClient.PgClient> = Effect.gen(function*() {
  const sql = yield* PgClient.PgClient
  const [there] = yield* sql<{ there: boolean }>`SELECT to_regclass('hdb_catalog.hdb_metadata') IS NOT NULL AS there`
  if (there?.there !== true) return undefined
  const [row] = yield* sql<{ metadata: string }>`SELECT metadata::text FROM hdb_catalog.hdb_metadata WHERE id = 1`
  return row === undefined ? undefined : JSON.parse(row.metadata)
})
