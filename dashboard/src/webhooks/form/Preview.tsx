import { keepPreviousData, useQuery } from "@tanstack/react-query"
import { useEffect, useState } from "react"
import { call } from "../../api/Client.ts"
import { Problem, reasonOf } from "../../api/Problem.ts"
import { Json } from "../../parts/Json.tsx"
import { count } from "../../parts/Numbers.ts"
import type { selectionOf } from "./Draft.ts"

type Selection = ReturnType<typeof selectionOf>

const useSettled = (value: Selection, key: string): Selection => {
  const [settled, setSettled] = useState(value)
  useEffect(() => {
    const timer = setTimeout(() => setSettled(value), 350)
    return () => clearTimeout(timer)
    // The selection is made anew with each key press elsewhere; its text is what counts.
    // oxlint-disable-next-line react-hooks/exhaustive-deps
  }, [key])
  return settled
}

/** What the selection would have fired, of what really happened. */
export const usePreview = (selection: Selection) => {
  const settled = useSettled(selection, JSON.stringify(selection))
  return useQuery({
    queryKey: ["preview", settled],
    queryFn: ({ signal }) => call("webhooks", "preview", { body: settled, signal }),
    enabled: settled.table_name !== "" && settled.events.length > 0,
    placeholderData: keepPreviousData,
    retry: false
  })
}

const verdict = (considered: number, fire: number): string => {
  if (considered === 0) return "No change of this table is kept yet, so there is nothing to try this on."
  const of = considered === 1
    ? "The one change that is kept"
    : `${count(fire)} of the last ${count(considered)} changes`
  return considered === 1 ? `${of} would ${fire === 1 ? "" : "not "}fire.` : `${of} would fire.`
}

/** The preview beside the form. */
export const Preview = (
  { hasTable, preview }: { readonly hasTable: boolean; readonly preview: ReturnType<typeof usePreview> }
) => {
  const { data, error, isPlaceholderData } = preview
  return (
    <aside aria-label="Preview" className="card grid gap-3 p-5 lg:max-h-[calc(100dvh-9.5rem)] lg:overflow-y-auto">
      <h2 className="font-semibold">Preview</h2>
      <div role="status">
        {!hasTable ? <p className="text-muted">Choose a table to see what would fire.</p> : error !== null
          ? (
            <p className="text-warn">
              {error instanceof Problem && error.faults.length > 0
                ? "Something above does not fit yet; see the mark beside it."
                : reasonOf(error)}
            </p>
          )
          : data === undefined
          ? <div className="skeleton h-6" />
          : (
            <p className={`font-medium ${isPlaceholderData ? "opacity-60" : ""}`}>
              {verdict(data.considered, data.would_fire)}
            </p>
          )}
      </div>
      {hasTable && data !== undefined && data.considered > 0 && (
        <svg aria-hidden viewBox="0 0 100 2" preserveAspectRatio="none" className="h-1.5 w-full rounded-full bg-raised">
          <rect width={data.would_fire / data.considered * 100} height="2" className="fill-accent" />
        </svg>
      )}
      {hasTable && data?.samples.map((sample, n) => (
        <details key={n} className="min-w-0 rounded-md border border-line">
          <summary className="cursor-pointer px-3 py-1.5 text-[0.93rem] text-muted">
            {n === 0 ? "The newest of them" : `One before (${n + 1})`}
          </summary>
          <div className="border-t border-line p-3">
            <Json text={sample.text} label={`Sample ${n + 1}`} />
          </div>
        </details>
      ))}
    </aside>
  )
}
