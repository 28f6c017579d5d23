/** Reads from the database under test what the checker compares. */
import type { PgClient } from "@effect/sql-pg"
import { Effect } from "effect"
import { encodeAttemptId } from "../../src/domain/AttemptRef.ts"
import { encodeEventId } from "../../src/domain/EventRef.ts"
import type { EventType } from "../../src/domain/EventType.ts"
import type { Sample } from "./Checker.ts"
import type { Captured, Logged } from "./History.ts"

interface AttemptRow {
  readonly webhook: string
  readonly event_seq: number
  readonly event_slot: number
  readonly event_at: number
  readonly table_id: number
  readonly nonce: number
  readonly event_type: EventType
  readonly attempt: number
  readonly outcome: Logged["outcome"]
  readonly error: string | null
  readonly status_code: number | null
  readonly probe: boolean
  readonly replay: boolean
  readonly created_at: number
  readonly latency_ms: number
}

const attemptColumns = `webhook_id::text AS webhook, event_seq::float8 AS event_seq, event_slot,
  (extract(epoch FROM event_at) * 1000000)::float8 AS event_at, table_id, nonce::float8 AS nonce,
  event_type::text AS event_type, attempt, outcome::text AS outcome, error, status_code, probe,
  replay_of IS NOT NULL AS replay, (extract(epoch FROM created_at) * 1000)::float8 AS created_at,
  latency_ms::float8 AS latency_ms`

const toLogged = (row: AttemptRow): Logged => ({
  webhook: row.webhook,
  eventId: encodeEventId({ seq: row.event_seq, slot: row.event_slot, at: row.event_at, tableId: row.table_id }),
  deliveryId: encodeAttemptId({ eventSeq: row.event_seq, nonce: row.nonce }),
  type: row.event_type,
  attempt: row.attempt,
  outcome: row.outcome,
  error: row.error,
  statusCode: row.status_code,
  probe: row.probe,
  replay: row.replay,
  createdAt: Math.round(row.created_at),
  latencyMs: row.latency_ms
})

/** The whole log, in the order in which it was written. */
export const readLog = (sql: PgClient.PgClient) =>
  Effect.map(
    sql.unsafe<AttemptRow>(`SELECT ${attemptColumns} FROM truss.attempts ORDER BY seq`),
    (rows) => rows.map(toLogged)
  )

/** The change that a body tells of, as the ledger names it. */
export const changeOf = (body: string): string => {
  const { event, old_row, row } = JSON.parse(body) as {
    readonly event: string
    readonly row: { readonly mark: string } | null
    readonly old_row: { readonly mark: string } | null
  }
  return `${event}:${(row ?? old_row)?.mark}`
}

export const readCaptured = (sql: PgClient.PgClient) =>
  Effect.map(
    sql<{
      readonly seq: number
      readonly slot: number
      readonly at: number
      readonly table_id: number
      readonly table_name: string
      readonly type: EventType
      readonly body: string
    }>`SELECT e.seq::float8 AS seq, e.slot, (extract(epoch FROM e.created_at) * 1000000)::float8 AS at, e.table_id,
      t.table_name, e.event_type::text AS type, e.body
      FROM truss.events e JOIN truss.tables t ON t.id = e.table_id ORDER BY e.seq`,
    (rows) =>
      rows.map((row): Captured => ({
        eventId: encodeEventId({ seq: row.seq, slot: row.slot, at: row.at, tableId: row.table_id }),
        table: row.table_name,
        type: row.type,
        change: changeOf(row.body),
        body: row.body
      }))
  )

/** The state of a webhook and its log in one statement, so at one moment. */
export const readSample = Effect.fnUntraced(function*(sql: PgClient.PgClient, id: string, hastened: boolean) {
  const ms = (column: string) => `(extract(epoch FROM ${column}) * 1000)::float8`
  const [row] = yield* sql.unsafe<{
    readonly fail_count: number
    readonly failing_since: number | null
    readonly last_failed_at: number | null
    readonly opened_at: number | null
    readonly log: string | null
  }>(
    `SELECT fail_count, ${ms("failing_since")} AS failing_since, ${ms("last_failed_at")} AS last_failed_at,
      ${ms("opened_at")} AS opened_at, (
        SELECT json_agg(a)::text FROM (
          SELECT ${attemptColumns} FROM truss.attempts WHERE webhook_id = c.webhook_id ORDER BY seq
        ) AS a
      ) AS log
    FROM truss.cursors c WHERE webhook_id = $1::text::uuid`,
    [id]
  )
  const round = (value: number | null) => (value === null ? null : Math.round(value))
  const sample: Sample = {
    webhook: id,
    hastened,
    stored: {
      failCount: row?.fail_count ?? 0,
      failingSince: round(row?.failing_since ?? null),
      lastFailedAt: round(row?.last_failed_at ?? null),
      openedAt: round(row?.opened_at ?? null)
    },
    log: (JSON.parse(row?.log ?? "[]") as ReadonlyArray<AttemptRow>).map(toLogged)
  }
  return sample
})

/** Events that a webhook asks for and that have no end in its log, counted by webhook; those that are due included. */
export const readPending = (sql: PgClient.PgClient) =>
  sql<{ readonly name: string; readonly pending: number; readonly due: number; readonly never: number }>`
    SELECT w.name, count(*)::int AS pending,
      count(*) FILTER (WHERE EXISTS (SELECT FROM truss.due d
        WHERE d.webhook_id = w.id AND d.event_seq = e.seq AND d.event_slot = e.slot))::int AS due,
      count(*) FILTER (WHERE NOT EXISTS (SELECT FROM truss.attempts a
        WHERE a.webhook_id = w.id AND a.event_seq = e.seq))::int AS never
    FROM truss.webhooks w JOIN truss.events e ON e.table_id = w.table_id AND e.event_type = ANY (w.events)
    WHERE NOT EXISTS (SELECT FROM truss.attempts a
      WHERE a.webhook_id = w.id AND a.event_seq = e.seq AND a.outcome <> 'retrying')
    GROUP BY w.name ORDER BY w.name`

/**
 * Brings forward what is due, and the probes of open circuits, as an operator might while the service is stopped: by
 * the contract the first retry waits 5 s and a probe up to a minute, and schedules must be short. What waits for an
 * earlier event of its row (infinity) keeps waiting: its turn is the service's to give.
 */
export const hasten = (sql: PgClient.PgClient) =>
  Effect.andThen(
    sql`UPDATE truss.due SET at = clock_timestamp() WHERE at <> 'infinity'`,
    sql`UPDATE truss.cursors SET last_failed_at = opened_at WHERE opened_at IS NOT NULL`
  )
