import { useInfiniteQuery } from "@tanstack/react-query"
import { Link, useSearch } from "@tanstack/react-router"
import { Plus, SearchX } from "lucide-react"
import { useEffect } from "react"
import { Button, buttonClass } from "../parts/Button.tsx"
import { Page } from "../parts/Page.tsx"
import { Empty, Failed, Loading } from "../parts/States.tsx"
import { moveFocus, onKey } from "../shell/Keys.ts"
import { ForWriters } from "../shell/ReadOnly.tsx"
import { Filters } from "./Filters.tsx"
import { First } from "./First.tsx"
import type { ListSearch } from "./ListSearch.ts"
import { listQuery, type Webhook } from "./Queries.ts"
import { Row, rowGrid } from "./Row.tsx"

const matches = (webhook: Webhook, q: string | undefined): boolean =>
  q === undefined || [webhook.name, webhook.url, `${webhook.table_schema}.${webhook.table_name}`, webhook.id]
    .some((text) => text.toLowerCase().includes(q.toLowerCase()))

const isFiltered = (search: ListSearch) => Object.keys(search).length > 0

const heads = ["Webhook", "Health", "Last hour", "Failed", "Backlog", "Last delivery", "Active"]

const Rows = ({ search, webhooks }: { readonly search: ListSearch; readonly webhooks: ReadonlyArray<Webhook> }) => {
  useEffect(
    () => onKey({ j: () => moveFocus("[data-row]", 1), k: () => moveFocus("[data-row]", -1) }),
    []
  )
  if (webhooks.length === 0) {
    return isFiltered(search)
      ? (
        <Empty
          title="No webhook matches"
          icon={<SearchX size={28} />}
          action={<Link to="/webhooks" className={buttonClass()}>Show all</Link>}
        >
          A table is given as <code className="font-mono">orders</code> or{" "}
          <code className="font-mono">public.orders</code>, whole.
        </Empty>
      )
      : <First />
  }
  return (
    <>
      <div
        aria-hidden
        className={`hidden gap-x-4 border-b border-line px-4 py-2 text-[0.9rem] text-muted xl:grid ${rowGrid}`}
      >
        {heads.map((head) => <span key={head}>{head}</span>)}
      </div>
      <ul aria-label="Webhooks">
        {webhooks.map((webhook) => <Row key={webhook.id} webhook={webhook} />)}
      </ul>
    </>
  )
}

/** All webhooks and how they do. */
export const List = () => {
  const search = useSearch({ from: "/webhooks" })
  const pages = useInfiniteQuery(listQuery(search))
  const { fetchNextPage, hasNextPage, isFetchingNextPage } = pages
  const searching = search.q !== undefined
  // What is searched for may be on any page.
  useEffect(() => {
    if (searching && hasNextPage && !isFetchingNextPage) void fetchNextPage()
  }, [searching, hasNextPage, isFetchingNextPage, fetchNextPage])
  const shown = pages.data?.pages.flatMap(({ data }) => data).filter((webhook) => matches(webhook, search.q))
  return (
    <Page
      title="Webhooks"
      actions={
        <ForWriters>
          <Link to="/webhooks/new" className={buttonClass("primary")}>
            <Plus size={16} aria-hidden /> New webhook
          </Link>
        </ForWriters>
      }
    >
      {(isFiltered(search) || (shown !== undefined && shown.length > 0)) && <Filters search={search} />}
      <section aria-label="Webhooks" className="card overflow-clip">
        {shown !== undefined ? <Rows search={search} webhooks={shown} /> : pages.isError
          ? <Failed error={pages.error} onRetry={() => void pages.refetch()} />
          : <Loading what="webhooks" />}
      </section>
      {hasNextPage && (
        <div className="text-center">
          <Button busy={isFetchingNextPage} onClick={() => void fetchNextPage()}>Show more</Button>
        </div>
      )}
    </Page>
  )
}
