import type { AttemptError, Outcome } from "../domain/Attempt.ts"
import { fold, type Folded, openAfter } from "../domain/DeliveryState.ts"
import type { EventRef } from "../domain/EventRef.ts"
import type { EventType } from "../domain/EventType.ts"
import { plain, texts } from "./PgArray.ts"

/** One entry for the log, and what becomes of its event. */
export interface AttemptRecord {
  readonly ref: EventRef
  readonly eventType: EventType
  readonly nonce: number
  readonly attempt: number
  /** Milliseconds since 1970. */
  readonly createdAt: number
  readonly statusCode: number | null
  readonly responseBody: string | null
  readonly latencyMs: number
  readonly error: AttemptError | null
  readonly outcome: Outcome
  /** Milliseconds since 1970. */
  readonly nextAttemptAt: number | null
  readonly replayOf: number | null
  /** Whether the attempt was made for a row of `truss.due`. */
  readonly wasDue: boolean
  /** It was sent to learn whether the endpoint is back, and uses up none of its event's attempts. */
  readonly probe: boolean
  /** Of the rows that the event is about, where the webhook has an order; see domain/RowKey.ts. */
  readonly keys: ReadonlyArray<number>
}

let isoMs = 0
let isoText = new Date(0).toISOString()

/** Attempts of one batch share most of their times, and a date costs more than the rest of an entry. */
const iso = (ms: number | null): string | null => {
  if (ms === null) return null
  if (ms !== isoMs) {
    isoText = new Date(ms).toISOString()
    isoMs = ms
  }
  return isoText
}

/** Adds $2–$17, a batch as columns, to the log of the webhook that `c` holds, in their order. */
export const insertAttempts = `
  INSERT INTO truss.attempts (webhook_id, slot, event_seq, event_at, event_slot, table_id, event_type, nonce,
    attempt, created_at, status_code, response_body, latency_ms, error, outcome, next_attempt_at, replay_of, probe)
  SELECT c.webhook_id, (SELECT max(slot) FROM truss.slots), r.event_seq,
    timestamptz 'epoch' + r.event_at * interval '1 microsecond', r.event_slot, r.table_id, r.event_type, r.nonce,
    r.attempt, r.created_at, r.status_code, r.response_body, r.latency_ms, r.error, r.outcome,
    r.next_attempt_at, r.replay_of, r.probe
  FROM c, unnest($2::text::int8[], $3::text::int8[], $4::text::int2[], $5::text::int4[],
    $6::text::truss.event_type[], $7::text::int8[], $8::text::int2[], $9::text::timestamptz[],
    $10::text::int2[], $11::text::text[], $12::text::real[], $13::text::text[], $14::text::truss.outcome[],
    $15::text::timestamptz[], $16::text::int8[], $17::text::boolean[])
    WITH ORDINALITY AS r (event_seq, event_at, event_slot, table_id, event_type, nonce, attempt, created_at,
      status_code, response_body, latency_ms, error, outcome, next_attempt_at, replay_of, probe, n)
  ORDER BY r.n`

export const attemptParameters = (records: ReadonlyArray<AttemptRecord>) => [
  plain(records.map((r) => r.ref.seq)),
  plain(records.map((r) => r.ref.at)),
  plain(records.map((r) => r.ref.slot)),
  plain(records.map((r) => r.ref.tableId)),
  plain(records.map((r) => r.eventType)),
  plain(records.map((r) => r.nonce)),
  plain(records.map((r) => r.attempt)),
  plain(records.map((r) => iso(r.createdAt))),
  plain(records.map((r) => r.statusCode)),
  texts(records.map((r) => r.responseBody)),
  plain(records.map((r) => Math.round(r.latencyMs * 100) / 100)),
  plain(records.map((r) => r.error)),
  plain(records.map((r) => r.outcome)),
  plain(records.map((r) => iso(r.nextAttemptAt))),
  plain(records.map((r) => r.replayOf)),
  plain(records.map((r) => r.probe))
]

/** What $18–$24 change on the row of the cursor: domain/DeliveryState.ts says the same of a state in memory. */
export const counted = `
  fail_count = CASE WHEN $18::boolean THEN 0 ELSE fail_count END + $19::int,
  last_delivery_at = coalesce($20::timestamptz, last_delivery_at),
  last_status_code = CASE WHEN $20::timestamptz IS NULL THEN last_status_code ELSE $21::int2 END,
  failing_since = coalesce(CASE WHEN NOT $18 THEN failing_since END, $22::timestamptz),
  last_failed_at = greatest(CASE WHEN NOT $18 THEN last_failed_at END, $23::timestamptz),
  opened_at = coalesce(CASE WHEN NOT $18 THEN opened_at END,
    CASE WHEN CASE WHEN $18 THEN 0 ELSE fail_count END + $19 >= ${openAfter}
      THEN ($24::text::timestamptz[])[${openAfter} - CASE WHEN $18 THEN 0 ELSE fail_count END] END)`

/** The entry as the fold of the log sees it. */
export const toFolded = (record: AttemptRecord): Folded => ({
  eventType: record.eventType,
  success: record.outcome === "success",
  createdAt: record.createdAt,
  endedAt: record.createdAt + Math.round(record.latencyMs)
})

export const countedParameters = (records: ReadonlyArray<AttemptRecord>) => {
  const last = records.findLast((record) => record.eventType !== "TEST")
  const change = fold(records.map(toFolded))
  return [
    change.reset,
    change.failures,
    iso(last?.createdAt ?? null),
    last?.statusCode ?? null,
    iso(change.firstFailedAt),
    iso(change.lastFailedAt),
    plain(change.ends.map(iso))
  ]
}
