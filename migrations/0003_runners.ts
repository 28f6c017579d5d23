import { Effect } from "effect"
import { SqlClient } from "effect/sql"

/** The processes on this database; unlogged like `leader`, since a crash of PostgreSQL takes nothing that is not said again. */
export default Effect.gen(function*() {
  const sql = yield* SqlClient.SqlClient
  yield* sql`CREATE UNLOGGED TABLE truss.runners (
    id uuid PRIMARY KEY,
    address text NOT NULL,
    started_at timestamptz NOT NULL,
    active_since timestamptz,
    beat timestamptz NOT NULL
  )`
})
