import { Field, FieldError } from "../../parts/Field.tsx"
import { changeTypes, faultAt } from "./Draft.ts"
import { FilterBuilder } from "./FilterBuilder.tsx"
import type { SectionProps } from "./Form.tsx"
import { Section } from "./Section.tsx"
import { type Table, TablePicker } from "./TablePicker.tsx"

interface Props extends SectionProps {
  readonly tables: ReadonlyArray<Table>
  readonly table: Table | undefined
}

const eventHints = {
  INSERT: "A row is new",
  UPDATE: "A row changed",
  DELETE: "A row is gone",
  TRUNCATE: "The table was emptied"
} as const

const toggled = <A extends string>(list: ReadonlyArray<A>, item: A): ReadonlyArray<A> =>
  list.includes(item) ? list.filter((other) => other !== item) : [...list, item]

/** A box to tick, with its words. */
const Tick = ({ checked, hint, label, mono = false, onChange }: {
  readonly label: string
  readonly hint?: string
  readonly checked: boolean
  readonly mono?: boolean
  readonly onChange: () => void
}) => (
  <label className="flex items-start gap-2.5 rounded-md border border-line px-3 py-2 hover:bg-raised has-checked:border-accent has-checked:bg-accent-soft">
    <input type="checkbox" className="mt-1 accent-(--accent)" checked={checked} onChange={onChange} />
    <span className="min-w-0">
      <span className={mono ? "font-mono break-words" : "font-medium"}>{label}</span>
      {hint !== undefined && <span className="block text-[0.9rem] text-muted">{hint}</span>}
    </span>
  </label>
)

/** Which changes fire. */
export const Selection = ({ draft, faults, set, table, tables }: Props) => {
  const events = faultAt(faults, "events", true)
  const columns = faultAt(faults, "columns", true)
  const missing = draft.table !== null && tables.length > 0 && table === undefined
  return (
    <Section title="What to send">
      <Field
        label="Table"
        error={faultAt(faults, "table_name") ?? faultAt(faults, "table_schema") ??
          (missing ? "This table does not exist any more" : undefined)}
        hint={table?.reason ?? undefined}
      >
        {(control) => (
          <TablePicker
            control={control}
            tables={tables}
            value={draft.table}
            onChange={(chosen) => set({ table: chosen, columns: [], filter: [] })}
          />
        )}
      </Field>
      <fieldset>
        <legend className="mb-1.5 font-medium">Changes</legend>
        <div className="grid grid-cols-2 gap-2 md:grid-cols-4">
          {changeTypes.map((type) => (
            <Tick
              key={type}
              label={type}
              hint={eventHints[type]}
              checked={draft.events.includes(type)}
              onChange={() => set({ events: changeTypes.filter((one) => toggled(draft.events, type).includes(one)) })}
            />
          ))}
        </div>
        {events !== undefined && <FieldError>{events}</FieldError>}
      </fieldset>
      {draft.events.includes("UPDATE") && table !== undefined && (
        <fieldset>
          <legend className="mb-1.5 font-medium">
            Updates of{" "}
            <span className="ml-1 font-normal text-muted">optional; of any column unless some are chosen</span>
          </legend>
          <div className="grid max-h-60 grid-cols-2 gap-2 overflow-y-auto md:grid-cols-3">
            {table.columns.map(({ name, type }) => (
              <Tick
                key={name}
                mono
                label={name}
                hint={type}
                checked={draft.columns.includes(name)}
                onChange={() => set({ columns: toggled(draft.columns, name) })}
              />
            ))}
          </div>
          {columns !== undefined && <FieldError>{columns}</FieldError>}
        </fieldset>
      )}
      <FilterBuilder
        columns={table?.columns ?? []}
        faults={faults}
        filter={draft.filter}
        onChange={(filter) => set({ filter })}
      />
    </Section>
  )
}
