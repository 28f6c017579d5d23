import { useLocation, useNavigate } from "@tanstack/react-router"
import { Search } from "lucide-react"
import { useEffect, useRef } from "react"
import { useDelayed } from "../parts/Delayed.ts"
import { onKey } from "../shell/Keys.ts"
import type { ListSearch } from "./ListSearch.ts"

const states = {
  all: { active: undefined, attention: undefined },
  attention: { active: undefined, attention: true },
  active: { active: true, attention: undefined },
  inactive: { active: false, attention: undefined }
} as const

const stateOf = ({ active, attention }: ListSearch) =>
  attention === true ? "attention" : active === undefined ? "all" : active ? "active" : "inactive"

/** What narrows the list down; it stands in the address, so that it can be sent to somebody. */
export const Filters = ({ search }: { readonly search: ListSearch }) => {
  const navigate = useNavigate({ from: "/webhooks" })
  const field = useRef<HTMLInputElement>(null)
  const set = (change: { readonly [K in keyof ListSearch]: ListSearch[K] | undefined }) =>
    void navigate({
      search: (old) =>
        Object.fromEntries(Object.entries({ ...old, ...change }).filter(([, value]) => value !== undefined)),
      replace: true
    })
  const [q, setQ] = useDelayed(search.q ?? "", (text) => set({ q: text || undefined }))
  const [table, setTable] = useDelayed(search.table ?? "", (text) => set({ table: text.trim() || undefined }))
  const isAsked = useLocation({ select: ({ state }) => state.search === true })
  useEffect(() => {
    if (isAsked) field.current?.focus()
  }, [isAsked])
  useEffect(() => onKey({ "/": () => field.current?.focus() }), [])
  return (
    <search className="grid gap-2 sm:grid-cols-[1fr_14rem_11rem]">
      <div className="relative">
        <Search size={15} aria-hidden className="absolute top-1/2 left-3 -translate-y-1/2 text-muted" />
        <input
          ref={field}
          type="search"
          className="input pl-9"
          aria-label="Search by name, address or table"
          placeholder="Search by name, address or table"
          value={q}
          onChange={(event) => setQ(event.target.value)}
          onKeyDown={(event) => event.key === "Escape" && event.currentTarget.blur()}
        />
      </div>
      <input
        className="input font-mono"
        aria-label="Table"
        placeholder="Table: public.orders"
        spellCheck={false}
        value={table}
        onChange={(event) => setTable(event.target.value)}
      />
      <select
        className="input"
        aria-label="State"
        value={stateOf(search)}
        onChange={(event) => set(states[event.target.value as keyof typeof states])}
      >
        <option value="all">Every state</option>
        <option value="attention">Needs attention</option>
        <option value="active">Active</option>
        <option value="inactive">Not active</option>
      </select>
    </search>
  )
}
