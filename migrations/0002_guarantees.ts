import { Effect } from "effect"
import { SqlClient } from "effect/sql"

/** Order, circuit, selection, repair: `docs/internals/schema.md` says what each table and column is for. */
const statements: ReadonlyArray<string> = [
  `ALTER TABLE truss.webhooks
    ADD columns text[],
    ADD filter json,
    ADD ordering text NOT NULL DEFAULT 'none' CHECK (ordering IN ('none', 'row', 'strict')),
    ADD rate_limit integer,
    ADD previous_secret text,
    ADD previous_secret_until timestamptz,
    ADD enabled_at timestamptz NOT NULL DEFAULT clock_timestamp()`,

  // The fold of the log, domain/DeliveryState.ts, beside `fail_count`.
  `ALTER TABLE truss.cursors
    ADD failing_since timestamptz,
    ADD last_failed_at timestamptz,
    ADD opened_at timestamptz,
    ADD skips integer NOT NULL DEFAULT 0,
    ADD commits bigint NOT NULL DEFAULT 0`,

  // `at` is infinity while an earlier event of the same row is waited for; keys are those of domain/RowKey.ts.
  `ALTER TABLE truss.due ADD key bigint, ADD key2 bigint, ADD replay_of bigint`,
  `CREATE INDEX due_key ON truss.due (webhook_id, key, event_seq) WHERE key IS NOT NULL`,
  `CREATE INDEX due_key_of_two ON truss.due (webhook_id, key, event_seq) WHERE key2 IS NOT NULL`,
  `CREATE INDEX due_key2 ON truss.due (webhook_id, key2, event_seq) WHERE key2 IS NOT NULL`,

  `ALTER TABLE truss.attempts ADD probe boolean NOT NULL DEFAULT false`,

  `CREATE TABLE truss.jobs (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    webhook_id uuid NOT NULL REFERENCES truss.webhooks ON DELETE CASCADE,
    kind text NOT NULL CHECK (kind IN ('replay', 'recover')),
    state text NOT NULL DEFAULT 'running' CHECK (state IN ('running', 'done', 'cancelled')),
    criteria json NOT NULL,
    log_boundary bigint NOT NULL,
    seen pg_snapshot NOT NULL,
    after_seq bigint NOT NULL DEFAULT 0,
    matched bigint NOT NULL,
    done bigint NOT NULL DEFAULT 0,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp()
  )`,
  `CREATE INDEX jobs_webhook ON truss.jobs (webhook_id, created_at, id)`,
  `CREATE INDEX jobs_running ON truss.jobs (webhook_id, created_at, id) WHERE state = 'running'`,

  `CREATE TABLE truss.alerts (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    webhook_id uuid NOT NULL REFERENCES truss.webhooks ON DELETE CASCADE,
    kind text NOT NULL,
    since timestamptz NOT NULL,
    body text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    attempt smallint NOT NULL DEFAULT 1,
    at timestamptz,
    UNIQUE (webhook_id, kind, since)
  )`,
  `CREATE INDEX alerts_at ON truss.alerts (at) WHERE at IS NOT NULL`,

  `CREATE TABLE truss.audit (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    actor text NOT NULL,
    action text NOT NULL,
    webhook_id uuid,
    detail json NOT NULL DEFAULT '{}'
  )`,

  // Who delivers, when it last said so, and whether it left by itself.
  `CREATE TABLE truss.leader (
    single boolean PRIMARY KEY DEFAULT true CHECK (single),
    holder text NOT NULL,
    pid integer NOT NULL,
    beat timestamptz NOT NULL,
    released boolean NOT NULL DEFAULT false
  )`,

  // Transaction numbers mean nothing in another cluster: where a dump was restored, this tells.
  `CREATE TABLE truss.origin (
    single boolean PRIMARY KEY DEFAULT true CHECK (single),
    system_identifier bigint NOT NULL
  )`
]

export default Effect.gen(function*() {
  const sql = yield* SqlClient.SqlClient
  for (const statement of statements) yield* sql.unsafe(statement)
})
