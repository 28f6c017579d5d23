import { Effect } from "effect"
import { SqlClient } from "effect/sql"

const statements: ReadonlyArray<string> = [
  // `status` is null while the first request runs; `alive_at` is when it last said that it does.
  `CREATE TABLE truss.idempotency (
    owner text NOT NULL,
    key text NOT NULL,
    fingerprint bytea NOT NULL,
    token uuid NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    alive_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    status smallint,
    headers json,
    body text,
    PRIMARY KEY (owner, key)
  )`,
  `CREATE INDEX idempotency_created ON truss.idempotency (created_at)`
]

export default Effect.gen(function*() {
  const sql = yield* SqlClient.SqlClient
  for (const statement of statements) yield* sql.unsafe(statement)
})
