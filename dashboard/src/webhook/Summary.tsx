import { useQuery } from "@tanstack/react-query"
import { useState } from "react"
import { count, milliseconds, percent, seconds } from "../parts/Numbers.ts"
import { Segments } from "../parts/Segments.tsx"
import { statsQuery, type StatsWindow, type Webhook } from "../webhooks/Queries.ts"
import { LatencyChart, OutcomeChart } from "./Charts.tsx"

export const windows = [["1h", "Hour"], ["24h", "Day"], ["7d", "Week"]] as const satisfies ReadonlyArray<
  readonly [StatsWindow, string]
>

export const Fact = ({ bad = false, label, value }: {
  readonly label: string
  readonly value: string
  readonly bad?: boolean
}) => (
  <div className="min-w-0 bg-surface px-4 py-3 max-sm:last:odd:col-span-2">
    <dt className="text-[0.9rem] text-muted">{label}</dt>
    <dd className={`truncate text-[1.2rem] font-semibold tabular-nums ${bad ? "text-bad" : ""}`}>{value}</dd>
  </div>
)

/** The 95th percentile that most buckets stay below; the API gives it by bucket only. */
const typical = (values: ReadonlyArray<number | null>): string => {
  const known = values.filter((value) => value !== null).toSorted((a, b) => a - b)
  return known.length === 0 ? "–" : milliseconds(known[Math.floor(known.length / 2)]!)
}

/** How a webhook does, in numbers and charts. */
export const Summary = ({ webhook }: { readonly webhook: Webhook }) => {
  const [window, setWindow] = useState<StatsWindow>("1h")
  const { data } = useQuery(statsQuery(webhook.id, window))
  const totals = data?.totals ?? { success: 0, retrying: 0, failed: 0 }
  const oldest = data?.oldest_pending_seconds ?? null
  return (
    <section aria-label="How it does" className="grid gap-3">
      <div className="justify-self-start">
        <Segments label="Time" options={windows} value={window} onChange={setWindow} />
      </div>
      <dl className="grid grid-cols-2 gap-px overflow-hidden rounded-[10px] border border-line bg-line sm:grid-cols-5">
        <Fact label="Succeeded" value={percent(totals.success, totals.success + totals.retrying + totals.failed)} />
        <Fact label="Latency (p95, typical)" value={typical(data?.buckets.map(({ p95_ms }) => p95_ms) ?? [])} />
        <Fact label="Failed in a row" value={count(webhook.fail_count)} bad={webhook.fail_count > 0} />
        <Fact label="Backlog" value={webhook.backlog >= 10_000 ? "10,000+" : count(webhook.backlog)} />
        <Fact label="Oldest that waits" value={oldest === null ? "none" : seconds(oldest)} />
      </dl>
      <div className="grid gap-3 lg:grid-cols-2">
        {data === undefined
          ? [0, 1].map((n) => <div key={n} className="skeleton h-56" />)
          : (
            <>
              <OutcomeChart {...data} />
              <LatencyChart {...data} />
            </>
          )}
      </div>
    </section>
  )
}
