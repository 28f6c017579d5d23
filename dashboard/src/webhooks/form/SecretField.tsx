import { RefreshCw } from "lucide-react"
import { Button } from "../../parts/Button.tsx"
import { Copy } from "../../parts/Copy.tsx"
import { Field } from "../../parts/Field.tsx"
import { newSecret } from "./Secret.ts"

interface Props {
  readonly secret: string
  readonly error: string | undefined
  readonly onChange: (secret: string) => void
}

/** The secret of a new webhook: generated unless one is given, and shown this once. */
export const SecretField = ({ error, onChange, secret }: Props) => (
  <Field
    label="Signing secret"
    error={error}
    hint="The receiver checks signatures with it. Copy it now: it is never shown again. Empty for none."
  >
    {(control) => (
      <div className="flex items-center gap-2">
        <input
          {...control}
          className="input flex-1 font-mono"
          spellCheck={false}
          autoComplete="off"
          value={secret}
          onChange={(event) => onChange(event.target.value)}
        />
        <Copy text={secret} label="Copy the secret" />
        <Button
          look="quiet"
          aria-label="Generate another secret"
          className="px-2.5"
          onClick={() => onChange(newSecret())}
        >
          <RefreshCw size={15} aria-hidden />
        </Button>
      </div>
    )}
  </Field>
)
