import { PgClient } from "@effect/sql-pg"
import { Clock, Context, Effect, Layer, Schedule, type Scope } from "effect"
import { randomUUID } from "node:crypto"
import type { DatabaseUnavailable } from "../domain/Errors.ts"
import type { Cluster, HandOver, Runner } from "../domain/Runner.ts"
import { oldestPending } from "./Backlog.ts"
import { orUnavailable } from "./Database.ts"
import { Health } from "./Health.ts"

const beatEveryMs = 2_000

/** Who has said nothing for so long is gone. */
const silent = "r.beat < clock_timestamp() - interval '10 seconds'"

const beatQuery = `
  INSERT INTO truss.runners AS r (id, address, started_at, active_since, beat)
  VALUES ($1::uuid, $2, $3::timestamptz, CASE WHEN $4::boolean THEN clock_timestamp() END, clock_timestamp())
  ON CONFLICT (id) DO UPDATE SET beat = excluded.beat,
    active_since = CASE WHEN $4 THEN coalesce(r.active_since, excluded.active_since) END`

// Of two that say that they deliver, the earlier one is dead or frozen.
const listQuery = `
  SELECT r.id::text, r.address, r.active_since IS NOT NULL AS active, r.started_at FROM truss.runners r
  WHERE NOT ${silent} AND NOT EXISTS (SELECT FROM truss.runners n WHERE n.active_since > r.active_since)
  ORDER BY active DESC, r.started_at, r.id`

const load = `count(*)::float8 AS webhooks,
  extract(epoch FROM clock_timestamp() - min(${oldestPending}))::float8 AS lag`

const loadQuery = `
  SELECT ${load} FROM truss.webhooks w JOIN truss.cursors c ON c.webhook_id = w.id WHERE w.active`

/** The runners of a cluster, each with what it has taken over. One that is silent for longer is being replaced. */
const clusterQuery = `
  SELECT r.id::text, r.api_address AS address, true AS active, r.started_at, coalesce(l.webhooks, 0) AS webhooks, l.lag
  FROM truss.cluster_runners r LEFT JOIN (
    SELECT h.runner, ${load} FROM truss.webhooks w JOIN truss.cursors c ON c.webhook_id = w.id JOIN (
      SELECT webhook_id, runner FROM truss.cursors UNION SELECT webhook_id, runner FROM truss.cursor_parts
    ) h ON h.webhook_id = w.id
    WHERE w.active AND h.runner IS NOT NULL GROUP BY h.runner
  ) l ON l.runner = r.id
  WHERE r.beat > clock_timestamp() - interval '10 seconds' ORDER BY r.started_at, r.id`

const shownHandOvers = 100

const handOversQuery = `
  SELECT h.at, h.webhook_id::text AS webhook_id, h.part, h."from"::text AS "from", h."to"::text AS "to" FROM (
    SELECT taken_at AS at, webhook_id, 0 AS part, taken_from AS "from", runner AS "to" FROM truss.cursors
    UNION ALL
    SELECT taken_at, webhook_id, part, taken_from, runner FROM truss.cursor_parts
  ) h WHERE h.at IS NOT NULL AND h."to" IS NOT NULL ORDER BY h.at DESC, h.webhook_id, h.part LIMIT ${shownHandOvers}`

interface HandOverRow extends Omit<HandOver, "at"> {
  readonly at: Date
}

interface Row {
  readonly id: string
  readonly address: string
  readonly active: boolean
  readonly started_at: Date
}

interface Load {
  readonly webhooks: number
  readonly lag: number | null
}

const toRunner = ({ active, address, id, started_at }: Row, load: Load | undefined): Runner => ({
  id,
  address,
  role: active ? "active" : "standby",
  started_at: started_at.toISOString(),
  webhooks: active ? load?.webhooks ?? 0 : 0,
  lag_seconds: active ? Math.max(0, load?.lag ?? 0) : 0
})

/** The processes on this database: each says every two seconds that it lives, and what it does. */
export class Runners extends Context.Service<Runners, {
  /** Whoever delivers first, then the others by age; and who has taken over what from whom. */
  readonly cluster: Effect.Effect<Cluster, DatabaseUnavailable>
  /**
   * Says that this process lives and answers at `address`, until the scope ends; what does it in a cluster, while it is
   * a runner, is its lease.
   */
  join(address: string, clustered?: boolean): Effect.Effect<void, never, Scope.Scope>
}>()("truss/services/Runners") {
  static readonly layer = Layer.effect(
    Runners,
    Effect.gen(function*() {
      const sql = yield* PgClient.PgClient
      const health = yield* Health

      const runners = Effect.gen(function*() {
        const cluster = yield* sql.unsafe<Row & Load>(clusterQuery)
        const rows = yield* sql.unsafe<Row>(listQuery)
        // Beside a cluster no other process delivers.
        if (cluster.length > 0) {
          return [
            ...cluster.map((row) => toRunner(row, row)),
            ...rows.map((row) => toRunner({ ...row, active: false }, undefined))
          ]
        }
        const [load] = yield* sql.unsafe<Load>(loadQuery)
        return rows.map((row) => toRunner(row, load))
      })

      const cluster = Effect.gen(function*() {
        const handovers = yield* sql.unsafe<HandOverRow>(handOversQuery)
        return {
          runners: yield* runners,
          handovers: handovers.map((row) => ({ ...row, at: row.at.toISOString() }))
        }
      }).pipe(orUnavailable, Effect.withSpan("Runners.cluster"))

      const join = Effect.fn("Runners.join")(function*(address: string, clustered = false) {
        const id = randomUUID()
        const startedAt = new Date(yield* Clock.currentTimeMillis).toISOString()
        let last: { readonly active: boolean; readonly at: number } | undefined = undefined
        const leave = sql`DELETE FROM truss.runners WHERE id = ${id}::text::uuid`
        const beat = Effect.gen(function*() {
          const active = (yield* health.get).mode !== "standby"
          const now = performance.now()
          if (clustered && active) {
            if (last !== undefined) yield* leave
            last = undefined
            return
          }
          if (last !== undefined && last.active === active && now - last.at < beatEveryMs) return
          yield* sql.unsafe(beatQuery, [id, address, startedAt, active])
          last = { active, at: now }
          yield* sql.unsafe(`DELETE FROM truss.runners r WHERE ${silent}`)
        }).pipe(
          Effect.timeout("5 seconds"),
          Effect.catchCause((cause) => Effect.logDebug("the sign of life was not written", cause))
        )
        yield* Effect.addFinalizer(() =>
          last === undefined ? Effect.void : leave.pipe(Effect.timeout("1 second"), Effect.ignore)
        )
        yield* beat
        // A change of its role is told at once.
        yield* beat.pipe(Effect.repeat(Schedule.spaced("250 millis")), Effect.forkScoped)
      })

      return Runners.of({ cluster, join })
    })
  )
}
