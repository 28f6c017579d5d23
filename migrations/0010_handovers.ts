import { Effect } from "effect"
import { SqlClient } from "effect/sql"

/** When a runner of a cluster last took each webhook, or part of one, over from another runner, and from which. */
export default Effect.gen(function*() {
  const sql = yield* SqlClient.SqlClient
  yield* sql`ALTER TABLE truss.cursors ADD COLUMN taken_at timestamptz, ADD COLUMN taken_from uuid`
  yield* sql`ALTER TABLE truss.cursor_parts ADD COLUMN taken_at timestamptz, ADD COLUMN taken_from uuid`
})
