import { useNavigate } from "@tanstack/react-router"
import { Search } from "lucide-react"
import { useEffect, useRef, useState } from "react"
import { onKey } from "../shell/Keys.ts"
import type { ListSearch } from "./ListSearch.ts"

/** Writes a text into the address a moment after the last key. */
const useDelayed = (text: string, write: (text: string) => void) => {
  const [value, setValue] = useState(text)
  const timer = useRef<ReturnType<typeof setTimeout>>(undefined)
  useEffect(() => setValue(text), [text])
  useEffect(() => () => clearTimeout(timer.current), [])
  const change = (next: string) => {
    setValue(next)
    clearTimeout(timer.current)
    timer.current = setTimeout(() => write(next), 250)
  }
  return [value, change] as const
}

const states = { all: undefined, active: true, inactive: false } as const

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
  useEffect(() => onKey({ "/": () => field.current?.focus() }), [])
  return (
    <search className="grid gap-2 sm:grid-cols-[1fr_14rem_10rem]">
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
        value={search.active === undefined ? "all" : search.active ? "active" : "inactive"}
        onChange={(event) => set({ active: states[event.target.value as keyof typeof states] })}
      >
        <option value="all">Active or not</option>
        <option value="active">Active</option>
        <option value="inactive">Not active</option>
      </select>
    </search>
  )
}
