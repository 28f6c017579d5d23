import type { EventRef } from "../domain/EventRef.ts"
import type { EventType } from "../domain/EventType.ts"

export interface StoredEvent {
  readonly ref: EventRef
  readonly eventType: EventType
  readonly body: string
}

/** A page holds at most this many events and about this many bytes of bodies. */
const pageEvents = 1000
const pageBytes = 4 * 1048576

/** An event's columns, of `e`. */
export const eventColumns = `e.slot, e.seq::float8 AS seq, (extract(epoch FROM e.created_at) * 1000000)::float8 AS at,
  e.event_type::text AS event_type, e.body`

export interface EventRow {
  readonly slot: number | null
  readonly seq: number
  readonly at: number
  readonly event_type: EventType
  readonly body: string
  readonly total: number
}

export interface PageRow extends EventRow {
  readonly now: string
  readonly incarnation: string | null
  readonly newest: number
}

export const toStored = (row: EventRow, tableId: number): StoredEvent => ({
  ref: { slot: row.slot!, tableId, seq: row.seq, at: row.at },
  eventType: row.event_type,
  body: row.body
})

/**
 * The statement that reads a page: $1 table, $2 event types, $3 the snapshot seen, $4 webhook, $5 what the page must be
 * visible in (or null), $6 the position in it, $7 the boundary up to which the log has to be asked, $8 since when event
 * types that were asked for later are asked for.
 */
export const pageQuery = (
  slots: ReadonlyArray<number>,
  { check, paged, since }: { readonly paged: boolean; readonly check: boolean; readonly since: boolean }
): string => {
  const where = "e.table_id = $1 AND e.event_type = ANY ($2::text::truss.event_type[])" +
    (check
      ? ` AND NOT (e.seq <= $7::int8 AND EXISTS (SELECT FROM truss.attempts a
          WHERE a.webhook_id = $4::uuid AND a.event_seq = e.seq AND a.event_at = e.created_at))`
      : " AND $4::uuid IS NOT NULL AND $7::int8 IS NOT NULL") +
    (since
      ? ` AND NOT EXISTS (SELECT FROM json_to_recordset($8::text::json) AS s (types text[], at text)
          WHERE e.event_type::text = ANY (s.types) AND pg_visible_in_snapshot(e.xid, s.at::pg_snapshot))`
      : " AND $8::text IS NOT NULL")
  const select = (slot: number, condition: string) =>
    `SELECT e.slot, e.seq, e.created_at, e.event_type, e.body FROM truss.events_${slot} e WHERE ${where} AND ${condition}`
  // OFFSET 0 keeps the planner from walking the whole table in the order of seq to save a sort of a few rows.
  const unordered = (slot: number, condition: string) => `${select(slot, condition)} OFFSET 0`
  const bound = "($5::pg_snapshot IS NULL OR pg_visible_in_snapshot(e.xid, $5))"
  const sources = paged
    ? slots.map((slot) =>
      select(slot, `e.seq > $6::int8 AND NOT pg_visible_in_snapshot(e.xid, $3::pg_snapshot) AND ${bound}`)
    )
    : slots.flatMap((slot) => [
      unordered(slot, `e.xid >= pg_snapshot_xmax($3::pg_snapshot) AND $6::int8 IS NOT NULL AND ${bound}`),
      unordered(slot, `e.xid = ANY (ARRAY(SELECT pg_snapshot_xip($3::pg_snapshot))) AND ${bound}`)
    ])
  return `
    WITH w AS MATERIALIZED (
      SELECT pg_current_snapshot()::text AS now, (SELECT max(slot) FROM truss.slots) AS newest,
        (SELECT token::text FROM truss.incarnation) AS incarnation
    ), page AS MATERIALIZED (
      SELECT * FROM (${sources.map((source) => `(${source})`).join(" UNION ALL ")}) e ORDER BY seq LIMIT ${
    pageEvents + 1
  }
    ), sized AS (
      SELECT e.*, count(*) OVER () AS total,
        sum(octet_length(body)) OVER (ORDER BY seq) - octet_length(body) AS before
      FROM page e
    )
    SELECT w.now, w.newest, w.incarnation, e.total::float8 AS total, ${eventColumns}
    FROM w LEFT JOIN sized e ON e.before < ${pageBytes} ORDER BY e.seq LIMIT ${pageEvents}`
}
