import { Effect } from "effect"
import { SqlClient } from "effect/sql"

const statements: ReadonlyArray<string> = [
  // Without a key it is a session of the configured one: its hash is keyed by that, see services/Sessions.ts.
  `CREATE TABLE truss.sessions (
    hash bytea PRIMARY KEY,
    key_id uuid REFERENCES truss.api_keys (id) ON DELETE CASCADE,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    expires_at timestamptz NOT NULL
  )`,
  `CREATE INDEX sessions_key ON truss.sessions (key_id, created_at)`,
  `CREATE INDEX sessions_expiry ON truss.sessions (expires_at)`
]

export default Effect.gen(function*() {
  const sql = yield* SqlClient.SqlClient
  for (const statement of statements) yield* sql.unsafe(statement)
})
