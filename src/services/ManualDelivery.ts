import { PgClient } from "@effect/sql-pg"
import { Clock, Context, Effect, Layer, PubSub, Random } from "effect"
import { type AttemptError, isSuccess } from "../domain/Attempt.ts"
import { encodeAttemptId, nonceLimit } from "../domain/AttemptRef.ts"
import { type DatabaseUnavailable, type LogEntryNotFound, NoSubscriber, WebhookNotFound } from "../domain/Errors.ts"
import type { EventRef } from "../domain/EventRef.ts"
import type { EventType } from "../domain/EventType.ts"
import { isInProcess } from "../domain/InProcess.ts"
import { exampleOf } from "../domain/JsonShape.ts"
import { isWebhookId, type WebhookId } from "../domain/Webhook.ts"
import { Cursors } from "./Cursors.ts"
import { orUnavailable } from "./Database.ts"
import { DeliveryLog } from "./DeliveryLog.ts"
import * as DeliveryMetrics from "./DeliveryMetrics.ts"
import { endAttempt, TraceDeliveries, traceparentOf } from "./DeliveryTrace.ts"
import { secretColumns, type SecretRow, Secrets } from "./Secrets.ts"
import { attempt, type Send, Sender } from "./Sender.ts"
import { Subscribers } from "./Subscribers.ts"
import { readTableShape } from "./TableShape.ts"
import { announce, WebhookChanges } from "./WebhookChanges.ts"

export interface TestResult {
  readonly log_id: string
  readonly status_code: number | null
  readonly response_body: string | null
  readonly latency_ms: number
  readonly error: AttemptError | null
}

/** Deliveries that somebody asked for and waits for. They need no actor: any process signs, sends and appends. */
export class ManualDelivery extends Context.Service<ManualDelivery, {
  /** Sends a synthetic event shaped like the table. */
  test(webhookId: string): Effect.Effect<TestResult, WebhookNotFound | NoSubscriber | DatabaseUnavailable>
  /** Re-sends the exact bytes of that delivery; the new entry as JSON text. */
  replay(
    webhookId: string,
    logId: string
  ): Effect.Effect<string, WebhookNotFound | LogEntryNotFound | NoSubscriber | DatabaseUnavailable>
}>()("truss/services/ManualDelivery") {
  static readonly layer = Layer.effect(
    ManualDelivery,
    Effect.gen(function*() {
      const sql = yield* PgClient.PgClient
      const cursors = yield* Cursors
      const log = yield* DeliveryLog
      const sender = yield* Sender
      const secrets = yield* Secrets
      const subscribers = yield* Subscribers
      const changes = yield* WebhookChanges
      const context = yield* Effect.context<never>()
      const isTold = yield* TraceDeliveries

      const endpoint = Effect.fnUntraced(function*(id: string) {
        if (!isWebhookId(id)) return yield* new WebhookNotFound({ id })
        const [row] = yield* sql.unsafe<
          SecretRow & { table_id: number; url: string; headers: string; timeout_ms: number }
        >(
          `SELECT w.table_id, w.url, w.headers::text AS headers, ${secretColumns}, w.timeout_ms FROM truss.webhooks w
          WHERE w.id = $1::uuid`,
          [id]
        )
        if (row === undefined) return yield* new WebhookNotFound({ id })
        if (isInProcess(row.url) && subscribers.get(row.url) === undefined) {
          return yield* new NoSubscriber({ url: row.url })
        }
        const send = sender.to({
          url: row.url,
          ...yield* secrets.open(id, row),
          timeoutMs: row.timeout_ms
        })
        return { id, tableId: row.table_id, send }
      })

      /** Sends once and appends what came of it: a manual delivery is never retried. */
      const deliver = Effect.fnUntraced(function*(
        target: { readonly id: WebhookId; readonly send: Send },
        event: { readonly ref: EventRef; readonly eventType: EventType; readonly body: string },
        replayOf: number | null
      ) {
        const nonce = yield* Random.nextIntBetween(0, nonceLimit)
        const createdAt = yield* Clock.currentTimeMillis
        const span = yield* Effect.makeSpan("attempt", { kind: "client" })
        const traceparent = isTold ? traceparentOf(span) : undefined
        const answer = yield* attempt(target.send, { ...event, nonce, traceparent })
        const outcome = isSuccess(answer) ? "success" as const : "failed" as const
        const record = {
          ref: event.ref,
          eventType: event.eventType,
          nonce,
          attempt: 1,
          createdAt,
          statusCode: answer.statusCode,
          responseBody: answer.responseBody,
          latencyMs: answer.latencyMs,
          error: answer.error,
          outcome,
          nextAttemptAt: null,
          replayOf,
          wasDue: false,
          probe: false,
          keys: []
        }
        endAttempt(span, record)
        const written = yield* cursors.append(target.id, [record])
        if (written === undefined) return yield* new WebhookNotFound({ id: target.id })
        DeliveryMetrics.observe([record], [], context)
        // Its circuit is closed now, and its actor does not know.
        if (written.wasOpen && outcome === "success" && event.eventType !== "TEST") {
          yield* announce(sql, target.id)
          yield* PubSub.publish(changes, target.id)
        }
        return { logId: encodeAttemptId({ eventSeq: event.ref.seq, nonce }), answer }
      })

      // A row shaped like the table, every column with an example of its type; an empty one where the table is missing.
      const testEvent = Effect.fnUntraced(function*(tableId: number) {
        const [table] = yield* sql<{ schema: string; name: string }>`
          SELECT table_schema AS schema, table_name AS name FROM truss.tables WHERE id = ${tableId}`
        const now = new Date(yield* Clock.currentTimeMillis).toISOString()
        const shape = yield* readTableShape(table!.schema, table!.name).pipe(
          Effect.provideService(PgClient.PgClient, sql)
        )
        const row = Object.fromEntries(
          shape?.columns.map((column) => [column.name, exampleOf(column.shape, now)]) ?? []
        )
        const body = JSON.stringify({
          event: "TEST",
          schema: table!.schema,
          table: table!.name,
          row,
          old_row: null,
          timestamp: now
        })
        const [event] = yield* sql<{ slot: number; seq: number; at: number }>`
          INSERT INTO truss.events (created_at, table_id, slot, event_type, body)
          SELECT clock_timestamp(), ${tableId}, max(slot), 'TEST', ${body} FROM truss.slots
          RETURNING slot, seq::float8 AS seq, (extract(epoch FROM created_at) * 1000000)::float8 AS at`
        return { ref: { ...event!, tableId }, eventType: "TEST" as const, body }
      })

      const test = Effect.fn("ManualDelivery.test")(function*(webhookId: string) {
        const target = yield* endpoint(webhookId)
        const { answer, logId } = yield* deliver(target, yield* testEvent(target.tableId), null)
        return {
          log_id: logId,
          status_code: answer.statusCode,
          response_body: answer.responseBody,
          latency_ms: Math.round(answer.latencyMs * 100) / 100,
          error: answer.error
        }
      }, orUnavailable)

      const replay = Effect.fn("ManualDelivery.replay")(function*(webhookId: string, logId: string) {
        const target = yield* endpoint(webhookId)
        const original = yield* log.delivery(webhookId, logId)
        const event = { ref: original.event, eventType: original.eventType, body: original.body }
        const again = yield* deliver(target, event, original.ref.nonce)
        return yield* log.get(webhookId, again.logId)
      }, orUnavailable)

      return ManualDelivery.of({ test, replay })
    })
  )
}
