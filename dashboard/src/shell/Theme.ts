import { useSyncExternalStore } from "react"

export type ThemeChoice = "system" | "light" | "dark"

const dark = matchMedia("(prefers-color-scheme: dark)")
const listeners = new Set<() => void>()

const choiceNow = (): ThemeChoice => {
  const choice = localStorage.getItem("theme")
  return choice === "light" || choice === "dark" ? choice : "system"
}

const themeNow = (): "light" | "dark" => {
  const choice = choiceNow()
  return choice === "system" ? (dark.matches ? "dark" : "light") : choice
}

const apply = () => {
  document.documentElement.dataset["theme"] = themeNow()
  for (const listener of listeners) listener()
}
dark.addEventListener("change", apply)
addEventListener("storage", apply)

const subscribe = (listener: () => void) => {
  listeners.add(listener)
  return () => void listeners.delete(listener)
}

/** Light or dark as it is now; `public/theme.js` sets it before the first paint. */
export const useTheme = () => useSyncExternalStore(subscribe, themeNow)
export const useThemeChoice = () => useSyncExternalStore(subscribe, choiceNow)

export const chooseTheme = (choice: ThemeChoice): void => {
  if (choice === "system") localStorage.removeItem("theme")
  else localStorage.setItem("theme", choice)
  apply()
}
