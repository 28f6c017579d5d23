import { useInfiniteQuery, useQueryClient } from "@tanstack/react-query"
import { ArrowUp, Inbox } from "lucide-react"
import { useCallback, useEffect, useMemo, useRef, useState } from "react"
import { Dot } from "../parts/Badge.tsx"
import { plural } from "../parts/Numbers.ts"
import { Empty, Failed, Loading } from "../parts/States.tsx"
import { filtersOf, isWanted, type LogEntry, logQuery } from "./Deliveries.ts"
import { LogFilters } from "./LogFilters.tsx"
import type { LogSearch } from "./LogSearch.ts"
import { LogTable } from "./LogTable.tsx"
import { type TailState, useTail } from "./Tail.ts"

/** So many live entries are kept before the list is read anew. */
const mostLive = 2_000

const tails = { connecting: ["plain", "Connecting"], live: ["good", "Live"], broken: ["warn", "Reconnecting"] } as const

const Live = ({ state }: { readonly state: TailState }) => (
  <span role="status" className="inline-flex items-center gap-1.5 text-[0.93rem] text-muted">
    <Dot tone={tails[state][0]} /> {tails[state][1]}
  </span>
)

const together = (...lists: ReadonlyArray<ReadonlyArray<LogEntry>>): ReadonlyArray<LogEntry> => [
  ...new Map(lists.flat().map((entry) => [entry.id, entry])).values()
]

interface EntriesProps {
  readonly id: string
  readonly filters: ReturnType<typeof filtersOf>
  readonly onTail: (state: TailState) => void
}

/** What the filters show, for as long as they are the same. */
const Entries = ({ filters, id, onTail }: EntriesProps) => {
  const queries = useQueryClient()
  const query = logQuery(id, filters)
  const log = useInfiniteQuery(query)
  const scroller = useRef<HTMLDivElement>(null)
  const [live, setLive] = useState<ReadonlyArray<LogEntry>>([])
  const [waiting, setWaiting] = useState<ReadonlyArray<LogEntry>>([])

  const readAnew = () => {
    setLive([])
    setWaiting([])
    void queries.resetQueries({ queryKey: query.queryKey })
  }
  const isReading = () =>
    (scroller.current?.scrollTop ?? 0) > 4 || scroller.current?.contains(document.activeElement) === true
  const take = (entries: ReadonlyArray<LogEntry>) => {
    const wanted = entries.filter((entry) => isWanted(entry, filters))
    if (wanted.length === 0) return
    if (isReading() || waiting.length > 0 && scroller.current?.matches(":hover") === true) {
      setWaiting((before) => together(wanted, before).slice(0, mostLive))
    } else if (live.length + wanted.length > mostLive) readAnew()
    else setLive((before) => together(wanted, waiting, before))
    if (!isReading()) setWaiting([])
  }
  // The newest that matches a filter may be long ago: what came since then is not to be sent all over.
  const filtered = Object.keys(filters).length > 0
  const newest = log.data === undefined ? undefined : filtered ? null : log.data.pages[0]?.data[0]?.id ?? null
  const state = useTail({ id, after: newest, onEntries: take, onGap: readAnew })
  useEffect(() => onTail(state), [onTail, state])

  const showWaiting = () => {
    if (live.length + waiting.length > mostLive) readAnew()
    else {
      setLive((before) => together(waiting, before))
      setWaiting([])
    }
    if (document.activeElement instanceof HTMLElement) document.activeElement.blur()
    scroller.current?.scrollTo({ top: 0 })
  }

  const { fetchNextPage, hasNextPage, isFetchingNextPage } = log
  const onEnd = useCallback(() => {
    if (hasNextPage && !isFetchingNextPage) void fetchNextPage()
  }, [fetchNextPage, hasNextPage, isFetchingNextPage])
  const pages = log.data?.pages
  const entries = useMemo(() => together(live, ...(pages ?? []).map(({ data }) => data)), [live, pages])

  return (
    <>
      <div className="relative">
        {waiting.length > 0 && (
          <button
            type="button"
            onClick={showWaiting}
            className="absolute top-11 left-1/2 z-10 inline-flex -translate-x-1/2 items-center gap-1.5 rounded-full bg-accent px-3.5 py-1.5 font-medium text-accent-ink shadow-high"
          >
            <ArrowUp size={14} aria-hidden />{" "}
            {waiting.length >= mostLive ? `${mostLive}+ new` : `${waiting.length} new`}
          </button>
        )}
        {pages === undefined
          ? log.isError
            ? <Failed error={log.error} onRetry={() => void log.refetch()} />
            : <Loading what="deliveries" lines={8} />
          : entries.length === 0
          ? (
            <Empty title={filtered ? "No delivery matches" : "No deliveries yet"} icon={<Inbox size={28} />}>
              {filtered
                ? "Take a filter away to see more."
                : "The next change of the table shows up here by itself. A test goes out at once: “Send test”."}
            </Empty>
          )
          : <LogTable entries={entries} scroller={scroller} onEnd={onEnd} />}
      </div>
      <p aria-live="polite" className="sr-only">
        {waiting.length > 0 ? `${plural(waiting.length, "new delivery", "new deliveries")}` : ""}
      </p>
    </>
  )
}

/** The deliveries of a webhook, as they are made. What comes while somebody reads waits above. */
export const Log = ({ id, search }: { readonly id: string; readonly search: LogSearch }) => {
  const [tail, setTail] = useState<TailState>("connecting")
  const filters = filtersOf(search)
  return (
    <section aria-labelledby="deliveries" className="card min-w-0 overflow-clip">
      <div className="flex flex-wrap items-center justify-between gap-3 border-b border-line px-4 py-3">
        <div className="flex items-center gap-3">
          <h2 id="deliveries" className="text-[1.07rem] font-semibold">Deliveries</h2>
          <Live state={tail} />
        </div>
        <LogFilters search={search} />
      </div>
      <Entries key={JSON.stringify(filters)} id={id} filters={filters} onTail={setTail} />
    </section>
  )
}
