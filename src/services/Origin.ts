import { PgClient } from "@effect/sql-pg"
import { Effect } from "effect"
import { sqlState } from "./Database.ts"
import { joinAll } from "./Layouts.ts"
import { Partitions } from "./Partitions.ts"
import { texts } from "./PgArray.ts"
import { selectFunctionName } from "./Selection.ts"
import { foreignXid } from "./Slots.ts"

/** Pause between questions whether earlier writers have ended. */
const askEvery = "200 millis"

/** How much earlier than the last delivery that the tables know of, by its clock, a later event may say it happened. */
const clockMargin = "1 hour"

/**
 * Notices that the tables came from another PostgreSQL cluster, by a dump: transaction numbers, which positions and
 * events are made of, mean nothing here. Whoever delivers asks before any actor runs. Then events that are there already
 * stand apart from new ones, in partitions that no snapshot is compared with, and each that was not dealt with is put
 * into `truss.due` for the webhooks that ask for it; every position begins anew with the partition opened now.
 */
export const settleOrigin = Effect.fn("Origin.settle")(function*() {
  const sql = yield* PgClient.PgClient
  const partitions = yield* Partitions

  // Not every role may ask, and a refusal would end a transaction.
  const here = yield* sql<{ id: string }>`SELECT system_identifier::text AS id FROM pg_control_system()`.pipe(
    Effect.map((rows) => rows[0]?.id ?? null),
    Effect.catchIf(
      (error) => sqlState(error) === "42501",
      () => Effect.as(Effect.logDebug("cannot ask which cluster this is: a restored dump may go unnoticed"), null)
    )
  )

  // Without an identifier to compare, only positions ahead of the server tell.
  const known = Effect.map(
    sql<{ id: string | null; ahead: boolean }>`
      SELECT (SELECT system_identifier::text FROM truss.origin) AS id, EXISTS (
        SELECT FROM truss.cursors WHERE pg_snapshot_xmax(seen) > pg_snapshot_xmax(pg_current_snapshot())) AS ahead`,
    (rows) => rows[0]!
  )
  const isForeign = (origin: { readonly id: string | null; readonly ahead: boolean }) =>
    here === null || origin.id === null ? origin.ahead : origin.id !== here

  const store = here === null ? Effect.void : sql`
    INSERT INTO truss.origin (system_identifier) VALUES (${here}::text::int8)
    ON CONFLICT (single) DO UPDATE SET system_identifier = excluded.system_identifier`

  /** Waits until whoever may still write to the partitions of before has ended. */
  const outwait = Effect.gen(function*() {
    const writers = yield* sql<{ id: string }>`
      SELECT DISTINCT l.virtualtransaction AS id FROM pg_locks l
      JOIN pg_class c ON c.oid = l.relation AND c.relkind IN ('r', 'p')
      WHERE l.locktype = 'relation' AND l.mode = 'RowExclusiveLock'
        AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())`
    let said = false
    while (true) {
      const left = yield* sql<{ pid: number | null }>`
        SELECT DISTINCT pid FROM pg_locks
        WHERE virtualtransaction = ANY (${texts(writers.map((writer) => writer.id))}::text::text[])`
      if (left.length === 0) return
      if (!said) {
        yield* Effect.logWarning("deliveries begin when these sessions have ended their transactions", {
          pids: left.map((row) => row.pid)
        })
        said = true
      }
      yield* Effect.sleep(askEvery)
    }
  })

  const moveOver = Effect.gen(function*() {
    const [before] = yield* sql<{ now: string }>`SELECT pg_current_snapshot()::text AS now`
    const slot = yield* partitions.open
    yield* outwait
    const queued = yield* sql.withTransaction(Effect.gen(function*() {
      yield* sql`SELECT pg_advisory_xact_lock(hashtext('truss.origin'))`
      if (!isForeign(yield* known)) return undefined
      yield* joinAll(sql)
      const selecting = yield* sql<{ id: string }>`
        SELECT w.id::text AS id FROM truss.webhooks w JOIN pg_proc p ON p.pronamespace = 'truss'::regnamespace
          AND p.proname = 'select_' || replace(w.id::text, '-', '')`
      const [count] = yield* sql.unsafe<{ events: number; webhooks: number }>(
        queueQuery(selecting.map((webhook) => webhook.id)),
        [slot, clockMargin]
      )
      yield* sql`
        UPDATE truss.cursors c SET epoch = epoch + 1, seen = ${before!.now}::pg_snapshot, target = NULL, after_seq = 0,
          gaps = CASE WHEN w.active THEN '{}' ELSE ARRAY[${before!.now}::pg_snapshot] END, since = '[]', restart = NULL
        FROM truss.webhooks w WHERE w.id = c.webhook_id`
      yield* sql`UPDATE truss.slots SET closed_xid = ${foreignXid}::xid8 WHERE slot < ${slot}`
      // What a job was to send was decided by positions that mean nothing any more.
      yield* sql`UPDATE truss.jobs SET state = 'cancelled' WHERE state = 'running'`
      yield* store
      return count!
    }))
    if (queued === undefined) return
    yield* Effect.logWarning(
      "the schema truss came from another PostgreSQL cluster, by a dump or an upgrade: the transaction numbers that " +
        "positions are made of belong to that one. Events that were not attempted yet are queued, positions begin " +
        "anew, what the log shows as attempted is not sent again",
      { ...queued, partition: slot }
    )
  })

  const origin = yield* known
  if (isForeign(origin)) return yield* moveOver
  if (origin.id === null) yield* store
})

/**
 * Queues what was not dealt with: $1 the partition of new events, $2 the margin between clocks. The snapshots of a
 * position say it of events that came with the dump. Events written here since then have numbers of this cluster, which
 * those snapshots say nothing about: newer than the row of `origin` and no newer than their own row, and later than the
 * last delivery. Of those only the log knows. `selecting` are the webhooks that have a function which says what they
 * select.
 */
const queueQuery = (selecting: ReadonlyArray<string>) => {
  const refusals = selecting.map((id) => `WHEN '${id}' THEN ${selectFunctionName(id)}(e.event_type, e.body)`)
  return `
  WITH here AS MATERIALIZED (
    SELECT pg_snapshot_xmax(pg_current_snapshot())::text::int8 AS now,
      coalesce((SELECT max(last_delivery_at) FROM truss.cursors), '-infinity') - $2::text::interval AS since
  ), restored AS MATERIALIZED (
    SELECT coalesce((SELECT now - ((now - o.xmin::text::int8) & 4294967295) FROM truss.origin o), 0) AS xid FROM here
  ), queued AS (
    INSERT INTO truss.due (webhook_id, event_seq, event_slot, table_id, attempt, at)
    SELECT w.id, e.seq, e.slot, e.table_id, 1, now() + row_number() OVER (ORDER BY e.seq) * interval '1 microsecond'
    FROM here, restored, truss.webhooks w
    JOIN truss.cursors c ON c.webhook_id = w.id
    JOIN truss.events e ON e.table_id = w.table_id AND e.event_type = ANY (w.events) AND e.slot < $1::int4
    WHERE CASE
      WHEN e.xid::text::int8 > restored.xid
        AND e.xid::text::int8 <= here.now - ((here.now - e.xmin::text::int8) & 4294967295)
        AND e.created_at > here.since
      THEN w.active AND e.created_at >= w.created_at
      ELSE NOT pg_visible_in_snapshot(e.xid, coalesce(c.restart, c.seen))
        AND NOT (c.restart IS NULL AND c.target IS NOT NULL AND e.seq <= c.after_seq
          AND pg_visible_in_snapshot(e.xid, c.target))
        AND NOT EXISTS (SELECT FROM generate_series(1, cardinality(c.gaps), 2) i
          WHERE NOT pg_visible_in_snapshot(e.xid, c.gaps[i])
            AND (c.gaps[i + 1] IS NULL OR pg_visible_in_snapshot(e.xid, c.gaps[i + 1])))
        AND NOT EXISTS (SELECT FROM json_to_recordset(c.since) AS s (types text[], at text)
          WHERE e.event_type::text = ANY (s.types) AND pg_visible_in_snapshot(e.xid, s.at::pg_snapshot))
      END
      AND NOT EXISTS (SELECT FROM truss.attempts a
        WHERE a.webhook_id = w.id AND a.event_seq = e.seq AND a.event_at = e.created_at)
      ${refusals.length === 0 ? "" : `AND CASE w.id ${refusals.join(" ")} END IS NULL`}
    ON CONFLICT (webhook_id, event_seq, event_slot) DO NOTHING
    RETURNING webhook_id
  )
  SELECT count(*)::float8 AS events, count(DISTINCT webhook_id)::float8 AS webhooks FROM queued`
}
