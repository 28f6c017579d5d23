import type { ReactNode } from "react"
import { Field } from "../../parts/Field.tsx"
import { faultAt } from "./Draft.ts"
import type { SectionProps } from "./Form.tsx"
import { HeaderFields } from "./HeaderFields.tsx"
import { Section } from "./Section.tsx"

/** Where deliveries go. */
export const Where = ({ draft, faults, secret, set }: SectionProps & { readonly secret: ReactNode }) => (
  <Section title="Where to">
    <Field label="Name" error={faultAt(faults, "name")}>
      {(control) => (
        <input
          {...control}
          className="input"
          placeholder="Order confirmations"
          value={draft.name}
          onChange={(event) => set({ name: event.target.value })}
        />
      )}
    </Field>
    <Field label="Address" error={faultAt(faults, "url")} hint="Gets a POST with JSON for each change; http or https.">
      {(control) => (
        <input
          {...control}
          className="input font-mono"
          type="url"
          inputMode="url"
          spellCheck={false}
          placeholder="https://example.com/hooks/orders"
          value={draft.url}
          onChange={(event) => set({ url: event.target.value })}
        />
      )}
    </Field>
    <HeaderFields headers={draft.headers} faults={faults} onChange={(headers) => set({ headers })} />
    {secret}
  </Section>
)
