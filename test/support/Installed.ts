import { PgClient } from "@effect/sql-pg"
import { Effect } from "effect"
import type { Outcome } from "../../src/domain/Attempt.ts"
import type { EventType } from "../../src/domain/EventType.ts"
import { defaults, type WebhookId } from "../../src/domain/Webhook.ts"
import { Cursors } from "../../src/services/Cursors.ts"
import { eventColumns, type EventRow, type StoredEvent, toStored } from "../../src/services/EventPageQuery.ts"
import { Webhooks } from "../../src/services/Webhooks.ts"
import { run } from "./RunningService.ts"

/** Where nobody delivers: what the actors would write is written by hand. */

/** A table, if there is none yet, and a webhook of it for every kind of change. */
export const installed = Effect.fnUntraced(function*(table: string, more?: Readonly<Record<string, unknown>>) {
  const webhooks = yield* Webhooks
  yield* run(`CREATE TABLE IF NOT EXISTS ${table} (id int PRIMARY KEY, note text)`)
  return yield* webhooks.create({
    ...defaults,
    name: table,
    table_name: table,
    events: ["INSERT", "UPDATE", "DELETE", "TRUNCATE"],
    url: "http://127.0.0.1:1/",
    ...more
  })
})

/** The events of a table, in the order of their positions. */
export const eventsOf = Effect.fnUntraced(function*(table: string) {
  const sql = yield* PgClient.PgClient
  const rows = yield* sql.unsafe<EventRow & { table_id: number }>(
    `SELECT ${eventColumns}, e.table_id FROM truss.events e JOIN truss.tables t ON t.id = e.table_id
    WHERE t.table_name = $1 ORDER BY e.seq`,
    [table]
  )
  return rows.map((row) => toStored(row, row.table_id))
})

let nonce = 0

/** Writes that an event was attempted; what is to be tried again is due in an hour. Returns the attempt's nonce. */
export const attempted = Effect.fnUntraced(function*(
  id: WebhookId,
  { eventType, ref }: Pick<StoredEvent, "ref"> & { readonly eventType: EventType },
  outcome: Outcome,
  createdAt = Date.now()
) {
  const cursors = yield* Cursors
  const sql = yield* PgClient.PgClient
  const nextAttemptAt = outcome === "retrying" ? createdAt + 3_600_000 : null
  nonce++
  yield* cursors.append(id, [{
    ref,
    eventType,
    nonce,
    attempt: 1,
    createdAt,
    statusCode: outcome === "success" ? 200 : 500,
    responseBody: null,
    latencyMs: 1,
    error: null,
    outcome,
    nextAttemptAt,
    replayOf: null,
    wasDue: false,
    probe: false,
    keys: []
  }])
  yield* sql`DELETE FROM truss.due WHERE webhook_id = ${id}::text::uuid AND event_seq = ${String(ref.seq)}::text::int8`
  if (nextAttemptAt !== null) {
    yield* sql`INSERT INTO truss.due (webhook_id, event_seq, event_slot, table_id, attempt, at)
      VALUES (${id}::text::uuid, ${
      String(ref.seq)
    }::text::int8, ${ref.slot}, ${ref.tableId}, 2, now() + interval '1 hour')`
  }
  return nonce
})

/** The webhook's cursor has passed everything that is there, pauses included. */
export const passedAll = (id: WebhookId) =>
  Effect.flatMap(
    PgClient.PgClient,
    (sql) =>
      sql`UPDATE truss.cursors SET seen = pg_current_snapshot(), target = NULL, after_seq = 0, restart = NULL,
      gaps = CASE WHEN cardinality(gaps) % 2 = 1 THEN ARRAY[pg_current_snapshot()] ELSE '{}' END
      WHERE webhook_id = ${id}::text::uuid`
  )
