import { PgClient } from "@effect/sql-pg"
import { Context, Effect, Layer } from "effect"
import type { SqlError } from "effect/sql"
import type { EventType } from "../domain/EventType.ts"
import { isMissingTable } from "./Database.ts"
import { plain } from "./PgArray.ts"
import { readableSlots } from "./Slots.ts"

/** What a look at the events found. */
export interface Look {
  /** The snapshot that was looked with; the next look starts from it. */
  readonly now: string
  /** The oldest transaction that was still in progress, and the first that had not begun, as numbers. */
  readonly xmin: number
  readonly xmax: number
  /** How many events were numbered ever, those of open and of rolled back transactions included. */
  readonly numbered: number
  readonly changed: ReadonlyArray<{
    readonly tableId: number
    /** The types among the new events; none when there are too many to tell. */
    readonly types: ReadonlyArray<EventType> | undefined
  }>
}

/** How long, in seconds, writers go on ringing for a listener that does not answer any more. */
const bellLease = 10

/** Beyond this many new events of a table their types do not matter. */
const sampled = 64

interface Row {
  readonly now: string
  readonly newest: number
  readonly xmin: number
  readonly xmax: number
  readonly numbered: number
  readonly id: number | null
  readonly types: ReadonlyArray<EventType> | null
}

/** No rows when a partition that was read was dropped meanwhile. */
const orNothing = <A>(query: Effect.Effect<ReadonlyArray<A>, SqlError.SqlError>) =>
  Effect.catchIf(query, isMissingTable, () => Effect.succeed<ReadonlyArray<A>>([]))

const lookQuery = (slots: ReadonlyArray<number>): string => {
  const leaf = (slot: number, condition: string) =>
    `(SELECT event_type FROM truss.events_${slot} WHERE table_id = t.id AND ${condition} LIMIT ${sampled})`
  const sources = slots.flatMap((slot) => [
    leaf(slot, "xid >= pg_snapshot_xmax($1::pg_snapshot)"),
    leaf(slot, "xid = ANY (ARRAY(SELECT pg_snapshot_xip($1::pg_snapshot)))")
  ])
  return `
    WITH w AS MATERIALIZED (
      SELECT pg_current_snapshot()::text AS now, (SELECT max(slot) FROM truss.slots) AS newest,
        pg_snapshot_xmin(pg_current_snapshot())::text::float8 AS xmin,
        pg_snapshot_xmax(pg_current_snapshot())::text::float8 AS xmax,
        (SELECT last_value FROM truss.event_seq)::float8 AS numbered
    )
    SELECT w.*, x.id, x.types FROM w LEFT JOIN LATERAL (
      SELECT t.id, ARRAY(SELECT event_type::text FROM (${sources.join(" UNION ALL ")}) e) AS types
      FROM unnest($2::text::int4[]) AS t (id)
    ) x ON cardinality(x.types) > 0`
}

/** What the listener asks of the database: which tables changed since a snapshot, and the bell that writers look at. */
export class ChangeFeed extends Context.Service<ChangeFeed, {
  /** Which of the tables have events that `seen` did not see; everything is news to an undefined `seen`. */
  look(seen: string | undefined, tables: ReadonlyArray<number>): Effect.Effect<Look, SqlError.SqlError>
  /** From now on, for a while, writers ring. */
  readonly askToRing: Effect.Effect<void, SqlError.SqlError>
  /** Writers need not ring: the listener is looking by itself, or is not there. */
  readonly askForQuiet: Effect.Effect<void, SqlError.SqlError>
}>()("truss/services/ChangeFeed") {
  static readonly layer = Layer.effect(
    ChangeFeed,
    Effect.gen(function*() {
      const sql = yield* PgClient.PgClient
      let slots: ReadonlyArray<number> = []

      const look = Effect.fnUntraced(function*(seen: string | undefined, tables: ReadonlyArray<number>) {
        while (true) {
          const rows = slots.length === 0
            ? []
            : yield* orNothing(sql.unsafe<Row>(lookQuery(slots), [seen ?? "1:1:", plain(tables)]))
          const first = rows[0]
          if (first === undefined || first.newest !== slots.at(-1)) {
            slots = yield* readableSlots(sql, seen ?? null)
            continue
          }
          const changed = rows.flatMap((row) =>
            row.id === null ? [] : [{
              tableId: row.id,
              types: row.types!.length >= sampled ? undefined : [...new Set(row.types)]
            }]
          )
          return { now: first.now, xmin: first.xmin, xmax: first.xmax, numbered: first.numbered, changed }
        }
      })

      return ChangeFeed.of({
        look,
        askToRing: Effect.asVoid(
          sql`SELECT setval('truss.bell', (extract(epoch FROM clock_timestamp()) + ${bellLease})::int8)`
        ),
        askForQuiet: Effect.asVoid(sql`SELECT setval('truss.bell', 0)`)
      })
    })
  )
}
