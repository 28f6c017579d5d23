import { PgClient } from "@effect/sql-pg"
import { Context, Effect, Layer } from "effect"
import { type DatabaseUnavailable, type TookTooLong, WebhookNotFound } from "../domain/Errors.ts"
import { bucketsOf, type Stats, type StatsBucket, type StatsWindow } from "../domain/Stats.ts"
import { isWebhookId } from "../domain/Webhook.ts"
import { backlog, oldestPending, totalBacklog } from "./Backlog.ts"
import { orUnavailable } from "./Database.ts"
import { longRead } from "./LongRead.ts"
import { plain } from "./PgArray.ts"

const pendingQuery = `
  SELECT ${backlog} AS backlog, clock_timestamp() AS now,
    extract(epoch FROM clock_timestamp() - ${oldestPending})::float8 AS oldest
  FROM truss.webhooks w JOIN truss.cursors c ON c.webhook_id = w.id WHERE w.id = $1::uuid`

const totalPendingQuery = `
  SELECT ${totalBacklog} AS backlog, clock_timestamp() AS now, extract(epoch FROM clock_timestamp() - (
    SELECT min(${oldestPending}) FROM truss.webhooks w JOIN truss.cursors c ON c.webhook_id = w.id WHERE w.active
  ))::float8 AS oldest, (SELECT last_value FROM truss.attempt_seq)::text AS newest,
  ARRAY(SELECT c.webhook_id FROM truss.cursors c ORDER BY c.last_delivery_at DESC NULLS LAST)::text[] AS ids`

// An entry is written when its attempt has ended, so by `seq` the times of the attempts only nearly grow. Whatever
// was made ten minutes before $2 was written before it, and so was everything that stands before that in the log.
const search = `
  WITH RECURSIVE search (low, high) AS (
    SELECT (SELECT a.seq FROM truss.attempts a WHERE a.webhook_id = $1::uuid ORDER BY a.seq LIMIT 1) - 1,
      (SELECT a.seq FROM truss.attempts a WHERE a.webhook_id = $1::uuid ORDER BY a.seq DESC LIMIT 1)
    UNION ALL
    SELECT CASE WHEN p.early THEN p.seq ELSE s.low END, CASE WHEN p.early THEN s.high ELSE s.middle END
    FROM (SELECT low, high, (low + high) / 2 AS middle FROM search WHERE low < high) s CROSS JOIN LATERAL (
      SELECT a.seq, a.created_at < $2::timestamptz - interval '10 minutes' AS early FROM truss.attempts a
      WHERE a.webhook_id = $1::uuid AND a.seq > s.middle ORDER BY a.seq LIMIT 1
    ) p
  )`
const boundQuery = `${search} SELECT max(low)::text AS bound FROM search`

// Of a webhook that made nothing so early, where its log begins says nothing of others.
const sharedBoundQuery = `${search} SELECT (
  SELECT a.seq FROM truss.attempts a WHERE a.webhook_id = $1::uuid AND a.seq = (SELECT max(low) FROM search)
)::text AS bound`

const counts = `extract(epoch FROM b.at)::float8 * 1000 AS at,
    count(*) FILTER (WHERE outcome = 'success')::float8 AS success,
    count(*) FILTER (WHERE outcome = 'retrying')::float8 AS retrying,
    count(*) FILTER (WHERE outcome = 'failed')::float8 AS failed,
    percentile_disc('{0.5,0.95,0.99}'::float8[]) WITHIN GROUP (ORDER BY latency_ms)
      FILTER (WHERE error IS DISTINCT FROM 'skipped')::float8[] AS percentiles`
const binned = `a.outcome, a.latency_ms, a.error, least($3::timestamptz + $5::int4 * interval '1 second',
      date_bin($4::int4 * interval '1 second', a.created_at, $3)) AS at`
const wanted = "a.seq > $2::int8 AND a.created_at >= $3 AND a.event_type <> 'TEST'"

// Measured with a million attempts in 7 days: 25 ms for an hour, 0.3 s for a day, 2 s for all.
// The clock of whoever delivers may be ahead of the database's: the last bucket takes what is.
const bucketsQuery = `
  SELECT ${counts} FROM (
    SELECT ${binned} FROM truss.attempts a WHERE a.webhook_id = $1::uuid AND ${wanted}
  ) b GROUP BY b.at`

/** So many of the newest entries are counted, whoever's they are: 1.5 s, measured with 1,000 webhooks. */
export const mostCounted = 1_000_000

// The log has no index by `seq` alone, so each webhook's part of it is looked into. `cut` is by when the first of those
// counted were written: whatever was made later is counted, too.
const totalBucketsQuery = `
  SELECT ${counts},
    extract(epoch FROM max(written) FILTER (WHERE seq <= $2 + 10000))::float8 * 1000 AS cut
  FROM unnest($1::text::uuid[]) w (id) CROSS JOIN LATERAL (
    SELECT a.seq, a.created_at + a.latency_ms * interval '1 millisecond' AS written, ${binned}
    FROM truss.attempts a WHERE a.webhook_id = w.id AND ${wanted} OFFSET 0
  ) b GROUP BY b.at`

interface Row extends Pick<StatsBucket, "success" | "retrying" | "failed"> {
  readonly at: number
  readonly percentiles: ReadonlyArray<number> | null
  readonly cut?: number | null
}

interface Pending {
  readonly backlog: number
  readonly now: Date
  readonly oldest: number | null
}

/** Where the first of so many buckets of this length begins, if the last one lasts. */
const beginningOf = ({ now }: Pending, { count, seconds }: (typeof bucketsOf)[StatsWindow]) =>
  (Math.floor(now.getTime() / (seconds * 1000)) - count + 1) * seconds * 1000

/** For an entry to be committed once its attempt has ended. */
const commitMs = 5_000

/** The log of so many webhooks is asked where the window begins; any of them may say. */
const mostAsked = 8

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

const total = (buckets: ReadonlyArray<StatsBucket>, outcome: keyof Stats["totals"]) =>
  buckets.reduce((sum, bucket) => sum + bucket[outcome], 0)

/** `missing`: so many buckets at the beginning are not known. */
const toStats = (
  { backlog, oldest }: Pending,
  rows: ReadonlyArray<Row>,
  from: number,
  { count, seconds }: (typeof bucketsOf)[StatsWindow],
  missing = 0
): Stats => {
  const byTime = new Map(rows.map((row) => [row.at, row]))
  const buckets = Array.from({ length: count }, (_, n) => from + n * seconds * 1000)
    .slice(missing)
    .map((at) => toBucket(at, byTime.get(at)))
  return {
    buckets,
    totals: {
      success: total(buckets, "success"),
      retrying: total(buckets, "retrying"),
      failed: total(buckets, "failed")
    },
    backlog,
    oldest_pending_seconds: oldest === null ? null : Math.max(0, oldest)
  }
}

/** How webhooks do, by their log. */
export class Statistics extends Context.Service<Statistics, {
  /** The buckets begin at whole multiples of their length, and the last one lasts. Tests are not counted. */
  of(id: string, window: StatsWindow): Effect.Effect<Stats, WebhookNotFound | TookTooLong | DatabaseUnavailable>
  /** The same for all webhooks together. The buckets begin where every attempt is among the `mostCounted` newest. */
  ofAll(window: StatsWindow): Effect.Effect<Stats, TookTooLong | DatabaseUnavailable>
}>()("truss/services/Statistics") {
  static readonly layer = Layer.effect(
    Statistics,
    Effect.gen(function*() {
      const sql = yield* PgClient.PgClient

      const boundOf = (query: string, id: string, start: string) =>
        Effect.map(
          sql.unsafe<{ bound: string | null }>(query, [id, start]),
          ([found]) => found?.bound ?? undefined
        )

      const read = Effect.fnUntraced(function*(id: string, start: string, seconds: number, count: number) {
        const bound = yield* boundOf(boundQuery, id, start)
        if (bound === undefined) return []
        return yield* sql.unsafe<Row>(bucketsQuery, [id, bound, start, seconds, seconds * (count - 1)])
      })

      const of = Effect.fn("Statistics.of")(function*(id: string, window: StatsWindow) {
        if (!isWebhookId(id)) return yield* new WebhookNotFound({ id })
        const { count, seconds } = bucketsOf[window]
        const [pending] = yield* sql.unsafe<Pending>(pendingQuery, [id])
        if (pending === undefined) return yield* new WebhookNotFound({ id })
        const from = beginningOf(pending, bucketsOf[window])
        const rows = yield* longRead(sql, read(id, new Date(from).toISOString(), seconds, count))
        return toStats(pending, rows, from, bucketsOf[window])
      }, orUnavailable)

      const ofAll = Effect.fn("Statistics.ofAll")(function*(window: StatsWindow) {
        const buckets = bucketsOf[window]
        const { count, seconds } = buckets
        const [found] = yield* sql.unsafe<Pending & { readonly ids: ReadonlyArray<string>; readonly newest: string }>(
          totalPendingQuery
        )
        const { ids, newest, ...pending } = found!
        const from = beginningOf(pending, buckets)
        const start = new Date(from).toISOString()
        const read = Effect.gen(function*() {
          const bounds = yield* Effect.forEach(ids.slice(0, mostAsked), (id) => boundOf(sharedBoundQuery, id, start))
          const bound = bounds.reduce((high, one) => one !== undefined && BigInt(one) > high ? BigInt(one) : high, 0n)
          const limit = BigInt(newest) - BigInt(mostCounted)
          const isCut = limit > bound
          const after = String(isCut ? limit : bound)
          const rows = yield* sql.unsafe<Row>(totalBucketsQuery, [
            plain(ids),
            after,
            start,
            seconds,
            seconds * (count - 1)
          ])
          return {
            rows,
            cut: isCut ? Math.max(from, ...rows.map(({ cut }) => (cut ?? -commitMs) + commitMs)) : from
          }
        })
        const { cut, rows } = yield* longRead(sql, read)
        return toStats(pending, rows, from, buckets, Math.min(count - 1, Math.ceil((cut - from) / (seconds * 1000))))
      }, orUnavailable)

      return Statistics.of({ of, ofAll })
    })
  )
}
