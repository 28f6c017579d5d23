import { Plus, X } from "lucide-react"
import type { Fault } from "../../api/Problem.ts"
import { Button } from "../../parts/Button.tsx"
import { FieldError } from "../../parts/Field.tsx"
import { operators } from "../Conditions.ts"
import { type DraftCondition, faultAt, type FilterOp, newKey, takesValue } from "./Draft.ts"
import type { Table } from "./TablePicker.tsx"

interface ConditionProps {
  readonly condition: DraftCondition
  readonly at: number
  readonly columns: Table["columns"]
  readonly error: string | undefined
  readonly onChange: (condition: DraftCondition) => void
  readonly onRemove: () => void
}

const Condition = ({ at, columns, condition, error, onChange, onRemove }: ConditionProps) => {
  const invalid = { "aria-invalid": error !== undefined, "aria-describedby": error && `condition-${condition.key}` }
  const label = (what: string) => `Condition ${at + 1}: ${what}`
  return (
    <li className="grid gap-1.5">
      <div className="grid grid-cols-[1fr_1fr_auto] gap-2 sm:grid-cols-[1.1fr_9rem_1.3fr_auto]">
        <select
          {...invalid}
          className="input font-mono"
          aria-label={label("column")}
          value={condition.column}
          onChange={(event) => onChange({ ...condition, column: event.target.value })}
        >
          {!columns.some(({ name }) => name === condition.column) && <option>{condition.column}</option>}
          {columns.map(({ name, type }) => <option key={name} value={name}>{name} ({type})</option>)}
        </select>
        <select
          className="input"
          aria-label={label("comparison")}
          value={condition.op}
          onChange={(event) => onChange({ ...condition, op: event.target.value as FilterOp })}
        >
          {operators.map(([op, words]) => <option key={op} value={op}>{words}</option>)}
        </select>
        <div className="order-last col-span-3 sm:order-none sm:col-span-1">
          {!takesValue(condition.op) ? null : condition.op === "in"
            ? (
              <textarea
                {...invalid}
                className="input h-20 py-1.5 font-mono"
                aria-label={label("values, one a line")}
                placeholder="One value a line"
                value={condition.value}
                onChange={(event) => onChange({ ...condition, value: event.target.value })}
              />
            )
            : (
              <input
                {...invalid}
                className="input font-mono"
                aria-label={label("value")}
                value={condition.value}
                onChange={(event) => onChange({ ...condition, value: event.target.value })}
              />
            )}
        </div>
        <Button look="quiet" aria-label={label("remove")} onClick={onRemove} className="px-2.5">
          <X size={15} aria-hidden />
        </Button>
      </div>
      {error !== undefined && <FieldError id={`condition-${condition.key}`}>{error}</FieldError>}
    </li>
  )
}

interface Props {
  readonly columns: Table["columns"]
  readonly filter: ReadonlyArray<DraftCondition>
  readonly faults: ReadonlyArray<Fault>
  readonly onChange: (filter: ReadonlyArray<DraftCondition>) => void
}

/** Conditions that must all hold. */
export const FilterBuilder = ({ columns, faults, filter, onChange }: Props) => {
  const own = faultAt(faults, "filter")
  const add = () => onChange([...filter, { key: newKey(), column: columns[0]?.name ?? "", op: "eq", value: "" }])
  return (
    <fieldset className="grid gap-2">
      <legend className="mb-1.5 font-medium">
        Only when <span className="ml-1 font-normal text-muted">optional; every condition must hold</span>
      </legend>
      {filter.length > 0 && (
        <ul className="grid gap-2.5">
          {filter.map((condition, at) => (
            <Condition
              key={condition.key}
              at={at}
              condition={condition}
              columns={columns}
              error={faultAt(faults, `filter.${at}`, true)}
              onChange={(changed) => onChange(filter.with(at, changed))}
              onRemove={() => onChange(filter.toSpliced(at, 1))}
            />
          ))}
        </ul>
      )}
      {own !== undefined && <FieldError>{own}</FieldError>}
      <div>
        <Button disabled={columns.length === 0} onClick={add}>
          <Plus size={15} aria-hidden /> Add a condition
        </Button>
      </div>
    </fieldset>
  )
}
