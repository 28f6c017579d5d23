import { Plus, X } from "lucide-react"
import type { Fault } from "../../api/Problem.ts"
import { Button } from "../../parts/Button.tsx"
import { FieldError } from "../../parts/Field.tsx"
import { type DraftHeader, faultAt, newKey } from "./Draft.ts"

interface Props {
  readonly headers: ReadonlyArray<DraftHeader>
  readonly faults: ReadonlyArray<Fault>
  readonly onChange: (headers: ReadonlyArray<DraftHeader>) => void
}

/** Headers of every delivery. A stored value is shown as `***`, and kept when it is left so. */
export const HeaderFields = ({ faults, headers, onChange }: Props) => {
  const own = faultAt(faults, "headers")
  return (
    <fieldset className="grid gap-2">
      <legend className="mb-1.5 font-medium">
        Headers <span className="ml-1 font-normal text-muted">optional; values are stored and never shown again</span>
      </legend>
      {headers.map((header, at) => {
        const error = faultAt(faults, `headers.${header.name}`)
        const set = (change: Partial<DraftHeader>) => onChange(headers.with(at, { ...header, ...change }))
        const shared = { className: "input font-mono", spellCheck: false, "aria-invalid": error !== undefined }
        return (
          <div key={header.key} className="grid gap-1.5">
            <div className="grid grid-cols-[1fr_1.4fr_auto] gap-2">
              <input
                {...shared}
                aria-label={`Header ${at + 1}: name`}
                placeholder="authorization"
                value={header.name}
                onChange={(event) => set({ name: event.target.value })}
              />
              <input
                {...shared}
                aria-label={`Header ${at + 1}: value`}
                placeholder="Bearer …"
                autoComplete="off"
                value={header.value}
                onChange={(event) => set({ value: event.target.value })}
              />
              <Button
                look="quiet"
                className="px-2.5"
                aria-label={`Header ${at + 1}: remove`}
                onClick={() => onChange(headers.toSpliced(at, 1))}
              >
                <X size={15} aria-hidden />
              </Button>
            </div>
            {error !== undefined && <FieldError>{error}</FieldError>}
          </div>
        )
      })}
      {own !== undefined && <FieldError>{own}</FieldError>}
      <div>
        <Button onClick={() => onChange([...headers, { key: newKey(), name: "", value: "" }])}>
          <Plus size={15} aria-hidden /> Add a header
        </Button>
      </div>
    </fieldset>
  )
}
