import { useQuery } from "@tanstack/react-query"
import { type FormEvent, type ReactNode, useEffect, useMemo, useRef, useState } from "react"
import { Problem } from "../../api/Problem.ts"
import { Button } from "../../parts/Button.tsx"
import { Failed } from "../../parts/States.tsx"
import { Delivery } from "./Delivery.tsx"
import type { Draft } from "./Draft.ts"
import { selectionOf } from "./Draft.ts"
import { Preview, usePreview } from "./Preview.tsx"
import { Selection } from "./Selection.tsx"
import { tablesQuery } from "./TablePicker.tsx"
import { Where } from "./Where.tsx"

export interface SectionProps {
  readonly draft: Draft
  readonly faults: ReadonlyArray<{ readonly path: string; readonly message: string }>
  readonly set: (change: Partial<Draft>) => void
}

/** Paths that some field of the form shows. */
const shown =
  /^(?:name|url|table_name|table_schema|events|columns|filter|headers|ordering|concurrency|partitions|rate_limit|timeout_ms|max_attempts|secret)(?:\.|$)/

const Refusal = ({ error }: { readonly error: Error }) => {
  const faults = error instanceof Problem ? error.faults : []
  const elsewhere = faults.filter(({ path }) => !shown.test(path))
  return (
    <div role="alert" className="rounded-lg border border-bad-fill bg-bad-soft px-4 py-3 text-bad">
      <p className="font-medium">
        {faults.length > 0 && elsewhere.length === 0 ? "It was not saved: see what is marked." : error.message}
      </p>
      {elsewhere.map(({ message, path }) => <p key={path}>{path}: {message}</p>)}
    </div>
  )
}

interface Props {
  readonly initial: Draft
  readonly save: string
  readonly busy: boolean
  readonly error: Error | null
  readonly secret?: ReactNode
  /** `types`: the chosen table's columns by name. */
  readonly onSave: (draft: Draft, types: ReadonlyMap<string, string>) => void
  readonly onCancel: () => void
}

/** The form of a webhook, with the preview of what it would fire. */
export const Form = ({ busy, error, initial, onCancel, onSave, save, secret }: Props) => {
  const [draft, setDraft] = useState(initial)
  const form = useRef<HTMLFormElement>(null)
  const tables = useQuery(tablesQuery)
  const table = tables.data?.find((one) =>
    one.table_schema === draft.table?.schema && one.table_name === draft.table.name
  )
  const types = useMemo(() => new Map(table?.columns.map(({ name, type }) => [name, type])), [table])
  const preview = usePreview(selectionOf(draft, types))
  const refused = error instanceof Problem ? error.faults : []
  const unfit = preview.error instanceof Problem ? preview.error.faults : []
  const faults = [...refused, ...unfit.filter(({ path }) => /^(?:filter|columns)\b/.test(path))]
  const set = (change: Partial<Draft>) => setDraft((old) => ({ ...old, ...change }))

  // Whoever cannot see the mark is led to it.
  useEffect(() => {
    if (error !== null) form.current?.querySelector<HTMLElement>("[aria-invalid=true]")?.focus()
  }, [error])

  const submit = (event: FormEvent) => {
    event.preventDefault()
    onSave(draft, types)
  }
  if (tables.isError && tables.data === undefined) {
    return (
      <div className="card">
        <Failed error={tables.error} onRetry={() => void tables.refetch()} />
      </div>
    )
  }
  const section = { draft, faults, set }
  return (
    <form ref={form} noValidate onSubmit={submit} className="grid items-start gap-5 lg:grid-cols-[1fr_22rem]">
      <div className="grid min-w-0 gap-5">
        {error !== null && <Refusal error={error} />}
        <Selection {...section} tables={tables.data ?? []} table={table} />
        <Where {...section} secret={secret} />
        <Delivery {...section} />
      </div>
      <div className="grid min-w-0 gap-4 lg:sticky lg:top-20">
        <div className="order-last flex flex-row-reverse gap-2 lg:order-none">
          <Button type="submit" look="primary" busy={busy} className="flex-1">{save}</Button>
          <Button onClick={onCancel}>Cancel</Button>
        </div>
        <Preview hasTable={draft.table !== null} preview={preview} />
      </div>
    </form>
  )
}
