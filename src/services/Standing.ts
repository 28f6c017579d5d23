import { PgClient } from "@effect/sql-pg"
import { Cause, Context, Effect, Fiber, Layer, Metric, Scope } from "effect"
import { SqlError } from "effect/sql"
import { oldestPending, totalBacklog, totalBacklogLimit } from "./Backlog.ts"
import { isAway, reasonOf } from "./Database.ts"

const gauge = (name: string, description: string) =>
  Metric.gauge(name, { description: `${description}. From the database: every process says the same` })

const gauges = {
  backlog: gauge(
    "truss_backlog_events",
    `Events that wait for their delivery to active webhooks, counted up to ${totalBacklogLimit}`
  ),
  oldest: gauge("truss_oldest_pending_seconds", "Age of the oldest event that waits for its delivery; 0 if none does"),
  open: gauge("truss_circuit_open", "Active webhooks whose circuit is open"),
  alerts: gauge("truss_alerts_pending", "Alerts that still have to be accepted by TRUSS_ALERT_URL"),
  connections: gauge("truss_database_connections", "Connections of the service's processes to the database")
}

const names = ["backlog", "oldest", "open", "alerts", "connections"] as const

const webhooks = gauge(
  "truss_webhooks",
  "Webhooks by state: active, paused by somebody, or disabled by the service"
)

const states = ["active", "paused", "disabled"] as const

type Row = Readonly<Record<keyof typeof gauges | (typeof states)[number], number>>

const query = `
  SELECT n.*, ${totalBacklog} AS backlog,
    greatest(0, coalesce(extract(epoch FROM clock_timestamp() - (
      SELECT min(${oldestPending}) FROM truss.webhooks w JOIN truss.cursors c ON c.webhook_id = w.id WHERE w.active
    )), 0))::float8 AS oldest,
    (SELECT count(*)::float8 FROM truss.alerts WHERE at IS NOT NULL) AS alerts,
    (SELECT count(*)::float8 FROM pg_stat_activity
      WHERE datname = current_database() AND application_name = 'truss-webhooks') AS connections
  FROM (
    SELECT count(*) FILTER (WHERE w.active)::float8 AS active,
      count(*) FILTER (WHERE NOT w.active AND w.disabled_reason = 'paused')::float8 AS paused,
      count(*) FILTER (WHERE NOT w.active AND w.disabled_reason <> 'paused')::float8 AS disabled,
      count(*) FILTER (WHERE w.active AND c.opened_at IS NOT NULL)::float8 AS open
    FROM truss.webhooks w JOIN truss.cursors c ON c.webhook_id = w.id
  ) n`

/**
 * The database is not asked again for 20 times as long as it took, within these bounds. Measured on 2 cores with 10,000
 * webhooks that are up to date: 0.7 s; with one that has 10,000 events or more to come, 0.3 s more.
 */
const restMs = [3_000, 30_000] as const
const restShare = 20

/** How long the statement may take, and how long whoever reads the metrics waits for it. */
const statementSeconds = 10
const patience = "2 seconds"

/** What the database last said is told for so long. */
const validMs = 60_000

/**
 * The gauges of what the database knows: how much waits, how long, and how the webhooks stand. One statement reads all
 * of it when somebody reads the metrics. While it cannot be had the gauges keep what they say for a minute, and then are
 * not there: no number is better than one that is not true any more.
 */
export class Standing extends Context.Service<Standing, {
  /** Reads it again unless that was just done; never fails, and returns after 2 s at the latest. */
  readonly refresh: Effect.Effect<void>
}>()("truss/services/Standing") {
  static readonly layer = Layer.effect(
    Standing,
    Effect.gen(function*() {
      const sql = yield* PgClient.PgClient
      const scope = yield* Scope.Scope
      let readAt = -Infinity
      let nextAt = -Infinity
      let reading: Fiber.Fiber<void> | undefined

      const read = sql.withTransaction(
        Effect.andThen(sql.unsafe(`SET LOCAL statement_timeout = '${statementSeconds}s'`), sql.unsafe<Row>(query))
      )

      const show = Effect.fnUntraced(function*(row: Row) {
        for (const name of names) yield* Metric.update(gauges[name], row[name])
        for (const state of states) yield* Metric.update(Metric.withAttributes(webhooks, { state }), row[state])
      })

      const hide = Effect.gen(function*() {
        for (const name of names) yield* Metric.remove(gauges[name])
        for (const state of states) yield* Metric.remove(Metric.withAttributes(webhooks, { state }))
      })

      const look = Effect.gen(function*() {
        const startedAt = performance.now()
        const [row] = yield* read
        readAt = performance.now()
        nextAt = readAt + Math.min(Math.max(restMs[0], restShare * (readAt - startedAt)), restMs[1])
        yield* show(row!)
      }).pipe(
        Effect.timeout(`${statementSeconds + 5} seconds`),
        Effect.catchCause((cause) => {
          nextAt = performance.now() + restMs[0]
          const error = Cause.squash(cause)
          return SqlError.isSqlError(error) && !isAway(error)
            ? Effect.logWarning("cannot read what the metrics tell of the database", reasonOf(error))
            : Effect.void
        }),
        Effect.andThen(Effect.suspend(() => performance.now() - readAt > validMs ? hide : Effect.void)),
        Effect.ensuring(Effect.sync(() => (reading = undefined)))
      )

      const refresh = Effect.gen(function*() {
        if (reading === undefined) {
          if (performance.now() < nextAt) return
          reading = yield* Effect.forkIn(look, scope)
        }
        yield* Effect.timeoutOption(Fiber.await(reading), patience)
      })

      yield* Effect.addFinalizer(() => hide)
      return Standing.of({ refresh })
    })
  )
}
