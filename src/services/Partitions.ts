import { PgClient } from "@effect/sql-pg"
import { Context, Effect, Layer, Metric } from "effect"
import { mayNeed } from "./Ahead.ts"
import { withPartition } from "./CaptureFunctions.ts"
import { captureLock } from "./CaptureLock.ts"

/** Partitions are at most this many days wide, and about sixteen are kept whatever the time of retention is. */
export const slotDays = (retentionDays: number): number => Math.max(1, Math.ceil(retentionDays / 14))

/** Partitions that are kept although their time of retention is over. */
export const partitionsPastRetention = Metric.gauge("truss_partitions_past_retention", {
  description: "Partitions kept past their retention, because a retry or a webhook's position still needs them"
})

/**
 * The partitions ("slots") of `truss.events` and `truss.attempts`. The capture functions name the newest one, so that
 * writers lock nothing else: opening the next one is replacing the functions, dropping an old one concerns readers only.
 */
export class Partitions extends Context.Service<Partitions, {
  /** Opens a slot if there is none to write to. */
  readonly ensure: Effect.Effect<void>
  /**
   * Opens the next slot when it is time, closes those that no transaction can write to, drops what is past retention and
   * not needed any more, and forgets what somebody dropped or emptied by hand.
   */
  rotate(retentionDays: number): Effect.Effect<void>
  /** Opens the next slot now. */
  readonly open: Effect.Effect<number>
}>()("truss/services/Partitions") {
  static readonly layer = Layer.effect(
    Partitions,
    Effect.gen(function*() {
      const sql = yield* PgClient.PgClient

      const newest = Effect.map(
        sql<{ slot: number | null; age: number | null }>`
          SELECT slot, extract(epoch FROM now() - opened_at)::float8 / 86400 AS age
          FROM truss.slots ORDER BY slot DESC LIMIT 1`,
        (rows) => rows[0]
      )

      const replaceFunctions = Effect.fnUntraced(function*(slot: number) {
        const functions = yield* sql<{ definition: string }>`
          SELECT pg_get_functiondef(oid) AS definition FROM pg_proc
          WHERE pronamespace = 'truss'::regnamespace AND proname ~ '^capture_[0-9]+_[a-z]+$' ORDER BY oid`
        for (const { definition } of functions) yield* sql.unsafe(withPartition(definition, slot))
      })

      const openNext = sql.withTransaction(Effect.gen(function*() {
        yield* captureLock(sql)
        const slot = ((yield* newest)?.slot ?? 0) + 1
        for (const parent of ["events", "attempts"]) {
          yield* sql.unsafe(`CREATE TABLE truss.${parent}_${slot} (LIKE truss.${parent} INCLUDING ALL)`)
          yield* sql.unsafe(`ALTER TABLE truss.${parent}_${slot} ALTER slot SET DEFAULT ${slot}`)
          yield* sql.unsafe(
            `ALTER TABLE truss.${parent} ATTACH PARTITION truss.${parent}_${slot} FOR VALUES IN (${slot})`
          )
        }
        yield* sql`INSERT INTO truss.slots (slot) VALUES (${slot})`
        yield* replaceFunctions(slot)
        return slot
      }))

      const stands = sql`to_regclass('truss.events_' || slot) IS NOT NULL
        AND to_regclass('truss.attempts_' || slot) IS NOT NULL`

      const ensure = Effect.gen(function*() {
        const rows = yield* sql`SELECT FROM truss.slots s
          WHERE slot = (SELECT max(slot) FROM truss.slots) AND ${stands}`
        if (rows.length === 0) yield* openNext
      })

      const forgetDropped = Effect.gen(function*() {
        const gone = yield* sql<{ slot: number; webhooks: ReadonlyArray<string> }>`
          DELETE FROM truss.slots s WHERE to_regclass('truss.events_' || slot) IS NULL
          RETURNING slot, ARRAY(
            SELECT c.webhook_id::text FROM truss.cursors c
            WHERE s.closed_xid IS NULL OR ${sql.literal(mayNeed("s.closed_xid"))}
          ) AS webhooks`
        for (const { slot, webhooks } of gone) {
          yield* Effect.logWarning(
            "somebody dropped a partition: webhooks that may not have read all of it go on with the oldest event left",
            { slot, webhooks }
          )
        }
      })

      const forgetDue = Effect.gen(function*() {
        const gone = yield* sql<{ webhook: string; events: number }>`
          WITH gone AS (
            DELETE FROM truss.due d
            WHERE NOT EXISTS (SELECT FROM truss.events e
              WHERE e.slot = d.event_slot AND e.table_id = d.table_id AND e.seq = d.event_seq)
            RETURNING webhook_id
          )
          SELECT webhook_id::text AS webhook, count(*)::float8 AS events FROM gone GROUP BY 1`
        for (const { events, webhook } of gone) {
          yield* Effect.logWarning("events that were due are not stored any more: they are not sent", {
            webhook,
            events
          })
        }
      })

      // A transaction has its xid before its trigger looks the function up, and sessions notice the new function at
      // their next lock at the latest; ten minutes are for whatever that does not cover.
      const close = sql`
        UPDATE truss.slots s SET closed_xid = pg_snapshot_xmax(pg_current_snapshot())
        WHERE closed_xid IS NULL
          AND EXISTS (SELECT FROM truss.slots n WHERE n.slot > s.slot AND n.opened_at < now() - interval '10 minutes')`

      const expired = (retentionDays: number) =>
        sql<{ slot: number; needed: boolean }>`
          SELECT s.slot,
            EXISTS (SELECT FROM truss.due d WHERE d.event_slot = s.slot)
              OR EXISTS (
                SELECT FROM truss.cursors c JOIN truss.webhooks w ON w.id = c.webhook_id
                WHERE w.active AND ${sql.literal(mayNeed("s.closed_xid"))}
                  AND EXISTS (SELECT FROM truss.events e WHERE e.slot = s.slot AND e.table_id = w.table_id)
              ) AS needed
          FROM truss.slots s
          WHERE s.closed_xid IS NOT NULL
            AND (SELECT min(n.opened_at) FROM truss.slots n WHERE n.slot > s.slot)
              < now() - ${retentionDays} * interval '1 day'
          ORDER BY s.slot`

      const drop = (slot: number) =>
        sql.withTransaction(Effect.gen(function*() {
          yield* sql`SET LOCAL lock_timeout = '2s'`
          yield* sql`DELETE FROM truss.slots WHERE slot = ${slot}`
          yield* sql.unsafe(`DROP TABLE truss.events_${slot}`)
          yield* sql.unsafe(`DROP TABLE IF EXISTS truss.attempts_${slot}`)
        }))

      const rotate = Effect.fn("Partitions.rotate")(function*(retentionDays: number) {
        yield* ensure
        yield* forgetDropped
        const last = yield* newest
        if ((last?.age ?? 0) >= slotDays(retentionDays)) {
          yield* Effect.logInfo("opened a partition", { slot: yield* openNext })
        }
        yield* close
        let kept = 0
        for (const { slot, needed } of yield* expired(retentionDays)) {
          if (needed) {
            kept++
            yield* Effect.logWarning(
              "kept a partition past its retention: a webhook still has to deliver events from it",
              { slot }
            )
            continue
          }
          yield* drop(slot)
          yield* Effect.logInfo("dropped a partition past its retention", { slot })
        }
        yield* Metric.update(partitionsPastRetention, kept)
        yield* forgetDue
      })

      return Partitions.of({
        ensure: Effect.orDie(ensure),
        rotate: (retentionDays) => Effect.orDie(rotate(retentionDays)),
        open: Effect.orDie(openNext)
      })
    })
  )
}
