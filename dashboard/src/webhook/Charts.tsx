import { useMemo } from "react"
import { ChartCard } from "../parts/ChartCard.tsx"
import { compact, milliseconds, percent } from "../parts/Numbers.ts"
import type { Stats } from "../webhooks/Queries.ts"

/** Buckets of one webhook, or those of many added up. */
export const OutcomeChart = ({ buckets, totals }: Pick<Stats, "buckets" | "totals">) => {
  const { failed, retrying, success } = totals
  const series = useMemo(() => [
    { label: "Succeeded", colour: "good-fill", values: buckets.map((bucket) => bucket.success) },
    { label: "To be retried", colour: "warn-fill", values: buckets.map((bucket) => bucket.retrying) },
    { label: "Failed", colour: "bad-fill", values: buckets.map((bucket) => bucket.failed) }
  ], [buckets])
  const times = useMemo(() => buckets.map(({ at }) => Date.parse(at) / 1_000), [buckets])
  return (
    <ChartCard
      title="Attempts by outcome"
      kind="bars"
      times={times}
      series={series}
      format={(value) => Number.isInteger(value) ? compact(value) : ""}
      label={`Attempts by outcome: ${success} succeeded (${percent(success, success + retrying + failed)}), ` +
        `${retrying} to be retried, ${failed} failed`}
    />
  )
}

export const LatencyChart = (
  { buckets, title = "Latency" }: Pick<Stats, "buckets"> & { readonly title?: string }
) => {
  const series = useMemo(() => [
    { label: "p50", colour: "good-fill", values: buckets.map((bucket) => bucket.p50_ms) },
    { label: "p95", colour: "accent", values: buckets.map((bucket) => bucket.p95_ms) },
    { label: "p99", colour: "warn-fill", values: buckets.map((bucket) => bucket.p99_ms) }
  ], [buckets])
  const times = useMemo(() => buckets.map(({ at }) => Date.parse(at) / 1_000), [buckets])
  const slowest = Math.max(0, ...buckets.map((bucket) => bucket.p95_ms ?? 0))
  return (
    <ChartCard
      title={title}
      kind="lines"
      times={times}
      series={series}
      format={milliseconds}
      label={slowest === 0
        ? "Latency: no attempts"
        : `Latency: at most ${milliseconds(slowest)} for 95 % of the attempts`}
    />
  )
}
