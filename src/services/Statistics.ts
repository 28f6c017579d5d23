import { PgClient } from "@effect/sql-pg"
import { Context, Effect, Layer } from "effect"
import { type DatabaseUnavailable, type TookTooLong, WebhookNotFound } from "../domain/Errors.ts"
import { bucketsOf, type Stats, type StatsBucket, type StatsWindow } from "../domain/Stats.ts"
import { isWebhookId } from "../domain/Webhook.ts"
import { backlog, oldestPending } from "./Backlog.ts"
import { orUnavailable } from "./Database.ts"
import { longRead } from "./LongRead.ts"

const pendingQuery = `
  SELECT ${backlog} AS backlog, clock_timestamp() AS now,
    extract(epoch FROM clock_timestamp() - ${oldestPending})::float8 AS oldest
  FROM truss.webhooks w JOIN truss.cursors c ON c.webhook_id = w.id WHERE w.id = $1::uuid`

// An entry is written when its attempt has ended, so by `seq` the times of the attempts only nearly grow. Whatever
// was made ten minutes before $2 was written before it, and so was everything that stands before that in the log.
const boundQuery = `
  WITH RECURSIVE search (low, high) AS (
    SELECT (SELECT a.seq FROM truss.attempts a WHERE a.webhook_id = $1::uuid ORDER BY a.seq LIMIT 1) - 1,
      (SELECT a.seq FROM truss.attempts a WHERE a.webhook_id = $1::uuid ORDER BY a.seq DESC LIMIT 1)
    UNION ALL
    SELECT CASE WHEN p.early THEN p.seq ELSE s.low END, CASE WHEN p.early THEN s.high ELSE s.middle END
    FROM (SELECT low, high, (low + high) / 2 AS middle FROM search WHERE low < high) s CROSS JOIN LATERAL (
      SELECT a.seq, a.created_at < $2::timestamptz - interval '10 minutes' AS early FROM truss.attempts a
      WHERE a.webhook_id = $1::uuid AND a.seq > s.middle ORDER BY a.seq LIMIT 1
    ) p
  )
  SELECT max(low)::text AS bound FROM search`

// Measured with a million attempts in 7 days: 25 ms for an hour, 0.3 s for a day, 2 s for all.
// The clock of whoever delivers may be ahead of the database's: the last bucket takes what is.
const bucketsQuery = `
  SELECT extract(epoch FROM b.at)::float8 * 1000 AS at,
    count(*) FILTER (WHERE outcome = 'success')::float8 AS success,
    count(*) FILTER (WHERE outcome = 'retrying')::float8 AS retrying,
    count(*) FILTER (WHERE outcome = 'failed')::float8 AS failed,
    percentile_disc('{0.5,0.95,0.99}'::float8[]) WITHIN GROUP (ORDER BY latency_ms)
      FILTER (WHERE error IS DISTINCT FROM 'skipped')::float8[] AS percentiles
  FROM (
    SELECT least(date_bin($4::int4 * interval '1 second', a.created_at, $3::timestamptz),
        $3 + $5::int4 * interval '1 second') AS at, a.outcome, a.latency_ms, a.error
    FROM truss.attempts a
    WHERE a.webhook_id = $1::uuid AND a.seq > $2::int8 AND a.created_at >= $3 AND a.event_type <> 'TEST'
  ) b GROUP BY b.at`

interface Row extends Pick<StatsBucket, "success" | "retrying" | "failed"> {
  readonly at: number
  readonly percentiles: ReadonlyArray<number> | null
}

/** Latencies are stored with two digits, as `real`. */
const rounded = (ms: number | undefined): number | null => ms === undefined ? null : Math.round(ms * 100) / 100

const toBucket = (at: number, row: Row | undefined): StatsBucket => {
  const [p50, p95, p99] = row?.percentiles ?? []
  return {
    at: new Date(at).toISOString(),
    success: row?.success ?? 0,
    retrying: row?.retrying ?? 0,
    failed: row?.failed ?? 0,
    p50_ms: rounded(p50),
    p95_ms: rounded(p95),
    p99_ms: rounded(p99)
  }
}

const total = (rows: ReadonlyArray<Row>, outcome: keyof Stats["totals"]) =>
  rows.reduce((sum, row) => sum + row[outcome], 0)

/** How webhooks do, by their log. */
export class Statistics extends Context.Service<Statistics, {
  /** The buckets begin at whole multiples of their length, and the last one lasts. Tests are not counted. */
  of(id: string, window: StatsWindow): Effect.Effect<Stats, WebhookNotFound | TookTooLong | DatabaseUnavailable>
}>()("truss/services/Statistics") {
  static readonly layer = Layer.effect(
    Statistics,
    Effect.gen(function*() {
      const sql = yield* PgClient.PgClient

      const read = Effect.fnUntraced(function*(id: string, from: number, seconds: number, count: number) {
        const start = new Date(from).toISOString()
        const [found] = yield* sql.unsafe<{ bound: string | null }>(boundQuery, [id, start])
        if (found === undefined || found.bound === null) return []
        return yield* sql.unsafe<Row>(bucketsQuery, [id, found.bound, start, seconds, seconds * (count - 1)])
      })

      const of = Effect.fn("Statistics.of")(function*(id: string, window: StatsWindow) {
        if (!isWebhookId(id)) return yield* new WebhookNotFound({ id })
        const { count, seconds } = bucketsOf[window]
        const [pending] = yield* sql.unsafe<{ backlog: number; now: Date; oldest: number | null }>(pendingQuery, [id])
        if (pending === undefined) return yield* new WebhookNotFound({ id })
        const length = seconds * 1000
        const from = (Math.floor(pending.now.getTime() / length) - count + 1) * length
        const rows = yield* longRead(sql, read(id, from, seconds, count))
        const byTime = new Map(rows.map((row) => [row.at, row]))
        return {
          buckets: Array.from({ length: count }, (_, n) => toBucket(from + n * length, byTime.get(from + n * length))),
          totals: {
            success: total(rows, "success"),
            retrying: total(rows, "retrying"),
            failed: total(rows, "failed")
          },
          backlog: pending.backlog,
          oldest_pending_seconds: pending.oldest === null ? null : Math.max(0, pending.oldest)
        }
      }, orUnavailable)

      return Statistics.of({ of })
    })
  )
}
