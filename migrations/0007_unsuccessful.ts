import { Effect } from "effect"
import { SqlClient } from "effect/sql"

/** For `outcome` and `status_code` of the log's list: what failed is found among millions that did not. */
export default Effect.gen(function*() {
  const sql = yield* SqlClient.SqlClient
  yield* sql`CREATE INDEX attempts_unsuccessful ON truss.attempts (webhook_id, seq) WHERE outcome <> 'success'`
})
