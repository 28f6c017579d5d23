import { Effect } from "effect"
import { SqlClient } from "effect/sql"

/** `partitions` of a webhook: `docs/internals/pipeline.md` says how one is split, and becomes one again. */
const statements: ReadonlyArray<string> = [
  `ALTER TABLE truss.webhooks ADD COLUMN partitions smallint NOT NULL DEFAULT 1`,

  // How the webhook is split now, null: not at all. `alone` asks for one part until what concerns several is over;
  // `ended`: the first part waits for the others to end. `probe_until`: a part has a probe under way.
  `ALTER TABLE truss.cursors
    ADD COLUMN layout jsonb,
    ADD COLUMN alone boolean NOT NULL DEFAULT false,
    ADD COLUMN ended boolean NOT NULL DEFAULT false,
    ADD COLUMN probe_until timestamptz`,

  // Where the other parts stand; the first one's position is on the webhook's own row, with all that is of the whole.
  `CREATE TABLE truss.cursor_parts (
    webhook_id uuid NOT NULL REFERENCES truss.webhooks ON DELETE CASCADE,
    part smallint NOT NULL,
    epoch bigint NOT NULL,
    seen pg_snapshot NOT NULL,
    target pg_snapshot,
    after_seq bigint NOT NULL DEFAULT 0,
    gaps pg_snapshot[] NOT NULL DEFAULT '{}',
    restart pg_snapshot,
    commits bigint NOT NULL DEFAULT 0,
    runner uuid,
    ended boolean NOT NULL DEFAULT false,
    PRIMARY KEY (webhook_id, part)
  ) WITH (fillfactor = 50)`,
  // Rows of `cursor_parts` come and go, and an epoch must never come again.
  `CREATE SEQUENCE truss.epoch_seq`,

  `ALTER TABLE truss.due ADD COLUMN part smallint NOT NULL DEFAULT 0`,
  `DROP INDEX truss.due_at`,
  `CREATE INDEX due_at ON truss.due (webhook_id, part, at)`,

  `CREATE TABLE truss.job_parts (
    job_id uuid NOT NULL REFERENCES truss.jobs ON DELETE CASCADE,
    part smallint NOT NULL,
    after_seq bigint NOT NULL,
    finished boolean NOT NULL,
    PRIMARY KEY (job_id, part)
  )`,

  // Which of n parts an event is for, by the text of its row's primary key. With an order, -1: it is about rows of
  // several parts, or of nobody knows which.
  `CREATE FUNCTION truss.part_of(type truss.event_type, body text, keys text[], n int4, ordered boolean) RETURNS int4
    LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
    DECLARE
      b json;
      now_key text := '';
      old_key text := '';
      now_part int4;
      old_part int4;
    BEGIN
      IF type <> 'TRUNCATE' AND cardinality(keys) > 0 THEN
        b := body::json;
        FOR i IN 1 .. cardinality(keys) LOOP
          IF type <> 'DELETE' THEN
            now_key := now_key || ',' || json_extract_path(b, 'row', keys[i])::text;
          END IF;
          IF type = 'DELETE' OR type = 'UPDATE' THEN
            old_key := old_key || ',' || json_extract_path(b, 'old_row', keys[i])::text;
          END IF;
        END LOOP;
        IF type <> 'DELETE' THEN now_part := (hashtext(now_key COLLATE "C") & 2147483647) % n; END IF;
        IF type = 'DELETE' OR type = 'UPDATE' THEN old_part := (hashtext(old_key COLLATE "C") & 2147483647) % n; END IF;
        IF NOT ordered OR type = 'INSERT' THEN
          RETURN coalesce(now_part, old_part, CASE WHEN ordered THEN -1 ELSE 0 END);
        END IF;
        IF type = 'DELETE' OR now_part = old_part THEN RETURN coalesce(old_part, -1); END IF;
      END IF;
      RETURN CASE WHEN ordered THEN -1 ELSE 0 END;
    END $$`
]

export default Effect.gen(function*() {
  const sql = yield* SqlClient.SqlClient
  for (const statement of statements) yield* sql.unsafe(statement)
})
