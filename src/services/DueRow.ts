import type { EventRef } from "../domain/EventRef.ts"
import { everyRow } from "../domain/RowKey.ts"
import type { AttemptRecord } from "./AttemptRecord.ts"
import { plain } from "./PgArray.ts"

/** An event that waits in `truss.due` behind another one of its row. */
export interface ParkedEvent {
  readonly ref: EventRef
  readonly attempt: number
  readonly replayOf: number | null
  readonly keys: ReadonlyArray<number>
  /** Whether it has a row in `truss.due` already. */
  readonly wasDue: boolean
}

/**
 * What becomes of `truss.due` in the statement that writes attempts, of the webhook that `c` holds: $32–$36 and, for
 * webhooks with an order, $37–$47. Rows belong to the part that writes them. A row that was there and is not any more was skipped, and stays away.
 */
export const dueChanges = (ordered: boolean, part: number) => `
  again AS (
    INSERT INTO truss.due (webhook_id, event_seq, event_slot, table_id, attempt, at, replay_of, key, key2, part)
    SELECT c.webhook_id, r.event_seq, r.event_slot, r.table_id,
      r.attempt + CASE WHEN r.error = 'aborted' OR r.probe THEN 0 ELSE 1 END, r.at, r.replay_of, r.key, r.key2, ${part}
    FROM c, unnest($2::text::int8[], $4::text::int2[], $5::text::int4[], $8::text::int2[], $13::text::text[],
      $15::text::timestamptz[], $16::text::int8[], $17::text::boolean[], $32::text::boolean[], $33::text::int8[],
      $34::text::int8[])
      AS r (event_seq, event_slot, table_id, attempt, error, at, replay_of, probe, was_due, key, key2)
    WHERE r.at IS NOT NULL AND (NOT r.was_due OR EXISTS (SELECT FROM truss.due d
      WHERE d.webhook_id = c.webhook_id AND d.event_seq = r.event_seq AND d.event_slot = r.event_slot))
    ON CONFLICT (webhook_id, event_seq, event_slot) DO UPDATE SET attempt = excluded.attempt, at = excluded.at
  ), over AS (
    DELETE FROM truss.due d USING c, unnest($35::text::int8[], $36::text::int2[]) AS r (event_seq, event_slot)
    WHERE d.webhook_id = c.webhook_id AND d.event_seq = r.event_seq AND d.event_slot = r.event_slot
  )${ordered ? ordering(part) : ""}`

// `behind` puts back what was to follow an event that failed again: all of its row, and what was read already.
const ordering = (part: number) =>
  `, parked AS (
    INSERT INTO truss.due (webhook_id, event_seq, event_slot, table_id, attempt, at, replay_of, key, key2, part)
    SELECT c.webhook_id, r.event_seq, r.event_slot, r.table_id, r.attempt, 'infinity', r.replay_of, r.key, r.key2, ${part}
    FROM c, unnest($37::text::int8[], $38::text::int2[], $39::text::int4[], $40::text::int2[], $41::text::int8[],
      $42::text::int8[], $43::text::int8[])
      AS r (event_seq, event_slot, table_id, attempt, replay_of, key, key2)
    ON CONFLICT (webhook_id, event_seq, event_slot) DO NOTHING
  ), behind AS (
    UPDATE truss.due d SET at = 'infinity'
    FROM c, (
      SELECT d.event_seq, d.event_slot FROM unnest($44::text::int8[], $45::text::int8[]) AS r (key, event_seq)
        JOIN truss.due d ON d.webhook_id = $1::uuid AND d.key = r.key AND d.event_seq > r.event_seq
      UNION
      SELECT * FROM unnest($46::text::int8[], $47::text::int2[])
    ) AS r (event_seq, event_slot)
    WHERE d.webhook_id = c.webhook_id AND d.event_seq = r.event_seq AND d.event_slot = r.event_slot
  )`

/** Whether its event's row of `truss.due` goes: it will not be tried again. */
export const leavesDue = ({ nextAttemptAt, wasDue }: AttemptRecord): boolean => wasDue && nextAttemptAt === null

export const dueParameters = (
  records: ReadonlyArray<AttemptRecord>,
  parked: ReadonlyArray<ParkedEvent>,
  ordered: boolean
) => {
  const over = records.filter(leavesDue)
  const common = [
    plain(records.map((r) => r.wasDue)),
    plain(records.map((r) => r.keys[0] ?? null)),
    plain(records.map((r) => r.keys[1] ?? null)),
    plain(over.map((r) => r.ref.seq)),
    plain(over.map((r) => r.ref.slot))
  ]
  if (!ordered) return common
  const stuck = records.flatMap((r) =>
    r.nextAttemptAt === null
      ? []
      : r.keys.flatMap((key) => key === everyRow ? [] : [{ key, seq: r.ref.seq }])
  )
  const fresh = parked.filter((event) => !event.wasDue)
  const back = parked.filter((event) => event.wasDue)
  return [
    ...common,
    plain(fresh.map((p) => p.ref.seq)),
    plain(fresh.map((p) => p.ref.slot)),
    plain(fresh.map((p) => p.ref.tableId)),
    plain(fresh.map((p) => p.attempt)),
    plain(fresh.map((p) => p.replayOf)),
    plain(fresh.map((p) => p.keys[0] ?? null)),
    plain(fresh.map((p) => p.keys[1] ?? null)),
    plain(stuck.map((s) => s.key)),
    plain(stuck.map((s) => s.seq)),
    plain(back.map((p) => p.ref.seq)),
    plain(back.map((p) => p.ref.slot))
  ]
}
