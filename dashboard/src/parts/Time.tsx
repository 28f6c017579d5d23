import { useSyncExternalStore } from "react"

const listeners = new Set<() => void>()
let tick = Date.now()
setInterval(() => {
  tick = Date.now()
  for (const listener of listeners) listener()
}, 5_000)

const subscribe = (listener: () => void) => {
  listeners.add(listener)
  return () => void listeners.delete(listener)
}

/** The present, every five seconds. */
export const useNow = () => useSyncExternalStore(subscribe, () => tick)

const relative = new Intl.RelativeTimeFormat("en", { numeric: "always", style: "narrow" })
const units = [["day", 86_400_000], ["hour", 3_600_000], ["minute", 60_000]] as const

/** Such as `3min ago` or `in 2h`. */
export const agoText = (at: number, now: number): string => {
  const distance = at - now
  for (const [unit, length] of units) {
    if (Math.abs(distance) >= length) return relative.format(Math.trunc(distance / length), unit)
  }
  if (distance > 1_000) return `in ${Math.round(distance / 1_000)}s`
  return distance > -10_000 ? "just now" : relative.format(Math.trunc(distance / 1_000), "second")
}

const local = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" })
const clock = new Intl.DateTimeFormat(undefined, {
  hourCycle: "h23",
  hour: "2-digit",
  minute: "2-digit",
  second: "2-digit"
})
const dayClock = new Intl.DateTimeFormat(undefined, {
  hourCycle: "h23",
  month: "short",
  day: "numeric",
  hour: "2-digit",
  minute: "2-digit",
  second: "2-digit"
})

/** A time in the local zone (or how long ago), with UTC on hover. */
export const Time = ({ at, style = "local" }: { readonly at: string; readonly style?: "local" | "ago" | "clock" }) => {
  const now = useNow()
  const date = new Date(at)
  const ms = date.getTime()
  const clockOf = now - ms < 43_200_000 ? clock : dayClock
  return (
    <time dateTime={at} title={`${local.format(date)}\n${date.toISOString()} (UTC)`} className="whitespace-nowrap">
      {style === "ago" ? agoText(ms, now) : style === "clock" ? clockOf.format(date) : local.format(date)}
    </time>
  )
}
