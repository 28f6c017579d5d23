import { useNavigate } from "@tanstack/react-router"
import { X } from "lucide-react"
import { useEffect, useRef, useState } from "react"
import { Button } from "../parts/Button.tsx"
import { useDelayed } from "../parts/Delayed.ts"
import { localTime, utcTime } from "../parts/LocalTime.ts"
import { onKey } from "../shell/Keys.ts"
import type { LogSearch } from "./LogSearch.ts"

const outcomes = [["success", "Succeeded"], ["retrying", "To be retried"], ["failed", "Failed"]] as const
const spans = [["1", "Last hour"], ["24", "Last day"], ["168", "Last week"], ["between", "Between"]] as const
const types = ["INSERT", "UPDATE", "DELETE", "TRUNCATE", "TEST"] as const

/** What narrows the log down, in the address. */
export const LogFilters = ({ search }: { readonly search: LogSearch }) => {
  const navigate = useNavigate({ from: "/webhooks/$id" })
  const set = (change: { readonly [K in keyof LogSearch]: LogSearch[K] | undefined }) =>
    void navigate({
      search: (old) =>
        Object.fromEntries(Object.entries({ ...old, ...change }).filter(([, value]) => value !== undefined)),
      replace: true,
      resetScroll: false
    })
  const field = useRef<HTMLInputElement>(null)
  useEffect(() => onKey({ "/": () => field.current?.focus() }), [])
  const [eventId, setEventId] = useDelayed(
    search.event_id ?? "",
    (text) => set({ event_id: text.trim() || undefined })
  )
  const [status, setStatus] = useDelayed(
    String(search.status_code ?? ""),
    (text) => (text === "" || /^[1-5]\d\d$/.test(text)) && set({ status_code: text === "" ? undefined : Number(text) })
  )
  const [choosing, setChoosing] = useState(false)
  const between = choosing || search.from !== undefined || search.to !== undefined
  const chooseTime = (choice: string) => {
    setChoosing(choice === "between")
    const hours = Number(choice)
    if (choice === "") set({ from: undefined, to: undefined })
    else if (hours > 0) set({ from: new Date(Date.now() - hours * 3_600_000).toISOString(), to: undefined })
  }
  const { delivery: _, ...filters } = search
  return (
    <search className="flex flex-wrap items-center gap-2">
      <select
        className="input w-auto"
        aria-label="Outcome"
        value={search.outcome ?? ""}
        onChange={(event) => set({ outcome: outcomes.find(([outcome]) => outcome === event.target.value)?.[0] })}
      >
        <option value="">Every outcome</option>
        {outcomes.map(([outcome, words]) => <option key={outcome} value={outcome}>{words}</option>)}
      </select>
      <select
        className="input w-auto"
        aria-label="Change"
        value={search.event_type ?? ""}
        onChange={(event) => set({ event_type: types.find((type) => type === event.target.value) })}
      >
        <option value="">Every change</option>
        {types.map((type) => <option key={type}>{type}</option>)}
      </select>
      <input
        className="input w-20"
        aria-label="Status code"
        placeholder="Status"
        inputMode="numeric"
        maxLength={3}
        value={status}
        onChange={(event) => setStatus(event.target.value)}
      />
      <input
        ref={field}
        type="search"
        className="input w-44 font-mono"
        aria-label="Id of an event"
        placeholder="evt_…"
        spellCheck={false}
        value={eventId}
        onChange={(event) => setEventId(event.target.value)}
        onKeyDown={(event) => event.key === "Escape" && event.currentTarget.blur()}
      />
      <select
        className="input w-auto"
        aria-label="When"
        value={between ? "between" : ""}
        onChange={(event) => chooseTime(event.target.value)}
      >
        <option value="">Any time</option>
        {spans.map(([hours, words]) => <option key={hours} value={hours}>{words}</option>)}
      </select>
      {between && (
        <>
          <input
            type="datetime-local"
            className="input w-auto"
            aria-label="From"
            value={localTime(search.from)}
            onChange={(event) => set({ from: utcTime(event.target.value) })}
          />
          <input
            type="datetime-local"
            className="input w-auto"
            aria-label="To"
            value={localTime(search.to)}
            onChange={(event) => set({ to: utcTime(event.target.value) })}
          />
        </>
      )}
      {Object.keys(filters).length > 0 && (
        <Button
          look="quiet"
          onClick={() => {
            setChoosing(false)
            set({
              outcome: undefined,
              event_type: undefined,
              status_code: undefined,
              event_id: undefined,
              from: undefined,
              to: undefined
            })
          }}
        >
          <X size={14} aria-hidden /> Clear
        </Button>
      )}
    </search>
  )
}
