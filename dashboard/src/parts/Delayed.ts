import { useEffect, useRef, useState } from "react"

/** A field's text, and how to change it: it is written elsewhere a moment after the last key. */
export const useDelayed = (text: string, write: (text: string) => void) => {
  const [value, setValue] = useState(text)
  const timer = useRef<ReturnType<typeof setTimeout>>(undefined)
  useEffect(() => setValue(text), [text])
  useEffect(() => () => clearTimeout(timer.current), [])
  const change = (next: string) => {
    setValue(next)
    clearTimeout(timer.current)
    timer.current = setTimeout(() => write(next), 250)
  }
  return [value, change] as const
}
