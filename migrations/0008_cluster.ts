import { Effect } from "effect"
import { SqlClient } from "effect/sql"

const statements: ReadonlyArray<string> = [
  // Logged, unlike `truss.runners`: after a crash of PostgreSQL it must still be known who may be sending.
  `CREATE TABLE truss.cluster_runners (
    id uuid PRIMARY KEY,
    machine int GENERATED ALWAYS AS IDENTITY (CYCLE MAXVALUE 1023),
    address text NOT NULL,
    api_address text NOT NULL,
    started_at timestamptz NOT NULL,
    joined_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    beat timestamptz NOT NULL DEFAULT clock_timestamp(),
    runner text,
    healthy boolean NOT NULL DEFAULT true,
    leaving boolean NOT NULL DEFAULT false
  )`,
  `CREATE TABLE truss.cluster_shards (
    shard text PRIMARY KEY,
    runner uuid NOT NULL REFERENCES truss.cluster_runners (id) ON DELETE CASCADE
  )`,
  `CREATE INDEX cluster_shards_runner ON truss.cluster_shards (runner)`,
  // The runner that took the webhook over last; null without a cluster.
  `ALTER TABLE truss.cursors ADD COLUMN runner uuid`
]

export default Effect.gen(function*() {
  const sql = yield* SqlClient.SqlClient
  for (const statement of statements) yield* sql.unsafe(statement)
})
