import { useNavigate } from "@tanstack/react-router"
import { X } from "lucide-react"
import { Button } from "../parts/Button.tsx"
import { localTime, utcTime } from "../parts/LocalTime.ts"
import type { LogSearch } from "./LogSearch.ts"

const outcomes = [["success", "Succeeded"], ["retrying", "To be retried"], ["failed", "Failed"]] as const
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
        className="input w-24"
        aria-label="Status code"
        placeholder="Status"
        inputMode="numeric"
        maxLength={3}
        defaultValue={search.status_code}
        key={`status-${search.status_code}`}
        onChange={({ target: { value } }) =>
          (value === "" || /^[1-5]\d\d$/.test(value)) && set({ status_code: value === "" ? undefined : Number(value) })}
      />
      <label className="flex items-center gap-1.5 text-muted">
        From
        <input
          type="datetime-local"
          className="input w-auto"
          value={localTime(search.from)}
          onChange={(event) => set({ from: utcTime(event.target.value) })}
        />
      </label>
      <label className="flex items-center gap-1.5 text-muted">
        to
        <input
          type="datetime-local"
          className="input w-auto"
          value={localTime(search.to)}
          onChange={(event) => set({ to: utcTime(event.target.value) })}
        />
      </label>
      {Object.keys(filters).length > 0 && (
        <Button
          look="quiet"
          onClick={() =>
            set({
              outcome: undefined,
              event_type: undefined,
              status_code: undefined,
              event_id: undefined,
              from: undefined,
              to: undefined
            })}
        >
          <X size={14} aria-hidden /> Clear
        </Button>
      )}
    </search>
  )
}
