import type { Stats } from "../webhooks/Queries.ts"

const highest = (a: number | null, b: number | null): number | null => a === null ? b : b === null ? a : Math.max(a, b)

/**
 * The statistics of several webhooks in one: counts add up, and a latency is the slowest webhook's, since percentiles
 * do not add up. The answers may be a bucket apart; `at` tells what belongs together.
 */
export const together = (all: ReadonlyArray<Stats>): Stats => {
  const buckets = new Map<string, Stats["buckets"][number]>()
  for (const bucket of all.flatMap((stats) => stats.buckets)) {
    const before = buckets.get(bucket.at)
    buckets.set(
      bucket.at,
      before === undefined ? bucket : {
        at: bucket.at,
        success: before.success + bucket.success,
        retrying: before.retrying + bucket.retrying,
        failed: before.failed + bucket.failed,
        p50_ms: highest(before.p50_ms, bucket.p50_ms),
        p95_ms: highest(before.p95_ms, bucket.p95_ms),
        p99_ms: highest(before.p99_ms, bucket.p99_ms)
      }
    )
  }
  const sum = (outcome: keyof Stats["totals"]) => all.reduce((total, { totals }) => total + totals[outcome], 0)
  return {
    buckets: [...buckets.values()].toSorted((a, b) => a.at.localeCompare(b.at)),
    totals: { success: sum("success"), retrying: sum("retrying"), failed: sum("failed") },
    backlog: all.reduce((total, { backlog }) => total + backlog, 0),
    oldest_pending_seconds: all.reduce<number | null>(
      (oldest, one) => highest(oldest, one.oldest_pending_seconds),
      null
    )
  }
}
