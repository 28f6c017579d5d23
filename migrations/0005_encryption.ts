import { Effect } from "effect"
import { SqlClient } from "effect/sql"

const statements: ReadonlyArray<string> = [
  // Ids only. A process that lacks one of these keys could not read what is stored, and does not start.
  `CREATE TABLE truss.encryption_keys (
    id text PRIMARY KEY,
    registered_at timestamptz NOT NULL DEFAULT clock_timestamp()
  )`,
  // What is stored in the clear is told from what is encrypted by its beginning, until a service has encrypted it.
  `UPDATE truss.webhooks SET secret = 'v0.' || secret, previous_secret = 'v0.' || previous_secret,
    headers = (SELECT coalesce(json_object_agg(h.key, 'v0.' || h.value), '{}') FROM json_each_text(headers) h)`,
  `CREATE INDEX webhooks_previous_secret ON truss.webhooks (previous_secret_until) WHERE previous_secret IS NOT NULL`
]

export default Effect.gen(function*() {
  const sql = yield* SqlClient.SqlClient
  for (const statement of statements) yield* sql.unsafe(statement)
})
