import type { Outcome } from "../domain/Attempt.ts"
import { encodeAttemptId } from "../domain/AttemptRef.ts"
import { encodeEventId } from "../domain/EventRef.ts"
import type { EventType } from "../domain/EventType.ts"

/** An attempt with the columns of `attemptColumns`. */
export interface AttemptRow {
  readonly seq: number
  readonly nonce: number
  readonly webhook_id: string
  readonly event_slot: number
  readonly event_seq: number
  readonly event_at: number
  readonly table_id: number
  readonly event_type: EventType
  readonly attempt: number
  readonly status_code: number | null
  readonly response_body: string | null
  readonly latency_ms: number
  readonly error: string | null
  readonly outcome: Outcome
  readonly next_attempt_at: Date | null
  readonly replay_of: number | null
  readonly created_at: Date
}

/** The log entry as JSON, its payload the very bytes that were sent. */
export const entryJson = (row: AttemptRow, body: string | null): string => {
  const head = JSON.stringify({
    id: encodeAttemptId({ eventSeq: row.event_seq, nonce: row.nonce }),
    webhook_id: row.webhook_id,
    event_id: encodeEventId({ slot: row.event_slot, tableId: row.table_id, seq: row.event_seq, at: row.event_at }),
    event_type: row.event_type,
    attempt: row.attempt
  })
  const tail = JSON.stringify({
    status_code: row.status_code,
    response_body: row.response_body,
    latency_ms: row.latency_ms,
    error: row.error,
    outcome: row.outcome,
    next_attempt_at: row.next_attempt_at?.toISOString() ?? null,
    replay_of: row.replay_of === null
      ? null
      : encodeAttemptId({ eventSeq: row.event_seq, nonce: row.replay_of }),
    created_at: row.created_at.toISOString()
  })
  return `${head.slice(0, -1)},"payload":${body ?? "null"},${tail.slice(1)}`
}

/** An attempt's columns, of `a`. */
export const attemptColumns = `a.seq::float8 AS seq, a.nonce::float8 AS nonce, a.webhook_id::text, a.event_slot,
  a.event_seq::float8 AS event_seq, (extract(epoch FROM a.event_at) * 1000000)::float8 AS event_at, a.table_id,
  a.event_type::text AS event_type, a.attempt, a.status_code, a.response_body,
  round(a.latency_ms::numeric, 2)::float8 AS latency_ms, a.error, a.outcome::text AS outcome, a.next_attempt_at,
  a.replay_of::float8 AS replay_of, a.created_at`

/** Joins an attempt `a` with the body `e.body` that it sent, null once that is past retention. */
export const withBody = `LEFT JOIN LATERAL (
    SELECT e.body FROM truss.events e
    WHERE e.slot = a.event_slot AND e.table_id = a.table_id AND e.seq = a.event_seq AND e.created_at = a.event_at
  ) e ON true`
