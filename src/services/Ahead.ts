import { foreignXid } from "./Slots.ts"

/**
 * What a webhook's cursor has ahead of it, in SQL: see `Position` in Cursors.ts. Stretches between two snapshots, of
 * which the second is null where there is no end yet; what lies between two stretches is a pause.
 */

/** The stretches of `c`, a row of `truss.cursors`: `low`, `high`, `after_seq`. The latter is 0 but for a backlog in pages. */
export const stretches = `
  SELECT coalesce(c.restart, c.seen) AS low,
    coalesce(CASE WHEN c.restart IS NULL THEN c.target END, c.gaps[1]) AS high,
    CASE WHEN c.restart IS NULL AND c.target IS NOT NULL THEN c.after_seq ELSE 0 END AS after_seq
  UNION ALL
  SELECT c.target, c.gaps[1], 0 WHERE c.restart IS NULL AND c.target IS NOT NULL
  UNION ALL
  SELECT c.gaps[n], c.gaps[n + 1], 0 FROM generate_series(2, cardinality(c.gaps), 2) n`

/** Whether no snapshot says anything of the event `e`: see `foreignXid`. */
export const isForeign = `e.slot = ANY (ARRAY(SELECT f.slot FROM truss.slots f WHERE f.closed_xid = '${foreignXid}'))`

/** Whether the event `e` lies in the stretch `s`. */
export const liesIn = `e.seq > s.after_seq AND NOT pg_visible_in_snapshot(e.xid, s.low)
  AND (s.high IS NULL OR pg_visible_in_snapshot(e.xid, s.high)) AND NOT ${isForeign}`

/** Whether the event `e` is of a type that was asked for only later; `since` is JSON as in `truss.cursors`. */
export const askedLater = (since: string) =>
  `EXISTS (SELECT FROM json_to_recordset(${since}) AS a (types text[], at pg_snapshot)
    WHERE e.event_type::text = ANY (a.types) AND pg_visible_in_snapshot(e.xid, a.at))`
