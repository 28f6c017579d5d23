import { PgClient } from "@effect/sql-pg"
import { Context, Effect, Layer } from "effect"
import type { Outcome } from "../domain/Attempt.ts"
import { type AttemptRef, decodeAttemptId } from "../domain/AttemptRef.ts"
import { type DatabaseUnavailable, type InvalidParameter, LogEntryNotFound, WebhookNotFound } from "../domain/Errors.ts"
import { decodeEventId } from "../domain/EventRef.ts"
import type { EventType } from "../domain/EventType.ts"
import { isWebhookId, type WebhookId } from "../domain/Webhook.ts"
import { attemptColumns, type AttemptRow, entryJson, withBody } from "./AttemptRow.ts"
import { orUnavailable } from "./Database.ts"
import { decodeNumber, encodeNumber } from "./PageCursor.ts"
import { pageRead } from "./PageRead.ts"

/** What `GET /webhooks/{id}/logs` can ask for. Times are ISO 8601; `from` is inclusive, `to` is not. */
export interface LogQuery {
  readonly limit: number
  readonly cursor?: string | undefined
  readonly event_type?: EventType | undefined
  readonly outcome?: Outcome | undefined
  readonly status_code?: number | undefined
  readonly event_id?: string | undefined
  readonly from?: Date | undefined
  readonly to?: Date | undefined
}

/** A page stops early when the payloads on it reach this many bytes; `next_cursor` goes on from there. */
const pageBytes = 16 * 1048576

interface Row extends AttemptRow {
  readonly body: string | null
  readonly total: number
}

const toJson = (row: Row) => entryJson(row, row.body)

/**
 * The conditions of a page and their parameters. Only what is asked for is in the statement: a plan that must hold for
 * anything uses no index but the first.
 */
const conditionsOf = (webhookId: WebhookId, before: number | undefined, query: LogQuery) => {
  const parameters: Array<unknown> = [webhookId]
  const conditions = ["a.webhook_id = $1::uuid"]
  const add = (value: unknown, condition: (parameter: string) => string) => {
    if (value !== undefined) conditions.push(condition(`$${parameters.push(value)}`))
  }
  const event = query.event_id === undefined ? undefined : decodeEventId(query.event_id)
  const { status_code: status } = query
  add(before === undefined ? undefined : String(before), (p) => `a.seq < ${p}::int8`)
  add(query.event_type, (p) => `a.event_type = ${p}::text::truss.event_type`)
  add(query.outcome, (p) => `a.outcome = ${p}::text::truss.outcome`)
  add(status, (p) => `a.status_code = ${p}::int2`)
  add(event === undefined ? undefined : String(event.seq), (p) => `a.event_seq = ${p}::int8`)
  add(event?.slot, (p) => `a.event_slot = ${p}::int2`)
  add(query.from?.toISOString(), (p) => `a.created_at >= ${p}::timestamptz`)
  add(query.to?.toISOString(), (p) => `a.created_at < ${p}::timestamptz`)
  // What these imply, so that the index of what did not succeed is found.
  const { outcome = "success" } = query
  if (outcome !== "success" || status !== undefined && (status < 200 || status > 299)) {
    conditions.push("a.outcome <> 'success'")
  }
  return { where: conditions.join(" AND "), parameters }
}

const listQuery = (where: string, limit: string) => `
  WITH page AS (
    SELECT * FROM truss.attempts a WHERE ${where} ORDER BY a.seq DESC LIMIT ${limit}
  ), sized AS (
    SELECT a.*, e.body, count(*) OVER () AS total,
      sum(coalesce(octet_length(e.body), 0)) OVER (ORDER BY a.seq DESC) - coalesce(octet_length(e.body), 0) AS before
    FROM page a ${withBody}
  )
  SELECT ${attemptColumns}, a.body, a.total::float8 AS total FROM sized a
  WHERE a.before < ${pageBytes} ORDER BY a.seq DESC`

/** The delivery that a replay repeats. */
export interface LoggedDelivery {
  readonly webhookId: WebhookId
  readonly ref: AttemptRef
  readonly event: { readonly slot: number; readonly tableId: number; readonly seq: number; readonly at: number }
  readonly eventType: EventType
  readonly body: string
}

/** The append-only log of attempts. Entries come as JSON text, so that no digit of a payload is lost on the way. */
export class DeliveryLog extends Context.Service<DeliveryLog, {
  /** `{"data":[entry…],"next_cursor":…}`, newest first. */
  list(
    webhookId: string,
    query: LogQuery
  ): Effect.Effect<string, WebhookNotFound | InvalidParameter | DatabaseUnavailable>
  get(
    webhookId: string,
    logId: string
  ): Effect.Effect<string, WebhookNotFound | LogEntryNotFound | DatabaseUnavailable>
  /** What a replay needs: the exact bytes; not found once they are past retention. */
  delivery(
    webhookId: string,
    logId: string
  ): Effect.Effect<LoggedDelivery, WebhookNotFound | LogEntryNotFound | DatabaseUnavailable>
}>()("truss/services/DeliveryLog") {
  static readonly layer = Layer.effect(
    DeliveryLog,
    Effect.gen(function*() {
      const sql = yield* PgClient.PgClient
      const inTime = pageRead(sql)

      const known = Effect.fnUntraced(function*(id: string) {
        if (!isWebhookId(id)) return yield* new WebhookNotFound({ id })
        const rows = yield* sql`SELECT FROM truss.webhooks WHERE id = ${id}::text::uuid`
        return rows.length > 0 ? id : yield* new WebhookNotFound({ id })
      })

      const list = Effect.fn("DeliveryLog.list")(function*(id: string, query: LogQuery) {
        const webhookId = yield* known(id)
        const before = query.cursor === undefined ? undefined : yield* decodeNumber(`logs ${webhookId}`, query.cursor)
        if (query.event_id !== undefined && decodeEventId(query.event_id) === undefined) {
          return `{"data":[],"next_cursor":null}`
        }
        const { parameters, where } = conditionsOf(webhookId, before, query)
        const rows = yield* sql.unsafe<Row>(listQuery(where, `$${parameters.length + 1}`), [
          ...parameters,
          query.limit + 1
        ])
        const page = rows.slice(0, query.limit)
        const more = page.length > 0 && rows[0]!.total > page.length
        const next = more ? `"${encodeNumber(`logs ${webhookId}`, page.at(-1)!.seq)}"` : "null"
        return `{"data":[${page.map(toJson).join(",")}],"next_cursor":${next}}`
      }, inTime)

      const find = Effect.fnUntraced(function*(id: string, logId: string) {
        const webhookId = yield* known(id)
        const ref = decodeAttemptId(logId)
        if (ref === undefined) return yield* new LogEntryNotFound({ id: logId })
        const [row] = yield* sql.unsafe<Row>(
          `SELECT ${attemptColumns}, e.body, 1::float8 AS total FROM truss.attempts a ${withBody}
          WHERE a.webhook_id = $1::uuid AND a.event_seq = $2::int8 AND a.nonce = $3::int8`,
          [webhookId, String(ref.eventSeq), String(ref.nonce)]
        )
        return row ?? (yield* new LogEntryNotFound({ id: logId }))
      })

      const get = Effect.fn("DeliveryLog.get")((id: string, logId: string) =>
        find(id, logId).pipe(Effect.map(toJson), inTime)
      )

      const delivery = Effect.fn("DeliveryLog.delivery")(function*(id: string, logId: string) {
        const row = yield* find(id, logId)
        if (row.body === null) return yield* new LogEntryNotFound({ id: logId })
        return {
          webhookId: row.webhook_id as WebhookId,
          ref: { eventSeq: row.event_seq, nonce: row.nonce },
          event: { slot: row.event_slot, tableId: row.table_id, seq: row.event_seq, at: row.event_at },
          eventType: row.event_type,
          body: row.body
        }
      }, orUnavailable)

      return DeliveryLog.of({ list, get, delivery })
    })
  )
}
