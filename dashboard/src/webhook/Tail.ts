import { useEffect, useRef, useState } from "react"
import { pathOf } from "../api/Client.ts"
import { parseKeepingPayloads } from "../api/Json.ts"
import { routes } from "../api/Routes.ts"
import type { LogEntry } from "./Deliveries.ts"

/** A browser paints no faster than this is worth. */
const flushEveryMs = 300

export type TailState = "connecting" | "live" | "broken"

interface Options {
  readonly id: string
  /** Follow from behind this entry; `undefined` waits until it is known, `null` follows from now on. */
  readonly after: string | null | undefined
  readonly onEntries: (entries: ReadonlyArray<LogEntry>) => void
  /** The stream has a gap: what is shown must be read anew. */
  readonly onGap: () => void
}

/** Follows a webhook's log; the browser reconnects by itself and goes on from the last entry. */
export const useTail = ({ after, id, onEntries, onGap }: Options): TailState => {
  const [state, setState] = useState<TailState>("connecting")
  const handlers = useRef({ onEntries, onGap })
  useEffect(() => {
    handlers.current = { onEntries, onGap }
  })
  const known = after !== undefined
  const start = useRef(after)
  useEffect(() => {
    if (after !== undefined && start.current === undefined) start.current = after
  })
  useEffect(() => {
    if (!known) return
    const query = { last_event_id: start.current ?? undefined }
    const source = new EventSource(pathOf(routes.logs.stream, { id }, query))
    let waiting: Array<LogEntry> = []
    const timer = setInterval(() => {
      if (waiting.length === 0) return
      handlers.current.onEntries(waiting.toReversed())
      waiting = []
    }, flushEveryMs)
    source.addEventListener("open", () => setState("live"))
    source.addEventListener("error", () => setState("broken"))
    source.addEventListener("entry", ({ data }: MessageEvent<string>) => {
      waiting.push(parseKeepingPayloads(data) as LogEntry)
    })
    source.addEventListener("reset", () => handlers.current.onGap())
    return () => {
      clearInterval(timer)
      source.close()
    }
  }, [id, known])
  return state
}
