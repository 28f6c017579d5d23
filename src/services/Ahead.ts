import { foreignXid } from "./Slots.ts"

/**
 * What a webhook's cursor has ahead of it, in SQL: see `Position` in Cursors.ts. Stretches between two snapshots, of
 * which the second is null where there is no end yet; what lies between two stretches is a pause.
 */

/**
 * The stretches of `c`, a row of `truss.cursors`: `low`, `high`, `after_seq`, `part`. `after_seq` is 0 but for a backlog in
 * pages. Those of a webhook that is split are of all its parts, and overlap. What one part has behind it and another one ahead
 * was attempted, is due, or is not to be sent, so nothing is taken for pending that is not.
 */
export const stretches = `
  SELECT s.*, q.part FROM (
    SELECT 0 AS part, c.seen, c.target, c.after_seq, c.gaps, c.restart
    UNION ALL
    SELECT p.part, p.seen, p.target, p.after_seq, p.gaps, p.restart FROM truss.cursor_parts p WHERE p.webhook_id = c.webhook_id
  ) q CROSS JOIN LATERAL (
    SELECT coalesce(q.restart, q.seen) AS low,
      coalesce(CASE WHEN q.restart IS NULL THEN q.target END, q.gaps[1]) AS high,
      CASE WHEN q.restart IS NULL AND q.target IS NOT NULL THEN q.after_seq ELSE 0 END AS after_seq
    UNION ALL
    SELECT q.target, q.gaps[1], 0 WHERE q.restart IS NULL AND q.target IS NOT NULL
    UNION ALL
    SELECT q.gaps[n], q.gaps[n + 1], 0 FROM generate_series(2, cardinality(q.gaps), 2) n
  ) s`

/** Whether a webhook, or a part of it, has not read all transactions before `xid`; of its cursor `c`. */
export const mayNeed = (xid: string) =>
  `(pg_snapshot_xmin(c.seen) < ${xid} OR EXISTS (SELECT FROM truss.cursor_parts p
    WHERE p.webhook_id = c.webhook_id AND pg_snapshot_xmin(p.seen) < ${xid}))`

/** Whether no snapshot says anything of the event `e`: see `foreignXid`. */
export const isForeign = `e.slot = ANY (ARRAY(SELECT f.slot FROM truss.slots f WHERE f.closed_xid = '${foreignXid}'))`

const liesInOf = (s: string) =>
  `e.seq > ${s}.after_seq AND NOT pg_visible_in_snapshot(e.xid, ${s}.low)
  AND (${s}.high IS NULL OR pg_visible_in_snapshot(e.xid, ${s}.high)) AND NOT ${isForeign}`

/** Whether the event `e` lies in the stretch `s`. */
export const liesIn = liesInOf("s")

/** Whether it lies in no stretch of an earlier part of `c` either: then it is found once. */
export const isFirst = `(s.part = 0
  OR NOT EXISTS (SELECT FROM (${stretches}) o WHERE o.part < s.part AND ${liesInOf("o")}))`

/** Whether the event `e` is of a type that was asked for only later; `since` is JSON as in `truss.cursors`. */
export const askedLater = (since: string) =>
  `EXISTS (SELECT FROM json_to_recordset(${since}) AS a (types text[], at pg_snapshot)
    WHERE e.event_type::text = ANY (a.types) AND pg_visible_in_snapshot(e.xid, a.at))`
