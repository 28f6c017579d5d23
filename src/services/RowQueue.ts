import { PgClient } from "@effect/sql-pg"
import { Context, Effect, Layer, PubSub } from "effect"
import type { SqlError } from "effect/sql"
import { encodeAttemptId, nonceLimit } from "../domain/AttemptRef.ts"
import { type DatabaseUnavailable, EventNotWaiting, WebhookNotFound } from "../domain/Errors.ts"
import { decodeEventId, type EventRef } from "../domain/EventRef.ts"
import type { EventType } from "../domain/EventType.ts"
import { everyRow, rowKeys } from "../domain/RowKey.ts"
import { isWebhookId, type WebhookId } from "../domain/Webhook.ts"
import type { ActorWebhook } from "./ActorWebhook.ts"
import type { AttemptRecord } from "./AttemptRecord.ts"
import { Cursors } from "./Cursors.ts"
import { orUnavailable } from "./Database.ts"
import { DeliveryLog } from "./DeliveryLog.ts"
import { plain } from "./PgArray.ts"
import { announce, WebhookChanges } from "./WebhookChanges.ts"

/** Bodies that are read at once to find out what they are about. */
const bodiesAtOnce = 50

/** Events of one row that go on together; those behind them follow when they are done. */
const runLength = 200

// What is parked and first of its row goes on, with those behind it that are about no other row.
const releaseQuery = `
  WITH head AS (
    SELECT k.key, h.* FROM (SELECT DISTINCT unnest($2::text::int8[])) AS k (key) CROSS JOIN LATERAL (
      SELECT * FROM (
        (SELECT event_seq, event_slot, key AS key1, key2, at FROM truss.due
          WHERE webhook_id = $1::uuid AND key = k.key ORDER BY event_seq LIMIT 1)
        UNION ALL
        (SELECT event_seq, event_slot, key, key2, at FROM truss.due
          WHERE webhook_id = $1::uuid AND key2 = k.key ORDER BY event_seq LIMIT 1)
      ) d ORDER BY event_seq LIMIT 1
    ) h WHERE h.at = 'infinity'
  ), released AS (
    SELECT d.event_seq, d.event_slot FROM head h CROSS JOIN LATERAL (
      SELECT event_seq, event_slot FROM truss.due
      WHERE webhook_id = $1::uuid AND key = h.key AND event_seq >= h.event_seq AND event_seq < least(
        (SELECT min(event_seq) FROM truss.due WHERE webhook_id = $1::uuid AND key = h.key AND key2 IS NOT NULL),
        (SELECT min(event_seq) FROM truss.due WHERE webhook_id = $1::uuid AND key2 = h.key),
        9223372036854775807)
      ORDER BY event_seq LIMIT ${runLength}
    ) d WHERE h.key2 IS NULL
    UNION
    SELECT h.event_seq, h.event_slot FROM head h
    WHERE h.key2 IS NOT NULL
      AND NOT EXISTS (SELECT FROM truss.due p WHERE p.webhook_id = $1::uuid AND p.event_seq < h.event_seq
        AND p.key = CASE WHEN h.key = h.key1 THEN h.key2 ELSE h.key1 END)
      AND NOT EXISTS (SELECT FROM truss.due p WHERE p.webhook_id = $1::uuid AND p.event_seq < h.event_seq
        AND p.key2 = CASE WHEN h.key = h.key1 THEN h.key2 ELSE h.key1 END)
  )
  UPDATE truss.due d SET at = clock_timestamp() FROM released r
  WHERE d.webhook_id = $1::uuid AND d.event_seq = r.event_seq AND d.event_slot = r.event_slot
  RETURNING d.event_seq`

const parkFollowers = `
  UPDATE truss.due d SET at = 'infinity'
  WHERE d.webhook_id = $1::uuid AND d.part = $2 AND d.at < 'infinity' AND d.key <> ${everyRow} AND (
    EXISTS (SELECT FROM truss.due p WHERE p.webhook_id = $1::uuid AND p.key = d.key AND p.event_seq < d.event_seq)
    OR EXISTS (SELECT FROM truss.due p WHERE p.webhook_id = $1::uuid AND p.key = d.key2 AND p.event_seq < d.event_seq)
    OR EXISTS (SELECT FROM truss.due p WHERE p.webhook_id = $1::uuid AND p.key2 = d.key AND p.event_seq < d.event_seq)
    OR EXISTS (SELECT FROM truss.due p WHERE p.webhook_id = $1::uuid AND p.key2 = d.key2 AND p.event_seq < d.event_seq)
  )`

interface DueKeys {
  readonly key: number
  readonly key2: number | null
  readonly parked: boolean
}

/** The entry that says that somebody let the webhook go past an event. */
const skipped = (
  ref: EventRef,
  due: { readonly attempt: number; readonly replay_of: number | null; readonly event_type: EventType }
): AttemptRecord => ({
  ref,
  eventType: due.event_type,
  nonce: Math.floor(Math.random() * nonceLimit),
  attempt: due.attempt,
  createdAt: Date.now(),
  statusCode: null,
  responseBody: null,
  latencyMs: 0,
  error: "skipped",
  outcome: "failed",
  nextAttemptAt: null,
  replayOf: due.replay_of,
  wasDue: true,
  probe: false,
  keys: []
})

/**
 * The rows of `truss.due` as a queue for each row of the table: the first is to be tried again, those behind it are
 * parked (`at` is infinity) until it is done.
 */
export class RowQueue extends Context.Service<RowQueue, {
  /** Brings the rows of a webhook's part into its order, whatever they were before; returns the keys of each. */
  arrange(webhook: ActorWebhook): Effect.Effect<ReadonlyArray<ReadonlyArray<number>>, SqlError.SqlError>
  /** Lets what is parked first of these keys go on; whether there was anything. */
  release(id: WebhookId, keys: ReadonlyArray<number>): Effect.Effect<boolean, SqlError.SqlError>
  /** Lets the webhook go on past an event that waits for its next attempt; the new log entry as JSON text. */
  skip(
    webhookId: string,
    eventId: string
  ): Effect.Effect<string, WebhookNotFound | EventNotWaiting | DatabaseUnavailable>
}>()("truss/services/RowQueue") {
  static readonly layer = Layer.effect(
    RowQueue,
    Effect.gen(function*() {
      const sql = yield* PgClient.PgClient
      const cursors = yield* Cursors
      const log = yield* DeliveryLog
      const changes = yield* WebhookChanges

      const release = Effect.fnUntraced(function*(id: WebhookId, keys: ReadonlyArray<number>) {
        return (yield* sql.unsafe(releaseQuery, [id, plain(keys)])).length > 0
      })

      const findKeys = Effect.fnUntraced(function*({ id, part, primaryKey }: ActorWebhook) {
        // What was written while the order was strict.
        yield* sql`UPDATE truss.due SET key = NULL
          WHERE webhook_id = ${id}::text::uuid AND part = ${part} AND key = ${everyRow}`
        while (true) {
          const rows = yield* sql<{ seq: number; slot: number; event_type: EventType | null; body: string | null }>`
            SELECT d.event_seq::float8 AS seq, d.event_slot AS slot, e.event_type::text AS event_type, e.body
            FROM truss.due d LEFT JOIN truss.events e
              ON e.slot = d.event_slot AND e.table_id = d.table_id AND e.seq = d.event_seq
            WHERE d.webhook_id = ${id}::text::uuid AND d.part = ${part} AND d.key IS NULL
            ORDER BY d.event_seq LIMIT ${bodiesAtOnce}`
          if (rows.length === 0) return
          const keys = rows.map(({ body, event_type }) =>
            body === null ? [everyRow] : rowKeys(event_type!, body, primaryKey)
          )
          yield* sql`
            UPDATE truss.due d SET key = r.key, key2 = r.key2
            FROM unnest(${plain(rows.map((row) => row.seq))}::text::int8[], ${
            plain(rows.map((row) => row.slot))
          }::text::int2[], ${plain(keys.map((pair) => pair[0]!))}::text::int8[], ${
            plain(keys.map((pair) => pair[1] ?? null))
          }::text::int8[]) AS r (seq, slot, key, key2)
            WHERE d.webhook_id = ${id}::text::uuid AND d.event_seq = r.seq AND d.event_slot = r.slot`
        }
      })

      const arrange = Effect.fn("RowQueue.arrange")(function*(webhook: ActorWebhook) {
        const { id, ordering, part } = webhook
        if (ordering !== "row") {
          yield* sql`UPDATE truss.due SET at = CASE WHEN at = 'infinity' THEN clock_timestamp() ELSE at END,
              key = ${ordering === "strict" ? everyRow : null}::int8, key2 = NULL
            WHERE webhook_id = ${id}::text::uuid AND part = ${part}
              AND (at = 'infinity' OR key IS DISTINCT FROM ${ordering === "strict" ? everyRow : null}::int8)`
          if (ordering === "none") return []
        } else {
          yield* findKeys(webhook)
          yield* sql.unsafe(parkFollowers, [id, part])
        }
        const rows = yield* sql<DueKeys>`
          SELECT key::float8 AS key, key2::float8 AS key2, at = 'infinity' AS parked
          FROM truss.due WHERE webhook_id = ${id}::text::uuid AND part = ${part}`
        const keys = rows.map((row) => row.key2 === null ? [row.key] : [row.key, row.key2])
        const parked = new Set(keys.filter((_, i) => rows[i]!.parked).flat())
        if (parked.size > 0) yield* release(id, [...parked])
        return keys
      })

      const skip = Effect.fn("RowQueue.skip")(function*(webhookId: string, eventId: string) {
        if (!isWebhookId(webhookId)) return yield* new WebhookNotFound({ id: webhookId })
        const event = decodeEventId(eventId)
        const nonce = yield* sql.withTransaction(Effect.gen(function*() {
          // The cursor first, as a commit of the actor does.
          const known = yield* sql`UPDATE truss.cursors SET skips = skips + 1
            WHERE webhook_id = ${webhookId}::text::uuid RETURNING skips`
          if (known.length === 0) return yield* new WebhookNotFound({ id: webhookId })
          if (event === undefined) return yield* new EventNotWaiting({ id: eventId })
          const [row] = yield* sql<DueKeys & { attempt: number; replay_of: number | null; event_type: EventType }>`
            DELETE FROM truss.due d USING truss.events e
            WHERE d.webhook_id = ${webhookId}::text::uuid AND d.event_seq = ${String(event.seq)}::text::int8
              AND d.event_slot = ${event.slot} AND d.table_id = ${event.tableId}
              AND e.slot = d.event_slot AND e.table_id = d.table_id AND e.seq = d.event_seq
            RETURNING d.attempt, d.replay_of::float8 AS replay_of, e.event_type::text AS event_type,
              coalesce(d.key, 0)::float8 AS key, d.key2::float8 AS key2, d.at = 'infinity' AS parked`
          if (row === undefined) return yield* new EventNotWaiting({ id: eventId })
          const record = skipped(event, row)
          yield* cursors.append(webhookId, [record])
          yield* release(webhookId, row.key2 === null ? [row.key] : [row.key, row.key2])
          yield* announce(sql, webhookId)
          return record.nonce
        }))
        yield* PubSub.publish(changes, webhookId)
        return yield* Effect.catchTag(
          log.get(webhookId, encodeAttemptId({ eventSeq: event!.seq, nonce })),
          "LogEntryNotFound",
          Effect.die
        )
      }, orUnavailable)

      return RowQueue.of({ arrange, release, skip })
    })
  )
}
