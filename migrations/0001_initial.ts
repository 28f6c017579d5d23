import { Effect } from "effect"
import { SqlClient } from "effect/sql"

const selectMembers = (name: string, condition: string) =>
  `CREATE FUNCTION truss.${name}(r json, keys text[]) RETURNS text LANGUAGE sql IMMUTABLE
    SET search_path = pg_catalog, pg_temp AS $$
      SELECT coalesce((SELECT '{' || string_agg(to_json(e.key) || ':' || e.value, ',' ORDER BY e.n) || '}'
        FROM json_each(r) WITH ORDINALITY AS e (key, value, n) WHERE ${condition}), '{}')
    $$`

/** Every statement of the first schema; `docs/internals/schema.md` says what each table is for. */
const statements: ReadonlyArray<string> = [
  `CREATE TYPE truss.event_type AS ENUM ('INSERT', 'UPDATE', 'DELETE', 'TRUNCATE', 'TEST')`,
  `CREATE TYPE truss.outcome AS ENUM ('success', 'retrying', 'failed')`,

  // Sequences are read and set outside transactions: the listener's flag, see listener/Doorbell.ts.
  `CREATE SEQUENCE truss.bell MINVALUE 0 START 0`,
  `SELECT setval('truss.bell', 0)`,

  // PostgreSQL empties an unlogged table after a crash, and only then: that is how a process that lived through one
  // notices that transaction numbers which it has seen may be given out again.
  `CREATE UNLOGGED TABLE truss.incarnation (
    single boolean PRIMARY KEY DEFAULT true CHECK (single),
    token uuid NOT NULL DEFAULT gen_random_uuid()
  )`,

  `CREATE TABLE truss.slots (
    slot smallint PRIMARY KEY,
    opened_at timestamptz NOT NULL DEFAULT now(),
    closed_xid xid8
  )`,
  `CREATE TABLE truss.tables (
    id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    table_schema text NOT NULL,
    table_name text NOT NULL,
    UNIQUE (table_schema, table_name)
  )`,
  `CREATE SEQUENCE truss.event_seq`,
  `CREATE TABLE truss.events (
    seq bigint NOT NULL DEFAULT nextval('truss.event_seq'),
    xid xid8 NOT NULL DEFAULT pg_current_xact_id(),
    created_at timestamptz NOT NULL,
    table_id integer NOT NULL,
    slot smallint NOT NULL,
    event_type truss.event_type NOT NULL,
    body text NOT NULL
  ) PARTITION BY LIST (slot)`,
  // What is new since a snapshot, and the pages of a backlog; both start with the table, so that the webhook of a
  // quiet table never reads a busy one's events.
  `CREATE INDEX events_xid ON truss.events (table_id, xid)`,
  `CREATE INDEX events_seq ON truss.events (table_id, seq)`,

  `CREATE TABLE truss.webhooks (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    name text NOT NULL,
    table_id integer NOT NULL REFERENCES truss.tables,
    events truss.event_type[] NOT NULL,
    url text NOT NULL,
    headers json NOT NULL,
    secret text,
    active boolean NOT NULL,
    disabled_reason text,
    concurrency integer NOT NULL,
    timeout_ms integer NOT NULL,
    max_attempts integer NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp()
  )`,
  `CREATE INDEX webhooks_table ON truss.webhooks (table_id)`,
  `CREATE INDEX webhooks_created ON truss.webhooks (created_at, id)`,

  // The row that a webhook's actor updates with every batch: where it stands, whose turn it is, how it goes.
  `CREATE TABLE truss.cursors (
    webhook_id uuid PRIMARY KEY REFERENCES truss.webhooks ON DELETE CASCADE,
    epoch bigint NOT NULL DEFAULT 0,
    seen pg_snapshot NOT NULL,
    target pg_snapshot,
    after_seq bigint NOT NULL DEFAULT 0,
    gaps pg_snapshot[] NOT NULL DEFAULT '{}',
    restart pg_snapshot,
    since json NOT NULL DEFAULT '[]',
    fail_count integer NOT NULL DEFAULT 0,
    last_delivery_at timestamptz,
    last_status_code smallint
  ) WITH (fillfactor = 50)`,

  `CREATE SEQUENCE truss.attempt_seq`,
  `CREATE TABLE truss.attempts (
    seq bigint NOT NULL DEFAULT nextval('truss.attempt_seq'),
    nonce bigint NOT NULL,
    event_seq bigint NOT NULL,
    event_at timestamptz NOT NULL,
    created_at timestamptz NOT NULL,
    next_attempt_at timestamptz,
    replay_of bigint,
    webhook_id uuid NOT NULL,
    table_id integer NOT NULL,
    latency_ms real NOT NULL,
    event_type truss.event_type NOT NULL,
    outcome truss.outcome NOT NULL,
    slot smallint NOT NULL,
    event_slot smallint NOT NULL,
    attempt smallint NOT NULL,
    status_code smallint,
    error text,
    response_body text
  ) PARTITION BY LIST (slot)`,
  `CREATE INDEX attempts_seq ON truss.attempts (webhook_id, seq)`,
  `CREATE INDEX attempts_event ON truss.attempts (webhook_id, event_seq)`,

  `CREATE TABLE truss.due (
    webhook_id uuid NOT NULL REFERENCES truss.webhooks ON DELETE CASCADE,
    event_seq bigint NOT NULL,
    event_slot smallint NOT NULL,
    table_id integer NOT NULL,
    attempt smallint NOT NULL,
    at timestamptz NOT NULL,
    PRIMARY KEY (webhook_id, event_seq, event_slot)
  )`,
  `CREATE INDEX due_at ON truss.due (webhook_id, at)`,

  // For the capture functions' two rare cases: a body over the limit, and virtual generated columns.
  selectMembers("only", "e.key = ANY (keys)"),
  selectMembers("without", "e.key <> ALL (keys)"),

  `CREATE TABLE truss.api_keys (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    name text NOT NULL,
    scope text NOT NULL CHECK (scope IN ('read', 'write')),
    prefix text NOT NULL,
    hash bytea NOT NULL UNIQUE,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    last_used_at timestamptz
  )`
]

export default Effect.gen(function*() {
  const sql = yield* SqlClient.SqlClient
  for (const statement of statements) yield* sql.unsafe(statement)
})
