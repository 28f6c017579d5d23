import { useInfiniteQuery } from "@tanstack/react-query"
import { Link, useSearch } from "@tanstack/react-router"
import { useWindowVirtualizer } from "@tanstack/react-virtual"
import { Plus, SearchX } from "lucide-react"
import { useCallback, useEffect, useMemo, useRef } from "react"
import { buttonClass } from "../parts/Button.tsx"
import { Page } from "../parts/Page.tsx"
import { Empty, Failed, Loading } from "../parts/States.tsx"
import { moveFocus, onKey } from "../shell/Keys.ts"
import { ForWriters } from "../shell/ReadOnly.tsx"
import { Filters } from "./Filters.tsx"
import { First } from "./First.tsx"
import { healthOf } from "./Health.ts"
import type { ListSearch } from "./ListSearch.ts"
import { listQuery, type Webhook } from "./Queries.ts"
import { Row, rowGrid } from "./Row.tsx"

const matches = (webhook: Webhook, { attention, q }: ListSearch): boolean =>
  (attention !== true || healthOf(webhook).urgency > 0) &&
  (q === undefined || [webhook.name, webhook.url, `${webhook.table_schema}.${webhook.table_name}`, webhook.id]
    .some((text) => text.toLowerCase().includes(q.toLowerCase())))

const isFiltered = (search: ListSearch) => Object.keys(search).length > 0

const heads = ["Webhook", "Health", "Last hour", "Failed in a row", "Backlog", "Last delivery", "Active"]

interface RowsProps {
  readonly webhooks: ReadonlyArray<Webhook>
  readonly search: ListSearch
  readonly onEnd: () => void
}

/** Only the rows in view exist; their heights are as their words need. */
const Rows = ({ onEnd, search, webhooks }: RowsProps) => {
  const list = useRef<HTMLUListElement>(null)
  const virtual = useWindowVirtualizer({
    count: webhooks.length,
    estimateSize: () => 66,
    overscan: 4,
    scrollMargin: list.current?.offsetTop ?? 0,
    getItemKey: (at) => webhooks[at]?.id ?? at
  })
  const items = virtual.getVirtualItems()
  const last = items.at(-1)?.index ?? 0
  useEffect(() => {
    if (last >= webhooks.length - 20) onEnd()
  }, [last, webhooks.length, onEnd])
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
      <ul ref={list} aria-label="Webhooks" className="relative" style={{ height: virtual.getTotalSize() }}>
        {items.map(({ index, key, start }) => (
          <Row
            key={key}
            ref={virtual.measureElement}
            data-index={index}
            aria-posinset={index + 1}
            aria-setsize={webhooks.length}
            style={{ transform: `translateY(${start - virtual.options.scrollMargin}px)` }}
            webhook={webhooks[index]!}
          />
        ))}
      </ul>
    </>
  )
}

/** All webhooks and how they do. */
export const List = () => {
  const search = useSearch({ from: "/webhooks" })
  const pages = useInfiniteQuery(listQuery(search))
  const { fetchNextPage, hasNextPage, isFetchingNextPage } = pages
  const onEnd = useCallback(() => {
    if (hasNextPage && !isFetchingNextPage) void fetchNextPage()
  }, [fetchNextPage, hasNextPage, isFetchingNextPage])
  // What is searched for may be on any page.
  const searching = search.q !== undefined || search.attention === true
  useEffect(() => {
    if (searching) onEnd()
  }, [searching, onEnd])
  const loaded = pages.data?.pages
  const shown = useMemo(
    () => loaded?.flatMap(({ data }) => data).filter((webhook) => matches(webhook, search)),
    [loaded, search]
  )
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
        {shown !== undefined && !(shown.length === 0 && searching && hasNextPage)
          ? <Rows search={search} webhooks={shown} onEnd={onEnd} /> :
          pages.isError
          ? <Failed error={pages.error} onRetry={() => void pages.refetch()} />
          : <Loading what="webhooks" />}
      </section>
    </Page>
  )
}
