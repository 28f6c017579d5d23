import type { EventRef } from "../domain/EventRef.ts"
import type { EventType } from "../domain/EventType.ts"

export interface StoredEvent {
  readonly ref: EventRef
  readonly eventType: EventType
  readonly body: string
}

/** A page holds at most this many events and about this many bytes of bodies. */
const pageEvents = 1000
export const pageBytes = 4 * 1048576

/** With a selection: how many events, and about how many bytes, are considered for one page at most. */
const consideredEvents = 5000
const consideredBytes = 16 * 1048576

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
  /** Of the webhook's settings, in the same snapshot. */
  readonly version: string | null
  readonly newest: number
  /** With a selection: up to where everything was considered, if anything was, and whether there is more. */
  readonly last_seq?: number | null
  /** Where the webhook is split: what `truss.part_of` says. */
  readonly part?: number
  readonly more?: boolean
}

export const toStored = (row: EventRow, tableId: number): StoredEvent => ({
  ref: { slot: row.slot!, tableId, seq: row.seq, at: row.at },
  eventType: row.event_type,
  body: row.body
})

/** How far a page goes: the last event that was considered for it, if any, and whether there are more. */
export const reachOf = (rows: ReadonlyArray<PageRow>): { readonly lastSeq: number | null; readonly more: boolean } => {
  const [first] = rows
  if (first?.more !== undefined) return { lastSeq: first.last_seq ?? null, more: first.more }
  const empty = first === undefined || first.slot === null
  return { lastSeq: empty ? null : rows.at(-1)!.seq, more: !empty && first.total > rows.length }
}

/**
 * The statement that reads a page: $1 table, $2 event types, $3 the snapshot seen, $4 webhook, $5 what the page must be
 * visible in (or null), $6 the position in it, $7 the boundary up to which the log has to be asked, $8 since when event
 * types that were asked for later are asked for. `select` names the function that says which events fire; bodies of
 * others stay in the database. So do those of other parts, where the webhook is `split`: $9 the columns of the primary
 * key, $10 the number of parts, $11 whether there is an order, $12 the part.
 */
export const pageQuery = (
  slots: ReadonlyArray<number>,
  { check, paged, select: selects, since, split }: {
    readonly paged: boolean
    readonly check: boolean
    readonly since: boolean
    readonly select: string | null
    readonly split: boolean
  }
): string => {
  // OFFSET 0 in what is asked of the log and of `due`: without it the planner may hash all of either for each page, by
  // statistics from when they were empty.
  const where = "e.table_id = $1 AND e.event_type = ANY ($2::text::truss.event_type[])" +
    (check
      ? ` AND NOT (e.seq <= $7::int8 AND EXISTS (SELECT FROM truss.attempts a
          WHERE a.webhook_id = $4::uuid AND a.event_seq = e.seq AND a.event_at = e.created_at OFFSET 0))
        AND NOT EXISTS (SELECT FROM truss.due d
          WHERE d.webhook_id = $4::uuid AND d.event_seq = e.seq AND d.event_slot = e.slot OFFSET 0)`
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
  const isSelected = selects !== null || split
  const begin = `
    WITH w AS MATERIALIZED (
      SELECT pg_current_snapshot()::text AS now, (SELECT max(slot) FROM truss.slots) AS newest,
        (SELECT token::text FROM truss.incarnation) AS incarnation,
        (SELECT updated_at::text FROM truss.webhooks WHERE id = $4::uuid) AS version
    ), page AS MATERIALIZED (
      SELECT * FROM (${sources.map((source) => `(${source})`).join(" UNION ALL ")}) e ORDER BY seq LIMIT ${
    (isSelected ? consideredEvents : pageEvents) + 1
  }
    )`
  if (isSelected) return begin + selected(selects, split)
  return `${begin}, sized AS (
      SELECT e.*, count(*) OVER () AS total,
        sum(octet_length(body)) OVER (ORDER BY seq) - octet_length(body) AS before
      FROM page e
    )
    SELECT w.now, w.newest, w.incarnation, w.version, e.total::float8 AS total, ${eventColumns}
    FROM w LEFT JOIN sized e ON e.before < ${pageBytes} ORDER BY e.seq LIMIT ${pageEvents}`
}

const partOf = (split: boolean) =>
  split ? "truss.part_of(event_type, body, $9::text::text[], $10::int4, $11::boolean)" : "NULL::int4"

// The inner OFFSET 0 hands over an order that the planner knows, so that the function is asked no further than the page
// goes: a selection that lets everything through reads as much as none.
const selected = (select: string | null, split: boolean) =>
  `, considered AS MATERIALIZED (
      SELECT * FROM (
        SELECT e.*, row_number() OVER (ORDER BY seq) AS place,
          sum(octet_length(body)) OVER (ORDER BY seq) - octet_length(body) AS before
        FROM page e
      ) e WHERE place <= ${consideredEvents} AND before < ${consideredBytes}
    ), firing AS MATERIALIZED (
      SELECT * FROM (SELECT slot, seq, created_at, event_type, body, ${partOf(split)} AS part FROM considered
        ORDER BY seq OFFSET 0) e
      WHERE ${split ? "part IN ($12::int4, -1)" : "true"} AND ${
    select === null ? "true" : `${select}(e.event_type, e.body) IS NULL`
  } ORDER BY seq LIMIT ${pageEvents + 1}
    ), kept AS MATERIALIZED (
      SELECT * FROM (
        SELECT e.*, row_number() OVER (ORDER BY seq) AS place,
          sum(octet_length(body)) OVER (ORDER BY seq) - octet_length(body) AS before
        FROM firing e
      ) e WHERE place <= ${pageEvents} AND before < ${pageBytes}
    ), reach AS MATERIALIZED (
      SELECT CASE WHEN (SELECT count(*) FROM kept) < (SELECT count(*) FROM firing) THEN (SELECT max(seq) FROM kept)
        ELSE (SELECT max(seq) FROM considered) END AS last_seq
    )
    SELECT w.now, w.newest, w.incarnation, w.version, reach.last_seq::float8 AS last_seq,
      coalesce(reach.last_seq < (SELECT max(seq) FROM page), false) AS more, 0::float8 AS total, e.part, ${eventColumns}
    FROM w CROSS JOIN reach LEFT JOIN kept e ON true ORDER BY e.seq`
