import { PgClient } from "@effect/sql-pg"
import { Context, Effect, Layer } from "effect"
import { type DatabaseUnavailable, EventNotFound } from "../domain/Errors.ts"
import { type Facts, fateOf } from "../domain/EventFate.ts"
import { decodeEventId, type EventRef } from "../domain/EventRef.ts"
import type { EventType } from "../domain/EventType.ts"
import { lacksSubscriber } from "../domain/InProcess.ts"
import { askedLater, liesIn, stretches } from "./Ahead.ts"
import { attemptColumns, type AttemptRow, entryJson } from "./AttemptRow.ts"
import { isOvertaken } from "./LongRead.ts"
import { limitStatements, orUnavailableInTime } from "./PageRead.ts"
import { plain, texts } from "./PgArray.ts"
import { selectFunctionName, selects } from "./Selection.ts"

/** The newest attempts of each webhook are shown, fewer where their payloads would add up to more than this. */
const shownAttempts = 100
const shownBytes = 16 * 1048576

interface EventRow {
  readonly event_type: EventType
  readonly table_schema: string
  readonly table_name: string
  readonly created_at: Date
  readonly body: string
}

interface FactsRow {
  readonly webhook_id: string
  readonly succeeded: boolean | null
  readonly last_outcome: Facts["lastOutcome"]
  readonly is_due: boolean
  /** Null while an earlier event of the row is waited for. */
  readonly due_at: Date | null
  readonly asked: boolean
  readonly before: boolean
  readonly refused_by: "columns" | "filter" | null
  readonly in_stretch: boolean
  readonly held: boolean
  readonly asked_later: boolean
  readonly active: boolean
  readonly lacks_subscriber: boolean
  readonly circuit_open: boolean
}

/** $1–$4 name the event, of `e`. */
const isTheEvent = `e.slot = $1::int2 AND e.table_id = $2::int4 AND e.seq = $3::int8
  AND e.created_at = timestamptz 'epoch' + $4::int8 * interval '1 microsecond'`

const eventParameters = ({ at, seq, slot, tableId }: EventRef) => [slot, tableId, String(seq), String(at)]

const itsAttempts = "a.webhook_id = w.id AND a.event_seq = e.seq AND a.event_at = e.created_at AND a.slot >= e.slot"

/** One row for each webhook of the table, and each that has tried the event. $5 and $6: whose selection says no, and why. */
const factsQuery = `
  SELECT w.id::text AS webhook_id, t.succeeded, t.last_outcome, d.webhook_id IS NOT NULL AS is_due,
    nullif(d.at, 'infinity') AS due_at, e.event_type = ANY (w.events) AS asked, e.created_at < w.created_at AS before,
    r.reason AS refused_by, EXISTS (SELECT FROM (${stretches}) s WHERE ${liesIn}) AS in_stretch,
    ${askedLater("c.since")} AS asked_later, w.active, ${lacksSubscriber} AS lacks_subscriber,
    w.ordering = 'strict' AND EXISTS (
      SELECT FROM truss.due h WHERE h.webhook_id = w.id AND h.event_seq < e.seq
    ) AS held,
    c.opened_at IS NOT NULL AS circuit_open
  FROM truss.events e CROSS JOIN truss.webhooks w JOIN truss.cursors c ON c.webhook_id = w.id
  CROSS JOIN LATERAL (
    SELECT bool_or(a.outcome = 'success') AS succeeded,
      (array_agg(a.outcome::text ORDER BY a.seq DESC))[1] AS last_outcome
    FROM truss.attempts a WHERE ${itsAttempts}
  ) t
  LEFT JOIN truss.due d ON d.webhook_id = w.id AND d.event_seq = e.seq AND d.event_slot = e.slot
  LEFT JOIN unnest($5::text::uuid[], $6::text::text[]) AS r (webhook_id, reason) ON r.webhook_id = w.id
  WHERE ${isTheEvent} AND (w.table_id = e.table_id AND e.event_type <> 'TEST' OR t.last_outcome IS NOT NULL)
  ORDER BY w.created_at, w.id`

const attemptsQuery = `
  SELECT ${attemptColumns} FROM truss.events e CROSS JOIN unnest($5::text::uuid[]) AS w (id) CROSS JOIN LATERAL (
    SELECT * FROM truss.attempts a WHERE ${itsAttempts} ORDER BY a.seq DESC LIMIT $6
  ) a
  WHERE ${isTheEvent} ORDER BY a.seq`

const toFacts = (row: FactsRow): Facts => ({
  succeeded: row.succeeded === true,
  lastOutcome: row.last_outcome,
  due: !row.is_due ? "no" : row.due_at === null ? "waiting" : "yes",
  asked: row.asked,
  before: row.before || row.asked_later,
  refusedBy: row.refused_by,
  ahead: row.in_stretch && !row.asked_later,
  held: row.held,
  active: row.active,
  lacksSubscriber: row.lacks_subscriber,
  circuitOpen: row.circuit_open
})

const fateJson = (row: FactsRow, attempts: ReadonlyArray<string>): string => {
  const { reason, state } = fateOf(toFacts(row))
  const head = JSON.stringify({ webhook_id: row.webhook_id, state, reason })
  const next = JSON.stringify(row.due_at?.toISOString() ?? null)
  return `${head.slice(0, -1)},"attempts":[${attempts.join(",")}],"next_attempt_at":${next}}`
}

/** What became of one event, for each webhook that could have got it. */
export class EventHistories extends Context.Service<EventHistories, {
  /** An `EventHistory` as JSON text, so that no digit of the payload is lost. */
  get(eventId: string): Effect.Effect<string, EventNotFound | DatabaseUnavailable>
}>()("truss/services/EventHistories") {
  static readonly layer = Layer.effect(
    EventHistories,
    Effect.gen(function*() {
      const sql = yield* PgClient.PgClient

      /** Which selections say no to the event, and for what reason: all of them in one statement. */
      const refusals = Effect.fnUntraced(function*(ref: EventRef) {
        const selecting = yield* sql.unsafe<{ id: string }>(
          `SELECT w.id::text FROM truss.webhooks w WHERE w.table_id = $1 AND ${selects}`,
          [ref.tableId]
        )
        if (selecting.length === 0) return []
        const asked = selecting.map(({ id }) => `('${id}', ${selectFunctionName(id)}(e.event_type, e.body))`)
        return yield* sql.unsafe<{ id: string; reason: string }>(
          `SELECT r.id, r.reason FROM truss.events e CROSS JOIN LATERAL (VALUES ${asked.join(", ")}) AS r (id, reason)
          WHERE ${isTheEvent} AND r.reason IS NOT NULL`,
          eventParameters(ref)
        )
      })

      const read = Effect.fnUntraced(function*(id: string, ref: EventRef) {
        yield* sql`SET TRANSACTION ISOLATION LEVEL REPEATABLE READ`
        yield* limitStatements(sql)
        const [event] = yield* sql.unsafe<EventRow>(
          `SELECT e.event_type::text AS event_type, t.table_schema, t.table_name, e.created_at, e.body
          FROM truss.events e JOIN truss.tables t ON t.id = e.table_id WHERE ${isTheEvent}`,
          eventParameters(ref)
        )
        if (event === undefined) return yield* new EventNotFound({ id })
        const refused = event.event_type === "TEST" ? [] : yield* refusals(ref)
        const facts = yield* sql.unsafe<FactsRow>(factsQuery, [
          ...eventParameters(ref),
          plain(refused.map((refusal) => refusal.id)),
          texts(refused.map((refusal) => refusal.reason))
        ])
        const room = Math.floor(shownBytes / event.body.length / Math.max(1, facts.length))
        const attempts = yield* sql.unsafe<AttemptRow>(attemptsQuery, [
          ...eventParameters(ref),
          plain(facts.map((row) => row.webhook_id)),
          Math.max(1, Math.min(shownAttempts, room))
        ])
        return { event, facts, attempts }
      })

      const get = Effect.fn("EventHistories.get")(function*(id: string) {
        const ref = decodeEventId(id)
        if (ref === undefined) return yield* new EventNotFound({ id })
        const { attempts, event, facts } = yield* sql.withTransaction(read(id, ref)).pipe(
          Effect.retry({ times: 2, while: isOvertaken })
        )
        const byWebhook = Map.groupBy(attempts, (row) => row.webhook_id)
        const fates = facts.map((row) =>
          fateJson(row, (byWebhook.get(row.webhook_id) ?? []).map((attempt) => entryJson(attempt, event.body)))
        )
        const head = JSON.stringify({
          id,
          event_type: event.event_type,
          table_schema: event.table_schema,
          table_name: event.table_name,
          committed_at: event.created_at.toISOString()
        })
        return `${head.slice(0, -1)},"payload":${event.body},"webhooks":[${fates.join(",")}]}`
      }, orUnavailableInTime)

      return EventHistories.of({ get })
    })
  )
}
