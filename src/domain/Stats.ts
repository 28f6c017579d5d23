import { Schema } from "effect"
import { Time } from "./Time.ts"

/** How far back statistics go. */
export const StatsWindow = Schema.Literals(["1h", "24h", "7d"])
export type StatsWindow = typeof StatsWindow.Type

/** How long a bucket is, and how many there are, the one that lasts included. */
export const bucketsOf: Readonly<Record<StatsWindow, { readonly seconds: number; readonly count: number }>> = {
  "1h": { seconds: 60, count: 60 },
  "24h": { seconds: 900, count: 96 },
  "7d": { seconds: 7200, count: 84 }
}

const counts = { success: Schema.Int, retrying: Schema.Int, failed: Schema.Int }

/** The attempts that were made from `at` on, by outcome, and how long they took: null where none was sent. */
export const StatsBucket = Schema.Struct({
  at: Time,
  ...counts,
  p50_ms: Schema.NullOr(Schema.Finite),
  p95_ms: Schema.NullOr(Schema.Finite),
  p99_ms: Schema.NullOr(Schema.Finite)
}).annotate({ identifier: "StatsBucket" })
export type StatsBucket = typeof StatsBucket.Type

/** How a webhook does. */
export const Stats = Schema.Struct({
  /** Oldest first, without a gap. */
  buckets: Schema.Array(StatsBucket),
  totals: Schema.Struct(counts),
  /** As in the webhook itself. */
  backlog: Schema.Int,
  /** How long ago the oldest event was made that waits for its delivery; null when none does. */
  oldest_pending_seconds: Schema.NullOr(Schema.Finite)
}).annotate({ identifier: "Stats" })
export type Stats = typeof Stats.Type
