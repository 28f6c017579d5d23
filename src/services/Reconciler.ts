import { PgClient } from "@effect/sql-pg"
import { Context, Effect, Layer } from "effect"
import type { DatabaseUnavailable, TookTooLong, WebhookNotFound } from "../domain/Errors.ts"
import type { Reconciliation } from "../domain/Reconciliation.ts"
import { orUnavailable } from "./Database.ts"
import { readSubject, statesOf, statesParameters } from "./EventStates.ts"
import { longRead } from "./LongRead.ts"

/** The time that is asked about: by when the changes were made, `from` inclusive, `to` not. */
export interface ReconcileQuery {
  readonly from?: Date | undefined
  readonly to?: Date | undefined
}

interface Counts {
  readonly matched: number
  readonly delivered: number
  readonly failed: number
  readonly pending: number
  readonly filtered: number
  readonly never_attempted: number
  /** Milliseconds since 1970, rounded down. */
  readonly oldest_pending: number | null
}

const count = (state: string) => `count(*) FILTER (WHERE state = '${state}')::float8 AS ${state}`

const columns = `count(*)::float8 AS matched, ${
  ["delivered", "failed", "pending", "filtered", "never_attempted"].map(count).join(", ")
}, floor(extract(epoch FROM min(created_at) FILTER (WHERE state = 'pending')) * 1000)::float8 AS oldest_pending`

const noCounts: Counts = {
  matched: 0,
  delivered: 0,
  failed: 0,
  pending: 0,
  filtered: 0,
  never_attempted: 0,
  oldest_pending: null
}

/**
 * Since when a transaction in progress may have made events, in milliseconds since 1970: now, if there is none. Whoever
 * makes events holds a lock on a partition until the end. `hidden`: there is one whose begin cannot be seen, since it is
 * prepared, or belongs to a role that ours may not look at.
 */
const openSinceQuery = `
  SELECT (extract(epoch FROM least(statement_timestamp(), min(a.xact_start))) * 1000)::float8 AS since,
    coalesce(bool_or(l.pid IS NULL OR a.pid IS NOT NULL AND a.backend_start IS NULL), false) AS hidden
  FROM pg_locks l LEFT JOIN pg_stat_activity a ON a.pid = l.pid
  WHERE l.locktype = 'relation' AND l.mode = 'RowExclusiveLock'
    AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
    AND l.relation IN (SELECT inhrelid FROM pg_inherits WHERE inhparent = 'truss.events'::regclass)`

/** Proves that nothing is missing, or says what is. */
export class Reconciler extends Context.Service<Reconciler, {
  reconcile(
    webhookId: string,
    query: ReconcileQuery
  ): Effect.Effect<Reconciliation, WebhookNotFound | TookTooLong | DatabaseUnavailable>
}>()("truss/services/Reconciler") {
  static readonly layer = Layer.effect(
    Reconciler,
    Effect.gen(function*() {
      const sql = yield* PgClient.PgClient

      const keptSince = Effect.map(
        sql<{ slot: number; opened: Date }>`
          SELECT slot, opened_at AS opened FROM truss.slots ORDER BY slot LIMIT 1`,
        ([first]) => ({ dropped: first !== undefined && first.slot > 1, opened: first?.opened ?? new Date(0) })
      )

      const counts = Effect.fnUntraced(function*(webhookId: string, { from, to }: ReconcileQuery) {
        const subject = yield* readSubject(sql, webhookId, from, to)
        const [row] = subject.slots.length === 0
          ? []
          : yield* sql.unsafe<Counts>(
            `WITH ${statesOf(subject)} SELECT ${columns} FROM states`,
            statesParameters(subject)
          )
        return { ...(row ?? noCounts), kept: yield* keptSince }
      })

      const reconcile = Effect.fn("Reconciler.reconcile")(function*(webhookId: string, query: ReconcileQuery) {
        // Before the snapshot: what is in progress now and ends before it is counted.
        const [open] = yield* sql.unsafe<{ since: number; hidden: boolean }>(openSinceQuery)
        const { kept, oldest_pending: oldestPending, ...counted } = yield* longRead(sql, counts(webhookId, query))
        const begin = query.from ?? kept.opened
        const through = Math.min(
          query.to?.getTime() ?? Infinity,
          open!.hidden ? begin.getTime() : Math.floor(open!.since),
          oldestPending ?? Infinity
        )
        return {
          ...counted,
          complete_through: new Date(through).toISOString(),
          gap: kept.dropped && query.from !== undefined && query.from < kept.opened
            ? { from: query.from.toISOString(), to: kept.opened.toISOString() }
            : null
        }
      }, orUnavailable)

      return Reconciler.of({ reconcile })
    })
  )
}
