import { Switch } from "@base-ui/react/switch"

interface Props {
  readonly label: string
  readonly checked: boolean
  readonly disabled?: boolean
  readonly onChange: (checked: boolean) => void
}

/** A switch that takes effect at once. */
export const Toggle = ({ checked, disabled = false, label, onChange }: Props) => (
  <Switch.Root
    aria-label={label}
    checked={checked}
    disabled={disabled}
    onCheckedChange={onChange}
    className="relative inline-flex h-5 w-9 shrink-0 rounded-full bg-line-strong transition-colors before:absolute before:-inset-2 data-checked:bg-good-fill data-disabled:opacity-55"
  >
    <Switch.Thumb className="m-0.5 size-4 rounded-full bg-white shadow-sm transition-transform data-checked:translate-x-4" />
  </Switch.Root>
)
