import { Field, FieldError } from "../../parts/Field.tsx"
import { type Draft, faultAt } from "./Draft.ts"
import type { SectionProps } from "./Form.tsx"
import { Section } from "./Section.tsx"

const orderings = [
  ["none", "None", "The fastest. An event that fails holds up nothing."],
  ["row", "By row", "Events of one row in the order of their commits. Needs a primary key."],
  ["strict", "Strict", "All events in the order of their commits, one at a time."]
] as const

const numbers = [
  { field: "concurrency", path: "concurrency", label: "At once", hint: "Deliveries in flight: 1 to 256" },
  { field: "partitions", path: "partitions", label: "Partitions", hint: "Runners that share it, by row: 1 to 64" },
  { field: "rateLimit", path: "rate_limit", label: "Rate limit", hint: "Requests a second; empty for none" },
  { field: "timeout", path: "timeout_ms", label: "Time-out", hint: "Seconds for a whole attempt: 0.1 to 60" },
  { field: "maxAttempts", path: "max_attempts", label: "Attempts", hint: "At an event, in all: 1 to 20" }
] as const satisfies ReadonlyArray<{ readonly field: keyof Draft } & Record<string, string>>

/** How deliveries go out. */
export const Delivery = ({ draft, faults, set }: SectionProps) => {
  const ordering = faultAt(faults, "ordering")
  return (
    <Section title="How to deliver">
      <fieldset>
        <legend className="mb-1.5 font-medium">Order</legend>
        <div className="grid gap-2 md:grid-cols-3">
          {orderings.map(([value, label, hint]) => (
            <label
              key={value}
              className="flex items-start gap-2.5 rounded-md border border-line px-3 py-2 hover:bg-raised has-checked:border-accent has-checked:bg-accent-soft"
            >
              <input
                type="radio"
                name="ordering"
                className="mt-1 accent-(--accent)"
                checked={draft.ordering === value}
                onChange={() => set({ ordering: value })}
              />
              <span>
                <span className="font-medium">{label}</span>
                <span className="block text-[0.9rem] text-muted">{hint}</span>
              </span>
            </label>
          ))}
        </div>
        {ordering !== undefined && <FieldError>{ordering}</FieldError>}
      </fieldset>
      <div className="grid gap-4 sm:grid-cols-2 xl:grid-cols-5">
        {numbers.map(({ field, hint, label, path }) => (
          <Field key={field} label={label} hint={hint} error={faultAt(faults, path)}>
            {(control) => (
              <input
                {...control}
                className="input tabular-nums"
                inputMode="decimal"
                value={draft[field]}
                onChange={(event) => set({ [field]: event.target.value })}
              />
            )}
          </Field>
        ))}
      </div>
    </Section>
  )
}
