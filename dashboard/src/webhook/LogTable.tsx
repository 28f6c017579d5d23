import { Link } from "@tanstack/react-router"
import { createColumnHelper, tableFeatures, useTable } from "@tanstack/react-table"
import { useVirtualizer } from "@tanstack/react-virtual"
import { type RefObject, useEffect } from "react"
import { Badge } from "../parts/Badge.tsx"
import { milliseconds } from "../parts/Numbers.ts"
import { Time, useNow } from "../parts/Time.tsx"
import { moveFocus, onKey } from "../shell/Keys.ts"
import type { LogEntry } from "./Deliveries.ts"
import { Result } from "./Result.tsx"

const features = tableFeatures({})
const column = createColumnHelper<typeof features, LogEntry>()

const outcomeWords = { success: "Delivered", retrying: "To be retried", failed: "Given up" } as const

/** When it is tried again, until then. */
const Due = ({ at }: { readonly at: string }) =>
  Date.parse(at) <= useNow() ? null : (
    <>
      {" "}
      <Time at={at} style="ago" />
    </>
  )

const columns = column.columns([
  column.display({ id: "result", header: "Answer", cell: ({ row }) => <Result of={row.original} /> }),
  column.display({
    id: "change",
    header: "Change",
    cell: ({ row: { original: entry } }) => (
      <Link
        from="/webhooks/$id"
        to="/webhooks/$id"
        search={(old) => ({ ...old, delivery: entry.id })}
        resetScroll={false}
        data-row
        preload={false}
        className="font-medium before:absolute before:inset-0"
      >
        {entry.event_type}
        {entry.replay_of !== null && <span className="ml-2 font-normal text-muted">replay</span>}
      </Link>
    )
  }),
  column.display({
    id: "outcome",
    header: "Outcome",
    cell: ({ row: { original: entry } }) => (
      <span className="text-muted">
        {outcomeWords[entry.outcome]}
        {entry.next_attempt_at !== null && <Due at={entry.next_attempt_at} />}
      </span>
    )
  }),
  column.display({
    id: "attempt",
    header: "Attempt",
    cell: ({ row: { original: { attempt } } }) =>
      attempt > 1 ? <Badge tone="plain">{`attempt ${attempt}`}</Badge> : <span className="text-muted">first</span>
  }),
  column.display({
    id: "latency",
    header: "Latency",
    cell: ({ row }) => <span className="text-muted tabular-nums">{milliseconds(row.original.latency_ms)}</span>
  }),
  column.display({
    id: "time",
    header: "Time",
    cell: ({ row }) => (
      <span className="relative text-muted tabular-nums">
        <Time at={row.original.created_at} style="clock" />
      </span>
    )
  })
])

const grid =
  "grid grid-cols-[7.5rem_1fr_auto] items-center gap-x-3 px-4 lg:grid-cols-[8rem_1.2fr_1.4fr_7rem_6rem_10rem]"
/** Fewer facts fit on a phone; the details have them all. */
const onPhones: Readonly<Record<string, string>> = {
  outcome: "max-lg:hidden",
  attempt: "max-lg:hidden",
  latency: "max-lg:hidden"
}

interface Props {
  readonly entries: ReadonlyArray<LogEntry>
  readonly scroller: RefObject<HTMLDivElement | null>
  readonly onEnd: () => void
}

const rowHeight = 42

/** The log as rows of which only those in view exist. */
export const LogTable = ({ entries, onEnd, scroller }: Props) => {
  const table = useTable({ features, columns, data: entries, getRowId: (entry) => entry.id })
  const { rows } = table.getRowModel()
  const virtual = useVirtualizer({
    count: rows.length,
    getScrollElement: () => scroller.current,
    estimateSize: () => rowHeight,
    overscan: 12,
    getItemKey: (at) => rows[at]?.id ?? at
  })
  const items = virtual.getVirtualItems()
  const last = items.at(-1)?.index ?? 0
  useEffect(() => {
    if (last >= rows.length - 20) onEnd()
  }, [last, rows.length, onEnd])
  useEffect(() => onKey({ j: () => moveFocus("[data-row]", 1), k: () => moveFocus("[data-row]", -1) }), [])
  return (
    <div role="table" aria-label="Deliveries" aria-rowcount={rows.length + 1}>
      {table.getHeaderGroups().map((group) => (
        <div
          key={group.id}
          role="row"
          aria-rowindex={1}
          className={`border-b border-line py-2 text-[0.9rem] text-muted ${grid}`}
        >
          {group.headers.map((header) => (
            <span key={header.id} role="columnheader" className={onPhones[header.column.id]}>
              <table.FlexRender header={header} />
            </span>
          ))}
        </div>
      ))}
      <div ref={scroller} role="rowgroup" className="relative h-[min(34rem,70dvh)] overflow-y-auto overscroll-contain">
        <div role="presentation" style={{ height: virtual.getTotalSize() }} />
        {items.map((item) => {
          const row = rows[item.index]!
          return (
            <div
              key={item.key}
              role="row"
              aria-rowindex={item.index + 2}
              className={`absolute top-0 left-0 h-[42px] w-full border-b border-line hover:bg-raised has-[a:focus-visible]:bg-raised ${grid}`}
              style={{ transform: `translateY(${item.start}px)` }}
            >
              {row.getAllCells().map((cell) => (
                <span key={cell.id} role="cell" className={`min-w-0 truncate ${onPhones[cell.column.id] ?? ""}`}>
                  <table.FlexRender cell={cell} />
                </span>
              ))}
            </div>
          )
        })}
      </div>
    </div>
  )
}
