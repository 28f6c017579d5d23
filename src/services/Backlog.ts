import { askedLater, isFirst, liesIn, stretches } from "./Ahead.ts"

/** A backlog is counted up to here. */
export const backlogLimit = 10_000

/** So many events of each stretch are looked at, whatever their types. */
const looked = 5 * backlogLimit

const candidates = (condition: string) =>
  `SELECT * FROM (
    SELECT e.seq, e.slot, e.xid, e.created_at, e.event_type FROM truss.events e
    WHERE e.table_id = w.table_id AND ${condition} LIMIT ${looked}
  ) e`

/** When the events ahead of the cursor were made that `w` asks for and has not attempted; the oldest ones of many. */
const ahead = (limit: number) => `
    SELECT e.created_at FROM (${stretches}) s CROSS JOIN LATERAL (
      ${candidates("s.after_seq = 0 AND e.xid = ANY (ARRAY(SELECT pg_snapshot_xip(s.low)))")}
      UNION ALL
      ${
  candidates(`s.after_seq = 0 AND e.xid >= pg_snapshot_xmax(s.low)
        AND e.xid < coalesce(pg_snapshot_xmax(s.high), '18446744073709551615')`)
}
      UNION ALL
      ${candidates("s.after_seq > 0 AND e.seq > s.after_seq")}
    ) e
    WHERE ${liesIn} AND ${isFirst} AND e.event_type = ANY (w.events) AND NOT ${askedLater("c.since")}
      AND NOT EXISTS (SELECT FROM truss.attempts a WHERE a.webhook_id = w.id AND a.event_seq = e.seq
        AND a.event_at = e.created_at AND a.slot >= e.slot)
      AND NOT EXISTS (SELECT FROM truss.due d WHERE d.webhook_id = w.id AND d.event_seq = e.seq AND d.event_slot = e.slot)
    LIMIT ${limit}`

/**
 * How many events wait for their delivery to `w`, whose cursor is `c`: those that are due, and those ahead of the cursor
 * that it asks for and has not attempted. Its `columns` and `filter` are not asked.
 */
export const backlog = `(least(${backlogLimit},
  (SELECT count(*) FROM (SELECT FROM truss.due d WHERE d.webhook_id = w.id LIMIT ${backlogLimit}) d) +
  (SELECT count(*) FROM (${ahead(backlogLimit)}) e))::float8)`

/** When the oldest of those events was made; null where none waits. The first hundred are looked at, in their order. */
export const oldestPending = `(least(
  (SELECT e.created_at FROM truss.due d JOIN truss.events e
    ON e.slot = d.event_slot AND e.table_id = d.table_id AND e.seq = d.event_seq
    WHERE d.webhook_id = w.id ORDER BY d.event_seq LIMIT 1),
  (SELECT min(e.created_at) FROM (${ahead(100)}) e)))`

/** How many events wait in all for the active webhooks, counted up to here. */
export const totalBacklogLimit = 50_000

/** The sum of `backlog` over the active webhooks; the search ends at the limit, in whichever webhook it is then. */
export const totalBacklog = `(SELECT count(*)::float8 FROM (
  SELECT FROM truss.webhooks w JOIN truss.cursors c ON c.webhook_id = w.id CROSS JOIN LATERAL (
    (SELECT FROM truss.due d WHERE d.webhook_id = w.id LIMIT ${backlogLimit})
    UNION ALL (SELECT FROM (${ahead(backlogLimit)}) e)
  ) e WHERE w.active LIMIT ${totalBacklogLimit}) e)`
