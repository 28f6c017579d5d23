import { useInfiniteQuery, useQueries } from "@tanstack/react-query"
import { Link } from "@tanstack/react-router"
import { Plus } from "lucide-react"
import { useEffect, useState } from "react"
import { buttonClass } from "../parts/Button.tsx"
import { compact, count, percent, seconds } from "../parts/Numbers.ts"
import { Page } from "../parts/Page.tsx"
import { Segments } from "../parts/Segments.tsx"
import { Failed, Loading } from "../parts/States.tsx"
import { moveFocus, onKey } from "../shell/Keys.ts"
import { ForWriters } from "../shell/ReadOnly.tsx"
import { LatencyChart, OutcomeChart } from "../webhook/Charts.tsx"
import { Fact, windows } from "../webhook/Summary.tsx"
import { First } from "../webhooks/First.tsx"
import { listQuery, type Stats, statsQuery, type StatsWindow, type Webhook } from "../webhooks/Queries.ts"
import { Attention } from "./Attention.tsx"
import { together } from "./Totals.ts"

/** Statistics are asked for a webhook at a time: those of the ones that delivered last make the picture. */
const mostCharted = 40

const combine = (results: ReadonlyArray<{ readonly data: Stats | undefined }>) =>
  together(results.flatMap(({ data }) => data === undefined ? [] : [data]))

const latest = (a: Webhook, b: Webhook) => (b.last_delivery_at ?? "").localeCompare(a.last_delivery_at ?? "")

const Numbers = ({ stats, webhooks }: { readonly webhooks: ReadonlyArray<Webhook>; readonly stats: Stats }) => {
  const { failed, retrying, success } = stats.totals
  const total = success + retrying + failed
  const backlog = webhooks.reduce((sum, webhook) => sum + webhook.backlog, 0)
  return (
    <dl className="grid grid-cols-2 gap-px overflow-hidden rounded-[10px] border border-line bg-line sm:grid-cols-5">
      <Fact
        label="Active webhooks"
        value={`${count(webhooks.filter(({ active }) => active).length)} of ${count(webhooks.length)}`}
      />
      <Fact label="Attempts" value={compact(total)} />
      <Fact label="Succeeded" value={percent(success, total)} />
      <Fact label="Backlog" value={count(backlog)} />
      <Fact
        label="Oldest that waits"
        value={stats.oldest_pending_seconds === null ? "none" : seconds(stats.oldest_pending_seconds)}
      />
    </dl>
  )
}

const Known = ({ webhooks }: { readonly webhooks: ReadonlyArray<Webhook> }) => {
  const [window, setWindow] = useState<StatsWindow>("1h")
  const charted = webhooks.filter((webhook) => webhook.last_delivery_at !== null || webhook.backlog > 0)
    .toSorted(latest).slice(0, mostCharted)
  const stats = useQueries({ queries: charted.map(({ id }) => statsQuery(id, window)), combine })
  useEffect(() => onKey({ j: () => moveFocus("[data-row]", 1), k: () => moveFocus("[data-row]", -1) }), [])
  return (
    <>
      <div className="grid gap-3">
        <div className="flex flex-wrap items-center justify-between gap-2">
          <Segments label="Time" options={windows} value={window} onChange={setWindow} />
          {webhooks.length > mostCharted && (
            <span className="text-[0.93rem] text-muted">
              Charts show the {mostCharted} webhooks that delivered last
            </span>
          )}
        </div>
        <Numbers webhooks={webhooks} stats={stats} />
      </div>
      <Attention webhooks={webhooks} />
      {stats.buckets.length > 0 && (
        <div className="grid gap-3 lg:grid-cols-2">
          <OutcomeChart {...stats} />
          <LatencyChart {...stats} title="Latency of the slowest webhook" />
        </div>
      )}
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
        : <Known webhooks={webhooks} />}
    </Page>
  )
}
