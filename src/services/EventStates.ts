import type { PgClient } from "@effect/sql-pg"
import { Effect } from "effect"
import { WebhookNotFound } from "../domain/Errors.ts"
import type { ChangeType } from "../domain/EventType.ts"
import { isWebhookId, type WebhookId } from "../domain/Webhook.ts"
import { askedLater, liesIn, stretches } from "./Ahead.ts"
import { plain } from "./PgArray.ts"
import { selectFunctionName, selects } from "./Selection.ts"

/** Which events of which webhook are meant, and what its cursor says of them. */
export interface Subject {
  readonly webhookId: WebhookId
  readonly tableId: number
  readonly types: ReadonlyArray<ChangeType>
  /** Whether it has `columns` or a `filter`. */
  readonly selects: boolean
  /** JSON: since when types that were added later are asked for. */
  readonly since: string
  /** JSON: the stretches that the cursor has ahead of it. */
  readonly ahead: string
  /** The partitions where events of the time can stand. */
  readonly slots: ReadonlyArray<number>
  readonly from: Date | undefined
  readonly to: Date | undefined
  /** Only events after this position, up to the next. */
  readonly afterSeq?: number
  readonly lastSeq?: number
}

/** The partitions that can have events created from `from` to `to`, an hour left for clocks that were set. */
export const slotsBetween = (from: string, to: string) =>
  `ARRAY(SELECT s.slot FROM truss.slots s
    WHERE (${to}::timestamptz IS NULL OR s.opened_at < ${to}::timestamptz + interval '1 hour')
      AND (${from}::timestamptz IS NULL OR s.closed_xid IS NULL
        OR (SELECT min(n.opened_at) FROM truss.slots n WHERE n.slot > s.slot) > ${from}::timestamptz - interval '1 hour')
    ORDER BY s.slot)`

/** A webhook with everything it asks for in some time, as it stands in the snapshot of the statement. */
export const readSubject = Effect.fnUntraced(function*(
  sql: PgClient.PgClient,
  id: string,
  from: Date | undefined,
  to: Date | undefined
) {
  if (!isWebhookId(id)) return yield* new WebhookNotFound({ id })
  const [row] = yield* sql.unsafe<{
    table_id: number
    types: ReadonlyArray<ChangeType>
    selects: boolean
    since: string
    ahead: string
    slots: ReadonlyArray<number>
  }>(
    `SELECT w.table_id, w.events::text[] AS types, ${selects} AS selects, c.since::text AS since,
      (SELECT json_agg(s) FROM (${stretches}) s)::text AS ahead, ${slotsBetween("$2", "$3")} AS slots
    FROM truss.webhooks w JOIN truss.cursors c ON c.webhook_id = w.id WHERE w.id = $1::uuid`,
    [id, from?.toISOString() ?? null, to?.toISOString() ?? null]
  )
  if (row === undefined) return yield* new WebhookNotFound({ id })
  const { ahead, selects: selecting, since, slots, table_id, types } = row
  const subject: Subject = {
    webhookId: id,
    tableId: table_id,
    types,
    selects: selecting,
    since,
    ahead,
    slots,
    from,
    to
  }
  return subject
})

/**
 * `states`, CTEs of the state of each of the subject's events, with `slot`, `seq`, `created_at`, `xid`: delivered, failed,
 * pending, filtered or never_attempted. $1–$9 are `statesParameters`. A body is looked up only where the selection has
 * to be asked, so that none is carried through the joins.
 */
export const statesOf = ({ selects, slots, webhookId }: Subject): string => `
  s AS MATERIALIZED (
    SELECT * FROM json_to_recordset($9::text::json) AS s (low pg_snapshot, high pg_snapshot, after_seq int8)
  ), tried AS (
    SELECT a.event_seq, a.event_at, bool_or(a.outcome = 'success') AS succeeded, max(a.seq) AS last,
      max(a.seq) FILTER (WHERE a.outcome = 'failed') AS failed
    FROM truss.attempts a
    WHERE a.webhook_id = $1::uuid AND a.event_seq > $6::int8 AND a.event_seq <= $7::int8
      AND ($4::timestamptz IS NULL OR a.event_at >= $4) AND ($5::timestamptz IS NULL OR a.event_at < $5)
      AND a.slot >= ${Math.min(32_767, ...slots)}::int2
    GROUP BY a.event_seq, a.event_at
  ), states AS (
    SELECT e.slot, e.seq, e.created_at, e.xid,
      CASE
        WHEN t.succeeded THEN 'delivered'
        WHEN d.event_seq IS NOT NULL THEN 'pending'
        WHEN t.last = t.failed THEN 'failed'
        WHEN t.last IS NOT NULL THEN 'pending'
        ${
  selects
    ? `WHEN (SELECT ${selectFunctionName(webhookId)}(b.event_type, b.body) FROM truss.events b
          WHERE b.slot = e.slot AND b.table_id = $2::int4 AND b.seq = e.seq AND b.created_at = e.created_at
        ) IS NOT NULL THEN 'filtered'`
    : ""
}
        WHEN EXISTS (SELECT FROM s WHERE ${liesIn}) AND NOT ${askedLater("$8::text::json")} THEN 'pending'
        ELSE 'never_attempted'
      END AS state
    FROM truss.events e
    LEFT JOIN tried t ON t.event_seq = e.seq AND t.event_at = e.created_at
    LEFT JOIN (SELECT event_seq, event_slot FROM truss.due WHERE webhook_id = $1::uuid) d
      ON d.event_seq = e.seq AND d.event_slot = e.slot
    WHERE e.table_id = $2::int4 AND e.slot = ANY ('${plain(slots)}'::int2[])
      AND e.event_type = ANY ($3::text::truss.event_type[])
      AND e.seq > $6::int8 AND e.seq <= $7::int8
      AND ($4::timestamptz IS NULL OR e.created_at >= $4) AND ($5::timestamptz IS NULL OR e.created_at < $5)
    OFFSET 0
  )`

export const statesParameters = (subject: Subject) => [
  subject.webhookId,
  subject.tableId,
  plain(subject.types),
  subject.from?.toISOString() ?? null,
  subject.to?.toISOString() ?? null,
  String(subject.afterSeq ?? 0),
  String(subject.lastSeq ?? Number.MAX_SAFE_INTEGER),
  subject.since,
  subject.ahead
]

/** The first parameter after those. */
export const afterStates = 10
