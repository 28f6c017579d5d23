import type { PgClient } from "@effect/sql-pg"
import { Effect } from "effect"

/**
 * `closed_xid` of a partition whose transaction numbers are another cluster's: no snapshot is compared with them, what
 * is still to be sent from it stands in `truss.due`.
 */
export const foreignXid = "0"

/**
 * The partitions that may hold events which a snapshot has not seen, oldest first; without one, all that snapshots can
 * be compared with. A partition that was closed before everything in progress then has nothing new; one that somebody
 * dropped stops no reader.
 */
export const readableSlots = (sql: PgClient.PgClient, seen: string | null) =>
  Effect.map(
    sql<{ slot: number }>`
      SELECT slot FROM truss.slots
      WHERE to_regclass('truss.events_' || slot) IS NOT NULL
        AND (closed_xid IS NULL OR closed_xid > coalesce(pg_snapshot_xmin(${seen}::pg_snapshot), ${foreignXid}::xid8))
      ORDER BY slot`,
    (rows): ReadonlyArray<number> => rows.map((row) => row.slot)
  )
