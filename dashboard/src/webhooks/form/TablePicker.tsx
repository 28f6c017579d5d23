import { Combobox } from "@base-ui/react/combobox"
import { queryOptions } from "@tanstack/react-query"
import { Check, ChevronsUpDown } from "lucide-react"
import { type Answer, call } from "../../api/Client.ts"
import type { ControlProps } from "../../parts/Field.tsx"
import { compact } from "../../parts/Numbers.ts"
import type { Draft } from "./Draft.ts"

export type Table = Answer<"tables", "list">["data"][number]

/** Every table of the database, those that cannot be watched too. */
export const tablesQuery = queryOptions({
  queryKey: ["tables"],
  queryFn: async ({ signal }) => {
    const tables: Array<Table> = []
    let cursor: string | undefined
    do {
      const page: Answer<"tables", "list"> = await call("tables", "list", {
        query: { limit: 500, ...(cursor !== undefined && { cursor }) },
        signal
      })
      tables.push(...page.data)
      cursor = page.next_cursor ?? undefined
    } while (cursor !== undefined)
    // What can be chosen comes first.
    return tables.toSorted((a, b) => Number(b.watchable) - Number(a.watchable))
  },
  staleTime: 30_000
})

export const nameOf = ({ table_name, table_schema }: Pick<Table, "table_name" | "table_schema">) =>
  `${table_schema}.${table_name}`

interface Props {
  readonly control: ControlProps
  readonly tables: ReadonlyArray<Table>
  readonly value: Draft["table"]
  readonly onChange: (table: NonNullable<Draft["table"]>) => void
}

const about = ({ estimated_rows, kind, reason }: Table) =>
  reason ?? `${kind.replaceAll("_", " ")}${estimated_rows === null ? "" : `, about ${compact(estimated_rows)} rows`}`

/** Chooses a table by typing; what cannot be watched is shown with the reason. */
export const TablePicker = ({ control, onChange, tables, value }: Props) => {
  const chosen = value === null
    ? null
    : tables.find((table) => nameOf(table) === `${value.schema}.${value.name}`) ?? null
  return (
    <Combobox.Root
      items={tables}
      value={chosen}
      itemToStringLabel={nameOf}
      isItemEqualToValue={(a, b) => nameOf(a) === nameOf(b)}
      onValueChange={(table) => table !== null && onChange({ schema: table.table_schema, name: table.table_name })}
      autoHighlight
    >
      <div className="relative">
        <Combobox.Input
          {...control}
          className="input pr-9 font-mono"
          placeholder="Type to find a table"
          spellCheck={false}
        />
        <Combobox.Trigger
          aria-label="Show the tables"
          className="absolute top-0 right-0 grid h-full w-9 place-items-center text-muted"
        >
          <ChevronsUpDown size={15} aria-hidden />
        </Combobox.Trigger>
      </div>
      <Combobox.Portal>
        <Combobox.Positioner className="z-50" sideOffset={4}>
          <Combobox.Popup className="max-h-80 w-(--anchor-width) overflow-y-auto rounded-lg border border-line bg-surface p-1 shadow-high">
            <Combobox.Empty>
              <div className="px-3 py-2 text-muted">No table has such a name</div>
            </Combobox.Empty>
            <Combobox.List>
              {(table: Table) => (
                <Combobox.Item
                  key={nameOf(table)}
                  value={table}
                  disabled={!table.watchable}
                  className="grid grid-cols-[1fr_auto] gap-x-3 rounded-md px-2.5 py-1.5 outline-none data-disabled:cursor-not-allowed data-highlighted:bg-raised"
                >
                  <span className={`truncate font-mono ${table.watchable ? "" : "text-muted"}`}>{nameOf(table)}</span>
                  <Combobox.ItemIndicator>
                    <Check size={15} aria-hidden />
                  </Combobox.ItemIndicator>
                  <span className="col-span-2 text-[0.9rem] text-muted">{about(table)}</span>
                </Combobox.Item>
              )}
            </Combobox.List>
          </Combobox.Popup>
        </Combobox.Positioner>
      </Combobox.Portal>
    </Combobox.Root>
  )
}
