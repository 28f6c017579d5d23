import { Menu } from "@base-ui/react/menu"
import { Check, Monitor, Moon, Sun } from "lucide-react"
import { chooseTheme, type ThemeChoice, useThemeChoice } from "./Theme.ts"

const choices = [
  { value: "system", label: "As the system", icon: Monitor },
  { value: "light", label: "Light", icon: Sun },
  { value: "dark", label: "Dark", icon: Moon }
] as const

export const ThemeMenu = () => {
  const choice = useThemeChoice()
  const Icon = choices.find(({ value }) => value === choice)!.icon
  return (
    <Menu.Root>
      <Menu.Trigger
        aria-label="Theme"
        className="grid size-9 place-items-center rounded-md text-muted hover:bg-raised hover:text-ink"
      >
        <Icon size={17} aria-hidden />
      </Menu.Trigger>
      <Menu.Portal>
        <Menu.Positioner align="end" sideOffset={6} className="z-50">
          <Menu.Popup className="min-w-44 rounded-lg border border-line bg-surface p-1 shadow-high outline-none">
            <Menu.RadioGroup value={choice} onValueChange={(value) => chooseTheme(value as ThemeChoice)}>
              {choices.map(({ icon: Item, label, value }) => (
                <Menu.RadioItem
                  key={value}
                  value={value}
                  className="flex items-center gap-2.5 rounded-md px-2.5 py-1.5 outline-none data-highlighted:bg-raised"
                >
                  <Item size={15} aria-hidden className="text-muted" />
                  <span className="flex-1">{label}</span>
                  <Menu.RadioItemIndicator>
                    <Check size={15} aria-hidden />
                  </Menu.RadioItemIndicator>
                </Menu.RadioItem>
              ))}
            </Menu.RadioGroup>
          </Menu.Popup>
        </Menu.Positioner>
      </Menu.Portal>
    </Menu.Root>
  )
}
