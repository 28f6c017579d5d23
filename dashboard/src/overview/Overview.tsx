import { keepPreviousData, useInfiniteQuery, useQuery } from "@tanstack/react-query"
import { Link, useNavigate } from "@tanstack/react-router"
import { Plus } from "lucide-react"
import { useEffect, useState } from "react"
import { buttonClass } from "../parts/Button.tsx"
import { compact, count, percent, seconds } from "../parts/Numbers.ts"
import { Page } from "../parts/Page.tsx"
import { Segments } from "../parts/Segments.tsx"
import { Failed, Loading } from "../parts/States.tsx"
import { Time } from "../parts/Time.tsx"
import { moveFocus, onKey } from "../shell/Keys.ts"
import { ForWriters } from "../shell/ReadOnly.tsx"
import { LatencyChart, OutcomeChart } from "../webhook/Charts.tsx"
import { Fact, windows } from "../webhook/Summary.tsx"
import { First } from "../webhooks/First.tsx"
import { listQuery, type Stats, type StatsWindow, totalsQuery, type Webhook } from "../webhooks/Queries.ts"
import { Attention } from "./Attention.tsx"
import { Verdict } from "./Verdict.tsx"

/** How many there are of a whole window. */
const buckets: Readonly<Record<StatsWindow, number>> = { "1h": 60, "24h": 96, "7d": 84 }

const Numbers = ({ stats, webhooks }: {
  readonly webhooks: ReadonlyArray<Webhook> | undefined
  readonly stats: Stats | undefined
}) => {
  const { failed, retrying, success } = stats?.totals ?? { success: 0, retrying: 0, failed: 0 }
  const total = success + retrying + failed
  const oldest = stats?.oldest_pending_seconds ?? null
  return (
    <dl className="grid grid-cols-2 gap-px overflow-hidden rounded-[10px] border border-line bg-line sm:grid-cols-5">
      <Fact
        label="Active webhooks"
        value={webhooks === undefined
          ? "…"
          : `${count(webhooks.filter(({ active }) => active).length)} of ${count(webhooks.length)}`}
      />
      <Fact label="Attempts" value={stats === undefined ? "…" : compact(total)} />
      <Fact label="Succeeded" value={percent(success, total)} />
      <Fact
        label="Backlog"
        value={stats === undefined ? "…" : stats.backlog >= 50_000 ? "50,000+" : count(stats.backlog)}
      />
      <Fact label="Oldest that waits" value={oldest === null ? "none" : seconds(oldest)} />
    </dl>
  )
}

/** How much there was of everything, in numbers and charts. */
const Traffic = ({ webhooks }: { readonly webhooks: ReadonlyArray<Webhook> | undefined }) => {
  const [window, setWindow] = useState<StatsWindow>("1h")
  const { data: stats, error, isError, refetch } = useQuery({
    ...totalsQuery(window),
    placeholderData: keepPreviousData
  })
  const first = stats?.buckets[0]
  const isWhole = stats === undefined || stats.buckets.length >= buckets[window]
  return (
    <section aria-label="All deliveries" className="grid gap-3">
      <div className="flex flex-wrap items-center justify-between gap-2">
        <Segments label="Time" options={windows} value={window} onChange={setWindow} />
        {!isWhole && first !== undefined && (
          <span className="text-[0.93rem] text-muted">
            Of the newest million attempts, which began <Time at={first.at} />
          </span>
        )}
      </div>
      <Numbers webhooks={webhooks} stats={stats} />
      {stats === undefined && isError
        ? (
          <div className="card">
            <Failed error={error} onRetry={() => void refetch()} />
          </div>
        )
        : (
          <div className="grid gap-3 lg:grid-cols-2">
            {stats === undefined
              ? [0, 1].map((n) => <div key={n} className="skeleton h-56" />)
              : (
                <>
                  <OutcomeChart {...stats} />
                  <LatencyChart {...stats} />
                </>
              )}
          </div>
        )}
    </section>
  )
}

const Known = ({ all, webhooks }: { readonly webhooks: ReadonlyArray<Webhook>; readonly all: boolean }) => {
  const navigate = useNavigate()
  useEffect(
    () =>
      onKey({
        j: () => moveFocus("[data-row]", 1),
        k: () => moveFocus("[data-row]", -1),
        "/": () => void navigate({ to: "/webhooks", state: { search: true } })
      }),
    [navigate]
  )
  return (
    <>
      <Verdict webhooks={all ? webhooks : undefined} />
      <Attention webhooks={webhooks} />
      <Traffic webhooks={all ? webhooks : undefined} />
    </>
  )
}

/** Whether all arrives, and where not, why. */
export const Overview = () => {
  const pages = useInfiniteQuery(listQuery({}))
  const { fetchNextPage, hasNextPage, isFetchingNextPage } = pages
  useEffect(() => {
    if (hasNextPage && !isFetchingNextPage) void fetchNextPage()
  }, [hasNextPage, isFetchingNextPage, fetchNextPage])
  const webhooks = pages.data?.pages.flatMap(({ data }) => data)
  return (
    <Page
      title="Overview"
      actions={
        <ForWriters>
          <Link to="/webhooks/new" className={buttonClass()}>
            <Plus size={16} aria-hidden /> New webhook
          </Link>
        </ForWriters>
      }
    >
      {webhooks === undefined
        ? (
          <div className="card">
            {pages.isError
              ? <Failed error={pages.error} onRetry={() => void pages.refetch()} />
              : <Loading what="webhooks" />}
          </div>
        )
        : webhooks.length === 0
        ? (
          <div className="card">
            <First />
          </div>
        )
        : <Known webhooks={webhooks} all={!hasNextPage} />}
    </Page>
  )
}
